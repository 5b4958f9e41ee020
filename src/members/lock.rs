//! Locks on open files and folders (`flock`), and the duties that one process has at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// A file or a folder that one holds alone or many hold together, by this handle of it. What it holds ends when it is
/// dropped, or with the process.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Holds nothing yet.
    pub(crate) const fn of(file: File) -> Self {
        Self(file)
    }

    /// Takes it alone; `false` while somebody else holds it in any way.
    pub(crate) fn try_alone(&self) -> io::Result<bool> {
        taken(self.0.try_lock())
    }

    /// Takes it together with others; `false` while somebody holds it alone.
    pub(crate) fn try_share(&self) -> io::Result<bool> {
        taken(self.0.try_lock_shared())
    }

    /// The same, and waits for it.
    pub(crate) fn share(&self) -> io::Result<()> {
        self.0.lock_shared()
    }

    /// Holds nothing any more.
    pub(crate) fn give_up(&self) -> io::Result<()> {
        self.0.unlock()
    }

    /// The handle: closing the last one of it gives up what it holds.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

fn taken(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What only one process of a data directory does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Collecting bundles.
    Collecting,
    /// Comparing the files with the catalogue.
    Checking,
    /// Reading the web server's access log.
    Following,
}

/// That nobody else is at something; ends when dropped, or with the process.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "held open: closing it gives up the lock")] Lock);

impl Alone {
    /// Of whoever holds this file. `None` while somebody else does.
    pub(crate) fn with(file: File) -> io::Result<Option<Self>> {
        let lock = Lock::of(file);
        Ok(lock.try_alone()?.then_some(Self(lock)))
    }

    /// Of whoever holds a file that stands for it, made for this user alone where it is not there.
    pub(crate) fn at(path: &Path) -> io::Result<Option<Self>> {
        Self::with(File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?)
    }
}

/// Takes up a duty in the data directory `data`; `None` while another process has it.
///
/// # Errors
/// When that cannot be told, with the path.
pub fn alone(data: &Path, duty: Duty) -> io::Result<Option<Alone>> {
    let (path, taken) = match duty {
        // The folders themselves: there may be no room for a file.
        Duty::Collecting => (data.to_owned(), File::open(data).and_then(Alone::with)),
        Duty::Checking => {
            let bundles = data.join("bundles");
            let taken = File::open(&bundles).and_then(Alone::with);
            (bundles, taken)
        }
        Duty::Following => {
            let path = data.join("access-log.lock");
            let taken = Alone::at(&path);
            (path, taken)
        }
    };
    taken.map_err(|e| io::Error::new(e.kind(), format!("lock {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_is_one_process_s_until_it_lets_go_and_no_hindrance_to_another_duty() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("bundles")).unwrap();
        for duty in [Duty::Collecting, Duty::Checking, Duty::Following] {
            let first = alone(data.path(), duty).unwrap().expect("nobody has it");
            assert!(alone(data.path(), duty).unwrap().is_none(), "{duty:?}");
            for other in [Duty::Collecting, Duty::Checking, Duty::Following] {
                assert_eq!(alone(data.path(), other).unwrap().is_some(), other != duty, "{duty:?} and {other:?}");
            }
            drop(first);
            assert!(alone(data.path(), duty).unwrap().is_some(), "{duty:?}");
        }
        let error = alone(&data.path().join("gone"), Duty::Collecting).unwrap_err();
        assert!(error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn whoever_shares_a_lock_keeps_others_from_having_it_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let lock = || Lock::of(File::open(file.path()).unwrap());
        let (first, second, third) = (lock(), lock(), lock());
        first.share().unwrap();
        assert!(second.try_share().unwrap() && !third.try_alone().unwrap());
        first.give_up().unwrap();
        assert!(!third.try_alone().unwrap(), "one still shares it");
        drop(second);
        assert!(third.try_alone().unwrap() && !first.try_share().unwrap());
    }
}
