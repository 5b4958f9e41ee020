//! Whatever is done to the catalogue in whatever order, the tables stay as `schema.sql` says: sums
//! equal what they sum, who waits is in the queue, and statuses make only their legal moves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use larder::bundle::{Failure, FailureCode, FileFacts, Status};
use larder::catalogue::{Access, Catalogue, Claim};
use larder::key::{BundleKey, Format, ObjectKind, Sha1Git};
use larder::time::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Order(u8),
    Claim(u8),
    Finish(usize, bool),
    Fail(usize, bool),
    GiveBack(usize),
    Delegate(usize, u8, bool),
    Release(u8),
    Reopen(u8),
    Remove(Vec<u8>),
    /// So many of the least recently used, as long as the files let themselves be withdrawn.
    Collect(usize, bool),
    Touch(u8, i64),
    Pin(u8, bool),
    /// The clock moves, forward or back.
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..6_u8;
    prop_oneof![
        4 => key.clone().prop_map(Step::Order),
        5 => (0..3_u8).prop_map(Step::Claim),
        3 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(claim, well)| Step::Finish(claim, well)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(claim, transient)| Step::Fail(claim, transient)),
        1 => any::<usize>().prop_map(Step::GiveBack),
        4 => (any::<usize>(), key.clone(), any::<bool>()).prop_map(|(c, root, there)| Step::Delegate(c, root, there)),
        1 => (0..3_u8).prop_map(Step::Release),
        1 => key.clone().prop_map(Step::Reopen),
        1 => prop::collection::vec(key.clone(), 0..3).prop_map(Step::Remove),
        1 => (0..4_usize, any::<bool>()).prop_map(|(files, well)| Step::Collect(files, well)),
        1 => (key.clone(), -1000..1_000_000_i64).prop_map(|(key, at)| Step::Touch(key, at)),
        1 => (key, any::<bool>()).prop_map(|(key, pinned)| Step::Pin(key, pinned)),
        3 => (-100_000..700_000_i64).prop_map(Step::Pass),
    ]
}

fn key(number: u8) -> BundleKey {
    let kind = if number < 3 { ObjectKind::Directory } else { ObjectKind::Revision };
    BundleKey::new(kind, Sha1Git::from_bytes([number; 20]), Format::TarGz).unwrap()
}

fn owner(number: u8) -> String {
    format!("process-{number}")
}

/// The catalogue, the clock, and every claim ever given, stale ones too.
struct World {
    catalogue: Catalogue,
    now: Timestamp,
    claims: Vec<Claim>,
    files: u8,
}

impl World {
    fn stale_or_not(&self, number: usize) -> Option<Claim> {
        (!self.claims.is_empty()).then(|| self.claims[number % self.claims.len()].clone())
    }

    fn take(&mut self, step: Step) {
        let catalogue = &self.catalogue;
        match step {
            Step::Order(number) => drop(catalogue.order(&key(number), self.now, 4, Duration::from_mins(1)).unwrap()),
            Step::Claim(number) => self.claims.extend(catalogue.claim(&owner(number), self.now).unwrap()),
            Step::Finish(claim, well) => {
                let Some(claim) = self.stale_or_not(claim) else { return };
                self.files = self.files.wrapping_add(1);
                let number = self.files;
                let facts = FileFacts { size: 1, allocated: u64::from(number) * 512, blake3: [number; 32] };
                let publish = |_: &[BundleKey]| if well { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) };
                let answer = catalogue.finish(claim, facts, Duration::from_secs(1), self.now, publish);
                assert!(answer.is_ok() || !well, "{answer:?}");
            }
            Step::Fail(claim, transient) => {
                let Some(claim) = self.stale_or_not(claim) else { return };
                let code = if transient { FailureCode::Io } else { FailureCode::TooLarge };
                catalogue.fail(claim, Failure { code, message: String::new() }, self.now).unwrap();
            }
            Step::GiveBack(claim) => {
                let Some(claim) = self.stale_or_not(claim) else { return };
                catalogue.give_back(claim).unwrap();
            }
            Step::Delegate(claim, root, there) => {
                let Some(claim) = self.stale_or_not(claim) else { return };
                // To itself or in a ring it is refused; that too must change nothing.
                let _ = catalogue.delegate(claim, &key(root), self.now, |_, _| Ok(there));
            }
            Step::Release(number) => drop(catalogue.release(&owner(number), self.now).unwrap()),
            Step::Reopen(number) => catalogue.reopen(&key(number), self.now).unwrap(),
            Step::Remove(numbers) => {
                let keys: Vec<_> = numbers.into_iter().map(key).collect();
                catalogue.remove(&keys, |_| Ok(())).unwrap();
            }
            Step::Collect(files, well) => {
                let candidates = catalogue.candidates(None, true, 9).unwrap();
                assert!(candidates.is_sorted_by_key(|file| (file.last_access, file.file)));
                let Some(last) = candidates[..files.min(candidates.len())].last() else { return };
                let pinned = candidates.iter().filter(|file| file.pinned).count() as u64;
                let all: Vec<_> = candidates.iter().map(|file| file.file).collect();
                let gone = |_: &BundleKey| if well { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) };
                if let Ok(collected) =
                    catalogue.collect(&all, last.last_access, last.last_access, Some(last.merit.credit + 1.0), gone)
                {
                    assert_eq!(collected.files + collected.passed_over, all.len() as u64);
                    assert!(collected.passed_over >= pinned);
                }
            }
            Step::Touch(number, at) => {
                let at = Timestamp::from_millis(self.now.as_millis() + at);
                catalogue.touch(&[larder::catalogue::Touch { key: key(number), at, hits: 1 }]).unwrap();
            }
            Step::Pin(number, pinned) => drop(catalogue.pin(&key(number), pinned).unwrap()),
            Step::Pass(millis) => self.now = Timestamp::from_millis(self.now.as_millis() + millis),
        }
    }
}

/// How many rows break a rule of `schema.sql`; each rule is a query that finds those.
const RULES: [(&str, &str); 10] = [
    (
        "totals equal what they sum",
        "SELECT 1 FROM totals WHERE files <> (SELECT count(*) FROM file)
            OR allocated <> (SELECT coalesce(sum(allocated), 0) FROM file)
            OR queued <> (SELECT count(*) FROM cook WHERE owner IS NULL)
            OR running <> (SELECT count(*) FROM cook WHERE owner IS NOT NULL)",
    ),
    (
        "a file is pinned as often as its names",
        "SELECT 1 FROM file f WHERE pins <> (SELECT sum(pinned) FROM bundle b WHERE b.file = f.id)",
    ),
    ("every file has a name", "SELECT 1 FROM file WHERE id NOT IN (SELECT file FROM bundle WHERE file IS NOT NULL)"),
    (
        "who is pending has a row",
        "SELECT 1 FROM bundle b LEFT JOIN cook c USING (kind, sha1git, format)
        WHERE b.status = 1 AND c.seq IS NULL",
    ),
    (
        "who has a row is new or pending",
        "SELECT 1 FROM cook JOIN bundle USING (kind, sha1git, format)
        WHERE status <> (owner IS NOT NULL OR root IS NOT NULL)",
    ),
    ("who is waited for does not wait", "SELECT 1 FROM cook w JOIN cook r ON w.root = r.seq WHERE r.root IS NOT NULL"),
    (
        "no row without a bundle",
        "SELECT 1 FROM cook LEFT JOIN bundle b USING (kind, sha1git, format)
        WHERE b.kind IS NULL",
    ),
    ("foreign keys hold", "SELECT 1 FROM pragma_foreign_key_check"),
    ("indexes agree with tables", "SELECT 1 FROM pragma_quick_check WHERE quick_check <> 'ok'"),
    (
        "nothing is newer than the clock",
        "SELECT 1 FROM clock, bundle WHERE max(created_at, coalesce(done_at, 0),
        coalesce(failed_at, 0)) > newest",
    ),
];

fn statuses(sql: &Connection) -> HashMap<Vec<u8>, Status> {
    let mut statement = sql.prepare_cached("SELECT sha1git, status FROM bundle").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Status::from_code(row.get(1)?).unwrap()))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn newest(sql: &Connection) -> i64 {
    sql.query_row("SELECT newest FROM clock", [], |row| row.get(0)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_of_the_schema_hold_after_every_step(steps in prop::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.db");
        let catalogue = Catalogue::open(&path, Access::Migrate).unwrap();
        let mut world = World { catalogue, now: Timestamp::from_millis(1_000_000_000), claims: Vec::new(), files: 0 };
        let sql = Connection::open(&path).unwrap();
        let (mut before, mut clock) = (statuses(&sql), newest(&sql));
        for step in steps {
            let text = format!("{step:?}");
            world.take(step);
            for (rule, broken) in RULES {
                let found = sql.prepare_cached(broken).unwrap().exists([]).unwrap();
                prop_assert!(!found, "after {}, not so: {}", text, rule);
            }
            let (after, time) = (statuses(&sql), newest(&sql));
            prop_assert!(time >= clock, "{} turned time back", text);
            for (id, status) in &after {
                let legal = before.get(id).is_none_or(|old| old == status || old.may_become(*status));
                prop_assert!(legal, "{} made {:?} {}", text, before.get(id), status);
            }
            (before, clock) = (after, time);
        }
    }
}
