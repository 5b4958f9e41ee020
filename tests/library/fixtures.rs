//! The fixtures are what their manifests say: git, the oracle, finds each object and agrees on its type.

use crate::common::fixtures::{BIG, Fixture, HOSTILE, REAL, WELL_FORMED, fixture};
use crate::common::git_command;
use larder::key::ObjectKind;
use std::collections::HashSet;

#[test]
fn git_knows_every_object_of_the_well_formed_fixtures_by_its_type() {
    let long = std::env::var_os("LARDER_TEST_LONG").map(|_| [BIG, REAL]);
    for name in WELL_FORMED.into_iter().chain(long.into_iter().flatten()) {
        let fixture = fixture(name);
        assert!(fixture.cookable().count() >= 3, "{name} has next to nothing to cook");
        for object in &fixture.ids {
            let expected = match object.kind {
                ObjectKind::Directory => "tree",
                ObjectKind::Revision => "commit",
                ObjectKind::Release => "tag",
                ObjectKind::Snapshot | ObjectKind::Content => panic!("{name} has a {}", object.kind),
            };
            let found = types(&fixture, &object.id.to_string());
            assert!(found.contains(expected), "{name} {}: git finds {found:?}", object.name);
        }
    }
}

#[test]
fn hostile_fixtures_name_a_failure_for_nearly_everything() {
    for name in HOSTILE {
        let fixture = fixture(name);
        let (fail, cook): (Vec<_>, Vec<_>) = fixture.ids.iter().partition(|id| id.expect.is_some());
        assert!(fail.len() > cook.len(), "{name}: {} fail, {} cook", fail.len(), cook.len());
    }
}

#[test]
fn names_in_a_manifest_are_given_once() {
    for name in WELL_FORMED.iter().chain(&HOSTILE) {
        let fixture = fixture(name);
        let names: HashSet<_> = fixture.ids.iter().map(|id| &id.name).collect();
        assert_eq!(names.len(), fixture.ids.len(), "{name}");
    }
}

/// The types under which the fixture's repositories have an object.
fn types(fixture: &Fixture, id: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    for repository in fixture.repositories() {
        let output = git_command(&repository).args(["cat-file", "-t", id]).output().expect("git can be run");
        if output.status.success() {
            found.insert(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
    }
    found
}
