//! The catalogue through its public face: one cook for all who ask, claims that cannot be held
//! twice, waiters that end with what they wait for, and refusals when it is opened.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use larder::bundle::{Bundle, Failure, FailureCode, FileFacts, Remarks, Status};
use larder::catalogue::{
    Access, Catalogue, CatalogueError, Claim, Delegated, Failed, Finished, Finishing, Order, Touch, VERSION,
};
use larder::key::{BundleKey, Format, ObjectKind, Sha1Git};
use larder::time::Timestamp;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

struct Larder {
    _folder: tempfile::TempDir,
    path: PathBuf,
    catalogue: Catalogue,
}

fn larder() -> Larder {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let catalogue = Catalogue::open(&path, Access::Migrate).unwrap();
    Larder { _folder: folder, path, catalogue }
}

/// What came of an order, once the bundle that it gives was compared with the one that is there.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Queued,
    Already(Status),
    QueueFull,
}

#[track_caller]
fn order(catalogue: &Catalogue, key: &BundleKey, now: Timestamp, max_queue: u64) -> Came {
    let came = catalogue.order(key, now, max_queue, MINUTE).unwrap();
    let (Order::Queued(bundle) | Order::Already(bundle)) = &came else { return Came::QueueFull };
    assert_eq!(bundle.key, *key);
    match came {
        Order::Queued(bundle) => {
            assert_eq!(bundle.status, Status::New);
            Came::Queued
        }
        Order::Already(bundle) => Came::Already(bundle.status),
        Order::QueueFull => Came::QueueFull,
    }
}

impl Larder {
    fn order(&self, key: &BundleKey, now: Timestamp) -> Came {
        order(&self.catalogue, key, now, 1000)
    }

    fn claim(&self, now: Timestamp) -> Claim {
        self.catalogue.claim("p", now).unwrap().expect("a cook is ready")
    }

    fn bundle(&self, key: &BundleKey) -> Bundle {
        self.catalogue.bundle(key).unwrap().expect("the bundle is known")
    }

    fn status(&self, key: &BundleKey) -> Status {
        self.bundle(key).status
    }

    /// Orders, claims and finishes.
    fn cook(&self, key: &BundleKey, number: u8, now: Timestamp) {
        assert_eq!(self.order(key, now), Came::Queued);
        let claim = self.claim(now);
        assert_eq!(claim.key, *key);
        assert_eq!(self.catalogue.finish(claim, facts(number), SECOND, now, |_| Ok(())).unwrap(), Finished::Done);
    }

    fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.path).unwrap()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000_000 + seconds * 1000)
}

fn key(kind: ObjectKind, number: u8) -> BundleKey {
    BundleKey::new(kind, Sha1Git::from_bytes([number; 20]), Format::TarGz).unwrap()
}

fn directory(number: u8) -> BundleKey {
    key(ObjectKind::Directory, number)
}

fn revision(number: u8) -> BundleKey {
    key(ObjectKind::Revision, number)
}

fn facts(number: u8) -> FileFacts {
    FileFacts { size: 100 + u64::from(number), allocated: 4096, blake3: [number; 32] }
}

fn failure(code: FailureCode) -> Failure {
    Failure { code, message: format!("because of {code}") }
}

fn no_link(_: &BundleKey, _: &BundleKey) -> io::Result<bool> {
    panic!("there is nothing to link")
}

#[test]
fn a_bundle_goes_from_asked_for_to_done() {
    let larder = larder();
    assert_eq!(larder.catalogue.bundle(&directory(1)).unwrap(), None);
    assert_eq!(larder.order(&directory(1), at(0)), Came::Queued);
    assert_eq!(larder.order(&directory(1), at(1)), Came::Already(Status::New));
    assert_eq!(larder.status(&directory(1)), Status::New);

    let claim = larder.claim(at(2));
    assert_eq!((claim.key, claim.attempt, claim.interruptions), (directory(1), 0, 0));
    assert_eq!(larder.order(&directory(1), at(3)), Came::Already(Status::Pending));
    assert_eq!(larder.catalogue.claim("q", at(3)).unwrap(), None);

    let mut published = Vec::new();
    let publish = |names: &[BundleKey]| {
        published.extend_from_slice(names);
        Ok(())
    };
    assert_eq!(larder.catalogue.finish(claim, facts(1), SECOND, at(4), publish).unwrap(), Finished::Done);
    assert_eq!(published, [directory(1)]);
    assert_eq!(larder.order(&directory(1), at(5)), Came::Already(Status::Done));
    let expected = Bundle {
        key: directory(1),
        status: Status::Done,
        file: Some(facts(1)),
        sha256: None,
        created_at: at(0),
        done_at: Some(at(4)),
        last_access_at: Some(at(4)),
        hits: 0,
        pinned: false,
        failure: None,
        remarks: Remarks::default(),
    };
    assert_eq!(larder.bundle(&directory(1)), expected);
    assert_eq!(larder.catalogue.next_ready().unwrap(), None);
}

#[test]
fn sixteen_that_ask_at_once_through_two_handles_get_one_cook() {
    let larder = larder();
    let second = Catalogue::open(&larder.path, Access::Write).unwrap();
    let barrier = Barrier::new(16);
    let orders: Vec<Came> = std::thread::scope(|scope| {
        let ask = |n: usize| {
            let catalogue = if n.is_multiple_of(2) { &larder.catalogue } else { &second };
            barrier.wait();
            order(catalogue, &directory(1), at(0), 100)
        };
        let threads: Vec<_> = (0..16).map(|n| scope.spawn(move || ask(n))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(orders.iter().filter(|order| **order == Came::Queued).count(), 1, "{orders:?}");
    assert_eq!(larder.catalogue.totals().unwrap().queued, 1);
}

#[test]
fn no_cook_is_claimed_twice_however_many_look_for_one() {
    let larder = larder();
    let second = Catalogue::open(&larder.path, Access::Write).unwrap();
    for number in 0..60 {
        larder.order(&directory(number), at(0));
    }
    let claimed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (n, owner) in ["a", "b", "c", "d"].into_iter().enumerate() {
            let (catalogue, claimed) = (if n % 2 == 0 { &larder.catalogue } else { &second }, &claimed);
            scope.spawn(move || {
                while let Some(claim) = catalogue.claim(owner, at(1)).unwrap() {
                    claimed.lock().unwrap().push(claim.key);
                    assert_eq!(catalogue.finish(claim, facts(1), SECOND, at(1), |_| Ok(())).unwrap(), Finished::Done);
                }
            });
        }
    });
    let claimed = claimed.into_inner().unwrap();
    assert_eq!(claimed.len(), 60);
    assert_eq!(claimed.iter().collect::<HashSet<_>>().len(), 60);
    let totals = larder.catalogue.totals().unwrap();
    assert_eq!((totals.files, totals.queued, totals.running), (60, 0, 0));
}

#[test]
fn the_oldest_goes_first_and_a_cook_given_back_keeps_its_place() {
    let larder = larder();
    for number in [3, 1, 2] {
        larder.order(&directory(number), at(i64::from(number)));
    }
    // All three were ordered before the clock's newest time was three: in order of arrival.
    let claim = larder.claim(at(9));
    assert_eq!(claim.key, directory(3));
    let stale = claim.clone();
    larder.catalogue.give_back(claim).unwrap();
    assert_eq!(larder.status(&directory(3)), Status::New);
    let again = larder.claim(at(10));
    assert_eq!((again.key, again.attempt), (directory(3), 0));
    assert_eq!(larder.claim(at(10)).key, directory(1));
    assert_eq!(larder.claim(at(10)).key, directory(2));
    assert_eq!(stale, again, "the same claim, for nothing happened in between");
}

#[test]
fn a_full_queue_refuses_what_is_new_to_it_and_nothing_else() {
    let larder = larder();
    let order = |key: &BundleKey| order(&larder.catalogue, key, at(0), 2);
    larder.cook(&directory(9), 9, at(0));
    assert_eq!(order(&directory(1)), Came::Queued);
    assert_eq!(order(&directory(2)), Came::Queued);
    assert_eq!(order(&directory(3)), Came::QueueFull);
    assert_eq!(larder.catalogue.bundle(&directory(3)).unwrap(), None);
    assert_eq!(order(&directory(1)), Came::Already(Status::New));
    assert_eq!(order(&directory(9)), Came::Already(Status::Done));
    larder.claim(at(0));
    assert_eq!(order(&directory(3)), Came::Queued, "a running cook does not wait");
}

#[test]
fn a_permanent_failure_is_kept_and_tried_again_when_asked_a_minute_later() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let claim = larder.claim(at(0));
    let stale = claim.clone();
    let failed = larder.catalogue.fail(claim, failure(FailureCode::HostileTree), at(10)).unwrap();
    assert_eq!(failed, Failed::Final);
    assert_eq!(larder.bundle(&directory(1)).failure, Some(failure(FailureCode::HostileTree)));
    assert_eq!(larder.catalogue.claim("p", at(1000)).unwrap(), None);
    let lost = larder.catalogue.finish(stale, facts(1), SECOND, at(11), |_| panic!("published")).unwrap();
    assert_eq!(lost, Finished::Lost);

    assert_eq!(larder.order(&directory(1), at(69)), Came::Already(Status::Failed));
    assert_eq!(larder.order(&directory(1), at(70)), Came::Queued);
    let bundle = larder.bundle(&directory(1));
    assert_eq!((bundle.status, bundle.failure, bundle.created_at), (Status::New, None, at(0)));
}

#[test]
fn what_nobody_has_is_forgotten_in_time_and_nothing_else_is() {
    let larder = larder();
    for (number, code, failed_at) in [
        (1, FailureCode::MissingObject, 10),
        (2, FailureCode::MissingObject, 20),
        (3, FailureCode::MissingObject, 300),
        (4, FailureCode::HostileTree, 10),
    ] {
        larder.order(&directory(number), at(0));
        larder.catalogue.fail(larder.claim(at(0)), failure(code), at(failed_at)).unwrap();
    }
    larder.order(&directory(5), at(0));
    let forget = |most| larder.catalogue.forget_absent(MINUTE, most, at(310)).unwrap();
    assert_eq!((forget(1), forget(9), forget(9)), (1, 1, 0));
    let left: Vec<_> =
        (1..=5).filter(|number| larder.catalogue.bundle(&directory(*number)).unwrap().is_some()).collect();
    assert_eq!(left, [3, 4, 5]);
}

#[test]
fn a_cook_that_is_put_off_waits_until_it_is_hastened_and_counts_no_try() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    larder.catalogue.put_off(larder.claim(at(0)), MINUTE, at(10)).unwrap();
    assert_eq!(larder.status(&directory(1)), Status::New);
    assert_eq!(larder.catalogue.claim("p", at(69)).unwrap(), None);
    larder.catalogue.hasten(&directory(1), at(20)).unwrap();
    let claim = larder.claim(at(20));
    assert_eq!((claim.attempt, claim.interruptions), (0, 0));
    larder.catalogue.put_off(claim.clone(), MINUTE, at(20)).unwrap();
    // One that is not held any more changes nothing.
    larder.catalogue.put_off(claim, MINUTE * 60, at(21)).unwrap();
    assert_eq!(larder.catalogue.next_ready().unwrap(), Some(at(80)));
    larder.catalogue.hasten_all(at(30)).unwrap();
    assert_eq!(larder.claim(at(30)).key, directory(1));
}

#[test]
fn a_transient_failure_is_retried_five_times_each_after_twice_the_wait() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let mut now = at(0);
    for (attempt, wait) in (0..).zip([1, 2, 4, 8, 16]) {
        let claim = larder.claim(now);
        assert_eq!(claim.attempt, attempt);
        let retry = now.after(SECOND * wait);
        assert_eq!(larder.catalogue.fail(claim, failure(FailureCode::Io), now).unwrap(), Failed::Retry(retry));
        assert_eq!(larder.status(&directory(1)), Status::New);
        assert_eq!(larder.order(&directory(1), now), Came::Already(Status::New));
        assert_eq!(larder.catalogue.next_ready().unwrap(), Some(retry));
        let early = Timestamp::from_millis(retry.as_millis() - 1);
        assert_eq!(larder.catalogue.claim("p", early).unwrap(), None);
        now = retry;
    }
    let claim = larder.claim(now);
    assert_eq!(larder.catalogue.fail(claim, failure(FailureCode::Io), now).unwrap(), Failed::Final);
    assert_eq!(larder.status(&directory(1)), Status::Failed);
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let message = "a".to_owned() + &"é".repeat(1000);
    let failure = Failure { code: FailureCode::TooLarge, message: message.clone() };
    larder.catalogue.fail(larder.claim(at(0)), failure, at(0)).unwrap();
    let kept = larder.bundle(&directory(1)).failure.unwrap().message;
    assert_eq!(kept.len(), 499);
    assert!(message.starts_with(&kept));
}

#[test]
fn the_cooks_of_a_dead_process_are_taken_up_and_its_claims_are_void() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    larder.order(&directory(2), at(0));
    let dead = larder.catalogue.claim("dead", at(1)).unwrap().unwrap();
    assert_eq!(larder.catalogue.owners().unwrap(), ["dead"]);
    assert_eq!(larder.catalogue.release("dead", at(2)).unwrap(), 1);
    assert_eq!(larder.catalogue.release("dead", at(2)).unwrap(), 0);
    assert_eq!(larder.catalogue.owners().unwrap(), Vec::<String>::new());

    assert_eq!(larder.claim(at(3)).key, directory(2), "the other is at the back of the queue");
    let taken = larder.claim(at(3));
    assert_eq!((taken.key, taken.interruptions), (directory(1), 1));
    let lost = larder.catalogue.finish(dead.clone(), facts(1), SECOND, at(4), |_| panic!("published")).unwrap();
    assert_eq!(lost, Finished::Lost);
    larder.catalogue.give_back(dead.clone()).unwrap();
    larder.catalogue.fail(dead.clone(), failure(FailureCode::TooLarge), at(4)).unwrap();
    assert_eq!(larder.catalogue.delegate(dead, &directory(2), at(4), no_link).unwrap(), Delegated::Waiting);
    assert_eq!(larder.status(&directory(1)), Status::Pending);
    assert_eq!(larder.catalogue.finish(taken, facts(1), SECOND, at(5), |_| Ok(())).unwrap(), Finished::Done);
}

#[test]
fn a_cook_that_outlives_its_processes_waits_longer_and_fails_at_last() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let mut now = at(0);
    for interruption in 1..=25_u32 {
        larder.claim(now);
        assert_eq!(larder.catalogue.release("p", now).unwrap(), 1);
        let wait = match interruption {
            0..=4 => 0,
            5..=14 => 1 << (interruption - 5),
            _ => 600,
        };
        let ready = larder.catalogue.next_ready().unwrap().unwrap();
        assert_eq!(ready, now.after(SECOND * wait), "after interruption {interruption}");
        now = ready;
    }
    larder.claim(now);
    larder.catalogue.release("p", now).unwrap();
    let failure = larder.bundle(&directory(1)).failure.unwrap();
    assert_eq!(failure.code, FailureCode::Interrupted);
    assert_eq!(larder.catalogue.totals().unwrap().queued, 0);
}

#[test]
fn a_revision_of_a_cooked_directory_is_another_name_of_its_file() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    larder.order(&revision(2), at(5));
    let mut links = Vec::new();
    let link = |from: &BundleKey, to: &BundleKey| {
        links.push((*from, *to));
        Ok(true)
    };
    let delegated = larder.catalogue.delegate(larder.claim(at(6)), &directory(1), at(7), link).unwrap();
    assert_eq!(delegated, Delegated::Linked);
    assert_eq!(links, [(directory(1), revision(2))]);
    let bundle = larder.bundle(&revision(2));
    assert_eq!((bundle.status, bundle.file, bundle.done_at), (Status::Done, Some(facts(1)), Some(at(7))));
    assert_eq!(larder.bundle(&directory(1)).last_access_at, Some(at(7)), "names of a file share their last access");
    let totals = larder.catalogue.totals().unwrap();
    assert_eq!((totals.files, totals.allocated), (1, 4096));
}

#[test]
fn revisions_of_one_directory_wait_for_one_cook_and_are_done_together() {
    let larder = larder();
    larder.order(&revision(2), at(0));
    larder.order(&revision(3), at(0));
    let claims = [larder.claim(at(1)), larder.claim(at(1))];
    for (number, claim) in [2, 3].into_iter().zip(claims) {
        let delegated = larder.catalogue.delegate(claim, &directory(1), at(1), no_link).unwrap();
        assert_eq!(delegated, Delegated::Waiting);
        assert_eq!(larder.status(&revision(number)), Status::Pending);
        assert_eq!(larder.order(&revision(number), at(2)), Came::Already(Status::Pending));
    }
    assert_eq!(larder.status(&directory(1)), Status::New);
    let totals = larder.catalogue.totals().unwrap();
    assert_eq!((totals.queued, totals.running), (3, 0));

    let claim = larder.claim(at(2));
    assert_eq!(claim.key, directory(1));
    assert_eq!(larder.catalogue.claim("p", at(1000)).unwrap(), None, "who waits is not claimed");
    let mut published = Vec::new();
    larder
        .catalogue
        .finish(claim, facts(1), SECOND, at(3), |names| {
            published.extend_from_slice(names);
            Ok(())
        })
        .unwrap();
    assert_eq!(published, [directory(1), revision(2), revision(3)]);
    for key in published {
        assert_eq!((larder.status(&key), larder.bundle(&key).file), (Status::Done, Some(facts(1))));
    }
    let totals = larder.catalogue.totals().unwrap();
    assert_eq!((totals.files, totals.queued, totals.running), (1, 0, 0));
}

#[test]
fn who_waits_fails_with_what_it_waits_for() {
    let larder = larder();
    larder.order(&revision(2), at(0));
    larder.catalogue.delegate(larder.claim(at(0)), &directory(1), at(0), no_link).unwrap();
    // A transient failure of the directory changes nothing for who waits.
    let retry = larder.catalogue.fail(larder.claim(at(0)), failure(FailureCode::NoSpace), at(0)).unwrap();
    assert_eq!(retry, Failed::Retry(at(1)));
    assert_eq!(larder.status(&revision(2)), Status::Pending);
    larder.catalogue.fail(larder.claim(at(1)), failure(FailureCode::HostileTree), at(1)).unwrap();
    for key in [directory(1), revision(2)] {
        assert_eq!(larder.bundle(&key).failure, Some(failure(FailureCode::HostileTree)));
    }
    // Asked for again, the revision has its failed directory cooked again.
    assert_eq!(larder.order(&revision(2), at(100)), Came::Queued);
    larder.catalogue.delegate(larder.claim(at(100)), &directory(1), at(100), no_link).unwrap();
    assert_eq!(larder.claim(at(100)).key, directory(1));
    for interruption in 1..=26 {
        larder.catalogue.release("p", at(1000 * interruption)).unwrap();
        assert_eq!(larder.catalogue.claim("p", at(1000 * interruption + 600)).unwrap().is_some(), interruption < 26);
    }
    assert_eq!(larder.bundle(&revision(2)).failure.unwrap().code, FailureCode::Interrupted);
}

#[test]
fn a_directory_whose_file_is_gone_is_cooked_again_for_its_revision() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    larder.catalogue.pin(&directory(1), true).unwrap();
    larder.catalogue.touch(&[Touch { key: directory(1), at: at(1), hits: 7 }]).unwrap();
    larder.order(&revision(2), at(5));
    let delegated = larder.catalogue.delegate(larder.claim(at(5)), &directory(1), at(5), |_, _| Ok(false)).unwrap();
    assert_eq!(delegated, Delegated::Waiting);
    assert_eq!(larder.status(&directory(1)), Status::New);
    assert_eq!(larder.catalogue.totals().unwrap().files, 0);
    larder.catalogue.finish(larder.claim(at(5)), facts(2), SECOND, at(6), |_| Ok(())).unwrap();
    let bundle = larder.bundle(&directory(1));
    assert_eq!((bundle.file, bundle.pinned, bundle.hits, bundle.created_at), (Some(facts(2)), true, 7, at(0)));
    assert_eq!(larder.status(&revision(2)), Status::Done);
}

#[test]
fn a_reopened_bundle_is_absent_until_asked_for_and_keeps_its_pin() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    larder.catalogue.pin(&directory(1), true).unwrap();
    larder.catalogue.reopen(&directory(1), at(10)).unwrap();
    assert_eq!(larder.catalogue.bundle(&directory(1)).unwrap(), None);
    assert_eq!(larder.catalogue.claim("p", at(10)).unwrap(), None, "nobody asked");
    assert_eq!(larder.catalogue.totals().unwrap().files, 0);
    larder.catalogue.reopen(&directory(1), at(10)).unwrap();

    larder.cook(&directory(1), 2, at(20));
    let bundle = larder.bundle(&directory(1));
    assert_eq!((bundle.pinned, bundle.file, bundle.created_at), (true, Some(facts(2)), at(0)));
    larder.order(&directory(2), at(20));
    larder.catalogue.reopen(&directory(2), at(20)).unwrap();
    assert_eq!(larder.status(&directory(2)), Status::New, "what is not done is not reopened");
}

#[test]
fn who_waits_for_a_removed_bundle_is_cooked_after_all() {
    let larder = larder();
    larder.order(&revision(2), at(0));
    larder.catalogue.delegate(larder.claim(at(0)), &directory(1), at(0), no_link).unwrap();
    let running = larder.claim(at(0));
    assert_eq!(larder.catalogue.remove(&[directory(1)], |_| Ok(())).unwrap(), 1);
    let lost = larder.catalogue.finish(running, facts(1), SECOND, at(1), |_| panic!("published")).unwrap();
    assert_eq!(lost, Finished::Lost);
    assert_eq!(larder.status(&revision(2)), Status::New);
    let claim = larder.claim(at(1));
    assert_eq!(claim.key, revision(2));
    assert_eq!(larder.catalogue.finish(claim, facts(1), SECOND, at(1), |_| Ok(())).unwrap(), Finished::Done);
}

#[test]
fn a_failed_publication_changes_nothing() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let claim = larder.claim(at(0));
    let full = |_: &[BundleKey]| Err(io::Error::from(io::ErrorKind::StorageFull));
    let error = larder.catalogue.finish(claim.clone(), facts(1), SECOND, at(1), full).unwrap_err();
    assert!(error.is_storage_full(), "{error}");
    assert_eq!(larder.status(&directory(1)), Status::Pending);
    assert_eq!(larder.catalogue.totals().unwrap().files, 0);
    assert_eq!(
        larder.catalogue.fail(claim, failure(FailureCode::NoSpace), at(1)).unwrap(),
        Failed::Retry(at(2)),
        "the claim still stands"
    );

    let claim = larder.claim(at(2));
    let panics = std::thread::scope(|scope| {
        let (catalogue, claim) = (&larder.catalogue, claim.clone());
        scope.spawn(move || catalogue.finish(claim, facts(1), SECOND, at(3), |_| panic!("a fault"))).join()
    });
    assert!(panics.is_err());
    assert_eq!(larder.catalogue.finish(claim, facts(1), SECOND, at(3), |_| Ok(())).unwrap(), Finished::Done);
}

#[test]
fn a_cook_is_never_left_to_itself() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let claim = larder.claim(at(0));
    assert!(larder.catalogue.delegate(claim.clone(), &directory(1), at(0), no_link).is_err());
    // Nor in a ring: the revision waits for the directory, and so the directory not for it.
    larder.order(&revision(2), at(0));
    larder.catalogue.delegate(larder.claim(at(0)), &directory(1), at(0), no_link).unwrap();
    assert!(larder.catalogue.delegate(claim.clone(), &revision(2), at(0), no_link).is_err());
    assert_eq!(larder.catalogue.finish(claim, facts(1), SECOND, at(0), |_| Ok(())).unwrap(), Finished::Done);
    assert_eq!(larder.status(&revision(2)), Status::Done);
}

#[test]
fn a_last_access_is_rewritten_only_when_over_five_minutes_older_and_hits_always_count() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    let touch = |seconds| {
        let touches = [
            Touch { key: directory(1), at: at(seconds), hits: 2 },
            Touch { key: directory(99), at: at(seconds), hits: 1 },
        ];
        larder.catalogue.touch(&touches).unwrap();
        let bundle = larder.bundle(&directory(1));
        (bundle.last_access_at.unwrap(), bundle.hits)
    };
    assert_eq!(touch(300), (at(0), 2));
    assert_eq!(touch(301), (at(301), 4));
    assert_eq!(touch(100), (at(301), 6), "and never back");
    assert_eq!(larder.catalogue.bundle(&directory(99)).unwrap(), None);
}

#[test]
fn a_listing_has_what_is_done_in_order_of_id_then_format_page_by_page() {
    let larder = larder();
    let tar = |number: u8| BundleKey::new(ObjectKind::Directory, Sha1Git::from_bytes([number; 20]), Format::Tar);
    for number in [5, 1, 4, 2, 3] {
        larder.cook(&directory(number), number, at(0));
    }
    larder.cook(&tar(3).unwrap(), 30, at(0));
    larder.cook(&revision(1), 1, at(0));
    larder.order(&directory(6), at(0));
    let all = [directory(1), directory(2), directory(3), tar(3).unwrap(), directory(4), directory(5)];
    for limit in 1..7 {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = larder.catalogue.list(ObjectKind::Directory, after, limit).unwrap();
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(last) = page.last() else { break };
            after = Some((last.key.id(), last.key.format()));
            seen.extend(page.iter().map(|bundle| bundle.key));
        }
        assert_eq!(seen, all, "in pages of {limit}");
    }
    assert_eq!(larder.catalogue.list(ObjectKind::Release, None, 9).unwrap(), []);
}

#[test]
fn a_pin_on_one_name_holds_all_and_the_file_goes_with_its_last() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    larder.order(&revision(2), at(0));
    larder.catalogue.delegate(larder.claim(at(0)), &directory(1), at(0), |_, _| Ok(true)).unwrap();
    larder.catalogue.pin(&revision(2), true).unwrap();
    let untouched = |_: &BundleKey| panic!("withdrawn");
    assert_eq!(larder.catalogue.remove(&[directory(1), revision(2)], untouched).unwrap(), 0);
    larder.catalogue.pin(&revision(2), false).unwrap();

    let mut withdrawn = Vec::new();
    let mut withdraw = |key: &BundleKey| {
        withdrawn.push(*key);
        Ok(())
    };
    assert_eq!(larder.catalogue.remove(&[directory(1), directory(77)], &mut withdraw).unwrap(), 1);
    assert_eq!(larder.catalogue.totals().unwrap().files, 1);
    assert_eq!(larder.bundle(&revision(2)).file, Some(facts(1)));
    assert_eq!(larder.catalogue.remove(&[revision(2)], &mut withdraw).unwrap(), 1);
    assert_eq!(withdrawn, [directory(1), directory(77), revision(2)]);
    let totals = larder.catalogue.totals().unwrap();
    assert_eq!((totals.files, totals.allocated), (0, 0));
}

#[test]
fn a_sha256_is_noted_only_for_the_file_it_was_computed_from() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    larder.cook(&directory(2), 2, at(0));
    let expected = vec![(directory(1), [1; 32]), (directory(2), [2; 32])];
    assert_eq!(larder.catalogue.without_sha256(9).unwrap(), expected);
    assert_eq!(larder.catalogue.without_sha256(1).unwrap(), expected[..1]);
    larder.catalogue.set_sha256(&directory(1), &[9; 32], [7; 32]).unwrap();
    assert_eq!(larder.bundle(&directory(1)).sha256, None, "of another file");
    larder.catalogue.set_sha256(&directory(1), &[1; 32], [7; 32]).unwrap();
    assert_eq!(larder.bundle(&directory(1)).sha256, Some([7; 32]));
    assert_eq!(larder.catalogue.without_sha256(9).unwrap(), expected[1..]);
}

#[test]
fn a_clock_set_back_harms_nothing() {
    let larder = larder();
    let back = |seconds: i64| at(seconds - 100_000);
    larder.cook(&directory(1), 1, at(0));
    larder.cook(&directory(2), 2, back(0));
    let first = larder.bundle(&directory(1)).last_access_at;
    assert!(larder.bundle(&directory(2)).last_access_at >= first, "what is used later sorts later");

    // Back-offs end and failures are retried, if at half the pace.
    larder.order(&directory(3), back(10));
    let Failed::Retry(retry) =
        larder.catalogue.fail(larder.claim(back(10)), failure(FailureCode::Io), back(10)).unwrap()
    else {
        panic!("an i/o error is transient")
    };
    assert_eq!(retry, back(12));
    assert_eq!(larder.catalogue.claim("p", back(11)).unwrap(), None);
    assert_eq!(larder.catalogue.next_ready().unwrap(), Some(retry));
    larder.catalogue.fail(larder.claim(retry), failure(FailureCode::TooLarge), retry).unwrap();
    assert_eq!(larder.order(&directory(3), back(70)), Came::Already(Status::Failed));
    assert_eq!(larder.order(&directory(3), back(140)), Came::Queued);
}

#[test]
fn what_is_committed_outlives_the_process_and_the_handle() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    larder.order(&directory(2), at(0));
    larder.claim(at(0));
    let expected = larder.bundle(&directory(1));
    let Larder { _folder: folder, path, catalogue } = larder;
    drop(catalogue);
    for access in [Access::Read, Access::Write, Access::Migrate] {
        let catalogue = Catalogue::open(&path, access).unwrap();
        assert_eq!(catalogue.bundle(&directory(1)).unwrap().as_ref(), Some(&expected));
        assert_eq!(catalogue.owners().unwrap(), ["p"]);
    }
    drop(folder);
}

#[test]
fn what_a_killed_process_committed_is_there_for_whoever_opens_next() {
    let larder = larder();
    larder.cook(&directory(1), 1, at(0));
    // What a kill leaves: the log not yet carried over, and nobody who holds a lock.
    for access in [Access::Read, Access::Write] {
        let left = tempfile::tempdir().unwrap();
        for name in ["catalogue.db", "catalogue.db-wal"] {
            let from = larder.path.with_file_name(name);
            fs::write(left.path().join(name), fs::read(from).unwrap()).unwrap();
        }
        assert!(fs::metadata(left.path().join("catalogue.db-wal")).unwrap().len() > 0);
        let catalogue = Catalogue::open(&left.path().join("catalogue.db"), access).unwrap();
        assert_eq!(catalogue.bundle(&directory(1)).unwrap().unwrap().file, Some(facts(1)));
    }
}

#[test]
fn a_second_handle_does_not_loosen_the_locks_of_the_first() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    drop(Catalogue::open(&larder.path, Access::Write).unwrap());
    // Closing another process's last connection would delete the log, were our locks gone.
    let program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM totals').fetchall()";
    let python = std::process::Command::new("python3").args(["-c", program]).arg(&larder.path).status();
    if python.is_ok_and(|status| status.success()) {
        assert!(larder.path.with_file_name("catalogue.db-wal").exists());
    }
    assert_eq!(larder.order(&directory(1), at(0)), Came::Already(Status::New));
}

#[test]
fn a_catalogue_opened_for_reading_refuses_to_write_and_is_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    assert!(matches!(Catalogue::open(&path, Access::Read), Err(CatalogueError::Absent { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    drop(Catalogue::open(&path, Access::Write).unwrap());
    let catalogue = Catalogue::open(&path, Access::Read).unwrap();
    let refused = catalogue.order(&directory(1), at(0), 9, MINUTE);
    assert!(matches!(refused, Err(CatalogueError::ReadOnly)), "{refused:?}");
    assert_eq!(catalogue.totals().unwrap().files, 0);
}

#[test]
fn another_version_is_refused_with_both_versions_and_what_to_do() {
    let larder = larder();
    // An older one is what `Access::Migrate` is for.
    let cases: [(_, _, &[Access]); 2] = [
        (VERSION + 1, "newer", &[Access::Read, Access::Write, Access::Migrate]),
        (0, "larder migrate", &[Access::Read, Access::Write]),
    ];
    for (version, advice, accesses) in cases {
        larder.sql().pragma_update(None, "user_version", version).unwrap();
        for &access in accesses {
            let error = Catalogue::open(&larder.path, access).unwrap_err();
            assert!(
                matches!(error, CatalogueError::Version { found, known: VERSION, .. } if found == version),
                "{error}"
            );
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let text = "not a database at all\n".repeat(100);
    fs::write(&path, &text).unwrap();
    for access in [Access::Read, Access::Write, Access::Migrate] {
        let error = Catalogue::open(&path, access).unwrap_err();
        assert!(matches!(error, CatalogueError::Foreign { .. }), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE somebody_elses (a)").unwrap();
    let error = Catalogue::open(&path, Access::Migrate).unwrap_err();
    assert!(matches!(error, CatalogueError::Foreign { .. }), "{error}");

    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(Catalogue::open(&link, Access::Migrate).is_err(), "a symlink is not followed");
}

#[test]
fn many_that_open_a_new_catalogue_at_once_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    std::thread::scope(|scope| {
        let open = |number: u8| {
            let catalogue = Catalogue::open(&path, Access::Migrate).unwrap();
            order(&catalogue, &directory(number), at(0), 100)
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || open(number))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Came::Queued);
        }
    });
    assert_eq!(Catalogue::open(&path, Access::Read).unwrap().totals().unwrap().queued, 8);
}

#[test]
fn what_is_said_of_a_bundle_goes_with_its_file() {
    let larder = larder();
    larder.order(&directory(1), at(0));
    let claim = larder.claim(at(1));
    let remarks = Remarks { notes: vec!["\"a\" left out: why".to_owned()], lossy: true };
    let finishing = Finishing { facts: facts(1), remarks: &remarks, took: SECOND, met: &|_| true, segments: &[] };
    let finished = larder.catalogue.finish_cook(claim, &finishing, at(2), |_| Ok(())).unwrap();
    assert_eq!(finished, Finished::Done);
    assert_eq!(larder.catalogue.bundle(&directory(1)).unwrap().unwrap().remarks, remarks);
    larder.catalogue.reopen(&directory(1), at(3)).unwrap();
    let none = "SELECT notes IS NULL AND lossy = 0 FROM bundle";
    assert!(larder.sql().query_row(none, [], |row| row.get::<_, bool>(0)).unwrap());
}
