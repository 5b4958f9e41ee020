//! A packed object: its entry and the deltas it is made by, followed down to an object that stands
//! for itself. Owns how such an object is read whole, in memory; `large` does it through files.

use super::cache::BaseCache;
use super::delta;
use super::fault::{Fault, check_size, corrupt};
use super::inflate;
use super::pack::Pack;
use super::packs::{Packs, Place};
use crate::archive::packed::{Entry, EntryKind};
use crate::archive::{Header, MAX_STRUCTURE, MAX_WHOLE_BLOB, ObjectType};

/// Git makes chains of 4,095 at most. One that is longer is taken for a cycle, which deltas that
/// name their base by id can make.
const MAX_DEPTH: usize = 10_000;

pub(super) struct Chain<'a> {
    pub(super) object_type: ObjectType,
    /// From the object asked for down; empty for an object that stands for itself.
    pub(super) deltas: Vec<Link<'a>>,
    pub(super) base: Link<'a>,
}

/// An entry of a pack.
#[derive(Clone, Copy)]
pub(super) struct Link<'a> {
    pack: &'a Pack,
    offset: u64,
    data: u64,
    /// The inflated length in bytes.
    pub(super) size: u64,
}

impl<'a> Link<'a> {
    fn new(pack: &'a Pack, offset: u64, entry: &Entry) -> Self {
        Self { pack, offset, data: entry.data, size: entry.size }
    }

    /// The deflated bytes, and what follows them.
    pub(super) fn deflated(&self) -> Result<&'a [u8], Fault> {
        self.pack.bytes(self.data)
    }

    pub(super) fn key(&self) -> (u64, u64) {
        (self.pack.serial, self.offset)
    }
}

/// What reading takes and is worth keeping between objects.
#[derive(Default)]
pub(super) struct Tools {
    pub(super) inflate: gix_zlib::Inflate,
    pub(super) bases: BaseCache,
    delta: Vec<u8>,
    base: Vec<u8>,
}

impl<'a> Chain<'a> {
    pub(super) fn follow(packs: &'a Packs, place: Place) -> Result<Self, Fault> {
        let mut deltas = Vec::new();
        let (mut pack, mut offset) = (&**packs.pack(place.pack), place.offset);
        let mut at = place.pack;
        loop {
            let entry = pack.entry(offset)?;
            let link = Link::new(pack, offset, &entry);
            match entry.kind {
                EntryKind::Object(object_type) => return Ok(Self { object_type, deltas, base: link }),
                EntryKind::OffsetDelta(base) => offset = base,
                EntryKind::IdDelta(id) => {
                    let base = packs.lookup(&id, at, None)?.ok_or(corrupt("its delta base is missing"))?;
                    (at, offset) = (base.pack, base.offset);
                    pack = packs.pack(at);
                }
            }
            deltas.push(link);
            if deltas.len() > MAX_DEPTH {
                return Err(corrupt("its chain of deltas is endless"));
            }
        }
    }

    /// Type and size; of the data, at most the first bytes of one delta are inflated.
    pub(super) fn header(&self, inflate: &mut gix_zlib::Inflate) -> Result<Header, Fault> {
        let size = match self.deltas.first() {
            None => self.base.size,
            Some(delta) => {
                let mut start = [0; delta::HEADER_BYTES];
                let length = usize::try_from(delta.size).unwrap_or(usize::MAX).min(start.len());
                let length = inflate::prefix(inflate, delta.deflated()?, &mut start[..length])?;
                let mut bytes = start[..length].iter().copied();
                delta::read_sizes(&mut || Ok(bytes.next()))?.result
            }
        };
        Ok(Header { object_type: self.object_type, size })
    }

    /// The entry of the object itself.
    pub(super) fn top(&self) -> Link<'a> {
        *self.deltas.first().unwrap_or(&self.base)
    }

    /// Sets `buf` to the object, when it and all it is made from are small enough for memory.
    ///
    /// [`Fault::TooLarge`] says only that some part is not.
    pub(super) fn read(&self, tools: &mut Tools, buf: &mut Vec<u8>) -> Result<(), Fault> {
        let limit = memory_limit(self.object_type);
        // From the nearest link that is still known.
        let known = self.deltas.iter().skip(1).chain([&self.base]).position(|link| tools.bases.contains(link.key()));
        let known = if self.deltas.is_empty() { None } else { known };
        let (deltas, from) = match known {
            Some(at) => (&self.deltas[..=at], *self.deltas.get(at + 1).unwrap_or(&self.base)),
            None => (&self.deltas[..], self.base),
        };
        if known.is_some() {
            buf.clear();
            buf.extend_from_slice(tools.bases.get(from.key()).unwrap_or_default());
        } else {
            inflate_link(&mut tools.inflate, &from, buf, limit)?;
        }
        for (at, link) in deltas.iter().enumerate().rev() {
            std::mem::swap(buf, &mut tools.base);
            let base_key = deltas.get(at + 1).unwrap_or(&from).key();
            tools.bases.put(base_key, &tools.base);
            inflate_link(&mut tools.inflate, link, &mut tools.delta, limit)?;
            delta::apply(&tools.base, &tools.delta, buf, limit)?;
        }
        tools.shrink();
        Ok(())
    }
}

impl Tools {
    /// For a walk through a history.
    pub(super) fn wide() -> Self {
        Self { bases: BaseCache::wide(), ..Self::default() }
    }

    /// Lets go of what one large object needed.
    fn shrink(&mut self) {
        const KEPT: usize = 1 << 20;
        for buffer in [&mut self.base, &mut self.delta] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
    }
}

/// The largest object of this type that is held in memory, in bytes.
pub(super) fn memory_limit(object_type: ObjectType) -> u64 {
    match object_type {
        ObjectType::Blob => MAX_WHOLE_BLOB,
        ObjectType::Tree | ObjectType::Commit | ObjectType::Tag => MAX_STRUCTURE,
    }
}

fn inflate_link(inflate: &mut gix_zlib::Inflate, link: &Link<'_>, out: &mut Vec<u8>, limit: u64) -> Result<(), Fault> {
    check_size(link.size, limit)?;
    let size = usize::try_from(link.size).map_err(|_| Fault::TooLarge { size: link.size, limit })?;
    out.clear();
    out.resize(size, 0);
    inflate::whole(inflate, link.deflated()?, out)
}
