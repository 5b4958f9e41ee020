//! `GET /vault/:kind`: the bundles of a kind, page by page.

use super::answer::reading;
use super::body::Body;
use super::pages::{Listing, Rows};
use super::refused::unavailable;
use super::route::{self, Page};
use super::vault::Vault;
use crate::bodies::{Base, status_body};
use crate::bundle::Bundle;
use crate::catalogue::CatalogueError;
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git};
use crate::kitchen::Kitchen;
use hyper::Response;

impl Vault {
    /// `GET, HEAD /vault/:kind?limit=&cursor=`
    pub(super) async fn list(&self, page: Page) -> Response<Body> {
        let kitchen = self.kitchen.clone();
        let end = reading(move || kitchen.catalogue().list_end(page.kind, page.after, page.limit)).await;
        let end = match end {
            Ok(end) => end,
            Err(error) => return unavailable(&error),
        };
        let next = end.filter(|(_, more)| *more).map(|(last, _)| {
            let cursor = route::cursor(&last);
            self.base.url(&format!("/vault/{}?limit={}&cursor={cursor}", page.kind, page.limit))
        });
        let rows = Bundles {
            kitchen: self.kitchen.clone(),
            base: self.base.clone(),
            kind: page.kind,
            begin: page.after,
            at: page.after,
            end: end.map(|(last, _)| last),
            left: page.limit as usize,
            limit: page.limit as usize,
        };
        let listing = Listing { head: "{\"bundles\":[".to_owned(), rows: Box::new(rows), next };
        listing.respond().await.unwrap_or_else(|error| unavailable(&error))
    }
}

struct Bundles {
    kitchen: Kitchen,
    base: Base,
    kind: ObjectKind,
    begin: Option<(Sha1Git, Format)>,
    at: Option<(Sha1Git, Format)>,
    /// The last of the page. One without was not full, and holds no more than it may.
    end: Option<BundleKey>,
    left: usize,
    limit: usize,
}

impl Rows for Bundles {
    fn next(&mut self, count: usize) -> Result<Vec<Vec<u8>>, CatalogueError> {
        let count = if self.end.is_some() { count } else { count.min(self.left) };
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let mut bundles = self.kitchen.catalogue().list(self.kind, self.at, count)?;
        if let Some(end) = &self.end {
            bundles.retain(|bundle| (bundle.key.id(), bundle.key.format()) <= (end.id(), end.format()));
        }
        self.left = self.left.saturating_sub(bundles.len());
        self.at = bundles.last().map(|last| (last.key.id(), last.key.format())).or(self.at);
        let row = |bundle: &Bundle| {
            let body = status_body(&bundle.key, Some(bundle), None, &self.base);
            serde_json::to_vec(&body).expect("because every key of it is a string")
        };
        Ok(bundles.iter().map(row).collect())
    }

    fn rewind(&mut self) {
        (self.at, self.left) = (self.begin, self.limit);
    }
}
