//! The style, the script and the icon of the pages. They are part of the program; their path says which version they
//! are of, so that browsers keep them for ever and never take those of another version.

use super::super::body::Body;
use super::super::conditional::only;
use super::super::etag::{Comparison, list_has};
use super::super::refused::not_routed;
use super::super::route::RouteError;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Response, StatusCode};
use std::sync::LazyLock;

/// Name, media type and bytes of each.
const ASSETS: [(&str, &str, &[u8]); 3] = [
    ("page.css", "text/css; charset=utf-8", include_bytes!("static/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_bytes!("static/page.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("static/icon.svg")),
];

/// A digest of all of them, in hexadecimal.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = blake3::Hasher::new();
    for (name, _, bytes) in ASSETS {
        digest.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    digest.finalize().to_hex()[..16].to_owned()
});

/// The path of one below larder's root.
pub(super) fn path(name: &str) -> String {
    format!("/static/{}/{name}", *VERSION)
}

/// `GET, HEAD /static/:version/:name`
pub(in super::super) fn respond(headers: &HeaderMap, version: &str, name: &str) -> Response<Body> {
    let asset = ASSETS.into_iter().find(|(known, ..)| *known == name).filter(|_| version == *VERSION);
    let Some((_, media_type, bytes)) = asset else { return not_routed(&RouteError::NotFound) };
    let etag = format!("\"{}\"", *VERSION);
    let is_known = only(headers, &IF_NONE_MATCH).is_some_and(|tags| list_has([tags], &etag, Comparison::Weak));
    let mut response = Response::new(if is_known { Body::Empty } else { Body::Full(Bytes::from_static(bytes)) });
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    fields.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    // An SVG that is opened by itself is a page.
    fields.insert("content-security-policy", HeaderValue::from_static("default-src 'none'"));
    fields.extend(HeaderValue::try_from(etag).map(|etag| (ETAG, etag)));
    response
}
