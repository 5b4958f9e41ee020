//! Deltas: of any two contents one can be made, and it makes the second of the first.
//!
//! An input is the length of the base in four bytes, the base, the target.

use larder::cook::history::delta::Base;

/// What is taken has a base as long as it says. A delta that would be longer than it may is not made.
pub fn delta(input: &[u8]) -> bool {
    let Some((length, rest)) = input.split_first_chunk() else { return false };
    let Some((content, target)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { return false };
    let base = Base::new(content.to_vec());
    let (mut made, mut again) = (Vec::new(), Vec::new());
    assert!(base.delta(target, usize::MAX / 2, &mut made));
    assert_eq!(applied(content, &made), target);
    // A byte for each 127 at the most, and the two sizes.
    assert!(made.len() <= target.len() + target.len() / 127 + 1 + 20);
    assert!(base.delta(target, made.len(), &mut again) && again == made);
    assert!(!base.delta(target, made.len() - 1, &mut again));
    true
}

/// What a delta makes of a base, as `gitformat-pack(5)` has it, in the fewest words.
fn applied(base: &[u8], delta: &[u8]) -> Vec<u8> {
    let mut rest = delta.iter().copied();
    let mut next = || usize::from(rest.next().expect("because a delta is whole"));
    let mut sizes = [0; 2];
    for size in &mut sizes {
        for shift in (0..).step_by(7) {
            let byte = next();
            *size |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
    }
    assert_eq!(sizes[0], base.len());
    let mut out = Vec::new();
    while out.len() < sizes[1] {
        let code = next();
        if code < 0x80 {
            out.extend((0..code).map(|_| next().to_le_bytes()[0]));
            continue;
        }
        let mut field = |bits: std::ops::Range<usize>| {
            let given = bits.clone().filter(|bit| code >> bit & 1 != 0);
            given.map(|bit| next() << (8 * (bit - bits.start))).sum()
        };
        let (from, length): (usize, usize) = (field(0..4), field(4..7));
        out.extend_from_slice(&base[from..][..if length == 0 { 0x1_0000 } else { length }]);
    }
    assert!(rest.next().is_none() && out.len() == sizes[1]);
    out
}
