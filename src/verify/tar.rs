//! A strict reader of the tar that larder writes, and of no other.
//!
//! A member's header blocks are taken apart only as far as it takes to know the member; then they
//! are encoded again and compared, which leaves no byte unchecked.

use super::VerifyError;
use super::tree::Trees;
use crate::archive::ObjectType;
use crate::archive::object::{self, EntryKind, Hasher};
use crate::cook::tarball::{self, BLOCK, Member, Node, PAX_DIRECTORY, TOP};
use crate::key::Sha1Git;
use std::io::{BufReader, ErrorKind, Read};

/// A pax header that larder writes has at most a path, a target and a hundred bytes more.
const MAX_PAX: usize = 16 << 10;
/// Bytes of a path below `source/`, and of a target.
const MAX_PATH: usize = 4095;

/// Reads the whole tar; the id of its directory.
pub(super) fn directory(input: impl Read) -> Result<Sha1Git, VerifyError> {
    let mut tar = Tar { input: BufReader::with_capacity(1 << 16, input), at: 0, buf: vec![0; 1 << 16] };
    let mut trees = Trees::default();
    let mut first = true;
    while let Some(header) = tar.header()? {
        if first != (header.name == TOP) {
            return Err(tar.refuse("the first member, and no other, is the directory source/"));
        }
        first = false;
        tar.member(&header, &mut trees)?;
    }
    if first {
        return Err(tar.refuse("it is empty"));
    }
    tar.end()?;
    trees.finish().map_err(|reason| tar.refuse(reason))
}

struct Tar<R> {
    input: BufReader<R>,
    at: u64,
    buf: Vec<u8>,
}

/// A member's header, read and found to be canonical.
struct Header {
    name: Vec<u8>,
    kind: EntryKind,
    raw_mode: Vec<u8>,
    size: u64,
    target: Vec<u8>,
    /// The member's id, where the header names it.
    claimed: Option<Sha1Git>,
}

impl<R: Read> Tar<R> {
    /// The next member's header, or `None` at the first of the zero blocks.
    fn header(&mut self) -> Result<Option<Header>, VerifyError> {
        let mut seen = self.read(BLOCK)?;
        if seen.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let mut pax = Pax::default();
        if seen[156] == b'x' {
            let size = octal(&seen[124..135]).and_then(|size| usize::try_from(size).ok());
            let size = size.filter(|&size| size <= MAX_PAX).ok_or_else(|| self.refuse("a pax header's size"))?;
            let claimed = text(&seen[..100]).strip_prefix(PAX_DIRECTORY).and_then(id);
            let records = self.read(size.next_multiple_of(BLOCK))?;
            pax = Pax::read(&records[..size]).ok_or_else(|| self.refuse("pax records that larder does not write"))?;
            pax.claimed = Some(claimed.ok_or_else(|| self.refuse("a pax header names no id"))?);
            seen.extend_from_slice(&records);
            seen.extend_from_slice(&self.read(BLOCK)?);
        }
        let header =
            header(&seen[seen.len() - BLOCK..], pax).ok_or_else(|| self.refuse("an unknown kind of member"))?;
        let mut canonical = Vec::new();
        tarball::write_headers(&header.member(), &mut canonical);
        if canonical != seen {
            return Err(self.refuse("a header is not as larder writes it"));
        }
        let name = &header.name;
        let folder = matches!(header.kind, EntryKind::Directory | EntryKind::Gitlink);
        if !name.starts_with(TOP)
            || name.len() > TOP.len() + MAX_PATH + usize::from(folder)
            || folder != name.ends_with(b"/")
        {
            return Err(self.refuse("a name that is too long, not below source/, or not that of its kind"));
        }
        Ok(Some(header))
    }

    fn member(&mut self, header: &Header, trees: &mut Trees) -> Result<(), VerifyError> {
        let name = &header.name[..];
        if header.kind == EntryKind::Directory {
            return trees.open(name, &header.raw_mode, header.claimed).map_err(|reason| self.refuse(reason));
        }
        let id = match header.kind {
            EntryKind::File { .. } => self.content(header.size)?,
            EntryKind::Symlink => {
                if header.target.is_empty() || header.target.len() > MAX_PATH || header.target.contains(&0) {
                    return Err(self.refuse("a symlink's target"));
                }
                object::hash(ObjectType::Blob, &header.target).map_err(|error| self.refuse(error.to_string()))?
            }
            _ => header.claimed.ok_or_else(|| self.refuse("a gitlink names no id"))?,
        };
        if header.claimed.is_some_and(|claimed| claimed != id) {
            return Err(self.refuse(format!("a member has the id {id}, and its header says another")));
        }
        let start = trees.enter(name).map_err(|reason| self.refuse(reason))?;
        let bare = name.strip_suffix(b"/").unwrap_or(name);
        trees.add(&header.raw_mode, &bare[start..], &id).map_err(|reason| self.refuse(reason))
    }

    /// The id of the content of `size` bytes that follows, its padding read too.
    fn content(&mut self, size: u64) -> Result<Sha1Git, VerifyError> {
        let mut hasher = Hasher::new(ObjectType::Blob, size);
        let mut left = size;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.buf.len());
            self.input.read_exact(&mut self.buf[..len]).map_err(|error| read_error(error, self.at))?;
            hasher.update(&self.buf[..len]);
            self.at += len as u64;
            left -= len as u64;
        }
        if self.read(tarball::padding(size))?.iter().any(|&byte| byte != 0) {
            return Err(self.refuse("the padding of a content is not zero"));
        }
        hasher.finish().map_err(|error| self.refuse(error.to_string()))
    }

    /// The second zero block, and then nothing.
    fn end(&mut self) -> Result<(), VerifyError> {
        if self.read(BLOCK)?.iter().any(|&byte| byte != 0) {
            return Err(self.refuse("one zero block stands alone"));
        }
        match self.input.read(&mut [0]).map_err(VerifyError::Read)? {
            0 => Ok(()),
            _ => Err(self.refuse("something follows the two zero blocks")),
        }
    }

    fn read(&mut self, len: usize) -> Result<Vec<u8>, VerifyError> {
        let mut bytes = vec![0; len];
        self.input.read_exact(&mut bytes).map_err(|error| read_error(error, self.at))?;
        self.at += len as u64;
        Ok(bytes)
    }

    fn refuse(&self, reason: impl Into<String>) -> VerifyError {
        VerifyError::Tar { at: self.at, reason: reason.into() }
    }
}

fn read_error(error: std::io::Error, at: u64) -> VerifyError {
    match error.kind() {
        ErrorKind::UnexpectedEof => VerifyError::Tar { at, reason: "it ends too early".to_owned() },
        _ => VerifyError::Read(error),
    }
}

/// What a pax header said.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    linkpath: Option<Vec<u8>>,
    size: Option<u64>,
    raw_mode: Option<Vec<u8>>,
    claimed: Option<Sha1Git>,
}

impl Pax {
    /// Reads the records; their form and order are checked by encoding them again.
    fn read(mut records: &[u8]) -> Option<Self> {
        let mut pax = Self::default();
        while !records.is_empty() {
            let space = records.iter().position(|&byte| byte == b' ')?;
            let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
            let (record, rest) = records.split_at_checked(length)?;
            let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|&byte| byte == b'=')?;
            let value = record[equals + 1..].to_vec();
            match &record[..equals] {
                b"hdrcharset" => {}
                b"path" => pax.path = Some(value),
                b"linkpath" => pax.linkpath = Some(value),
                b"size" => pax.size = Some(std::str::from_utf8(&value).ok()?.parse().ok()?),
                b"comment" => {
                    let value = value.strip_prefix(b"git ")?;
                    pax.raw_mode = Some(value[..value.iter().position(|&byte| byte == b' ')?].to_vec());
                }
                _ => return None,
            }
            records = rest;
        }
        Some(pax)
    }
}

/// Takes a member's ustar block and what pax said of it together.
fn header(block: &[u8], pax: Pax) -> Option<Header> {
    let implied: &[u8] = match (block[156], &block[100..107]) {
        (b'0', b"0000755") => b"100755",
        (b'0', _) => b"100644",
        (b'2', _) => b"120000",
        (b'5', _) => b"40000",
        _ => return None,
    };
    let raw_mode = pax.raw_mode.unwrap_or_else(|| implied.to_vec());
    let field = |range: std::ops::Range<usize>| text(&block[range]).to_vec();
    let (prefix, mut name) = (field(345..500), field(0..100));
    if !prefix.is_empty() {
        name = [&prefix[..], b"/", &name].concat();
    }
    Some(Header {
        name: pax.path.unwrap_or(name),
        kind: kind(&raw_mode)?,
        raw_mode,
        size: match pax.size {
            Some(size) => size,
            None => octal(&block[124..135])?,
        },
        target: pax.linkpath.unwrap_or_else(|| field(157..257)),
        claimed: pax.claimed,
    })
}

/// What a tree entry of this mode is: the decoder of trees is asked.
fn kind(raw_mode: &[u8]) -> Option<EntryKind> {
    let entry = [raw_mode, b" x\0", &[1; 20]].concat();
    let mut entries = object::tree_entries(&entry);
    let first = entries.next()?.ok()?;
    (first.mode == raw_mode && first.name == b"x").then_some(first.kind)
}

impl Header {
    fn member(&self) -> Member<'_> {
        let node = match self.kind {
            EntryKind::Directory => Node::Directory,
            EntryKind::Gitlink => Node::Gitlink,
            EntryKind::Symlink => Node::Symlink { target: &self.target },
            EntryKind::File { executable } => Node::File { executable, size: self.size },
        };
        Member { name: &self.name, node, raw_mode: &self.raw_mode, id: self.claimed.as_ref().unwrap_or(&Sha1Git::NULL) }
    }
}

/// The bytes of a field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

fn id(hex: &[u8]) -> Option<Sha1Git> {
    std::str::from_utf8(hex).ok()?.parse().ok()
}

fn octal(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}
