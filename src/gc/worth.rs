//! The policy `gdsf` (Greedy-Dual-Size-Frequency, Cherkasova 1998): what a file is worth keeping.
//! Pure.
//!
//! The worth of a file is `credit + uses * cook / size`: the time that cooking it again would take,
//! times how often it was used, for each KiB that it takes on disk; counted from `credit`, the worth
//! of what was last collected when this file was last used. So what was worth much once and is not
//! used any more is overtaken in time by what is used now.
//!
//! No index can keep this order, for it changes with each use. Only a window is weighed: the
//! [`WINDOW`] least recently used of those that may go. In a store of so few files that is the
//! policy itself; in a larger one it is least recently used first among much that is old, and worth
//! decides within that.

use crate::catalogue::Candidate;

/// How many files are weighed against each other at a time.
pub const WINDOW: usize = 8192;

/// What keeping a file is worth.
#[expect(clippy::cast_precision_loss, reason = "an order of preference needs no last digit")]
pub(super) fn worth(candidate: &Candidate) -> f64 {
    let merit = &candidate.merit;
    let uses = merit.hits.saturating_add(1) as f64;
    // A cook is never free, and a file takes at least a block.
    let millis = merit.cook.as_secs_f64().mul_add(1000.0, 1.0);
    let kibibytes = candidate.allocated.max(512) as f64 / 1024.0;
    merit.credit + uses * millis / kibibytes
}

/// The window in the order in which it goes: the least worth first, then the least recently used.
pub(super) fn weigh(window: &mut [Candidate]) {
    window.sort_by(|a, b| {
        worth(a).total_cmp(&worth(b)).then(a.last_access.cmp(&b.last_access)).then(a.file.cmp(&b.file))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{FileId, Merit};
    use crate::time::Timestamp;
    use std::time::Duration;

    fn file(number: i64, kibibytes: u64, hits: u64, seconds: u64, credit: f64) -> Candidate {
        Candidate {
            file: FileId::from_number(number),
            last_access: Timestamp::from_millis(number),
            allocated: kibibytes << 10,
            pinned: false,
            merit: Merit { hits, cook: Duration::from_secs(seconds), credit },
        }
    }

    #[test]
    fn large_quick_and_unused_goes_before_small_slow_and_used() {
        let base = file(5, 100, 10, 10, 0.0);
        for less in [file(5, 200, 10, 10, 0.0), file(5, 100, 5, 10, 0.0), file(5, 100, 10, 5, 0.0)] {
            assert!(worth(&less) < worth(&base), "{less:?}");
        }
        assert!(worth(&file(5, 100, 10, 10, 1.0)) > worth(&base), "used since more was collected");
    }

    #[test]
    fn equal_worth_goes_by_last_access() {
        let mut window = [file(3, 4, 0, 1, 0.0), file(1, 4, 0, 1, 0.0), file(2, 4, 0, 1, 0.0)];
        weigh(&mut window);
        assert_eq!(window.map(|file| file.last_access.as_millis()), [1, 2, 3]);
    }
}
