//! Why the catalogue could not answer: [`CatalogueError`] for callers, [`Fault`] inside.

use super::file::Loss;
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// Why the catalogue cannot be opened or could not do what was asked. For the operator: holds
/// paths and SQLite's words. What one says of its cause is all: none has a `source`, for who prints a chain of
/// causes would say it twice.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// There is none.
    #[error("there is no catalogue at {}", path.display())]
    Absent {
        /// Where it was sought.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a catalogue of larder's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Made by another version of larder.
    #[error("the catalogue {} is version {found} and this larder's is {known}: {}", path.display(),
        if found < known { "run `larder migrate`" } else { "a newer `larder migrate` made it, run that larder" })]
    Version {
        /// The catalogue.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Made by a larder so old that nothing leads from it to this one.
    #[error("the catalogue {} is version {found}, which this larder cannot migrate", path.display())]
    TooOld {
        /// The catalogue.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Other processes hold it open while its schema is to change.
    #[error("the catalogue {} must be migrated, and other larder processes have it open: stop them first",
        path.display())]
    InUse {
        /// The catalogue.
        path: PathBuf,
    },
    /// It lies where SQLite's locks cannot be trusted.
    #[error("the catalogue {} would lie on a network file system ({filesystem}), where locks are not reliable: \
        keep --data on a local disk", path.display())]
    Network {
        /// The catalogue.
        path: PathBuf,
        /// What it lies on.
        filesystem: &'static str,
    },
    /// Others write, and did not stop for as long as one could wait.
    #[error("{action} in {}: another writes for too long", path.display())]
    Busy {
        /// What was to be done.
        action: &'static str,
        /// The catalogue.
        path: PathBuf,
    },
    /// Its file is no longer the one that was opened.
    #[error("the catalogue {} {loss} while larder had it open: nothing is read from it or written to it any more. \
        Stop larder, put catalogue.db back from a backup or have `larder fsck --repair` make one of what the files \
        tell, and start larder again", path.display())]
    Lost {
        /// The catalogue.
        path: PathBuf,
        /// What became of it.
        loss: Loss,
    },
    /// It was opened with `Access::Read`.
    #[error("the catalogue was opened for reading only")]
    ReadOnly,
    /// The file cannot be reached, made or locked.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// SQLite could not.
    #[error("{action} in {}: {}", path.display(), words(cause, path))]
    Sqlite {
        /// What was being done.
        action: &'static str,
        /// The catalogue.
        path: PathBuf,
        /// Why not.
        cause: rusqlite::Error,
    },
    /// A row says what no row should.
    #[error("{action} in {}: {what}", path.display())]
    Row {
        /// What was being done.
        action: &'static str,
        /// The catalogue.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// What the caller does to the files inside the transaction failed; nothing was changed here.
    #[error("{action}: {cause}")]
    Files {
        /// What was being done.
        action: &'static str,
        /// Why not.
        cause: io::Error,
    },
}

impl CatalogueError {
    /// Whether there was no room, for the catalogue or for the files.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::Sqlite { cause, .. } => {
                // The second: the index of the log could not grow.
                cause.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    || cause.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
            }
            Self::Io { cause, .. } | Self::Files { cause, .. } => cause.kind() == io::ErrorKind::StorageFull,
            Self::Absent { .. }
            | Self::Foreign { .. }
            | Self::Version { .. }
            | Self::TooOld { .. }
            | Self::InUse { .. }
            | Self::Network { .. }
            | Self::Busy { .. }
            | Self::Lost { .. }
            | Self::ReadOnly
            | Self::Row { .. } => false,
        }
    }

    /// Whether another was writing, so that the same may well succeed in a moment.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

/// SQLite's words, without the path, which is said before them.
fn words(cause: &rusqlite::Error, path: &Path) -> String {
    let words = cause.to_string();
    words.strip_suffix(&format!(": {}", path.display())).map(str::to_owned).unwrap_or(words)
}

/// What goes wrong inside a transaction, before it is known which one it was.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Files(io::Error),
    Row(&'static str),
    /// The turn to write did not come in time.
    Busy,
}

impl Fault {
    pub(super) fn during(self, action: &'static str, path: &Path) -> CatalogueError {
        match self {
            Self::Sql(source) if source.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                CatalogueError::Busy { action, path: path.to_owned() }
            }
            Self::Busy => CatalogueError::Busy { action, path: path.to_owned() },
            Self::Sql(cause) => CatalogueError::Sqlite { action, path: path.to_owned(), cause },
            Self::Files(cause) => CatalogueError::Files { action, cause },
            Self::Row(what) => CatalogueError::Row { action, path: path.to_owned(), what },
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}
