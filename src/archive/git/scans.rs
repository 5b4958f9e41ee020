//! When the folders are scanned for repositories, and who waits for it. Owns the thread that does it:
//! one at a time, for each scan anew.
//!
//! A scan that stays in one place for seconds, where a file system does not answer, is given up: its
//! thread is left to itself, and the next scan leaves out that place until the thread came back.

use super::discover::Found;
use super::fault::{Fault, Trouble};
use std::collections::{HashMap, HashSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// At least so long from the end of a scan to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// The same after one that failed.
const AGAIN: Duration = Duration::from_millis(100);

/// A scan may take this part of the time.
const SHARE: u32 = 10;

/// How old a scan may become while somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a scan may stay in one place.
const STUCK: Duration = Duration::from_secs(4);

/// Places that scans were left in. With more than these no other is begun.
const MAX_STUCK: usize = 32;

/// The scans of an archive.
#[derive(Default)]
pub(super) struct Scans {
    /// Held for a look.
    state: Mutex<State>,
    /// Rung when a scan ends.
    ended: Condvar,
    /// Whether all wait for a scan to its end.
    patient: AtomicBool,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// When the last ended, and how long it took.
    last: Option<(Instant, Duration)>,
    /// Why the last may not have found all.
    trouble: Option<Trouble>,
    repositories: usize,
    /// Where threads of scans that were given up still are.
    stuck: HashMap<PathBuf, Arc<Progress>>,
}

struct Running {
    since: Instant,
    progress: Arc<Progress>,
}

/// Where a scan is, and which places it leaves out.
pub(super) struct Progress {
    /// Held for a look.
    at: Mutex<(PathBuf, Instant)>,
    avoided: HashSet<PathBuf>,
    given_up: AtomicBool,
}

impl Progress {
    /// Notes that the scan goes on to a path; whether it may.
    pub(super) fn goes_to(&self, path: &Path) -> bool {
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = (path.to_owned(), Instant::now());
        !self.avoided.contains(path) && !self.given_up.load(Ordering::Relaxed)
    }

    fn place(&self) -> (PathBuf, Duration) {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        (at.0.clone(), at.1.elapsed())
    }
}

impl State {
    fn is_due(&self, has_news: bool) -> bool {
        let wait = |took: Duration| match self.trouble {
            Some(_) => AGAIN.max(took),
            None => INTERVAL.max(took * SHARE),
        };
        self.running.is_none()
            && self.stuck.len() <= MAX_STUCK
            && (has_news || self.last.is_none_or(|(at, took)| at.elapsed() >= wait(took)))
    }

    fn begin(&mut self) -> Arc<Progress> {
        let now = Instant::now();
        let (at, avoided) = (Mutex::new((PathBuf::new(), now)), self.stuck.keys().cloned().collect());
        let progress = Arc::new(Progress { at, avoided, given_up: AtomicBool::new(false) });
        self.running = Some(Running { since: now, progress: Arc::clone(&progress) });
        progress
    }

    /// Leaves a scan to itself that has been in one place for too long.
    fn give_up(&mut self) {
        let Some(progress) = self.running.as_ref().map(|running| Arc::clone(&running.progress)) else { return };
        let (place, since) = progress.place();
        if since >= STUCK {
            tracing::error!(path = %place.display(), "it does not answer: other repositories are looked for without it");
            let silent = io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
            self.trouble = Some(Fault::io("look into", &place, silent).trouble());
            progress.given_up.store(true, Ordering::Relaxed);
            self.stuck.insert(place, progress);
            self.running = None;
            self.last = None;
        }
    }
}

impl Scans {
    /// Runs `scan` in this thread once none is under way, and gives how many repositories it found.
    pub(super) fn run_now(&self, scan: impl FnOnce(&Progress) -> Found, take_over: impl FnOnce(Found)) -> usize {
        let mut state = self.state();
        while state.running.is_some() {
            state = self.ended.wait_timeout(state, STUCK).unwrap_or_else(PoisonError::into_inner).0;
            state.give_up();
        }
        let progress = state.begin();
        drop(state);
        self.run_begun(&progress, scan, take_over);
        self.state().repositories
    }

    /// Has `run`, which calls [`Scans::run_begun`], run in a thread of its own when a scan is due or there is
    /// something to be found, and waits for the one under way, until that is [`PATIENCE`] old.
    ///
    /// # Errors
    /// The last scan may not have found all, or has not ended.
    pub(super) fn run_if_due<R: FnOnce(Arc<Progress>) + Send + 'static>(
        &self,
        has_news: impl Fn() -> bool,
        run: impl Fn() -> R,
    ) -> Result<(), Fault> {
        loop {
            // Also after a scan that began before the news.
            let has_news = has_news();
            let mut state = self.state();
            if state.is_due(has_news) {
                let (progress, run) = (state.begin(), run());
                let thread = std::thread::Builder::new().name("larder-scan".to_owned());
                if let Err(cause) = thread.spawn(move || run(progress)) {
                    state.running = None;
                    return Err(fault("begin to look for repositories", cause));
                }
            }
            let Some(since) = state.running.as_ref().map(|running| running.since) else {
                return state.trouble.as_ref().map_or(Ok(()), |trouble| Err(trouble.fault()));
            };
            let patience = if self.patient.load(Ordering::Relaxed) { FOR_EVER } else { PATIENCE };
            let Some(left) = patience.checked_sub(since.elapsed()) else {
                return Err(fault("look for repositories", io::Error::new(io::ErrorKind::TimedOut, "that takes long")));
            };
            state = self.ended.wait_timeout(state, left.min(STUCK / 4)).unwrap_or_else(PoisonError::into_inner).0;
            state.give_up();
        }
    }

    pub(super) fn wait_for_ever(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Runs the scan that was begun; what it found is taken over unless it was given up.
    pub(super) fn run_begun(
        &self,
        progress: &Arc<Progress>,
        scan: impl FnOnce(&Progress) -> Found,
        take_over: impl FnOnce(Found),
    ) {
        let found = catch_unwind(AssertUnwindSafe(|| scan(progress)));
        let mut state = self.state();
        if state.running.as_ref().is_none_or(|running| !Arc::ptr_eq(&running.progress, progress)) {
            state.stuck.retain(|_, left| !Arc::ptr_eq(left, progress));
            return;
        }
        match found {
            Ok(found) => {
                state.repositories = found.repositories;
                state.trouble.clone_from(&found.trouble);
                // Whoever waits for the end of this scan sees what it found.
                take_over(found);
            }
            Err(_) => state.trouble = Some(fault("look for repositories", io::Error::other("it panicked")).trouble()),
        }
        let took = state.running.take().map_or(Duration::ZERO, |running| running.since.elapsed());
        state.last = Some((Instant::now(), took));
        self.ended.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const FOR_EVER: Duration = Duration::from_hours(24 * 365);

fn fault(action: &str, cause: io::Error) -> Fault {
    Fault::Io { action: action.to_owned(), cause }
}
