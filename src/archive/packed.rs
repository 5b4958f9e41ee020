//! [`Place`]: where an archive has an object, for who can copy entries of packs as they lie. Knows no file: an archive
//! gives out its packs as `SourcePack`.
//!
//! **Nothing here has been hashed.** A pack made of such copies is worth nothing until every object
//! in it was resolved and compared with its id.

use super::{ArchiveError, ObjectType};
use crate::key::Sha1Git;
use std::path::Path;
use std::sync::Arc;

/// Where an archive has an object.
#[derive(Clone)]
pub enum Place {
    /// As an entry of a pack.
    Packed(PackedEntry),
    /// Elsewhere: ask a reader for it.
    Elsewhere,
}

/// An entry of a pack whose index is open. Keeps the pack's bytes within reach, though git may delete
/// the file.
#[derive(Clone)]
pub struct PackedEntry {
    pub(super) pack: Arc<dyn SourcePack>,
    pub(super) offset: u64,
}

/// The header of an entry of a pack.
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    /// The inflated length in bytes: of the object, or of the delta's instructions.
    pub(crate) size: u64,
    /// Where the deflated data begins.
    pub(crate) data: u64,
}

pub(crate) enum EntryKind {
    Object(ObjectType),
    /// A delta on the entry at this offset.
    OffsetDelta(u64),
    /// A delta on this object.
    IdDelta(Sha1Git),
}

/// A pack of an archive, of which the index is open.
pub(crate) trait SourcePack: Send + Sync {
    /// Tells it from all other packs of this process.
    fn serial(&self) -> u64;

    /// What orders packs, the same in every process.
    fn path(&self) -> &Path;

    /// The entry at `offset`, which the index calls `id`.
    fn header(&self, offset: u64, id: &Sha1Git) -> Result<Entry, ArchiveError>;

    /// The bytes from `start` to `end`, or `None` where the pack ends before.
    fn between(&self, start: u64, end: u64) -> Option<&[u8]>;

    /// Where the last entry ends.
    fn end(&self) -> Option<u64>;

    /// Calls `visit` with each id and where its entry begins, in the order of the ids.
    fn each_entry(&self, visit: &mut dyn FnMut(&Sha1Git, u64));
}

impl PackedEntry {
    /// Where in its pack it begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn pack(&self) -> &Arc<dyn SourcePack> {
        &self.pack
    }
}
