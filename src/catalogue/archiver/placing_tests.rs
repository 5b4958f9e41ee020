//! The life of a placement, through every statement; `plan::prepare` checks that each seeks.

use super::super::super::{Access, TaskOrder};
use super::super::placement::PlacementState;
use super::super::{Landed, Landing};
use super::*;
use crate::key::{Format, ObjectKind, Sha1Git};
use crate::task::{Fetched, Wanted};

const MINUTE: Duration = Duration::from_mins(1);

fn open() -> (tempfile::TempDir, Catalogue) {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
    (folder, catalogue)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000 + seconds * 1000)
}

fn placed() -> Placed {
    Placed::of(&landing().fetched, &landing().facts)
}

fn landing() -> Landing {
    let content = BundleKey::new(ObjectKind::Content, Sha1Git::from_bytes([1; 20]), Format::Raw).unwrap();
    let (media_type, file_name) = ("application/zip".to_owned(), "r.zip".to_owned());
    let fetched = Fetched { content, size: 7, media_type, file_name, directory: Err(String::new()) };
    let facts = FileFacts { size: 7, allocated: 512, blake3: [1; 32] };
    let regions = vec!["east".to_owned(), "west".to_owned()];
    Landing { fetched, facts, took: MINUTE, immutable: false, moves: false, regions }
}

/// Fetches it.
fn land(catalogue: &Catalogue, id: &str) {
    let text = |text: &str| text.to_owned();
    let wanted = Wanted {
        source: text("s"),
        repo: text("r"),
        rev: text("a"),
        suffix: text("zip"),
        subdir: text(""),
        url: text("http://h/a"),
    };
    let order = catalogue.order_fetch(&wanted, "h", id, 3, Duration::ZERO, at(0)).unwrap();
    assert_eq!(order, TaskOrder::Queued(id.to_owned()));
    let job = catalogue.claim_fetch("p", |_| 2, at(0)).unwrap().unwrap();
    assert_eq!(catalogue.land(&job, &landing(), at(0), |_| Ok(true), |_| Ok(())).unwrap(), Landed::Published);
}

fn states(catalogue: &Catalogue) -> Vec<(String, PlacementState)> {
    let placements = catalogue.placements(&placed().content).unwrap();
    placements.into_iter().map(|placement| (placement.region, placement.state)).collect()
}

fn next(catalogue: &Catalogue, region: &str, now: Timestamp) -> Option<PlacementJob> {
    catalogue.next_placement(region, "p", now).unwrap()
}

#[test]
fn what_is_fetched_is_wanted_in_every_region_and_put_once() {
    let (_folder, catalogue) = open();
    let job = catalogue.claim_placement(&placed(), "east", "p", at(0)).unwrap().unwrap();
    assert!(!job.is_kept, "it is being fetched still");
    assert_eq!(catalogue.claim_placement(&placed(), "east", "q", at(0)).unwrap(), None);
    catalogue.note_upload(&job, "u").unwrap();
    catalogue.end_placement(&job, &PlacementEnd::There(MINUTE), at(0)).unwrap();
    land(&catalogue, "a-1");
    let (east, west) = ("east".to_owned(), "west".to_owned());
    assert_eq!(states(&catalogue), [(east, PlacementState::There), (west, PlacementState::Wanted)]);
    assert_eq!(next(&catalogue, "east", at(59)), None);
    let again = next(&catalogue, "east", at(61)).unwrap();
    assert_eq!((again.upload, again.is_kept), (None, true));
    assert_eq!(next(&catalogue, "west", at(61)).unwrap().placement.placed, placed());
}

#[test]
fn a_failure_waits_its_time_unless_the_region_is_back() {
    let (_folder, catalogue) = open();
    land(&catalogue, "a-1");
    let job = next(&catalogue, "west", at(0)).unwrap();
    catalogue.end_placement(&job, &PlacementEnd::Failed("x".repeat(999), MINUTE), at(0)).unwrap();
    assert_eq!(next(&catalogue, "west", at(59)), None);
    catalogue.hurry_placements("east", at(59)).unwrap();
    assert_eq!(next(&catalogue, "west", at(59)), None);
    catalogue.hurry_placements("west", at(59)).unwrap();
    let job = next(&catalogue, "west", at(59)).unwrap();
    assert_eq!((job.placement.attempts, job.placement.fault.as_deref().map(str::len)), (1, Some(500)));
    catalogue.end_placement(&job, &PlacementEnd::GivenBack, at(59)).unwrap();
    assert!(next(&catalogue, "west", at(59)).is_some());
}

#[test]
fn what_is_collected_here_is_deleted_there_unless_it_is_fetched_again_first() {
    let (_folder, catalogue) = open();
    land(&catalogue, "a-1");
    let job = next(&catalogue, "east", at(1)).unwrap();
    // Collected while it is put.
    catalogue.remove(&[placed().content], |_| Ok(())).unwrap();
    catalogue.end_placement(&job, &PlacementEnd::There(MINUTE), at(1)).unwrap();
    let job = next(&catalogue, "east", at(1)).unwrap();
    assert_eq!(job.placement.state, PlacementState::Unwanted);
    catalogue.end_placement(&job, &PlacementEnd::Deleted, at(1)).unwrap();
    // Fetched again while it is deleted.
    let job = next(&catalogue, "west", at(1)).unwrap();
    assert_eq!(job.placement.state, PlacementState::Unwanted);
    land(&catalogue, "a-2");
    catalogue.end_placement(&job, &PlacementEnd::Deleted, at(2)).unwrap();
    for region in ["east", "west"] {
        assert_eq!(next(&catalogue, region, at(2)).unwrap().placement.state, PlacementState::Wanted, "{region}");
    }
}

#[test]
fn what_came_to_nothing_is_deleted_and_what_is_kept_is_not() {
    let (_folder, catalogue) = open();
    let job = catalogue.claim_placement(&placed(), "east", "p", at(0)).unwrap().unwrap();
    assert_eq!(catalogue.placement_owners().unwrap(), ["p"]);
    assert_eq!(catalogue.release_placements("p", at(0)).unwrap(), 1);
    catalogue.end_placement(&job, &PlacementEnd::Deleted, at(0)).unwrap();
    let job = next(&catalogue, "east", at(0)).unwrap();
    assert_eq!((job.is_kept, job.placement.state), (false, PlacementState::Wanted));
    catalogue.end_placement(&job, &PlacementEnd::Orphaned, at(0)).unwrap();
    assert_eq!(states(&catalogue), [("east".to_owned(), PlacementState::Unwanted)]);
    catalogue.want_placements(&placed(), &landing().regions, at(0)).unwrap();
    assert_eq!(states(&catalogue).len(), 1, "nobody keeps it");
    land(&catalogue, "a-1");
    catalogue.unwant_placements(&placed().content, at(1)).unwrap();
    assert!(states(&catalogue).iter().all(|(_, state)| *state == PlacementState::Wanted));
    let job = next(&catalogue, "east", at(1)).unwrap();
    catalogue.end_placement(&job, &PlacementEnd::Orphaned, at(1)).unwrap();
    assert_eq!(states(&catalogue)[0].1, PlacementState::Wanted);
}

#[test]
fn a_lost_file_is_looked_after_at_once_and_comes_back() {
    let (_folder, catalogue) = open();
    land(&catalogue, "a-1");
    let job = next(&catalogue, "east", at(1)).unwrap();
    catalogue.end_placement(&job, &PlacementEnd::There(MINUTE), at(1)).unwrap();
    let content = placed().content;
    catalogue.reopen(&content, at(2)).unwrap();
    assert!(next(&catalogue, "east", at(2)).is_some_and(|job| job.is_kept));
    let facts = landing().facts;
    assert!(catalogue.restore_content(&content, &facts, MINUTE, at(2), || Ok(())).unwrap());
    assert_eq!(catalogue.bundle(&content).unwrap().unwrap().file, Some(facts));
    catalogue.remove(&[content], |_| Ok(())).unwrap();
    assert!(!catalogue.restore_content(&content, &facts, MINUTE, at(3), || Ok(())).unwrap());
}

#[test]
fn a_look_is_noted_unless_a_process_is_at_it() {
    let (_folder, catalogue) = open();
    let content = placed().content;
    let job = catalogue.claim_placement(&placed(), "east", "p", at(0)).unwrap().unwrap();
    catalogue.end_placement(&job, &PlacementEnd::There(MINUTE), at(0)).unwrap();
    land(&catalogue, "a-1");
    let row = || catalogue.placements(&content).unwrap().remove(0);
    catalogue.note_look(&content, "east", Some(MINUTE), at(50)).unwrap();
    assert_eq!((row().put_at, row().due_at), (Some(at(50)), at(110)), "seen, and not due for another minute");
    assert_eq!(next(&catalogue, "east", at(61)), None);

    let job = next(&catalogue, "east", at(111)).unwrap();
    catalogue.note_look(&content, "east", None, at(111)).unwrap();
    assert_eq!(row().state, PlacementState::There, "whoever is at it will see for themselves");
    catalogue.end_placement(&job, &PlacementEnd::There(MINUTE), at(112)).unwrap();

    catalogue.note_look(&content, "east", None, at(120)).unwrap();
    assert_eq!(row().state, PlacementState::Wanted, "nobody is sent there");
    catalogue.note_look(&content, "east", Some(MINUTE), at(120)).unwrap();
    assert_eq!(row().state, PlacementState::Wanted, "an older look does not undo that");
    assert_eq!(next(&catalogue, "east", at(120)).unwrap().placement.state, PlacementState::Wanted);
}
