//! Last access, gathered. Owns the [`Touches`] that wait for the catalogue; one write carries a
//! batch of them, never one per GET, and never so many that an order waits for long. Blocking; knows no HTTP.
//!
//! These are the hits that larder answers itself; those of a web server before it are read from
//! its access log ([`log`]), where a hit stands once or not at all, so none is counted on both sides.
//!
//! What waits in memory is lost when the process is killed: at most the hits of one flush
//! interval, which the grace of collection is longer than.

pub mod log;

use crate::catalogue::{Catalogue, CatalogueError, Touch};
use crate::key::BundleKey;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bundles of one transaction: the time for which it holds the write lock goes with their number.
pub const BATCH: usize = 500;
/// How long the write lock is left to others between two batches.
const BETWEEN_BATCHES: Duration = Duration::from_millis(2);

/// Touches that wait to be written, one entry a bundle.
#[derive(Debug, Default)]
pub struct Touches {
    /// Held for a few instructions only, never while another lock is taken.
    waiting: Mutex<HashMap<BundleKey, Touch>>,
}

impl Touches {
    /// The most bundles that wait; over it a touch of a further one is not kept.
    pub const CAPACITY: usize = 1 << 17;

    /// Records a hit on `key` at `now`. Gives whether so many wait that it is time to flush.
    pub fn touch(&self, key: &BundleKey, now: Timestamp) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(touch) = waiting.get_mut(key) {
            touch.at = touch.at.max(now);
            touch.hits += 1;
        } else if waiting.len() < Self::CAPACITY {
            waiting.insert(*key, Touch { key: *key, at: now, hits: 1 });
        }
        waiting.len() >= Self::CAPACITY / 2
    }

    /// Writes what waits, in order of key, at most [`BATCH`] bundles in a transaction; what was not
    /// written when there is an error goes on waiting.
    pub fn flush(&self, catalogue: &Catalogue) -> Result<(), CatalogueError> {
        let mut all: Vec<Touch> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain().map(|(_, touch)| touch).collect()
        };
        all.sort_unstable_by_key(|touch| touch.key);
        let mut left = &all[..];
        while !left.is_empty() {
            let (batch, later) = left.split_at(left.len().min(BATCH));
            catalogue.touch(batch).inspect_err(|_| self.put_back(left))?;
            left = later;
            if !left.is_empty() {
                rest();
            }
        }
        Ok(())
    }

    fn put_back(&self, batch: &[Touch]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for touch in batch {
            if let Some(newer) = waiting.get_mut(&touch.key) {
                newer.hits += touch.hits;
            } else if waiting.len() < Self::CAPACITY {
                waiting.insert(touch.key, *touch);
            }
        }
    }
}

/// Leaves the write lock to others for a moment: who waits for it is not woken in time to have it before
/// the next batch takes it.
fn rest() {
    std::thread::sleep(BETWEEN_BATCHES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Access;
    use crate::key::{Format, ObjectKind, Sha1Git};

    #[test]
    fn what_could_not_be_written_goes_on_waiting_and_what_was_is_not_counted_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.db");
        let catalogue = Catalogue::open(&path, Access::Migrate).unwrap();
        let now = Timestamp::from_millis(1_000_000_000);
        let keys: Vec<BundleKey> = (0..=u16::try_from(2 * BATCH).unwrap())
            .map(|number| {
                let mut id = [0; 20];
                id[..2].copy_from_slice(&number.to_be_bytes());
                BundleKey::new(ObjectKind::Directory, Sha1Git::from_bytes(id), Format::Tar).unwrap()
            })
            .collect();
        let last = keys.last().unwrap();
        for key in [&keys[0], last] {
            catalogue.order(key, now, 9, Duration::ZERO).unwrap();
        }
        let hits = |key: &BundleKey| catalogue.bundle(key).unwrap().unwrap().hits;
        let set_last = |hits: i64| {
            let other = rusqlite::Connection::open(&path).unwrap();
            let changed =
                other.execute("UPDATE bundle SET hits = ?1 WHERE sha1git = ?2", (hits, *last.id().as_bytes()));
            assert_eq!(changed.unwrap(), 1);
        };
        let touches = Touches::default();
        for key in &keys {
            touches.touch(key, now);
        }
        set_last(i64::MAX);
        assert!(touches.flush(&catalogue).is_err(), "a count would overflow");
        assert_eq!(hits(&keys[0]), 1);
        set_last(0);
        touches.flush(&catalogue).unwrap();
        assert_eq!((hits(&keys[0]), hits(last)), (1, 1));
    }
}
