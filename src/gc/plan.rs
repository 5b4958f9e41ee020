//! What goes. Pure: a plan is made of an iterator of files in order of last access, of what there
//! is and of the limits; the time is a parameter.

use super::worth::{WINDOW, weigh, worth};
use crate::catalogue::{Candidate, FileId};
use crate::limits::{Policy, RoomLimits};
use crate::store::Free;
use crate::time::Timestamp;
use std::time::Duration;

/// What a collection keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the bundles may take of the disk, what stays whatever they take, and what goes first.
    pub room: RoomLimits,
    /// What was not used for longer than this goes, whatever room there is.
    pub max_idle: Option<Duration>,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// Files in the store.
    pub files: u64,
    /// Bytes that they allocate.
    pub allocated: u64,
    /// What the disk has left.
    pub free: Free,
    /// Bytes for which room is to be made on the disk besides.
    pub wanted: u64,
    /// Bytes of drafts: they count towards `max_size`, and the disk has them already or they are
    /// in `wanted`.
    pub coming: u64,
}

/// What each limit asks to be removed; zero where it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Bytes over `max_size`.
    pub max_size: u64,
    /// Bytes that are missing to `min_free`.
    pub min_free: u64,
    /// Inodes that are missing to `min_free`.
    pub min_free_inodes: u64,
    /// Files idle for longer than `max_idle`.
    pub max_idle: u64,
}

/// Some files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub files: u64,
    /// Bytes that they allocate.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, candidate: &Candidate) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(candidate.allocated);
    }
}

/// What goes, and why not more.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The files that go, in this order. Eight bytes each.
    pub victims: Vec<FileId>,
    /// How much that is.
    pub total: Tally,
    /// The least recent last access among them.
    pub oldest: Option<Timestamp>,
    /// The most recent one.
    pub newest: Option<Timestamp>,
    /// When it was made.
    pub made_at: Timestamp,
    /// What each limit asked for.
    pub asked: Asked,
    /// Those of the victims that only `max_idle` asked for.
    pub by_age_alone: Tally,
    /// Pinned files that would have gone.
    pub pinned: Tally,
    /// Whether the plan ended at files used within the grace.
    pub reached_grace: bool,
    /// Bytes that are still to be freed after it.
    pub missing_bytes: u64,
    /// Inodes that are still to be freed after it.
    pub missing_inodes: u64,
    /// More than half of the store would go because of age alone: the clock may have jumped.
    pub suspicious: bool,
    /// The worth of the last victim, for the policy `gdsf`.
    pub inflation: Option<f64>,
}

impl Plan {
    /// Whether the limits on room hold after it.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.missing_bytes == 0 && self.missing_inodes == 0
    }

    fn take(&mut self, candidate: &Candidate) {
        if self.is_enough() {
            self.by_age_alone.add(candidate);
        }
        self.victims.push(candidate.file);
        self.total.add(candidate);
        self.missing_bytes = self.missing_bytes.saturating_sub(candidate.allocated);
        self.missing_inodes = self.missing_inodes.saturating_sub(1);
        let at = candidate.last_access;
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.newest = Some(self.newest.map_or(at, |newest| newest.max(at)));
    }

    fn take_least_worth(&mut self, window: &mut Vec<Candidate>) {
        weigh(window);
        for candidate in window.drain(..) {
            if self.is_enough() {
                break;
            }
            let least = worth(&candidate);
            self.inflation = Some(self.inflation.map_or(least, |inflation| inflation.max(least)));
            self.take(&candidate);
        }
    }
}

/// Decides what goes of `candidates`, which come in order of last access, least recent first. Reads
/// no further than it must.
///
/// # Errors
/// The first error that `candidates` gives.
pub fn plan<E>(
    candidates: impl IntoIterator<Item = Result<Candidate, E>>,
    stock: &Stock,
    limits: &Limits,
    now: Timestamp,
) -> Result<Plan, E> {
    let mut plan = begin(stock, &limits.room, now);
    if plan.is_enough() && limits.max_idle.is_none() {
        return Ok(plan);
    }
    let mut window = Vec::new();
    for candidate in candidates {
        let candidate = candidate?;
        let unused = now.since(candidate.last_access);
        let idle = limits.max_idle.is_some_and(|span| unused > span);
        if !idle && plan.is_enough() {
            break;
        }
        // What was used after the plan began is young whatever the grace.
        if unused < limits.room.grace || candidate.last_access > now {
            plan.reached_grace = true;
            break;
        }
        if candidate.pinned {
            plan.pinned.add(&candidate);
        } else if idle {
            plan.asked.max_idle += 1;
            plan.take(&candidate);
        } else if limits.room.policy == Policy::Lru {
            plan.take(&candidate);
        } else {
            window.push(candidate);
            if window.len() == WINDOW {
                plan.take_least_worth(&mut window);
            }
        }
    }
    plan.take_least_worth(&mut window);
    let half = |part: u64, whole: u64| part > whole / 2;
    let alone = plan.by_age_alone;
    plan.suspicious = half(alone.files, stock.files) || half(alone.bytes, stock.allocated);
    Ok(plan)
}

/// Whether the limits on room hold as it is, so that there is nothing to plan.
#[must_use]
pub fn holds(stock: &Stock, limits: &RoomLimits) -> bool {
    // Whenever it was made.
    begin(stock, limits, Timestamp::from_millis(0)).is_enough()
}

fn begin(stock: &Stock, limits: &RoomLimits, made_at: Timestamp) -> Plan {
    let free = &stock.free;
    let asked = Asked {
        max_size: limits.max_size.map_or(0, |most| stock.allocated.saturating_add(stock.coming).saturating_sub(most)),
        min_free: limits.min_free.of(free.total_bytes).saturating_add(stock.wanted).saturating_sub(free.bytes),
        min_free_inodes: limits.min_free.inodes_of(free.total_inodes).saturating_sub(free.inodes),
        max_idle: 0,
    };
    Plan {
        victims: Vec::new(),
        total: Tally::default(),
        oldest: None,
        newest: None,
        made_at,
        asked,
        by_age_alone: Tally::default(),
        pinned: Tally::default(),
        reached_grace: false,
        missing_bytes: asked.max_size.max(asked.min_free),
        missing_inodes: asked.min_free_inodes,
        suspicious: false,
        inflation: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Merit;
    use crate::limits::MinFree;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const NOW: i64 = 1_000_000;
    const GRACE: i64 = 100_000;
    const GRACE_SPAN: Duration = Duration::from_millis(GRACE.cast_unsigned());

    fn any_file() -> impl Strategy<Value = Candidate> {
        let merit = (0..9_u64, 0..5000_u64, 0.0..50.0_f64).prop_map(|(hits, millis, credit)| Merit {
            hits,
            cook: Duration::from_millis(millis),
            credit,
        });
        (0..=NOW + 1000, 0..64_u64, prop::bool::weighted(0.2), merit).prop_map(|(at, blocks, pinned, merit)| {
            Candidate {
                file: FileId::from_number(0),
                last_access: Timestamp::from_millis(at),
                allocated: blocks * 512,
                pinned,
                merit,
            }
        })
    }

    /// Files as the catalogue gives them.
    fn any_files() -> impl Strategy<Value = Vec<Candidate>> {
        prop::collection::vec(any_file(), 0..60).prop_map(|mut files| {
            files.sort_by_key(|file| file.last_access);
            (0..).zip(&mut files).for_each(|(number, file)| file.file = FileId::from_number(number));
            files
        })
    }

    fn stock(files: &[Candidate], free: u64) -> Stock {
        let allocated = files.iter().map(|file| file.allocated).sum();
        let free = Free { bytes: free, total_bytes: 1 << 20, inodes: 1000, total_inodes: 2000 };
        Stock { files: files.len() as u64, allocated, free, wanted: 0, coming: 0 }
    }

    fn any_limits() -> impl Strategy<Value = Limits> {
        let policy = prop_oneof![Just(Policy::Lru), Just(Policy::Gdsf)];
        (prop::option::of(0..1_000_000_u64), 0..600_000_u64, prop::option::of(0..2_000_000_u64), policy).prop_map(
            |(max_size, min_free, max_idle, policy)| Limits {
                room: RoomLimits { max_size, min_free: MinFree::Bytes(min_free), grace: GRACE_SPAN, policy },
                max_idle: max_idle.map(Duration::from_millis),
            },
        )
    }

    fn made(files: &[Candidate], stock: &Stock, limits: &Limits) -> Plan {
        let Ok(plan) =
            plan(files.iter().map(|&file| Ok::<_, Infallible>(file)), stock, limits, Timestamp::from_millis(NOW));
        plan
    }

    proptest! {
        #[test]
        fn a_plan_spares_what_it_must_and_stops_as_soon_as_the_limits_hold(
            files in any_files(), free in 0..1_000_000_u64, limits in any_limits(),
        ) {
            let stock = stock(&files, free);
            let plan = made(&files, &stock, &limits);
            let number = |id: &FileId| files.iter().position(|file| file.file == *id).unwrap();
            let victims: Vec<usize> = plan.victims.iter().map(number).collect();
            let mut seen = std::collections::HashSet::new();
            for &victim in &victims {
                prop_assert!(seen.insert(victim), "chosen twice");
                prop_assert!(!files[victim].pinned);
                prop_assert!(files[victim].last_access.as_millis() <= NOW - GRACE, "used within the grace");
            }
            let freed: u64 = victims.iter().map(|&victim| files[victim].allocated).sum();
            prop_assert_eq!(plan.total, Tally { files: victims.len() as u64, bytes: freed });
            prop_assert_eq!(plan.newest, victims.iter().map(|&victim| files[victim].last_access).max());

            let over = |freed: u64| {
                let size = limits.room.max_size.map_or(0, |most| (stock.allocated - freed).saturating_sub(most));
                size.max(limits.room.min_free.of(0).saturating_sub(free + freed))
            };
            prop_assert_eq!(plan.missing_bytes, over(freed));
            let idle = |file: &Candidate| {
                let unused = Duration::from_millis(u64::try_from(NOW - file.last_access.as_millis()).unwrap_or(0));
                limits.max_idle.is_some_and(|most| unused > most)
            };
            let may_go = |file: &&Candidate| !file.pinned && file.last_access.as_millis() <= NOW - GRACE;
            if !plan.is_enough() {
                prop_assert_eq!(victims.len(), files.iter().filter(may_go).count(), "more could have gone");
            }
            prop_assert!(files.iter().filter(may_go).filter(|file| idle(file)).all(|file| seen.contains(&number(&file.file))));
            // Without the last victim the limits did not hold yet.
            if let Some(&last) = victims.last() {
                prop_assert!(idle(&files[last]) || over(freed - files[last].allocated) > 0);
            }
            if limits.room.policy == Policy::Lru {
                prop_assert!(victims.is_sorted(), "least recently used first");
                let eligible: Vec<usize> =
                    (0..files.len()).filter(|&n| may_go(&&files[n])).take(victims.len()).collect();
                prop_assert_eq!(victims, eligible, "none is passed over");
            }
        }
    }

    fn files(count: i64) -> Vec<Candidate> {
        (0..count)
            .map(|number| Candidate {
                file: FileId::from_number(number),
                last_access: Timestamp::from_millis(number * 1000),
                allocated: 4096,
                pinned: false,
                merit: Merit::default(),
            })
            .collect()
    }

    fn limits(max_size: Option<u64>, max_idle: Option<u64>) -> Limits {
        let grace = GRACE_SPAN;
        let room = RoomLimits { max_size, min_free: MinFree::Bytes(0), grace, policy: Policy::Lru };
        Limits { room, max_idle: max_idle.map(Duration::from_millis) }
    }

    #[test]
    fn half_of_the_store_may_go_by_age_alone_and_no_more() {
        let files = files(10);
        // The last access of number n is 1000 n: at NOW - 4500 - 1 five are idle for longer.
        for (idle, suspicious) in [(NOW - 4500, false), (NOW - 5500, true)] {
            let plan = made(&files, &stock(&files, 1 << 20), &limits(None, Some(idle.cast_unsigned())));
            assert_eq!(plan.suspicious, suspicious, "{plan:?}");
            assert_eq!(plan.by_age_alone, plan.total);
        }
        // What max_size asks for is not by age alone, however old.
        let plan = made(&files, &stock(&files, 1 << 20), &limits(Some(4096), Some(0)));
        assert_eq!((plan.total.files, plan.by_age_alone.files, plan.suspicious), (10, 1, false));
    }

    #[test]
    fn inodes_that_are_missing_are_freed_too() {
        let files = files(10);
        let mut stock = stock(&files, 1 << 20);
        stock.free.inodes = 253;
        let plan = made(&files, &stock, &limits(None, None));
        assert_eq!((plan.asked.min_free_inodes, plan.total.files, plan.is_enough()), (3, 3, true));
    }

    #[test]
    fn a_plan_reads_no_further_than_it_must() {
        let files = files(10);
        let first_three = files.iter().take(3).map(|&file| Ok(file)).chain(std::iter::once(Err("read too far")));
        let stock = stock(&files, 1 << 20);
        let plan = plan(first_three, &stock, &limits(Some(8 * 4096), None), Timestamp::from_millis(NOW)).unwrap();
        assert_eq!(plan.total.files, 2);
    }

    #[test]
    fn most_of_the_files_or_most_of_the_bytes_by_age_alone_is_suspicious() {
        let idle_and_large = |idle: usize, large: u64| {
            let mut files = files(4);
            for (number, file) in files.iter_mut().enumerate() {
                let is_idle = number < idle;
                file.last_access = Timestamp::from_millis(if is_idle { 0 } else { NOW - GRACE });
                file.allocated = if is_idle { large } else { 1 << 20 };
            }
            made(&files, &stock(&files, 1 << 20), &limits(None, Some(500_000)))
        };
        for (idle, large, suspicious) in [
            (1, 6 << 20, true),  // a quarter of the files, two thirds of the bytes
            (3, 1 << 15, true),  // three quarters of the files, a tenth of the bytes
            (1, 1 << 20, false), // a quarter of both
            (2, 1 << 20, false), // just half of both
        ] {
            let plan = idle_and_large(idle, large);
            assert_eq!((plan.total.files, plan.suspicious), (idle as u64, suspicious), "{idle} of {large} bytes");
        }
    }

    #[test]
    fn what_is_wanted_comes_on_top_of_what_min_free_keeps() {
        let files = files(10);
        let room = RoomLimits { min_free: MinFree::Bytes(100_000), ..limits(None, None).room };
        for (free, wanted, asked) in [(100_000, 0, 0), (100_000, 5000, 5000), (104_000, 5000, 1000), (105_000, 5000, 0)]
        {
            let stock = Stock { wanted, ..stock(&files, free) };
            let plan = made(&files, &stock, &Limits { room, max_idle: None });
            assert_eq!(plan.asked.min_free, asked, "{free} are free and {wanted} wanted");
            assert!(plan.is_enough());
        }
    }
}
