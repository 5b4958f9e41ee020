//! The pack of a history: entries and deltas copied from the archive's packs as they lie, deltas that
//! were made anew, and what is left deflated whole. Owns the bytes of a pack (`gitformat-pack(5)`,
//! version 2).
//!
//! A delta is written when its base was written before it, and then names it by its distance. So the
//! pack needs nothing that is not in it, and no deltas can be made from each other in a circle.

use super::plan::Plan;
use super::reach::Seen;
use super::refs::Made;
use super::resolve::{Entry, NONE};
use super::search::Better;
use crate::archive::packed::EntryKind;
use crate::archive::{Header, MAX_WHOLE_BLOB, ObjectType, Reader};
use crate::cook::{Control, CookError};
use crate::key::Sha1Git;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::{Digest as _, Sha1};
use std::fs::File;
use std::io::{self, BufWriter, Write};

/// Bytes before the first entry.
pub(crate) const HEADER: usize = 12;
/// Bytes of the checksum behind the last one.
pub(crate) const TRAILER: u64 = 20;

const LEVEL: Compression = Compression::new(6);

/// What a pack may take, and who is told.
pub(super) struct Limits<'a> {
    pub(super) max_size: u64,
    /// Told how large the file is about to be.
    pub(super) room: &'a (dyn Fn(u64) -> io::Result<()> + 'a),
    pub(super) control: &'a Control,
}

/// A pack in a file.
pub(super) struct Written {
    pub(super) file: File,
    /// In the order of the pack.
    pub(super) entries: Vec<Entry>,
    /// CRC-32 of each entry's bytes.
    pub(super) crcs: Vec<u32>,
    /// All of the file, checksum included.
    pub(super) size: u64,
    pub(super) checksum: [u8; 20],
}

/// Writes the pack into `file`, which is empty.
pub(super) fn write(
    plan: &Plan,
    better: &Better,
    reader: &mut dyn Reader,
    made: Option<&Made>,
    file: File,
    limits: &Limits<'_>,
) -> Result<Written, CookError> {
    let sink = Sink {
        file: BufWriter::with_capacity(1 << 20, file),
        sha1: Sha1::new(),
        crc: crc32fast::Hasher::new(),
        size: 0,
        limits,
    };
    let count = plan.order.len();
    let written_at = vec![NONE; count];
    let (entries, crcs) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut writer = Writer { plan, better, reader, made, sink, entries, crcs, written_at, content: Vec::new() };
    writer.sink.put(&header(count))?;
    writer.sink.take_crc();
    for at in &plan.order {
        writer.object(*at)?;
    }
    let Writer { sink, entries, crcs, .. } = writer;
    let (file, size, checksum) = sink.finish()?;
    Ok(Written { file, entries, crcs, size, checksum })
}

fn header(count: usize) -> [u8; HEADER] {
    let mut bytes = *b"PACK\0\0\0\x02\0\0\0\0";
    let count = u32::try_from(count).expect("because a plan has fewer objects");
    bytes[8..].copy_from_slice(&count.to_be_bytes());
    bytes
}

struct Writer<'a> {
    plan: &'a Plan,
    better: &'a Better,
    reader: &'a mut dyn Reader,
    made: Option<&'a Made>,
    sink: Sink<'a>,
    entries: Vec<Entry>,
    crcs: Vec<u32>,
    /// Which entry each object of the plan is, once it was written.
    written_at: Vec<u32>,
    content: Vec<u8>,
}

impl Writer<'_> {
    fn object(&mut self, at: u32) -> Result<(), CookError> {
        if let Some(reason) = self.sink.limits.control.cancelled() {
            return Err(CookError::Cancelled(reason));
        }
        if !self.delta(at)? && !self.copy(at)? {
            self.whole(at)?;
        }
        self.written_at[at as usize] = u32::try_from(self.entries.len() - 1).expect("because a plan has fewer objects");
        self.crcs.push(self.sink.take_crc());
        self.sink.limits.control.add_done(1);
        Ok(())
    }

    /// Which entry the base of an object is, or [`NONE`].
    fn base(&self, at: u32) -> u32 {
        let base = self.plan.bases[at as usize];
        if base == NONE { NONE } else { self.written_at[base as usize] }
    }

    /// Writes the delta that was made of an object. `false` when there is none.
    fn delta(&mut self, at: u32) -> Result<bool, CookError> {
        let mut deflated = std::mem::take(&mut self.content);
        let found = self.better.delta(at, &mut deflated)?;
        if let Some(size) = found {
            let base = self.base(at);
            self.begin(self.plan.seen(at).object_type, size, base)?;
            self.sink.put(&deflated)?;
        }
        self.content = deflated;
        Ok(found.is_some())
    }

    /// Copies an object's entry. `false` when it cannot be: nothing was written then.
    fn copy(&mut self, at: u32) -> Result<bool, CookError> {
        let Some(packed) = self.plan.packed(at) else { return Ok(false) };
        let (id, seen) = &self.plan.objects[at as usize];
        let source = packed.pack.header(packed.offset, id)?;
        let base = match source.kind {
            EntryKind::Object(found) if found == seen.object_type => NONE,
            // What it is said to be is not what it is: reading it will say so.
            EntryKind::Object(_) => return Ok(false),
            EntryKind::OffsetDelta(_) | EntryKind::IdDelta(_) => match self.base(at) {
                NONE => return Ok(false),
                base => base,
            },
        };
        let Some(deflated) = packed.pack.between(source.data, packed.end) else { return Ok(false) };
        self.begin(seen.object_type, source.size, base)?;
        self.sink.put(deflated)?;
        Ok(true)
    }

    /// Reads an object, which hashes it, and deflates it.
    fn whole(&mut self, at: u32) -> Result<(), CookError> {
        let (id, Seen { object_type, .. }) = self.plan.objects[at as usize];
        if let Some(made) = self.made.filter(|made| made.id == id) {
            return self.deflate(object_type, &made.content);
        }
        let missing = || CookError::Missing { id };
        let header = self.reader.header(&id)?.ok_or_else(missing)?;
        crate::cook::root::same_type(&id, header.object_type, object_type)?;
        if object_type == ObjectType::Blob && header.size > MAX_WHOLE_BLOB {
            self.begin(object_type, header.size, NONE)?;
            let found = self.stream(&id).map_err(|error| self.sink_error(error))?.ok_or_else(missing)?;
            let reason = "its size changed while it was read".to_owned();
            return if found.size == header.size { Ok(()) } else { Err(CookError::Corrupt { id, reason }) };
        }
        let mut content = std::mem::take(&mut self.content);
        let found = self.reader.find(&id, &mut content)?.ok_or_else(missing)?;
        crate::cook::root::same_type(&id, found, object_type)?;
        self.deflate(object_type, &content)?;
        content.clear();
        content.shrink_to(1 << 20);
        self.content = content;
        Ok(())
    }

    fn stream(&mut self, id: &Sha1Git) -> Result<Option<Header>, CookError> {
        let mut encoder = ZlibEncoder::new(&mut self.sink, LEVEL);
        let found = self.reader.stream(id, &mut encoder)?;
        encoder.finish().map_err(CookError::Output)?;
        Ok(found)
    }

    fn deflate(&mut self, object_type: ObjectType, content: &[u8]) -> Result<(), CookError> {
        self.begin(object_type, content.len() as u64, NONE)?;
        let mut encoder = ZlibEncoder::new(&mut self.sink, LEVEL);
        let written = encoder.write_all(content).and_then(|()| encoder.finish().map(drop));
        written.map_err(|error| output(&self.sink, error))
    }

    /// Writes the header of the next entry.
    fn begin(&mut self, object_type: ObjectType, size: u64, base: u32) -> Result<(), CookError> {
        let offset = self.sink.size;
        let mut bytes = Vec::with_capacity(20);
        if base == NONE {
            write_header(code(object_type), size, &mut bytes);
        } else {
            write_header(OFFSET_DELTA, size, &mut bytes);
            write_distance(offset - self.entries[base as usize].offset, &mut bytes);
        }
        self.sink.put(&bytes)?;
        let header = u8::try_from(bytes.len()).expect("because a header has at most twenty bytes");
        self.entries.push(Entry { offset, size, base, header, object_type });
        Ok(())
    }

    /// An error of the sink that came back through a reader, as the sink means it.
    fn sink_error(&self, error: CookError) -> CookError {
        match error {
            CookError::Output(error) => output(&self.sink, error),
            other => other,
        }
    }
}

/// The number of a type in an entry's header.
fn code(object_type: ObjectType) -> u8 {
    match object_type {
        ObjectType::Commit => 1,
        ObjectType::Tree => 2,
        ObjectType::Blob => 3,
        ObjectType::Tag => 4,
    }
}

const OFFSET_DELTA: u8 = 6;

fn write_header(code: u8, size: u64, out: &mut Vec<u8>) {
    let low = |bits: u64, mask: u8| bits.to_le_bytes()[0] & mask;
    let mut byte = code << 4 | low(size, 15);
    let mut rest = size >> 4;
    while rest != 0 {
        out.push(byte | 0x80);
        byte = low(rest, 0x7f);
        rest >>= 7;
    }
    out.push(byte);
}

/// Seven bits a byte, the highest first, each continuation counted from one.
fn write_distance(distance: u64, out: &mut Vec<u8>) {
    let low = |bits: u64| bits.to_le_bytes()[0] & 0x7f;
    let mut bytes = vec![low(distance)];
    let mut rest = distance >> 7;
    while rest != 0 {
        rest -= 1;
        bytes.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.extend(bytes.iter().rev());
}

/// The file, and the sums over what goes into it.
struct Sink<'a> {
    file: BufWriter<File>,
    sha1: Sha1,
    crc: crc32fast::Hasher,
    size: u64,
    limits: &'a Limits<'a>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CookError> {
        let result = self.write_all(bytes);
        result.map_err(|error| output(self, error))
    }

    fn take_crc(&mut self) -> u32 {
        std::mem::take(&mut self.crc).finalize()
    }

    fn is_over(&self) -> bool {
        self.size + TRAILER > self.limits.max_size
    }

    fn finish(self) -> Result<(File, u64, [u8; 20]), CookError> {
        let mut file = self.file;
        let checksum: [u8; 20] = self.sha1.finalize().into();
        file.write_all(&checksum).map_err(CookError::Output)?;
        let file = file.into_inner().map_err(|error| CookError::Output(error.into_error()))?;
        Ok((file, self.size + TRAILER, checksum))
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.size += bytes.len() as u64;
        if self.is_over() {
            return Err(io::Error::other("over the limit"));
        }
        (self.limits.room)(self.size + TRAILER)?;
        self.sha1.update(bytes);
        self.crc.update(bytes);
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn output(sink: &Sink<'_>, error: io::Error) -> CookError {
    if sink.is_over() {
        let reason = format!("the pack has more than {} bytes", sink.limits.max_size);
        return CookError::TooLarge { reason };
    }
    CookError::Output(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_git() {
        let header = |code, size| {
            let mut out = Vec::new();
            write_header(code, size, &mut out);
            out
        };
        assert_eq!(header(3, 0xc | 0x12 << 4), [0xbc, 0x12]);
        assert_eq!(header(1, 15), [0x1f]);
        assert_eq!(header(1, 16), [0x90, 1]);
        assert_eq!(header(3, u64::MAX).len(), 10);
        let distance = |distance| {
            let mut out = Vec::new();
            write_distance(distance, &mut out);
            out
        };
        assert_eq!(distance(127), [0x7f]);
        assert_eq!(distance(128), [0x80, 0]);
        assert_eq!(distance(129), [0x80, 1]);
        assert_eq!(distance(16511), [0xff, 0x7f]);
        assert_eq!(distance(16512), [0x80, 0x80, 0]);
    }
}
