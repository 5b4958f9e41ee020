//! Delta instructions (`gitformat-pack(5)`, "deltified representation"): copies from a base and
//! bytes of their own.

use super::fault::{Fault, corrupt};
use super::pack::shifted;

/// Two sizes of at most ten bytes each stand before the instructions.
pub(crate) const HEADER_BYTES: usize = 20;

/// The sizes in bytes of the base and of the result.
pub(crate) struct Sizes {
    pub(crate) base: u64,
    pub(crate) result: u64,
}

/// One instruction, without the bytes that an insertion carries.
pub(crate) enum Instruction {
    Copy { from: u64, length: usize },
    Insert { length: usize },
}

const CUT: &str = "its delta is cut short";
const OUTSIDE: &str = "its delta copies from beyond its base";
const OTHER_SIZE: &str = "its delta makes another size than it states";

pub(crate) fn read_sizes(next: &mut impl FnMut() -> Result<Option<u8>, Fault>) -> Result<Sizes, Fault> {
    Ok(Sizes { base: read_size(next)?, result: read_size(next)? })
}

/// The next instruction, or `None` at the end.
pub(crate) fn read_instruction(
    next: &mut impl FnMut() -> Result<Option<u8>, Fault>,
) -> Result<Option<Instruction>, Fault> {
    let Some(code) = next()? else { return Ok(None) };
    if code == 0 {
        return Err(corrupt("its delta has an instruction that means nothing"));
    }
    if code & 0x80 == 0 {
        return Ok(Some(Instruction::Insert { length: usize::from(code) }));
    }
    let (mut from, mut length) = (0_u64, 0_usize);
    for bit in 0..4 {
        if code >> bit & 1 != 0 {
            from |= u64::from(next()?.ok_or(corrupt(CUT))?) << (8 * bit);
        }
    }
    for bit in 0..3 {
        if code >> (4 + bit) & 1 != 0 {
            length |= usize::from(next()?.ok_or(corrupt(CUT))?) << (8 * bit);
        }
    }
    Ok(Some(Instruction::Copy { from, length: if length == 0 { 0x10000 } else { length } }))
}

/// Sets `out` to what `delta` makes of `base`, at most `limit` bytes.
pub(crate) fn apply(base: &[u8], delta: &[u8], out: &mut Vec<u8>, limit: u64) -> Result<(), Fault> {
    let mut rest = delta;
    let mut next = || Ok(rest.split_off_first().copied());
    let sizes = read_sizes(&mut next)?;
    if sizes.base != base.len() as u64 {
        return Err(corrupt(OTHER_BASE));
    }
    super::fault::check_size(sizes.result, limit)?;
    let size = usize::try_from(sizes.result).map_err(|_| corrupt(OTHER_SIZE))?;
    out.clear();
    out.reserve_exact(size);
    while let Some(instruction) = read_instruction(&mut || Ok(rest.split_off_first().copied()))? {
        let bytes = match instruction {
            Instruction::Copy { from, length } => {
                let from = usize::try_from(from).map_err(|_| corrupt(OUTSIDE))?;
                base.get(from..).and_then(|base| base.get(..length)).ok_or(corrupt(OUTSIDE))?
            }
            Instruction::Insert { length } => rest.split_off(..length).ok_or(corrupt(CUT))?,
        };
        if bytes.len() > size - out.len() {
            return Err(corrupt(OTHER_SIZE));
        }
        out.extend_from_slice(bytes);
    }
    if out.len() == size { Ok(()) } else { Err(corrupt(OTHER_SIZE)) }
}

pub(crate) const OTHER_BASE: &str = "its delta is for a base of another size";

/// Faults of a delta that is applied in pieces, in the words of [`apply`].
pub(crate) fn cut() -> Fault {
    corrupt(CUT)
}

pub(crate) fn outside() -> Fault {
    corrupt(OUTSIDE)
}

pub(crate) fn other_size() -> Fault {
    corrupt(OTHER_SIZE)
}

fn read_size(next: &mut impl FnMut() -> Result<Option<u8>, Fault>) -> Result<u64, Fault> {
    let (mut size, mut shift) = (0, 0);
    loop {
        let byte = next()?.ok_or(corrupt(CUT))?;
        size |= shifted(byte & 0x7f, shift).ok_or(corrupt("its delta states an impossible size"))?;
        shift += 7;
        if byte & 0x80 == 0 {
            return Ok(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn applied(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut out = Vec::new();
        apply(base, delta, &mut out, 1 << 20).map(|()| out)
    }

    #[test]
    fn copies_and_insertions_make_the_result() {
        let delta = [10, 7, 0x91, 6, 4, 3, b'x', b'y', b'z'];
        assert_eq!(applied(b"0123456789", &delta).unwrap(), b"6789xyz");
    }

    #[test]
    fn a_copy_without_a_length_is_of_64_kib() {
        let base = vec![7; 0x10000];
        assert_eq!(applied(&base, &[0x80, 0x80, 4, 0x80, 0x80, 4, 0x80]).unwrap(), base);
    }

    #[test]
    fn deltas_that_lie_are_refused() {
        let cases: [&[u8]; 9] = [
            &[],
            &[2],
            &[2, 1],
            &[3, 1, 1, b'x'],
            &[2, 1, 0],
            &[2, 1, 2, b'x'],
            &[2, 1, 2, b'x', b'y'],
            &[2, 3, 0x91, 1, 3],
            &[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ];
        for delta in cases {
            assert!(matches!(applied(b"ab", delta), Err(Fault::Corrupt(_))), "{delta:?}");
        }
    }

    #[test]
    fn a_result_over_the_limit_is_refused_before_it_is_made() {
        let delta = [2, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, b'x'];
        assert!(matches!(applied(b"ab", &delta), Err(Fault::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_delta_panic(delta in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = applied(b"0123456789", &delta);
            let _ = applied(b"0123456789", &[&[10, 9][..], &delta].concat());
        }
    }
}
