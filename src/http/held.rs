//! How many bytes are held in memory for clients: bounded for each connection and in all.
//!
//! A connection's [`Purse`] is charged for its requests, their heads and bodies, and for what is on its way to the
//! client. A share of it is the connection's own whatever the others do; beyond that it gets what is left in all. So
//! the most that is held is the limit in all and a share for each connection, and who leaves much unread takes
//! nothing from anybody's share. Knows no request, no socket and no file.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The least that is handed over of a body at a time. Every request has paid for it, so that a body that may be sent
/// is sent, slowly, however much is held.
pub(super) const LEAST: usize = 2048;

/// What a request costs beside its head and its body: what hyper and the answer hold of it, and [`LEAST`].
pub(super) const REQUEST: usize = 2048 + LEAST;

/// How much may be held, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct HeldLimits {
    /// For all connections, before each has only its share.
    pub in_all: usize,
    /// For one connection, whatever is held for others.
    pub share: usize,
    /// For one connection while there is room.
    pub most: usize,
}

impl Default for HeldLimits {
    fn default() -> Self {
        Self { in_all: 64 << 20, share: 128 << 10, most: 1 << 20 }
    }
}

/// What is held for all connections.
#[derive(Debug)]
pub(super) struct Budget {
    limits: HeldLimits,
    held: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limits: HeldLimits) -> Self {
        Self { limits, held: AtomicUsize::new(0) }
    }
}

/// What is held for one connection.
#[derive(Debug)]
pub(super) struct Purse {
    budget: Arc<Budget>,
    held: AtomicUsize,
}

impl Purse {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held: AtomicUsize::new(0) }
    }

    /// Charges `bytes`, or refuses.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let held = self.charge(bytes);
        (self.excess(1) == 0).then_some(held)
    }

    /// Charges as much of `want` as there is room for, halved until it fits, but at least [`LEAST`], which the
    /// request has paid for and so is not charged. Bodies leave half of what there is to further requests.
    pub(super) fn hold_some(self: &Arc<Self>, want: usize) -> Held {
        let mut size = want;
        while size > LEAST {
            let held = self.charge(size);
            if self.excess(2) == 0 {
                return held;
            }
            size /= 2;
        }
        Held { purse: Arc::clone(self), bytes: 0, size: want.min(LEAST) }
    }

    fn charge(self: &Arc<Self>, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Relaxed);
        self.budget.held.fetch_add(bytes, Relaxed);
        Held { purse: Arc::clone(self), bytes, size: bytes }
    }

    /// By how much this connection holds more than this part of what it may at the moment.
    fn excess(&self, part: usize) -> usize {
        let HeldLimits { in_all, share, most } = self.budget.limits;
        let (own, all) = (self.held.load(Relaxed), self.budget.held.load(Relaxed));
        own.saturating_sub(if all > in_all { share } else { most.max(share) } / part)
    }
}

/// Bytes that are held; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    purse: Arc<Purse>,
    /// What was charged.
    bytes: usize,
    /// What may be held for it.
    pub(super) size: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.purse.held.fetch_sub(self.bytes, Relaxed);
        self.purse.budget.held.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purses(count: usize, limits: HeldLimits) -> Vec<Arc<Purse>> {
        let budget = Arc::new(Budget::new(limits));
        (0..count).map(|_| Arc::new(Purse::new(Arc::clone(&budget)))).collect()
    }

    const LIMITS: HeldLimits = HeldLimits { in_all: 100 << 10, share: 16 << 10, most: 64 << 10 };

    #[test]
    fn one_connection_has_its_most_and_everybody_else_at_least_a_share() {
        let purses = purses(9, LIMITS);
        let mut held: Vec<_> = std::iter::from_fn(|| purses[0].hold(8 << 10)).collect();
        assert_eq!(held.len(), 8, "as much as one may while there is room");
        held.extend(std::iter::from_fn(|| purses[1].hold(4 << 10)));
        let all: usize = held.iter().map(|one| one.size).sum();
        assert_eq!(all, 100 << 10, "what is left in all");
        for purse in &purses[2..] {
            let own: Vec<_> = std::iter::from_fn(|| purse.hold(4 << 10)).collect();
            assert_eq!(own.len(), 4, "a share, however much is held");
            held.extend(own);
        }
        drop(held);
        assert_eq!(purses[0].budget.held.load(Relaxed), 0);
        assert!(purses[0].hold(64 << 10).is_some());
    }

    #[test]
    fn a_body_gets_what_there_is_room_for_and_never_nothing() {
        let purses = purses(1, LIMITS);
        let first = purses[0].hold_some(48 << 10);
        let second = purses[0].hold_some(48 << 10);
        let third = purses[0].hold_some(48 << 10);
        assert_eq!([first.size, second.size, third.size], [24 << 10, 6 << 10, LEAST]);
        let rest: Vec<_> = (0..99).map(|_| purses[0].hold_some(48 << 10).size).collect();
        assert_eq!(rest, [LEAST; 99]);
        assert_eq!(purses[0].hold_some(5).size, 5, "no more than is wanted");
        assert!(purses[0].hold(30 << 10).is_some(), "and half is left to requests");
    }
}
