//! [`IdSet`]: ids of objects and their types, in the least memory. Pure.

use crate::archive::ObjectType;
use crate::key::Sha1Git;
use std::hash::{BuildHasher as _, RandomState};

const ID_BYTES: usize = 20;
/// A free place, where the type stands otherwise.
const FREE: u8 = 0xff;
const FIRST_SIZE: usize = 64;

/// A set by open addressing: twenty-one bytes a place, at most three quarters of them taken.
///
/// Who makes a tree chooses the ids in it, so places are by a hash whose key is random.
pub(crate) struct IdSet {
    ids: Vec<[u8; ID_BYTES]>,
    types: Vec<u8>,
    length: usize,
    keys: [u64; 2],
}

impl IdSet {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        let keys = [random.hash_one(1), random.hash_one(2)];
        Self { ids: vec![[0; ID_BYTES]; FIRST_SIZE], types: vec![FREE; FIRST_SIZE], length: 0, keys }
    }

    /// Adds an id, and gives the type that it is known by already, if it is.
    pub(crate) fn insert(&mut self, id: &Sha1Git, object_type: ObjectType) -> Option<ObjectType> {
        let at = self.place(id.as_bytes());
        if self.types[at] != FREE {
            return Some(decode(self.types[at]));
        }
        self.ids[at] = *id.as_bytes();
        self.types[at] = encode(object_type);
        self.length += 1;
        if self.length * 4 > self.ids.len() * 3 {
            self.grow();
        }
        None
    }

    /// Moves all ids and types to the end of `out`.
    pub(crate) fn drain_into(self, out: &mut Vec<(Sha1Git, ObjectType)>) {
        out.reserve(self.length);
        let taken = self.ids.iter().zip(&self.types).filter(|(_, code)| **code != FREE);
        out.extend(taken.map(|(id, code)| (Sha1Git::from_bytes(*id), decode(*code))));
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    fn place(&self, id: &[u8; ID_BYTES]) -> usize {
        let word = |at: usize| u64::from_le_bytes(id[at..at + 8].try_into().expect("because eight bytes are eight"));
        let mixed = u128::from(word(0) ^ self.keys[0]) * u128::from(word(8) ^ self.keys[1]);
        let [low, high] = [mixed, mixed >> 64].map(|half| half & u128::from(u64::MAX));
        let hash = (low ^ high) ^ u128::from(word(12).rotate_left(17));
        // The number of places is a power of two.
        let mask = self.ids.len() - 1;
        let mut at = usize::try_from(hash & u128::from(u32::MAX)).expect("because 32 bits fit") & mask;
        while self.types[at] != FREE && self.ids[at] != *id {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let size = self.ids.len() * 2;
        let ids = std::mem::replace(&mut self.ids, vec![[0; ID_BYTES]; size]);
        let types = std::mem::replace(&mut self.types, vec![FREE; size]);
        for (id, code) in ids.iter().zip(types).filter(|(_, code)| *code != FREE) {
            let at = self.place(id);
            self.ids[at] = *id;
            self.types[at] = code;
        }
    }
}

fn encode(object_type: ObjectType) -> u8 {
    object_type as u8
}

fn decode(code: u8) -> ObjectType {
    match code {
        0 => ObjectType::Blob,
        1 => ObjectType::Tree,
        2 => ObjectType::Commit,
        _ => ObjectType::Tag,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn types_read_back() {
        for object_type in [ObjectType::Blob, ObjectType::Tree, ObjectType::Commit, ObjectType::Tag] {
            assert_eq!(decode(encode(object_type)), object_type);
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_was_inserted_first(ids in proptest::collection::vec((0..300_u16, 0..4_u8), 0..600)) {
            let (mut set, mut model) = (IdSet::new(), BTreeMap::new());
            for (number, code) in ids {
                let mut id = [0; 20];
                id[..2].copy_from_slice(&number.to_be_bytes());
                let id = Sha1Git::from_bytes(id);
                prop_assert_eq!(set.insert(&id, decode(code)), model.get(&id).copied());
                model.entry(id).or_insert(decode(code));
            }
            prop_assert_eq!(set.len(), model.len());
            let mut all = Vec::new();
            set.drain_into(&mut all);
            all.sort_by_key(|(id, _)| *id);
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
