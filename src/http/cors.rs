//! Answers that pages of other origins may read (WHATWG Fetch, "CORS protocol"): for what is public anyway and takes no
//! cookie. Whoever lets such pages in calls `preflight` first and `allow_any_origin` on every answer, refusals too;
//! of `/vault`, `/origins` and `/archive` a setting says whose pages ([`Pages`]).

use super::body::Body;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, Response};

/// What a page may send beside what needs no leave.
const REQUEST_HEADERS: &str = "accept, authorization, content-type, if-none-match, if-range, prefer, range";

/// What a page may read beside what needs no leave.
const RESPONSE_HEADERS: &str = "accept-ranges, content-disposition, content-range, etag, link, location, \
                                repr-digest, retry-after, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset";

/// How long a browser may remember the answer to a preflight, in seconds: a day.
const MAX_AGE: &str = "86400";

/// Pages of which origins may read what is at `is_shared`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pages {
    /// Of none but larder's own.
    #[default]
    Own,
    /// Of all.
    Any,
    /// Of these.
    Of(Vec<String>),
}

/// Whether a path below larder's root is one that the setting is about.
pub(super) fn is_shared(path: &str) -> bool {
    let first = path.strip_prefix('/').map_or("", |path| path.split('/').next().unwrap_or_default());
    matches!(first, "vault" | "origins" | "archive")
}

impl Pages {
    /// The answer to a preflight; `None` when this is none, or no pages are let in.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
        if *self == Self::Own { None } else { preflight(method, headers) }
    }

    /// Lets the pages that may read the answer.
    pub(super) fn allow(&self, method: &Method, headers: &HeaderMap, response: &mut Response<Body>) {
        match self {
            Self::Own => {}
            // Always the same, so that one kept by a cache is good for every page.
            Self::Any => grant(method, HeaderValue::from_static("*"), response),
            Self::Of(origins) => {
                response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
                let asks = headers.get(ORIGIN).filter(|asks| origins.iter().any(|origin| *asks == origin));
                if let Some(origin) = asks {
                    grant(method, origin.clone(), response);
                }
            }
        }
    }
}

/// The answer to a preflight: a browser asks what it may send before it does. `None` when this is none.
pub(super) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let is_one = *method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    is_one.then(Response::default)
}

/// Lets a page of whatever origin read the answer to this request. Does nothing when no page asks, but that the answer
/// says that it depends on who does.
pub(super) fn allow_any_origin(method: &Method, headers: &HeaderMap, response: &mut Response<Body>) {
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    if headers.contains_key(ORIGIN) {
        grant(method, HeaderValue::from_static("*"), response);
    }
}

fn grant(method: &Method, origin: HeaderValue, response: &mut Response<Body>) {
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    if *method == Method::OPTIONS {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS, POST"));
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let named = |&(name, value): &(&'static str, &'static str)| {
            (hyper::header::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(named).collect()
    }

    #[test]
    fn only_a_browser_that_asks_for_leave_gets_an_answer_about_leave_alone() {
        let origin = ("origin", "https://client.example");
        let asks = asked(&[origin, ("access-control-request-method", "POST")]);
        assert!(preflight(&Method::OPTIONS, &asks).is_some());
        assert!(preflight(&Method::GET, &asks).is_none());
        assert!(preflight(&Method::OPTIONS, &asked(&[origin])).is_none());
        assert!(preflight(&Method::OPTIONS, &asked(&[("access-control-request-method", "POST")])).is_none());
    }

    #[test]
    fn pages_of_the_origins_that_are_named_are_let_in_and_no_others() {
        let pages = Pages::Of(vec!["https://a.example".to_owned()]);
        for (origin, allowed) in [
            ("https://a.example", Some("https://a.example")),
            ("http://a.example", None),
            ("https://a.example.evil.example", None),
            ("null", None),
        ] {
            let mut response = Response::default();
            pages.allow(&Method::GET, &asked(&[("origin", origin)]), &mut response);
            let found = response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap());
            assert_eq!((found, &response.headers()[VARY]), (allowed, &HeaderValue::from_static("Origin")), "{origin}");
        }
        let mut response = Response::default();
        Pages::Own.allow(&Method::GET, &asked(&[("origin", "https://a.example")]), &mut response);
        assert!(response.headers().is_empty());
        Pages::Any.allow(&Method::GET, &asked(&[]), &mut response);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!response.headers().contains_key(VARY), "it is the same for every page");
    }

    #[test]
    fn only_what_is_public_is_shared() {
        for (path, shared) in [
            ("/vault/directory", true),
            ("/vault", true),
            ("/origins", true),
            ("/archive/x/y", true),
            ("/", false),
            ("/metrics", false),
            ("/archiver/x", false),
            ("/vaults", false),
            ("", false),
        ] {
            assert_eq!(is_shared(path), shared, "{path}");
        }
    }

    #[test]
    fn who_names_no_origin_is_told_nothing_of_origins_and_caches_are() {
        let mut response = Response::default();
        allow_any_origin(&Method::GET, &asked(&[]), &mut response);
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.headers()[VARY], "Origin");
        allow_any_origin(&Method::GET, &asked(&[("origin", "null")]), &mut response);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_METHODS));
        allow_any_origin(&Method::OPTIONS, &asked(&[("origin", "null")]), &mut response);
        assert_eq!(response.headers()[ACCESS_CONTROL_MAX_AGE], "86400");
    }
}
