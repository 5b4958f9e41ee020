//! [`Forest`]: which objects are made from which, while better bases are looked for. Pure.
//!
//! **Invariant: no object is made from itself**, however many steps lie between: before an object gets
//! a new base, the way from this base down is followed to its end.

use super::resolve::NONE;
use std::collections::HashMap;

/// The most deltas that lie between an object and one that stands for itself, where it is chosen here.
/// Chains that are copied may be longer: what has such a one behind it gets a base that stands for itself.
pub(super) const MAX_DEPTH: usize = 50;
/// Of an object that others are made from, how many steps it takes to the last of them, as far as it
/// is counted.
const MAX_HEIGHT: u8 = u8::MAX;

/// Objects and their bases. Those that were changed are kept apart, so that several can change
/// different ones of the same forest.
pub(super) struct Forest<'a> {
    bases: &'a [u32],
    heights: &'a [u8],
    moved: HashMap<u32, u32>,
    raised: HashMap<u32, u8>,
}

/// For each object how many steps lie between it and the last that is made from it. `order` has every
/// base before what is made from it.
pub(super) fn heights(bases: &[u32], order: &[u32]) -> Vec<u8> {
    let mut heights = vec![0; bases.len()];
    for at in order.iter().rev().map(|at| *at as usize).filter(|at| bases[*at] != NONE) {
        let base = bases[at] as usize;
        heights[base] = u8::max(heights[base], heights[at].saturating_add(1));
    }
    heights
}

/// The order that changes least of `order` and has every base before what is made from it.
pub(super) fn sorted(bases: &[u32], order: &[u32]) -> Vec<u32> {
    let mut done = vec![false; bases.len()];
    let (mut sorted, mut way) = (Vec::with_capacity(order.len()), Vec::new());
    for at in order {
        let mut at = *at;
        while at != NONE && !std::mem::replace(&mut done[at as usize], true) {
            way.push(at);
            at = bases[at as usize];
        }
        sorted.extend(way.drain(..).rev());
    }
    sorted
}

impl<'a> Forest<'a> {
    pub(super) fn new(bases: &'a [u32], heights: &'a [u8]) -> Self {
        Self { bases, heights, moved: HashMap::new(), raised: HashMap::new() }
    }

    /// How deep `base` lies, when `of` may be made from it.
    pub(super) fn depth(&self, of: u32, base: u32) -> Option<usize> {
        let height = self.height(of);
        let most = if height == MAX_HEIGHT { return None } else { (MAX_DEPTH - 1).saturating_sub(usize::from(height)) };
        let (mut depth, mut at) = (0, base);
        loop {
            if at == of || depth > most {
                return None;
            }
            at = self.base(at);
            if at == NONE {
                return Some(depth);
            }
            depth += 1;
        }
    }

    /// Makes `of` from `base`, which [`depth`](Self::depth) allowed.
    pub(super) fn adopt(&mut self, of: u32, base: u32) {
        self.moved.insert(of, base);
        let (mut height, mut at) = (self.height(of).saturating_add(1), base);
        while at != NONE && self.height(at) < height {
            self.raised.insert(at, height);
            height = height.saturating_add(1);
            at = self.base(at);
        }
    }

    fn base(&self, at: u32) -> u32 {
        self.moved.get(&at).copied().unwrap_or(self.bases[at as usize])
    }

    /// At least how many steps lie between it and the last that is made from it.
    fn height(&self, at: u32) -> u8 {
        self.raised.get(&at).copied().unwrap_or(self.heights[at as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Objects of which some are made from those before them, and pairs of an object and a base.
    fn anything() -> impl Strategy<Value = (Vec<u32>, Vec<(u32, u32)>)> {
        (2..200_usize).prop_flat_map(|count| {
            let bases = (0..count).map(|at| (0..=u32::try_from(at).unwrap()).boxed()).collect::<Vec<_>>();
            let pairs = prop::collection::vec((0..count, 0..count), 0..300);
            (bases, pairs).prop_map(|(bases, pairs)| {
                let bases = bases.iter().enumerate().map(|(at, base)| if *base as usize == at { NONE } else { *base });
                let index = |at| u32::try_from(at).unwrap();
                (bases.collect(), pairs.into_iter().map(|(of, base)| (index(of), index(base))).collect())
            })
        })
    }

    /// How many steps lie between each object and one that stands for itself. Ends only without circles.
    fn depths(bases: &[u32]) -> Vec<usize> {
        let depth = |at: u32| {
            let way = std::iter::successors(Some(at), |at| Some(bases[*at as usize]).filter(|base| *base != NONE));
            way.take(bases.len() + 1).count() - 1
        };
        (0..bases.len()).map(|at| depth(u32::try_from(at).unwrap())).collect()
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_no_circle_comes_of_it_and_no_long_chain((bases, pairs) in anything()) {
            let order: Vec<u32> = (0..u32::try_from(bases.len()).unwrap()).collect();
            let heights = heights(&bases, &order);
            let mut forest = Forest::new(&bases, &heights);
            let mut now = bases.clone();
            for (of, base) in pairs {
                let Some(depth) = forest.depth(of, base) else { continue };
                prop_assert_eq!(depth, depths(&now)[base as usize]);
                forest.adopt(of, base);
                now[of as usize] = base;
            }
            let (before, after) = (depths(&bases), depths(&now));
            let longest = before.iter().copied().max().unwrap_or(0);
            prop_assert!(longest > MAX_DEPTH || after.iter().all(|depth| *depth <= MAX_DEPTH));
            let sorted = sorted(&now, &order);
            let mut places = vec![usize::MAX; now.len()];
            sorted.iter().enumerate().for_each(|(place, at)| places[*at as usize] = place);
            for (at, base) in now.iter().enumerate().filter(|(_, base)| **base != NONE) {
                prop_assert!(places[*base as usize] < places[at]);
            }
            prop_assert!(sorted.len() == now.len() && !places.contains(&usize::MAX));
        }
    }

    #[test]
    fn the_order_stays_where_every_base_is_before_what_is_made_from_it() {
        let bases = [NONE, 2, NONE, 2, 3];
        let order = [2, 3, 0, 4, 1];
        assert_eq!(sorted(&bases, &order), order);
        assert_eq!(sorted(&[4, 2, NONE, 2, 3], &[0, 1, 2, 3, 4]), [2, 3, 4, 0, 1]);
        assert_eq!(heights(&bases, &order), [0, 0, 2, 1, 0]);
    }

    #[test]
    fn a_chain_grows_to_its_bound_and_no_further() {
        let count = 200;
        let (bases, order) = (vec![NONE; count], (0..u32::try_from(count).unwrap()).collect::<Vec<_>>());
        let heights = heights(&bases, &order);
        let mut forest = Forest::new(&bases, &heights);
        let last = (1..200).find(|at| {
            let depth = forest.depth(*at, at - 1);
            forest.adopt(*at, at - 1);
            depth.is_none()
        });
        assert_eq!(last, Some(u32::try_from(MAX_DEPTH).unwrap() + 1));
    }
}
