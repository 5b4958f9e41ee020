//! What all readers of an archive share: which `objects` directories there are, and the listings of
//! those in use.
//!
//! Freshness. The listings of open repositories are looked at again once a second while there are
//! readers at work, and at every miss; the folders are scanned for repositories again at a miss, at
//! most once a second, and less often where a scan takes long. Loose objects are asked for by name
//! and need none of this. The clock read here is the monotonic one, and nothing is dated by it.
//!
//! Locks, in the order they are taken: `scan` (held for a whole scan), then `set`, `open` or `stamps`
//! (held for a look-up, never while a file is touched).

use super::discover;
use super::packs::{ObjectDir, Packs, dir_mtime};
use lru::LruCache;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Listings kept open: each maps its packs' indexes, and the packs that were read.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(256).expect("because 256 is not 0");

/// Packs in all listings together: a process may map some 65,000 files.
const MAX_OPEN_PACKS: usize = 16_384;

/// Up to this many repositories, all are looked at again at every miss.
pub(super) const FEW: usize = 64;

const INTERVAL: Duration = Duration::from_secs(1);
const REFRESH_MILLIS: u64 = 1000;

/// A scan may take this part of the time.
const SCAN_SHARE: u32 = 10;

pub(super) struct Shared {
    given: Vec<PathBuf>,
    set: RwLock<Arc<Vec<Arc<ObjectDir>>>>,
    scan: Mutex<Scans>,
    open: Mutex<LruCache<u64, Arc<Packs>>>,
    /// Changes whenever repositories or packs came or went.
    generation: AtomicU64,
    /// Changes whenever repositories came or went.
    sets: AtomicU64,
    /// Stamps of the ids that begin with each byte, and when they were made.
    stamps: Mutex<HashMap<u8, (Instant, u64)>>,
    /// Milliseconds from `start` to when the open listings were last looked at.
    refreshed: AtomicU64,
    start: Instant,
}

#[derive(Default)]
struct Scans {
    finished: Option<(Instant, Duration)>,
    warned: HashSet<PathBuf>,
    repositories: usize,
    /// Numbers given out to object directories.
    numbers: u64,
}

impl Shared {
    pub(super) fn new(given: Vec<PathBuf>) -> Self {
        Self {
            given,
            set: RwLock::default(),
            scan: Mutex::default(),
            open: Mutex::new(LruCache::new(MAX_OPEN)),
            generation: AtomicU64::new(0),
            sets: AtomicU64::new(0),
            stamps: Mutex::default(),
            refreshed: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    /// The paths given, canonical.
    pub(super) fn given(&self) -> &[PathBuf] {
        &self.given
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The object directories known.
    pub(super) fn set(&self) -> Arc<Vec<Arc<ObjectDir>>> {
        self.set.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Scans now, waiting for a scan under way first; gives the number of repositories.
    pub(super) fn scan(&self) -> usize {
        let mut scans = lock(&self.scan);
        self.run_scan(&mut scans);
        scans.repositories
    }

    /// Scans unless that was done a moment ago. Waits for a scan under way.
    pub(super) fn scan_if_due(&self) {
        let mut scans = lock(&self.scan);
        let due = scans.finished.is_none_or(|(at, took)| at.elapsed() >= INTERVAL.max(took * SCAN_SHARE));
        if due {
            self.run_scan(&mut scans);
        }
    }

    fn run_scan(&self, scans: &mut Scans) {
        let began = Instant::now();
        let found = discover::scan(&self.given, &mut scans.warned);
        scans.repositories = found.repositories;
        let old = self.set();
        let known: HashMap<_, _> = old.iter().map(|dir| (&*dir.path, dir)).collect();
        let mut next = || {
            scans.numbers += 1;
            scans.numbers
        };
        let new: Vec<_> = found
            .object_dirs
            .into_iter()
            .map(|path| match known.get(&*path) {
                Some(dir) => (*dir).clone(),
                None => Arc::new(ObjectDir { number: next(), path }),
            })
            .collect();
        let same = new.len() == old.len() && new.iter().zip(old.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
        if !same {
            let numbers: HashSet<_> = new.iter().map(|dir| dir.number).collect();
            lock(&self.open).retain(|number, _| numbers.contains(number));
            *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            self.sets.fetch_add(1, Ordering::AcqRel);
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        scans.finished = Some((Instant::now(), began.elapsed()));
    }

    /// The listing of a directory, made now when it is not open.
    pub(super) fn packs(&self, dir: &Arc<ObjectDir>) -> Arc<Packs> {
        if let Some(packs) = lock(&self.open).get(&dir.number) {
            return packs.clone();
        }
        let packs = Arc::new(Packs::list(dir.clone()));
        self.keep(packs.clone());
        packs
    }

    /// Looks at the open listings again, unless that was done less than a second ago.
    pub(super) fn refresh_if_due(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let last = self.refreshed.load(Ordering::Relaxed);
        if now.saturating_sub(last) < REFRESH_MILLIS {
            return;
        }
        // One thread does it, the others read on.
        if self.refreshed.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let open: Vec<_> = lock(&self.open).iter().map(|(_, packs)| packs.clone()).collect();
            for packs in &open {
                self.refresh(packs);
            }
        }
    }

    /// Looks at one listing again, now.
    pub(super) fn refresh(&self, packs: &Packs) {
        if let Some((new, changed)) = packs.refreshed() {
            self.keep(Arc::new(new));
            if changed {
                self.generation.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// A number that changes when an object whose id begins with `byte` may have appeared.
    ///
    /// Where there are many repositories it is made anew only once a second.
    pub(super) fn stamp(&self, byte: u8) -> u64 {
        self.scan_if_due();
        let set = self.set();
        if set.len() > FEW
            && let Some((at, stamp)) = lock(&self.stamps).get(&byte)
            && at.elapsed() < INTERVAL
        {
            return *stamp;
        }
        let mut hasher = DefaultHasher::new();
        self.sets.load(Ordering::Acquire).hash(&mut hasher);
        let loose = format!("{byte:02x}");
        for dir in set.iter() {
            (dir.number, dir_mtime(&dir.path, "pack"), dir_mtime(&dir.path, &loose)).hash(&mut hasher);
        }
        let stamp = hasher.finish();
        lock(&self.stamps).insert(byte, (Instant::now(), stamp));
        stamp
    }

    fn keep(&self, packs: Arc<Packs>) {
        let mut open = lock(&self.open);
        open.put(packs.dir.number, packs);
        let mut count: usize = open.iter().map(|(_, packs)| packs.len()).sum();
        while count > MAX_OPEN_PACKS && open.len() > 1 {
            count -= open.pop_lru().map_or(0, |(_, packs)| packs.len());
        }
    }
}

/// What a panicking thread left behind a lock here is whole: nothing is changed in two steps.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
