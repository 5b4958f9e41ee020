//! One unit's deflate, for `tar.gz` and `zip`. Pure.
//!
//! What the bytes depend on: zlib-rs of exactly the version in `Cargo.toml`, the level, raw, window
//! 2^15, memory level 8, a state as new, the whole unit given in one call with a full flush (or, at
//! the end of a zip's member, a finish), and an output buffer that the call cannot fill. In that
//! version every branch on a CPU feature (`compare256`, `slide_hash`) computes the same result by
//! other instructions; the output buffer's size matters only when it fills up, for then
//! `deflate_medium` forgets a match it looked ahead at; a match is cut at the end of the input
//! before what lies in the window beyond it can matter, so a state that was reset gives what a new
//! one gives.

use flate2::{Compress, Compression, FlushCompress, Status};

/// What a full flush ends with: an empty stored block.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];

/// How a unit's deflate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By a full flush: further units follow.
    Flush,
    /// By a final block.
    Finish,
}

/// How hard matches are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Of what is a gzip: as `gzip` and git have it.
    Gzip = 6,
    /// Of a zip: four fifths of the other's time, for 1% more bytes.
    Zip = 5,
}

/// Deflates units, each alone.
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new(level: Level) -> Self {
        Self(Compress::new(Compression::new(level as u32), false))
    }

    /// Appends the deflated `unit` to `out`.
    pub(crate) fn deflate(&mut self, unit: &[u8], end: End, out: &mut Vec<u8>) {
        let start = out.len();
        out.reserve(bound(unit.len()));
        self.0.reset();
        let (flush, wanted) = match end {
            End::Flush => (FlushCompress::Full, Status::Ok),
            End::Finish => (FlushCompress::Finish, Status::StreamEnd),
        };
        let status = self.0.compress_vec(unit, out, flush).expect("because the state is as new");
        let whole = status == wanted && self.0.total_in() == unit.len() as u64;
        let ended = end == End::Finish || out[start..].ends_with(&FLUSHED);
        assert!(whole && out.len() < out.capacity() && ended, "a unit is deflated by one call");
    }
}

/// More than `length` bytes can become: at worst stored blocks of at least 8 KiB, five bytes each.
pub(crate) const fn bound(length: usize) -> usize {
    length + length / 512 + 128
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};
    use proptest::prelude::*;

    fn with_new_state(level: Level, unit: &[u8], end: End, room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(room);
        let flush = if end == End::Flush { FlushCompress::Full } else { FlushCompress::Finish };
        Deflater::new(level).0.compress_vec(unit, &mut out, flush).unwrap();
        out
    }

    fn with(deflater: &mut Deflater, unit: &[u8], end: End) -> Vec<u8> {
        let mut out = Vec::new();
        deflater.deflate(unit, end, &mut out);
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
        fn a_used_state_and_a_larger_buffer_give_the_same_bytes(
            level in prop_oneof![Just(Level::Gzip), Just(Level::Zip)],
            units in prop::collection::vec(any_unit(), 1..5),
        ) {
            let mut used = Deflater::new(level);
            for unit in units.iter().filter(|unit| !unit.is_empty()) {
                for end in [End::Flush, End::Finish] {
                    let out = with(&mut used, unit, end);
                    prop_assert_eq!(&out, &with_new_state(level, unit, end, bound(unit.len())));
                    prop_assert_eq!(&out, &with_new_state(level, unit, end, 4 << 20));
                }
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
        let mut deflater = Deflater::new(Level::Zip);
        for length in [1, 2, 511, 512, 65_535, 1 << 20] {
            for end in [End::Flush, End::Finish] {
                let out = with(&mut deflater, &noise[..length], end);
                assert!(out.len() + 64 < bound(length), "{length}: {}", out.len());
            }
        }
    }

    #[test]
    fn units_and_an_end_make_one_stream_behind_what_is_there() {
        let mut deflater = Deflater::new(Level::Zip);
        let mut stream = b"before".to_vec();
        deflater.deflate(b"one unit, one unit", End::Flush, &mut stream);
        let mut flushed = stream.clone();
        deflater.deflate(b"and another", End::Flush, &mut flushed);
        flushed.extend_from_slice(&[3, 0]);
        deflater.deflate(b"and another", End::Finish, &mut stream);
        for stream in [stream, flushed] {
            let mut plain = Vec::with_capacity(100);
            let status =
                Decompress::new(false).decompress_vec(&stream[6..], &mut plain, FlushDecompress::Finish).unwrap();
            assert_eq!((status, &plain[..]), (Status::StreamEnd, &b"one unit, one unitand another"[..]));
        }
    }
}
