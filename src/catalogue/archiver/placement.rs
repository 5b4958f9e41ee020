//! A content in a region: plain data, and how a row of it is read.

use super::super::error::Fault as SqlFault;
use super::super::row::unsigned;
use crate::bundle::FileFacts;
use crate::key::{BundleKey, ObjectKind, Sha1Git};
use crate::task::Fetched;
use crate::time::Timestamp;
use rusqlite::Row;
use std::time::Duration;

/// Where a content stands in a region. The numbers are those of the catalogue: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PlacementState {
    /// It is to be put there.
    Wanted = 0,
    /// It is there.
    There = 1,
    /// It is to be deleted there.
    Unwanted = 2,
}

impl PlacementState {
    /// The word for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::There => "there",
            Self::Unwanted => "unwanted",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Wanted, Self::There, Self::Unwanted].into_iter().find(|state| *state as u8 == code)
    }
}

/// An object as every region has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The bundle that it is.
    pub content: BundleKey,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub blake3: [u8; 32],
    /// Its `Content-Type`.
    pub media_type: String,
    /// The name in its `Content-Disposition`.
    pub file_name: String,
}

impl Placed {
    /// What was fetched, as an object.
    #[must_use]
    pub fn of(fetched: &Fetched, facts: &FileFacts) -> Self {
        Self {
            content: fetched.content,
            size: facts.size,
            blake3: facts.blake3,
            media_type: fetched.media_type.clone(),
            file_name: fetched.file_name.clone(),
        }
    }
}

/// An object in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The object.
    pub placed: Placed,
    /// The name of the region.
    pub region: String,
    /// Where it stands.
    pub state: PlacementState,
    /// When it was put there, or last found there.
    pub put_at: Option<Timestamp>,
    /// When it is looked at next.
    pub due_at: Timestamp,
    /// Failures since it last succeeded.
    pub attempts: u32,
    /// The last of these.
    pub fault: Option<String>,
}

/// The right to work at one placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementJob {
    /// As it was when it was claimed.
    pub placement: Placement,
    /// The name of a multipart upload that was begun before, and not ended; empty where that is all that
    /// is known of it.
    pub upload: Option<String>,
    /// Whether the content is a bundle: else nobody wants it in a region.
    pub is_kept: bool,
    pub(super) owner: String,
}

/// How work at a placement ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementEnd {
    /// The object is there; to be looked at again after this time.
    There(Duration),
    /// It was deleted.
    Deleted,
    /// It should be there and is not: it is to be put again.
    Lost,
    /// Nobody wants it: it is to be deleted.
    Orphaned,
    /// It failed, for this reason; to be tried again after this time.
    Failed(String, Duration),
    /// Nothing was done.
    GivenBack,
}

/// The columns that [`read`] reads.
macro_rules! placement_columns {
    () => {
        "content, region, state, size, blake3, media_type, file_name, put_at, due_at, attempts, fault, upload"
    };
}
pub(super) use placement_columns;

impl PlacementJob {
    pub(super) fn key(&self) -> ([u8; 20], &str, &str) {
        (*self.placement.placed.content.id().as_bytes(), &self.placement.region, &self.owner)
    }
}

pub(super) fn content(row: &Row<'_>, column: usize) -> Result<BundleKey, SqlFault> {
    Ok(BundleKey::with_default_format(ObjectKind::Content, Sha1Git::from_bytes(row.get(column)?)))
}

pub(super) fn read(row: &Row<'_>) -> Result<Placement, SqlFault> {
    let placed = Placed {
        content: content(row, 0)?,
        size: unsigned(row, 3)?,
        blake3: row.get(4)?,
        media_type: row.get(5)?,
        file_name: row.get(6)?,
    };
    Ok(Placement {
        placed,
        region: row.get(1)?,
        state: PlacementState::from_code(row.get(2)?).ok_or(SqlFault::Row("a state is none that exists"))?,
        put_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        due_at: Timestamp::from_millis(row.get(8)?),
        attempts: row.get(9)?,
        fault: row.get(10)?,
    })
}
