//! A tar of any maker's: POSIX ustar and pax (IEEE Std 1003.1, pax), and GNU's long names. Contents are
//! read and hashed, nothing is unpacked.

use super::{Blobs, Members, StructureError, content, magic};
use crate::archiver::tree::Mode;
use std::io::Read;

const BLOCK: usize = 512;
/// The longest extended header, which is held in memory.
const MAX_EXTENSION: u64 = 1 << 20;
const BUFFER: usize = 1 << 16;

/// Reads to the end of `input`. With `is_proven` that end is known to be the tar's, and the blocks that
/// mark it, or the padding before them, may be missing, as whoever packs tars may leave them out; without,
/// they alone tell that nothing is missing.
pub(super) fn read(input: &mut impl Read, is_proven: bool, blobs: &mut dyn Blobs) -> Result<Members, StructureError> {
    let mut tar = Tar { input, is_proven, buffer: vec![0; BUFFER], members: Members::default(), first: true };
    let mut extended = Extended::default();
    while let Some(header) = tar.header()? {
        tar.member(&header, &mut extended, blobs)?;
    }
    Ok(tar.members)
}

struct Tar<'a, R> {
    input: &'a mut R,
    is_proven: bool,
    buffer: Vec<u8>,
    members: Members,
    first: bool,
}

/// What the headers before a member said of it.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Tar<'_, R> {
    /// The next header, or `None` when the archive has ended and nothing but zeros followed.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, StructureError> {
        let mut block = [0; BLOCK];
        let n = self.fill(&mut block)?;
        if n == 0 && !self.first {
            return if self.is_proven { Ok(None) } else { Err(StructureError::CutShort) };
        }
        if n > 0 && block[..n].iter().all(|&byte| byte == 0) {
            return self.end(n as u64);
        }
        if n == BLOCK && number(&block[148..156]) == Some(sum(&block)) {
            self.first = false;
            return Ok(Some(block));
        }
        Err(match (self.first, n == BLOCK) {
            (true, false) if n == 0 && !self.is_proven => StructureError::Empty,
            (true, false) if !self.is_proven && could_begin(&block[..n]) => StructureError::CutShort,
            (true, _) => self.no_tar(&block[..n]),
            (false, false) => StructureError::CutShort,
            // A check of what it was packed in has not failed: it was packed so.
            (false, true) if self.is_proven => StructureError::Malformed("a header of its tar is none".to_owned()),
            (false, true) => StructureError::Damaged("a header of its tar is damaged".to_owned()),
        })
    }

    /// What stands where the tar should begin.
    fn no_tar(&self, start: &[u8]) -> StructureError {
        let what = magic::name(start).filter(|name| *name != "a tar");
        StructureError::Malformed(match (self.is_proven, what) {
            (false, Some(what)) => format!("it is {what} and not a tar"),
            (true, Some(what)) => format!("what is packed in it is {what} and not a tar"),
            (false, None) => "it is not a tar".to_owned(),
            (true, None) if start.is_empty() => "what is packed in it is empty".to_owned(),
            (true, None) => "what is packed in it is not a tar".to_owned(),
        })
    }

    /// Reads to the end, which so many zeros begin.
    fn end(&mut self, mut zeros: u64) -> Result<Option<[u8; BLOCK]>, StructureError> {
        loop {
            match self.input.read(&mut self.buffer)? {
                0 if self.is_proven || zeros >= 2 * BLOCK as u64 => return Ok(None),
                0 => return Err(StructureError::CutShort),
                n if self.buffer[..n].iter().all(|&byte| byte == 0) => zeros += n as u64,
                _ => return Err(StructureError::Malformed("something follows the end of its tar".to_owned())),
            }
        }
    }

    /// Reads as much as there is for `buf`.
    fn fill(&mut self, buf: &mut [u8]) -> Result<usize, StructureError> {
        let mut n = 0;
        while n < buf.len() {
            match self.input.read(&mut buf[n..])? {
                0 => break,
                more => n += more,
            }
        }
        Ok(n)
    }

    fn member(
        &mut self,
        header: &[u8; BLOCK],
        extended: &mut Extended,
        blobs: &mut dyn Blobs,
    ) -> Result<(), StructureError> {
        let damaged = || StructureError::Malformed("a number in its tar is damaged".to_owned());
        let stated = number(&header[124..136]).ok_or_else(damaged)?;
        match header[156] {
            b'x' => return self.pax(stated, extended),
            b'g' => return self.global(stated),
            b'L' => {
                extended.path = Some(self.long(stated)?);
                return Ok(());
            }
            b'K' => {
                extended.target = Some(self.long(stated)?);
                return Ok(());
            }
            _ => {}
        }
        let Extended { path, target, size } = std::mem::take(extended);
        let path = path.unwrap_or_else(|| name(header));
        let size = size.unwrap_or(stated);
        match header[156] {
            b'5' => self.members.directory(&path),
            b'0' | 0 | b'7' if path.ends_with(b"/") => {
                self.members.directory(&path);
                self.skip(size)?;
            }
            b'0' | 0 | b'7' => {
                let executable = number(&header[100..108]).ok_or_else(damaged)? & 0o100 != 0;
                let id = content(self.input, size, &mut self.buffer, blobs)?;
                self.padding(size)?;
                self.members.blob(&path, if executable { Mode::Executable } else { Mode::File }, id);
            }
            b'2' => {
                let target = target.unwrap_or_else(|| text(&header[157..257]).to_vec());
                if target.is_empty() || target.len() > 4095 || target.contains(&0) {
                    self.members.refuse("a symlink leads nowhere");
                    return Ok(());
                }
                let id = content(&mut &target[..], target.len() as u64, &mut self.buffer, blobs)?;
                self.members.blob(&path, Mode::Symlink, id);
            }
            kind => self.special(kind, header, size)?,
        }
        Ok(())
    }

    /// What no tree can hold: read over, and the archive has no tree.
    fn special(&mut self, kind: u8, header: &[u8; BLOCK], size: u64) -> Result<(), StructureError> {
        match kind {
            b'1' => self.members.refuse("it has hard links"),
            b'3' | b'4' => self.members.refuse("it has device files"),
            b'6' => self.members.refuse("it has named pipes"),
            b'S' => {
                self.members.refuse("it has sparse files");
                let mut extended = header[482] != 0;
                while extended {
                    let mut block = [0; BLOCK];
                    self.input.read_exact(&mut block)?;
                    extended = block[504] != 0;
                }
            }
            _ => self.members.refuse("it has members of an unknown kind"),
        }
        // Links and devices have no content, whatever their size says (POSIX).
        if matches!(kind, b'1' | b'3' | b'4' | b'6') { Ok(()) } else { self.skip(size) }
    }

    fn pax(&mut self, size: u64, extended: &mut Extended) -> Result<(), StructureError> {
        let records = self.extension(size)?;
        let damaged = || StructureError::Malformed("a pax header of its tar is damaged".to_owned());
        let mut rest = &records[..];
        while !rest.is_empty() {
            let ((key, value), after) = record(rest).ok_or_else(damaged)?;
            match key {
                b"path" => extended.path = Some(value.to_vec()),
                b"linkpath" => extended.target = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok());
                    extended.size = Some(size.ok_or_else(damaged)?);
                }
                _ if key.starts_with(b"GNU.sparse") => self.members.refuse("it has sparse files"),
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }

    /// A header for all that follow: a comment is of no matter, names for all members are nothing sane.
    fn global(&mut self, size: u64) -> Result<(), StructureError> {
        let records = self.extension(size)?;
        let mut rest = &records[..];
        while let Some(((key, _), after)) = record(rest) {
            if matches!(key, b"path" | b"linkpath" | b"size") {
                self.members.refuse("it names all its members at once");
            }
            rest = after;
        }
        Ok(())
    }

    /// A long name of GNU's, up to its NUL.
    fn long(&mut self, size: u64) -> Result<Vec<u8>, StructureError> {
        let name = self.extension(size)?;
        Ok(text(&name).to_vec())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, StructureError> {
        if size > MAX_EXTENSION {
            return Err(StructureError::Malformed("an extended header of its tar is too long".to_owned()));
        }
        let mut bytes = vec![0; usize::try_from(size).expect("because it is at most MAX_EXTENSION")];
        self.input.read_exact(&mut bytes)?;
        self.padding(size)?;
        Ok(bytes)
    }

    fn skip(&mut self, size: u64) -> Result<(), StructureError> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER);
            self.input.read_exact(&mut self.buffer[..most])?;
            left -= most as u64;
        }
        self.padding(size)
    }

    fn padding(&mut self, size: u64) -> Result<(), StructureError> {
        let over = usize::try_from(size % BLOCK as u64).expect("because it is less than a block");
        if over > 0 {
            let mut rest = [0; BLOCK];
            let n = self.fill(&mut rest[over..])?;
            if n < BLOCK - over && !(self.is_proven && n == 0) {
                return Err(StructureError::CutShort);
            }
        }
        Ok(())
    }
}

/// The checksum of a header: of its bytes, its own being spaces.
fn sum(block: &[u8; BLOCK]) -> u64 {
    block.iter().enumerate().map(|(at, &byte)| u64::from(if (148..156).contains(&at) { b' ' } else { byte })).sum()
}

/// Whether these bytes, fewer than a block, can be the beginning of a header: a name filled up with zeros,
/// then the digits of a mode.
fn could_begin(start: &[u8]) -> bool {
    let (Some(name), Some(mode)) = (start.get(..100), start.get(100..108)) else { return false };
    let filled = name.iter().skip_while(|&&byte| byte != 0).all(|&byte| byte == 0);
    name[0] != 0 && filled && mode.iter().all(|byte| matches!(byte, b'0'..=b'7' | b' ' | 0))
}

type Record<'a> = (&'a [u8], &'a [u8]);

/// The first record, `<length> <key>=<value>\n`, and what follows it.
fn record(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().position(|&byte| byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&byte| byte == b'=')?;
    Some(((&record[..equals], &record[equals + 1..]), rest))
}

/// The name in a header; the prefix is POSIX's only, GNU keeps other things there.
fn name(header: &[u8; BLOCK]) -> Vec<u8> {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Octal digits among spaces and NULs, or GNU's binary form for large numbers.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        return field[1..].iter().try_fold(0_u64, |value, &byte| value.checked_mul(256)?.checked_add(u64::from(byte)));
    }
    let digits = field.split(|&byte| byte == 0).next()?.trim_ascii();
    digits.iter().try_fold(0_u64, |value, &digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}
