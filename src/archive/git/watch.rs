//! Whether a file system answers: one of a network may not, and whoever waits for it waits for ever.
//!
//! Once a second, before somebody touches what is on it, a thread of its own asks it. Where no answer
//! comes in time all who come are told so, and go on elsewhere, until that thread has its answer. So few
//! wait with it: those who were on their way in when it fell silent.

use super::fault::Fault;
use super::open;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long an answer is believed.
const FRESH: Duration = Duration::from_secs(1);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// One file system.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Held for a look.
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    /// When the last came.
    answered: Option<Instant>,
}

impl Watch {
    /// Returns where files on it may be touched, of which the folder at `path` is one.
    pub(super) fn enter(self: &Arc<Self>, path: &Path) -> Result<(), Fault> {
        let fault = |cause| Fault::io("look into", path, cause);
        let mut state = self.state();
        if state.answered.is_some_and(|at| at.elapsed() < FRESH) {
            return Ok(());
        }
        if state.asked.is_none() {
            let (watch, path) = (Arc::clone(self), path.to_owned());
            let thread = std::thread::Builder::new().name("larder-ask".to_owned());
            thread.spawn(move || watch.ask(&path)).map_err(fault)?;
            state.asked = Some(Instant::now());
        }
        while let Some(since) = state.asked {
            let Some(left) = PATIENCE.checked_sub(since.elapsed()) else {
                return Err(fault(io::Error::new(io::ErrorKind::TimedOut, "its file system does not answer")));
            };
            state = self.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn ask(&self, path: &Path) {
        open::ask(path);
        *self.state() = State { asked: None, answered: Some(Instant::now()) };
        self.answered.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_does_not_answer_is_waited_for_once_and_then_left() {
        let watch = Arc::new(Watch::default());
        let path = Path::new("/");
        assert!(watch.enter(path).is_ok());
        // As if a thread had asked and waited since.
        let silent = |ago: Duration| {
            *watch.state() = State { asked: Instant::now().checked_sub(ago), answered: None };
        };
        silent(PATIENCE.mul_f32(0.9));
        let began = Instant::now();
        assert!(watch.enter(path).is_err());
        assert!(began.elapsed() < PATIENCE);
        let began = Instant::now();
        assert!((0..100).all(|_| watch.enter(path).is_err()));
        assert!(began.elapsed() < PATIENCE / 4, "nobody waits any more");
        watch.ask(path);
        assert!(watch.enter(path).is_ok(), "it answers again");
    }
}
