//! Requests that wait for a cook (`Prefer: wait`) or follow it. Owns who waits for which bundle,
//! bounded in number, and how often one that follows looks.

use super::{OrderError, Orders};
use crate::bundle::{Bundle, Status};
use crate::cook::Progress;
use crate::key::BundleKey;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

/// How often the progress of a cook, which is in memory, is given to those who follow it.
const TICK: Duration = Duration::from_millis(250);

/// How often the catalogue is asked for those who follow though nothing was announced in this process: another one
/// may be cooking.
const LOOK: Duration = Duration::from_secs(2);

/// How often it is asked for those who wait.
const LOOK_WHILE_WAITING: Duration = Duration::from_secs(1);

/// The most requests that wait at once; a further one is answered at once.
const MAX_WAITERS: usize = 1024;

/// Who waits for what; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Waiters {
    /// Held for one lookup only, never while another lock is taken.
    by_key: Arc<Mutex<HashMap<BundleKey, Entry>>>,
}

struct Entry {
    bell: Arc<Notify>,
    waiters: usize,
}

impl Waiters {
    /// A place among those who wait for `key`; `None` when too many wait already.
    pub(super) fn join(&self, key: BundleKey) -> Option<Waiter> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if by_key.values().map(|entry| entry.waiters).sum::<usize>() >= MAX_WAITERS {
            return None;
        }
        let entry = by_key.entry(key).or_insert_with(|| Entry { bell: Arc::default(), waiters: 0 });
        entry.waiters += 1;
        Some(Waiter { all: self.clone(), key, bell: Arc::clone(&entry.bell) })
    }

    /// Wakes all that wait for `key`.
    pub(super) fn ring(&self, key: &BundleKey) {
        if let Some(entry) = self.by_key.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            entry.bell.notify_waiters();
        }
    }
}

/// One that waits; leaves when dropped.
pub(super) struct Waiter {
    all: Waiters,
    key: BundleKey,
    pub(super) bell: Arc<Notify>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_key = self.all.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = by_key.get_mut(&self.key) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

/// How a bundle stands at a moment.
#[derive(Debug)]
pub struct Standing {
    /// What the catalogue knows of it, or knew a moment ago.
    pub bundle: Option<Bundle>,
    /// How far its cook is, when this process is at it.
    pub progress: Option<Progress>,
}

/// One that follows a bundle; it may be dropped at any time.
pub struct Following {
    orders: Orders,
    waiter: Waiter,
    /// Armed before the catalogue is looked at, so that what happens after is not missed.
    bell: Pin<Box<OwnedNotified>>,
    bundle: Option<Bundle>,
    was_cooking: bool,
    /// When the catalogue was last looked at; `None` before the first time.
    looked: Option<Instant>,
}

impl Orders {
    /// Waits until a bundle is done or failed, or `patience` is over. `false` when so many wait
    /// already that this one may not.
    pub async fn wait(&self, key: &BundleKey, patience: Duration) -> bool {
        let Some(waiter) = self.0.waiters.join(*key) else { return false };
        let deadline = Instant::now() + patience;
        loop {
            let bell = waiter.bell.notified();
            tokio::pin!(bell);
            // Before the status is read, so that what happens after it is not missed.
            bell.as_mut().enable();
            let (orders, key) = (self.clone(), *key);
            let status = tokio::task::spawn_blocking(move || orders.0.catalogue.bundle(&key)).await;
            match status {
                Ok(Ok(Some(bundle))) if matches!(bundle.status, Status::New | Status::Pending) => {}
                _ => return true,
            }
            // Another process may be the one that cooks it, and it rings no bell here.
            let next_look = Instant::now() + LOOK_WHILE_WAITING;
            tokio::select! {
                () = bell => {}
                () = tokio::time::sleep_until(next_look.min(deadline)) => {}
                () = self.stopped() => return true,
            }
            if Instant::now() >= deadline {
                return true;
            }
        }
    }

    /// Follows a bundle, from how it stands now; `None` when too many wait already.
    #[must_use]
    pub fn follow(&self, key: BundleKey) -> Option<Following> {
        let waiter = self.0.waiters.join(key)?;
        let bell = Box::pin(Arc::clone(&waiter.bell).notified_owned());
        Some(Following { orders: self.clone(), waiter, bell, bundle: None, was_cooking: false, looked: None })
    }
}

impl Following {
    /// How the bundle stands: the first time at once, then when that may have changed, a few times a
    /// second while it is cooked. `None` when larder stops.
    ///
    /// # Errors
    /// The catalogue or the store could not be asked.
    pub async fn next(&mut self) -> Result<Option<Standing>, OrderError> {
        let mut is_stale = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        if self.looked.is_some() {
            tokio::select! {
                () = &mut self.bell => {
                    self.bell = Box::pin(Arc::clone(&self.waiter.bell).notified_owned());
                    is_stale = true;
                }
                () = tokio::time::sleep(TICK) => {}
                () = self.orders.stopped() => return Ok(None),
            }
        }
        let key = self.waiter.key;
        let progress = self.orders.progress(&key);
        if is_stale || progress.is_some() != self.was_cooking {
            let orders = self.orders.clone();
            let looked = tokio::task::spawn_blocking(move || orders.look_up_and_heal(&key)).await;
            self.bundle = looked.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))?;
            self.looked = Some(Instant::now());
            self.was_cooking = progress.is_some();
        }
        Ok(Some(Standing { bundle: self.bundle.clone(), progress }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Format, ObjectKind, Sha1Git};

    #[test]
    fn waiters_are_bounded_and_leave_nothing_behind() {
        let key = BundleKey::new(ObjectKind::Directory, Sha1Git::NULL, Format::Tar).unwrap();
        let waiters = Waiters::default();
        let all: Vec<_> = (0..MAX_WAITERS).map(|_| waiters.join(key).expect("there is room")).collect();
        assert!(waiters.join(key).is_none());
        drop(all);
        assert!(waiters.by_key.lock().unwrap().is_empty());
    }
}
