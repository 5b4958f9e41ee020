//! Looking again, beside the requests, at objects that clients are just being sent to: what somebody deleted
//! from a bucket by hand is found missing minutes later, and not at the next `check`.
//!
//! **Bounded.** An object is looked at once in `recheck`, however often it is asked for; as many wait as
//! [`WAITING`] says, one is looked at at a time in a region, and what finds no place is passed over: the
//! next request asks again.
//!
//! **Locks.** `recent` is held for one lookup.

use super::super::{Archiver, blocking};
use super::Region;
use crate::catalogue::{Placed, Placement};
use crate::time::Timestamp;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Objects that wait to be looked at.
const WAITING: usize = 64;
/// Objects that are remembered to have been looked at.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("because it is not zero");

/// What is to be looked at in a region.
pub(super) struct Looks {
    recent: Mutex<LruCache<[u8; 20], Instant>>,
    order: mpsc::Sender<Placed>,
    /// Until somebody looks.
    orders: Mutex<Option<mpsc::Receiver<Placed>>>,
}

impl Looks {
    pub(super) fn new() -> Self {
        let (order, orders) = mpsc::channel(WAITING);
        Self { recent: Mutex::new(LruCache::new(REMEMBERED)), order, orders: Mutex::new(Some(orders)) }
    }

    /// Has an object looked at, if that was not done for `recheck`.
    pub(super) fn ask(&self, placement: &Placement, recheck: Duration) {
        let is_fresh = placement.put_at.is_some_and(|at| Timestamp::now().since(at) < recheck);
        if is_fresh {
            return;
        }
        let id = *placement.placed.content.id().as_bytes();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.get(&id).is_some_and(|at| at.elapsed() < recheck) {
            return;
        }
        if self.order.try_send(placement.placed.clone()).is_ok() {
            recent.put(id, Instant::now());
        }
    }
}

/// Looks at what is asked for in a region, one after the other.
pub(in crate::archiver) async fn look_at(archiver: Archiver, region: Arc<Region>) {
    let orders = region.looks.orders.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut orders) = orders else { return };
    loop {
        let placed = tokio::select! {
            Some(placed) = orders.recv() => placed,
            () = archiver.stopped() => return,
        };
        if region.is_up() {
            tokio::select! {
                () = look(&archiver, &region, &placed) => {}
                () = archiver.halted() => return,
            }
        }
    }
}

async fn look(archiver: &Archiver, region: &Region, placed: &Placed) {
    let (content, name) = (placed.content, region.settings.name.clone());
    let again = match region.bucket.has(placed).await {
        Ok(true) => Some(region.settings.check),
        Ok(false) => {
            tracing::warn!(region = name, key = %content, "is not there any more");
            None
        }
        Err(trouble) => return region.note(&trouble),
    };
    let catalogue = archiver.0.catalogue.clone();
    let noted = blocking(move || catalogue.note_look(&content, &name, again, Timestamp::now())).await;
    noted.unwrap_or_else(|error| tracing::error!(%error, "cannot note where an archive is"));
}
