//! The paths of Software Heritage's API: from a decoded path to an [`Endpoint`], and the methods that it takes. Pure.
//!
//! Each is understood with its trailing slash and without: who sends a POST is never sent elsewhere. What the real
//! service takes for no path of its own, an identifier with a letter that is no digit for example, is none here either.

use super::object_path::{ObjectPath, is_hex};
use crate::key::{ObjectKind, Sha1Git};
use hyper::Method;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/api/` and `/api/1/`
    Root,
    /// `ping/`
    Ping,
    /// `vault/{flat,gitfast,git-bare}/<swhid>/`
    Bundle(BundleType, String),
    /// `vault/{flat,gitfast,git-bare}/<swhid>/raw/`
    BundleRaw(BundleType, String),
    /// `vault/directory/<id>/`, `vault/revision/<id>/gitfast/`
    OldBundle(BundleType, String),
    /// The same with `raw/`
    OldBundleRaw(BundleType, String),
    /// An object, an origin, or what else there is beside the vault.
    Object(ObjectPath),
}

/// The bundles of Software Heritage's vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BundleType {
    Flat,
    Gitfast,
    GitBare,
}

impl BundleType {
    /// Its word in URLs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Gitfast => "gitfast",
            Self::GitBare => "git-bare",
        }
    }

    fn of(word: &str) -> Option<Self> {
        [Self::Flat, Self::Gitfast, Self::GitBare].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The methods that an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Methods {
    Read,
    ReadAndPost,
    Post,
}

impl Methods {
    /// The value of `Allow`.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD, OPTIONS",
            Self::ReadAndPost => "GET, HEAD, OPTIONS, POST",
            Self::Post => "OPTIONS, POST",
        }
    }

    pub(super) fn has(self, method: &Method) -> bool {
        self.allow().split(", ").any(|one| one == method.as_str())
    }
}

impl Endpoint {
    /// What a path below larder's root names; `None` when nothing is there. It begins with `/api`, and is given as text
    /// and as the bytes that it was sent as.
    pub(super) fn of(path: &str, bytes: &[u8]) -> Option<Self> {
        let below = path.strip_prefix("/api/").unwrap_or("");
        if below.is_empty() || matches!(below, "1" | "1/") {
            return Some(Self::Root);
        }
        let below = below.strip_prefix("1/")?;
        let bytes = bytes.get("/api/1/".len()..)?;
        let (first, rest) = below.split_once('/').unwrap_or((below, ""));
        match first {
            "ping" if rest.is_empty() => Some(Self::Ping),
            "vault" => vault(rest),
            _ => ObjectPath::of(below, bytes).map(Self::Object),
        }
    }

    pub(super) const fn methods(&self) -> Methods {
        match self {
            Self::Bundle(..) | Self::OldBundle(..) => Methods::ReadAndPost,
            Self::Object(ObjectPath::Known) => Methods::Post,
            Self::Root | Self::Ping | Self::BundleRaw(..) | Self::OldBundleRaw(..) | Self::Object(_) => Methods::Read,
        }
    }

    /// The path of the same in lower case, where this has an id in capitals that the real service redirects.
    pub(super) fn lower(&self, path: &str) -> Option<String> {
        match self {
            Self::OldBundle(_, id) | Self::OldBundleRaw(_, id) => lowered(path, id),
            Self::Object(object) => object.id().and_then(|id| lowered(path, id)),
            Self::Root | Self::Ping | Self::Bundle(..) | Self::BundleRaw(..) => None,
        }
    }

    /// Whether its answers are bytes, whatever form is wanted.
    pub(super) fn is_raw(&self) -> bool {
        match self {
            Self::BundleRaw(..) | Self::OldBundleRaw(..) => true,
            Self::Object(object) => object.is_raw(),
            Self::Root | Self::Ping | Self::Bundle(..) | Self::OldBundle(..) => false,
        }
    }
}

fn lowered(path: &str, id: &str) -> Option<String> {
    let lower = id.to_ascii_lowercase();
    (lower != id).then(|| path.replacen(id, &lower, 1))
}

fn vault(rest: &str) -> Option<Endpoint> {
    let (word, rest) = rest.split_once('/')?;
    if let Some(bundle) = BundleType::of(word) {
        // What stands behind a semicolon is part of a qualifier, which may hold slashes.
        let (swhid, tail) = match rest.find('/') {
            Some(at) if !rest.contains(';') => (&rest[..at], &rest[at + 1..]),
            _ => (rest.strip_suffix('/').unwrap_or(rest), ""),
        };
        let swhid = is_like_swhid(swhid).then(|| swhid.to_ascii_lowercase())?;
        return match tail {
            "" => Some(Endpoint::Bundle(bundle, swhid)),
            "raw" | "raw/" => Some(Endpoint::BundleRaw(bundle, swhid)),
            _ => None,
        };
    }
    let (id, tail) = rest.split_once('/').unwrap_or((rest, ""));
    let id = is_hex(id).then(|| id.to_owned())?;
    match (word, tail) {
        ("directory", "") => Some(Endpoint::OldBundle(BundleType::Flat, id)),
        ("directory", "raw" | "raw/") => Some(Endpoint::OldBundleRaw(BundleType::Flat, id)),
        ("revision", "gitfast" | "gitfast/") => Some(Endpoint::OldBundle(BundleType::Gitfast, id)),
        ("revision", "gitfast/raw" | "gitfast/raw/") => Some(Endpoint::OldBundleRaw(BundleType::Gitfast, id)),
        _ => None,
    }
}

/// Whether a text has the parts of a SWHID, whatever they say: `swh:`, a number, a word, digits.
fn is_like_swhid(text: &str) -> bool {
    let core = text.split(';').next().unwrap_or(text);
    let mut parts = core.split(':');
    let scheme = parts.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("swh"));
    let version = parts.next().is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit()));
    let word = parts.next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    scheme && version && word && parts.next().is_some_and(is_hex) && parts.next().is_none()
}

/// The object that a SWHID without qualifiers names.
///
/// # Errors
/// What is wrong with it, in the words of the real service, which clients show to people.
pub(super) fn core_swhid(text: &str) -> Result<(ObjectKind, Sha1Git), String> {
    let wrong = |what: String| Err(format!("Error when parsing identifier: {what}"));
    let (core, qualifiers) = text.split_once(';').map_or((text, None), |(core, behind)| (core, Some(behind)));
    let parts: Vec<&str> = core.split(':').collect();
    let ["swh", "1", word, id] = parts[..] else { return wrong(format!("Invalid SWHID: invalid syntax: {text}")) };
    let Ok(id) = id.parse() else { return wrong(format!("Invalid SWHID: invalid syntax: {text}")) };
    let kind = ObjectKind::ALL.into_iter().find(|kind| kind.swhid_type() == word);
    match (kind, qualifiers) {
        (Some(kind), None) => Ok((kind, id)),
        (Some(_), Some(_)) => wrong("CoreSWHID does not support qualifiers.".to_owned()),
        // Those that name no object of an archive.
        (None, _) if matches!(word, "ori" | "emd") => {
            wrong(format!("ValueError: (\"'{word}' is not a valid ObjectType\",)"))
        }
        (None, _) => wrong(format!("Invalid SWHID: invalid syntax: {text}")),
    }
}

/// The qualifiers of a SWHID, as pairs of a name and a value.
pub(super) type Qualifiers = Vec<(String, String)>;

/// The object that a SWHID names, capitals or not, and its qualifiers.
///
/// # Errors
/// As of [`core_swhid`].
pub(super) fn qualified_swhid(text: &str) -> Result<(ObjectKind, Sha1Git, Qualifiers), String> {
    const NAMES: [&str; 6] = ["origin", "visit", "anchor", "path", "lines", "bytes"];
    let (core, behind) = text.split_once(';').unwrap_or((text, ""));
    let (kind, id) = core_swhid(&core.to_ascii_lowercase())?;
    let parts = behind.split(';').filter(|part| !part.is_empty());
    let qualifiers: Option<Qualifiers> =
        parts.map(|part| part.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))).collect();
    let syntax = || format!("Error when parsing identifier: Invalid SWHID: invalid syntax: {text}");
    let qualifiers = qualifiers.ok_or_else(syntax)?;
    match qualifiers.iter().find(|(name, _)| !NAMES.contains(&name.as_str())) {
        Some((name, _)) => Err(format!("Error when parsing identifier: Invalid qualifier(s): {name}")),
        None => Ok((kind, id, qualifiers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn every_path_is_the_same_with_a_slash_at_its_end_and_without() {
        let swhid = format!("swh:1:dir:{ID}");
        for (path, endpoint) in [
            ("/api/1".to_owned(), Endpoint::Root),
            ("/api/1/ping".to_owned(), Endpoint::Ping),
            (format!("/api/1/vault/flat/{swhid}"), Endpoint::Bundle(BundleType::Flat, swhid.clone())),
            (format!("/api/1/vault/flat/SWH:1:DIR:{ID}"), Endpoint::Bundle(BundleType::Flat, swhid.clone())),
            (format!("/api/1/vault/gitfast/{swhid}/raw"), Endpoint::BundleRaw(BundleType::Gitfast, swhid.clone())),
            (
                format!("/api/1/vault/git-bare/{swhid};path=/raw"),
                Endpoint::Bundle(BundleType::GitBare, format!("{swhid};path=/raw")),
            ),
            (format!("/api/1/vault/directory/{ID}"), Endpoint::OldBundle(BundleType::Flat, ID.to_owned())),
            (format!("/api/1/vault/directory/{ID}/raw"), Endpoint::OldBundleRaw(BundleType::Flat, ID.to_owned())),
            (format!("/api/1/vault/revision/{ID}/gitfast"), Endpoint::OldBundle(BundleType::Gitfast, ID.to_owned())),
        ] {
            assert_eq!(Endpoint::of(&path, path.as_bytes()), Some(endpoint.clone()), "{path}");
            let slash = format!("{path}/");
            assert_eq!(Endpoint::of(&slash, slash.as_bytes()), Some(endpoint), "{slash}");
        }
    }

    #[test]
    fn what_is_not_built_as_an_identifier_is_no_path() {
        for path in [
            "/api/2/ping/".to_owned(),
            "/api/1/ping/x".to_owned(),
            "/api/1/vault/flat//".to_owned(),
            format!("/api/1/vault/flat/{ID}/"),
            format!("/api/1/vault/flat/foo:1:dir:{ID}/"),
            format!("/api/1/vault/flat/swh:1:dir:{ID} /"),
            format!("/api/1/vault/flat/swh:1:dir:{ID}/x/"),
            format!("/api/1/vault/git_bare/swh:1:dir:{ID}/"),
            format!("/api/1/vault/directory/swh:1:dir:{ID}/"),
            format!("/api/1/vault/revision/{ID}/"),
        ] {
            assert_eq!(Endpoint::of(&path, path.as_bytes()), None, "{path}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_identifier_is_said_in_the_words_that_clients_know() {
        let said = |text: &str| core_swhid(text).map_err(|error| error.split_once(": ").unwrap().1.to_owned());
        let id = ID.parse().unwrap();
        assert_eq!(said(&format!("swh:1:dir:{ID}")), Ok((ObjectKind::Directory, id)));
        for (text, words) in [
            ("hello".to_owned(), "Invalid SWHID: invalid syntax: hello"),
            ("swh:1:rev:12".to_owned(), "Invalid SWHID: invalid syntax: swh:1:rev:12"),
            (format!("swh:1:dir:{ID};path=/x"), "CoreSWHID does not support qualifiers."),
            (format!("swh:1:ori:{ID}"), "ValueError: (\"'ori' is not a valid ObjectType\",)"),
        ] {
            assert_eq!(said(&text), Err(words.to_owned()), "{text}");
        }
        let text = format!("SWH:1:rev:{};origin=https://a/b;path=/x", ID.to_uppercase());
        let qualifiers =
            [("origin", "https://a/b"), ("path", "/x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(qualified_swhid(&text), Ok((ObjectKind::Revision, id, qualifiers.to_vec())));
        for (qualifier, words) in [("foo=bar", "Invalid qualifier(s): foo"), ("path", "invalid syntax")] {
            let error = qualified_swhid(&format!("swh:1:rev:{ID};{qualifier}")).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        for text in [format!("swh:2:dir:{ID}"), format!("swh:1:foo:{ID}"), format!("swh:1:dir:{}", ID.to_uppercase())] {
            assert_eq!(said(&text), Err(format!("Invalid SWHID: invalid syntax: {text}")));
        }
    }
}
