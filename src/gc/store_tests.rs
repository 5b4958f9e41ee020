//! Collection over a real catalogue and a real store: what a plan reads, what a run removes and writes.

#![allow(clippy::disallowed_methods, reason = "rows without files, and files without rows, are made so")]

use super::{Limits, Plan, Removed, candidates, plan, run, stock, unlink_first};
use crate::bundle::{FileFacts, Remarks};
use crate::bundles::Bundles;
use crate::catalogue::{Access, Catalogue, Finishing, Touch};
use crate::key::{BundleKey, ObjectKind};
use crate::limits::{MinFree, Policy, RoomLimits};
use crate::store::Store;
use crate::time::Timestamp;
use std::io::Write as _;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

fn base() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn key(number: u32) -> BundleKey {
    format!("directory/{number:040x}.tar").parse().unwrap()
}

struct Larder {
    folder: tempfile::TempDir,
    bundles: Bundles,
}

impl Larder {
    fn new(in_memory: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let path = folder.path().join("catalogue.db");
        let catalogue = if in_memory { Catalogue::in_memory() } else { Catalogue::open(&path, Access::Write) };
        Self { folder, bundles: Bundles::new(store, catalogue.unwrap()) }
    }

    /// Publishes a bundle of 8 KiB that took `took` to cook.
    fn cook(&self, number: u32, took: Duration, now: Timestamp) {
        let mut draft = self.bundles.draft().unwrap();
        draft.write_all(&[u8::try_from(number).unwrap(); 8192]).unwrap();
        let sealed = draft.seal().unwrap();
        self.bundles.catalogue().order(&key(number), now, 9, Duration::ZERO).unwrap();
        let claim = self.bundles.catalogue().claim("p", now).unwrap().unwrap();
        let facts = FileFacts { allocated: 8192, ..sealed.facts() };
        let cooked = Finishing { facts, remarks: &Remarks::default(), took, met: &|_| true, segments: &[] };
        self.bundles.publish(claim, sealed, &cooked, now).unwrap();
    }

    /// A row without a file.
    fn note(&self, number: u32, now: Timestamp) {
        self.bundles.catalogue().order(&key(number), now, 9, Duration::ZERO).unwrap();
        let claim = self.bundles.catalogue().claim("p", now).unwrap().unwrap();
        let facts = FileFacts { size: 1, allocated: 512, blake3: [0; 32] };
        self.bundles.catalogue().finish(claim, facts, Duration::ZERO, now, |_| Ok(())).unwrap();
    }

    fn use_it(&self, number: u32, hits: u64, at: Timestamp) {
        self.bundles.catalogue().touch(&[Touch { key: key(number), at, hits }]).unwrap();
    }

    fn plan(&self, max_size: u64, policy: Policy, now: Timestamp) -> Plan {
        let stock = stock(&self.bundles).unwrap();
        let room = RoomLimits { max_size: Some(max_size), min_free: MinFree::Bytes(0), grace: Duration::ZERO, policy };
        plan(candidates(self.bundles.catalogue(), policy), &stock, &Limits { room, max_idle: None }, now).unwrap()
    }

    fn collect(&self, plan: &Plan) -> Removed {
        run(plan, &self.bundles, |_, _| ()).unwrap()
    }

    fn number(&self, sql: &str) -> f64 {
        let connection = rusqlite::Connection::open(self.folder.path().join("catalogue.db")).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn there(&self, number: u32) -> bool {
        self.bundles.open(&key(number)).unwrap().is_some()
    }
}

#[track_caller]
fn is(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
}

#[test]
fn gdsf_keeps_what_is_used_and_costly_and_counts_from_the_worth_of_what_went_last() {
    let larder = Larder::new(false);
    let second = Duration::from_secs(1);
    // Of one age and one size. Worth, by uses and milliseconds for each of 8 KiB:
    larder.cook(1, second, base()); //      1 * 1001 / 8 = 125.125
    larder.cook(2, second, base()); //      6 * 1001 / 8 = 750.75
    larder.cook(3, second / 10, base()); // 10 * 101 / 8 = 126.25
    larder.use_it(2, 5, base());
    larder.use_it(3, 9, base());
    is(larder.number("SELECT inflation FROM gdsf"), 0.0);

    let later = base().after(HOUR);
    let removed = larder.collect(&larder.plan(8192, Policy::Gdsf, later));
    assert_eq!((removed.files, removed.names, removed.bytes, removed.passed_over), (2, 2, 16384, 0));
    assert_eq!([1, 2, 3].map(|number| larder.there(number)), [false, true, false]);
    is(larder.number("SELECT inflation FROM gdsf"), 126.25);

    // Who is used since, and who comes since, counts from there.
    is(larder.number("SELECT credit FROM file"), 0.0);
    larder.use_it(2, 1, later);
    is(larder.number("SELECT credit FROM file"), 126.25);
    larder.cook(4, Duration::ZERO, later);
    is(larder.number("SELECT min(credit) FROM file"), 126.25);

    // A newcomer is worth little more than that: it goes, and moves the measure on by that little.
    larder.collect(&larder.plan(8192, Policy::Gdsf, later.after(HOUR)));
    assert!(larder.there(2) && !larder.there(4));
    is(larder.number("SELECT inflation FROM gdsf"), 126.25 + 1.0 / 8.0);
}

#[test]
fn of_many_files_just_the_oldest_go_however_many_pages_they_take() {
    let larder = Larder::new(true);
    // Not in order of their names.
    let name = |age: u32| age * 7 % 307;
    for age in 0..300 {
        larder.note(name(age), base().after(Duration::from_secs(age.into())));
    }
    let plan = larder.plan(100 * 512, Policy::Lru, base().after(HOUR));
    assert_eq!(plan.victims.len(), 200);
    let removed = larder.collect(&plan);
    assert_eq!((removed.files, removed.names, removed.passed_over), (200, 200, 0));
    let mut left: Vec<_> = larder
        .bundles
        .catalogue()
        .list(ObjectKind::Directory, None, 999)
        .unwrap()
        .iter()
        .map(|bundle| bundle.key)
        .collect();
    let mut wanted: Vec<_> = (200..300).map(|age| key(name(age))).collect();
    left.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(left, wanted);
    assert!(larder.plan(100 * 512, Policy::Lru, base().after(HOUR)).victims.is_empty());
}

#[test]
fn where_nothing_can_be_written_the_first_hundred_go_and_the_plan_ends_with_them() {
    let larder = Larder::new(true);
    for number in 0..150 {
        larder.note(number, base());
    }
    for number in [0, 99, 100] {
        let mut draft = larder.bundles.draft().unwrap();
        draft.write_all(b"bytes").unwrap();
        larder.bundles.store().publish(draft.seal().unwrap(), &[key(number)]).unwrap();
    }
    let mut plan = larder.plan(0, Policy::Lru, base().after(HOUR));
    assert_eq!(plan.victims.len(), 150);
    unlink_first(&mut plan, &larder.bundles).unwrap();
    assert_eq!(plan.victims.len(), 100, "what was not deleted yet is planned anew");
    assert_eq!([0, 99, 100].map(|number| larder.there(number)), [false, false, true]);
    assert_eq!(larder.collect(&plan).files, 100);
}
