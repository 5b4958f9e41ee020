//! [`Control`]: how a cook under way is watched and stopped. Owns a few atomics and nothing else:
//! knows neither threads nor clocks, so who stops a cook for its age reads the clock itself.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// A cheap handle on one cook, shared by who cooks and who watches.
///
/// Cancelling takes effect at the next directory and the next unit of output, which is a matter of
/// milliseconds; the first reason given stands.
///
/// ```
/// use larder::cook::control::{Control, Reason};
/// let control = Control::default();
/// assert_eq!(control.cancelled(), None);
/// control.cancel(Reason::Timeout);
/// control.cancel(Reason::Stop);
/// assert_eq!(control.cancelled(), Some(Reason::Timeout));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Control(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    reason: AtomicU8,
    done: AtomicU64,
    found: AtomicU64,
    found_all: AtomicBool,
    /// How often each object is counted; 0 while bytes are.
    passes: AtomicU8,
}

/// Why a cook was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// The process is stopping: the cook goes back to the queue.
    Stop = 1,
    /// It took longer than it may.
    Timeout = 2,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stop => "it was stopped",
            Self::Timeout => "it took too long",
        })
    }
}

/// What a cook's progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of the stream before it is compressed.
    Bytes,
    /// Objects of a history.
    Objects,
}

impl Unit {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Objects => "objects",
        }
    }
}

/// How far a cook has come: of a tree or a content in bytes of its stream before it is compressed, of a
/// history in objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes or objects written.
    pub done: u64,
    /// How many there will be; `None` until the walk has seen all.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
    /// The same for people.
    pub message: &'static str,
}

impl Control {
    /// Tells the cook to end.
    pub fn cancel(&self, reason: Reason) {
        let _ = self.0.reason.compare_exchange(0, reason as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The reason, once the cook was told to end.
    #[must_use]
    pub fn cancelled(&self) -> Option<Reason> {
        match self.0.reason.load(Ordering::Relaxed) {
            0 => None,
            2 => Some(Reason::Timeout),
            _ => Some(Reason::Stop),
        }
    }

    /// How far the cook has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let done = self.0.done.load(Ordering::Relaxed);
        let total = self.0.found_all.load(Ordering::Acquire).then(|| self.0.found.load(Ordering::Relaxed));
        let message = match total {
            None if done == 0 => "reading the tree",
            None => "cooking, still reading the tree",
            Some(total) if done < total => "cooking",
            Some(_) => "written",
        };
        match u64::from(self.0.passes.load(Ordering::Relaxed)) {
            0 => Progress { done, total, unit: Unit::Bytes, message },
            passes => {
                Progress { done: done / passes, total: total.map(|all| all / passes), unit: Unit::Objects, message }
            }
        }
    }

    /// A history has so many objects, and each is worked at so many times.
    pub(crate) fn set_objects(&self, count: u64, passes: u8) {
        self.0.passes.store(passes, Ordering::Relaxed);
        self.set_found(count * u64::from(passes));
        self.set_found_all();
    }

    /// Bytes of the tar stream that the walk has found so far.
    pub(crate) fn set_found(&self, bytes: u64) {
        self.0.found.store(bytes, Ordering::Relaxed);
    }

    /// The walk is over: what was found is all.
    pub(crate) fn set_found_all(&self) {
        self.0.found_all.store(true, Ordering::Release);
    }

    pub(crate) fn add_done(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_a_total_only_when_the_walk_is_over() {
        let control = Control::default();
        control.set_found(10);
        control.add_done(4);
        assert_eq!((control.progress().done, control.progress().total), (4, None));
        control.set_found_all();
        assert_eq!(control.progress(), Progress { done: 4, total: Some(10), unit: Unit::Bytes, message: "cooking" });
    }

    #[test]
    fn objects_that_are_worked_at_twice_are_counted_once() {
        let control = Control::default();
        control.set_objects(10, 2);
        control.add_done(7);
        assert_eq!(control.progress(), Progress { done: 3, total: Some(10), unit: Unit::Objects, message: "cooking" });
    }
}
