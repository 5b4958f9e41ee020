//! How a bundle comes to be there: from a cook, as another name of one, from a fetch, from a region.

use super::Bundles;
use crate::catalogue::{CatalogueError, Claim, Delegated, Finished, Finishing, Job, Landed, Landing};
use crate::key::BundleKey;
use crate::store::Sealed;
use crate::time::Timestamp;
use std::time::Duration;

impl Bundles {
    /// Ends a cook: its draft becomes the bundle, and every bundle that waited for this cook. Gives what
    /// became of it, and the names that the file got.
    ///
    /// # Errors
    /// The catalogue's, also when the files could not be named; nothing was done then, and the claim stands.
    pub fn publish(
        &self,
        claim: Claim,
        draft: Sealed,
        cooked: &Finishing<'_>,
        now: Timestamp,
    ) -> Result<(Finished, Vec<BundleKey>), CatalogueError> {
        let mut published = Vec::new();
        let finished = self.catalogue.finish_cook(claim, cooked, now, |names| {
            published.extend_from_slice(names);
            self.store.publish(draft, names)
        })?;
        Ok((finished, published))
    }

    /// Ends the cook of a bundle that has the bytes of another, `root`: it becomes another name of that file;
    /// while there is none, it waits for the cook of `root`.
    pub fn hand_on(&self, claim: Claim, root: &BundleKey, now: Timestamp) -> Result<Delegated, CatalogueError> {
        self.catalogue.delegate(claim, root, now, |from, to| self.store.link(from, to))
    }

    /// Ends a fetch: its draft becomes the bundle of the content that it brought.
    pub fn land(&self, job: &Job, landing: &Landing, draft: Sealed, now: Timestamp) -> Result<Landed, CatalogueError> {
        let is_there = |key: &BundleKey| Ok(self.store.get(key)?.is_some());
        self.catalogue.land(job, landing, now, is_there, |names| self.store.publish(draft, names))
    }

    /// Gives a content that has lost its file another one. `false` when it is not kept any more.
    pub fn restore(
        &self,
        content: &BundleKey,
        draft: Sealed,
        took: Duration,
        now: Timestamp,
    ) -> Result<bool, CatalogueError> {
        let facts = draft.facts();
        self.catalogue.restore_content(content, &facts, took, now, || self.store.publish(draft, &[*content]))
    }
}
