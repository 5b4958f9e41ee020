//! SHA-256 of the bundles on disk, remembered so that a hit asks the catalogue nothing. Knows neither
//! the catalogue nor a file: whoever serves asks here first and says what the catalogue said.

use crate::time::Timestamp;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::time::Duration;

/// What tells one file on disk from every other for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in seconds.
    pub mtime: i64,
}

/// How long a file is remembered to have no digest yet.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// SHA-256 of files on disk, the most recently used, so that a hit asks the catalogue nothing.
#[derive(Debug)]
pub struct Digests {
    /// Guards nothing else; no lock is taken while it is held.
    known: Mutex<LruCache<FileId, Entry>>,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Known([u8; 32]),
    UnknownUntil(Timestamp),
}

impl Digests {
    /// Room for `files` of them.
    #[must_use]
    pub fn new(files: NonZeroUsize) -> Self {
        Self { known: Mutex::new(LruCache::new(files)) }
    }

    /// The digest; `Some(None)` when it was asked for a moment ago and there was none; `None` when
    /// the catalogue has to be asked.
    pub fn get(&self, file: &FileId, now: Timestamp) -> Option<Option<[u8; 32]>> {
        match self.lock().get(file)? {
            Entry::Known(digest) => Some(Some(*digest)),
            Entry::UnknownUntil(until) => (now < *until).then_some(None),
        }
    }

    /// Remembers what the catalogue said: a digest for as long as there is room, none for seconds.
    pub fn put(&self, file: FileId, digest: Option<[u8; 32]>, now: Timestamp) {
        let entry = digest.map_or_else(|| Entry::UnknownUntil(now.after(UNKNOWN_FOR)), Entry::Known);
        self.lock().put(file, entry);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<FileId, Entry>> {
        self.known.lock().expect("because nothing panics while holding it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_forgotten_when_there_are_too_many_and_absence_after_seconds() {
        let digests = Digests::new(NonZeroUsize::new(2).unwrap());
        let id = |ino| FileId { dev: 1, ino, size: 3, mtime: 4 };
        let now = Timestamp::from_millis(1_000);
        assert_eq!(digests.get(&id(1), now), None);
        digests.put(id(1), Some([1; 32]), now);
        digests.put(id(2), None, now);
        assert_eq!(digests.get(&id(2), now), Some(None));
        assert_eq!(digests.get(&id(2), now.after(UNKNOWN_FOR)), None);
        assert_eq!(digests.get(&id(1), now), Some(Some([1; 32])));
        digests.put(id(3), Some([3; 32]), now);
        assert_eq!(digests.get(&id(2), now), None, "the least recently used went");
        assert_eq!(digests.get(&id(1), now.after(Duration::from_secs(1_000_000))), Some(Some([1; 32])));
    }
}
