//! The files under an open catalogue: whether they are still those that were opened.
//!
//! A file that was deleted or replaced goes on living in whoever has it open: what is written into it
//! is gone when the last of them ends, and meanwhile others write into another. One that was cut lacks
//! what SQLite is about to change. So the names are looked at before each transaction that writes and,
//! by [`Catalogue::look_after_file`], once a second; nothing is written or read once they lead elsewhere.
//! What comes back under its name, being the same file, is used again; what was cut is not.
//!
//! The names are looked at with `stat`, never opened: closing any handle of the catalogue would give up
//! all locks that this process has on it.

use super::error::Fault;
use super::{Catalogue, CatalogueError};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What became of the catalogue's files under a process that has them open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The file has no name any more.
    Deleted,
    /// Another file has its name.
    Replaced,
    /// It is shorter than it was; SQLite never shortens it.
    Cut,
    /// The log beside it, or the log's index, is gone or another.
    Log,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Deleted => "was deleted",
            Self::Replaced => "was replaced by another file",
            Self::Cut => "was cut short",
            Self::Log => "has lost its log (-wal or -shm)",
        })
    }
}

/// A file: its device and its inode.
type Id = (u64, u64);

fn id(metadata: &Metadata) -> Id {
    (metadata.dev(), metadata.ino())
}

/// What was opened, and how it stands.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    companions: [PathBuf; 2],
    opened: Id,
    /// Held for a few `stat`s, never while another lock is taken.
    seen: Mutex<Seen>,
    /// Whether the last look found it lost.
    lost: AtomicBool,
}

#[derive(Debug)]
struct Seen {
    /// The longest that the file was.
    length: u64,
    /// The log and its index, once they were there: they stay while anybody has the catalogue open.
    companions: [Option<Id>; 2],
    loss: Option<Loss>,
}

impl Watched {
    /// The file at `path`, which has just been opened.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        let companions = ["-wal", "-shm"].map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        });
        let seen = Seen { length: metadata.len(), companions: [None; 2], loss: None };
        let (opened, seen) = (id(&metadata), Mutex::new(seen));
        let watched = Self { path: path.to_owned(), companions, opened, seen, lost: AtomicBool::new(false) };
        watched.look()?;
        Ok(watched)
    }

    /// Looks at the names. An error says that they could not be looked at, and nothing of the files.
    pub(super) fn look(&self) -> io::Result<Option<Loss>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.loss = match stat(&self.path)? {
            None => Some(Loss::Deleted),
            Some(now) if id(&now) != self.opened => Some(Loss::Replaced),
            Some(now) if now.len() < seen.length => Some(Loss::Cut),
            Some(now) => {
                seen.length = now.len();
                self.look_at_companions(&mut seen)?.then_some(Loss::Log)
            }
        };
        self.lost.store(seen.loss.is_some(), Ordering::Release);
        Ok(seen.loss)
    }

    /// Whether one is lost.
    fn look_at_companions(&self, seen: &mut Seen) -> io::Result<bool> {
        for (path, known) in self.companions.iter().zip(&mut seen.companions) {
            let now = stat(path)?.as_ref().map(id);
            if known.is_some() && *known != now {
                return Ok(true);
            }
            *known = now;
        }
        Ok(false)
    }

    /// What the last look found, at next to no cost.
    fn last(&self) -> Option<Loss> {
        self.lost.load(Ordering::Acquire).then(|| self.seen.lock().unwrap_or_else(PoisonError::into_inner).loss)?
    }
}

fn stat(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Catalogue {
    /// Looks whether the catalogue's files are still those that were opened. Costs three `stat`s. A
    /// catalogue that was opened for reading only is not looked after: it may be a copy that is renewed.
    ///
    /// # Errors
    /// [`CatalogueError::Lost`], which is what every question gets from then on.
    pub fn look_after_file(&self) -> Result<(), CatalogueError> {
        let Some(watched) = &self.shared.watched else { return Ok(()) };
        let path = &self.shared.path;
        let action = "look at";
        match watched.look().map_err(|cause| CatalogueError::Io { action, path: path.clone(), cause })? {
            None => Ok(()),
            Some(loss) => Err(CatalogueError::Lost { path: path.clone(), loss }),
        }
    }

    /// Brings what stands in a log that has lost its name into the catalogue's file, so that the end of this
    /// process loses none of it. Only while nobody has begun another log, which would tell otherwise.
    /// Whether that was done.
    pub fn rescue_log(&self) -> Result<bool, CatalogueError> {
        let (Some(watched), Some(writer)) = (&self.shared.watched, &self.shared.writer) else { return Ok(false) };
        if watched.last() != Some(Loss::Log) {
            return Ok(false);
        }
        let run = || -> Result<bool, Fault> {
            let writer = writer.lend(self.patience)?;
            if watched.companions[0].symlink_metadata().is_ok() {
                return Ok(false);
            }
            let busy: i64 = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
            Ok(busy == 0)
        };
        run().map_err(|fault| fault.during("bring its log into the catalogue", &self.shared.path))
    }

    /// As the last look found it.
    pub(super) fn expect_file(&self) -> Result<(), CatalogueError> {
        match self.shared.watched.as_ref().and_then(Watched::last) {
            None => Ok(()),
            Some(loss) => Err(CatalogueError::Lost { path: self.shared.path.clone(), loss }),
        }
    }
}
