//! Bases of deltas that one reader resolved lately: the next tree is often made from the same.
//!
//! Kept small on purpose: of one tree, a file's base is mostly a file near it. It is the large bases
//! that are worth keeping. For the tree of aws-lc, whose tables of some 500 KB are made from each
//! other, 56 MB are inflated so, and 78 MB with bases up to 64 KiB in half the bytes.

use lru::LruCache;

/// Bytes held by one reader.
const CAPACITY: usize = 8 << 20;

/// The same for a walk through a history, where nearly every tree is made from one read just now.
const WIDE_CAPACITY: usize = 32 << 20;

/// A base of more bytes is not kept: it would drive out all others.
const LARGEST: usize = 1 << 20;

/// Least recently used first out, bounded by bytes.
pub(super) struct BaseCache {
    bases: LruCache<(u64, u64), Box<[u8]>>,
    bytes: usize,
    capacity: usize,
}

impl Default for BaseCache {
    fn default() -> Self {
        Self { bases: LruCache::unbounded(), bytes: 0, capacity: CAPACITY }
    }
}

impl BaseCache {
    /// One for a walk through a history.
    pub(super) fn wide() -> Self {
        Self { capacity: WIDE_CAPACITY, ..Self::default() }
    }

    pub(super) fn contains(&self, key: (u64, u64)) -> bool {
        self.bases.contains(&key)
    }

    pub(super) fn get(&mut self, key: (u64, u64)) -> Option<&[u8]> {
        self.bases.get(&key).map(|base| &**base)
    }

    pub(super) fn put(&mut self, key: (u64, u64), base: &[u8]) {
        if base.len() > LARGEST || self.bases.contains(&key) {
            return;
        }
        self.bytes += base.len();
        self.bases.put(key, base.into());
        while self.bytes > self.capacity {
            let Some((_, oldest)) = self.bases.pop_lru() else { break };
            self.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_under_the_capacity() {
        let mut cache = BaseCache::default();
        for key in 0..400 {
            cache.put((1, key), &vec![0; 1 << 15]);
        }
        cache.put((2, 0), &vec![0; LARGEST + 1]);
        assert_eq!(cache.bytes, CAPACITY);
        assert!(cache.contains((1, 399)) && !cache.contains((1, 0)) && !cache.contains((2, 0)));
        assert_eq!(cache.get((1, 399)).map(<[u8]>::len), Some(1 << 15));
    }
}
