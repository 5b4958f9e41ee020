//! Makes deltas (`gitformat-pack(5)`, "deltified representation"): what turns a base into a target, as
//! copies from the base and bytes of the target's own. Pure; `archive::git::delta` reads them.
//!
//! A base is cut into blocks of sixteen bytes, which are found again in a target by a hash that rolls
//! over it byte by byte; what matches is then made as long as it can be, in both directions. The
//! longest match at a place is taken, without looking further ahead.

/// Bytes of a block: no shorter match is found.
const BLOCK: usize = 16;
/// The longest copy that every git reads, in bytes.
const MAX_COPY: usize = 0x1_0000;
/// The longest insertion, in bytes.
const MAX_INSERT: usize = 0x7f;
/// Bits of the filter for a block.
const FILTER_BITS: usize = 16;
/// Blocks of one hash that are compared at one place. More of them are of a base that repeats itself.
const MAX_TRIES: usize = 32;

/// A base that deltas are made from: its bytes, and where its blocks are.
pub struct Base {
    content: Vec<u8>,
    /// Where the blocks of each bucket begin in `blocks`, and where the last ends.
    starts: Vec<u32>,
    blocks: Vec<Block>,
    /// Some bits of every hash that a block has: most of what a target is asked for is in none.
    filter: Vec<u64>,
}

#[derive(Clone, Copy, Default)]
struct Block {
    hash: u32,
    at: u32,
}

/// What matches: `length` bytes at `from` of the base.
#[derive(Clone, Copy, Default)]
struct Match {
    from: usize,
    length: usize,
}

impl Base {
    /// # Panics
    /// When the content has 4 GiB or more: a copy cannot say where it is from.
    #[must_use]
    pub fn new(content: Vec<u8>) -> Self {
        assert!(u32::try_from(content.len()).is_ok(), "a base has less than 4 GiB");
        let mut found = Vec::with_capacity(content.len() / BLOCK);
        for (number, block) in content.as_chunks().0.iter().enumerate() {
            let hash = hash(block);
            // Of a run of equal blocks the first is enough: a match is made as long as it can be.
            if found.last().is_none_or(|last: &Block| last.hash != hash) {
                let at = u32::try_from(number * BLOCK).expect("because it was checked");
                found.push(Block { hash, at });
            }
        }
        let mut starts = vec![0_u32; found.len().next_power_of_two() + 1];
        let buckets = starts.len() - 1;
        for block in &found {
            starts[bucket(block.hash, buckets)] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut blocks = vec![Block::default(); found.len()];
        // From the last on, so that each bucket has its own in the order of the base.
        for block in found.iter().rev() {
            let start = &mut starts[bucket(block.hash, buckets)];
            *start -= 1;
            blocks[*start as usize] = *block;
        }
        let mut filter = vec![0; (found.len() * FILTER_BITS).div_ceil(64).next_power_of_two()];
        for block in &found {
            let (word, bit) = filtered(block.hash, filter.len());
            filter[word] |= bit;
        }
        Self { content, starts, blocks, filter }
    }

    /// Bytes that it holds in memory.
    pub(crate) fn held(&self) -> usize {
        self.content.len()
            + size_of_val(&self.starts[..])
            + size_of_val(&self.blocks[..])
            + size_of_val(&self.filter[..])
    }

    /// Its bytes.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Sets `out` to a delta that makes `target` of this base, or gives `false` when it would have
    /// more than `most` bytes.
    ///
    /// ```
    /// use larder::cook::history::delta::Base;
    /// let base = Base::new(b"a line of text\nanother line of text\n".to_vec());
    /// let mut delta = Vec::new();
    /// assert!(base.delta(b"a line of text\nanother line of text\n!", 100, &mut delta));
    /// assert_eq!(delta, [36, 37, 0x90, 36, 1, b'!']);
    /// assert!(!base.delta(b"nothing that is in the base", 20, &mut delta));
    /// ```
    pub fn delta(&self, target: &[u8], most: usize, out: &mut Vec<u8>) -> bool {
        out.clear();
        write_size(self.content.len(), out);
        write_size(target.len(), out);
        // All before `written` stands in `out`; `at` is where a match is looked for.
        let (mut written, mut at) = (0, 0);
        let mut rolling = target.first_chunk().map_or(0, hash);
        while at + BLOCK <= target.len() && !self.blocks.is_empty() {
            let found = self.longest(rolling, &target[at..]);
            if found.length < BLOCK {
                if let Some(next) = target.get(at + BLOCK) {
                    rolling = rolled(rolling, target[at], *next);
                }
                at += 1;
                if out.len() + (at - written) > most + BLOCK {
                    return false;
                }
                continue;
            }
            let back = common_suffix(&self.content[..found.from], &target[written..at]);
            write_insert(&target[written..at - back], out);
            write_copy(found.from - back, found.length + back, out);
            at += found.length;
            written = at;
            rolling = target[at..].first_chunk().map_or(0, hash);
            if out.len() > most {
                return false;
            }
        }
        write_insert(&target[written..], out);
        out.len() <= most
    }

    /// The longest match of the beginning of `target`, whose first block has this hash.
    fn longest(&self, hash: u32, target: &[u8]) -> Match {
        let (word, bit) = filtered(hash, self.filter.len());
        if self.filter[word] & bit == 0 {
            return Match::default();
        }
        let bucket = bucket(hash, self.starts.len() - 1);
        let blocks = &self.blocks[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        let mut longest = Match::default();
        for block in blocks.iter().filter(|block| block.hash == hash).take(MAX_TRIES) {
            let from = block.at as usize;
            let length = common_prefix(&self.content[from..], target);
            if length > longest.length {
                longest = Match { from, length };
            }
        }
        longest
    }
}

/// What a byte is multiplied by for each that follows it in a block.
const FACTOR: u32 = 0x2c92_77b5;
/// The product for each place of a block.
const FACTORS: [u32; BLOCK] = {
    let mut factors = [1_u32; BLOCK];
    let mut at = BLOCK - 1;
    while at > 0 {
        factors[at - 1] = factors[at].wrapping_mul(FACTOR);
        at -= 1;
    }
    factors
};
/// The same for the byte that has left it.
const LEAVING: u32 = FACTORS[0].wrapping_mul(FACTOR);

fn hash(block: &[u8; BLOCK]) -> u32 {
    let terms = block.iter().zip(FACTORS).map(|(byte, factor)| u32::from(*byte).wrapping_mul(factor));
    terms.fold(0, u32::wrapping_add)
}

/// The hash of a block one byte further.
fn rolled(hash: u32, leaves: u8, comes: u8) -> u32 {
    let grown = hash.wrapping_mul(FACTOR).wrapping_add(u32::from(comes));
    grown.wrapping_sub(u32::from(leaves).wrapping_mul(LEAVING))
}

/// Of a power of two `buckets`, by the bits of a hash that depend on most of it.
fn bucket(hash: u32, buckets: usize) -> usize {
    let mixed = u64::from(hash.wrapping_mul(0x9e37_79b1)) * buckets as u64;
    usize::try_from(mixed >> 32).expect("because it is less than the number of buckets")
}

/// The word of the filter in which a hash is, and its bit there.
fn filtered(hash: u32, words: usize) -> (usize, u64) {
    // Other bits than those that decide its bucket.
    let mixed = hash.wrapping_mul(0x85eb_ca6b);
    (bucket(mixed, words), 1 << (mixed & 63))
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = 16;
    let (first, second) = (a.as_chunks::<WORD>().0, b.as_chunks::<WORD>().0);
    let number = |chunk: &[u8; WORD]| u128::from_le_bytes(*chunk);
    let same = first.iter().zip(second).take_while(|(a, b)| number(a) == number(b)).count();
    if same < first.len().min(second.len()) {
        return same * WORD + ((number(&first[same]) ^ number(&second[same])).trailing_zeros() / 8) as usize;
    }
    let same = same * WORD;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

fn common_suffix(a: &[u8], b: &[u8]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn write_size(size: usize, out: &mut Vec<u8>) {
    let mut rest = size;
    while rest > 0x7f {
        out.push(low(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low(rest));
}

fn write_insert(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(MAX_INSERT) {
        out.push(low(piece.len()));
        out.extend_from_slice(piece);
    }
}

fn write_copy(from: usize, length: usize, out: &mut Vec<u8>) {
    let (mut from, mut left) = (from, length);
    while left > 0 {
        let length = left.min(MAX_COPY);
        let start = out.len();
        out.push(0x80);
        // Only bytes that are not zero stand there; no length at all means the longest.
        let stated = if length == MAX_COPY { 0 } else { length };
        let bytes = from.to_le_bytes().into_iter().take(4).chain(stated.to_le_bytes().into_iter().take(3));
        for (bit, byte) in bytes.enumerate().filter(|(_, byte)| *byte != 0) {
            out[start] |= 1 << bit;
            out.push(byte);
        }
        from += length;
        left -= length;
    }
}

fn low(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::git::delta::apply;
    use proptest::prelude::*;

    fn made(base: &[u8], delta: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        apply(base, delta, &mut out, 1 << 30).unwrap();
        out
    }

    fn delta(base: &[u8], target: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(Base::new(base.to_vec()).delta(target, usize::MAX / 2, &mut out));
        out
    }

    /// Bytes, and others made of pieces of them: copies from anywhere, and a few bytes between.
    fn related() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let base = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..3000),
            prop::collection::vec(0..3_u8, 0..3000),
            (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]),
        ];
        let piece = (any::<prop::sample::Index>(), 0..600_usize, prop::collection::vec(any::<u8>(), 0..40));
        (base, prop::collection::vec(piece, 0..12)).prop_map(|(base, pieces)| {
            let mut target = Vec::new();
            for (start, length, own) in pieces {
                let start = start.index(base.len() + 1);
                target.extend_from_slice(&base[start..base.len().min(start + length)]);
                target.extend_from_slice(&own);
            }
            (base, target)
        })
    }

    proptest! {
        #[test]
        fn a_delta_makes_the_target_of_the_base((base, target) in related()) {
            prop_assert_eq!(made(&base, &delta(&base, &target)), target);
        }

        #[test]
        fn a_delta_is_never_longer_than_it_may_be_and_the_same_when_it_may((base, target) in related()) {
            let whole = delta(&base, &target);
            let base = Base::new(base);
            let mut out = Vec::new();
            for most in [0, 1, whole.len() / 2, whole.len().saturating_sub(1), whole.len(), whole.len() + 1] {
                prop_assert_eq!(base.delta(&target, most, &mut out), whole.len() <= most);
            }
            prop_assert_eq!(out, whole);
        }

        #[test]
        fn a_hash_rolls_to_that_of_the_next_block(bytes in prop::collection::vec(any::<u8>(), BLOCK + 1)) {
            let next = rolled(hash(bytes.first_chunk().unwrap()), bytes[0], bytes[BLOCK]);
            prop_assert_eq!(next, hash(bytes.last_chunk().unwrap()));
        }
    }

    #[test]
    fn what_is_the_same_but_for_a_byte_takes_a_few_bytes() {
        let base: Vec<u8> = (0..50_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        for at in [0, 1, 15, 16, 17, 100_000, base.len() - 1] {
            let mut target = base.clone();
            target[at] = b'!';
            let delta = delta(&base, &target);
            assert!(delta.len() < 60, "{at}: {}", delta.len());
            assert_eq!(made(&base, &delta), target);
            target.insert(at, b'?');
            assert!(self::delta(&base, &target).len() < 60);
        }
    }

    #[test]
    fn a_base_that_repeats_itself_is_no_slower_by_the_square_of_its_length() {
        let period: Vec<u8> = (0..32).collect();
        let base = period.repeat(100_000);
        let mut target = base.clone();
        target.insert(77, b'!');
        assert!(delta(&base, &target).len() < 1000);
    }
}
