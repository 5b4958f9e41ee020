//! Files and rows while nobody else changes either: for looking at both together, and for repairs.

use super::{Bundles, Error};
use crate::bundle::FileFacts;
use crate::catalogue::{CatalogueError, Inspection, Shelved};
use crate::key::BundleKey;
use crate::store::{FILE_MODE, Seen, Store, draft};
use crate::time::Timestamp;
use std::io;

impl Bundles {
    /// Runs `body` while nobody publishes and nobody removes, in one transaction: its error undoes what it
    /// changed in rows. It should take few looks and renames, and read no contents: others wait meanwhile.
    ///
    /// # Errors
    /// Those of `body`, and the catalogue's own.
    pub fn locked<T, E: From<CatalogueError>>(
        &self,
        now: Timestamp,
        body: impl FnOnce(&Locked<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.catalogue.inspect(now, |rows| body(&Locked { rows, files: &self.store, now }))
    }
}

/// All files and rows, as they stand while the write lock is held.
pub struct Locked<'a> {
    /// The rows.
    pub rows: &'a Inspection<'a>,
    /// The files.
    pub files: &'a Store,
    now: Timestamp,
}

/// What became of a file that was moved into quarantine, and of its bundles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// All wait to be cooked again.
    Queued,
    /// Some had no place in the queue: they read as absent.
    Reopened,
}

impl Locked<'_> {
    /// Gives a file that has no row its row, and the mode and the time of a published file: as a further
    /// name of the file of `twin`, where that is there and has the same bytes; else as a file of its own.
    pub fn adopt(&self, key: &BundleKey, facts: &FileFacts, twin: Option<BundleKey>, seen: &Seen) -> Result<(), Error> {
        if seen.mode != FILE_MODE {
            self.files.set_mode(&self.files.relative(key), FILE_MODE)?;
        }
        if seen.mtime != draft::mtime(&facts.blake3) {
            self.files.set_mtime(key, &facts.blake3)?;
        }
        let mut row = None;
        if let Some(twin) = twin.filter(|twin| twin != key)
            && let Some(known) = self.rows.shelved(&twin)?
            && known.facts.is_some_and(|known| known.blake3 == facts.blake3)
            && let Some(file) = self.files.look(&twin)?
        {
            if !file.is(seen) {
                // Where links are refused it keeps its copy, as when it was published.
                self.files.relink(&twin, key)?;
            }
            row = Some(known.file);
        }
        Ok(self.rows.adopt(key, facts, row)?)
    }

    /// Moves the file `bad` of a row away from all its names and into quarantine, where it is called by `why`
    /// and the row's key; each name is to be cooked again, unless `max_queue` wait already.
    pub fn quarantine(&self, row: &Shelved, bad: &Seen, why: &str, max_queue: u64) -> Result<Moved, Error> {
        // This one first, for what lies in quarantine is named after it.
        let mut names = vec![row.key];
        names.extend(self.rows.names(row.file)?.into_iter().filter(|name| *name != row.key));
        let mut moved = Moved::Queued;
        for (number, name) in names.iter().enumerate() {
            if !self.files.look(name)?.is_some_and(|seen| seen.is(bad)) {
                continue;
            }
            if number == 0 {
                self.set_aside(name, why)?;
            } else {
                self.erase(name)?;
            }
            if !self.rows.queue(name, max_queue)? {
                moved = Moved::Reopened;
            }
        }
        Ok(moved)
    }

    /// Moves a file without a row into quarantine.
    pub fn set_aside(&self, key: &BundleKey, why: &str) -> io::Result<()> {
        self.files.quarantine_bundle(key, why, self.now).map(drop)
    }

    /// Deletes a file, which has no row.
    pub fn erase(&self, key: &BundleKey) -> io::Result<()> {
        self.files.erase(key).map(drop)
    }

    /// Makes `to` the same file as `from`. `false` where links are refused: then each keeps its own.
    pub fn relink(&self, from: &BundleKey, to: &BundleKey) -> io::Result<bool> {
        self.files.relink(from, to)
    }
}
