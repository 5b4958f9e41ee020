//! How bundles go: withdrawn and forgotten in one transaction, unlinked after it (`mod.rs` has the crash
//! order).

use super::{Bundles, Error};
use crate::catalogue::{CatalogueError, Collected, FileId};
use crate::key::BundleKey;
use crate::store::Withdrawn;
use crate::time::Timestamp;
use std::io;

/// Bundles removed in one transaction, so that others get the write lock in between.
const BATCH: usize = 100;

impl Bundles {
    /// Removes files with all their names, but those that are pinned now or were used after `not_after`;
    /// `planned` and `inflation` as of [`crate::catalogue::Catalogue::collect`]. At most a hundred or so at a time, for
    /// others wait meanwhile. What was withdrawn is unlinked when it is dropped.
    ///
    /// # Errors
    /// The catalogue's. What was unlinked by then stays so; its rows read as absent and heal.
    pub fn collect(
        &self,
        files: &[FileId],
        not_after: Timestamp,
        planned: Timestamp,
        inflation: Option<f64>,
    ) -> Result<(Collected, Vec<Withdrawn>), CatalogueError> {
        let try_once =
            || self.withdrawing(|withdraw| self.catalogue.collect(files, not_after, planned, inflation, withdraw));
        match try_once() {
            // What was withdrawn by the first try has been unlinked, which makes room for the second.
            Err(error) if error.is_storage_full() => {
                tracing::warn!(%error, "no room to write: deleting first");
                try_once()
            }
            answer => answer,
        }
    }

    /// Removes bundles but those whose file is pinned, and counts them.
    pub fn remove(&self, keys: &[BundleKey]) -> Result<u64, CatalogueError> {
        self.in_batches(keys, |batch, withdraw| self.catalogue.remove(batch, withdraw))
    }

    /// Removes bundles, pinned or not, with files that no row is of, and counts the rows.
    pub fn expel(&self, keys: &[BundleKey]) -> Result<u64, CatalogueError> {
        self.in_batches(keys, |batch, withdraw| self.catalogue.expel(batch, withdraw))
    }

    /// Deletes files whose rows cannot be written, for there is no room to; [`Bundles::collect`] takes the
    /// rows when there is. Nobody else may have the catalogue open (`Access::Frozen`), so that these are
    /// still the names of the files.
    pub fn unlink_first(&self, files: &[FileId]) -> Result<(), Error> {
        for &file in files {
            for name in self.catalogue.names_of(file)? {
                self.store.erase(&name)?;
            }
        }
        Ok(())
    }

    fn in_batches(
        &self,
        keys: &[BundleKey],
        remove: impl Fn(&[BundleKey], &mut Withdraw<'_>) -> Result<u64, CatalogueError>,
    ) -> Result<u64, CatalogueError> {
        let mut removed = 0;
        for batch in keys.chunks(BATCH) {
            removed += self.withdrawing(|withdraw| remove(batch, withdraw))?.0;
        }
        Ok(removed)
    }

    /// Runs a transaction that takes files away from their names. They are unlinked when what was withdrawn
    /// is dropped: here when the transaction failed, else by the caller, after the commit.
    pub(super) fn withdrawing<T>(
        &self,
        transaction: impl FnOnce(&mut Withdraw<'_>) -> Result<T, CatalogueError>,
    ) -> Result<(T, Vec<Withdrawn>), CatalogueError> {
        let mut withdrawn = Vec::new();
        let done = transaction(&mut |key| match self.store.withdraw(key) {
            // No room for another name.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => self.store.erase(key).map(drop),
            answer => answer.map(|file| withdrawn.extend(file)),
        })?;
        Ok((done, withdrawn))
    }
}

/// Takes the file of a bundle away from its name.
type Withdraw<'a> = dyn FnMut(&BundleKey) -> io::Result<()> + 'a;
