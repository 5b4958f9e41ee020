//! The paths of the objects, the origins and the rest behind the vault. Pure.
//!
//! An id stands as text until it is read: what has another length is refused in words, and what has a letter that is no
//! digit is no path at all, as with the real service.

/// What a path below `/api/1/` names, beside the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ObjectPath {
    /// `revision/<id>/`
    Revision(String),
    /// `revision/<id>/log/`
    RevisionLog(String),
    /// `revision/<id>/raw/`: its message
    RevisionMessage(String),
    /// `revision/<id>/directory/[<path>/]`
    RevisionDirectory(String, Vec<u8>),
    /// `directory/<id>/[<path>/]`
    Directory(String, Vec<u8>),
    /// `release/<id>/`
    Release(String),
    /// `snapshot/<id>/`
    Snapshot(String),
    /// `content/[<algorithm>:]<digest>/`
    Content(String),
    /// `content/[<algorithm>:]<digest>/raw/`
    ContentRaw(String),
    /// `content/known/<sha1>,<sha1>/`
    ContentKnown(String),
    /// `raw/<swhid>/`
    Raw(String),
    /// `resolve/<swhid with qualifiers>/`
    Resolve(String),
    /// `known/`
    Known,
    /// `origins/`
    Origins,
    /// `origin/search/<words>/`
    Search(String),
    /// `origin/<url>/get/`
    Origin(String),
    /// `origin/<url>/visits/`
    Visits(String),
    /// `origin/<url>/visit/latest/`
    LatestVisit(String),
    /// `origin/<url>/visit/<number>/`
    Visit(String, u64),
    /// `stat/counters/`
    Counters,
    /// `extid/<type>/<form>:<value>/`
    ExternalId(String, String),
    /// `extid/target/<swhid>/`
    ExternalIdsOf(String),
}

impl ObjectPath {
    /// What stands behind `/api/1/`, as text and as the bytes that it was sent as.
    pub(super) fn of(below: &str, bytes: &[u8]) -> Option<Self> {
        let (first, rest) = below.split_once('/').unwrap_or((below, ""));
        // What stands behind the id may be no text.
        let behind = |text: &str| bytes[bytes.len().min(first.len() + 1 + text.len() + 1)..].to_vec();
        match first {
            "revision" => {
                let (id, tail) = id(rest)?;
                match tail.strip_suffix('/').unwrap_or(tail) {
                    "" => Some(Self::Revision(id)),
                    "log" => Some(Self::RevisionLog(id)),
                    "raw" => Some(Self::RevisionMessage(id)),
                    "directory" => Some(Self::RevisionDirectory(id, Vec::new())),
                    _ => {
                        tail.starts_with("directory/").then_some(())?;
                        let path = behind(&id).split_off("directory/".len());
                        Some(Self::RevisionDirectory(id, without_slash(path)))
                    }
                }
            }
            "directory" => {
                let (id, _) = id(rest)?;
                let path = without_slash(behind(&id));
                Some(Self::Directory(id, path))
            }
            "release" => alone(rest).map(Self::Release),
            "snapshot" => alone(rest).map(Self::Snapshot),
            "content" => match rest.strip_prefix("known/") {
                Some(list) => Some(Self::ContentKnown(list.strip_suffix('/').unwrap_or(list).to_owned())),
                None => content(rest),
            },
            "raw" => one(rest).map(Self::Raw),
            "resolve" => one(rest).map(Self::Resolve),
            "known" => rest.is_empty().then_some(Self::Known),
            "origins" => rest.is_empty().then_some(Self::Origins),
            "origin" => origin(rest.strip_suffix('/').unwrap_or(rest)),
            "stat" => matches!(rest, "counters" | "counters/").then_some(Self::Counters),
            "extid" => {
                let (kind, value) = rest.split_once('/')?;
                let value = one(value)?;
                match kind {
                    "target" => Some(Self::ExternalIdsOf(value)),
                    _ => Some(Self::ExternalId(kind.to_owned(), value)),
                }
            }
            _ => None,
        }
    }

    /// The id in the path, where it is one of an object, which may be written in capitals.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Revision(id)
            | Self::RevisionLog(id)
            | Self::RevisionMessage(id)
            | Self::RevisionDirectory(id, _)
            | Self::Directory(id, _)
            | Self::Release(id)
            | Self::Snapshot(id)
            | Self::Content(id)
            | Self::ContentRaw(id) => Some(id),
            Self::ContentKnown(_)
            | Self::Raw(_)
            | Self::Resolve(_)
            | Self::Known
            | Self::Origins
            | Self::Search(_)
            | Self::Origin(_)
            | Self::Visits(_)
            | Self::LatestVisit(_)
            | Self::Visit(..)
            | Self::Counters
            | Self::ExternalId(..)
            | Self::ExternalIdsOf(_) => None,
        }
    }

    /// Whether its answers are bytes, whatever form is wanted.
    pub(super) const fn is_raw(&self) -> bool {
        matches!(self, Self::ContentRaw(_) | Self::Raw(_) | Self::RevisionMessage(_))
    }
}

/// An id, and what stands behind its slash.
fn id(rest: &str) -> Option<(String, &str)> {
    let (id, tail) = rest.split_once('/').unwrap_or((rest, ""));
    is_hex(id).then(|| (id.to_owned(), tail))
}

fn alone(rest: &str) -> Option<String> {
    id(rest).filter(|(_, tail)| tail.is_empty()).map(|(id, _)| id)
}

/// All of it, but for a slash at the end.
fn one(rest: &str) -> Option<String> {
    let text = rest.strip_suffix('/').unwrap_or(rest);
    (!text.is_empty()).then(|| text.to_owned())
}

fn content(rest: &str) -> Option<ObjectPath> {
    let (named, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let (algorithm, digest) = named.split_once(':').unwrap_or(("", named));
    let word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_hex(digest) && word(algorithm)).then_some(())?;
    match tail {
        "" => Some(ObjectPath::Content(named.to_owned())),
        "raw" | "raw/" => Some(ObjectPath::ContentRaw(named.to_owned())),
        _ => None,
    }
}

/// An origin's URL stands in the midst of the path as it is, with all its slashes.
fn origin(rest: &str) -> Option<ObjectPath> {
    if let Some(words) = rest.strip_prefix("search/") {
        return Some(ObjectPath::Search(words.to_owned()));
    }
    let (before, last) = rest.rsplit_once('/')?;
    let url = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match last {
        "get" => url(before).map(ObjectPath::Origin),
        "visits" => url(before).map(ObjectPath::Visits),
        "latest" => before.strip_suffix("/visit").and_then(url).map(ObjectPath::LatestVisit),
        number => {
            let number = number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))?;
            before.strip_suffix("/visit").and_then(url).map(|url| ObjectPath::Visit(url, number))
        }
    }
}

fn without_slash(mut path: Vec<u8>) -> Vec<u8> {
    if path.last() == Some(&b'/') {
        path.pop();
    }
    path
}

pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn of(path: &str) -> Option<ObjectPath> {
        ObjectPath::of(path, path.as_bytes())
    }

    #[test]
    fn every_path_is_the_same_with_a_slash_at_its_end_and_without() {
        let id = || ID.to_owned();
        let url = || "https://example.org/a.git".to_owned();
        for (path, expected) in [
            (format!("revision/{ID}"), ObjectPath::Revision(id())),
            (format!("revision/{ID}/log"), ObjectPath::RevisionLog(id())),
            (format!("revision/{ID}/raw"), ObjectPath::RevisionMessage(id())),
            (format!("revision/{ID}/directory"), ObjectPath::RevisionDirectory(id(), Vec::new())),
            (format!("revision/{ID}/directory/a/b"), ObjectPath::RevisionDirectory(id(), b"a/b".to_vec())),
            (format!("directory/{ID}"), ObjectPath::Directory(id(), Vec::new())),
            (format!("directory/{ID}//a//b"), ObjectPath::Directory(id(), b"/a//b".to_vec())),
            (format!("release/{ID}"), ObjectPath::Release(id())),
            ("snapshot/12".to_owned(), ObjectPath::Snapshot("12".to_owned())),
            (format!("content/{ID}"), ObjectPath::Content(id())),
            (format!("content/sha1_git:{ID}/raw"), ObjectPath::ContentRaw(format!("sha1_git:{ID}"))),
            ("content/known/a,b".to_owned(), ObjectPath::ContentKnown("a,b".to_owned())),
            ("raw/swh:1:cnt:12".to_owned(), ObjectPath::Raw("swh:1:cnt:12".to_owned())),
            ("resolve/x;origin=https://a/b".to_owned(), ObjectPath::Resolve("x;origin=https://a/b".to_owned())),
            ("known".to_owned(), ObjectPath::Known),
            ("origins".to_owned(), ObjectPath::Origins),
            ("origin/search/a b/c".to_owned(), ObjectPath::Search("a b/c".to_owned())),
            ("origin/https://example.org/a.git/get".to_owned(), ObjectPath::Origin(url())),
            ("origin/https://example.org/a.git/visits".to_owned(), ObjectPath::Visits(url())),
            ("origin/https://example.org/a.git/visit/latest".to_owned(), ObjectPath::LatestVisit(url())),
            ("origin/https://example.org/a.git/visit/7".to_owned(), ObjectPath::Visit(url(), 7)),
            ("stat/counters".to_owned(), ObjectPath::Counters),
            (
                "extid/nar-sha256/hex:12".to_owned(),
                ObjectPath::ExternalId("nar-sha256".to_owned(), "hex:12".to_owned()),
            ),
            ("extid/target/swh:1:dir:12".to_owned(), ObjectPath::ExternalIdsOf("swh:1:dir:12".to_owned())),
        ] {
            assert_eq!(of(&path), Some(expected.clone()), "{path}");
            assert_eq!(of(&format!("{path}/")), Some(expected), "{path}/");
        }
    }

    #[test]
    fn what_is_below_an_id_are_the_bytes_that_were_sent() {
        let sent = [format!("directory/{ID}/caf").as_bytes(), b"\xe9/"].concat();
        let found = ObjectPath::of(&String::from_utf8_lossy(&sent), &sent);
        assert_eq!(found, Some(ObjectPath::Directory(ID.to_owned(), b"caf\xe9".to_vec())));
    }

    #[test]
    fn what_is_built_otherwise_is_no_path() {
        for path in [
            "revision/master/",
            "revision/",
            &format!("revision/swh:1:rev:{ID}/"),
            &format!("revision/{ID}/x/"),
            &format!("release/{ID}/x"),
            "content/sha1_git:xyz/",
            "content/a-b:12/",
            &format!("content/{ID}/filetype/"),
            "origin/https://a/b/visit/x/",
            "origin/https://a/b/visit/+1/",
            "origin/save/git/url/https://a/b/",
            "origin/get/",
            "known/x",
            "stat/",
            "extid/x",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(first in "(revision|directory|content|origin|extid|raw)?", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let sent = [first.as_bytes(), b"/", &bytes].concat();
            let _ = ObjectPath::of(&String::from_utf8_lossy(&sent), &sent);
            let sent = [first.as_bytes(), b"/12/", &bytes].concat();
            let _ = ObjectPath::of(&String::from_utf8_lossy(&sent), &sent);
        }
    }
}
