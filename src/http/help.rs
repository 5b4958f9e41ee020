//! What larder says of itself: a few lines for who asks with a program, and the document of its endpoints (OpenAPI 3.1),
//! which a test holds against the routes and against what they answer.

use super::answer::plain;
use super::body::Body;
use crate::bodies::Base;
use crate::key::{Format, ObjectKind};
use hyper::{Response, StatusCode};

/// `GET, HEAD /openapi.json`
pub(super) fn openapi() -> Response<Body> {
    let document = include_str!("openapi.json").replace("@version@", env!("CARGO_PKG_VERSION"));
    plain(StatusCode::OK, "application/json", document.into_bytes())
}

/// What there is to ask, for who comes without a browser.
pub(super) fn help(base: &Base) -> String {
    let of = |kind| {
        let of: Vec<_> = Format::ALL.into_iter().filter(|format| format.is_of(kind)).map(Format::ext).collect();
        format!("  {kind:<10} {}\n", of.join(" "))
    };
    let formats = ObjectKind::ALL.map(of).concat();
    format!(
        "larder {}: bundles of source code, cooked once and kept as files.\n\n\
         cook     curl -X POST {base}/vault/KIND/ID.FORMAT\n\
         fetch    curl -f -OJ {base}/vault/KIND/ID.FORMAT\n\
         ask      curl {base}/vault/KIND/ID.FORMAT/status\n\
         list     curl {base}/vault/KIND\n\
         resolve  curl '{base}/vault/resolve?origin=URL&ref=BRANCH'\n\
         origins  curl {base}/origins\n\n\
         ID is the sha1git of an object, KIND what it is. The FORMATs of each, the first meant when none is given:\n\n\
         {formats}\n\
         With -H 'Prefer: wait=30' a request waits for its cook.\n",
        env!("CARGO_PKG_VERSION"),
        base = base.url("")
    )
}
