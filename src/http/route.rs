//! From a request's method and target to a [`Route`]. Owns every URL of larder; pure, and the only
//! place that reads a path. What is not one of these never reaches a file name.

use crate::archiver::media::MEDIA_TYPES;
use crate::key::{BundleKey, Format, ObjectKind, ParseError, Sha1Git};
use crate::origins::TreePath;
use hyper::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The most bundles on a page of the list.
pub const MAX_PAGE: u32 = 1000;

/// The bundles on a page when the request does not say.
const DEFAULT_PAGE: u32 = 100;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET, HEAD /vault/:kind/:id[.:ext]`
    Bundle(BundleKey),
    /// `POST /vault/:kind/:id[.:ext]`
    Cook(BundleKey),
    /// `GET, HEAD /vault/:kind/:id[.:ext]/status`
    Status(BundleKey),
    /// `GET, HEAD /vault/:kind?limit=&cursor=`
    List(Page),
    /// `GET, HEAD /vault/:kind/:id/proof`, of a revision, a release or a snapshot
    Proof(ObjectKind, Sha1Git),
    /// `GET, HEAD /vault/resolve?origin=&ref=&path=`
    Resolve(Question),
    /// `GET, HEAD /origins?limit=&cursor=`
    Origins(Origins),
    /// `GET, HEAD /origins?url=&limit=&cursor=`
    Visits(Visits),
    /// `GET, HEAD /archiver/status/:task`
    Task(String),
    /// `GET, HEAD /archiver/:source/...`: the parts of the path below `/archiver/`. What methods it
    /// takes, and what is wrong with it, is said in the Archiver's own words.
    Archive(Vec<String>),
    /// `GET, HEAD /`
    Index,
    /// `GET, HEAD /healthz`
    Health,
    /// `GET, HEAD /readyz`
    Ready,
    /// `GET, HEAD /robots.txt`
    Robots,
}

/// A page of the list of bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The kind listed.
    pub kind: ObjectKind,
    /// The last bundle of the page before.
    pub after: Option<(Sha1Git, Format)>,
    /// How many at most.
    pub limit: u32,
}

/// What is asked of a known repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its URL.
    pub origin: String,
    /// A branch, a tag or an id.
    pub reference: Vec<u8>,
    /// A path below the directory of that.
    pub path: Option<TreePath>,
}

/// A page of the list of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// The last URL of the page before.
    pub after: Option<String>,
    /// How many at most.
    pub limit: u32,
}

/// A page of the visits of an origin, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visits {
    /// The origin's URL.
    pub url: String,
    /// The number of the last visit of the page before.
    pub before: Option<u64>,
    /// How many at most.
    pub limit: u32,
}

/// Why a request is no [`Route`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing is at this path.
    #[error("there is nothing here")]
    NotFound,
    /// The path names something, which does not take this method.
    #[error("this takes {allow}")]
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: &'static str,
    },
    /// A malformed kind, id or format.
    #[error(transparent)]
    Key(#[from] ParseError),
    /// A malformed parameter.
    #[error("{0}")]
    Query(&'static str),
}

/// The route of a request below `root_path` (empty, or `/like/this`).
///
/// # Errors
/// [`RouteError`], which says what is wrong in words for the client.
pub fn route(method: &Method, path: &str, query: Option<&str>, root_path: &str) -> Result<Route, RouteError> {
    let below = path.strip_prefix(root_path).filter(|below| below.is_empty() || below.starts_with('/'));
    let below = below.ok_or(RouteError::NotFound)?;
    let segments: Vec<Cow<'_, str>> = below
        .split('/')
        .skip(1)
        .map(|segment| percent_decode_str(segment).decode_utf8().map_err(|_| RouteError::NotFound))
        .collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    match *segments.as_slice() {
        [] | [""] => read_only(method, || Ok(Route::Index)),
        ["healthz"] => read_only(method, || Ok(Route::Health)),
        ["readyz"] => read_only(method, || Ok(Route::Ready)),
        ["robots.txt"] => read_only(method, || Ok(Route::Robots)),
        ["origins"] => read_only(method, || origins(query)),
        ["vault", "resolve"] => read_only(method, || Ok(Route::Resolve(question(query)?))),
        ["archiver", "status", ref id @ ..] if !id.is_empty() => Ok(Route::Task(id.join("/"))),
        ["archiver", ref path @ ..] => Ok(Route::Archive(path.iter().map(|&part| part.to_owned()).collect())),
        ["vault", kind] => read_only(method, || Ok(Route::List(page(kind.parse()?, query)?))),
        ["vault", kind, segment] => {
            let key = || Ok::<_, RouteError>(BundleKey::from_segment(kind.parse()?, segment)?);
            match *method {
                Method::GET | Method::HEAD => Ok(Route::Bundle(key()?)),
                Method::POST => Ok(Route::Cook(key()?)),
                _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, POST" }),
            }
        }
        ["vault", kind, segment, "status"] => {
            read_only(method, || Ok(Route::Status(BundleKey::from_segment(kind.parse()?, segment)?)))
        }
        ["vault", kind @ ("revision" | "release" | "snapshot"), id, "proof"] => {
            read_only(method, || Ok(Route::Proof(kind.parse()?, id.parse()?)))
        }
        _ => Err(RouteError::NotFound),
    }
}

fn read_only(method: &Method, route: impl FnOnce() -> Result<Route, RouteError>) -> Result<Route, RouteError> {
    match *method {
        Method::GET | Method::HEAD => route(),
        _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

fn page(kind: ObjectKind, query: Option<&str>) -> Result<Page, RouteError> {
    let mut page = Page { kind, after: None, limit: DEFAULT_PAGE };
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("limit", limit) => page.limit = parse_limit(limit)?,
            ("cursor", cursor) => page.after = Some(parse_cursor(cursor)?),
            _ => return Err(RouteError::Query("the parameters of a list are limit and cursor")),
        }
    }
    Ok(page)
}

fn parse_limit(text: &str) -> Result<u32, RouteError> {
    match text.parse() {
        Ok(limit @ 1..=MAX_PAGE) => Ok(limit),
        _ => Err(RouteError::Query("limit is a number from 1 to 1000")),
    }
}

fn origins(query: Option<&str>) -> Result<Route, RouteError> {
    let (mut url, mut cursor, mut limit) = (None, None, DEFAULT_PAGE);
    for (name, value) in parameters(query) {
        match name {
            "url" => url = Some(text(&value, "url is the URL of an origin")?),
            "cursor" => cursor = Some(text(&value, BAD_CURSOR)?),
            "limit" => limit = parse_limit(&String::from_utf8_lossy(&value))?,
            _ => return Err(RouteError::Query("the parameters of origins are url, limit and cursor")),
        }
    }
    Ok(match url {
        None => Route::Origins(Origins { after: cursor, limit }),
        Some(url) => {
            let before = cursor.map(|cursor| cursor.parse().map_err(|_| RouteError::Query(BAD_CURSOR))).transpose()?;
            Route::Visits(Visits { url, before, limit })
        }
    })
}

fn question(query: Option<&str>) -> Result<Question, RouteError> {
    let (mut origin, mut reference, mut path) = (None, b"HEAD".to_vec(), None);
    for (name, value) in parameters(query) {
        match name {
            "origin" => origin = Some(text(&value, "origin is the URL of a known repository")?),
            "ref" if !value.is_empty() && value.len() <= MAX_REF && !value.contains(&0) => reference = value,
            "ref" => return Err(RouteError::Query("ref is a branch, a tag or forty hexadecimal digits")),
            "path" => match TreePath::parse(&value) {
                Some(parsed) => path = Some(parsed),
                None => return Err(RouteError::Query("path is names between slashes, from the top of the tree")),
            },
            _ => return Err(RouteError::Query("the parameters of resolve are origin, ref and path")),
        }
    }
    let origin = origin.ok_or(RouteError::Query("origin is missing: the URL of a known repository"))?;
    Ok(Question { origin, reference, path })
}

/// The longest name of a ref that is looked up, in bytes.
const MAX_REF: usize = 4095;

const BAD_CURSOR: &str = "cursor is that of a page before";

/// The parameters of a query, their values decoded. A plus sign is one: neither a URL nor a ref holds
/// a space.
fn parameters(query: Option<&str>) -> impl Iterator<Item = (&str, Vec<u8>)> {
    query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name, percent_decode_str(value).collect())
    })
}

fn text(value: &[u8], what: &'static str) -> Result<String, RouteError> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.len() <= MAX_REF);
    text.map(str::to_owned).ok_or(RouteError::Query(what))
}

/// The name under which a content is to be saved, `?filename=`: a content has none of its own. Only
/// letters, digits, `_`, `+`, `-` and `.`, which nginx takes too; else it is as if none was given.
#[must_use]
pub fn file_name(query: Option<&str>) -> Option<&str> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, name) = pairs.find(|(key, _)| *key == "filename")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
    (!name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.bytes().all(legal)).then_some(name)
}

/// The media type that a content is to have, `&type=`: one of archives, written as it is.
#[must_use]
pub fn media_type(query: Option<&str>) -> Option<&'static str> {
    let mut pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, asked) = pairs.find(|(key, _)| *key == "type")?;
    MEDIA_TYPES.into_iter().find(|known| *known == asked)
}

/// A cursor names the last bundle of a page: `<id>.<ext>`, which needs no escape in a URL.
#[must_use]
pub fn cursor(key: &BundleKey) -> String {
    format!("{}.{}", key.id(), key.format())
}

fn parse_cursor(text: &str) -> Result<(Sha1Git, Format), RouteError> {
    text.split_once('.')
        .and_then(|(id, ext)| Some((id.parse().ok()?, ext.parse().ok()?)))
        .ok_or(RouteError::Query(BAD_CURSOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn get(path: &str) -> Result<Route, RouteError> {
        route(&Method::GET, path, None, "")
    }

    #[test]
    fn every_endpoint_has_its_route() {
        let key: BundleKey = format!("directory/{ID}").parse().unwrap();
        let tar: BundleKey = format!("directory/{ID}.tar").parse().unwrap();
        assert_eq!(get(&format!("/vault/directory/{ID}")), Ok(Route::Bundle(key)));
        assert_eq!(get(&format!("/vault/directory/{ID}.tar.gz")), Ok(Route::Bundle(key)));
        assert_eq!(get(&format!("/vault/directory/{ID}.tar")), Ok(Route::Bundle(tar)));
        assert_eq!(get(&format!("/vault/directory/{ID}.tar/status")), Ok(Route::Status(tar)));
        assert_eq!(route(&Method::POST, &format!("/vault/directory/{ID}"), None, ""), Ok(Route::Cook(key)));
        assert_eq!(get("/healthz"), Ok(Route::Health));
        assert_eq!(get("/readyz"), Ok(Route::Ready));
        assert_eq!(get("/robots.txt"), Ok(Route::Robots));
        assert_eq!(get("/"), Ok(Route::Index));
    }

    #[test]
    fn the_root_path_moves_everything_and_nothing_is_left_outside() {
        let at = |path: &str| route(&Method::GET, path, None, "/larder");
        assert_eq!(at("/larder/healthz"), Ok(Route::Health));
        assert_eq!(at("/larder"), Ok(Route::Index));
        for path in ["/healthz", "/larderhealthz", "/", "/larder2/healthz"] {
            assert_eq!(at(path), Err(RouteError::NotFound), "{path}");
        }
    }

    #[test]
    fn malformed_keys_are_400_and_unknown_paths_404() {
        assert_eq!(get("/vault/directory/../../etc/passwd"), Err(RouteError::NotFound));
        assert_eq!(get("/vault/directory/..%2f..%2fetc%2fpasswd"), Err(RouteError::Key(ParseError::Id)));
        assert_eq!(get(&format!("/vault/tree/{ID}")), Err(RouteError::Key(ParseError::Kind)));
        assert_eq!(get(&format!("/vault/directory/{ID}.exe")), Err(RouteError::Key(ParseError::Format)));
        assert_eq!(get(&format!("/vault/directory/{}", ID.to_uppercase())), Err(RouteError::Key(ParseError::Id)));
        assert_eq!(get(&format!("/vault/directory/{ID}/")), Err(RouteError::NotFound));
        assert_eq!(get("/vault"), Err(RouteError::NotFound));
    }

    #[test]
    fn wrong_methods_are_told_the_right_ones() {
        for (method, path, allow) in [
            (Method::DELETE, format!("/vault/directory/{ID}"), "GET, HEAD, POST"),
            (Method::POST, format!("/vault/directory/{ID}/status"), "GET, HEAD"),
            (Method::PUT, "/healthz".to_owned(), "GET, HEAD"),
        ] {
            assert_eq!(route(&method, &path, None, ""), Err(RouteError::MethodNotAllowed { allow }), "{path}");
        }
    }

    #[test]
    fn a_content_is_saved_under_a_plain_name_only() {
        for (query, name) in [
            ("filename=ash-3d11cb4f31b9.tar.gz", Some("ash-3d11cb4f31b9.tar.gz")),
            ("a=b&filename=x.zip&c", Some("x.zip")),
            ("filename=", None),
            ("filename=.htaccess", None),
            ("filename=a%22b", None),
            ("filename=a/b", None),
            ("name=x", None),
        ] {
            assert_eq!(file_name(Some(query)), name, "{query}");
        }
    }

    #[test]
    fn a_content_has_the_type_of_an_archive_only() {
        for (query, found) in [
            ("filename=x.tar.gz&type=application/x-gzip", Some("application/x-gzip")),
            ("type=application/zip", Some("application/zip")),
            ("type=text/html", None),
            ("type=application/zip;x", None),
            ("type=application%2Fzip", None),
            ("xtype=application/zip", None),
        ] {
            assert_eq!(media_type(Some(query)), found, "{query}");
        }
    }

    #[test]
    fn what_is_below_archiver_is_passed_on_as_it_is() {
        let parts = |path: &[&str]| path.iter().map(|&part| part.to_owned()).collect();
        assert_eq!(get("/archiver/status/3d11-0a"), Ok(Route::Task("3d11-0a".to_owned())));
        assert_eq!(get("/archiver/hgmo/a%2Fb/c/3d11"), Ok(Route::Archive(parts(&["hgmo", "a/b", "c", "3d11"]))));
        assert_eq!(get("/archiver"), Ok(Route::Archive(Vec::new())));
    }

    #[test]
    fn a_page_is_bounded_and_its_cursor_reads_back() {
        let key: BundleKey = format!("directory/{ID}.tar").parse().unwrap();
        let query = format!("limit=7&cursor={}", cursor(&key));
        let page = Page { kind: ObjectKind::Directory, after: Some((key.id(), key.format())), limit: 7 };
        assert_eq!(route(&Method::GET, "/vault/directory", Some(&query), ""), Ok(Route::List(page)));
        for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=", "what=1", "limit"] {
            let error = route(&Method::GET, "/vault/directory", Some(query), "").unwrap_err();
            assert!(matches!(error, RouteError::Query(_)), "{query}: {error:?}");
        }
    }

    #[test]
    fn origins_are_asked_for_by_url_and_resolved_by_ref() {
        let at = |path: &str, query: &str| route(&Method::GET, path, Some(query), "");
        let origins = Origins { after: Some("https://a/b".to_owned()), limit: 2 };
        assert_eq!(at("/origins", "cursor=https:%2f%2fa/b&limit=2"), Ok(Route::Origins(origins)));
        let visits = Visits { url: "https://a/b+c".to_owned(), before: Some(7), limit: 100 };
        assert_eq!(at("/origins", "url=https://a/b+c&cursor=7"), Ok(Route::Visits(visits)));
        let question = |reference: &[u8]| {
            let origin = "https://a".to_owned();
            Ok(Route::Resolve(Question { origin, reference: reference.to_vec(), path: None }))
        };
        let below =
            Question { origin: "https://a".to_owned(), reference: b"v1".to_vec(), path: TreePath::parse(b"docs/a b") };
        assert_eq!(at("/vault/resolve", "origin=https://a&ref=v1&path=docs/a%20b/"), Ok(Route::Resolve(below)));
        assert_eq!(at("/vault/resolve", "origin=https://a&ref=v1.0+x%ff"), question(b"v1.0+x\xff"));
        assert_eq!(at("/vault/resolve", "origin=https://a"), question(b"HEAD"));
        for (path, query) in [
            ("/origins", "url="),
            ("/origins", "url=%ff"),
            ("/origins", "url=x&cursor=-1"),
            ("/origins", "uri=x"),
            ("/vault/resolve", ""),
            ("/vault/resolve", "ref=main"),
            ("/vault/resolve", "origin=x&ref="),
            ("/vault/resolve", "origin=x&ref=a%00b"),
            ("/vault/resolve", "origin=x&path="),
            ("/vault/resolve", "origin=x&path=/a"),
            ("/vault/resolve", "origin=x&path=a/../b"),
        ] {
            let error = at(path, query).unwrap_err();
            assert!(matches!(error, RouteError::Query(_)), "{path}?{query}: {error:?}");
        }
        let id = ID.parse().unwrap();
        assert_eq!(get(&format!("/vault/release/{ID}/proof")), Ok(Route::Proof(ObjectKind::Release, id)));
        assert_eq!(get(&format!("/vault/directory/{ID}/proof")), Err(RouteError::NotFound));
        assert_eq!(get("/vault/release/x/proof"), Err(RouteError::Key(ParseError::Id)));
    }

    proptest! {
        #[test]
        fn no_path_makes_it_panic(path in "/.{0,60}", query in proptest::option::of(".{0,30}")) {
            let _ = route(&Method::GET, &path, query.as_deref(), "");
            let _ = route(&Method::GET, &format!("/vault{path}"), query.as_deref(), "");
        }
    }
}
