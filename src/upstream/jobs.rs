//! What is asked of the vaults, and what came of it: in memory alone, and bounded. Owns how long an outcome is
//! believed, and the answers that the kitchen gets at once ([`Remote`]).

use super::Upstreams;
use crate::key::{BundleKey, Family, Sha1Git, Swhid};
use crate::kitchen::{Remote, Sought};
use lru::LruCache;
use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// How many things may be asked for or waited for at once; what comes on top is refused.
const MAX_JOBS: usize = 1000;
/// How many outcomes are remembered, and how many ways that requests came.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("because 10,000 is not zero");
/// How long it is believed that no vault has an object.
const ABSENT: Duration = Duration::from_mins(1);
/// How long a vault that is in trouble is not asked again for the same.
const TROUBLED: Duration = Duration::from_secs(2);
/// How long what came may take to be seen in the folder.
const SEEN: Duration = Duration::from_secs(20);
/// The most larders that a request comes through.
const MAX_HOPS: usize = 8;

/// What is asked for: an object, and how much of what it leads to.
pub(super) type Job = (Swhid, Needs);

/// How much of what an object leads to is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Needs {
    /// Its tree, through tags and the commit.
    Tree,
    /// The same, though the directory is here: something in it is not.
    WholeTree,
    /// All of it.
    History,
}

pub(super) struct Jobs {
    /// What waits or is under way, and who is to be told.
    pub(super) open: HashMap<Job, Open>,
    pub(super) queue: VecDeque<Job>,
    pub(super) ended: LruCache<Job, (Ended, Instant)>,
    /// Through which larders the request for a bundle came.
    pub(super) via: LruCache<BundleKey, String>,
}

pub(super) struct Open {
    pub(super) wanted: HashSet<BundleKey>,
    pub(super) said: String,
}

#[derive(Clone)]
pub(super) enum Ended {
    Came,
    Absent(String),
    Troubled(String),
}

impl Jobs {
    pub(super) fn new() -> Self {
        Self {
            open: HashMap::new(),
            queue: VecDeque::new(),
            ended: LruCache::new(REMEMBERED),
            via: LruCache::new(REMEMBERED),
        }
    }
}

impl Remote for Upstreams {
    fn accepts(&self, key: &BundleKey) -> Option<bool> {
        let job = job(key, false);
        let mut jobs = self.jobs();
        if let Some((Ended::Absent(_), at)) = jobs.ended.get(&job)
            && at.elapsed() < ABSENT
        {
            return None;
        }
        Some(jobs.open.contains_key(&job) || jobs.open.len() < MAX_JOBS)
    }

    fn seek(&self, key: &BundleKey, missing: &Sha1Git) -> Sought {
        let job = job(key, *missing != key.id());
        let mut jobs = self.jobs();
        if let Some(open) = jobs.open.get_mut(&job) {
            open.wanted.insert(*key);
            return Sought::Underway;
        }
        match jobs.ended.get(&job) {
            Some((Ended::Came, at)) if at.elapsed() < SEEN => return Sought::Underway,
            Some((Ended::Came, at)) if at.elapsed() < SEEN + ABSENT => {
                return Sought::Absent("what an upstream gave does not have it".to_owned());
            }
            Some((Ended::Absent(why), at)) if at.elapsed() < ABSENT => return Sought::Absent(why.clone()),
            Some((Ended::Troubled(why), at)) if at.elapsed() < TROUBLED => return Sought::Troubled(why.clone()),
            _ => {}
        }
        if jobs.open.len() >= MAX_JOBS {
            return Sought::Troubled("too much is asked of the upstreams already".to_owned());
        }
        jobs.open.insert(job, Open { wanted: HashSet::from([*key]), said: "waiting to ask an upstream".to_owned() });
        jobs.queue.push_back(job);
        drop(jobs);
        self.0.work.notify_one();
        Sought::Underway
    }

    fn said(&self, key: &BundleKey) -> Option<String> {
        let jobs = self.jobs();
        [false, true].iter().find_map(|below| jobs.open.get(&job(key, *below))).map(|open| open.said.clone())
    }

    fn comes_through(&self, key: &BundleKey, via: &str) -> bool {
        let hops: Vec<&str> = via.split(',').map(str::trim).filter(|hop| hop.contains(" larder-")).collect();
        if hops.len() >= MAX_HOPS || hops.iter().any(|hop| hop.split(' ').nth(1) == Some(&self.0.name)) {
            return false;
        }
        if !hops.is_empty() {
            self.jobs().via.put(*key, hops.join(", "));
        }
        true
    }
}

/// What a bundle needs of an upstream, when its object is not here or something `below` it.
fn job(key: &BundleKey, below: bool) -> Job {
    let needs = match (key.format().family(), below) {
        (Family::Flat(_) | Family::Raw, false) => Needs::Tree,
        (Family::Flat(_) | Family::Raw, true) => Needs::WholeTree,
        (Family::History(_), _) => Needs::History,
    };
    (key.swhid(), needs)
}
