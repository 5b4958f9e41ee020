//! [`IdMap`]: ids of objects and something of each. Pure.

use crate::key::Sha1Git;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

const ID_BYTES: usize = 20;

/// A table of ids. `T` should be as small as can be, and need no alignment: it stands beside the
/// twenty bytes of each.
///
/// Who makes a tree chooses the ids in it, so places are by a hash whose key is random. The bits of
/// an id are as good as random but for that, so the hash is one multiplication.
pub(crate) struct IdMap<T>(HashMap<Id, T, Keyed>);

impl<T: Copy> IdMap<T> {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self(HashMap::with_hasher(Keyed([random.hash_one(1), random.hash_one(2)])))
    }

    /// Adds an id, and gives what is known of it already, if it is.
    pub(crate) fn insert(&mut self, id: &Sha1Git, value: T) -> Option<&mut T> {
        match self.0.entry(Id(*id.as_bytes())) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(free) => {
                free.insert(value);
                None
            }
        }
    }

    /// Moves all to the end of `out`.
    pub(crate) fn drain_into(self, out: &mut Vec<(Sha1Git, T)>) {
        out.extend(self.0.into_iter().map(|(id, value)| (Sha1Git::from_bytes(id.0), value)));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[derive(PartialEq, Eq)]
struct Id([u8; ID_BYTES]);

impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// The key of a table.
#[derive(Clone, Copy)]
struct Keyed([u64; 2]);

impl BuildHasher for Keyed {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed { keys: self.0, hash: 0 }
    }
}

/// The hash of one id.
struct Mixed {
    keys: [u64; 2],
    hash: u64,
}

impl Hasher for Mixed {
    fn write(&mut self, id: &[u8]) {
        let word = |at: usize| u64::from_le_bytes(id[at..at + 8].try_into().expect("because eight bytes are eight"));
        let mixed = u128::from(word(0) ^ self.keys[0]) * u128::from(word(8) ^ self.keys[1]);
        let [low, high] = [mixed, mixed >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
        let [low, high] = [low, high].map(|half| half.expect("because 64 bits are left"));
        self.hash = low ^ high ^ word(12).rotate_left(17);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_first(ids in proptest::collection::vec((0..300_u16, 0..4_u8), 0..600)) {
            let (mut map, mut model) = (IdMap::new(), BTreeMap::new());
            for (number, value) in ids {
                let mut id = [0; 20];
                id[..2].copy_from_slice(&number.to_be_bytes());
                let id = Sha1Git::from_bytes(id);
                prop_assert_eq!(map.insert(&id, value).copied(), model.get(&id).copied());
                model.entry(id).or_insert(value);
            }
            prop_assert_eq!(map.len(), model.len());
            let mut all = Vec::new();
            map.drain_into(&mut all);
            all.sort_by_key(|(id, _)| *id);
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
