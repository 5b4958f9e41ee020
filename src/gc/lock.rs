//! One `larder gc` at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// The right to collect; ends when dropped, or with the process.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open: closing it gives up the lock")] File);

impl Lock {
    /// `None` when another process has it. It is a `flock` on the data directory itself: there may
    /// be no room for a file.
    pub fn take(data: &Path) -> io::Result<Option<Self>> {
        let said = |e: io::Error| io::Error::new(e.kind(), format!("lock {}: {e}", data.display()));
        let folder = File::open(data).map_err(said)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(Self(folder))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(said(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_collection_does_not_get_the_lock_until_the_first_is_over() {
        let data = tempfile::tempdir().unwrap();
        let first = Lock::take(data.path()).unwrap().expect("nobody has it");
        assert!(Lock::take(data.path()).unwrap().is_none());
        drop(first);
        assert!(Lock::take(data.path()).unwrap().is_some());
    }
}
