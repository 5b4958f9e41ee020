//! What is to be got, and where: from a URL of a larder, or a SWHID and a server, to a [`Target`].
//! Pure.

use crate::key::{BundleKey, Format, is_download_name};
use reqwest::Url;

/// A bundle on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server's root, without a trailing slash.
    base: String,
    key: BundleKey,
    /// Under which its URL says to save it.
    name: Option<String>,
}

impl Target {
    /// Reads `https://host/root/vault/directory/<id>.tar.gz`, with or without `?filename=<name>`, or a SWHID of
    /// which `server` is asked.
    ///
    /// # Errors
    /// Words for whoever wrote it.
    pub fn parse(text: &str, server: Option<&str>, format: Option<Format>) -> Result<Self, String> {
        let (base, key, name) = if text.starts_with("http://") || text.starts_with("https://") {
            of_url(text, format)?
        } else {
            let named = BundleKey::from_swhid(text).map_err(|error| format!("{text:?} is no URL, and {error}"))?;
            let key = format.map_or(Ok(named), |format| BundleKey::new(named.kind(), named.id(), format));
            (server.ok_or(NO_SERVER)?.to_owned(), key.map_err(|error| error.to_string())?, None)
        };
        Ok(Self { base: check_server(&base)?, key, name })
    }

    /// A bundle of a server that was checked.
    pub(super) fn new(server: &str, key: BundleKey) -> Self {
        Self { base: server.to_owned(), key, name: None }
    }

    /// The bundle.
    #[must_use]
    pub const fn key(&self) -> BundleKey {
        self.key
    }

    /// The name of the file to keep it in: what its URL says, else one of its id.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.key.file_name())
    }

    /// Where the bundle is, and where it is asked for.
    #[must_use]
    pub fn bundle(&self) -> String {
        format!("{}/vault/{}", self.base, self.key)
    }

    /// Where its status is.
    #[must_use]
    pub fn status(&self) -> String {
        format!("{}/status", self.bundle())
    }

    /// Where the proof of the object is.
    #[must_use]
    pub fn proof(&self) -> String {
        format!("{}/vault/{}/{}/proof", self.base, self.key.kind(), self.key.id())
    }
}

/// What is said to whoever names no server.
pub const NO_SERVER: &str = "which server has it? Name one with --server, LARDER_SERVER or `server`";

/// The root of a server, without a trailing slash.
///
/// # Errors
/// Words for whoever wrote it.
pub fn check_server(text: &str) -> Result<String, String> {
    let base = text.trim_end_matches('/');
    let url = Url::parse(base).map_err(|error| format!("{base:?} is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{base:?} is no http:// or https:// URL of a server"));
    }
    Ok(base.to_owned())
}

fn of_url(text: &str, format: Option<Format>) -> Result<(String, BundleKey, Option<String>), String> {
    let no_bundle = || format!("{text:?} is not the URL of a bundle: https://HOST/vault/KIND/ID.EXT");
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    let (base, key) = path.rsplit_once("/vault/").ok_or_else(no_bundle)?;
    let (key, _) = BundleKey::from_name(key).map_err(|error| format!("{}: {error}", no_bundle()))?;
    let key = match format {
        Some(format) if format != key.format() => {
            BundleKey::new(key.kind(), key.id(), format).map_err(|error| error.to_string())?
        }
        _ => key,
    };
    Ok((base.to_owned(), key, query.map_or(Ok(None), file_name)?))
}

/// The name that the query of a bundle's URL says. What type it has says it too, which is of no use here.
fn file_name(query: &str) -> Result<Option<String>, String> {
    let mut name = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("filename", value)) if name.is_none() && is_download_name(value) => name = Some(value.to_owned()),
            Some(("filename", value)) => {
                return Err(format!("{value:?} is no name to save a bundle under: letters, digits and ._+- make one"));
            }
            Some(("type", _)) => {}
            _ => return Err(format!("{parameter:?} is nothing that the URL of a bundle says")),
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn a_target_is_a_url_or_a_swhid_with_a_server() {
        let bundle = format!("https://example.org/larder/vault/directory/{ID}.tar.gz");
        let swhid = format!("swh:1:dir:{ID}");
        for (text, server) in [
            (bundle.as_str(), None),
            (bundle.trim_end_matches(".tar.gz"), None),
            (&swhid, Some("https://example.org/larder/")),
        ] {
            assert_eq!(Target::parse(text, server, None).unwrap().bundle(), bundle, "{text}");
        }
        let tar = Target::parse(&bundle, None, Some(Format::Tar)).unwrap();
        assert_eq!(tar.status(), format!("https://example.org/larder/vault/directory/{ID}.tar/status"));
        assert_eq!(tar.proof(), format!("https://example.org/larder/vault/directory/{ID}/proof"));
    }

    #[test]
    fn a_url_may_say_under_which_name_to_save_the_bundle() {
        let bundle = format!("https://example.org/vault/directory/{ID}.tar.gz");
        let parse = |query: &str| Target::parse(&format!("{bundle}{query}"), None, None);
        for (query, name) in [
            ("?filename=a-1.0.tar.gz", "a-1.0.tar.gz".to_owned()),
            ("?filename=x.tgz&type=application/gzip", "x.tgz".to_owned()),
            ("?", parse("").unwrap().key().file_name()),
        ] {
            let target = parse(query).unwrap();
            assert_eq!((target.bundle(), target.file_name()), (bundle.clone(), name), "{query}");
        }
        for query in ["?filename=../x", "?filename=.x", "?filename=a%2fb", "?filename=", "?filename", "?name=x", "?x"] {
            assert!(parse(query).is_err(), "{query}");
        }
        assert!(parse("?filename=a&filename=b").is_err());
    }

    #[test]
    fn what_names_no_bundle_says_so() {
        let swhid = format!("swh:1:dir:{ID}");
        for (text, server) in [
            (swhid.as_str(), None),
            (&swhid, Some("ftp://example.org")),
            (&swhid, Some("https://example.org/?x")),
            (&swhid, Some("example.org")),
            ("https://example.org/", None),
            ("https://example.org/vault/directory/x", None),
            ("https:///vault/directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904", None),
            ("directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904", Some("https://example.org")),
        ] {
            assert!(Target::parse(text, server, None).is_err(), "{text} {server:?}");
        }
    }
}
