//! Bundles, each a file in the store and a row in the catalogue: the one owner of both.
//!
//! Whatever changes a file and a row together is a method here, and nowhere else: `clippy.toml` names the
//! methods of the store and of the catalogue that only this room may call. Rooms above hold [`Bundles`]
//! for what has files, and a [`Catalogue`] for what is in rows alone (the queue, origins, tasks).
//! Knows nothing of cooks, of plans, of HTTP; blocking; reads no clock.
//!
//! # Crash order
//! The file changes inside the transaction that changes its row, after all that SQLite can find wrong
//! and before the commit:
//! - A file gets its name, then its row says that it is done. Killed in between: a whole file without such a
//!   row; its cook or fetch, which is still in its queue, makes it again.
//! - A file is renamed away, its row goes, the transaction commits, the file is unlinked. Killed before the
//!   commit: a row without a file, which reads as absent and heals ([`Bundles::look_up_and_heal`]). Killed
//!   after it: a file in the folder of a dead process, which the next process deletes.
//!
//! # Locks
//! SQLite's write lock is what keeps two that change files apart, in this process and in others. None is
//! taken here.

#![expect(clippy::disallowed_methods, reason = "this is where they are called")]

mod locked;
mod publish;
mod remove;

pub use locked::{Locked, Moved};

use crate::bundle::{Bundle, Status};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::key::BundleKey;
use crate::members::Members;
use crate::store::{Draft, Found, Free, Store};
use crate::time::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a read that has found a file gone waits for its turn to say so in the catalogue.
const HEALING_PATIENCE: Duration = Duration::from_millis(100);

/// The bundles of one data directory. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub struct Bundles {
    store: Store,
    catalogue: Catalogue,
}

/// Why the bundles could not be asked or changed. For the operator: may hold paths.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue's.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The store's.
    #[error(transparent)]
    Store(#[from] io::Error),
}

impl Bundles {
    /// The bundles of a store and the catalogue beside it.
    #[must_use]
    pub fn new(store: Store, catalogue: Catalogue) -> Self {
        Self { store, catalogue }
    }

    /// Opens a bundle's file; the catalogue is not asked. `None` when it is not there.
    pub fn open(&self, key: &BundleKey) -> io::Result<Option<Found>> {
        self.store.get(key)
    }

    /// What is known of a bundle. One that is done, and whose file is gone, deleted by hand perhaps, is
    /// healed where that may be written: from now on it reads as absent, and can be cooked again.
    pub fn look_up_and_heal(&self, key: &BundleKey, now: Timestamp) -> Result<Option<Bundle>, Error> {
        let Some(bundle) = self.catalogue.bundle(key)? else { return Ok(None) };
        if bundle.status != Status::Done || self.store.get(key)?.is_some() {
            return Ok(Some(bundle));
        }
        if self.members().me().is_empty() {
            return Ok(None);
        }
        // Looked at again under the write lock: it may have been collected, ordered, cooked and published
        // since its row was read.
        let hurried = Self { catalogue: self.catalogue.hurried(HEALING_PATIENCE), ..self.clone() };
        let healed = hurried.locked(now, |locked| -> Result<bool, Error> {
            Ok(locked.files.look(key)?.is_none() && locked.rows.reopen(key)?)
        });
        match healed {
            // To read is not to wait for who writes: it heals the next time.
            Err(Error::Catalogue(error)) if error.is_busy() => return Ok(None),
            Err(error) => return Err(error),
            Ok(true) => tracing::warn!(%key, "the file of a cooked bundle is gone; it can be cooked again"),
            Ok(false) => {}
        }
        Ok(self.catalogue.bundle(key)?)
    }

    /// Begins the file of a bundle, which nobody sees until it is published.
    pub fn draft(&self) -> io::Result<Draft> {
        self.store.draft()
    }

    /// Where the bundle's file lies, or would.
    #[must_use]
    pub fn path(&self, key: &BundleKey) -> PathBuf {
        self.store.path(key)
    }

    /// The data directory, absolute: for files without a name that belong on the same disk.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.store.data()
    }

    /// The processes that work on these bundles, and which this one is.
    #[must_use]
    pub fn members(&self) -> &Members {
        self.store.members()
    }

    /// Puts the cooks of dead processes back into the queue, then deletes their drafts, and gives how
    /// many cooks that were. In this order: a folder that is gone reads as dead too, so dying in between
    /// loses nothing.
    pub fn take_from_the_dead(&self, now: Timestamp) -> Result<u64, Error> {
        // Without it others take this process for dead.
        self.store.hold()?;
        let mut cooks = 0;
        for owner in self.catalogue.owners()? {
            if !self.members().is_alive(&owner)? {
                cooks += self.catalogue.release(&owner, now)?;
            }
        }
        self.store.clear_dead_drafts()?;
        Ok(cooks)
    }

    /// What the disk has left; see [`Store::free`].
    pub fn free(&self) -> io::Result<Free> {
        self.store.free()
    }

    /// The files by themselves: for a look at the disk's health, and for a check of all files.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The rows by themselves: for what is no file's matter.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Remarks;
    use crate::catalogue::{Access, Finishing};
    use std::io::Write as _;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn bundles(data: &Path) -> Bundles {
        let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Write).unwrap();
        Bundles::new(Store::open(data).unwrap(), catalogue)
    }

    fn cooked(bundles: &Bundles) -> BundleKey {
        let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        bundles.catalogue.order(&key, NOW, 9, Duration::ZERO).unwrap();
        let claim = bundles.catalogue.claim("p", NOW).unwrap().unwrap();
        let mut draft = bundles.draft().unwrap();
        draft.write_all(b"bytes").unwrap();
        let sealed = draft.seal().unwrap();
        let (facts, remarks) = (sealed.facts(), Remarks::default());
        let finishing = Finishing { facts, remarks: &remarks, took: Duration::ZERO, met: &|_| true, segments: &[] };
        let (_, names) = bundles.publish(claim, sealed, &finishing, NOW).unwrap();
        assert_eq!(names, [key]);
        key
    }

    fn status(bundles: &Bundles, key: &BundleKey) -> Option<Status> {
        bundles.look_up_and_heal(key, NOW).unwrap().map(|bundle| bundle.status)
    }

    #[test]
    fn a_row_without_a_file_reads_as_absent_and_heals_only_where_that_may_be_written() {
        let data = tempfile::tempdir().unwrap();
        let bundles = bundles(data.path());
        let key = cooked(&bundles);
        assert_eq!(status(&bundles, &key), Some(Status::Done));
        std::fs::remove_file(bundles.path(&key)).unwrap();
        let files = Store::open_read_only(data.path()).unwrap();
        let rows = Catalogue::open(&data.path().join("catalogue.db"), Access::Read).unwrap();
        assert_eq!(status(&Bundles::new(files, rows), &key), None);
        assert_eq!(bundles.catalogue.totals().unwrap().files, 1);
        assert_eq!(status(&bundles, &key), None);
        assert_eq!(bundles.catalogue.totals().unwrap().files, 0);
    }

    #[test]
    fn what_a_failed_removal_has_withdrawn_is_deleted_and_its_row_heals() {
        let data = tempfile::tempdir().unwrap();
        let bundles = bundles(data.path());
        let key = cooked(&bundles);
        let failed = bundles.withdrawing(|withdraw| {
            withdraw(&key).unwrap();
            Err::<(), _>(CatalogueError::ReadOnly)
        });
        assert!(failed.is_err());
        assert!(bundles.open(&key).unwrap().is_none());
        let drafts = bundles.store.path(&key).ancestors().nth(4).unwrap().join("tmp").join(bundles.members().me());
        let left = std::fs::read_dir(drafts)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("gone"));
        assert_eq!(left.count(), 0, "what was withdrawn is unlinked");
        assert_eq!(status(&bundles, &key), None);
    }
}
