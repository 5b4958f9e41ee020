//! The `Range` field of a GET: RFC 9110 section 14, for the unit `bytes`. Pure.
//!
//! What is malformed, in another unit, or asks for more than the whole file is ignored, and the
//! whole is sent: a server may always do so (section 14.2), and then no request makes it send more
//! than the file.

/// The most ranges sent in one answer; with more the whole file is sent. `max_ranges` in `nginx/`
/// is the same number.
pub const MAX_RANGES: usize = 16;

/// Bytes of a file, from `start` up to and without `end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Offset after the last byte.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.end - self.start
    }

    /// The value of `Content-Range` for these bytes of a file of `size`.
    #[must_use]
    pub fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end - 1)
    }
}

/// What a `Range` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200: the field is ignored.
    Whole,
    /// 206: one range, or several in the order they were asked for. No two overlap or touch.
    Parts(Vec<ByteRange>),
    /// 416.
    Unsatisfiable,
}

/// The value of `Content-Range` in a 416 for a file of `size`.
#[must_use]
pub fn unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

/// Reads a `Range` against a file of `size` bytes.
///
/// ```
/// use larder::http::range::{ByteRange, Selection, select};
/// assert_eq!(select(b"bytes=-3", 10), Selection::Parts(vec![ByteRange { start: 7, end: 10 }]));
/// assert_eq!(select(b"bytes=10-", 10), Selection::Unsatisfiable);
/// assert_eq!(select(b"lines=1-2", 10), Selection::Whole);
/// ```
#[must_use]
pub fn select(field: &[u8], size: u64) -> Selection {
    let Some(set) = range_set(field) else { return Selection::Whole };
    let mut parts: Vec<ByteRange> = Vec::new();
    let (mut specs, mut wanted) = (0_usize, 0_usize);
    let mut total = 0_u64;
    // No Content-Range can name a part of an empty file: who asks for its start gets all of it.
    let mut wants_all_of_nothing = false;
    for element in set.split(|&byte| byte == b',') {
        let element = element.trim_ascii();
        if element.is_empty() {
            continue;
        }
        let Some(spec) = Spec::read(element) else { return Selection::Whole };
        specs += 1;
        wants_all_of_nothing |= size == 0 && spec.is_from_start();
        if let Some(part) = spec.resolve(size) {
            wanted += 1;
            total = total.saturating_add(part.size());
            // The rest is still read: a malformed element anywhere spoils the field.
            if wanted <= MAX_RANGES {
                join(&mut parts, part);
            }
        }
    }
    match (specs, wanted) {
        (0, _) => Selection::Whole,
        _ if wants_all_of_nothing => Selection::Whole,
        (_, 0) => Selection::Unsatisfiable,
        _ if wanted > MAX_RANGES || total > size => Selection::Whole,
        _ => Selection::Parts(parts),
    }
}

/// What follows `bytes=`; the unit is written in either case.
fn range_set(field: &[u8]) -> Option<&[u8]> {
    let (unit, set) = field.trim_ascii().split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// Adds `part`, taking into it all that it overlaps or touches; it stands where the first of them
/// stood, so that the order asked for is kept (section 15.3.7.2).
fn join(parts: &mut Vec<ByteRange>, part: ByteRange) {
    let mut joined = part;
    let mut place = None;
    // A part swallowed may make the joined one reach another, so look until nothing is found.
    while let Some(index) = parts.iter().position(|p| p.start <= joined.end && joined.start <= p.end) {
        let other = parts.remove(index);
        joined = ByteRange { start: joined.start.min(other.start), end: joined.end.max(other.end) };
        place = Some(place.map_or(index, |earlier: usize| earlier.min(index)));
    }
    parts.insert(place.unwrap_or(parts.len()), joined);
}

enum Spec {
    /// `first-` or `first-last`, the last byte included.
    From(u64, Option<u64>),
    /// `-length`.
    Suffix(u64),
}

impl Spec {
    fn read(element: &[u8]) -> Option<Self> {
        let dash = element.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (&element[..dash], &element[dash + 1..]);
        match (first, last) {
            ([], last) => Some(Self::Suffix(number(last)?)),
            (first, []) => Some(Self::From(number(first)?, None)),
            (first, last) if not_after(first, last) => Some(Self::From(number(first)?, Some(number(last)?))),
            _ => None,
        }
    }

    /// Whether it reaches the start of an empty file.
    fn is_from_start(&self) -> bool {
        matches!(self, Self::Suffix(_) | Self::From(0, _))
    }

    /// The bytes meant in a file of `size`, if there are any.
    fn resolve(&self, size: u64) -> Option<ByteRange> {
        let range = match *self {
            Self::From(first, last) => {
                ByteRange { start: first, end: last.map_or(size, |last| last.saturating_add(1).min(size)) }
            }
            Self::Suffix(length) => ByteRange { start: size.saturating_sub(length), end: size },
        };
        (range.start < range.end).then_some(range)
    }
}

/// A decimal number; one that is too large is the largest there is, for no file is as long.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

/// Whether one run of digits is not a larger number than another, however long they are.
fn not_after(first: &[u8], last: &[u8]) -> bool {
    let significant = |digits: &[u8]| digits.iter().position(|&digit| digit != b'0').unwrap_or(digits.len());
    let (first, last) = (&first[significant(first)..], &last[significant(last)..]);
    (first.len(), first) <= (last.len(), last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(pairs: &[(u64, u64)]) -> Selection {
        Selection::Parts(pairs.iter().map(|&(start, end)| ByteRange { start, end }).collect())
    }

    #[test]
    fn fields_against_a_file_of_a_hundred_bytes() {
        let cases = [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-", parts(&[(0, 100)])),
            ("BYTES=5-9", parts(&[(5, 10)])),
            ("bytes=99-", parts(&[(99, 100)])),
            ("bytes=90-1000", parts(&[(90, 100)])),
            ("bytes=0-99999999999999999999999", parts(&[(0, 100)])),
            ("bytes=-1", parts(&[(99, 100)])),
            ("bytes=-1000", parts(&[(0, 100)])),
            ("bytes=-99999999999999999999999", parts(&[(0, 100)])),
            ("bytes=1-2,5-6", parts(&[(1, 3), (5, 7)])),
            ("bytes=5-6, 1-2", parts(&[(5, 7), (1, 3)])),
            ("bytes=,, 1-2 ,,", parts(&[(1, 3)])),
            ("bytes=1-2,3-4", parts(&[(1, 5)])),
            ("bytes=1-5,3-9", parts(&[(1, 10)])),
            ("bytes=20-29,0-9,10-19", parts(&[(0, 30)])),
            ("bytes=50-59,20-29,0-9,10-19", parts(&[(50, 60), (0, 30)])),
            // What is joined stands where the first of its parts stood.
            ("bytes=10-11,0-1,12-13", parts(&[(10, 14), (0, 2)])),
            ("bytes=0-1,10-11,20-21,2-3", parts(&[(0, 4), (10, 12), (20, 22)])),
            ("bytes=20-29,50-59,0-9,10-19", parts(&[(0, 30), (50, 60)])),
            ("bytes=50-59,0-9,70-79,20-29,10-19", parts(&[(50, 60), (0, 30), (70, 80)])),
            ("bytes=1-2,200-300", parts(&[(1, 3)])),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=100-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=100-200, 300-400", Selection::Unsatisfiable),
            ("bytes=0-,0-", Selection::Whole),
            ("bytes=0-99,-1", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=,", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=2-1", Selection::Whole),
            ("bytes=99999999999999999999999-99999999999999999999998", Selection::Whole),
            ("bytes=1-2,x", Selection::Whole),
            ("bytes=1 - 2", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=--1", Selection::Whole),
            ("bytes=1-2-3", Selection::Whole),
            ("bytes 1-2", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("", Selection::Whole),
        ];
        for (field, expected) in cases {
            assert_eq!(select(field.as_bytes(), 100), expected, "{field}");
        }
    }

    #[test]
    fn one_range_too_many_is_the_whole_file() {
        let field = |count: usize| {
            let specs: Vec<_> = (0..count).map(|i| format!("{0}-{0}", 2 * i)).collect();
            format!("bytes={}", specs.join(","))
        };
        assert!(matches!(select(field(MAX_RANGES).as_bytes(), 1000), Selection::Parts(p) if p.len() == MAX_RANGES));
        assert_eq!(select(field(MAX_RANGES + 1).as_bytes(), 1000), Selection::Whole);
        assert_eq!(select(format!("{},x", field(MAX_RANGES)).as_bytes(), 1000), Selection::Whole);
    }

    #[test]
    fn an_empty_file_is_sent_whole_to_whoever_wants_its_start() {
        for field in ["bytes=0-", "bytes=-5", "bytes=0-0", "bytes=-0", "bytes=1-,0-", "bytes=x"] {
            assert_eq!(select(field.as_bytes(), 0), Selection::Whole, "{field}");
        }
        assert_eq!(select(b"bytes=1-", 0), Selection::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn parts_lie_in_the_file_apart_and_are_no_more_than_it(
            size in 1_u64..500,
            specs in proptest::collection::vec((0_u64..600, proptest::option::of(0_u64..600)), 1..20),
        ) {
            let specs: Vec<_> = specs.into_iter().map(|(first, more)| match more {
                Some(more) => format!("{first}-{}", first + more),
                None => format!("-{first}"),
            }).collect();
            if let Selection::Parts(parts) = select(format!("bytes={}", specs.join(",")).as_bytes(), size) {
                prop_assert!(!parts.is_empty() && parts.len() <= MAX_RANGES);
                prop_assert!(parts.iter().all(|p| p.start < p.end && p.end <= size));
                prop_assert!(parts.iter().map(ByteRange::size).sum::<u64>() <= size);
                for (i, a) in parts.iter().enumerate() {
                    prop_assert!(parts[i + 1..].iter().all(|b| a.end < b.start || b.end < a.start));
                }
            }
        }

        #[test]
        fn no_field_makes_it_panic(field in proptest::collection::vec(any::<u8>(), 0..120), size in any::<u64>()) {
            let _ = select(&field, size);
            // Behind the unit, where something is made of it.
            let _ = select(&[b"bytes=", &field[..]].concat(), size);
            let _ = select(&[b"bytes=0-1,", &field[..]].concat(), size);
        }

        #[test]
        fn no_set_of_specs_makes_it_panic(set in "[-0-9, ]{0,120}", size in any::<u64>()) {
            let _ = select(format!("bytes={set}").as_bytes(), size);
        }
    }
}
