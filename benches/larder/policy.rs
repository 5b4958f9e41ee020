//! The policies of collection played against traces: how often a bundle is there when it is asked
//! for, and how many seconds of CPU are spent on cooking again what had gone. Nothing is cooked: the
//! plans are those of `gc`, the rest is simulated.

use larder::catalogue::{Candidate, FileId, Merit};
use larder::gc::{self, Limits, Plan, Stock};
use larder::limits::{MinFree, Policy, RoomLimits};
use larder::store::Free;
use larder::time::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::time::Duration;

use super::common::kitchenware::Random;

const OBJECTS: usize = 20_000;
const REQUESTS: usize = 100_000;
/// Milliseconds between two requests.
const PACE: i64 = 1000;

/// A bundle that may be asked for.
struct Object {
    allocated: u64,
    cook: Duration,
}

/// What came of a trace.
#[derive(Default)]
struct Outcome {
    hits: u64,
    cooked_again: Duration,
}

/// Both policies on both traces, for a store of a twentieth and of a fifth of all bytes.
pub(super) fn of_collection() {
    let mut random = Random::new(11);
    let objects: Vec<Object> = (0..OBJECTS).map(|_| object(&mut random)).collect();
    let all: u64 = objects.iter().map(|object| object.allocated).sum();
    let zipf = zipf(&mut random, OBJECTS, REQUESTS);
    println!("\npolicies: {OBJECTS} bundles of {} GiB, {REQUESTS} requests", all >> 30);
    for (name, trace) in [("Zipf", zipf.clone()), ("Zipf and scans", with_scans(&zipf))] {
        for share in [20, 5] {
            for policy in [Policy::Lru, Policy::Gdsf] {
                let outcome = play(&objects, &trace, all / share, policy);
                println!(
                    "  {name:<15} store of 1/{share:<3} {policy:<5} hits {:5.1}%   {:>8.0} s cooked again",
                    100.0 * outcome.hits as f64 / trace.len() as f64,
                    outcome.cooked_again.as_secs_f64()
                );
            }
        }
    }
}

/// Sizes over four orders of magnitude. A cook takes 20 ms and a second for 30 MB, give or take a
/// factor of up to four: deep histories of deltas cost, text compresses.
fn object(random: &mut Random) -> Object {
    let mut unit = || random.below(1 << 20) as f64 / f64::from(1 << 20);
    let bytes = 10_f64.powf(unit().mul_add(4.0, 4.0));
    let seconds = 0.02 + bytes / 30e6 * 4_f64.powf(unit().mul_add(2.0, -1.0));
    Object { allocated: (bytes as i64).cast_unsigned().next_multiple_of(4096), cook: Duration::from_secs_f64(seconds) }
}

/// Numbers of objects, the n-th most popular asked for 1/n as often as the first. Which is popular
/// has nothing to do with its size.
fn zipf(random: &mut Random, objects: usize, requests: usize) -> Vec<usize> {
    let mut sums = Vec::with_capacity(objects);
    let mut sum = 0.0;
    for rank in 1..=objects {
        sum += 1.0 / rank as f64;
        sums.push(sum);
    }
    (0..requests)
        .map(|_| {
            let at = random.below(1 << 40) as f64 / (1_u64 << 40) as f64 * sum;
            sums.partition_point(|&upto| upto < at).min(objects - 1)
        })
        .collect()
}

/// Every eight thousand requests a crawler asks once for each of two thousand bundles in a row.
fn with_scans(trace: &[usize]) -> Vec<usize> {
    let mut scanned = Vec::new();
    for (number, requests) in trace.chunks(8000).enumerate() {
        scanned.extend_from_slice(requests);
        scanned.extend((0..2000).map(|step| OBJECTS / 4 + (number * 2000 + step) % (OBJECTS * 3 / 4)));
    }
    scanned
}

/// What is in the store, in order of last access.
#[derive(Default)]
struct Shelf {
    by_last_access: BTreeMap<(Timestamp, FileId), Candidate>,
    last_access: HashMap<FileId, Timestamp>,
    allocated: u64,
}

impl Shelf {
    fn take(&mut self, file: FileId) -> Option<Candidate> {
        let candidate = self.by_last_access.remove(&(self.last_access.remove(&file)?, file))?;
        self.allocated -= candidate.allocated;
        Some(candidate)
    }

    fn put(&mut self, candidate: Candidate) {
        self.allocated += candidate.allocated;
        self.last_access.insert(candidate.file, candidate.last_access);
        self.by_last_access.insert((candidate.last_access, candidate.file), candidate);
    }
}

fn play(objects: &[Object], trace: &[usize], max_size: u64, policy: Policy) -> Outcome {
    let (mut shelf, mut outcome, mut inflation) = (Shelf::default(), Outcome::default(), 0.0);
    let mut cooked_before = HashSet::new();
    for (turn, &number) in (1_i64..).zip(trace) {
        let (now, object) = (Timestamp::from_millis(turn * PACE), &objects[number]);
        let file = FileId::from_number(i64::try_from(number).unwrap());
        let merit = if let Some(there) = shelf.take(file) {
            outcome.hits += 1;
            Merit { hits: there.merit.hits + 1, credit: inflation, ..there.merit }
        } else {
            if !cooked_before.insert(number) {
                outcome.cooked_again += object.cook;
            }
            let plan = plan(&shelf, object.allocated, max_size, policy, now);
            for victim in &plan.victims {
                shelf.take(*victim);
            }
            inflation = plan.inflation.map_or(inflation, |worth| worth.max(inflation));
            if !plan.is_enough() {
                continue;
            }
            Merit { hits: 0, cook: object.cook, credit: inflation }
        };
        shelf.put(Candidate { file, last_access: now, allocated: object.allocated, pinned: false, merit });
    }
    outcome
}

/// Room for `coming` bytes, and for a fiftieth of the store more: as of a collection by cron.
fn plan(shelf: &Shelf, coming: u64, max_size: u64, policy: Policy, now: Timestamp) -> Plan {
    let free = Free { bytes: 0, total_bytes: 0, inodes: 0, total_inodes: 0 };
    let full = shelf.allocated + coming > max_size;
    let coming = if full { coming + max_size / 50 } else { coming };
    let stock = Stock { files: 0, allocated: shelf.allocated, free, wanted: 0, coming };
    let grace = Duration::from_millis(1);
    let room = RoomLimits { max_size: Some(max_size), min_free: MinFree::Bytes(0), grace, policy };
    let files = shelf.by_last_access.values().map(|&candidate| Ok::<_, Infallible>(candidate));
    let Ok(plan) = gc::plan(files, &stock, &Limits { room, max_idle: None }, now);
    plan
}
