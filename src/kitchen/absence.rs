//! Negative memory: objects that no archive had a moment ago. Owns a bounded `lru`; an entry lives
//! for a few seconds and only while the archive's stamp for the id stays as it was.

use crate::key::{ObjectKind, Sha1Git};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an absence is believed.
const LIFETIME: Duration = Duration::from_secs(10);

/// How many absences are remembered, each under a hundred bytes.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(65_536).expect("because 65,536 is not zero");

#[derive(Clone, Copy)]
struct Absence {
    stamp: u64,
    until: Instant,
}

/// What no archive has.
pub(super) struct Absences {
    /// Held for one lookup only, never while another lock is taken.
    known: Mutex<LruCache<(ObjectKind, Sha1Git), Absence>>,
}

impl Absences {
    pub(super) fn new() -> Self {
        Self { known: Mutex::new(LruCache::new(CAPACITY)) }
    }

    /// Whether the object was absent a moment ago and, by `stamp`, must still be. The stamp is
    /// asked for only when there is something to compare it with.
    pub(super) fn contains(&self, kind: ObjectKind, id: Sha1Git, now: Instant, stamp: impl FnOnce() -> u64) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&(kind, id)).copied();
        known.is_some_and(|absence| now < absence.until && absence.stamp == stamp())
    }

    /// Forgets all, for there is another archive.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Remembers that the object was absent from an archive that had `stamp` before the search.
    pub(super) fn insert(&self, kind: ObjectKind, id: Sha1Git, stamp: u64, now: Instant) {
        let absence = Absence { stamp, until: now + LIFETIME };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put((kind, id), absence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_forgotten_after_a_while_and_when_the_archive_changes() {
        let (absences, kind, id, start) = (Absences::new(), ObjectKind::Directory, Sha1Git::NULL, Instant::now());
        assert!(!absences.contains(kind, id, start, || 1));
        absences.insert(kind, id, 1, start);
        assert!(absences.contains(kind, id, start, || 1));
        assert!(!absences.contains(ObjectKind::Revision, id, start, || 1), "another kind may be there");
        assert!(!absences.contains(kind, id, start, || 2), "the archive changed");
        assert!(!absences.contains(kind, id, start + LIFETIME, || 1), "too long ago");
    }
}
