//! [`Place`]: where an archive has an object, for who can copy entries of packs as they lie.
//!
//! **Nothing here has been hashed.** A pack made of such copies is worth nothing until every object
//! in it was resolved and compared with its id.

use super::ArchiveError;
use super::git::{EntryKind, Pack};
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
    pub(super) pack: Arc<Pack>,
    pub(super) offset: u64,
}

/// A pack of an archive.
#[derive(Clone)]
pub(crate) struct SourcePack(Arc<Pack>);

/// The header of an entry of a pack, and where its deflated bytes begin.
pub(crate) struct SourceEntry {
    pub(crate) kind: EntryKind,
    /// The inflated length in bytes: of the object, or of the delta's instructions.
    pub(crate) size: u64,
    pub(crate) data: u64,
}

impl PackedEntry {
    /// Where in its pack it begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Tells its pack from all others of this process.
    pub(crate) fn serial(&self) -> u64 {
        self.pack.serial
    }

    pub(crate) fn pack(&self) -> SourcePack {
        SourcePack(self.pack.clone())
    }
}

impl SourcePack {
    /// What orders packs, the same in every process.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The entry at `offset`, which the index calls `id`.
    pub(crate) fn entry(&self, offset: u64, id: &Sha1Git) -> Result<SourceEntry, ArchiveError> {
        let entry = self.0.entry(offset).map_err(|fault| fault.of(*id))?;
        Ok(SourceEntry { kind: entry.kind, size: entry.size, data: entry.data })
    }

    /// The bytes from `start` to `end`, or `None` where the pack ends before.
    pub(crate) fn bytes(&self, start: u64, end: u64) -> Option<&[u8]> {
        let length = usize::try_from(end.checked_sub(start)?).ok()?;
        self.0.bytes(start).ok()?.get(..length)
    }

    /// Where the last entry ends.
    pub(crate) fn end(&self) -> Option<u64> {
        Some(u64::try_from(self.0.bytes(0).ok()?.len()).expect("because a length fits"))
    }

    /// Calls `visit` with each id and where its entry begins, in the order of the ids.
    pub(crate) fn each_entry(&self, mut visit: impl FnMut(&Sha1Git, u64)) {
        self.0.each_entry(&mut visit);
    }
}
