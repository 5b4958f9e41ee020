//! Limits that several layers share as plain values: what the store may take of the disk, and what
//! goes first when it takes more.

use bytesize::ByteSize;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What the bundles may take of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    /// Most bytes on disk of all bundles together; `None` where only the disk ends it.
    pub max_size: Option<u64>,
    /// Space that stays free for others.
    pub min_free: MinFree,
    /// What was used less than this ago is never collected.
    pub grace: Duration,
    /// What is collected first.
    pub policy: Policy,
}

/// What becomes of orders, and what is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// What is ordered is cooked once, kept and served.
    #[default]
    Normal,
    /// What is there is served; nothing is cooked, and nothing written.
    ReadOnly,
    /// What is not there is cooked for each who asks, and not kept; nothing is written.
    PassThrough,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Normal => "normal",
            Self::ReadOnly => "read-only",
            Self::PassThrough => "pass-through",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "normal" => Ok(Self::Normal),
            "read-only" => Ok(Self::ReadOnly),
            "pass-through" => Ok(Self::PassThrough),
            _ => Err(format!("{text:?} is none of normal, read-only and pass-through")),
        }
    }
}

/// What a process that serves does; several on one data folder share the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Answers requests, cooks and fetches.
    #[default]
    All,
    /// Answers requests, and leaves cooks and fetches to other processes.
    Front,
    /// Cooks and fetches what others ask for; of requests answers those for its health.
    Cook,
}

impl Role {
    /// Whether it answers requests for bundles.
    #[must_use]
    pub const fn answers(self) -> bool {
        matches!(self, Self::All | Self::Front)
    }

    /// Whether it cooks and fetches.
    #[must_use]
    pub const fn cooks(self) -> bool {
        matches!(self, Self::All | Self::Cook)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::Front => "front",
            Self::Cook => "cook",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "front" => Ok(Self::Front),
            "cook" => Ok(Self::Cook),
            _ => Err(format!("{text:?} is none of all, front and cook")),
        }
    }
}

/// What is collected first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// What was used least recently.
    #[default]
    Lru,
    /// Among what was used least recently, what costs least to cook again for the room it takes and
    /// was asked for least often.
    Gdsf,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lru => "lru",
            Self::Gdsf => "gdsf",
        })
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lru" => Ok(Self::Lru),
            "gdsf" => Ok(Self::Gdsf),
            _ => Err(format!("{text:?} is neither lru nor gdsf")),
        }
    }
}

/// The fewest inodes that stay free where `min_free` is a size: a bundle takes one and up to three
/// directories.
const MIN_INODES: u64 = 256;

/// Space that must stay free: `5%` or `10GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinFree {
    /// A share of the file system, 0 to 99.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

impl MinFree {
    /// The bytes that must stay free on a file system of `total` bytes.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Percent(percent) => total / 100 * u64::from(percent),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The inodes that must stay free on a file system of `total` inodes; none on one that sets no
    /// limit (btrfs) and reports zero.
    #[must_use]
    pub fn inodes_of(self, total: u64) -> u64 {
        match self {
            _ if total == 0 => 0,
            Self::Percent(percent) => (total / 100 * u64::from(percent)).max(MIN_INODES),
            Self::Bytes(_) => MIN_INODES,
        }
    }
}

impl fmt::Display for MinFree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

impl FromStr for MinFree {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(percent) = text.strip_suffix('%') {
            return match percent.trim().parse() {
                Ok(percent @ 0..=99) => Ok(Self::Percent(percent)),
                _ => Err(format!("{text:?} is not a percentage from 0% to 99%")),
            };
        }
        match text.parse::<ByteSize>() {
            Ok(size) => Ok(Self::Bytes(size.as_u64())),
            Err(error) => Err(format!("{text:?} is neither a size (10GiB) nor a percentage (5%): {error}")),
        }
    }
}
