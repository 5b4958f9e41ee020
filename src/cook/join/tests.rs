use super::*;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};
use proptest::prelude::*;

/// An encoder and its level: libdeflate's from storing to the slowest, then zlib-rs, whose blocks are cut
/// otherwise and which has such of fixed codes too.
#[derive(Clone, Copy, Debug)]
enum Encoder {
    Libdeflate(i32),
    Zlib(u32),
}

fn any_encoder() -> impl Strategy<Value = Encoder> {
    prop_oneof![(0..=12_i32).prop_map(Encoder::Libdeflate), (0..=9_u32).prop_map(Encoder::Zlib)]
}

/// A stream that was ended.
fn ended(encoder: Encoder, plain: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 2 * plain.len() + 200];
    match encoder {
        Encoder::Libdeflate(level) => {
            let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
            let length = compressor.deflate_compress(plain, &mut out).unwrap();
            out.truncate(length);
        }
        Encoder::Zlib(level) => {
            out.clear();
            let mut compress = Compress::new(Compression::new(level), false);
            let status = compress.compress_vec(plain, &mut out, FlushCompress::Finish).unwrap();
            assert_eq!(status, Status::StreamEnd);
        }
    }
    out
}

/// Nothing, one byte, words of a small dictionary, lines of text, noise, and any of these in a row.
fn any_plain() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(Vec::new()),
        any::<u8>().prop_map(|byte| vec![byte]),
        prop::collection::vec(any::<u8>(), 0..70_000),
        (any::<u8>(), 1..300_000_usize).prop_map(|(byte, count)| vec![byte; count]),
        prop::collection::vec("[a-z]{2,9}( |, |\n)", 1..3000).prop_map(|words| words.concat().into_bytes()),
        (0..6_u8, 1..9000_usize).prop_map(|(byte, count)| [byte, byte + 1, byte, 7].repeat(count)),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// What zlib-rs, asked without stopping at blocks, makes of a stream.
fn by_flate2(stream: &[u8], length: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(length + 1);
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress_vec(stream, &mut plain, FlushDecompress::Finish).unwrap();
    assert_eq!((status, inflate.total_in()), (Status::StreamEnd, stream.len() as u64));
    plain
}

/// What sirocco makes of it, which asks for a zlib stream.
fn by_sirocco(stream: &[u8], expected: &[u8]) -> Vec<u8> {
    let (low, high) = expected.iter().fold((1_u32, 0_u32), |(low, high), &byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    let wrapped = [&[0x78, 0x9c], stream, &(high << 16 | low).to_be_bytes()].concat();
    let mut plain = vec![0; expected.len() + 1];
    let (status, taken, given) = gix_zlib::Inflate::default().once(&wrapped, &mut plain).unwrap();
    assert_eq!((status, taken), (gix_zlib::Status::StreamEnd, wrapped.len()));
    plain.truncate(given);
    plain
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn joined_streams_and_an_end_inflate_to_all_that_they_were_made_of(
        units in prop::collection::vec((any_plain(), any_encoder()), 1..5),
    ) {
        let (mut joiner, mut stream, mut plain) = (Joiner::default(), Vec::new(), Vec::new());
        for (unit, encoder) in &units {
            let from = stream.len();
            stream.extend_from_slice(&ended(*encoder, unit));
            joiner.join(&mut stream, from, unit).unwrap();
            prop_assert!(stream.ends_with(&STORED));
            plain.extend_from_slice(unit);
        }
        stream.extend_from_slice(&[3, 0]);
        prop_assert!(by_flate2(&stream, plain.len()) == plain);
        prop_assert!(by_sirocco(&stream, &plain) == plain);
    }

    /// Set again, the one bit that was cleared makes the old stream; and a used joiner is as good as a new one.
    #[test]
    fn nothing_of_a_stream_is_touched_but_the_bit_of_its_last_block(plain in any_plain(), encoder in any_encoder()) {
        let old = ended(encoder, &plain);
        let mut joiner = Joiner::default();
        joiner.join(&mut ended(encoder, b"another before it"), 0, b"another before it").unwrap();
        let mut joined = old.clone();
        joiner.join(&mut joined, 0, &plain).unwrap();
        prop_assert!((LONGER - 1..=LONGER).contains(&(joined.len() - old.len())));
        let bits = |(old, new): (&u8, &u8)| (old ^ new).count_ones();
        prop_assert_eq!(old.iter().zip(&joined).map(bits).sum::<u32>(), 1);
        let mut cleared = old.clone();
        let at = old.iter().zip(&joined).position(|(old, new)| old != new).unwrap();
        cleared[at] = joined[at];
        let mut again = Vec::with_capacity(plain.len() + 1);
        let status = Decompress::new(false).decompress_vec(&cleared, &mut again, FlushDecompress::Sync).unwrap();
        prop_assert!(status != Status::StreamEnd && again == plain, "it ends no more, and says the same");
    }

    #[test]
    fn what_does_not_inflate_to_what_it_was_made_of_is_refused(
        plain in any_plain(), encoder in any_encoder(), at in any::<prop::sample::Index>(), bit in 0..8_u32, cut in 1..9_usize,
    ) {
        let mut joiner = Joiner::default();
        let whole = ended(encoder, &plain);
        prop_assert_eq!(joiner.compare(&whole, &plain), Ok(()));
        let mut longer = plain.clone();
        longer.push(0);
        prop_assert_eq!(joiner.compare(&whole, &longer), Err(Miscoded));
        prop_assert_eq!(joiner.compare(&[&whole[..], &[0]].concat(), &plain), Err(Miscoded));
        prop_assert_eq!(joiner.compare(&whole[..whole.len().saturating_sub(cut)], &plain), Err(Miscoded));
        if !plain.is_empty() {
            let mut other = plain.clone();
            other[at.index(plain.len())] ^= 1 << bit;
            prop_assert_eq!(joiner.compare(&whole, &other), Err(Miscoded));
            prop_assert_eq!(joiner.compare(&whole, &plain[..plain.len() - 1]), Err(Miscoded));
        }
        // A flipped bit may make another stream of the same bytes, but none that is taken for others.
        let mut damaged = whole.clone();
        damaged[at.index(whole.len())] ^= 1 << bit;
        if joiner.compare(&damaged, &plain).is_ok() {
            prop_assert!(by_flate2(&damaged, plain.len()) == plain);
        }
        prop_assert_eq!(joiner.compare(&whole, &plain), Ok(()), "and goes on after that");
    }
}

/// Every number of bits that a last byte can have left, and blocks of all three kinds.
#[test]
fn the_stored_block_begins_at_whatever_bit_the_last_one_ended() {
    let (mut joiner, mut met) = (Joiner::default(), [0; 8]);
    for number in 0..400_u32 {
        let plain: Vec<u8> = (0..number * 7).map(|n| ((n * n * number) >> 5).to_le_bytes()[0] & 0x1f).collect();
        for encoder in [Encoder::Libdeflate(0), Encoder::Libdeflate(5), Encoder::Zlib(1), Encoder::Zlib(6)] {
            let mut stream = ended(encoder, &plain);
            met[joiner.check(&stream, &plain).unwrap().end % 8] += 1;
            let from = stream.len();
            joiner.join(&mut stream, 0, &plain).unwrap();
            assert_eq!(stream[from..].len() == LONGER, [0, 6, 7].contains(&(joiner.end_of(&plain, encoder) % 8)));
            stream.extend_from_slice(&ended(Encoder::Libdeflate(5), b"what follows"));
            assert_eq!(by_flate2(&stream, plain.len() + 12), [&plain[..], b"what follows"].concat());
        }
    }
    assert!(met.iter().all(|&count| count > 0), "{met:?}");
}

impl Joiner {
    fn compare(&mut self, stream: &[u8], plain: &[u8]) -> Result<(), Miscoded> {
        self.check(stream, plain).map(|_| ())
    }

    fn end_of(&mut self, plain: &[u8], encoder: Encoder) -> usize {
        self.check(&ended(encoder, plain), plain).unwrap().end
    }
}

/// Blocks that end where the room for what is inflated does.
#[test]
fn blocks_end_anywhere_in_a_piece() {
    let mut joiner = Joiner::default();
    for length in [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 65_535, 131_070, 3 * PIECE] {
        let noise: Vec<u8> =
            (0..length as u64).map(|n| n.wrapping_mul(n ^ 0x9e37_79b9_7f4a_7c15).to_le_bytes()[4]).collect();
        for plain in [noise, vec![7; length]] {
            for encoder in [Encoder::Libdeflate(0), Encoder::Libdeflate(5), Encoder::Zlib(0), Encoder::Zlib(6)] {
                let mut stream = ended(encoder, &plain);
                joiner.join(&mut stream, 0, &plain).unwrap();
                stream.extend_from_slice(&[3, 0]);
                assert!(by_flate2(&stream, length) == plain, "{length} {encoder:?}");
            }
        }
    }
}
