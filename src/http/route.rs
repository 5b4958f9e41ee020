//! From a request's method and target to a [`Route`]. Owns every URL of larder; pure, and with `query` and `spelled`
//! the only place that reads a target. What is not one of these never reaches a file name.

pub use super::page::{Place, Search};
pub use super::query::{MAX_PAGE, Origins, Page, Question, SavedAs, Visits, Wished, cursor};
pub use super::spelled::NamedPath;
use super::{query, spelled};
use crate::key::{BundleKey, ObjectKind, ParseError, Sha1Git};
use hyper::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET, HEAD /vault/:kind/:id[.:ext][?filename=][&type=]`: the bundle, and how it is to be saved
    Bundle(BundleKey, SavedAs),
    /// `POST /vault/:kind/:id[.:ext][?filename=][&type=]`
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
    /// `GET, HEAD /archive?origin=&ref=&format=`
    Named(Wished),
    /// `GET, HEAD /archive/:repository/:name`: the path of an origin, and `<ref>.<ext>`
    NamedPath(NamedPath),
    /// `GET, HEAD /archiver/status/:task`
    Task(String),
    /// `GET, HEAD /archiver/:source/...`: the parts of the path below `/archiver/`. What methods it
    /// takes, and what is wrong with it, is said in the Archiver's own words.
    Archive(Vec<String>),
    /// A name written otherwise than larder writes it: the plain path, below the root path.
    Elsewhere(String),
    /// `GET, HEAD /[?q=&ref=]`
    Index(Option<Search>),
    /// `GET, HEAD /browse/:swhid[?format=&from=]`
    Browse(Box<Place>),
    /// `POST /browse/:swhid[?format=&from=]`: an order by a form
    Order(Box<Place>),
    /// `GET, HEAD /static/:version/:name`
    Asset(String, String),
    /// `GET, HEAD /healthz`
    Health,
    /// `GET, HEAD /readyz`
    Ready,
    /// `GET, HEAD /metrics`
    Metrics,
    /// `GET, HEAD /robots.txt`
    Robots,
    /// `GET, HEAD /openapi.json`
    OpenApi,
}

impl Route {
    /// The word under which its requests are counted.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bundle(..) => "bundle",
            Self::Cook(_) => "cook",
            Self::Status(_) => "status",
            Self::List(_) => "list",
            Self::Proof(..) => "proof",
            Self::Resolve(_) => "resolve",
            Self::Origins(_) => "origins",
            Self::Visits(_) => "visits",
            Self::Named(_) | Self::NamedPath(_) => "archive",
            Self::Task(_) => "archiver-task",
            Self::Archive(_) => "archiver",
            Self::Elsewhere(_) => "elsewhere",
            Self::Index(_) => "index",
            Self::Browse(_) => "browse",
            Self::Order(_) => "order",
            Self::Asset(..) => "static",
            Self::Health => "healthz",
            Self::Ready => "readyz",
            Self::Metrics => "metrics",
            Self::Robots => "robots",
            Self::OpenApi => "openapi",
        }
    }
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
    let below = below(path, root_path).ok_or(RouteError::NotFound)?;
    let segments: Vec<Cow<'_, str>> = below
        .split('/')
        .skip(1)
        .map(|segment| percent_decode_str(segment).decode_utf8().map_err(|_| RouteError::NotFound))
        .collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    // One would else be taken for a kind, which takes no POST.
    let is_swhid = matches!(*segments, ["vault", first, ..] if spelled::is_swhid(first));
    let routed = match *method {
        Method::GET | Method::HEAD | Method::POST if is_swhid => Err(RouteError::NotFound),
        _ => plain(method, &segments, query),
    };
    match routed {
        Err(error @ (RouteError::Key(_) | RouteError::NotFound)) => match spelled::plain_path(&segments) {
            Some(Ok(path)) => Ok(Route::Elsewhere(path)),
            Some(Err(error)) => Err(error.into()),
            None => Err(error),
        },
        routed => routed,
    }
}

/// What of a path lies below `root_path`: nothing, or what begins with a slash.
pub(super) fn below<'p>(path: &'p str, root_path: &str) -> Option<&'p str> {
    path.strip_prefix(root_path).filter(|below| below.is_empty() || below.starts_with('/'))
}

/// The route of what is written as larder writes it.
fn plain(method: &Method, segments: &[&str], query: Option<&str>) -> Result<Route, RouteError> {
    let bare = |route: Route| read_only(method, || query::none(query).map(|()| route));
    match *segments {
        [] | [""] => read_only(method, || Ok(Route::Index(query::search(query)?))),
        ["browse", ref parts @ ..] if !parts.is_empty() => {
            let place = || query::place(Place::parse(&parts.join("/"))?, query).map(Box::new);
            match *method {
                Method::GET | Method::HEAD => place().map(Route::Browse),
                Method::POST => place().map(Route::Order),
                _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, POST" }),
            }
        }
        ["static", version, name] => bare(Route::Asset(version.to_owned(), name.to_owned())),
        ["healthz"] => bare(Route::Health),
        ["readyz"] => bare(Route::Ready),
        ["metrics"] => bare(Route::Metrics),
        ["robots.txt"] => bare(Route::Robots),
        ["openapi.json"] => bare(Route::OpenApi),
        ["origins"] => read_only(method, || {
            Ok(match query::origins(query)? {
                Ok(origins) => Route::Origins(origins),
                Err(visits) => Route::Visits(visits),
            })
        }),
        ["vault", "resolve"] => read_only(method, || Ok(Route::Resolve(query::question(query)?))),
        ["archive"] => read_only(method, || Ok(Route::Named(query::wished(query)?))),
        ["archive", ref path @ .., last] if !path.is_empty() => read_only(method, || {
            let route = Route::NamedPath(NamedPath::parse(path, last)?);
            query::none(query).map(|()| route)
        }),
        ["archiver", "status", ref id @ ..] if !id.is_empty() => Ok(Route::Task(id.join("/"))),
        ["archiver", ref path @ ..] => Ok(Route::Archive(path.iter().map(|&part| part.to_owned()).collect())),
        ["vault", kind] => read_only(method, || Ok(Route::List(query::page(kind.parse()?, query)?))),
        ["vault", kind, segment] => {
            let read = || {
                let key = BundleKey::from_segment(kind.parse()?, segment)?;
                Ok::<_, RouteError>((key, query::saved_as(key.kind(), query)?))
            };
            match *method {
                Method::GET | Method::HEAD => read().map(|(key, saved)| Route::Bundle(key, saved)),
                // The query means nothing to a cook, but is part of the URL that its client has.
                Method::POST => read().map(|(key, _)| Route::Cook(key)),
                _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD, POST" }),
            }
        }
        ["vault", kind, segment, "status"] => read_only(method, || {
            let route = Route::Status(BundleKey::from_segment(kind.parse()?, segment)?);
            query::none(query).map(|()| route)
        }),
        ["vault", kind @ ("revision" | "release" | "snapshot"), id, "proof"] => read_only(method, || {
            let route = Route::Proof(kind.parse()?, id.parse()?);
            query::none(query).map(|()| route)
        }),
        _ => Err(RouteError::NotFound),
    }
}

fn read_only(method: &Method, route: impl FnOnce() -> Result<Route, RouteError>) -> Result<Route, RouteError> {
    match *method {
        Method::GET | Method::HEAD => route(),
        _ => Err(RouteError::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origins::TreePath;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn get(path: &str) -> Result<Route, RouteError> {
        route(&Method::GET, path, None, "")
    }

    #[test]
    fn every_endpoint_has_its_route() {
        let key: BundleKey = format!("directory/{ID}").parse().unwrap();
        let tar: BundleKey = format!("directory/{ID}.tar").parse().unwrap();
        assert_eq!(get(&format!("/vault/directory/{ID}")), Ok(Route::Bundle(key, SavedAs::default())));
        assert_eq!(get(&format!("/vault/directory/{ID}.tar.gz")), Ok(Route::Bundle(key, SavedAs::default())));
        assert_eq!(get(&format!("/vault/directory/{ID}.tar")), Ok(Route::Bundle(tar, SavedAs::default())));
        assert_eq!(get(&format!("/vault/directory/{ID}.tar/status")), Ok(Route::Status(tar)));
        assert_eq!(route(&Method::POST, &format!("/vault/directory/{ID}"), None, ""), Ok(Route::Cook(key)));
        assert_eq!(get("/healthz"), Ok(Route::Health));
        assert_eq!(get("/readyz"), Ok(Route::Ready));
        assert_eq!(get("/metrics"), Ok(Route::Metrics));
        assert_eq!(get("/robots.txt"), Ok(Route::Robots));
        assert_eq!(get("/"), Ok(Route::Index(None)));
    }

    #[test]
    fn the_root_path_moves_everything_and_nothing_is_left_outside() {
        let at = |path: &str| route(&Method::GET, path, None, "/larder");
        assert_eq!(at("/larder/healthz"), Ok(Route::Health));
        assert_eq!(at("/larder"), Ok(Route::Index(None)));
        for path in ["/healthz", "/larderhealthz", "/", "/larder2/healthz"] {
            assert_eq!(at(path), Err(RouteError::NotFound), "{path}");
        }
    }

    #[test]
    fn malformed_keys_are_400_and_unknown_paths_404() {
        assert_eq!(get("/vault/directory/../../etc/passwd"), Err(RouteError::NotFound));
        assert_eq!(get("/vault/directory/..%2f..%2fetc%2fpasswd"), Err(RouteError::Key(ParseError::Id)));
        assert_eq!(get(&format!("/vault/trees/{ID}")), Err(RouteError::Key(ParseError::Kind)));
        assert_eq!(get(&format!("/vault/directory/{ID}.exe")), Err(RouteError::Key(ParseError::Format)));
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
    fn what_is_not_understood_in_a_query_is_refused_everywhere() {
        for path in ["/", "/healthz", "/readyz", "/robots.txt", "/origins", "/vault/resolve", "/vault/directory"] {
            let error = route(&Method::GET, path, Some("x=1"), "").unwrap_err();
            assert!(matches!(error, RouteError::Query(_)), "{path}: {error:?}");
        }
        let bundle = format!("/vault/revision/{ID}");
        for (method, tail) in [
            (Method::GET, ""),
            (Method::HEAD, ""),
            (Method::POST, ""),
            (Method::GET, "/status"),
            (Method::GET, "/proof"),
        ] {
            let error = route(&method, &format!("{bundle}{tail}"), Some("filenam=x"), "").unwrap_err();
            assert!(matches!(error, RouteError::Query(_)), "{method} {tail}: {error:?}");
        }
        let key: BundleKey = format!("revision/{ID}").parse().unwrap();
        let named = Some("filename=x.tgz");
        let expected = Route::Bundle(key, SavedAs { name: Some("x.tgz".to_owned()), media_type: None });
        assert_eq!(route(&Method::GET, &bundle, named, ""), Ok(expected));
        assert_eq!(route(&Method::POST, &bundle, named, ""), Ok(Route::Cook(key)));
    }

    #[test]
    fn what_is_below_archiver_is_passed_on_as_it_is() {
        let parts = |path: &[&str]| path.iter().map(|&part| part.to_owned()).collect();
        assert_eq!(get("/archiver/status/3d11-0a"), Ok(Route::Task("3d11-0a".to_owned())));
        assert_eq!(get("/archiver/hgmo/a%2Fb/c/3d11"), Ok(Route::Archive(parts(&["hgmo", "a/b", "c", "3d11"]))));
        assert_eq!(get("/archiver"), Ok(Route::Archive(Vec::new())));
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
