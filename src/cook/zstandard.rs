//! One unit as one zstd frame (RFC 8878), for `tar.zst`. Pure.
//!
//! What the bytes depend on: the C library of exactly the version in `Cargo.toml`, level 1 with a
//! window of 2^20, the length of the content and a checksum in each frame, one call with the whole unit. `Cargo.toml`
//! takes it without its threads and without its legacy formats. What of it asks for BMI2 (writing
//! Huffman codes and sequences) is one body compiled twice; the match finder of this level
//! (`fast`) has no other code for other CPUs, and reads as little endian everywhere. A context used
//! before gives what a new one gives, for older positions lie below the window; a test compares.

use zstd_safe::{CCtx, CParameter};

/// On segments of source code, mostly of some 256 KiB, level 3 is larger and slower than 2; 1 takes three
/// quarters of the time of 2 for 3.5% more bytes.
const LEVEL: i32 = 1;

/// The largest unit: a frame is one segment then, whatever its length, and needs no window beside it.
const WINDOW_LOG: u32 = 20;

/// Makes frames, each alone.
pub(crate) struct Framer(CCtx<'static>);

impl Default for Framer {
    fn default() -> Self {
        let mut context = CCtx::create();
        let parameters = [
            CParameter::CompressionLevel(LEVEL),
            CParameter::WindowLog(WINDOW_LOG),
            CParameter::ContentSizeFlag(true),
            CParameter::ChecksumFlag(true),
        ];
        for parameter in parameters {
            context.set_parameter(parameter).expect("because these are the library's own");
        }
        Self(context)
    }
}

impl Framer {
    /// Writes the frame of `unit` to `out` (cleared first).
    pub(crate) fn frame(&mut self, unit: &[u8], out: &mut Vec<u8>) {
        out.clear();
        out.reserve(zstd_safe::compress_bound(unit.len()));
        self.0.compress2(out, unit).expect("because every unit fits its bound");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(framer: &mut Framer, unit: &[u8]) -> Vec<u8> {
        let mut out = b"old".to_vec();
        framer.frame(unit, &mut out);
        out
    }

    proptest! {
        #[test]
        fn a_used_context_gives_the_same_frames(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..300), 1..3000_usize), 1..6),
        ) {
            let mut used = Framer::default();
            for (piece, count) in pieces {
                let unit = piece.repeat(count);
                prop_assert_eq!(framed(&mut used, &unit), framed(&mut Framer::default(), &unit));
            }
        }
    }

    #[test]
    fn the_library_is_the_one_that_the_format_names() {
        assert_eq!(zstd_safe::version_string(), "1.5.7");
    }

    #[test]
    fn a_frame_says_its_length_has_a_checksum_and_needs_no_window() {
        for length in [1, 255, 256, 65_791, 65_792, 1 << 20] {
            let frame = framed(&mut Framer::default(), &vec![7; length]);
            assert_eq!(frame[..4], [0x28, 0xb5, 0x2f, 0xfd]);
            // Single segment, checksum, no dictionary.
            assert_eq!(frame[4] & 0x3f, 0x24, "{length}");
            assert_eq!(zstd_safe::get_frame_content_size(&frame).unwrap(), Some(length as u64));
        }
    }
}
