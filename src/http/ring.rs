//! Larders that are each other's upstream: a request that comes from this one itself, through others, ends here
//! (`crate::upstream`, "Rings").

use super::vault::Vault;
use crate::key::BundleKey;
use hyper::header::{HeaderMap, VIA};

impl Vault {
    /// Whether a request for what is not here comes, through others, from this larder itself.
    pub(super) fn goes_in_a_ring(&self, headers: &HeaderMap, key: &BundleKey) -> bool {
        let Some(remote) = self.orders.remote() else { return false };
        let via: Vec<&str> = headers.get_all(VIA).iter().filter_map(|via| via.to_str().ok()).collect();
        let is_there = || matches!(self.bundles.open(key), Ok(Some(_)));
        !via.is_empty() && !remote.comes_through(key, &via.join(", ")) && !is_there()
    }
}
