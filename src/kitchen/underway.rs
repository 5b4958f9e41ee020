//! What is being cooked in this process, and which bundles wait for it: for progress, time limits and the
//! end of a cook.

use crate::cook::{Control, Progress, Reason};
use crate::key::BundleKey;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many waiting names are remembered, for the sake of their progress.
pub(super) const MAX_NAMES: usize = 16_384;

/// The cooks that are under way. Each map is held for one lookup, and never both.
#[derive(Default)]
pub(super) struct Underway {
    running: Mutex<HashMap<BundleKey, Running>>,
    /// Bundles that wait for the cook of another, which they are a name of. At most `MAX_NAMES`.
    names: Mutex<HashMap<BundleKey, BundleKey>>,
}

struct Running {
    control: Control,
    deadline: Instant,
}

impl Underway {
    /// A cook begins, which is to end by `deadline`.
    pub(super) fn begin(&self, key: BundleKey, control: Control, deadline: Instant) {
        self.running().insert(key, Running { control, deadline });
    }

    /// A cook has ended.
    pub(super) fn end(&self, key: &BundleKey) {
        self.running().remove(key);
    }

    /// `name` waits for the cook of `root`.
    pub(super) fn wait_for(&self, name: BundleKey, root: BundleKey) {
        let mut names = self.names();
        if names.len() < MAX_NAMES {
            names.insert(name, root);
        }
    }

    /// Those that waited for the cook of `root`, which do so no longer.
    pub(super) fn waited_for(&self, root: &BundleKey) -> Vec<BundleKey> {
        self.names().extract_if(|_, of| of == root).map(|(name, _)| name).collect()
    }

    /// How far the cook of a bundle is, or that which it waits for.
    pub(super) fn progress(&self, key: &BundleKey) -> Option<Progress> {
        let root = self.names().get(key).copied();
        self.running().get(&root.unwrap_or(*key)).map(|running| running.control.progress())
    }

    /// How far any one cook is.
    pub(super) fn any_progress(&self) -> Option<Progress> {
        self.running().values().next().map(|running| running.control.progress())
    }

    /// Calls off the cooks whose time is over.
    pub(super) fn end_overdue(&self, now: Instant) {
        for running in self.running().values().filter(|running| running.deadline <= now) {
            running.control.cancel(Reason::Timeout);
        }
    }

    /// Calls off all cooks, for larder stops.
    pub(super) fn call_off(&self) {
        for (key, running) in self.running().iter() {
            tracing::debug!(%key, "back to the queue, for larder is stopping");
            running.control.cancel(Reason::Stop);
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<BundleKey, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<BundleKey, BundleKey>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
