//! What larder says in JSON, over HTTP and by `--json`: the fields of bundles, origins and objects, and the absolute
//! URLs in them. Knows no request and no answer.

mod origin;
mod status;

pub(crate) use origin::escaped;
pub use origin::{ObjectBody, OriginBody, object_body, origin_body};
pub use status::{StatusBody, status_body};

use crate::key::BundleKey;

/// The URL of larder's root, from which every absolute URL is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base(String);

impl Base {
    /// `public_url` without a trailing slash, and the root path (empty, or `/like/this`).
    #[must_use]
    pub fn new(public_url: &str, root_path: &str) -> Self {
        Self(format!("{}{root_path}", public_url.trim_end_matches('/')))
    }

    /// The path of larder's root, with which links within its own pages begin: empty, or `/like/this`.
    #[must_use]
    pub fn path(&self) -> &str {
        let behind = self.0.split_once("://").map_or(self.0.as_str(), |(_, behind)| behind);
        behind.find('/').map_or("", |at| &behind[at..])
    }

    /// The scheme, the host and, if one is named, the port: what browsers send as `Origin`.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.0.strip_suffix(self.path()).unwrap_or(&self.0)
    }

    /// The absolute URL of a bundle.
    #[must_use]
    pub fn bundle(&self, key: &BundleKey) -> String {
        format!("{}/vault/{key}", self.0)
    }

    /// The absolute URL of `path`, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}
