//! Paths as people write them: git's words for kinds, ids in capitals, `.tgz`, SWHIDs with their qualifiers. Each is
//! sent on to the one path that larder, its links, its files and nginx know. Pure.

use crate::key::{BundleKey, Format, ObjectKind, ParseError, Sha1Git, Swhid};

/// A bundle named as the archives of a forge are: the path of a repository, and behind it a branch, a tag or an id with
/// the format as its extension. Where one ends and the other begins the path does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// At least two.
    parts: Vec<String>,
    /// Of the bundle.
    pub format: Format,
}

impl NamedPath {
    /// The most parts of a path that is looked for.
    const MAX_PARTS: usize = 16;

    /// Reads the parts before the last one, and that.
    pub(super) fn parse(before: &[&str], last: &str) -> Result<Self, ParseError> {
        let dots = last.match_indices('.');
        let found = dots.filter_map(|(dot, _)| Some((&last[..dot], Format::from_spelling(&last[dot + 1..]).ok()?)));
        // The longest extension, for `x.tar.gz` ends in one of gzip's too.
        let (name, format) = found.into_iter().next().ok_or(ParseError::Format)?;
        let parts: Vec<String> = before.iter().chain(&[name]).map(|&part| part.to_owned()).collect();
        let legal = parts.len() <= Self::MAX_PARTS && parts.iter().all(|part| !part.is_empty() && !part.contains('\0'));
        if legal { Ok(Self { parts, format }) } else { Err(ParseError::Key) }
    }

    /// Every path of a repository and name behind it that this may be, the longest path first.
    pub fn readings(&self) -> impl Iterator<Item = (String, String)> {
        (1..self.parts.len()).rev().map(|at| (self.parts[..at].join("/"), self.parts[at..].join("/")))
    }
}

/// The plain path of what `segments` name in other words. `None` when they are not such; they may be plain already,
/// or nothing.
///
/// # Errors
/// [`ParseError`] when they are, but for a fault in them.
pub(super) fn plain_path(segments: &[&str]) -> Option<Result<String, ParseError>> {
    let [vault, first, rest @ ..] = segments else { return None };
    if *vault != "vault" {
        return None;
    }
    if is_swhid(first) {
        return Some(of_swhid(first, rest));
    }
    let kind = ObjectKind::from_spelling(first).ok()?;
    let path = match *rest {
        [] => Ok(format!("/vault/{kind}")),
        [segment] => bundle(kind, segment),
        [segment, "status"] => bundle(kind, segment).map(|path| path + "/status"),
        [id, "proof"] => Sha1Git::from_spelling(id).map(|id| format!("/vault/{kind}/{id}/proof")),
        _ => return None,
    };
    // What is plain already and yet nothing stays nothing, and is not sent to itself for ever.
    (path != Ok(format!("/{}", segments.join("/")))).then_some(path)
}

/// Whether this begins as a SWHID does.
pub(super) fn is_swhid(segment: &str) -> bool {
    segment.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("swh:"))
}

fn bundle(kind: ObjectKind, segment: &str) -> Result<String, ParseError> {
    let key = BundleKey::from_spelling(kind.as_str(), segment)?;
    Ok(path(&key, segment))
}

/// A qualifier may hold slashes, so whatever stands behind a semicolon is part of one.
fn of_swhid(first: &str, rest: &[&str]) -> Result<String, ParseError> {
    if first.contains(';') {
        let text = [&[first], rest].concat().join("/");
        return Ok(path(&BundleKey::from_swhid(&text)?, first.split(';').next().unwrap_or(first)));
    }
    match *rest {
        [] => Ok(path(&BundleKey::from_swhid(first)?, first)),
        ["status"] => Ok(path(&BundleKey::from_swhid(first)?, first) + "/status"),
        ["proof"] => {
            let Swhid { kind, id } = first.parse()?;
            Ok(format!("/vault/{kind}/{id}/proof"))
        }
        _ => Err(ParseError::Swhid),
    }
}

/// With an extension where one was written.
fn path(key: &BundleKey, written: &str) -> String {
    if written.contains('.') { format!("/vault/{key}") } else { format!("/vault/{}/{}", key.kind(), key.id()) }
}

#[cfg(test)]
mod tests {
    use super::super::route::{Route, RouteError, route};
    use super::*;
    use hyper::Method;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn every_other_spelling_leads_to_the_plain_path_and_that_path_to_an_answer() {
        let capitals = ID.to_uppercase();
        for (written, plain) in [
            (format!("commit/{ID}"), format!("revision/{ID}")),
            (format!("Tree/{ID}.zip"), format!("directory/{ID}.zip")),
            (format!("tag/{capitals}.TGZ"), format!("release/{ID}.tar.gz")),
            (format!("blob/{ID}"), format!("content/{ID}")),
            (format!("directory/{capitals}"), format!("directory/{ID}")),
            (format!("directory/{ID}.tgz/status"), format!("directory/{ID}.tar.gz/status")),
            (format!("rev/{ID}/proof"), format!("revision/{ID}/proof")),
            ("commit".to_owned(), "revision".to_owned()),
            (format!("swh:1:rev:{ID}"), format!("revision/{ID}")),
            (format!("SWH:1:DIR:{capitals}.tar"), format!("directory/{ID}.tar")),
            (format!("swh:1:snp:{ID}/status"), format!("snapshot/{ID}/status")),
            (format!("swh:1:rel:{ID}/proof"), format!("release/{ID}/proof")),
            (format!("swh:1:dir:{ID};origin=https://example.org/a.b/c;path=/x/status"), format!("directory/{ID}")),
            (format!("swh:1:dir:{ID}.zip;origin=https:%2F%2Fexample.org"), format!("directory/{ID}.zip")),
        ] {
            let is_bundle = !plain.ends_with("status") && !plain.ends_with("proof") && plain.contains(ID);
            for method in [Method::GET, Method::HEAD, Method::POST] {
                if is_bundle || method != Method::POST {
                    let there = route(&method, &format!("/root/vault/{written}"), None, "/root");
                    assert_eq!(there, Ok(Route::Elsewhere(format!("/vault/{plain}"))), "{method} {written}");
                }
            }
            let answered = route(&Method::GET, &format!("/vault/{plain}"), None, "");
            assert!(matches!(answered, Ok(ref at) if !matches!(at, Route::Elsewhere(_))), "{plain}: {answered:?}");
        }
    }

    #[test]
    fn what_is_wrong_in_another_spelling_is_said() {
        for (written, error) in [
            (format!("commit/{ID}0"), RouteError::Key(ParseError::Id)),
            (format!("tree/{ID}.exe"), RouteError::Key(ParseError::Format)),
            (format!("swh:1:dir:{ID};origin"), RouteError::Key(ParseError::Qualifier)),
            (format!("swh:2:dir:{ID}"), RouteError::Key(ParseError::Swhid)),
            (format!("swh:1:dir:{ID}/x"), RouteError::Key(ParseError::Swhid)),
            (format!("commit/{ID}/x"), RouteError::NotFound),
            (format!("branch/{ID}"), RouteError::Key(ParseError::Kind)),
        ] {
            assert_eq!(route(&Method::GET, &format!("/vault/{written}"), None, ""), Err(error), "{written}");
        }
        let deleted = route(&Method::DELETE, &format!("/vault/commit/{ID}"), None, "");
        assert!(matches!(deleted, Err(RouteError::MethodNotAllowed { .. })));
    }
}
