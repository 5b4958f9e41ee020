//! The `reftable` format of refs, version 1 (git's `Documentation/technical/reftable`): one table, and the
//! list of the tables of a stack. Pure: bytes come through a function of the caller.
//!
//! Only refs are read, in order, one block in memory at a time. Indexes, the map of objects and logs lie
//! behind the ref blocks and are left alone. Input is hostile: what a length claims is compared with the
//! file before it is allocated, names are strictly in order, and what the names take in all is the
//! caller's to bound. The CRC is that of the footer; the format has none of the blocks.

use crate::key::Sha1Git;

/// The longest name of a ref, in bytes.
pub const MAX_NAME: usize = 4096;

/// Tables in a stack: git keeps a few dozen.
pub const MAX_TABLES: usize = 4096;

/// The header of a file, and how its footer begins.
const HEADER: usize = 24;
const FOOTER: usize = 68;

/// Type and length of a block.
const BLOCK_HEAD: usize = 4;

/// What a ref points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Nothing any more: it hides what an older table says.
    Deleted,
    /// An object.
    Object(Sha1Git),
    /// Another ref.
    Symbolic(&'a [u8]),
}

/// What is wrong with a table or a list of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReftableError {
    /// A version of the format that has ids of another length.
    #[error("it is a reftable of version {0}")]
    Version(u8),
    /// Not as the format says, or damaged.
    #[error("it is damaged: {0}")]
    Malformed(&'static str),
}

use ReftableError::Malformed;

/// The names of the files of a stack, oldest first, as `tables.list` has them.
///
/// # Errors
/// When one is more than the name of a file, or there are more than [`MAX_TABLES`].
pub fn tables(list: &[u8]) -> Result<Vec<&str>, ReftableError> {
    let mut names = Vec::new();
    for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let is_plain = line.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
        let name = std::str::from_utf8(line).ok().filter(|_| is_plain && line[0] != b'.');
        names.push(name.ok_or(Malformed("a table has no plain name"))?);
        if names.len() > MAX_TABLES {
            return Err(Malformed("it has too many tables"));
        }
    }
    Ok(names)
}

/// Calls `each` with every ref of a table of `size` bytes, in order of name. `read` fills a buffer from an
/// offset.
///
/// # Errors
/// [`ReftableError`], or what `read` and `each` return. Refs before a damaged place were given by then.
pub fn refs<E: From<ReftableError>>(
    size: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    mut each: impl FnMut(&[u8], Value<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Some(end) = size.checked_sub(FOOTER as u64).filter(|end| *end >= HEADER as u64) else {
        return Err(Malformed("it is too short").into());
    };
    let (mut header, mut footer) = ([0; HEADER], [0; FOOTER]);
    read(0, &mut header)?;
    read(end, &mut footer)?;
    let alignment = check(&header, &footer)?;
    let (mut block, mut name) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        // The header of the file counts as the beginning of the first block.
        let skip = if at == 0 { HEADER } else { 0 };
        let left = end - at;
        if left <= skip as u64 {
            return Ok(());
        }
        let mut head = [0; BLOCK_HEAD];
        if left < (skip + BLOCK_HEAD) as u64 {
            return Err(Malformed("a block is cut short").into());
        }
        read(at + skip as u64, &mut head)?;
        match head[0] {
            b'r' => {}
            // Objects, indexes and logs: there are no more refs.
            b'o' | b'i' | b'g' => return Ok(()),
            _ => return Err(Malformed("a block has an unknown type").into()),
        }
        let length = be24(&head[1..]);
        if u64::from(length) > left || alignment != 0 && length > alignment {
            return Err(Malformed("a block is longer than it may be").into());
        }
        block.resize(length as usize, 0);
        read(at, &mut block)?;
        records(&block, skip, &mut name, &mut each)?;
        // Where no padding follows, the next block does.
        let mut next = [0];
        if u64::from(length) < left {
            read(at + u64::from(length), &mut next)?;
        }
        let step = if alignment == 0 || next != [0] { length } else { alignment };
        if u64::from(step) >= left {
            return Ok(());
        }
        at += u64::from(step);
    }
}

/// The alignment of blocks, 0 for none.
fn check(header: &[u8; HEADER], footer: &[u8; FOOTER]) -> Result<u32, ReftableError> {
    if !header.starts_with(b"REFT") {
        return Err(Malformed("it is no reftable"));
    }
    if header[4] != 1 {
        return Err(ReftableError::Version(header[4]));
    }
    let (checked, crc) = footer.split_at(FOOTER - 4);
    if !checked.starts_with(header) || crc != crc32fast::hash(checked).to_be_bytes() {
        return Err(Malformed("its footer is not that of its header"));
    }
    Ok(be24(&header[5..]))
}

/// The records of one block, whose own head is behind `skip` bytes. `name` is that of the record before,
/// also of another block.
fn records<E: From<ReftableError>>(
    block: &[u8],
    skip: usize,
    name: &mut Vec<u8>,
    each: &mut impl FnMut(&[u8], Value<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (rest, restarts) = block.split_last_chunk::<2>().ok_or(Malformed("a block is too short"))?;
    let restarts = usize::from(u16::from_be_bytes(*restarts));
    let end = rest.len().checked_sub(3 * restarts).filter(|end| restarts > 0 && *end >= skip + BLOCK_HEAD);
    let mut bytes = &block[skip + BLOCK_HEAD..end.ok_or(Malformed("a block has no room for its restarts"))?];
    let mut is_first = true;
    while !bytes.is_empty() {
        let kind = read_name(&mut bytes, name, is_first)?;
        is_first = false;
        varint(&mut bytes)?;
        let value = match kind {
            0 => Value::Deleted,
            1 => Value::Object(id(&mut bytes)?),
            2 => {
                let object = id(&mut bytes)?;
                // What a tag leads to.
                id(&mut bytes)?;
                Value::Object(object)
            }
            3 => {
                let length = varint(&mut bytes)?;
                let target = take(&mut bytes, length)?;
                if target.len() > MAX_NAME {
                    return Err(Malformed("a name is too long").into());
                }
                Value::Symbolic(target)
            }
            _ => return Err(Malformed("a ref has an unknown type").into()),
        };
        each(name, value)?;
    }
    Ok(())
}

/// Makes `name` that of the next record, and gives the type of its value.
fn read_name(bytes: &mut &[u8], name: &mut Vec<u8>, is_first: bool) -> Result<u64, ReftableError> {
    let prefix = usize::try_from(varint(bytes)?).ok().filter(|prefix| *prefix <= name.len());
    let prefix = prefix.filter(|prefix| !is_first || *prefix == 0).ok_or(Malformed("a name begins with nothing"))?;
    let length = varint(bytes)?;
    let suffix = take(bytes, length >> 3)?;
    // Both begin alike: what follows decides which is the greater.
    if suffix <= &name[prefix..] {
        return Err(Malformed("names are not in order"));
    }
    name.truncate(prefix);
    name.extend_from_slice(suffix);
    if name.len() > MAX_NAME {
        return Err(Malformed("a name is too long"));
    }
    Ok(length & 7)
}

fn id(bytes: &mut &[u8]) -> Result<Sha1Git, ReftableError> {
    let (id, rest) = bytes.split_first_chunk().ok_or(CUT)?;
    *bytes = rest;
    Ok(Sha1Git::from_bytes(*id))
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], ReftableError> {
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let (taken, rest) = split.ok_or(CUT)?;
    *bytes = rest;
    Ok(taken)
}

/// As the distances of deltas in a pack are written.
fn varint(bytes: &mut &[u8]) -> Result<u64, ReftableError> {
    let mut value = 0_u64;
    for count in 0.. {
        let (byte, rest) = bytes.split_first().ok_or(CUT)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
        // No length of a file takes nine of these.
        if count == 7 {
            break;
        }
        value = (value + 1) << 7;
    }
    Err(Malformed("a number is too large"))
}

const CUT: ReftableError = Malformed("a record is cut short");

fn be24(bytes: &[u8]) -> u32 {
    bytes.iter().take(3).fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
#[path = "reftable_tests.rs"]
mod tests;
