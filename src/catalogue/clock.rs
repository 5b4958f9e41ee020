//! The catalogue's time, which never goes back.
//!
//! Every writing transaction that is told the time asks [`tick`] for the one to write. While the
//! machine's clock runs forward that is the machine's time. When it was set back (by more than
//! [`STEP`]; two processes that read it one after the other and write the other way round differ by
//! less) time goes on from the newest one, at half the clock's pace until the two meet: back-offs
//! still elapse, what is used later still sorts later, and nothing looks idle.

use super::error::Fault;
use super::plan::prepare;
use crate::time::Timestamp;
use rusqlite::Connection;

/// Milliseconds by which the clock may seem to go back without having been set.
const STEP: i64 = 60_000;

/// A moment: what the catalogue calls it and what the machine's clock said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    newest: i64,
    wall: i64,
}

impl Clock {
    /// The moment at which the machine's clock says `now`.
    pub(super) fn at(self, now: Timestamp) -> Self {
        let now = now.as_millis();
        if now >= self.newest {
            return Self { newest: now, wall: now };
        }
        if now < self.wall.saturating_sub(STEP) {
            return Self { newest: self.newest, wall: now };
        }
        let passed = now.saturating_sub(self.wall).max(0);
        Self { newest: self.newest.saturating_add(passed / 2 + passed % 2), wall: self.wall.max(now) }
    }

    /// What the catalogue calls this moment.
    pub(super) fn now(self) -> Timestamp {
        Timestamp::from_millis(self.newest)
    }

    /// What the catalogue calls the moment at which the machine's clock said `then`, which may
    /// have been some time ago.
    pub(super) fn place(self, then: Timestamp) -> Timestamp {
        let millis = then.as_millis();
        if millis >= self.wall {
            self.at(then).now()
        } else {
            Timestamp::from_millis(millis.saturating_add(self.newest.saturating_sub(self.wall)))
        }
    }

    /// What the machine's clock will say when the catalogue's time is `time`.
    pub(super) fn to_wall(self, time: Timestamp) -> Timestamp {
        let ahead = time.as_millis().saturating_sub(self.newest);
        if self.newest == self.wall {
            time
        } else {
            Timestamp::from_millis(self.wall.saturating_add(ahead.max(0).saturating_mul(2)))
        }
    }
}

/// The moment of the last writing transaction.
pub(super) fn read(connection: &Connection) -> Result<Clock, Fault> {
    let mut statement = prepare(connection, "SELECT newest, wall FROM clock WHERE one = 1")?;
    Ok(statement.query_row([], |row| Ok(Clock { newest: row.get(0)?, wall: row.get(1)? }))?)
}

/// Moves the catalogue's time on to when the machine's clock says `now`.
pub(super) fn tick(transaction: &Connection, now: Timestamp) -> Result<Clock, Fault> {
    let clock = read(transaction)?.at(now);
    prepare(transaction, "UPDATE clock SET newest = ?1, wall = ?2 WHERE one = 1")?
        .execute([clock.newest, clock.wall])?;
    Ok(clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn time_is_the_clocks_while_it_runs_forward() {
        let clock = Clock { newest: 0, wall: 0 }.at(at(1_000_000));
        assert_eq!(clock.now(), at(1_000_000));
        assert_eq!(clock.to_wall(at(1_002_000)), at(1_002_000));
        assert_eq!(clock.at(at(999_000)), clock, "a writer that comes late moves nothing");
    }

    #[test]
    fn after_a_step_back_time_goes_on_and_meets_the_clock_again() {
        let ahead = Clock { newest: 0, wall: 0 }.at(at(10_000_000));
        let back = ahead.at(at(6_000_000));
        assert_eq!(back.now(), at(10_000_000));
        let later = back.at(at(6_002_000));
        assert_eq!(later.now(), at(10_001_000));
        assert_eq!(back.to_wall(at(10_001_000)), at(6_002_000), "a back-off is over when it says");
        assert_eq!(later.place(at(6_002_000)), later.now());
        assert_eq!(later.at(at(14_002_000)).now(), at(14_002_000));
    }

    proptest! {
        #[test]
        fn time_never_goes_back_whatever_the_clock_says(nows in prop::collection::vec(any::<i64>(), 1..50)) {
            let mut clock = Clock { newest: 0, wall: 0 };
            for now in nows {
                let next = clock.at(at(now));
                prop_assert!(next.now() >= clock.now());
                prop_assert!(next.now() >= at(now));
                clock = next;
            }
        }
    }

    #[test]
    fn what_was_used_before_the_clock_was_set_back_keeps_its_place_in_the_past() {
        let back = Clock { newest: 0, wall: 0 }.at(at(10_000_000)).at(at(6_000_000));
        // Four thousand seconds ahead of the machine's clock, in the past too.
        assert_eq!(back.place(at(5_990_000)), at(9_990_000));
        assert_eq!(back.place(at(5_999_999)), at(9_999_999));
        assert!(back.place(at(5_990_000)) < back.now());
    }
}
