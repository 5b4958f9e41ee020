//! What all readers of an archive share: which `objects` directories there are, and the listings of
//! those in use.
//!
//! Freshness. The listings of open repositories are looked at again once a second while there are
//! readers at work, and at every miss; the folders are scanned for repositories again at a miss, at
//! most once a second, and less often where a scan takes long; at once where something came into the folder
//! of the mirrors (`newcomers`). Loose objects are asked for by name
//! and need none of this. The clock read here is the monotonic one, and nothing is dated by it.
//!
//! A scan runs in a thread of its own (`scans`): who needs it waits for a while and is then told that it
//! cannot be said yet what there is, so that a file system that does not answer holds up nobody for
//! long. What could not be looked at is not gone: its repositories stay known.
//!
//! Locks, in the order they are taken: that of `scans`, then `set`, `open`,
//! `watches` or `stamps`. Each is held for
//! a look-up, never while a file is touched.

use super::discover::{self, Found};
use super::fault::Fault;
use super::newcomers::Newcomers;
use super::pack::Checked;
use super::packs::{ObjectDir, Packs, dir_mtime};
use super::scans::{Progress, Scans};
use super::served::Served;
use super::watch::Watch;
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

/// Bytes of indexes that one miss compares with their checksums, of those that were not yet.
const CHECKED_AT_A_MISS: u64 = 32 << 20;

const INTERVAL: Duration = Duration::from_secs(1);
const REFRESH_MILLIS: u64 = 1000;

pub(super) struct Shared {
    given: Vec<PathBuf>,
    /// Repositories elsewhere that a link may lead to lie below one of these.
    links: Vec<PathBuf>,
    served: Arc<Served>,
    set: RwLock<Arc<Vec<Arc<ObjectDir>>>>,
    scans: Scans,
    newcomers: Newcomers,
    open: Mutex<LruCache<u64, Arc<Packs>>>,
    /// Changes whenever repositories or packs came or went.
    generation: AtomicU64,
    /// Changes whenever repositories came or went.
    sets: AtomicU64,
    /// Stamps of the ids that begin with each byte, and when they were made.
    stamps: Mutex<HashMap<u8, (Instant, u64)>>,
    /// Of the file systems, by the numbers of their devices.
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
    checked: Checked,
    /// Numbers given out to object directories.
    numbers: AtomicU64,
    /// Milliseconds from `start` to when the open listings were last looked at.
    refreshed: AtomicU64,
    start: Instant,
}

impl Shared {
    pub(super) fn new(given: Vec<PathBuf>, links: Vec<PathBuf>) -> Self {
        Self {
            served: Arc::new(Served::new(given.clone())),
            given,
            links,
            set: RwLock::default(),
            scans: Scans::default(),
            newcomers: Newcomers::default(),
            open: Mutex::new(LruCache::new(MAX_OPEN)),
            generation: AtomicU64::new(0),
            sets: AtomicU64::new(0),
            stamps: Mutex::default(),
            watches: Mutex::default(),
            checked: Checked::default(),
            numbers: AtomicU64::new(0),
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

    pub(super) fn served(&self) -> &Arc<Served> {
        &self.served
    }

    pub(super) fn newcomers(&self) -> &Newcomers {
        &self.newcomers
    }

    /// Scans now, however long that takes; gives the number of repositories.
    pub(super) fn scan(&self) -> usize {
        self.scans.run_now(|progress| self.scan_once(progress), |found| self.take_over(found))
    }

    /// Scans unless that was done a moment ago and nothing came since. Waits for a scan under way, but not for long.
    ///
    /// # Errors
    /// It cannot be said that all repositories are known.
    pub(super) fn scan_if_due(self: &Arc<Self>) -> Result<(), Fault> {
        self.scans.run_if_due(
            || self.newcomers.are_there(),
            || {
                let shared = Arc::clone(self);
                move |progress: Arc<Progress>| {
                    let scan = |progress: &Progress| shared.scan_once(progress);
                    shared.scans.run_begun(&progress, scan, |found| shared.take_over(found));
                }
            },
        )
    }

    pub(super) fn wait_for_scans(&self) {
        self.scans.wait_for_ever();
    }

    fn scan_once(&self, progress: &Progress) -> Found {
        self.newcomers.note();
        discover::scan(&self.given, &self.links, &self.served, progress)
    }

    fn take_over(&self, found: Found) {
        let old = self.set();
        let known: HashMap<_, _> = old.iter().map(|dir| (&*dir.path, dir)).collect();
        let seen: HashSet<_> = found.object_dirs.iter().map(|(path, _)| path.clone()).collect();
        // What could not be looked at is as it was.
        let kept = old.iter().filter(|dir| {
            let unseen = found.trouble.is_some() || found.unseen.iter().any(|folder| dir.path.starts_with(folder));
            unseen && !seen.contains(&dir.path)
        });
        let kept: Vec<_> = kept.cloned().collect();
        let make = |(path, device): (PathBuf, u64)| match known.get(&*path) {
            Some(dir) => (*dir).clone(),
            None => Arc::new(ObjectDir {
                number: self.numbers.fetch_add(1, Ordering::Relaxed),
                path,
                served: self.served.clone(),
                watch: lock(&self.watches).entry(device).or_default().clone(),
            }),
        };
        let new: Vec<_> = found.object_dirs.into_iter().map(make).chain(kept).collect();
        let same = new.len() == old.len() && new.iter().zip(old.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
        if !same {
            let numbers: HashSet<_> = new.iter().map(|dir| dir.number).collect();
            lock(&self.open).retain(|number, _| numbers.contains(number));
            *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
            self.sets.fetch_add(1, Ordering::AcqRel);
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The listing of a directory, made now when it is not open, or was not made whole.
    pub(super) fn packs(&self, dir: &Arc<ObjectDir>) -> Arc<Packs> {
        let open = lock(&self.open).get(&dir.number).cloned();
        match open {
            Some(packs) if packs.has_trouble() => {
                self.refresh(&packs);
                lock(&self.open).get(&dir.number).cloned().unwrap_or(packs)
            }
            Some(packs) => packs,
            None => {
                let packs = Arc::new(Packs::list(dir.clone()));
                self.keep(packs.clone());
                packs
            }
        }
    }

    /// Compares indexes with their checksums, before it is said that no object is found in them. Of many
    /// repositories only what is open. Whether to look again.
    pub(super) fn check_indexes(&self) -> Result<bool, Fault> {
        let set = self.set();
        let listings: Vec<_> = if set.len() <= FEW {
            set.iter().map(|dir| self.packs(dir)).collect()
        } else {
            lock(&self.open).iter().map(|(_, packs)| packs.clone()).collect()
        };
        let mut budget = CHECKED_AT_A_MISS;
        for packs in listings {
            packs.whole()?;
            if packs.check(&mut budget, &self.checked)? {
                return Ok(true);
            }
        }
        Ok(false)
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
    pub(super) fn stamp(self: &Arc<Self>, byte: u8) -> u64 {
        if self.scan_if_due().is_err() {
            return self.unlike_any();
        }
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
            let look = || -> Result<_, Fault> {
                dir.watch.enter(&dir.path)?;
                let mtime = |name| dir_mtime(&dir.path, name).map_err(|cause| Fault::io("look at", &dir.path, cause));
                Ok((mtime("pack")?, mtime(&loose)?))
            };
            match look() {
                Ok(times) => (dir.number, times).hash(&mut hasher),
                Err(_) => return self.unlike_any(),
            }
        }
        let stamp = hasher.finish();
        lock(&self.stamps).insert(byte, (Instant::now(), stamp));
        stamp
    }

    /// A stamp that no other is like: nothing that was found before holds.
    fn unlike_any(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.start.elapsed().hash(&mut hasher);
        hasher.finish()
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
