//! What larder says of an origin, and of the objects that a name leads to.

use super::Base;
use crate::catalogue::Origin;
use crate::key::{BundleKey, ObjectKind, Sha1Git, Swhid};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// An object, and where there is more of it.
#[derive(Debug, Serialize)]
pub struct ObjectBody {
    kind: &'static str,
    id: String,
    swhid: String,
    links: ObjectLinks,
}

#[derive(Debug, Serialize)]
struct ObjectLinks {
    /// Of the default format.
    bundle: String,
    proof: Option<String>,
}

/// An origin, as `/origins` and `larder origin list --json` show it.
#[derive(Debug, Serialize)]
pub struct OriginBody<'a> {
    url: &'a str,
    local: bool,
    added_at: String,
    visited_at: Option<String>,
    snapshot: Option<ObjectBody>,
    links: OriginLinks,
}

#[derive(Debug, Serialize)]
struct OriginLinks {
    visits: String,
    resolve: String,
}

/// What is said of an origin.
#[must_use]
pub fn origin_body<'a>(origin: &'a Origin, base: &Base) -> OriginBody<'a> {
    let url = escaped(&origin.url);
    OriginBody {
        url: &origin.url,
        local: origin.local,
        added_at: origin.added_at.to_string(),
        visited_at: origin.visited_at.map(|at| at.to_string()),
        snapshot: origin.snapshot.map(|id| object_body(ObjectKind::Snapshot, id, base)),
        links: OriginLinks {
            visits: base.url(&format!("/origins?url={url}")),
            resolve: base.url(&format!("/vault/resolve?origin={url}&ref=HEAD")),
        },
    }
}

/// What is said of an object.
#[must_use]
pub fn object_body(kind: ObjectKind, id: Sha1Git, base: &Base) -> ObjectBody {
    let has_proof = matches!(kind, ObjectKind::Revision | ObjectKind::Release | ObjectKind::Snapshot);
    let links = ObjectLinks {
        bundle: base.bundle(&BundleKey::with_default_format(kind, id)),
        proof: has_proof.then(|| base.url(&format!("/vault/{kind}/{id}/proof"))),
    };
    ObjectBody { kind: kind.as_str(), id: id.to_string(), swhid: Swhid { kind, id }.to_string(), links }
}

/// A text as a part of a URL.
pub(crate) fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
