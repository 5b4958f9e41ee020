//! The life of a task, through every statement; `plan::prepare` checks that each seeks.

use super::super::{Access, Catalogue};
use super::*;
use crate::key::{Format, ObjectKind};
use crate::task::{Directory, FaultCode, Wanted};

const MINUTE: Duration = Duration::from_mins(1);

fn open() -> (tempfile::TempDir, Catalogue) {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
    (folder, catalogue)
}

fn wanted(rev: &str) -> Wanted {
    let text = |text: &str| text.to_owned();
    let url = format!("http://h/{rev}");
    Wanted { source: text("s"), repo: text("r"), rev: text(rev), suffix: text("zip"), subdir: String::new(), url }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + seconds * 1000)
}

fn order(catalogue: &Catalogue, rev: &str, id: &str, now: Timestamp) -> TaskOrder {
    catalogue.order_fetch(&wanted(rev), "h", id, 3, MINUTE, now).unwrap()
}

fn claim(catalogue: &Catalogue, now: Timestamp) -> Option<Job> {
    catalogue.claim_fetch("p", |_| 2, now).unwrap()
}

fn landing(byte: u8, immutable: bool) -> Landing {
    let content = BundleKey::new(ObjectKind::Content, Sha1Git::from_bytes([byte; 20]), Format::Raw).unwrap();
    let fetched = Fetched {
        content,
        size: 7,
        media_type: "application/zip".to_owned(),
        file_name: "r.zip".to_owned(),
        directory: Ok(Directory { id: Sha1Git::from_bytes([9; 20]), size: 30 }),
    };
    let facts = FileFacts { size: 7, allocated: 512, blake3: [byte; 32] };
    let regions = vec!["east".to_owned(), "west".to_owned()];
    Landing { fetched, facts, took: MINUTE, immutable, moves: false, regions }
}

fn land(catalogue: &Catalogue, job: &Job, landing: &Landing, there: bool) -> Landed {
    catalogue.land(job, landing, at(5), |_| Ok(there), |_| Ok(())).unwrap()
}

#[test]
fn a_task_is_ordered_once_started_and_ends_with_its_bundle() {
    let (_folder, catalogue) = open();
    assert_eq!(order(&catalogue, "a", "a-1", at(0)), TaskOrder::Queued("a-1".to_owned()));
    assert_eq!(order(&catalogue, "a", "a-2", at(1)), TaskOrder::Already("a-1".to_owned()));
    let (task, alias) = catalogue.task("a-1").unwrap().unwrap();
    assert_eq!((task.state, task.created_at, task.attempts), (State::Pending, at(0), 0));
    assert_eq!((&alias.wanted, alias.fetched.as_ref()), (&wanted("a"), None));

    let job = claim(&catalogue, at(2)).unwrap();
    assert_eq!(catalogue.task("a-1").unwrap().unwrap().0.state, State::Started);
    assert_eq!(claim(&catalogue, at(2)), None);
    assert_eq!(land(&catalogue, &job, &landing(1, false), true), Landed::Published);
    assert_eq!(land(&catalogue, &job, &landing(1, false), true), Landed::Lost);
    let alias = catalogue.alias(&wanted("a").key()).unwrap().unwrap();
    assert_eq!(alias.fetched, Some(landing(1, false).fetched));
    assert_eq!(catalogue.newest_task(&alias).unwrap().unwrap().state, State::Success);
    assert_eq!(catalogue.archives_of(&Sha1Git::from_bytes([9; 20])).unwrap(), [alias]);
    assert_eq!(catalogue.last_fetch().unwrap(), Some(at(5)));
    let bundle = catalogue.bundle(&landing(1, false).fetched.content).unwrap().unwrap();
    assert_eq!(bundle.status, crate::bundle::Status::Done);

    assert!(!catalogue.clean_tasks(MINUTE, at(60)).unwrap());
    assert!(catalogue.task("a-1").unwrap().is_some());
    catalogue.clean_tasks(MINUTE, at(66)).unwrap();
    assert!(catalogue.task("a-1").unwrap().is_none(), "old tasks go, the alias stays");
    assert!(catalogue.forget_alias(&wanted("a").key()).unwrap());
    assert_eq!(catalogue.alias(&wanted("a").key()).unwrap(), None);
}

#[test]
fn what_waits_for_61_seconds_waits_anew_and_59_is_not_too_long() {
    let (_folder, catalogue) = open();
    order(&catalogue, "a", "a-1", at(0));
    assert_eq!(catalogue.expire_fetches(MINUTE, at(59)).unwrap(), 0);
    assert_eq!(catalogue.task("a-1").unwrap().unwrap().0.state, State::Pending);
    assert_eq!(catalogue.expire_fetches(MINUTE, at(61)).unwrap(), 1);
    assert_eq!(catalogue.task("a-1").unwrap().unwrap().0.state, State::Retry);
    assert_eq!(catalogue.expire_fetches(MINUTE, at(62)).unwrap(), 0, "it has a new expiry");
    assert_eq!(claim(&catalogue, at(63)).unwrap().id, "a-1", "and its place in the queue");
}

#[test]
fn a_failure_is_remembered_for_a_while_and_a_retry_waits_its_time() {
    let (_folder, catalogue) = open();
    let fault = Fault::new(FaultCode::Upstream, "x".repeat(2000));
    order(&catalogue, "a", "a-1", at(0));
    let job = claim(&catalogue, at(0)).unwrap();
    assert_eq!(catalogue.drop_fetch(&job, &fault, Some(MINUTE), at(0)).unwrap(), Dropped::Retry);
    assert_eq!(claim(&catalogue, at(59)), None);
    assert!(catalogue.hurry_fetch("a-1", at(59)).unwrap());
    let job = claim(&catalogue, at(59)).unwrap();
    assert_eq!(job.attempts, 1);
    catalogue.give_back_fetch(&job).unwrap();
    let job = claim(&catalogue, at(60)).unwrap();
    assert_eq!(catalogue.drop_fetch(&job, &fault, None, at(60)).unwrap(), Dropped::Final);
    assert_eq!(catalogue.drop_fetch(&job, &fault, None, at(60)).unwrap(), Dropped::Lost);
    let task = catalogue.task("a-1").unwrap().unwrap().0;
    assert_eq!((task.state, task.fault.unwrap().message.len()), (State::Failure, 500));
    assert_eq!(order(&catalogue, "a", "a-2", at(119)), TaskOrder::Already("a-1".to_owned()));
    assert_eq!(order(&catalogue, "a", "a-2", at(121)), TaskOrder::Queued("a-2".to_owned()));
    assert_eq!(catalogue.tasks(None, 9).unwrap().len(), 2);
}

#[test]
fn a_host_has_its_bound_and_the_queue_too() {
    let (_folder, catalogue) = open();
    for n in 0..3 {
        order(&catalogue, &n.to_string(), &format!("t-{n}"), at(n));
    }
    assert_eq!(order(&catalogue, "9", "t-9", at(9)), TaskOrder::QueueFull);
    assert_eq!(claim(&catalogue, at(9)).unwrap().id, "t-0");
    assert_eq!(claim(&catalogue, at(9)).unwrap().id, "t-1");
    assert_eq!(claim(&catalogue, at(9)), None, "the host has two already");
    let other = catalogue.order_fetch(&wanted("o"), "other", "o-1", 9, MINUTE, at(9)).unwrap();
    assert_eq!(other, TaskOrder::Queued("o-1".to_owned()));
    assert_eq!(claim(&catalogue, at(9)).unwrap().id, "o-1", "another host is not held up");
}

#[test]
fn a_fetch_of_a_dead_process_is_taken_up_and_not_for_ever() {
    let (_folder, catalogue) = open();
    order(&catalogue, "a", "a-1", at(0));
    for _ in 0..=25 {
        let job = claim(&catalogue, at(1)).unwrap();
        assert_eq!(catalogue.fetch_owners().unwrap(), ["p"]);
        assert_eq!(catalogue.release_fetches("p", at(1)).unwrap(), 1);
        assert_eq!(land(&catalogue, &job, &landing(1, false), true), Landed::Lost);
    }
    let task = catalogue.task("a-1").unwrap().unwrap().0;
    assert_eq!((task.state, task.fault.unwrap().code), (State::Failure, FaultCode::Interrupted));
}

#[test]
fn the_first_bytes_win_as_long_as_they_are_there() {
    let (_folder, catalogue) = open();
    let bring = |byte, there, immutable| {
        catalogue.order_fetch(&wanted("a"), "h", &format!("a-{byte}"), 9, Duration::ZERO, at(0)).unwrap();
        let job = claim(&catalogue, at(1)).unwrap();
        let landed = land(&catalogue, &job, &landing(byte, immutable), there);
        if landed == Landed::Refused {
            let fault = Fault::new(FaultCode::Changed, "");
            catalogue.drop_fetch(&job, &fault, None, at(1)).unwrap();
        }
        (landed, catalogue.alias(&wanted("a").key()).unwrap().unwrap())
    };
    assert_eq!(bring(1, true, false).1.drift, None);
    let (landed, alias) = bring(2, true, false);
    assert_eq!((landed, alias.drift.unwrap().times), (Landed::Drifted, 1));
    assert_eq!(alias.fetched.unwrap().content.id(), Sha1Git::from_bytes([1; 20]));
    assert_eq!(bring(3, false, true).0, Landed::Refused);
    let (landed, alias) = bring(4, false, false);
    assert_eq!((landed, alias.drift.unwrap().times), (Landed::Published, 3));
    assert_eq!(alias.drift.unwrap().first, Sha1Git::from_bytes([1; 20]));
    assert_eq!(alias.fetched.unwrap().content.id(), Sha1Git::from_bytes([4; 20]));
}

#[test]
fn a_content_that_waits_for_a_cook_is_done_by_its_fetch() {
    let (_folder, catalogue) = open();
    let content = landing(1, false).fetched.content;
    catalogue.order(&content, at(0), 9, MINUTE).unwrap();
    let cook = catalogue.claim("p", at(0)).unwrap().unwrap();
    order(&catalogue, "a", "a-1", at(0));
    let job = claim(&catalogue, at(0)).unwrap();
    assert_eq!(land(&catalogue, &job, &landing(1, false), true), Landed::Published);
    let facts = landing(1, false).facts;
    let finished = catalogue.finish(cook, facts, MINUTE, at(1), |_| Ok(())).unwrap();
    assert_eq!(finished, super::super::Finished::Lost);
}

#[test]
fn what_moves_stands_for_the_newest_bytes_though_the_first_are_there() {
    let (_folder, catalogue) = open();
    for (task, byte, now) in [("a-1", 1, 0), ("a-2", 2, 10), ("a-3", 2, 20)] {
        assert_eq!(order(&catalogue, "a", task, at(now)), TaskOrder::Queued(task.to_owned()));
        let job = claim(&catalogue, at(now)).unwrap();
        // Immutable is said of what does not move.
        let landing = Landing { moves: true, ..landing(byte, true) };
        let landed = catalogue.land(&job, &landing, at(now + 1), |_| Ok(true), |_| Ok(())).unwrap();
        assert_eq!(landed, Landed::Published, "{task}");
        let alias = catalogue.alias(&wanted("a").key()).unwrap().unwrap();
        assert_eq!((alias.fetched, alias.drift), (Some(landing.fetched), None), "{task}");
        assert_eq!(alias.fetched_at, Some(at(now + 1)), "it counts from the newest fetch, new bytes or not");
    }
    let passed = |span: u64, now: i64| catalogue.has_passed(Duration::from_secs(span), at(21), at(now)).unwrap();
    assert!(!passed(60, 80) && passed(60, 81) && passed(60, 82));
}
