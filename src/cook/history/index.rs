//! The index of a pack, version 2 (`gitformat-pack(5)`): ids in order, with the CRC-32 and the place
//! of each entry. Owns its bytes.

use crate::key::Sha1Git;
use sha1::{Digest as _, Sha1};
use std::io::{self, Write};

/// Offsets from here on stand in a table of their own.
const LARGE: u64 = 1 << 31;

/// An object in a pack.
#[derive(Clone, Copy)]
pub(crate) struct Indexed {
    pub(crate) offset: u64,
    pub(crate) crc: u32,
}

/// The length of the index in bytes.
pub(crate) fn size(objects: &[Indexed]) -> u64 {
    let large = objects.iter().filter(|object| object.offset >= LARGE).count() as u64;
    8 + 4 * 256 + 28 * objects.len() as u64 + 8 * large + 40
}

/// Writes the index of `objects`, which stand in the order of their ids. `id` gives that of each.
pub(crate) fn write(
    objects: &[Indexed],
    id: impl Fn(usize) -> Sha1Git,
    checksum: &[u8; 20],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut out = Hashed { out: io::BufWriter::new(out), sha1: Sha1::new() };
    out.put(b"\xfftOc\0\0\0\x02")?;
    let mut counts = [0_u32; 256];
    for at in 0..objects.len() {
        counts[usize::from(id(at).as_bytes()[0])] += 1;
    }
    let mut sum = 0;
    for count in counts {
        sum += count;
        out.put(&sum.to_be_bytes())?;
    }
    for at in 0..objects.len() {
        out.put(id(at).as_bytes())?;
    }
    for object in objects {
        out.put(&object.crc.to_be_bytes())?;
    }
    let mut large = Vec::new();
    for object in objects {
        let offset = match u32::try_from(object.offset) {
            Ok(offset) if object.offset < LARGE => offset,
            _ => {
                large.push(object.offset);
                u32::try_from(large.len() - 1).expect("because there are fewer objects") | 1 << 31
            }
        };
        out.put(&offset.to_be_bytes())?;
    }
    for offset in large {
        out.put(&offset.to_be_bytes())?;
    }
    out.put(checksum)?;
    let own: [u8; 20] = out.sha1.finalize().into();
    out.out.write_all(&own)?;
    out.out.flush()
}

struct Hashed<W: Write> {
    out: io::BufWriter<W>,
    sha1: Sha1,
}

impl<W: Write> Hashed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sha1.update(bytes);
        self.out.write_all(bytes)
    }
}
