//! Where what was fetched is kept for clients, and where they are sent for it. Only larder's own
//! static URLs yet; the one room that knows that there may be other places.

use super::task::{Fault, Fetched};
use crate::store::Store;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;

/// The name of the one place that there is without regions.
pub const LOCAL: &str = "local";

/// The places that archives are put in.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The URL of larder's root, without a trailing slash.
    base: String,
}

impl Placement {
    /// larder's own store, whose URLs begin with `base`.
    #[must_use]
    pub fn local(base: &str) -> Self {
        Self { base: base.trim_end_matches('/').to_owned() }
    }

    /// Whether the archive is somewhere that clients can be sent to. Blocking.
    pub fn is_there(&self, store: &Store, fetched: &Fetched) -> io::Result<bool> {
        Ok(store.get(&fetched.content)?.is_some())
    }

    /// Puts an archive, whose bytes are whole and checked, wherever it is to be but in the store. Runs
    /// before the task says SUCCESS and may run again for the same archive.
    #[expect(clippy::unused_async, reason = "a place beyond this machine is reached asynchronously")]
    pub async fn put(&self, _fetched: &Fetched, _file: File) -> Result<(), Fault> {
        Ok(())
    }

    /// Where a client that prefers `region` is sent.
    #[expect(clippy::unused_async, reason = "a URL may have to be signed")]
    pub async fn location(&self, fetched: &Fetched, _region: Option<&str>) -> Option<String> {
        Some(self.static_url(fetched))
    }

    /// The archive's URLs, made at this moment, by the name of the place.
    #[expect(clippy::unused_async, reason = "URLs may have to be signed")]
    pub async fn urls(&self, fetched: &Fetched) -> BTreeMap<String, String> {
        BTreeMap::from([(LOCAL.to_owned(), self.static_url(fetched))])
    }

    /// larder's own URL of the archive; the parameter makes the download be saved under its name.
    fn static_url(&self, fetched: &Fetched) -> String {
        let name = utf8_percent_encode(&fetched.file_name, NON_ALPHANUMERIC).to_string();
        let name = name.replace("%2E", ".").replace("%2D", "-").replace("%5F", "_").replace("%2B", "+");
        format!("{}/vault/{}?filename={name}", self.base, fetched.content)
    }
}
