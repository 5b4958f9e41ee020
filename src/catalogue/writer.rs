//! The one connection that writes, and those who wait for it.
//!
//! Who writes needs the connection, which this process has one of, and then SQLite's write lock, which
//! any other process may hold. Both waits end at one deadline: with a lock per process and a time
//! limit on SQLite's alone, the waits of a thousand orders would be served one behind the other.
//!
//! The connection is handed on in the order in which it was asked for. The mutex guards the queue and
//! the idle connection, and is never held while SQLite works.

use super::error::Fault;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one waits who is told no other time: workers, chores and commands.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// SQLite waits at least so long once the connection is had, for a moment's collision.
const LEAST: Duration = Duration::from_millis(5);

/// The connection, or who has it.
#[derive(Debug)]
pub(super) struct Writer {
    state: Mutex<State>,
    /// Rung when the connection comes back, or the first in the queue has left it.
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    /// `None` while it is lent.
    idle: Option<Connection>,
    /// Those who wait for it, each by its number.
    queue: VecDeque<u64>,
    next: u64,
    /// When a transaction last began.
    began: Option<Instant>,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        let state = State { idle: Some(connection), queue: VecDeque::new(), next: 0, began: None };
        Self { state: Mutex::new(state), moved: Condvar::new() }
    }

    /// The connection, as soon as it is this caller's turn.
    ///
    /// # Errors
    /// [`Fault::Busy`] when that takes longer than `patience`.
    pub(super) fn lend(&self, patience: Duration) -> Result<Lent<'_>, Fault> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.queue.push_back(number);
        loop {
            if state.queue.front() == Some(&number)
                && let Some(connection) = state.idle.take()
            {
                state.queue.pop_front();
                return Ok(Lent { writer: self, connection: Some(connection), deadline });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.queue.retain(|waiting| *waiting != number);
                drop(state);
                self.moved.notify_all();
                return Err(Fault::Busy);
            }
            state = self.moved.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How long ago a transaction last began; `None` when none has.
    pub(super) fn last_began(&self) -> Option<Duration> {
        self.lock().began.map(|began| began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection on loan.
pub(super) struct Lent<'w> {
    writer: &'w Writer,
    connection: Option<Connection>,
    deadline: Instant,
}

impl Lent<'_> {
    /// Begins a transaction that holds the write lock, within what is left of the time.
    pub(super) fn begin(&mut self) -> Result<Transaction<'_>, Fault> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(LEAST);
        let connection = self.connection.as_mut().expect("because it is given back only when this is dropped");
        connection.busy_timeout(left)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.writer.lock().began = Some(Instant::now());
        Ok(transaction)
    }
}

impl Deref for Lent<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("because it is given back only when this is dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.writer.lock().idle = self.connection.take();
        self.writer.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn writer() -> Writer {
        Writer::new(Connection::open_in_memory().unwrap())
    }

    #[test]
    fn all_who_wait_give_up_within_one_patience_and_not_one_behind_the_other() {
        let writer = writer();
        let held = writer.lend(Duration::ZERO).unwrap();
        let start = Instant::now();
        let given_up = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    assert!(matches!(writer.lend(Duration::from_millis(300)).err(), Some(Fault::Busy)));
                    given_up.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert_eq!(given_up.into_inner(), 20);
        drop(held);
        assert!(writer.lend(Duration::ZERO).is_ok(), "none of them is still in the queue");
    }

    #[test]
    fn the_connection_is_handed_on_in_the_order_of_asking() {
        let writer = writer();
        let held = writer.lend(Duration::ZERO).unwrap();
        let served = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 0..5 {
                let (writer, served) = (&writer, &served);
                scope.spawn(move || {
                    let _lent = writer.lend(Duration::from_mins(1)).unwrap();
                    served.lock().unwrap().push(number);
                });
                while writer.lock().queue.len() <= number {
                    std::thread::yield_now();
                }
            }
            drop(held);
        });
        assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_panic_gives_the_connection_back() {
        let writer = writer();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut lent = writer.lend(Duration::ZERO).unwrap();
            let _transaction = lent.begin().unwrap();
            panic!("in the middle");
        }));
        assert!(panicked.is_err());
        let mut lent = writer.lend(Duration::ZERO).unwrap();
        assert!(lent.begin().is_ok(), "and what was begun was rolled back");
    }
}
