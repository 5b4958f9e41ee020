//! The kitchen: orders, the queue's cooks, and the upkeep around them. Owns single flight (through
//! the catalogue), the ownership of cooks and drafts, admission, and the graceful stop. The lowest
//! layer that knows tokio; all it calls blocks and runs on the blocking pool.
//!
//! **The path of a cook.** [`Kitchen::order`] makes the bundle's row and its place in the queue in
//! one transaction, so two that ask at once get one cook. A worker claims the oldest place, cooks
//! into a draft, and [`Catalogue::finish`] publishes it inside the transaction that says `done`.
//!
//! **Who owns what.** A cook belongs to a process, by the name of the folder that the process holds
//! locked, and never to a lease of time. When the folder's lock can be had the process is gone:
//! its cooks go back to the queue and its drafts are deleted, at start-up and every few seconds.
//!
//! **Locks.** The maps of running cooks, of names, of waiters and of absences are each held for one lookup
//! and never together; `admission.rs` says what is held while room is made.

mod absence;
mod admission;
mod blocks;
mod brigade;
mod cooking;
mod figures;
mod health;
#[cfg(test)]
mod kit;
mod ordering;
mod recipe;
mod remote;
mod through;
mod upkeep;
mod waiting;

pub use brigade::Brigade;
pub use health::Trouble;
pub use ordering::{OrderError, RETRY_FAILED_AFTER};
pub use remote::{Remote, Sought};
pub use through::{Stream, ThroughError};

use crate::access::Touches;
use crate::archive::{Archive, BlockedArchive, Blocks, CountedArchive};
use crate::bundle::{Bundle, Status};
use crate::bundles::Bundles;
use crate::catalogue::Catalogue;
use crate::cook::{Control, Progress};
use crate::key::BundleKey;
use crate::limits::{Mode, RoomLimits};
use crate::metrics::Metrics;
use crate::time::Timestamp;
use absence::Absences;
use admission::Room;
pub(crate) use admission::{Reservation, Space};
use blocks::Blocklist;
use health::Health;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};
use waiting::Waiters;
pub use waiting::{Following, Standing};

/// The bounds that the kitchen keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cooks at once.
    pub workers: usize,
    /// Threads of one cook.
    pub cook_threads: usize,
    /// Cooks that may wait.
    pub max_queue: u64,
    /// Largest tar stream, in bytes.
    pub max_bundle_size: u64,
    /// Longest time of one cook.
    pub cook_timeout: Duration,
    /// Whether `gitfast.gz` may be made without what fast-import has no word for.
    pub gitfast_lossy: bool,
    /// What the store may take of the disk.
    pub room: RoomLimits,
}

/// How many waiting names are remembered, for the sake of their progress.
const MAX_NAMES: usize = 16_384;

/// A handle of the kitchen; cheap to clone.
#[derive(Clone)]
pub struct Kitchen(Arc<Shared>);

struct Shared {
    /// What every read goes through.
    archive: Arc<BlockedArchive>,
    blocks: Arc<Blocklist>,
    bundles: Bundles,
    /// Of the same bundles: the queue, and what is blocked.
    catalogue: Catalogue,
    touches: Touches,
    mode: Mode,
    /// Held for a copy, never while another lock is taken.
    limits: RwLock<Limits>,
    /// How many cooks go straight to a client.
    through: Arc<AtomicUsize>,
    room: Arc<Room>,
    absences: Absences,
    /// Where objects are sought that no archive here has.
    remote: OnceLock<Arc<dyn Remote>>,
    /// Places for requests that write the catalogue: see [`Kitchen::place_to_write`].
    writing: Arc<Semaphore>,
    health: Health,
    metrics: Metrics,
    /// One place: for whoever looks up figures.
    looking: Arc<Semaphore>,
    /// The web server's access log, once it is followed.
    access_log: OnceLock<PathBuf>,
    waiters: Waiters,
    /// The cooks of this process that are under way.
    running: Mutex<HashMap<BundleKey, Running>>,
    /// Bundles that wait for the cook of another, which they are a name of. At most `MAX_NAMES`.
    names: Mutex<HashMap<BundleKey, BundleKey>>,
    /// Rung when a place in the queue may be ready.
    work: Notify,
    /// Rung when a new file waits for its SHA-256.
    published: Notify,
    /// Rung when many touches wait.
    touched: Notify,
    /// Turns true once, when no further cook is to begin.
    stopping: watch::Sender<bool>,
}

impl Shared {
    /// The bounds now, all of one time.
    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Running {
    control: Control,
    deadline: Instant,
}

impl Kitchen {
    /// A kitchen that nobody works in yet: see [`Kitchen::start`].
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, bundles: Bundles, limits: Limits) -> Self {
        Self::in_mode(Mode::Normal, archive, bundles, limits)
    }

    /// A kitchen that keeps what it cooks, cooks nothing, or keeps nothing.
    #[must_use]
    pub fn in_mode(mode: Mode, archive: Arc<dyn Archive>, bundles: Bundles, limits: Limits) -> Self {
        let catalogue = bundles.catalogue().clone();
        let blocks = Arc::new(Blocklist::new(catalogue.clone()));
        let metrics = Metrics::default();
        let counted = Arc::new(CountedArchive::new(archive, metrics.reads()));
        let archive = Arc::new(BlockedArchive::new(counted, Arc::clone(&blocks) as Arc<dyn Blocks>));
        let room = Arc::new(Room::new(bundles.clone(), limits.room));
        Self(Arc::new(Shared {
            archive,
            blocks,
            bundles,
            catalogue,
            touches: Touches::default(),
            mode,
            limits: RwLock::new(limits),
            through: Arc::default(),
            room,
            absences: Absences::new(),
            remote: OnceLock::new(),
            writing: Arc::new(Semaphore::new(ordering::WRITING_AT_ONCE)),
            health: Health::default(),
            metrics,
            looking: Arc::new(Semaphore::new(1)),
            access_log: OnceLock::new(),
            waiters: Waiters::default(),
            running: Mutex::default(),
            names: Mutex::default(),
            work: Notify::new(),
            published: Notify::new(),
            touched: Notify::new(),
            stopping: watch::Sender::new(false),
        }))
    }

    /// What is known of a bundle, healed if its file is gone: see [`Bundles::look_up_and_heal`]. Blocking.
    pub fn look_up_and_heal(&self, key: &BundleKey) -> Result<Option<Bundle>, OrderError> {
        Ok(self.0.bundles.look_up_and_heal(key, Timestamp::now())?)
    }

    /// How far the cook of a bundle is, when this process is cooking it or what it is a name of.
    #[must_use]
    pub fn progress(&self, key: &BundleKey) -> Option<Progress> {
        let root = self.names().get(key).copied();
        self.running().get(&root.unwrap_or(*key)).map(|running| running.control.progress())
    }

    /// How far the one cook is that this process is at.
    #[must_use]
    pub fn any_progress(&self) -> Option<Progress> {
        self.running().values().next().map(|running| running.control.progress())
    }

    /// Waits until a bundle is done or failed, or `patience` is over. `false` when so many wait
    /// already that this one may not.
    pub async fn wait(&self, key: &BundleKey, patience: Duration) -> bool {
        let Some(waiter) = self.0.waiters.join(*key) else { return false };
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let bell = waiter.bell.notified();
            tokio::pin!(bell);
            // Before the status is read, so that what happens after it is not missed.
            bell.as_mut().enable();
            let (kitchen, key) = (self.clone(), *key);
            let status = tokio::task::spawn_blocking(move || kitchen.0.catalogue.bundle(&key)).await;
            match status {
                Ok(Ok(Some(bundle))) if matches!(bundle.status, Status::New | Status::Pending) => {}
                _ => return true,
            }
            // Another process may be the one that cooks it, and it rings no bell here.
            let next_look = tokio::time::Instant::now() + Duration::from_secs(1);
            tokio::select! {
                () = bell => {}
                () = tokio::time::sleep_until(next_look.min(deadline)) => {}
                () = self.stopped() => return true,
            }
            if tokio::time::Instant::now() >= deadline {
                return true;
            }
        }
    }

    /// Records a hit on a bundle at this moment.
    pub fn touch(&self, key: &BundleKey) {
        self.0.metrics.hit();
        if self.0.mode == Mode::Normal && self.0.touches.touch(key, Timestamp::now()) {
            self.0.touched.notify_one();
        }
    }

    /// What becomes of orders here.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// Other bounds from now on. What is being cooked keeps those that it began with.
    pub fn set_limits(&self, limits: Limits) {
        *self.0.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.0.room.set_limits(limits.room);
    }

    /// Another archive from now on. What is being cooked goes on with the one that it began with.
    pub fn set_archive(&self, archive: Arc<dyn Archive>) {
        self.0.archive.replace(Arc::new(CountedArchive::new(archive, self.0.metrics.reads())));
        self.0.absences.forget();
    }

    /// Seeks elsewhere what no archive here has, from now on. Once only.
    pub fn set_remote(&self, remote: Arc<dyn Remote>) {
        // The first stays.
        let _ = self.0.remote.set(remote);
    }

    /// Where objects are sought that no archive here has, if anywhere.
    #[must_use]
    pub fn remote(&self) -> Option<&dyn Remote> {
        self.0.remote.get().map(|remote| &**remote)
    }

    fn cook_timeout(&self) -> Duration {
        self.0.limits().cook_timeout
    }

    /// Where objects come from.
    #[must_use]
    pub fn archive(&self) -> &dyn Archive {
        &*self.0.archive
    }

    /// The same, to be kept: it follows [`Kitchen::set_archive`].
    #[must_use]
    pub fn shared_archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.0.archive) as _
    }

    /// What is counted of this kitchen and of those who work with it.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What is cooked here.
    #[must_use]
    pub fn bundles(&self) -> &Bundles {
        &self.0.bundles
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<BundleKey, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn names(&self) -> std::sync::MutexGuard<'_, HashMap<BundleKey, BundleKey>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Resolves when the kitchen stops.
    async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
