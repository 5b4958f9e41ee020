//! `GET /vault/:kind`: the bundles of a kind, page by page.

use super::answer::reading;
use super::body::Body;
use super::pages::{Listing, row};
use super::refused::unavailable;
use super::route::{self, Page};
use super::vault::Vault;
use crate::bodies::status_body;
use hyper::Response;

impl Vault {
    /// `GET, HEAD /vault/:kind?limit=&cursor=`
    pub(super) async fn list(&self, page: Page) -> Response<Body> {
        let catalogue = self.catalogue.clone();
        let end = match reading(move || catalogue.list_end(page.kind, page.after, page.limit)).await {
            Ok(end) => end.map(|(last, more)| ((last.id(), last.format()), more)),
            Err(error) => return unavailable(&error),
        };
        let next = |last: &_| {
            let cursor = route::cursor(last);
            self.base.url(&format!("/vault/{}?limit={}&cursor={cursor}", page.kind, page.limit))
        };
        let (catalogue, base) = (self.catalogue.clone(), self.base.clone());
        let read = move |after: Option<&_>, count| {
            let bundles = catalogue.list(page.kind, after.copied(), count)?;
            let rows = bundles.iter().map(|bundle| {
                let body = status_body(&bundle.key, Some(bundle), None, &base);
                ((bundle.key.id(), bundle.key.format()), row(&body))
            });
            Ok(rows.collect())
        };
        let listing = Listing::new("{\"bundles\":[".to_owned(), (page.after, page.limit), end, next, read);
        listing.respond().await.unwrap_or_else(|error| unavailable(&error))
    }
}
