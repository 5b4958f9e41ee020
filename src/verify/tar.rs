//! A strict reader of the tar that larder writes, and of no other.
//!
//! A member's header blocks are taken apart only as far as it takes to know the member; then they
//! are encoded again and compared, which leaves no byte unchecked.

use super::member::{Claim, is_legal_name, is_legal_target, kind, parse_id};
use super::source::Source;
use super::tree::Trees;
use super::units::Units;
use super::{Seen, VerifyError};
use crate::archive::ObjectType;
use crate::archive::object::{self, EntryKind, Hasher};
use crate::cook::tarball::{self, BLOCK, Member, Node, PAX_DIRECTORY, TOP, TRAILER};
use crate::key::Sha1Git;
use std::io::{BufReader, ErrorKind, Read as _};

/// A pax header that larder writes has at most a path, a target and a hundred bytes more.
const MAX_PAX: usize = 16 << 10;

/// Reads the whole tar; the id of its directory.
pub(super) fn directory(input: impl Source, seen: Seen<'_>) -> Result<Sha1Git, VerifyError> {
    let input = BufReader::with_capacity(1 << 16, input);
    let mut tar = Tar { input, at: 0, buf: vec![0; 1 << 16], units: Units::default(), name: Vec::new() };
    let found = tar.directory(seen);
    match (found, tar.input.get_mut().fault()) {
        (Err(_), Some(fault)) => Err(fault),
        (Err(VerifyError::Tar { at, reason }), None) if !tar.name.is_empty() => Err(VerifyError::Tar {
            at,
            reason: format!("{reason} (the last member begun is {})", tar.name.escape_ascii()),
        }),
        (found, _) => found,
    }
}

struct Tar<S> {
    input: BufReader<S>,
    at: u64,
    buf: Vec<u8>,
    units: Units,
    /// Of the member that was begun last.
    name: Vec<u8>,
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

impl<S: Source> Tar<S> {
    fn directory(&mut self, seen: Seen<'_>) -> Result<Sha1Git, VerifyError> {
        let mut trees = Trees::new(seen);
        let mut first = true;
        while let Some(header) = self.header()? {
            if first != (header.name == TOP) {
                return Err(self.refuse("the first member, and no other, is the directory source/"));
            }
            first = false;
            self.name.clone_from(&header.name);
            self.member(&header, &mut trees)?;
        }
        if first {
            return Err(self.refuse("it is empty"));
        }
        self.end()?;
        self.input.get_mut().end()?;
        trees.finish().map_err(|reason| self.refuse(reason))
    }

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
            let claimed = text(&seen[..100]).strip_prefix(PAX_DIRECTORY).and_then(parse_id);
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
        if !is_legal_name(&header.name, header.kind) {
            return Err(self.refuse("a name that is too long, not below source/, or not that of its kind"));
        }
        let input = self.input.get_mut();
        self.units.before(header.sized(), |unit| input.unit(unit))?;
        self.units.pass(&seen, |unit| input.unit(unit))?;
        Ok(Some(header))
    }

    fn member(&mut self, header: &Header, trees: &mut Trees<'_>) -> Result<(), VerifyError> {
        let id = match header.kind {
            EntryKind::File { .. } => Some(self.content(header.size)?),
            EntryKind::Symlink if !is_legal_target(&header.target) => return Err(self.refuse("a symlink's target")),
            EntryKind::Symlink => {
                Some(object::hash(ObjectType::Blob, &header.target).map_err(|error| self.refuse(error.to_string()))?)
            }
            EntryKind::Directory | EntryKind::Gitlink => None,
        };
        if let (Some(id), Some(size)) = (id, header.sized()) {
            let input = self.input.get_mut();
            self.units.behind(&id, size, |unit| input.unit(unit))?;
        }
        let claim = Claim { kind: header.kind, raw_mode: header.raw_mode.clone(), id: header.claimed };
        claim.place(&header.name, id, trees).map_err(|reason| self.refuse(reason))
    }

    /// The id of the content of `size` bytes that follows, its padding read too.
    fn content(&mut self, size: u64) -> Result<Sha1Git, VerifyError> {
        let mut hasher = Hasher::new(ObjectType::Blob, size);
        let mut left = size;
        while left > 0 {
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.buf.len());
            self.input.read_exact(&mut self.buf[..len]).map_err(|error| read_error(error, self.at))?;
            hasher.update(&self.buf[..len]);
            let input = self.input.get_mut();
            self.units.pass(&self.buf[..len], |unit| input.unit(unit))?;
            self.at += len as u64;
            left -= len as u64;
        }
        let padding = self.read(tarball::padding(size))?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(self.refuse("the padding of a content is not zero"));
        }
        let input = self.input.get_mut();
        self.units.pass(&padding, |unit| input.unit(unit))?;
        hasher.finish().map_err(|error| self.refuse(error.to_string()))
    }

    /// The second zero block, and then nothing.
    fn end(&mut self) -> Result<(), VerifyError> {
        if self.read(BLOCK)?.iter().any(|&byte| byte != 0) {
            return Err(self.refuse("one zero block stands alone"));
        }
        let input = self.input.get_mut();
        self.units.cut(|unit| input.unit(unit))?;
        input.unit(&[0; TRAILER])?;
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

impl Header {
    /// The size that the cut into segments goes by.
    fn sized(&self) -> Option<u64> {
        match self.kind {
            EntryKind::File { .. } => Some(self.size),
            EntryKind::Symlink => Some(self.target.len() as u64),
            EntryKind::Directory | EntryKind::Gitlink => None,
        }
    }

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

fn octal(field: &[u8]) -> Option<u64> {
    field.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => Some(value << 3 | u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(size: u64) -> Option<Header> {
        let node = Node::File { executable: false, size };
        let mut bytes = Vec::new();
        let member = Member { name: b"source/a", node, raw_mode: b"100644", id: &Sha1Git::NULL };
        tarball::write_headers(&member, &mut bytes);
        let (pax, block) = bytes.split_at(bytes.len() - BLOCK);
        let length = if pax.is_empty() { 0 } else { usize::try_from(octal(&pax[124..135])?).unwrap() };
        let records = pax.get(BLOCK..BLOCK + length).unwrap_or_default();
        header(block, Pax::read(records)?)
    }

    #[test]
    fn a_size_is_read_from_where_it_fits() {
        for size in [0, 1, (8 << 30) - 1, 8 << 30, 9 << 30, u64::MAX] {
            let header = read(size).unwrap();
            assert_eq!((header.size, header.sized()), (size, Some(size)));
        }
    }

    #[test]
    fn records_that_are_none_are_told() {
        for records in [
            "x",
            "9 size=9",
            "9 size=x\n",
            "10 size=-1\n",
            "30 size=18446744073709551616\n",
            "8 sizes\n",
            "9 mode=1\n",
            "0 size=1\n",
            "3 \n",
        ] {
            assert!(Pax::read(records.as_bytes()).is_none(), "{records:?}");
        }
        assert_eq!(Pax::read(b"9 size=9\n17 path=source/b\n").and_then(|pax| pax.size), Some(9));
    }
}
