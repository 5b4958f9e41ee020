//! One pack: its index, its mapped data, and the headers of its entries (`gitformat-pack(5)`).
//!
//! Both files are mapped when they are first needed, and hold no descriptor afterwards. Git writes a
//! pack once, under the name of its checksum, and only ever deletes it: a mapping stays good.

use super::fault::{Fault, corrupt};
use super::map::{Mapping, Tear, map};
use super::open::{self, Unopened};
use super::served::Served;
use crate::archive::packed::{Entry, EntryKind, SourcePack};
use crate::archive::{ArchiveError, ObjectType};
use crate::key::Sha1Git;
use gix_pack::{data, index};
use sha1::{Digest as _, Sha1};
use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub(super) const ID_BYTES: usize = 20;

pub(crate) struct Pack {
    /// Never used again for another pack in this process: what caches go by.
    pub(crate) serial: u64,
    path: PathBuf,
    identity: Identity,
    served: Arc<Served>,
    /// `None` inside for an index that cannot be used; that was logged once.
    index: OnceLock<Option<(index::File<Mapping>, Tear)>>,
    /// Whether the index has the checksum that stands at its end.
    sound: OnceLock<bool>,
    data: OnceLock<(data::File<Mapping>, Tear)>,
}

/// What tells a file from another that took its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    pub(crate) mtime: (i64, i64),
}

impl Identity {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// The indexes that have the checksums at their ends: each is compared once, however often it is opened.
#[derive(Default)]
pub(super) struct Checked(Mutex<HashSet<Identity>>);

impl Checked {
    /// So many are remembered.
    const MOST: usize = 200_000;

    pub(super) fn has(&self, identity: &Identity) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(identity)
    }

    /// Whether the index at `path` is sound.
    pub(super) fn check(&self, identity: Identity, path: &Path, served: &Served) -> Result<bool, Fault> {
        if self.has(&identity) {
            return Ok(true);
        }
        let sound = has_checksum("read index", path, served)?;
        if sound {
            let mut checked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.len() >= Self::MOST {
                checked.clear();
            }
            checked.insert(identity);
        }
        Ok(sound)
    }
}

impl Pack {
    /// The pack with this `.pack` file, which is not opened yet.
    pub(super) fn new(path: PathBuf, identity: Identity, served: Arc<Served>) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let (index, sound, data) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { serial, path, identity, served, index, sound, data }
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Where the index says the object is.
    pub(crate) fn lookup(&self, id: &Sha1Git) -> Result<Option<u64>, Fault> {
        let (index, tear) = self.index()?;
        let found = index.lookup(gix_hash::oid::from_bytes_unchecked(id.as_bytes()));
        if tear.is_torn() {
            return Err(damaged(&self.index_path()));
        }
        Ok(found.map(|at| index.pack_offset_at_index(at)))
    }

    /// The header of the entry at `offset`.
    pub(crate) fn entry(&self, offset: u64) -> Result<Entry, Fault> {
        parse_entry(self.bytes(offset)?, offset)
    }

    /// Opens the pack's own index: a multi-pack index may have answered so far.
    pub(super) fn open_index(&self) -> Result<(), Fault> {
        self.index().map(drop)
    }

    /// All of the pack from `offset` to its trailing checksum.
    pub(crate) fn bytes(&self, offset: u64) -> Result<&[u8], Fault> {
        let data = self.data()?;
        data.entry_slice(offset..data.pack_end() as u64).ok_or(corrupt("its pack is cut short"))
    }

    /// Whether the index is known to be damaged.
    pub(super) fn is_damaged(&self) -> bool {
        matches!(self.index.get(), Some(None)) || self.sound.get() == Some(&false) || self.is_torn()
    }

    /// Whether a file of it was cut short, or could not be read, while it was mapped.
    pub(super) fn is_torn(&self) -> bool {
        let index = self.index.get().is_some_and(|index| index.as_ref().is_some_and(|(_, tear)| tear.is_torn()));
        index || self.data.get().is_some_and(|(_, tear)| tear.is_torn())
    }

    /// Whether the index was compared with its checksum.
    pub(super) fn is_checked(&self, checked: &Checked) -> bool {
        self.is_damaged() || self.sound.get().is_some() || checked.has(&self.identity)
    }

    /// Compares the index with its checksum: what is not in a damaged one may be in the pack.
    pub(super) fn check(&self, checked: &Checked) -> Result<(), Fault> {
        if self.sound.get().is_none() {
            let sound = checked.check(self.identity, &self.index_path(), &self.served)?;
            self.sound.get_or_init(|| sound);
        }
        if self.is_damaged() { Err(damaged(&self.index_path())) } else { Ok(()) }
    }

    fn index_path(&self) -> PathBuf {
        self.path.with_extension("idx")
    }

    fn index(&self) -> Result<&(index::File<Mapping>, Tear), Fault> {
        let index = if let Some(index) = self.index.get() {
            index
        } else {
            let path = self.index_path();
            let map = mapped("open pack index", &path, &self.served)?;
            let tear = map.tear();
            let opened = index::File::from_data(map, path.clone(), gix_hash::Kind::Sha1);
            let opened = opened.inspect_err(|error| {
                tracing::error!(path = %path.display(), %error, "a pack index is damaged");
            });
            self.index.get_or_init(|| opened.ok().map(|index| (index, tear)))
        };
        index.as_ref().ok_or_else(|| damaged(&self.index_path()))
    }

    fn data(&self) -> Result<&data::File<Mapping>, Fault> {
        if let Some((data, _)) = self.data.get() {
            return Ok(data);
        }
        let map = mapped("open pack", &self.path, &self.served)?;
        let tear = map.tear();
        let opened = data::File::from_data(map, self.path.clone(), gix_hash::Kind::Sha1);
        let opened = opened.map_err(|_| corrupt("its pack is not a pack"))?;
        Ok(&self.data.get_or_init(|| (opened, tear)).0)
    }
}

impl SourcePack for Pack {
    fn serial(&self) -> u64 {
        self.serial
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn header(&self, offset: u64, id: &Sha1Git) -> Result<Entry, ArchiveError> {
        self.entry(offset).map_err(|fault| fault.of(*id))
    }

    fn between(&self, start: u64, end: u64) -> Option<&[u8]> {
        let length = usize::try_from(end.checked_sub(start)?).ok()?;
        self.bytes(start).ok()?.get(..length)
    }

    fn end(&self) -> Option<u64> {
        Some(u64::try_from(self.bytes(0).ok()?.len()).expect("because a length fits"))
    }

    fn each_entry(&self, visit: &mut dyn FnMut(&Sha1Git, u64)) {
        if let Some(Some((index, _))) = self.index.get() {
            for entry in index.iter() {
                let id = entry.oid.as_slice().first_chunk().expect("because the index has ids of SHA-1");
                visit(&Sha1Git::from_bytes(*id), entry.pack_offset);
            }
        }
    }
}

/// Maps a file of the folder of packs. One that went away, or turned into what is not read, is to be
/// looked for again.
pub(super) fn mapped(action: &str, path: &Path, served: &Served) -> Result<Mapping, Fault> {
    let (file, _) = opened(action, path, served)?;
    map(&file).map_err(|cause| Fault::io(action, path, cause))
}

fn opened(action: &str, path: &Path, served: &Served) -> Result<(std::fs::File, Metadata), Fault> {
    open::file(path, served).map_err(|unopened| match unopened {
        Unopened::Absent | Unopened::Refused(_) => Fault::Vanished,
        Unopened::Failed(cause) => Fault::io(action, path, cause),
    })
}

/// Whether the SHA-1 of an index is the one at its end.
fn has_checksum(action: &str, path: &Path, served: &Served) -> Result<bool, Fault> {
    let (mut file, metadata) = opened(action, path, served)?;
    let (mut hasher, mut piece) = (Sha1::new(), vec![0; 64 << 10]);
    let mut left = metadata.len().saturating_sub(ID_BYTES as u64);
    let mut read = |bytes: &mut [u8]| file.read_exact(bytes).map_err(|cause| Fault::io(action, path, cause));
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        read(&mut piece[..length])?;
        hasher.update(&piece[..length]);
        left -= length as u64;
    }
    let mut written = [0; ID_BYTES];
    let long_enough = metadata.len() >= ID_BYTES as u64;
    if long_enough {
        read(&mut written)?;
    }
    let sound = long_enough && hasher.finalize()[..] == written;
    if !sound {
        tracing::error!(path = %path.display(), "it has not the checksum that stands at its end");
    }
    Ok(sound)
}

/// That an index does not say what is in its pack. Nothing can be said of what is not found in it.
pub(super) fn damaged(path: &Path) -> Fault {
    let cause = io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
    Fault::io("look into pack index", path, cause)
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
