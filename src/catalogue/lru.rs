//! Last use and its end: touches, and removal.

use super::clock;
use super::row::{execute, first, key_params, signed};
use super::{Catalogue, CatalogueError};
use crate::key::BundleKey;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::io;

/// Milliseconds by which a last access may be too old: rewriting it moves it in an index.
const GRANULARITY: i64 = 5 * 60 * 1000;
/// Names removed in one transaction, so that others get the write lock in between.
const BATCH: usize = 100;
/// More hits than this in one touch are a mistake; it keeps sums far from overflow.
const HITS: u64 = 1 << 40;

/// That a bundle was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The bundle.
    pub key: BundleKey,
    /// When last, on the machine's clock.
    pub at: Timestamp,
    /// How often since the last touch.
    pub hits: u64,
}

impl Catalogue {
    /// Notes fetches, in one transaction. Hits are always added; the last access, which all names
    /// of a file share, is rewritten only where it is over five minutes older. What is not there is
    /// passed over.
    pub fn touch(&self, touches: &[Touch]) -> Result<(), CatalogueError> {
        if touches.is_empty() {
            return Ok(());
        }
        self.write("note fetches", |transaction| note(transaction, touches))
    }

    /// Removes bundles, at most a hundred in a transaction: `withdraw` takes each away from its
    /// name, then its row goes, and with the last name of a file the file's. One whose file has a
    /// pinned name is left alone. Counts the rows that are gone.
    ///
    /// A cook that waits for a removed bundle goes back to the queue; one of a removed bundle is
    /// lost. `withdraw` is asked for names without a row too. Should it fail, those withdrawn in
    /// the same transaction keep their rows: they read as absent and heal.
    pub fn remove(
        &self,
        keys: &[BundleKey],
        mut withdraw: impl FnMut(&BundleKey) -> io::Result<()>,
    ) -> Result<u64, CatalogueError> {
        let mut removed = 0;
        for batch in keys.chunks(BATCH) {
            removed += self.write("remove bundles", |transaction| {
                let mut removed = 0;
                for key in batch {
                    if is_pinned(transaction, key)? {
                        continue;
                    }
                    withdraw(key).map_err(super::error::Fault::Files)?;
                    let sql = "DELETE FROM bundle WHERE kind = ?1 AND sha1git = ?2 AND format = ?3";
                    removed += execute(transaction, sql, key_params(key))? as u64;
                }
                Ok(removed)
            })?;
        }
        Ok(removed)
    }

    /// What keeps a bundle from being removed: its own pin, else a name of the same file that has one.
    pub fn pin_on(&self, key: &BundleKey) -> Result<Option<BundleKey>, CatalogueError> {
        if self.bundle(key)?.is_some_and(|bundle| bundle.pinned) {
            return Ok(Some(*key));
        }
        self.read("look for a pin", |connection| {
            let sql = "SELECT n.kind, n.sha1git, n.format FROM bundle b JOIN bundle n ON n.file = b.file
                       WHERE b.kind = ?1 AND b.sha1git = ?2 AND b.format = ?3 AND n.pinned = 1 LIMIT 1";
            first(connection, sql, key_params(key), |row| super::row::key(row, 0))
        })
    }
}

/// The fetches of one transaction. Bundles in order of key, then files in order of row: what lies together
/// is written together.
pub(super) fn note(transaction: &rusqlite::Connection, touches: &[Touch]) -> Result<(), super::error::Fault> {
    let clock = clock::read(transaction)?;
    let mut touches: Vec<&Touch> = touches.iter().collect();
    touches.sort_unstable_by_key(|touch| key_params(&touch.key));
    let mut files = BTreeMap::new();
    for touch in touches {
        let (kind, id, format) = key_params(&touch.key);
        let sql = "UPDATE bundle SET hits = hits + ?4 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3 RETURNING file";
        let params = (kind, id, format, signed(touch.hits.min(HITS)));
        if let Some(Some(file)) = first(transaction, sql, params, |row| Ok(row.get::<_, Option<i64>>(0)?))? {
            let at = clock.place(touch.at).as_millis();
            files.entry(file).and_modify(|newest: &mut i64| *newest = at.max(*newest)).or_insert(at);
        }
    }
    for (file, at) in files {
        execute(
            transaction,
            "UPDATE file SET last_access = ?2, credit = (SELECT inflation FROM gdsf WHERE one = 1)
             WHERE id = ?1 AND last_access < ?3",
            (file, at, at.saturating_sub(GRANULARITY)),
        )?;
    }
    Ok(())
}

/// Whether the bundle, or another name of its file, is pinned.
fn is_pinned(transaction: &rusqlite::Connection, key: &BundleKey) -> Result<bool, super::error::Fault> {
    let sql = "SELECT b.pinned = 1 OR EXISTS (SELECT 1 FROM bundle n WHERE n.file = b.file AND n.pinned = 1)
               FROM bundle b WHERE b.kind = ?1 AND b.sha1git = ?2 AND b.format = ?3";
    Ok(first(transaction, sql, key_params(key), |row| Ok(row.get(0)?))?.unwrap_or(false))
}
