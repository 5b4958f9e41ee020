//! What the thread that follows the log waits on: that something happened, and that it is to stop.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wakes the thread that follows the log.
#[derive(Debug, Default)]
pub struct Bell {
    /// Held for a few instructions only; no other lock is taken then.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    stopped: bool,
}

impl Bell {
    /// Something happened to the log.
    pub fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    /// Nobody is to wait any more.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    /// Whether it is to stop.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits until it rings or stops, or `longest` is over. One that rang before counts.
    pub(super) fn wait(&self, longest: Duration) {
        self.wait_for(longest, |state| state.rung);
        self.state().rung = false;
    }

    /// Waits until `time` is over; stopping ends it earlier.
    pub(super) fn pause(&self, time: Duration) {
        self.wait_for(time, |_| false);
    }

    fn wait_for(&self, longest: Duration, over: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + longest;
        let mut state = self.state();
        while !state.stopped && !over(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
