//! What the catalogue knows of a bundle: [`Bundle`], its [`Status`] and the moves a status may
//! make, and why a cook failed. Pure data: knows neither SQL nor HTTP.

use crate::key::BundleKey;
use crate::time::Timestamp;
use std::fmt;

/// Where a bundle stands. The numbers are those of the catalogue: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// Asked for, waiting for a cook.
    New = 0,
    /// Being cooked, or waiting for the cook of the directory it names.
    Pending = 1,
    /// Cooked: its file is in the store.
    Done = 2,
    /// The cook failed; the reason is kept.
    Failed = 3,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::New, Self::Pending, Self::Done, Self::Failed];

    /// The word used in JSON: that of Software Heritage's vault.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The number that stands for this status in the catalogue.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status that `code` stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Whether a bundle may go from this status to `next`.
    ///
    /// `new -> pending -> done | failed`; a cook that is given back goes `pending -> new`; a
    /// failure that is asked for again goes `failed -> new`; a file found missing goes
    /// `done -> new`; and a name of a directory that is there already goes straight to `done`.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::New, Self::Pending | Self::Done | Self::Failed)
                | (Self::Pending, Self::New | Self::Done | Self::Failed)
                | (Self::Failed | Self::Done, Self::New)
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is to be said of a bundle that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// What the bundle leaves out or holds under another name, and why: for people.
    pub notes: Vec<String>,
    /// Whether what is left out changes ids.
    pub lossy: bool,
}

/// Why a cook failed, for programs. The words stand in the catalogue and in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// The tree cannot be a flat bundle: an unsafe name, a duplicate, a wrong order, too deep.
    HostileTree,
    /// Over `max_bundle_size` or another fixed cap.
    TooLarge,
    /// An object that the bundle needs is in no archive.
    MissingObject,
    /// An object's bytes do not have its id, or cannot be read as what they should be.
    CorruptObject,
    /// The format cannot carry it as it is; another one can.
    NotRepresentable,
    /// It took longer than `cook_timeout`.
    Timeout,
    /// There was no room for the draft.
    NoSpace,
    /// Reading or writing failed.
    Io,
    /// Its process ended again and again while cooking it.
    Interrupted,
    /// It is, or holds, an object that the operator has blocked.
    Blocked,
}

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::HostileTree,
        Self::TooLarge,
        Self::MissingObject,
        Self::CorruptObject,
        Self::NotRepresentable,
        Self::Timeout,
        Self::NoSpace,
        Self::Io,
        Self::Interrupted,
        Self::Blocked,
    ];

    /// The word in the catalogue and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostileTree => "hostile-tree",
            Self::TooLarge => "too-large",
            Self::MissingObject => "missing-object",
            Self::CorruptObject => "corrupt-object",
            Self::NotRepresentable => "not-representable",
            Self::Timeout => "timeout",
            Self::NoSpace => "no-space",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::Blocked => "blocked",
        }
    }

    /// The code written so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }

    /// Whether the same cook may well succeed later, so that it is retried without being asked.
    ///
    /// A missing or corrupt object is not: nothing but a change of the archive mends it, and who
    /// changed it can ask again.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::NoSpace | Self::Io => true,
            Self::HostileTree
            | Self::TooLarge
            | Self::MissingObject
            | Self::CorruptObject
            | Self::NotRepresentable
            | Self::Timeout
            | Self::Interrupted
            | Self::Blocked => false,
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A failed cook's reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason, for programs.
    pub code: FailureCode,
    /// The reason, for people: no path of this machine, no SQL, no backtrace.
    pub message: String,
}

/// A bundle's file, as the catalogue knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Length in bytes.
    pub size: u64,
    /// Bytes allocated on disk (`st_blocks * 512`), which is what limits count.
    pub allocated: u64,
    /// BLAKE3 of the bytes.
    pub blake3: [u8; 32],
}

/// A row of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Its name.
    pub key: BundleKey,
    /// Where it stands.
    pub status: Status,
    /// Its file, when it is done.
    pub file: Option<FileFacts>,
    /// SHA-256 of the bytes, once it is known: it is computed after publishing.
    pub sha256: Option<[u8; 32]>,
    /// When it was first asked for.
    pub created_at: Timestamp,
    /// When its file was published.
    pub done_at: Option<Timestamp>,
    /// When it was last used; names of one file share it.
    pub last_access_at: Option<Timestamp>,
    /// How often it was fetched.
    pub hits: u64,
    /// Never collected.
    pub pinned: bool,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// What is to be said of it, when it is done.
    pub remarks: Remarks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_codes_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::from_code(status.code()), Some(status));
        }
        for code in FailureCode::ALL {
            assert_eq!(FailureCode::from_word(code.as_str()), Some(code));
        }
    }

    #[test]
    fn a_status_makes_only_its_legal_moves() {
        use Status::{Done, Failed, New, Pending};
        let legal = [
            (New, Pending),
            (New, Done),
            (New, Failed),
            (Pending, New),
            (Pending, Done),
            (Pending, Failed),
            (Failed, New),
            (Done, New),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(from.may_become(to), legal.contains(&(from, to)), "{from} -> {to}");
            }
        }
    }
}
