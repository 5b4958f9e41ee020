//! Last access, gathered. Owns the [`Touches`] that wait for the catalogue; one write carries a
//! batch of them, never one per GET. Blocking; knows no HTTP.
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

    /// Writes what waits in one transaction; on an error it goes on waiting.
    pub fn flush(&self, catalogue: &Catalogue) -> Result<(), CatalogueError> {
        let batch: Vec<Touch> = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.drain().map(|(_, touch)| touch).collect()
        };
        if batch.is_empty() {
            return Ok(());
        }
        catalogue.touch(&batch).inspect_err(|_| self.put_back(&batch))
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
