//! A task of the Archiver, what it is to fetch, what it fetched or why it could not: plain data, which the Archiver
//! makes and the catalogue keeps.

mod wanted;

pub use wanted::{AliasKey, Wanted};

use crate::key::{BundleKey, Sha1Git};
use crate::time::Timestamp;
use std::fmt;

/// Where a task stands. The numbers are those of the catalogue: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Waits to be started.
    Pending = 0,
    /// A process fetches.
    Started = 1,
    /// What it fetched is there.
    Success = 2,
    /// It ended without.
    Failure = 3,
    /// Waits again: it waited too long, or a try failed.
    Retry = 4,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Started, Self::Success, Self::Failure, Self::Retry];

    /// The word that clients read.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Retry => "RETRY",
        }
    }

    /// The number that stands for this state in the catalogue.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The state that `code` stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether nothing more happens to a task in this state.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a fetch failed, for programs. The words stand in the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// The upstream has no such archive.
    Missing,
    /// The upstream refuses, and would again.
    Refused,
    /// The upstream failed, or asks to come back later.
    Upstream,
    /// There is no connection to the upstream.
    Unreachable,
    /// The upstream's certificate is not one that is trusted.
    Untrusted,
    /// The upstream took too long.
    Timeout,
    /// The body ended before it was whole.
    CutShort,
    /// A check in the archive fails.
    Damaged,
    /// Over `max_size` or `max_unpacked`.
    TooLarge,
    /// What came is not an archive as its suffix says.
    NotAnArchive,
    /// A redirect leads where the source does not allow.
    Redirect,
    /// The upstream's address is not public, and the source does not allow that.
    PrivateAddress,
    /// The upstream's bytes are said never to change, and did.
    Changed,
    /// The operator has blocked the archive, or its directory.
    Blocked,
    /// There was no room.
    NoSpace,
    /// Reading or writing failed here.
    Io,
    /// Its process ended again and again while fetching.
    Interrupted,
    /// The source is no longer configured, or its token cannot be read.
    Source,
}

impl FaultCode {
    /// Every code.
    pub const ALL: [Self; 18] = [
        Self::Missing,
        Self::Refused,
        Self::Upstream,
        Self::Unreachable,
        Self::Untrusted,
        Self::Timeout,
        Self::CutShort,
        Self::Damaged,
        Self::TooLarge,
        Self::NotAnArchive,
        Self::Redirect,
        Self::PrivateAddress,
        Self::Changed,
        Self::Blocked,
        Self::NoSpace,
        Self::Io,
        Self::Interrupted,
        Self::Source,
    ];

    /// The word in the catalogue and in `--json`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::Upstream => "upstream",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Timeout => "timeout",
            Self::CutShort => "cut-short",
            Self::Damaged => "damaged",
            Self::TooLarge => "too-large",
            Self::NotAnArchive => "not-an-archive",
            Self::Redirect => "redirect",
            Self::PrivateAddress => "private-address",
            Self::Changed => "changed",
            Self::Blocked => "blocked",
            Self::NoSpace => "no-space",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::Source => "source",
        }
    }

    /// The code written so.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }

    /// Whether the same fetch may well succeed a little later.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Upstream
            | Self::Unreachable
            | Self::Timeout
            | Self::CutShort
            | Self::Damaged
            | Self::NoSpace
            | Self::Io => true,
            Self::Missing
            | Self::Refused
            | Self::Untrusted
            | Self::TooLarge
            | Self::NotAnArchive
            | Self::Redirect
            | Self::PrivateAddress
            | Self::Changed
            | Self::Blocked
            | Self::Interrupted
            | Self::Source => false,
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a fetch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For programs.
    pub code: FaultCode,
    /// For people and clients: no path of this machine, no address that was looked up.
    pub message: String,
}

impl Fault {
    /// A fault with its words.
    #[must_use]
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What was fetched, as an alias keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The bundle: the content whose id is that of the bytes.
    pub content: BundleKey,
    /// Length in bytes.
    pub size: u64,
    /// The upstream's `Content-Type`.
    pub media_type: String,
    /// The name of the file that the upstream gave it.
    pub file_name: String,
    /// The tree below the archive's own top directory, or why it is none.
    pub directory: Result<Directory, String>,
}

/// The tree in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Its id.
    pub id: Sha1Git,
    /// Length of its tree object in bytes.
    pub size: u64,
}

/// What a request's key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The row of the catalogue.
    pub row: i64,
    /// The request.
    pub wanted: Wanted,
    /// What was fetched, once something was. Its file may have been collected since.
    pub fetched: Option<Fetched>,
    /// When it was fetched.
    pub fetched_at: Option<Timestamp>,
    /// What a later fetch brought instead, when its bytes were others.
    pub drift: Option<Drift>,
}

/// Other bytes at the same URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// How many fetches brought other bytes than the one before.
    pub times: u64,
    /// The content that was first; the alias may stand for the newer one, if the first was collected.
    pub first: Sha1Git,
    /// The content that was seen last.
    pub last: Sha1Git,
    /// When.
    pub at: Timestamp,
}

/// One order to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name in URLs.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// When it is tried again at the earliest, while it waits.
    pub ready_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Tries that failed.
    pub attempts: u32,
    /// Why the last try failed.
    pub fault: Option<Fault>,
}

/// A name for a task that fetches `rev`: the revision to be read at the front, then 64 random bits.
#[must_use]
pub fn task_id(rev: &str, random: u64) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let rev: String = rev.chars().take(40).map(legal).collect();
    format!("{rev}-{random:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_codes_read_back() {
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
        }
        for code in FaultCode::ALL {
            assert_eq!(FaultCode::from_word(code.as_str()), Some(code));
        }
    }

    #[test]
    fn only_what_another_try_can_mend_is_tried_again() {
        let again = ["upstream", "unreachable", "timeout", "cut-short", "damaged", "no-space", "io"];
        for code in FaultCode::ALL {
            assert_eq!(code.is_transient(), again.contains(&code.as_str()), "{code}");
        }
        assert!(again.iter().all(|word| FaultCode::from_word(word).is_some()));
    }

    #[test]
    fn a_tasks_name_begins_with_the_revision_and_is_safe_in_a_url() {
        assert_eq!(task_id("3d11cb4f31b9", 1), "3d11cb4f31b9-0000000000000001");
        assert_eq!(task_id("v1/a b", u64::MAX), "v1_a_b-ffffffffffffffff");
        assert_eq!(task_id(&"x".repeat(99), 0).len(), 57);
    }
}
