//! Requests that wait for a cook (`Prefer: wait`). Owns who waits for which bundle, bounded in
//! number; knows nothing of what they wait for but its key.

use crate::key::BundleKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// The most requests that wait at once; a further one is answered at once.
const MAX_WAITERS: usize = 1024;

/// Who waits for what.
#[derive(Default)]
pub(super) struct Waiters {
    /// Held for one lookup only, never while another lock is taken.
    by_key: Mutex<HashMap<BundleKey, Entry>>,
}

struct Entry {
    bell: Arc<Notify>,
    waiters: usize,
}

impl Waiters {
    /// A place among those who wait for `key`; `None` when too many wait already.
    pub(super) fn join(&self, key: BundleKey) -> Option<Waiter<'_>> {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if by_key.values().map(|entry| entry.waiters).sum::<usize>() >= MAX_WAITERS {
            return None;
        }
        let entry = by_key.entry(key).or_insert_with(|| Entry { bell: Arc::default(), waiters: 0 });
        entry.waiters += 1;
        Some(Waiter { room: self, key, bell: Arc::clone(&entry.bell) })
    }

    /// Wakes all that wait for `key`.
    pub(super) fn ring(&self, key: &BundleKey) {
        if let Some(entry) = self.by_key.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            entry.bell.notify_waiters();
        }
    }
}

/// One that waits; leaves when dropped.
pub(super) struct Waiter<'a> {
    room: &'a Waiters,
    key: BundleKey,
    pub(super) bell: Arc<Notify>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut by_key = self.room.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = by_key.get_mut(&self.key) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                by_key.remove(&self.key);
            }
        }
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
