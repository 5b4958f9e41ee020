//! Why a cook failed, and what of it a client may be told. Knows neither HTTP nor the catalogue.

use super::control::Reason;
use super::join::Miscoded;
use crate::archive::ArchiveError;
use crate::bundle::{Failure, FailureCode};
use crate::key::Sha1Git;
use std::io;

/// Why a cook ended without a bundle.
#[derive(Debug, thiserror::Error)]
pub enum CookError {
    /// A tree that cannot be a flat bundle.
    #[error("directory {directory}: {reason}")]
    Hostile {
        /// Path of the directory in the bundle, quoted, its odd bytes escaped, shortened to its end.
        directory: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Over `max_size` or over a fixed cap.
    #[error("too large: {reason}")]
    TooLarge {
        /// What is too large, and the limit.
        reason: String,
    },
    /// An object that the bundle needs is not in the archive.
    #[error("object {id} is missing")]
    Missing {
        /// The object.
        id: Sha1Git,
    },
    /// An object is not what its id or what names it says.
    #[error("object {id} is corrupt: {reason}")]
    Corrupt {
        /// The object.
        id: Sha1Git,
        /// What is wrong, without any path.
        reason: String,
    },
    /// An object that the bundle needs is blocked.
    #[error("object {id} is blocked")]
    Blocked {
        /// The object.
        id: Sha1Git,
    },
    /// The format cannot carry it as it is.
    #[error("{what} cannot be in a fast-import stream: {reason}; the format `bundle` has it as it is")]
    NotRepresentable {
        /// The object or the ref.
        what: String,
        /// Which part of it, and why, odd bytes escaped.
        reason: String,
    },
    /// The archive could not be read. The message may hold a path.
    #[error("{action}: {cause}")]
    Archive {
        /// What was being done, and where.
        action: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// The bundle could not be written.
    #[error("writing the bundle: {0}")]
    Output(io::Error),
    /// Who asked for it called it off.
    #[error("{0}")]
    Cancelled(Reason),
    /// The system has no thread left for it.
    #[error("no thread can be started: {0}")]
    NoThread(io::Error),
    /// An encoder's bytes do not inflate to what it was given: a bug, in a library or in the machine.
    #[error(transparent)]
    Miscoded(#[from] Miscoded),
    /// A thread of the cook panicked: a bug, here or in a library.
    #[error("a thread of the cook panicked")]
    Panicked,
}

impl CookError {
    /// What the catalogue keeps and a client sees: no path of this machine is in it. `None` when
    /// the cook did not fail but was stopped, and is to be done again.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        let (code, message) = match self {
            Self::Hostile { .. } => (FailureCode::HostileTree, self.to_string()),
            Self::TooLarge { .. } => (FailureCode::TooLarge, self.to_string()),
            Self::Missing { .. } => (FailureCode::MissingObject, self.to_string()),
            Self::Corrupt { .. } => (FailureCode::CorruptObject, self.to_string()),
            Self::Blocked { .. } => (FailureCode::Blocked, self.to_string()),
            Self::NotRepresentable { .. } => (FailureCode::NotRepresentable, self.to_string()),
            Self::Archive { cause, .. } => (io_code(cause), format!("the archive could not be read: {}", cause.kind())),
            Self::Output(cause) => (io_code(cause), format!("the bundle could not be written: {}", cause.kind())),
            Self::Cancelled(Reason::Timeout) => (FailureCode::Timeout, self.to_string()),
            Self::Cancelled(Reason::Stop) => return None,
            Self::Miscoded(_) => (FailureCode::Io, self.to_string()),
            Self::NoThread(cause) => (FailureCode::Io, format!("no thread could be started: {}", cause.kind())),
            Self::Panicked => (FailureCode::Io, "the cook broke off because of an internal error".to_owned()),
        };
        Some(Failure { code, message })
    }

    /// `what` (an object or a ref) has something that a fast-import stream has not.
    pub(crate) fn not_representable(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::NotRepresentable { what: what.into(), reason: reason.into() }
    }

    /// A tree at `path` (as in the bundle, any bytes) that is refused.
    pub(crate) fn hostile(path: &[u8], reason: impl Into<String>) -> Self {
        Self::Hostile { directory: quoted(path), reason: reason.into() }
    }
}

fn io_code(cause: &io::Error) -> FailureCode {
    match cause.kind() {
        // The last is what a limit on the size of files, `ulimit -f`, comes to.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => FailureCode::NoSpace,
        _ => FailureCode::Io,
    }
}

impl From<ArchiveError> for CookError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Corrupt { id, reason } => Self::Corrupt { id, reason },
            ArchiveError::TooLarge { .. } => Self::TooLarge { reason: error.to_string() },
            ArchiveError::Blocked { id } => Self::Blocked { id },
            ArchiveError::Io { action, cause } => Self::Archive { action, cause },
            ArchiveError::Sink(cause) => Self::Output(cause),
        }
    }
}

/// At most this many bytes of a path stand in a message.
const SHOWN: usize = 200;

/// `path` between double quotes, what is not printable ASCII escaped, only its end when it is long.
fn quoted(path: &[u8]) -> String {
    let start = path.len().saturating_sub(SHOWN);
    let dots = if start > 0 { "..." } else { "" };
    format!("\"{dots}{}\"", path[start..].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_holds_no_path_of_this_machine() {
        let archive = CookError::Archive {
            action: "reading /srv/git/secret.git".to_owned(),
            cause: io::Error::other("/srv/git/secret.git: bad"),
        };
        let output = CookError::Output(io::Error::other("/var/lib/larder/tmp/1: bad"));
        for error in [archive, output] {
            let failure = error.failure().unwrap();
            assert_eq!(failure.code, FailureCode::Io);
            assert!(!failure.message.contains('/'), "{}", failure.message);
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one_and_a_stop_is_no_failure() {
        let full = CookError::Output(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(full.failure().unwrap().code, FailureCode::NoSpace);
        let cut = CookError::Output(io::Error::from(io::ErrorKind::FileTooLarge));
        assert_eq!(cut.failure().unwrap().code, FailureCode::NoSpace);
        assert_eq!(CookError::Cancelled(Reason::Stop).failure(), None);
        assert_eq!(CookError::Cancelled(Reason::Timeout).failure().unwrap().code, FailureCode::Timeout);
    }

    /// EAGAIN, EMFILE, ENFILE, ENOMEM, and what a disk or a network file system answers on a bad day.
    #[test]
    fn whatever_the_system_has_none_left_of_passes() {
        for errno in [11, 24, 23, 12, 5, 13, 116, 28, 122, 27] {
            let cause = || io::Error::from_raw_os_error(errno);
            let archive = CookError::Archive { action: String::new(), cause: cause() };
            for error in [archive, CookError::Output(cause()), CookError::NoThread(cause())] {
                let failure = error.failure().unwrap();
                assert!(failure.code.is_transient(), "{errno}: {error}: {:?}", failure.code);
            }
        }
    }

    #[test]
    fn a_hostile_path_is_escaped_and_shortened() {
        let long = CookError::hostile(&[b'a'; 5000], "x").to_string();
        assert!(long.len() < 300);
        assert_eq!(
            CookError::hostile(b"source/\x1b[2J\"\xff/", "why").to_string(),
            r#"directory "source/\x1b[2J\"\xff/": why"#
        );
    }
}
