//! A strict reader of the zip that larder writes, and of no other.
//!
//! Reads the central directory and the members side by side, both from their starts. A record is
//! taken apart only as far as it takes to know the member; then it is encoded again and compared,
//! and so is what was deflated, which leaves no byte unchecked.

use super::member::{Claim, MAX_PATH, is_legal_name, is_legal_target};
use super::tree::Trees;
use super::{Seen, VerifyError};
use crate::archive::ObjectType;
use crate::archive::object::{self, EntryKind, Hasher};
use crate::cook::deflate::{Deflater, End, Level};
use crate::cook::segment::UNIT;
use crate::cook::tarball::{Member, Node, TOP};
use crate::cook::zip::{self, CENTRAL, Entry, Figures};
use crate::key::Sha1Git;
use flate2::bufread::DeflateDecoder;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;

/// Reads the whole zip; the id of its directory.
pub(super) fn directory(file: &File, seen: Seen<'_>) -> Result<Sha1Git, VerifyError> {
    let length = file.metadata().map_err(VerifyError::Read)?.len();
    let end = Ending::read(file, length)?;
    let mut zip = Zip { file, at: 0, end: end.start, deflater: Deflater::new(Level::Zip), coded: Vec::new() };
    let mut central = Central {
        input: BufReader::with_capacity(1 << 16, Part { file, at: end.start, end: end.start + end.bytes }),
        seen: Vec::new(),
    };
    let mut trees = Trees::new(seen);
    for index in 0..end.entries {
        let (entry, figures) = central.next(zip.at)?;
        if (index == 0) != (entry.name == TOP) {
            return Err(zip.refuse("the first member, and no other, is the directory source/"));
        }
        zip.member(&entry, &figures, &mut trees)?;
    }
    if zip.at != end.start || central.input.read(&mut [0]).map_err(VerifyError::Read)? != 0 {
        return Err(zip.refuse("something stands between its parts"));
    }
    trees.finish().map_err(|reason| zip.refuse(reason))
}

/// What the end says of the central directory.
struct Ending {
    entries: u64,
    bytes: u64,
    start: u64,
}

impl Ending {
    fn read(file: &File, length: u64) -> Result<Self, VerifyError> {
        let refuse = |reason: &str| refuse(length, reason);
        let last = |count: usize| -> Result<Vec<u8>, VerifyError> {
            let at = length.checked_sub(count as u64).ok_or_else(|| refuse("it is too short"))?;
            read(file, at, count)
        };
        let short = last(zip::END)?;
        let mut end = Self {
            entries: u16_at(&short, 8).into(),
            bytes: u32_at(&short, 12).into(),
            start: u32_at(&short, 16).into(),
        };
        if end.entries == u64::from(u16::MAX) || [end.bytes, end.start].contains(&u64::from(u32::MAX)) {
            let long = last(zip::END + zip::END64)?;
            end = Self { entries: u64_at(&long, 24), bytes: u64_at(&long, 40), start: u64_at(&long, 48) };
        }
        let mut canonical = Vec::new();
        let total = end.start.checked_add(end.bytes).ok_or_else(|| refuse("its end is not as larder writes it"))?;
        zip::write_end(end.entries, end.bytes, end.start, &mut canonical);
        if total.checked_add(canonical.len() as u64) != Some(length) || last(canonical.len())? != canonical {
            return Err(refuse("its end is not as larder writes it"));
        }
        Ok(end)
    }
}

/// The central directory under way.
struct Central<'a> {
    input: BufReader<Part<'a>>,
    seen: Vec<u8>,
}

impl Central<'_> {
    /// The next header, which must be that of a member at `offset`.
    fn next(&mut self, offset: u64) -> Result<(Entry, Figures), VerifyError> {
        let refuse = || refuse(offset, "a central header is not as larder writes it");
        self.seen.resize(CENTRAL, 0);
        self.input.read_exact(&mut self.seen).map_err(|error| read_error(error, offset))?;
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(&self.seen, at)));
        self.seen.resize(CENTRAL + name + extra + comment, 0);
        self.input.read_exact(&mut self.seen[CENTRAL..]).map_err(|error| read_error(error, offset))?;
        let (head, rest) = self.seen.split_at(CENTRAL);
        let (name, rest) = rest.split_at(name);
        let (extra, comment) = rest.split_at(extra);
        let mut long = extra.get(4..).unwrap_or_default().chunks_exact(8);
        let mut field = |at: usize| match u32_at(head, at) {
            u32::MAX => long.next().map(|bytes| u64_at(bytes, 0)),
            short => Some(short.into()),
        };
        let size = field(24).ok_or_else(refuse)?;
        let packed = field(20).ok_or_else(refuse)?;
        let entry = Entry { name: name.to_vec(), mode: u16_at(head, 40), size, comment: comment.to_vec() };
        let figures = Figures { crc: u32_at(head, 16), packed };
        if name.len() > TOP.len() + MAX_PATH + 1 || comment.len() > 100 {
            return Err(refuse());
        }
        let mut canonical = Vec::new();
        entry.write_central(&figures, offset, &mut canonical);
        if canonical == self.seen { Ok((entry, figures)) } else { Err(refuse()) }
    }
}

/// The members under way.
struct Zip<'a> {
    file: &'a File,
    /// Where the next stands.
    at: u64,
    /// Where the last ends.
    end: u64,
    deflater: Deflater,
    coded: Vec<u8>,
}

impl Zip<'_> {
    /// Reads the member that `entry` describes, and puts it into its directory.
    fn member(&mut self, entry: &Entry, figures: &Figures, trees: &mut Trees<'_>) -> Result<(), VerifyError> {
        let claim = self.claim(entry)?;
        let mut expected = Vec::new();
        entry.write_local(figures, &mut expected);
        self.compare(&expected, "a local header is not as larder writes it")?;
        let body_end = self.at.checked_add(figures.packed).filter(|&end| end <= self.end);
        let body_end = body_end.ok_or_else(|| self.refuse("a member is longer than the zip"))?;
        let mut target = Vec::new();
        let id = if entry.is_deflated() {
            self.inflated(entry, figures, body_end)?
        } else {
            if figures.packed != entry.size || entry.size > MAX_PATH as u64 {
                return Err(self.refuse("a stored member has another size"));
            }
            target = read(self.file, self.at, usize::try_from(entry.size).expect("because it is short"))?;
            if crc32fast::hash(&target) != figures.crc {
                return Err(self.refuse("a CRC-32 is wrong"));
            }
            object::hash(ObjectType::Blob, &target).map_err(|error| self.refuse(error.to_string()))?
        };
        self.at = body_end;
        if entry.is_streamed() {
            expected.clear();
            entry.write_descriptor(figures, &mut expected);
            self.compare(&expected, "a data descriptor is not as larder writes it")?;
        }
        self.place(entry, &claim, &target, id, trees)
    }

    /// What the entry says of the member's place in git.
    fn claim(&self, entry: &Entry) -> Result<Claim, VerifyError> {
        let implied: &[u8] = match entry.mode {
            0o040_755 => b"40000",
            0o100_644 => b"100644",
            0o100_755 => b"100755",
            0o120_777 => b"120000",
            _ => return Err(self.refuse("an unknown kind of member")),
        };
        let claim = Claim::of_comment(&entry.comment, implied).ok_or_else(|| self.refuse("a comment"))?;
        if !is_legal_name(&entry.name, claim.kind) {
            return Err(self.refuse("a name that is too long, not below source/, or not that of its kind"));
        }
        Ok(claim)
    }

    fn place(
        &self,
        entry: &Entry,
        claim: &Claim,
        target: &[u8],
        id: Sha1Git,
        trees: &mut Trees<'_>,
    ) -> Result<(), VerifyError> {
        let node = match claim.kind {
            EntryKind::Directory => Node::Directory,
            EntryKind::Gitlink => Node::Gitlink,
            EntryKind::Symlink => Node::Symlink { target },
            EntryKind::File { executable } => Node::File { executable, size: entry.size },
        };
        if claim.kind == EntryKind::Symlink && !is_legal_target(target) {
            return Err(self.refuse("a symlink's target"));
        }
        let id = match claim.kind {
            EntryKind::Directory | EntryKind::Gitlink => claim.id,
            EntryKind::Symlink | EntryKind::File { .. } => Some(id),
        };
        let named = claim.id.or(id).unwrap_or(Sha1Git::NULL);
        let member = Member { name: &entry.name, node, raw_mode: &claim.raw_mode, id: &named };
        if Entry::new(&member) != *entry {
            return Err(self.refuse("a member's mode and comment do not go together"));
        }
        claim.place(&entry.name, id, trees).map_err(|reason| self.refuse(reason))
    }

    /// The id of a deflated content, which ends at `end`.
    fn inflated(&mut self, entry: &Entry, figures: &Figures, end: u64) -> Result<Sha1Git, VerifyError> {
        let part = BufReader::with_capacity(1 << 16, Part { file: self.file, at: self.at, end });
        let mut inflated = DeflateDecoder::new(part);
        let (mut hasher, mut crc) = (Hasher::new(ObjectType::Blob, entry.size), crc32fast::Hasher::new());
        let mut unit = Vec::with_capacity(UNIT.min(usize::try_from(entry.size).unwrap_or(UNIT)));
        let mut left = entry.size;
        while left > 0 {
            unit.clear();
            (&mut inflated)
                .take(left.min(UNIT as u64))
                .read_to_end(&mut unit)
                .map_err(|error| read_error(error, self.at))?;
            if unit.is_empty() {
                return Err(self.refuse("a member is shorter than it says"));
            }
            left -= unit.len() as u64;
            hasher.update(&unit);
            crc.update(&unit);
            self.recode(&unit, if left == 0 { End::Finish } else { End::Flush }, end)?;
        }
        if self.at != end {
            return Err(VerifyError::Encoding);
        }
        if crc.finalize() != figures.crc {
            return Err(self.refuse("a CRC-32 is wrong"));
        }
        hasher.finish().map_err(|error| self.refuse(error.to_string()))
    }

    /// Deflates a unit again: that is what stands here, before `end`.
    fn recode(&mut self, unit: &[u8], how: End, end: u64) -> Result<(), VerifyError> {
        let mut coded = std::mem::take(&mut self.coded);
        coded.clear();
        self.deflater.deflate(unit, how, &mut coded).map_err(|_| VerifyError::Encoding)?;
        let fits = self.at + coded.len() as u64 <= end;
        if !fits || read(self.file, self.at, coded.len())? != coded {
            return Err(VerifyError::Encoding);
        }
        self.at += coded.len() as u64;
        self.coded = coded;
        Ok(())
    }

    /// Steps over `expected`, which is what must stand here.
    fn compare(&mut self, expected: &[u8], reason: &str) -> Result<(), VerifyError> {
        let end = self.at + expected.len() as u64;
        if end > self.end || read(self.file, self.at, expected.len())? != expected {
            return Err(self.refuse(reason));
        }
        self.at = end;
        Ok(())
    }

    fn refuse(&self, reason: impl Into<String>) -> VerifyError {
        refuse(self.at, reason)
    }
}

/// Part of a file, read from its start.
struct Part<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(out.len());
        let read = self.file.read_at(&mut out[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn read(file: &File, at: u64, count: usize) -> Result<Vec<u8>, VerifyError> {
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, at).map_err(|error| read_error(error, at))?;
    Ok(bytes)
}

fn read_error(error: std::io::Error, at: u64) -> VerifyError {
    match error.kind() {
        ErrorKind::UnexpectedEof => refuse(at, "it ends too early"),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => refuse(at, "it is not deflated data"),
        _ => VerifyError::Read(error),
    }
}

fn refuse(at: u64, reason: impl Into<String>) -> VerifyError {
    VerifyError::Zip { at, reason: reason.into() }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
