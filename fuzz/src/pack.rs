//! Packs that are whole but for what they hold. Bytes by chance never come past a pack's checksum, so
//! these are entries, and the pack is made around them: what is reached is the resolving of deltas and
//! the reading of objects.
//!
//! An entry of the input: a byte for its type, one that says how many entries before it its base is,
//! the length of its content in two bytes, the content.

use super::bundles::file;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use larder::verify;
use sha1::{Digest, Sha1};
use std::io::Write;

/// Entries are taken up to here.
const MAX_ENTRIES: usize = 64;

/// A bundle of no refs and of a pack of these entries: what is taken has as many objects.
pub fn pack(input: &[u8]) -> bool {
    let mut entries = Vec::new();
    let mut offsets = Vec::new();
    let mut rest = input;
    while let Some(([code, back, low, high], behind)) = rest.split_first_chunk()
        && offsets.len() < MAX_ENTRIES
    {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (content, behind) = behind.split_at(length);
        rest = behind;
        let at = entries.len();
        let base = offsets.len().checked_sub(usize::from(*back).max(1)).map(|base| offsets[base]);
        offsets.push(at);
        let object_type = [1, 2, 3, 4, 6, 6, 6, 7][usize::from(*code % 8)];
        // A high bit lies about the size.
        let stated = if *code >= 0x80 { content.len() ^ usize::from(*back) } else { content.len() };
        write_size(object_type, stated, &mut entries);
        match object_type {
            6 => write_distance(base.map_or(at + 1, |base| at - base), &mut entries),
            7 => entries.extend_from_slice(&[*back; 20]),
            _ => {}
        }
        let mut encoder = ZlibEncoder::new(&mut entries, Compression::none());
        encoder.write_all(content).and_then(|()| encoder.try_finish()).expect("because memory takes everything");
    }
    let count = u32::try_from(offsets.len()).expect("because there are few");
    // Offsets begin behind the pack's header, and so do distances.
    let pack = [&b"PACK\0\0\0\x02"[..], &count.to_be_bytes(), &entries].concat();
    let whole = [&b"# v2 git bundle\n\n"[..], &pack, &Sha1::digest(&pack)].concat();
    let Ok(history) = verify::git_bundle(&file(&whole)) else { return false };
    assert_eq!(history.objects, u64::from(count));
    true
}

/// The type and the size before an entry.
fn write_size(object_type: u8, size: usize, out: &mut Vec<u8>) {
    let low = |size: usize, bits: u8| u8::try_from(size & ((1 << bits) - 1)).expect("because few bits are left");
    let mut left = size >> 4;
    out.push(object_type << 4 | low(size, 4) | if left > 0 { 0x80 } else { 0 });
    while left > 0 {
        let byte = low(left, 7);
        left >>= 7;
        out.push(byte | if left > 0 { 0x80 } else { 0 });
    }
}

/// How far before the entry its base begins.
fn write_distance(distance: usize, out: &mut Vec<u8>) {
    let mut left = distance;
    let mut bytes = vec![u8::try_from(left & 0x7f).expect("because seven bits are left")];
    while left > 0x7f {
        left = (left >> 7) - 1;
        bytes.push(0x80 | u8::try_from(left & 0x7f).expect("because seven bits are left"));
    }
    out.extend(bytes.iter().rev());
}
