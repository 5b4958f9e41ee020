//! Which manifests are told from refs, and which are not.

use super::*;
use crate::cook::history::git_bundle::in_order;
use crate::cook::history::{Subject, refs};
use crate::verify::{Checked, Differs, agrees};
use std::collections::BTreeMap;

fn id(byte: u8) -> Sha1Git {
    Sha1Git::from_bytes([byte; 20])
}

fn of(kind: ObjectKind, byte: u8) -> Target {
    Target::Object(kind, id(byte))
}

fn alias(name: &str) -> Target {
    Target::Alias(name.as_bytes().to_vec())
}

fn snapshot(branches: &[(&str, Target)]) -> Manifest {
    let mut manifest = Manifest::default();
    for (name, target) in branches {
        assert!(manifest.insert(name.as_bytes(), target.clone()));
    }
    manifest
}

/// What the bundle of a snapshot shows of it.
fn shown(manifest: &Manifest, format: Format) -> History {
    let mut none = larder_of_nothing();
    let refs = refs(&mut none, &Subject::Snapshot(manifest.clone())).unwrap();
    let mut history = History::default();
    for one in in_order(&refs) {
        history.refs.push((one.name.clone(), one.target));
        match one.object_type {
            ObjectType::Tag => _ = history.tags.insert(one.target, Vec::new()),
            ObjectType::Tree | ObjectType::Blob => _ = history.others.insert(one.target, one.object_type),
            ObjectType::Commit => {}
        }
    }
    history.head = refs.head_target().map(Head::Detached).filter(|_| format == Format::Bundle);
    history
}

fn larder_of_nothing() -> impl crate::archive::Reader {
    crate::verify::agreement::Tags(Box::leak(Box::new(BTreeMap::new())))
}

#[test]
fn what_every_repository_has_is_told_and_agrees() {
    let main = ("refs/heads/main", of(ObjectKind::Revision, 1));
    let tag = ("refs/tags/v1", of(ObjectKind::Release, 2));
    for branches in [
        vec![("HEAD", alias("refs/heads/main")), main.clone(), tag.clone()],
        vec![("HEAD", alias("refs/heads/main")), ("refs/heads/a", main.1.clone()), main.clone(), tag.clone()],
        vec![("HEAD", alias("refs/heads/a")), ("refs/heads/a", main.1.clone()), main.clone(), tag.clone()],
        vec![("HEAD", main.1.clone()), main.clone()],
        vec![("HEAD", main.1.clone()), main.clone(), tag.clone()],
        vec![main.clone()],
        vec![("HEAD", alias("refs/heads/master")), ("refs/heads/master", Target::Dangling), tag],
        vec![("HEAD", alias("refs/heads/main")), ("refs/heads/main", Target::Dangling)],
        vec![("refs/odd/blob", of(ObjectKind::Content, 3)), ("refs/odd/tree", of(ObjectKind::Directory, 4))],
        vec![],
    ] {
        let snapshot = snapshot(&branches);
        for format in [Format::Bundle, Format::Gitfast] {
            let history = shown(&snapshot, format);
            assert_eq!(manifest(&history, format, &snapshot.id()).as_ref(), Some(&snapshot), "{format}: {branches:?}");
            let swhid = crate::key::Swhid { kind: ObjectKind::Snapshot, id: snapshot.id() };
            assert!(agrees(&Checked::History(history), format, &swhid, None).is_ok(), "{format}: {branches:?}");
        }
    }
}

#[test]
fn what_refs_do_not_show_is_not_told_and_takes_the_proof() {
    let main = ("refs/heads/main", of(ObjectKind::Revision, 1));
    for hidden in [
        ("refs/heads/gone", Target::Dangling),
        ("refs/heads/..", of(ObjectKind::Revision, 1)),
        ("elsewhere", of(ObjectKind::Revision, 1)),
        ("refs/heads/alias", alias("refs/heads/main")),
        ("refs/heads/tree", of(ObjectKind::Directory, 3)),
        ("refs/snapshot", of(ObjectKind::Snapshot, 3)),
        ("HEAD", alias("refs/heads/unborn")),
    ] {
        let snapshot = snapshot(&[main.clone(), hidden.clone()]);
        let swhid = crate::key::Swhid { kind: ObjectKind::Snapshot, id: snapshot.id() };
        let proof = crate::verify::Proof::decode(&crate::cook::proof::of_snapshot(&snapshot)).unwrap();
        for format in [Format::Bundle, Format::Gitfast] {
            let found = Checked::History(shown(&snapshot, format));
            let without = agrees(&found, format, &swhid, None);
            assert!(matches!(without, Err(Differs::Untold { .. })), "{format}: {hidden:?}");
            assert!(agrees(&found, format, &swhid, Some(&proof)).is_ok(), "{format}: {hidden:?}");
        }
    }
}

#[test]
fn refs_that_stand_in_another_order_are_not_the_bundle_of_the_snapshot() {
    let (one, both) = (of(ObjectKind::Revision, 1), |head: &str| {
        snapshot(&[
            ("HEAD", alias(head)),
            ("refs/heads/a", of(ObjectKind::Revision, 1)),
            ("refs/heads/b", of(ObjectKind::Revision, 1)),
        ])
    });
    assert_eq!(both("refs/heads/a").get(b"refs/heads/a"), Some(&one));
    let expected = both("refs/heads/a");
    let swhid = crate::key::Swhid { kind: ObjectKind::Snapshot, id: expected.id() };
    let proof = crate::verify::Proof::decode(&crate::cook::proof::of_snapshot(&expected)).unwrap();
    let other = Checked::History(shown(&both("refs/heads/b"), Format::Bundle));
    for proof in [None, Some(&proof)] {
        assert!(agrees(&other, Format::Bundle, &swhid, proof).is_err(), "git would take b for HEAD");
    }
}
