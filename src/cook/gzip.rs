//! The gzip member around the units, and one unit's deflate. Pure.
//!
//! What the bytes depend on: zlib-rs of exactly the version in `Cargo.toml`, level 6, raw, window
//! 2^15, memory level 8, a state as new, the whole unit given in one call with a full flush, and an
//! output buffer that the call cannot fill. In that version every branch on a CPU feature
//! (`compare256`, `slide_hash`) computes the same result by other instructions; the output buffer's
//! size matters only when it fills up, for then `deflate_medium` forgets a match it looked ahead
//! at; a match is cut at the end of the input before what lies in the window beyond it can matter,
//! so a state that was reset gives what a new one gives.

use flate2::{Compress, Compression, FlushCompress, Status};

/// The ten bytes a gzip member starts with (RFC 1952): no name, no time, unknown system.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The empty final block that ends the deflate stream.
pub(crate) const END: [u8; 2] = [3, 0];
/// What a full flush ends with: an empty stored block.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
const LEVEL: u32 = 6;

/// Deflates units, each alone.
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new() -> Self {
        Self(Compress::new(Compression::new(LEVEL), false))
    }

    /// Writes the deflated `unit` to `out` (cleared first).
    pub(crate) fn deflate(&mut self, unit: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(bound(unit.len()));
        self.0.reset();
        let status = self.0.compress_vec(unit, out, FlushCompress::Full).expect("because the state is as new");
        let whole = status == Status::Ok && self.0.total_in() == unit.len() as u64;
        assert!(whole && out.len() < out.capacity() && out.ends_with(&FLUSHED), "a unit is deflated by one call");
    }
}

/// More than `length` bytes can become: at worst stored blocks of at least 8 KiB, five bytes each.
pub(crate) const fn bound(length: usize) -> usize {
    length + length / 512 + 128
}

/// The CRC-32 and length of the tar stream, put together from those of its units in order.
#[derive(Default)]
pub(crate) struct Sum(crc32fast::Hasher);

impl Sum {
    /// Takes the next `length` bytes, whose own CRC-32 is `crc`.
    pub(crate) fn add(&mut self, crc: u32, length: u64) {
        self.0.combine(&crc32fast::Hasher::new_with_initial_len(crc, length));
    }

    /// The end of the gzip member after these bytes: CRC-32 and ISIZE (RFC 1952).
    pub(crate) fn trailer(self, length: u64) -> [u8; 8] {
        let crc = self.0.finalize().to_le_bytes();
        let size = length.to_le_bytes();
        [crc[0], crc[1], crc[2], crc[3], size[0], size[1], size[2], size[3]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    fn with_new_state(unit: &[u8], room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(room);
        Compress::new(Compression::new(LEVEL), false).compress_vec(unit, &mut out, FlushCompress::Full).unwrap();
        out
    }

    /// Text-like bytes: words of a small dictionary among noise.
    fn any_unit() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            (0..6_u8, 1..400_usize).prop_map(|(byte, count)| [byte, byte + 1, byte, 7].repeat(count)),
        ];
        prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_used_state_and_a_larger_buffer_give_the_same_bytes(units in prop::collection::vec(any_unit(), 1..5)) {
            let (mut used, mut out) = (Deflater::new(), Vec::new());
            for unit in units.iter().filter(|unit| !unit.is_empty()) {
                used.deflate(unit, &mut out);
                prop_assert_eq!(&out, &with_new_state(unit, bound(unit.len())));
                prop_assert_eq!(&out, &with_new_state(unit, 4 << 20));
            }
        }
    }

    #[test]
    fn noise_fits_the_bound() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(1 << 20)
        .collect();
        let (mut deflater, mut out) = (Deflater::new(), Vec::new());
        for length in [1, 2, 511, 512, 65_535, 1 << 20] {
            deflater.deflate(&noise[..length], &mut out);
            assert!(out.len() + 64 < bound(length), "{length}: {}", out.len());
        }
    }

    #[test]
    fn units_the_end_and_the_trailer_make_one_stream() {
        let (mut deflater, mut out, mut stream, mut sum) = (Deflater::new(), Vec::new(), Vec::new(), Sum::default());
        for unit in [&b"one unit, one unit"[..], b"and another"] {
            deflater.deflate(unit, &mut out);
            sum.add(crc32fast::hash(unit), unit.len() as u64);
            stream.extend_from_slice(&out);
        }
        stream.extend_from_slice(&END);
        let whole = b"one unit, one unitand another";
        let mut plain = Vec::with_capacity(100);
        let status = Decompress::new(false).decompress_vec(&stream, &mut plain, FlushDecompress::Finish).unwrap();
        assert_eq!((status, &plain[..]), (Status::StreamEnd, &whole[..]));
        let trailer = sum.trailer(whole.len() as u64 + (1 << 32));
        assert_eq!(trailer[..4], crc32fast::hash(whole).to_le_bytes());
        assert_eq!(trailer[4..], 29_u32.to_le_bytes());
    }
}
