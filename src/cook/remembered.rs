//! What the walk of a tree needs of its objects, remembered from one cook to the next: trees, with the
//! sizes of the files in them; sizes of files, for trees that have changed; targets of symlinks.
//!
//! Commits of one repository differ in a handful of files, so that the next one's walk asks the archive
//! for a handful of trees. What is remembered was read and hashed before, but for the sizes, which are as the
//! archive said: a content that turns out to be of another size has all forgotten.
//!
//! Bounded: 16 MiB of trees, 131,072 sizes (some 12 MiB), 1,024 targets of at most 4 KiB. Least
//! recently used go first.

use crate::key::Sha1Git;
use lru::LruCache;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of trees.
const TREES: usize = 16 << 20;
/// Files whose sizes are remembered by themselves.
const SIZES: usize = 1 << 17;
/// Symlinks.
const TARGETS: usize = 1 << 10;

/// A tree, and the sizes of the files that it names.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) tree: Box<[u8]>,
    /// One for each entry; 0 for what is no file.
    pub(super) sizes: Box<[u64]>,
}

impl Listing {
    fn weight(&self) -> usize {
        self.tree.len() + size_of_val(&*self.sizes) + 128
    }
}

/// The memory; shared by all cooks of a process.
#[derive(Debug)]
pub struct Remembered {
    /// Held for a few look-ups, never while another lock is taken or anything is read.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    trees: LruCache<Sha1Git, Arc<Listing>>,
    weight: usize,
    sizes: LruCache<Sha1Git, u64>,
    targets: LruCache<Sha1Git, Arc<[u8]>>,
}

impl Default for Remembered {
    fn default() -> Self {
        let state = State {
            trees: LruCache::unbounded(),
            weight: 0,
            sizes: LruCache::unbounded(),
            targets: LruCache::unbounded(),
        };
        Self { state: Mutex::new(state) }
    }
}

impl Remembered {
    /// Forgets all: the archive is another, or has said what is not so.
    pub fn forget(&self) {
        *self.lock() = Self::default().state.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    pub(super) fn tree(&self, id: &Sha1Git) -> Option<Arc<Listing>> {
        self.lock().trees.get(id).map(Arc::clone)
    }

    /// A tree that may stand in a flat bundle.
    pub(super) fn put_tree(&self, id: Sha1Git, listing: &Arc<Listing>) {
        let mut state = self.lock();
        state.weight += listing.weight();
        if let Some(old) = state.trees.put(id, Arc::clone(listing)) {
            state.weight -= old.weight();
        }
        while state.weight > TREES {
            let Some((_, oldest)) = state.trees.pop_lru() else { break };
            state.weight -= oldest.weight();
        }
    }

    /// The sizes of these files, in order, as far as they are known.
    pub(super) fn sizes(&self, ids: &[Sha1Git]) -> Vec<Option<u64>> {
        let mut state = self.lock();
        ids.iter().map(|id| state.sizes.get(id).copied()).collect()
    }

    pub(super) fn put_sizes(&self, sizes: &[(Sha1Git, u64)]) {
        let mut state = self.lock();
        for (id, size) in sizes {
            put(&mut state.sizes, SIZES, *id, *size);
        }
    }

    pub(super) fn target(&self, id: &Sha1Git) -> Option<Arc<[u8]>> {
        self.lock().targets.get(id).map(Arc::clone)
    }

    pub(super) fn put_target(&self, id: Sha1Git, target: &[u8]) {
        put(&mut self.lock().targets, TARGETS, id, target.into());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put<K: Eq + Hash, V>(cache: &mut LruCache<K, V>, most: usize, key: K, value: V) {
    cache.put(key, value);
    while cache.len() > most {
        cache.pop_lru();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Sha1Git {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Sha1Git::from_bytes(bytes)
    }

    fn listing(bytes: usize) -> Arc<Listing> {
        Arc::new(Listing { tree: vec![1; bytes].into(), sizes: Box::new([7]) })
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes_when_there_is_too_much() {
        let remembered = Remembered::default();
        for number in 0..40 {
            remembered.put_tree(id(number), &listing(1 << 20));
            assert!(remembered.tree(&id(0)).is_some(), "{number}");
        }
        let held = (0..40).filter(|number| remembered.tree(&id(*number)).is_some()).count();
        assert_eq!(held, 15);
        let all: Vec<_> = (0..200_000).map(|number| (id(number), u64::from(number))).collect();
        remembered.put_sizes(&all);
        let sizes = remembered.sizes(&all.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        assert_eq!(sizes.iter().flatten().count(), SIZES);
        assert_eq!(sizes[199_999], Some(199_999));
        for number in 0..2000 {
            remembered.put_target(id(number), b"there");
        }
        assert!(remembered.target(&id(0)).is_none() && remembered.target(&id(1999)).is_some());
        remembered.forget();
        assert!(remembered.tree(&id(0)).is_none() && remembered.target(&id(1999)).is_none());
        assert_eq!(remembered.sizes(&[id(199_999)]), [None]);
    }

    #[test]
    fn a_tree_that_comes_again_is_counted_once() {
        let remembered = Remembered::default();
        for _ in 0..100 {
            remembered.put_tree(id(1), &listing(1 << 20));
        }
        assert!(remembered.tree(&id(1)).is_some());
        assert_eq!(remembered.lock().weight, listing(1 << 20).weight());
    }
}
