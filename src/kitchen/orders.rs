//! The handle of those who ask: what an order, a look-up and a wait work on.

use super::absence::Absences;
use super::asked::Askers;
use super::blocks::Blocklist;
use super::health::Health;
use super::underway::Underway;
use super::waiting::Waiters;
use super::{Limits, OrderError, Remote, ordering};
use crate::access::Touches;
use crate::admission::{Reservation, Room};
use crate::archive::{Archive, BlockedArchive, Blocks, CountedArchive};
use crate::bundle::Bundle;
use crate::bundles::Bundles;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::cook::{Progress, Remembered};
use crate::key::BundleKey;
use crate::limits::Mode;
use crate::metrics::Metrics;
use crate::time::Timestamp;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::{Notify, Semaphore, watch};

/// Asks for bundles, looks them up, waits for them. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Orders(pub(super) Arc<Shared>);

pub(super) struct Shared {
    /// What every read goes through.
    pub(super) archive: Arc<BlockedArchive>,
    pub(super) blocks: Arc<Blocklist>,
    /// What the walks of trees have seen of this archive.
    pub(super) remembered: Remembered,
    pub(super) bundles: Bundles,
    /// Of the same bundles: the queue, and what is blocked.
    pub(super) catalogue: Catalogue,
    touches: Touches,
    mode: Mode,
    /// Held for a copy, never while another lock is taken.
    limits: RwLock<Limits>,
    pub(super) room: Arc<Room>,
    pub(super) absences: Absences,
    /// Where objects are sought that no archive here has.
    remote: OnceLock<Arc<dyn Remote>>,
    /// Places for requests that write the catalogue: see [`Orders::place_to_write`].
    pub(super) writing: Arc<Semaphore>,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    /// One place: for whoever looks up figures.
    pub(super) looking: Arc<Semaphore>,
    /// The web server's access log, once it is followed.
    pub(super) access_log: OnceLock<PathBuf>,
    pub(super) askers: Askers,
    pub(super) waiters: Waiters,
    /// What the cooks of this process are at.
    pub(super) underway: Underway,
    /// Rung when a place in the queue may be ready.
    pub(super) work: Notify,
    /// Rung when a new file waits for its SHA-256.
    published: Notify,
    /// Rung when many touches wait.
    touched: Notify,
    /// Turns true once, when larder is to stop.
    stopping: watch::Sender<bool>,
}

impl Orders {
    /// The orders of a larder that keeps what it cooks, cooks nothing, or keeps nothing.
    #[must_use]
    pub fn new(mode: Mode, archive: Arc<dyn Archive>, bundles: Bundles, room: Arc<Room>, limits: Limits) -> Self {
        let catalogue = bundles.catalogue().clone();
        let blocks = Arc::new(Blocklist::new(catalogue.clone()));
        let metrics = Metrics::default();
        let counted = Arc::new(CountedArchive::new(archive, metrics.reads()));
        let archive = Arc::new(BlockedArchive::new(counted, Arc::clone(&blocks) as Arc<dyn Blocks>));
        Self(Arc::new(Shared {
            archive,
            blocks,
            remembered: Remembered::default(),
            bundles,
            catalogue,
            touches: Touches::default(),
            mode,
            limits: RwLock::new(limits),
            room,
            absences: Absences::new(),
            remote: OnceLock::new(),
            writing: Arc::new(Semaphore::new(ordering::WRITING_AT_ONCE)),
            health: Health::default(),
            metrics,
            looking: Arc::new(Semaphore::new(1)),
            access_log: OnceLock::new(),
            askers: Askers::default(),
            waiters: Waiters::default(),
            underway: Underway::default(),
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
        self.0.underway.progress(key)
    }

    /// How far the one cook is that this process is at.
    #[must_use]
    pub fn any_progress(&self) -> Option<Progress> {
        self.0.underway.any_progress()
    }

    /// Records a hit on a bundle at this moment.
    pub fn touch(&self, key: &BundleKey) {
        self.0.metrics.hit();
        if self.0.mode == Mode::Normal && self.0.touches.touch(key, Timestamp::now()) {
            self.0.touched.notify_one();
        }
    }

    /// Writes the hits that wait in memory. Blocking.
    pub(crate) fn flush_touches(&self) -> Result<(), CatalogueError> {
        self.0.touches.flush(&self.0.catalogue)
    }

    /// Resolves when many hits wait to be written.
    pub(crate) async fn touched(&self) {
        self.0.touched.notified().await;
    }

    /// A bundle was published: whoever waits for it is woken, and its SHA-256 is to be computed.
    pub(crate) fn announce(&self, key: &BundleKey) {
        self.0.waiters.ring(key);
        self.0.published.notify_one();
    }

    /// Resolves when a bundle was published.
    pub(crate) async fn published(&self) {
        self.0.published.notified().await;
    }

    /// Room for a draft, reserved as the draft grows.
    pub(crate) fn reservation(&self) -> Reservation {
        self.0.room.reservation()
    }

    /// What becomes of orders here.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// The bounds now, all of one time.
    pub(super) fn limits(&self) -> Limits {
        *self.0.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other bounds from now on. What is being cooked keeps those that it began with.
    pub fn set_limits(&self, limits: Limits) {
        *self.0.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        self.0.room.set_limits(limits.room);
        self.0.work.notify_waiters();
    }

    /// Another archive from now on. What is being cooked goes on with the one that it began with.
    pub fn set_archive(&self, archive: Arc<dyn Archive>) {
        self.0.archive.replace(Arc::new(CountedArchive::new(archive, self.0.metrics.reads())));
        self.0.absences.forget();
        self.0.remembered.forget();
    }

    /// Where objects come from.
    #[must_use]
    pub fn archive(&self) -> &dyn Archive {
        &*self.0.archive
    }

    /// The same, to be kept: it follows [`Orders::set_archive`].
    #[must_use]
    pub fn shared_archive(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.0.archive) as _
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

    /// What is counted of these orders, and of those who work with them.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// This access log of the web server in front is followed. One at most is.
    pub(crate) fn follows(&self, log: PathBuf) {
        let _ = self.0.access_log.set(log);
    }

    /// What is ordered here.
    #[must_use]
    pub fn bundles(&self) -> &Bundles {
        &self.0.bundles
    }

    /// What bundles may take of the disk.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.0.room
    }

    /// Takes up the cooks of dead processes: see [`Bundles::take_from_the_dead`]. Blocking.
    pub fn recover(&self) {
        match self.0.bundles.take_from_the_dead(Timestamp::now()) {
            Ok(0) => {}
            Ok(cooks) => {
                tracing::info!(cooks, "took up the cooks of processes that are gone");
                self.0.work.notify_waiters();
            }
            Err(error) => tracing::warn!(%error, "cannot look after dead processes"),
        }
    }

    /// Ends all waits, chores and workers, as soon as each can.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// Resolves when larder stops.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
