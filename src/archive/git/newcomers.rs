//! Whether a repository came into a folder since it was last scanned: seen by the folder's time, so that who
//! asks for an object of a mirror that was just made is not told that nobody has it.
//!
//! Only for a folder of larder's own, whose entries are the repositories and which is on a disk that answers.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

/// The kernel gives all changes within one of its ticks, at most 10 ms, the same time.
const TICK: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct Newcomers {
    folder: OnceLock<PathBuf>,
    /// The folder's time before the last scan, unless something may still have changed within that tick.
    /// Held for a look.
    seen: Mutex<Option<(i64, i64)>>,
}

impl Newcomers {
    /// Looks at this folder. The first one holds.
    pub(super) fn watch(&self, folder: PathBuf) {
        // A second folder would be a mistake of the program that costs a second of freshness.
        let _ = self.folder.set(folder);
    }

    /// Notes what a scan that begins now will see.
    pub(super) fn note(&self) {
        let now = SystemTime::now();
        let is_settled = |(seconds, nanos): &(i64, i64)| {
            let since = u64::try_from(*seconds).unwrap_or(0);
            let at = SystemTime::UNIX_EPOCH + Duration::new(since, u32::try_from(*nanos).unwrap_or(0));
            now.duration_since(at).is_ok_and(|age| age > TICK)
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.time().filter(is_settled);
    }

    /// Whether something came or went since a scan began.
    pub(super) fn are_there(&self) -> bool {
        let time = self.time();
        time.is_some() && time != *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self) -> Option<(i64, i64)> {
        // What cannot be looked at here the scan will complain of.
        let metadata = self.folder.get()?.metadata().ok()?;
        Some((metadata.mtime(), metadata.mtime_nsec()))
    }
}
