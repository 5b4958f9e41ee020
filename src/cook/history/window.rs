//! [`Window`]: objects that are alike, one after the other, each tried as the base of those that come
//! after it. Owns which delta is taken, and the memory that trying takes: at most [`MAX_HELD`] bytes,
//! an object of the largest size that is tried, and what is made of it. Knows no packs and no files.

use super::delta::Base;
use super::forest::{Forest, MAX_DEPTH};
use crate::cook::CookError;
use std::collections::VecDeque;

/// Objects that one is tried with. Git has 10; of the last four little more comes, and they take a
/// third of the time.
const WIDTH: usize = 6;
/// A delta of so many bytes is good enough, whatever others would have, and so is one of so small a part
/// of what it makes.
const ENOUGH: usize = 100;
const ENOUGH_OF: usize = 100;
/// The largest object that is tried at all, in bytes.
pub(super) const MAX_TRIED: u64 = 8 << 20;
/// Bytes of objects, and of the tables of their blocks, that a window holds.
const MAX_HELD: usize = 32 << 20;
/// An object is not made from one so many times its size: to find it there takes more than it gives.
const MAX_RATIO: usize = 32;

/// Reads an object, unless it cannot be had. Whether it is what its id says is seen later.
pub(super) type Read<'a> = dyn FnMut(u32) -> Result<Option<Vec<u8>>, CookError> + 'a;

/// The last objects that went by.
#[derive(Default)]
pub(super) struct Window {
    slots: VecDeque<Slot>,
    held: usize,
    spare: Vec<u8>,
}

struct Slot {
    at: u32,
    size: usize,
    content: Content,
}

enum Content {
    Unread,
    Unreadable,
    Read(Vec<u8>),
    Ready(Base),
}

/// A delta that was found.
pub(super) struct Found {
    pub(super) base: u32,
    /// How deep the base lies.
    depth: usize,
    /// Its instructions.
    pub(super) delta: Vec<u8>,
}

impl Window {
    /// Lets an object go by, which is not larger than those before.
    pub(super) fn push(&mut self, at: u32, size: usize, content: Option<Vec<u8>>) {
        let content = content.map_or(Content::Unread, Content::Read);
        self.held += content.held();
        self.slots.push_back(Slot { at, size, content });
        while self.slots.len() > WIDTH {
            self.held -= self.slots.pop_front().map_or(0, |slot| slot.content.held());
        }
        self.shrink(self.slots.len() - 1);
    }

    /// The best delta that makes an object of one that went by, of at most `most` bytes.
    pub(super) fn best(
        &mut self,
        at: u32,
        target: &[u8],
        most: usize,
        forest: &Forest<'_>,
        read: &mut Read<'_>,
    ) -> Result<Option<Found>, CookError> {
        let mut best: Option<Found> = None;
        let enough = ENOUGH.max(target.len() / ENOUGH_OF);
        for number in (0..self.slots.len()).rev() {
            let slot = &self.slots[number];
            let Some(depth) = forest.depth(at, slot.at) else { continue };
            let most = best.as_ref().map_or(most, |best| best.beaten_at(depth).min(most));
            if slot.size / MAX_RATIO > target.len() || target.len().saturating_sub(slot.size) >= most {
                continue;
            }
            let base = slot.at;
            let Some(ready) = self.ready(number, read)? else { continue };
            let mut delta = std::mem::take(&mut self.spare);
            let is_better = ready.delta(target, most, &mut delta);
            let ready = Content::Ready(ready);
            self.held += ready.held();
            self.slots[number].content = ready;
            if is_better {
                let before = best.replace(Found { base, depth, delta });
                self.spare = before.map(|before| before.delta).unwrap_or_default();
            } else {
                self.spare = delta;
            }
            self.shrink(number);
            if best.as_ref().is_some_and(|best| best.delta.len() <= enough) {
                break;
            }
        }
        Ok(best)
    }

    /// Takes the content of a slot, ready to be a base.
    fn ready(&mut self, number: usize, read: &mut Read<'_>) -> Result<Option<Base>, CookError> {
        let slot = &mut self.slots[number];
        let content = std::mem::replace(&mut slot.content, Content::Unreadable);
        self.held -= content.held();
        Ok(match content {
            Content::Ready(base) => Some(base),
            Content::Read(content) => Some(Base::new(content)),
            Content::Unread => read(slot.at)?.map(Base::new),
            Content::Unreadable => None,
        })
    }

    /// Forgets the contents of the first objects, but that of the slot `kept`, when too much is held. They
    /// can be read again.
    fn shrink(&mut self, kept: usize) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if self.held <= MAX_HELD {
                break;
            }
            if number != kept && slot.content.held() > 0 {
                self.held -= slot.content.held();
                slot.content = Content::Unread;
            }
        }
    }
}

impl Found {
    /// The most bytes that a delta of a base at `depth` may have to be better. Of deltas of like sizes
    /// that on the less deep base is: others can be made from it again.
    fn beaten_at(&self, depth: usize) -> usize {
        let (own, other) = (MAX_DEPTH - self.depth, MAX_DEPTH - depth);
        (self.delta.len() * other / own).saturating_sub(1)
    }
}

impl Content {
    fn held(&self) -> usize {
        match self {
            Self::Unread | Self::Unreadable => 0,
            Self::Read(content) => content.len(),
            Self::Ready(base) => base.held(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::git::delta::apply;
    use crate::cook::history::resolve::NONE;

    /// Texts of 200 lines, each a line longer or shorter than the one before; those of another `seed` have
    /// nothing in common.
    fn text(seed: u64, lines: u64) -> Vec<u8> {
        let line = |n: u64| format!("{:016x}\n", (n + 1).wrapping_mul(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..lines).flat_map(|n| line(n).into_bytes()).collect()
    }

    fn unread(_: u32) -> Result<Option<Vec<u8>>, CookError> {
        panic!("all contents are there")
    }

    #[test]
    fn the_base_that_takes_the_fewest_bytes_is_taken_and_its_delta_makes_the_target() {
        let (bases, heights) = ([NONE; 20], [0; 20]);
        let forest = Forest::new(&bases, &heights);
        let mut window = Window::default();
        let contents: Vec<_> = (0..8).map(|at| text(if at == 3 { 77 } else { 1001 + 2 * at }, 220)).collect();
        for (at, content) in (0..).zip(&contents) {
            window.push(at, content.len(), Some(content.clone()));
        }
        let target = text(77, 200);
        let best = window.best(9, &target, target.len() / 2, &forest, &mut unread).unwrap().unwrap();
        assert_eq!(best.base, 3);
        let mut made = Vec::new();
        apply(&contents[3], &best.delta, &mut made, 1 << 20).unwrap();
        assert_eq!(made, target);
        assert!(window.best(9, &text(5, 200), 1000, &forest, &mut unread).unwrap().is_none());
        // Nine more, and it has gone by.
        (10..19).for_each(|at| window.push(at, 100, Some(text(9, 6))));
        assert!(window.best(9, &target, target.len() / 2, &forest, &mut unread).unwrap().is_none());
    }

    #[test]
    fn of_two_equal_bases_the_less_deep_one_is_taken_whichever_comes_first() {
        let mut bases = [NONE; 45];
        (1..40).for_each(|at| bases[at as usize] = at - 1);
        let heights = [0; 45];
        let (forest, content) = (Forest::new(&bases, &heights), text(77, 220));
        // Of its own it has more than what is good enough.
        let target = [text(77, 200), text(1001, 10)].concat();
        for order in [[39, 41], [41, 39]] {
            let mut window = Window::default();
            for at in order {
                window.push(at, content.len(), Some(content.clone()));
            }
            let best = window.best(42, &target, target.len() / 2, &forest, &mut unread).unwrap().unwrap();
            assert_eq!(best.base, 41);
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_what_was_let_go_of_is_read_again() {
        let (bases, heights) = ([NONE; 40], [0; 40]);
        let forest = Forest::new(&bases, &heights);
        let large = |at: u32| {
            // Each has more of its own than what is good enough.
            let own = text(1001 + 2 * u64::from(at), 6000);
            [text(77, MAX_TRIED / 17 - 6000), own].concat()
        };
        let mut window = Window::default();
        let mut read = 0;
        for at in 0..6 {
            let content = large(at);
            let mut again = |at| {
                read += 1;
                Ok(Some(large(at)))
            };
            let best = window.best(at, &content, 200_000, &forest, &mut again).unwrap();
            assert_eq!(best.is_some(), at > 0);
            window.push(at, content.len(), Some(content));
            let held: usize = window.slots.iter().map(|slot| slot.content.held()).sum();
            assert_eq!(window.held, held);
            assert!(held <= MAX_HELD);
        }
        assert!(read > 0);
    }
}
