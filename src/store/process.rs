//! The folder of one process below `tmp/`, which holds its drafts and says that it lives.
//!
//! A process holds its folder locked (`flock` on the folder itself) for as long as it lives: the
//! kernel lets go of the lock when it dies, however it dies. Who can take the lock of a folder may
//! therefore delete it, and nobody else may. The lock guards the folder's existence and nothing
//! within it: within, only its own process makes and unlinks files.
//!
//! Three may meet at one folder: its maker, between making and locking it; a prober, who takes a
//! shared lock for an instant; and a cleaner, who takes the lock to delete. So the maker looks
//! again, once it has the lock, whether the name still leads to what it locked, and else starts
//! over under another name; a prober never hinders another; and a cleaner renames a folder before
//! it deletes what may be many gigabytes, so that nobody takes its lock for a sign of life.

use super::dir;
use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Folders that are being deleted begin so; no process has such a name.
const DEAD: &str = "dead-";

/// This process's folder, locked. Removed when dropped, if nothing is left in it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    path: PathBuf,
    tmp: OwnedFd,
    /// Open for as long as we live: closing it gives up the lock.
    folder: File,
    next: AtomicU64,
}

impl Process {
    /// Makes and locks a folder in `tmp`, which lies at `path`.
    pub(super) fn begin(tmp: OwnedFd, path: &Path) -> io::Result<Self> {
        loop {
            let random = getrandom::u64().map_err(|e| io::Error::other(format!("ask for random bytes: {e}")))?;
            let name = format!("{}-{random:016x}", std::process::id());
            if let Some(folder) = lock_new(&tmp, &name).map_err(|e| dir::said("make", &path.join(&name), e))? {
                return Ok(Self { path: path.join(&name), name, tmp, folder, next: AtomicU64::new(0) });
            }
        }
    }

    /// What owns this process's cooks.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the folder lies, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder.
    pub(super) fn folder(&self) -> &File {
        &self.folder
    }

    /// A file name that nobody used yet in this folder.
    pub(super) fn fresh_name(&self, what: &str) -> String {
        format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever hinders this, the next process to clear dead drafts does it instead.
        let _ = fs::unlinkat(&self.tmp, &self.name, AtFlags::REMOVEDIR);
    }
}

/// `None` when somebody else got hold of the folder first.
fn lock_new(tmp: &OwnedFd, name: &str) -> io::Result<Option<File>> {
    fs::mkdirat(tmp, name, Mode::from_raw_mode(0o700))?;
    let folder = match dir::open(tmp, name) {
        Ok(folder) => File::from(folder),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    dir::set_mode(&folder, 0o700)?;
    match folder.try_lock() {
        Ok(()) if is_at(tmp, name, &folder)? => Ok(Some(folder)),
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let _ = fs::unlinkat(tmp, name, AtFlags::REMOVEDIR);
            Ok(None)
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `name` leads to `folder`.
fn is_at(tmp: &OwnedFd, name: &str, folder: &File) -> io::Result<bool> {
    let held = fs::fstat(folder)?;
    match fs::statat(tmp, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the process called `name` lives: its folder is there and somebody holds it locked.
pub(super) fn is_alive(tmp: impl AsFd, name: &str) -> io::Result<bool> {
    // The name comes from a table: it must not lead out of `tmp`.
    let ours = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(ours) || name.starts_with(DEAD) {
        return Ok(false);
    }
    let folder = match dir::open(tmp, name) {
        Ok(folder) => File::from(folder),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    match folder.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether `name` is a folder that nobody holds locked.
pub(super) fn is_dead(tmp: impl AsFd, name: &str) -> io::Result<bool> {
    let folder = match dir::open(tmp, name) {
        Ok(folder) => File::from(folder),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    match folder.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Deletes the folders of dead processes in `tmp`, which lies at `path`, and counts them.
pub(super) fn clear_dead(tmp: &OwnedFd, path: &Path) -> io::Result<usize> {
    let mut cleared = 0;
    for entry in std::fs::read_dir(path).map_err(|e| dir::said("list", path, e))? {
        let entry = entry.map_err(|e| dir::said("list", path, e))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let folder = match dir::open(tmp, &name) {
            Ok(folder) => File::from(folder),
            // Gone meanwhile, or not a folder: not a process's.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(dir::said("open", &entry.path(), error)),
        };
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(dir::said("lock", &entry.path(), error)),
        }
        // Another cleaner may have been here between our open and our lock.
        if is_at(tmp, &name, &folder).map_err(|e| dir::said("look at", &entry.path(), e))? {
            cleared += usize::from(delete(tmp, path, &name)?);
        }
    }
    Ok(cleared)
}

/// Deletes a folder that the caller holds locked. `false` when its maker, who found it locked, has
/// taken it away first.
fn delete(tmp: &OwnedFd, path: &Path, name: &str) -> io::Result<bool> {
    let dead = if name.starts_with(DEAD) { name.to_owned() } else { format!("{DEAD}{name}") };
    if dead != name {
        match fs::renameat(tmp, name, tmp, &dead) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(dir::said("rename", &path.join(name), error)),
        }
    }
    let path = path.join(&dead);
    std::fs::remove_dir_all(&path).map_err(|e| dir::said("delete", &path, e))?;
    Ok(true)
}
