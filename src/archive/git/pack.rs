//! One pack: its index, its mapped data, and the headers of its entries (`gitformat-pack(5)`).
//!
//! Both files are mapped when they are first needed, and hold no descriptor afterwards. Git writes a
//! pack once, under the name of its checksum, and only ever deletes it: a mapping stays good.

use super::fault::{Fault, corrupt};
use crate::archive::ObjectType;
use crate::key::Sha1Git;
use gix_pack::{data, index};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

const ID_BYTES: usize = 20;

pub(crate) struct Pack {
    /// Never used again for another pack in this process: what caches go by.
    pub(crate) serial: u64,
    path: PathBuf,
    identity: Identity,
    /// `None` inside for an index that cannot be used; that was logged once.
    index: OnceLock<Option<index::File>>,
    data: OnceLock<data::File>,
}

/// What tells a file from another that took its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    pub(crate) mtime: (i64, i64),
}

impl Identity {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let meta = path.metadata()?;
        let mtime = (meta.mtime(), meta.mtime_nsec());
        Ok(Self { device: meta.dev(), inode: meta.ino(), size: meta.len(), mtime })
    }
}

/// The header of an entry.
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

impl Pack {
    /// The pack with this `.pack` file, which is not opened yet.
    pub(crate) fn new(path: PathBuf, identity: Identity) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self { serial, path, identity, index: OnceLock::new(), data: OnceLock::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Where the index says the object is.
    pub(crate) fn lookup(&self, id: &Sha1Git) -> Result<Option<u64>, Fault> {
        let index = if let Some(index) = self.index.get() {
            index
        } else {
            let opened = open_index(&self.path.with_extension("idx"))?;
            self.index.get_or_init(|| opened)
        };
        let Some(index) = index else { return Ok(None) };
        let found = index.lookup(gix_hash::oid::from_bytes_unchecked(id.as_bytes()));
        Ok(found.map(|at| index.pack_offset_at_index(at)))
    }

    /// The header of the entry at `offset`.
    pub(crate) fn entry(&self, offset: u64) -> Result<Entry, Fault> {
        parse_entry(self.bytes(offset)?, offset)
    }

    /// Calls `visit` with where each entry of the index begins, in no order.
    pub(crate) fn each_offset(&self, visit: &mut dyn FnMut(u64)) {
        if let Some(Some(index)) = self.index.get() {
            index.iter().for_each(|entry| visit(entry.pack_offset));
        } else if let Ok(Some(index)) = open_index(&self.path.with_extension("idx")) {
            index.iter().for_each(|entry| visit(entry.pack_offset));
        }
    }

    /// All of the pack from `offset` to its trailing checksum.
    pub(crate) fn bytes(&self, offset: u64) -> Result<&[u8], Fault> {
        let data = self.data()?;
        data.entry_slice(offset..data.pack_end() as u64).ok_or(corrupt("its pack is cut short"))
    }

    fn data(&self) -> Result<&data::File, Fault> {
        if let Some(data) = self.data.get() {
            return Ok(data);
        }
        check_opens("open pack", &self.path)?;
        let opened = data::File::at(&self.path, gix_hash::Kind::Sha1).map_err(|_| corrupt("its pack is not a pack"))?;
        Ok(self.data.get_or_init(|| opened))
    }
}

fn open_index(path: &Path) -> Result<Option<index::File>, Fault> {
    check_opens("open pack index", path)?;
    match index::File::at(path, gix_hash::Kind::Sha1) {
        Ok(index) => Ok(Some(index)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "pack index skipped: it cannot be used");
            Ok(None)
        }
    }
}

/// Tells a file that went away or may not be read from one with the wrong bytes in it.
fn check_opens(action: &str, path: &Path) -> Result<(), Fault> {
    match File::open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::Vanished),
        Err(error) => Err(Fault::io(action, path, error)),
    }
}

/// The header of the entry that `bytes` begin with, which stands at `offset` of its pack.
pub(crate) fn parse_entry(bytes: &[u8], offset: u64) -> Result<Entry, Fault> {
    let mut read = bytes.iter().copied();
    let mut next = || read.next().ok_or(corrupt("its pack is cut short"));
    let mut byte = next()?;
    let code = byte >> 4 & 7;
    let mut size = u64::from(byte & 15);
    let mut shift = 4;
    while byte & 0x80 != 0 {
        byte = next()?;
        size |= shifted(byte & 0x7f, shift).ok_or(corrupt("its pack entry states an impossible size"))?;
        shift += 7;
    }
    let kind = match code {
        1 => EntryKind::Object(ObjectType::Commit),
        2 => EntryKind::Object(ObjectType::Tree),
        3 => EntryKind::Object(ObjectType::Blob),
        4 => EntryKind::Object(ObjectType::Tag),
        6 => EntryKind::OffsetDelta(base_offset(&mut next, offset)?),
        7 => {
            let mut id = [0; ID_BYTES];
            for byte in &mut id {
                *byte = next()?;
            }
            EntryKind::IdDelta(Sha1Git::from_bytes(id))
        }
        _ => return Err(corrupt("its pack entry has an unknown type")),
    };
    let header = bytes.len() - read.len();
    Ok(Entry { kind, size, data: offset + header as u64 })
}

/// The distance back to the base: seven bits a byte, each continuation adding one.
fn base_offset(next: &mut impl FnMut() -> Result<u8, Fault>, offset: u64) -> Result<u64, Fault> {
    let wrong = || corrupt("its delta base lies outside the pack");
    let mut byte = next()?;
    let mut distance = u64::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = next()?;
        distance = distance.checked_add(1).filter(|value| value >> 57 == 0).ok_or_else(wrong)? << 7;
        distance |= u64::from(byte & 0x7f);
    }
    if distance == 0 { Err(wrong()) } else { offset.checked_sub(distance).ok_or_else(wrong) }
}

/// `bits << shift`, unless some would be lost.
pub(crate) fn shifted(bits: u8, shift: u32) -> Option<u64> {
    let value = u64::from(bits);
    value.checked_shl(shift).filter(|moved| moved >> shift == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entry_headers_are_read_as_git_writes_them() {
        let entry = parse_entry(&[0xbc, 0x12, 0, 0], 100).unwrap();
        assert!(matches!(entry.kind, EntryKind::Object(ObjectType::Blob)));
        assert_eq!((entry.size, entry.data), (0xc | 0x12 << 4, 102));
        let delta = parse_entry(&[0x65, 0x80, 0x01, 0], 1000).unwrap();
        assert!(matches!(delta.kind, EntryKind::OffsetDelta(base) if base == 1000 - 129));
    }

    #[test]
    fn a_base_before_the_pack_or_at_itself_is_refused() {
        for bytes in
            [&[0x65, 0x00][..], &[0x65, 0x7f], &[0x65, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]]
        {
            assert!(matches!(parse_entry(bytes, 12), Err(Fault::Corrupt(_))));
        }
        let endless_size = [0xff; 40];
        assert!(matches!(parse_entry(&endless_size, 12), Err(Fault::Corrupt(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_entry_header_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), offset: u64) {
            let _ = parse_entry(&bytes, offset >> 1);
        }
    }
}
