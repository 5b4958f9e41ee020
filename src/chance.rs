//! Chance: what nobody can guess, and waits that are not all alike, so that many who failed together do not come
//! back together.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

/// Bits that nobody can guess. Where the system gives none they are those that the tables of this process are
/// keyed with, so that they still differ from one to the next.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0))
}

/// Some part of `wait` within `percent`, each as likely as another.
pub(crate) fn jittered(wait: Duration, percent: Range<u32>) -> Duration {
    let span = (u64::from(percent.end.saturating_sub(percent.start)) * 10).max(1);
    let thousandths = 10 * percent.start + u32::try_from(random() % span).unwrap_or(0);
    wait.saturating_mul(thousandths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_lie_within_their_bounds_and_are_not_all_alike() {
        let waits: Vec<_> = (0..200).map(|_| jittered(Duration::from_secs(100), 80..140)).collect();
        assert!(waits.iter().all(|wait| (80..140).contains(&wait.as_secs())), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert_eq!(jittered(Duration::from_secs(7), 100..100), Duration::from_secs(7));
    }
}
