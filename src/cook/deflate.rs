//! One unit's deflate, for `tar.gz`, `zip` and `gitfast.gz`. Pure.
//!
//! What the bytes depend on: libdeflate of exactly the version in `Cargo.toml`, the level, and the unit,
//! given whole in one call; `docs/format.md` says what was looked for in its source. It ends every
//! stream that it makes; where others are to follow, `join` lets them.

use super::join::{Joiner, LONGER, Miscoded};
use libdeflater::{CompressionLvl, Compressor};

/// How a unit's deflate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At a whole byte, with an empty stored block, like a full flush: further units follow.
    Flush,
    /// By a final block.
    Finish,
}

/// How hard matches are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Of what is a gzip.
    Gzip = 5,
    /// Of a zip.
    Zip = 4,
}

/// Deflates units, each alone.
pub struct Deflater {
    compressor: Compressor,
    joiner: Joiner,
}

impl Deflater {
    /// A deflater of this level.
    ///
    /// # Panics
    /// When there is no memory for it.
    #[must_use]
    pub fn new(level: Level) -> Self {
        let level = CompressionLvl::new(level as i32).expect("because the library has these levels");
        Self { compressor: Compressor::new(level), joiner: Joiner::default() }
    }

    /// Appends the deflated `unit` to `out`. What others follow was inflated again, and compared.
    ///
    /// # Panics
    /// When the library wants more room than it says.
    pub fn deflate(&mut self, unit: &[u8], end: End, out: &mut Vec<u8>) -> Result<(), Miscoded> {
        let start = out.len();
        out.resize(start + bound(unit.len()) - LONGER, 0);
        let length = self.compressor.deflate_compress(unit, &mut out[start..]);
        out.truncate(start + length.expect("because there is room for stored blocks"));
        if end == End::Flush { self.joiner.join(out, start, unit) } else { Ok(()) }
    }
}

/// At least what `length` bytes can become: at worst stored blocks of at least 5,000 bytes, five bytes
/// each, and what joins them to others.
pub(crate) const fn bound(length: usize) -> usize {
    length + length / 512 + 128
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress, Status};
    use proptest::prelude::*;

    fn with(deflater: &mut Deflater, unit: &[u8], end: End) -> Vec<u8> {
        let mut out = Vec::new();
        deflater.deflate(unit, end, &mut out).unwrap();
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
            for unit in &units {
                for end in [End::Flush, End::Finish] {
                    let out = with(&mut used, unit, end);
                    prop_assert_eq!(&out, &with(&mut Deflater::new(level), unit, end));
                }
                let mut wide = vec![0; 4 << 20];
                let mut compressor = Compressor::new(CompressionLvl::new(level as i32).unwrap());
                let length = compressor.deflate_compress(unit, &mut wide).unwrap();
                prop_assert_eq!(&with(&mut used, unit, End::Finish), &wide[..length]);
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
        for level in [Level::Gzip, Level::Zip] {
            let mut deflater = Deflater::new(level);
            for length in [0, 1, 2, 511, 512, 5_000, 65_535, 1 << 20] {
                for end in [End::Flush, End::Finish] {
                    let out = with(&mut deflater, &noise[..length], end);
                    assert!(out.len() + 64 < bound(length), "{length}: {}", out.len());
                    let asked = deflater.compressor.deflate_compress_bound(length);
                    assert!(asked + LONGER <= bound(length), "{length}: {asked}");
                }
            }
        }
    }

    #[test]
    fn units_and_an_end_make_one_stream_behind_what_is_there() {
        let mut deflater = Deflater::new(Level::Zip);
        let mut stream = b"before".to_vec();
        deflater.deflate(b"one unit, one unit", End::Flush, &mut stream).unwrap();
        let mut flushed = stream.clone();
        deflater.deflate(b"and another", End::Flush, &mut flushed).unwrap();
        flushed.extend_from_slice(&[3, 0]);
        deflater.deflate(b"and another", End::Finish, &mut stream).unwrap();
        for stream in [stream, flushed] {
            let mut plain = Vec::with_capacity(100);
            let status =
                Decompress::new(false).decompress_vec(&stream[6..], &mut plain, FlushDecompress::Finish).unwrap();
            assert_eq!((status, &plain[..]), (Status::StreamEnd, &b"one unit, one unitand another"[..]));
        }
    }

    /// The bytes of the library are part of the format: another version of it that makes others is seen here.
    #[test]
    fn the_encoder_makes_the_bytes_that_the_format_names() {
        let text: Vec<u8> =
            (0..200_000_u64).flat_map(|n| format!("{} {}\n", n * n % 977, n % 31).into_bytes()).collect();
        let digest = |level, end| {
            blake3::hash(&with(&mut Deflater::new(level), &text[..1 << 20], end)).to_hex()[..16].to_owned()
        };
        let all = [
            (Level::Gzip, End::Flush),
            (Level::Gzip, End::Finish),
            (Level::Zip, End::Flush),
            (Level::Zip, End::Finish),
        ];
        assert_eq!(
            all.map(|(level, end)| digest(level, end)),
            ["079300a8ac76533d", "31ac8e8d0983c481", "79a053d1ac113241", "e845f9e9a7491692"]
        );
    }
}
