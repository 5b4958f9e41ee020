//! A pack that nobody vouches for: every entry read, every delta resolved, every id computed, and
//! every id that an object names looked for. Owns what is trusted of a pack: nothing.

use super::VerifyError;
use crate::archive::git::fault::{Fault, corrupt};
use crate::archive::git::inflate::{Pieces, Stream};
use crate::archive::git::parse_entry;
use crate::archive::object;
use crate::archive::packed::EntryKind;
use crate::archive::{ObjectType, object::tree_entries};
use crate::cook::history::ids::IdMap;
use crate::cook::history::index::Indexed;
use crate::cook::history::pack::{HEADER, TRAILER};
use crate::cook::history::packed::MAX_DELTIFIED;
use crate::cook::history::resolve::{Bounds, Entry, Failed, NONE, Pack, Resolved, resolve};
use crate::key::Sha1Git;
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

/// What a pack was found to hold.
pub(super) struct Found {
    /// In order of id, with the type and the place in the index.
    pub(super) objects: Vec<(Sha1Git, ObjectType)>,
    pub(super) indexed: Vec<Indexed>,
    pub(super) checksum: [u8; 20],
    /// The contents of all tags.
    pub(super) tags: BTreeMap<Sha1Git, Vec<u8>>,
}

/// The most bytes of all tags together, which are held.
pub(super) const MAX_TAGS: usize = 256 << 20;
const MAX_THREADS: usize = 8;
/// An entry's header: a size of ten bytes at most, and an id or a distance.
const MAX_HEADER: usize = 32;

/// Reads the pack that fills `file` from `start` to `end`.
pub(super) fn read(file: &File, start: u64, end: u64) -> Result<Found, VerifyError> {
    let scanned = scan(file, start, end)?;
    let pack = Pack { file, entries: &scanned.entries, end: end - TRAILER };
    let scratch = std::env::temp_dir();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let bounds = Bounds { threads, scratch: &scratch, max_object: MAX_DELTIFIED };
    let notes = Mutex::new(Notes::new(scanned.entries.len()));
    let visit = |resolved: &Resolved<'_>| notes.lock().unwrap_or_else(PoisonError::into_inner).take(resolved);
    resolve(&pack, &bounds, &visit).map_err(|Failed { at, fault }| {
        let at = scanned.entries.get(at as usize).map_or(start, |entry| entry.offset);
        refuse(at, fault)
    })?;
    let Notes { ids, links, tags, .. } = notes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<_> = ids
        .into_iter()
        .zip(&scanned.entries)
        .zip(&scanned.crcs)
        .map(|((object, entry), crc)| (object, Indexed { offset: entry.offset - start, crc: *crc }))
        .collect();
    all.sort_unstable_by_key(|((id, _), _)| *id);
    let (objects, indexed): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let found = Found { objects, indexed, checksum: scanned.checksum, tags };
    if let Some(twice) = found.objects.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(missing(start, format!("object {} stands in the pack twice", twice[0].0)));
    }
    let mut named = Vec::new();
    links.drain_into(&mut named);
    named.iter().try_for_each(|(id, object_type)| found.expect(start, id, *object_type))?;
    Ok(found)
}

impl Found {
    /// Refuses a pack that has not got an object of this type.
    pub(super) fn expect(&self, at: u64, id: &Sha1Git, object_type: ObjectType) -> Result<(), VerifyError> {
        match self.type_of(id) {
            Some(found) if found == object_type => Ok(()),
            Some(found) => Err(missing(at, format!("object {id} is a {found}, and what names it says {object_type}"))),
            None => Err(missing(at, format!("object {id} is missing"))),
        }
    }

    pub(super) fn type_of(&self, id: &Sha1Git) -> Option<ObjectType> {
        let at = self.objects.binary_search_by_key(id, |(id, _)| *id).ok()?;
        self.objects.get(at).map(|(_, object_type)| *object_type)
    }

    /// What these refs point at that is neither a commit nor a tag.
    pub(super) fn others(&self, refs: &[(Vec<u8>, Sha1Git)]) -> BTreeMap<Sha1Git, ObjectType> {
        let others = refs.iter().filter_map(|(_, id)| Some((*id, self.type_of(id)?)));
        others.filter(|(_, found)| matches!(found, ObjectType::Tree | ObjectType::Blob)).collect()
    }
}

/// What is noted of each object.
struct Notes {
    ids: Vec<(Sha1Git, ObjectType)>,
    links: IdMap<ObjectType>,
    tags: BTreeMap<Sha1Git, Vec<u8>>,
    tag_bytes: usize,
}

impl Notes {
    fn new(count: usize) -> Self {
        let ids = vec![(Sha1Git::from_bytes([0; 20]), ObjectType::Blob); count];
        Self { ids, links: IdMap::new(), tags: BTreeMap::new(), tag_bytes: 0 }
    }

    fn take(&mut self, resolved: &Resolved<'_>) -> Result<(), Fault> {
        self.ids[resolved.at as usize] = (resolved.id, resolved.object_type);
        let wrong = |error: &dyn std::fmt::Display| Fault::Corrupt(format!("object {}: {error}", resolved.id).into());
        match resolved.object_type {
            ObjectType::Blob => {}
            ObjectType::Tree => {
                for entry in tree_entries(resolved.content) {
                    let entry = entry.map_err(|error| wrong(&error))?;
                    if let Some(object_type) = entry.kind.leads_to() {
                        self.link(&entry.id, object_type)?;
                    }
                }
            }
            ObjectType::Commit => {
                self.link(&object::commit_tree(resolved.content).map_err(|error| wrong(&error))?, ObjectType::Tree)?;
                for parent in object::commit_parents(resolved.content) {
                    self.link(&parent, ObjectType::Commit)?;
                }
            }
            ObjectType::Tag => {
                let (target, object_type) = object::tag_target(resolved.content).map_err(|error| wrong(&error))?;
                self.link(&target, object_type)?;
                self.tag_bytes += resolved.content.len();
                if self.tag_bytes > MAX_TAGS {
                    return Err(corrupt("its tags together are too large"));
                }
                self.tags.insert(resolved.id, resolved.content.to_vec());
            }
        }
        Ok(())
    }

    fn link(&mut self, id: &Sha1Git, object_type: ObjectType) -> Result<(), Fault> {
        match self.links.insert(id, object_type) {
            Some(&mut known) if known != object_type => {
                Err(Fault::Corrupt(format!("object {id} is called a {known} and a {object_type}").into()))
            }
            _ => Ok(()),
        }
    }
}

/// The entries of a pack, as far as they can be known without resolving any.
struct Scanned {
    entries: Vec<Entry>,
    crcs: Vec<u32>,
    checksum: [u8; 20],
}

fn scan(file: &File, start: u64, end: u64) -> Result<Scanned, VerifyError> {
    let wrong = |at, reason: &'static str| refuse(at, corrupt(reason));
    if end.saturating_sub(start) < HEADER as u64 + TRAILER {
        return Err(wrong(start, "there is no whole pack"));
    }
    let mut input = Summed::new(file, start, end - TRAILER);
    let mut header = [0; HEADER];
    input.read_exact(&mut header).map_err(VerifyError::Read)?;
    if header[..8] != *b"PACK\0\0\0\x02" {
        return Err(wrong(start, "it is no pack of version 2"));
    }
    let count = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let (mut entries, mut crcs) = (Vec::new(), Vec::new());
    let mut stream = Stream::default();
    for _ in 0..count {
        let offset = input.at;
        input.crc = crc32fast::Hasher::new();
        let fault = |fault| refuse(offset, fault);
        let entry = entry(&mut input, start, &entries).map_err(fault)?;
        Pieces::new(&mut input, &mut stream, Some(entry.size)).drain(&mut |_| Ok(())).map_err(fault)?;
        entries.push(entry);
        crcs.push(input.crc.clone().finalize());
    }
    if input.at != input.end {
        return Err(wrong(input.at, "there is more in the pack than it says"));
    }
    let checksum: [u8; 20] = input.sha1.finalize().into();
    let mut stated = [0; 20];
    file.read_exact_at(&mut stated, end - TRAILER).map_err(VerifyError::Read)?;
    if stated == checksum { Ok(Scanned { entries, crcs, checksum }) } else { Err(wrong(end - TRAILER, CHECKSUM)) }
}

const CHECKSUM: &str = "the checksum is not that of the pack";

/// The entry that begins here. A delta's base must stand before it.
fn entry(input: &mut Summed<'_>, start: u64, before: &[Entry]) -> Result<Entry, Fault> {
    let mut bytes = [0; MAX_HEADER];
    let left = usize::try_from(input.end - input.at).unwrap_or(usize::MAX).min(MAX_HEADER);
    let read = |cause| Fault::Io { action: "read a pack".to_owned(), cause };
    input.file.read_exact_at(&mut bytes[..left], input.at).map_err(read)?;
    let offset = input.at;
    let parsed = parse_entry(&bytes[..left], offset - start)?;
    let length = usize::try_from(parsed.data - (offset - start)).expect("because a header is short");
    input.read_exact(&mut bytes[..length]).map_err(read)?;
    let (base, object_type) = match parsed.kind {
        EntryKind::Object(object_type) => (NONE, object_type),
        EntryKind::IdDelta(_) => return Err(corrupt("larder writes no delta that names its base by id")),
        EntryKind::OffsetDelta(base) => {
            let found = before.binary_search_by_key(&(start + base), |entry| entry.offset).ok();
            let base = found.ok_or(corrupt("its base is no entry of the pack"))?;
            (u32::try_from(base).expect("because a pack counts its entries so"), before[base].object_type)
        }
    };
    let header = u8::try_from(length).expect("because a header is short");
    Ok(Entry { offset, size: parsed.size, base, header, object_type })
}

/// Part of a file, and the sums over what was consumed of it.
struct Summed<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    piece: Vec<u8>,
    used: usize,
    sha1: Sha1,
    crc: crc32fast::Hasher,
}

impl<'a> Summed<'a> {
    fn new(file: &'a File, at: u64, end: u64) -> Self {
        Self { file, at, end, piece: Vec::new(), used: 0, sha1: Sha1::new(), crc: crc32fast::Hasher::new() }
    }
}

impl BufRead for Summed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        const PIECE: usize = 256 << 10;
        if self.used == self.piece.len() && self.at < self.end {
            self.piece.resize(usize::try_from(self.end - self.at).unwrap_or(PIECE).min(PIECE), 0);
            self.used = 0;
            self.file.read_exact_at(&mut self.piece, self.at)?;
        }
        Ok(&self.piece[self.used..])
    }

    fn consume(&mut self, length: usize) {
        let bytes = &self.piece[self.used..self.used + length];
        self.sha1.update(bytes);
        self.crc.update(bytes);
        self.used += length;
        self.at += length as u64;
    }
}

impl Read for Summed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let held = self.fill_buf()?;
        let length = held.len().min(buf.len());
        buf[..length].copy_from_slice(&held[..length]);
        self.consume(length);
        Ok(length)
    }
}

fn refuse(at: u64, fault: Fault) -> VerifyError {
    match fault {
        Fault::Corrupt(reason) => VerifyError::Git { at, reason: reason.into_owned() },
        Fault::TooLarge { size, limit } => {
            VerifyError::Git { at, reason: format!("it states {size} bytes, over the limit of {limit}") }
        }
        Fault::Io { cause, .. } | Fault::Sink(cause) => VerifyError::Read(cause),
        Fault::Vanished => VerifyError::Read(io::Error::from(io::ErrorKind::NotFound)),
    }
}

fn missing(at: u64, reason: String) -> VerifyError {
    VerifyError::Git { at, reason }
}
