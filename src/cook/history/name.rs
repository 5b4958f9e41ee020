//! [`Name`]: of the name of a file, what tells which files are alike. Pure.

/// Files of one name have the same one; those of one ending have such as lie near each other. Few other
/// files have it too.
///
/// Four bytes, and no alignment: one stands beside the id of every object that a walk meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name([u8; 4]);

/// Of a name the first and the last bytes count, so many.
const WORD: usize = 8;
/// Bytes that make an ending.
const ENDING: usize = 3;

impl Name {
    /// That of what has no name: commits, tags, the trees of commits.
    pub(super) const NONE: Self = Self([0; 4]);

    pub(super) fn of(name: &[u8]) -> Self {
        let (first, last) = match (name.first_chunk::<WORD>(), name.last_chunk::<WORD>()) {
            (Some(first), Some(last)) => (u64::from_be_bytes(*first), u64::from_be_bytes(*last)),
            _ => (name.len() as u64, number(name)),
        };
        let ending = number(&name[name.len().saturating_sub(ENDING)..]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let whole = (first ^ last.rotate_left(23)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        let whole = (whole ^ whole >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93).to_be_bytes();
        Self([ending.to_be_bytes()[0], whole[0], whole[1], whole[2]])
    }
}

/// At most eight bytes as a number.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn few_names_are_taken_for_one_another_and_those_of_one_ending_lie_together() {
        let names = |ending: &'static str| (0..1000).map(move |n| Name::of(format!("n{n}{ending}").as_bytes()));
        for endings in [[".rs", ".toml"], ["", "x"], [".very_long_ending", ".another_long_one"]] {
            let all: BTreeSet<_> = endings.into_iter().flat_map(names).collect();
            assert!(all.len() > 1990, "{endings:?}: {}", all.len());
        }
        let (rust, toml) = (names(".rs").collect::<BTreeSet<_>>(), names("toml").collect::<BTreeSet<_>>());
        assert!(rust.last() < toml.first() || toml.last() < rust.first());
        assert_eq!(Name::of(b"lib.rs"), Name::of(b"lib.rs"));
    }
}
