//! Whether this larder can do its work, and what hinders it: for `/readyz`.
//!
//! What is looked at may hang: a disk, a network file system, a lock. So each look runs on a thread of its
//! own, at most one of a kind at any time, and who asks waits for it no longer than [`LIMIT`]: what has
//! not ended by then hangs, and goes on being waited for by nobody. What a look found is kept for a
//! moment, so that however many ask, the disk is asked about once a second.

use super::Orders;
use crate::archive::{Archive as _, ArchiveError};
use crate::catalogue::{CatalogueError, Loss};
use crate::key::Sha1Git;
use crate::limits::Mode;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(3);

/// How long a look at the store or the catalogue counts.
const KEEP: Duration = Duration::from_secs(1);

/// How long a look at the archive does, which opens more files.
const KEEP_ARCHIVE: Duration = Duration::from_secs(5);

/// How long a transaction may be waited for.
const WRITER_PATIENCE: Duration = Duration::from_secs(2);

/// Something that keeps larder from doing its work. What it says holds no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room for another bundle, and none can be made.
    NoRoom,
    /// The store lies on a disk that cannot be written.
    ReadOnlyStore,
    /// Nothing can be drafted: the folder for it cannot be made or used.
    NoDrafts(io::ErrorKind),
    /// The store's folder was moved away, deleted or replaced.
    StoreGone,
    /// The store does not answer.
    StoreHangs,
    /// The catalogue's file is no longer the one that was opened.
    CatalogueLost(Loss),
    /// The catalogue cannot be read.
    CatalogueUnreadable,
    /// Another process has been writing the catalogue for seconds.
    WriterBlocked,
    /// No transaction can be begun, for another reason.
    CatalogueUnwritable,
    /// The catalogue does not answer.
    CatalogueHangs,
    /// The archive answers with errors.
    ArchiveUnavailable,
    /// The archive does not answer.
    ArchiveHangs,
    /// No thread can be started.
    NoThreads,
}

impl Trouble {
    /// One word for programs, which never changes.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::ReadOnlyStore => "store_read_only",
            Self::NoDrafts(_) => "no_drafts",
            Self::StoreGone => "store_gone",
            Self::StoreHangs => "store_hangs",
            Self::CatalogueLost(_) => "catalogue_lost",
            Self::CatalogueUnreadable => "catalogue_unreadable",
            Self::WriterBlocked => "writer_blocked",
            Self::CatalogueUnwritable => "catalogue_unwritable",
            Self::CatalogueHangs => "catalogue_hangs",
            Self::ArchiveUnavailable => "archive_unavailable",
            Self::ArchiveHangs => "archive_hangs",
            Self::NoThreads => "no_threads",
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "there is no room for another bundle, and none can be made",
            Self::ReadOnlyStore => "the store lies on a file system that is read-only",
            Self::NoDrafts(kind) => return write!(f, "no bundle can be begun in the store: {kind}"),
            Self::StoreGone => "the store's folder was deleted, moved or replaced: start larder again",
            Self::StoreHangs => "the store's disk does not answer",
            Self::CatalogueLost(loss) => {
                return write!(f, "the catalogue {loss}: put it back or repair it, and start larder again");
            }
            Self::CatalogueUnreadable => "the catalogue cannot be read",
            Self::WriterBlocked => "another process has been writing the catalogue for seconds",
            Self::CatalogueUnwritable => "the catalogue cannot be written",
            Self::CatalogueHangs => "the catalogue's disk does not answer",
            Self::ArchiveUnavailable => "the archive cannot be read",
            Self::ArchiveHangs => "the archive does not answer",
            Self::NoThreads => "no thread can be started",
        })
    }
}

/// What is looked at, each by itself.
#[derive(Default)]
pub(super) struct Health {
    store: Probe,
    catalogue: Probe,
    archive: Probe,
}

impl Orders {
    /// What hinders this larder from doing its work; nothing, as far as a look can tell, when all is
    /// well. Takes a few seconds at most, whatever hangs.
    pub async fn health(&self) -> Vec<Trouble> {
        let health = &self.0.health;
        let (normal, reads_objects) = (self.mode() == Mode::Normal, self.mode() != Mode::ReadOnly);
        let of = |look: fn(&Self) -> Vec<Trouble>| {
            let orders = self.clone();
            move || look(&orders)
        };
        let store = async {
            if normal { health.store.look(KEEP, Trouble::StoreHangs, of(look_at_store)).await } else { Vec::new() }
        };
        let catalogue = health.catalogue.look(KEEP, Trouble::CatalogueHangs, of(look_at_catalogue));
        let archive = async {
            let look = of(look_at_archive);
            if reads_objects {
                health.archive.look(KEEP_ARCHIVE, Trouble::ArchiveHangs, look).await
            } else {
                Vec::new()
            }
        };
        let (store, catalogue, archive) = tokio::join!(store, catalogue, archive);
        let mut troubles = [store, catalogue, archive].concat();
        troubles.dedup();
        troubles
    }
}

#[expect(clippy::disallowed_methods, reason = "the disk itself is looked at")]
fn look_at_store(orders: &Orders) -> Vec<Trouble> {
    let (store, room) = (orders.0.bundles.store(), &orders.0.room);
    if matches!(store.is_in_place(), Ok(false)) {
        return vec![Trouble::StoreGone];
    }
    match store.try_draft() {
        Ok(()) => {}
        Err(error) => {
            return vec![match error.kind() {
                io::ErrorKind::ReadOnlyFilesystem => Trouble::ReadOnlyStore,
                io::ErrorKind::StorageFull => Trouble::NoRoom,
                kind => Trouble::NoDrafts(kind),
            }];
        }
    }
    // What else may be wrong with this is the catalogue's, which is looked at by itself.
    let full = room.check().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
    if full { vec![Trouble::NoRoom] } else { Vec::new() }
}

fn look_at_catalogue(orders: &Orders) -> Vec<Trouble> {
    let catalogue = orders.0.catalogue.hurried(WRITER_PATIENCE);
    let lost = |error: &CatalogueError| match error {
        CatalogueError::Lost { loss, .. } => Some(Trouble::CatalogueLost(*loss)),
        _ => None,
    };
    let read = catalogue.look_after_file().and_then(|()| catalogue.totals());
    if let Err(error) = read {
        return vec![lost(&error).unwrap_or(Trouble::CatalogueUnreadable)];
    }
    if orders.mode() != Mode::Normal {
        return Vec::new();
    }
    match catalogue.can_write() {
        Ok(()) => Vec::new(),
        Err(error) if error.is_busy() => vec![Trouble::WriterBlocked],
        Err(error) if error.is_storage_full() => vec![Trouble::NoRoom],
        Err(error) => vec![lost(&error).unwrap_or(Trouble::CatalogueUnwritable)],
    }
}

/// Has the archive look for an object that nobody has.
fn look_at_archive(orders: &Orders) -> Vec<Trouble> {
    match orders.0.archive.reader().header(&Sha1Git::NULL) {
        Err(ArchiveError::Io { .. }) => vec![Trouble::ArchiveUnavailable],
        _ => Vec::new(),
    }
}

/// One kind of look, at most one at a time.
#[derive(Default)]
struct Probe {
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// When the look that is under way began.
    began: Option<Instant>,
    last: Option<(Instant, Vec<Trouble>)>,
}

impl Probe {
    /// What `look` finds, or found within `keep`; `hangs` when it does not come to an end.
    async fn look(
        &self,
        keep: Duration,
        hangs: Trouble,
        look: impl FnOnce() -> Vec<Trouble> + Send + 'static,
    ) -> Vec<Trouble> {
        let ended = self.ended.notified();
        tokio::pin!(ended);
        // Before the state is read, so that an end in between is not missed.
        ended.as_mut().enable();
        let began = {
            let mut state = lock(&self.state);
            match (&state.last, state.began) {
                (Some((at, found)), _) if at.elapsed() < keep => return found.clone(),
                (_, Some(began)) => began,
                (_, None) => {
                    let now = Instant::now();
                    state.began = Some(now);
                    if self.begin(look).is_err() {
                        state.began = None;
                        return vec![Trouble::NoThreads];
                    }
                    now
                }
            }
        };
        let _ = tokio::time::timeout_at((began + LIMIT).into(), ended).await;
        let state = lock(&self.state);
        match (&state.last, state.began) {
            (Some((_, found)), None) => found.clone(),
            _ => vec![hangs],
        }
    }

    fn begin(&self, look: impl FnOnce() -> Vec<Trouble> + Send + 'static) -> io::Result<()> {
        let ending = Ending { state: Arc::clone(&self.state), ended: Arc::clone(&self.ended), found: Vec::new() };
        let run = move || {
            let mut ending = ending;
            ending.found = look();
        };
        std::thread::Builder::new().name("health".to_owned()).spawn(run).map(drop)
    }
}

/// Ends a look when dropped, also by a panic.
struct Ending {
    state: Arc<Mutex<State>>,
    ended: Arc<Notify>,
    found: Vec<Trouble>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.began = None;
        state.last = Some((Instant::now(), std::mem::take(&mut self.found)));
        drop(state);
        self.ended.notify_waiters();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn what_hangs_is_said_to_and_waited_for_by_one_thread_however_many_ask() {
        let probe = Probe::default();
        let looks = Arc::new(AtomicUsize::new(0));
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let look = || {
            let (looks, gate) = (Arc::clone(&looks), Arc::clone(&gate));
            move || {
                looks.fetch_add(1, Ordering::Relaxed);
                let _ = gate.lock().unwrap().recv();
                Vec::new()
            }
        };
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(probe.look(KEEP, Trouble::ArchiveHangs, look()).await, [Trouble::ArchiveHangs]);
        }
        assert!(start.elapsed() < LIMIT * 2, "only the first look is waited for: {:?}", start.elapsed());
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        drop(release);
        while lock(&probe.state).began.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(probe.look(KEEP, Trouble::ArchiveHangs, look()).await, []);
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_a_look_and_what_it_found_is_kept_for_a_moment() {
        let probe = Probe::default();
        let looks = Arc::new(AtomicUsize::new(0));
        let look = || {
            let looks = Arc::clone(&looks);
            move || {
                looks.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
                vec![Trouble::NoRoom]
            }
        };
        let ask = || probe.look(Duration::from_mins(1), Trouble::StoreHangs, look());
        let (a, b, c) = tokio::join!(ask(), ask(), ask());
        assert_eq!([a, b, c, ask().await], [[Trouble::NoRoom]; 4]);
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        assert_eq!(probe.look(Duration::ZERO, Trouble::StoreHangs, look()).await, [Trouble::NoRoom]);
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn an_archive_that_hangs_or_fails_is_named_and_nothing_else_is() {
        let data = tempfile::tempdir().unwrap();
        let (release, gate) = std::sync::mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let hanging = crate::kitchen::kit::orders(data.path(), move |_| {
            let _ = gate.lock().unwrap().recv();
            Ok(None)
        });
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(hanging.health().await, [Trouble::ArchiveHangs]);
        }
        assert!(start.elapsed() < LIMIT * 2, "{:?}", start.elapsed());
        drop(release);

        let data = tempfile::tempdir().unwrap();
        let failing = crate::kitchen::kit::orders(data.path(), |_| {
            Err(ArchiveError::Io { action: "read".to_owned(), cause: io::ErrorKind::StaleNetworkFileHandle.into() })
        });
        assert_eq!(failing.health().await, [Trouble::ArchiveUnavailable]);
    }

    #[tokio::test]
    async fn a_writer_that_is_blocked_is_named() {
        let data = tempfile::tempdir().unwrap();
        let orders = crate::kitchen::kit::orders(data.path(), |_| Ok(None));
        let other = rusqlite::Connection::open(data.path().join("catalogue.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert_eq!(orders.health().await, [Trouble::WriterBlocked]);
        other.execute_batch("COMMIT").unwrap();
        tokio::time::sleep(KEEP).await;
        assert_eq!(orders.health().await, []);
    }
}
