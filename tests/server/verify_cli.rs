//! `larder verify`: exit codes and words, and that no byte of any format changes unnoticed.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::{Fixture, fixture};
use crate::common::process::Start as _;
use crate::common::server::Server;
use larder::archive::snapshot::{Manifest, Target};
use larder::catalogue::{Access, Catalogue};
use larder::key::{BundleKey, Format, ObjectKind};
use larder::verify::{self, Input, Proof};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn verify(args: &[&str], input: Option<&[u8]>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("verify").args(args).env_remove("LARDER_CONFIG").env_remove("HOME");
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).start().unwrap();
    if let Some(bytes) = input {
        // It need not read to the end.
        let _ = child.stdin.take().unwrap().write_all(bytes);
    }
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A bundle in a file, and the proof beside it where it takes one.
struct Bundle {
    key: BundleKey,
    path: PathBuf,
    proof: Option<PathBuf>,
}

impl Bundle {
    fn args<'a>(&'a self, swhid: &'a str) -> Vec<&'a str> {
        let mut args = vec![self.path.to_str().unwrap(), swhid];
        if let Some(proof) = &self.proof {
            args.extend(["--proof", proof.to_str().unwrap()]);
        }
        args
    }
}

/// One bundle of each kind in each format that there is.
fn bundles(fixture: &Fixture, folder: &Path) -> Vec<Bundle> {
    let data = TempDir::new().unwrap();
    // What fast-import cannot make, an empty folder for one, is in no stream of its own.
    let carried = crate::common::fixtures::fixture("octopus");
    let server = Server::start(data.path(), &[&fixture.path, &carried.path], &[]);
    let mut bundles = Vec::new();
    for kind in [ObjectKind::Directory, ObjectKind::Revision, ObjectKind::Release] {
        for format in Format::ALL {
            let from = if format == Format::Gitfast { &carried } else { fixture };
            let Some(id) = from.cookable().find(|id| id.kind == kind).map(|found| found.id) else { continue };
            let Ok(key) = BundleKey::new(kind, id, format) else { continue };
            assert_eq!(server.cook(&key.to_string())["status"], "done", "{key}");
            let path = folder.join(key.file_name());
            fs::write(&path, server.get(&format!("/vault/{key}")).body).unwrap();
            let proof = (kind != ObjectKind::Directory && format.is_flat()).then(|| {
                let proof = folder.join(format!("{}.proof", key.file_name()));
                let answer = server.get(&format!("/vault/{kind}/{id}/proof"));
                assert_eq!(answer.status, 200, "{key}");
                fs::write(&proof, answer.body).unwrap();
                proof
            });
            bundles.push(Bundle { key, path, proof });
        }
    }
    bundles
}

#[test]
fn every_format_of_every_kind_verifies_and_says_so() {
    let folder = TempDir::new().unwrap();
    for bundle in bundles(&fixture("plain"), folder.path()) {
        let swhid = bundle.key.swhid().to_string();
        let mut args = bundle.args(&swhid);
        let ran = verify(&args, None);
        assert_eq!(ran.code, 0, "{}: {}", bundle.key, ran.err);
        assert!(ran.out.contains(&swhid) && ran.out.contains(bundle.key.format().ext()), "{}", ran.out);
        args.push("--json");
        let report: serde_json::Value = serde_json::from_str(&verify(&args, None).out).unwrap();
        assert_eq!((report["verified"].as_bool(), report["error"].as_str()), (Some(true), None), "{report}");

        let bytes = fs::read(&bundle.path).unwrap();
        let nameless = folder.path().join("nameless");
        fs::write(&nameless, &bytes).unwrap();
        args[0] = nameless.to_str().unwrap();
        assert_eq!(verify(&args, None).code, 0, "{}: its first bytes tell its format", bundle.key);
        args[0] = "-";
        let expected = if verify::is_streaming(bundle.key.format()) { 0 } else { 2 };
        assert_eq!(verify(&args, Some(&bytes)).code, expected, "{} from standard input", bundle.key);
    }
}

#[test]
fn what_differs_what_is_damaged_and_what_cannot_be_read_have_exit_codes_of_their_own() {
    let folder = TempDir::new().unwrap();
    for bundle in bundles(&fixture("plain"), folder.path()) {
        let swhid = bundle.key.swhid().to_string();
        let is_flat = bundle.key.format().is_flat();
        let other = "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let differs = verify(&[bundle.path.to_str().unwrap(), other], None);
        assert_eq!(differs.code, 4, "{}: {}", bundle.key, differs.err);
        assert!(
            !is_flat || (differs.err.contains("recomputed swh:1:dir:") && differs.err.contains(other)),
            "{}",
            differs.err
        );

        let whole = fs::read(&bundle.path).unwrap();
        let args = bundle.args(&swhid);
        for damaged in [
            whole[..whole.len() - 1].to_vec(),
            whole[..whole.len() / 2].to_vec(),
            [&whole[..], b"x"].concat(),
            Vec::new(),
        ] {
            fs::write(&bundle.path, &damaged).unwrap();
            let ran = verify(&args, None);
            assert_eq!(ran.code, 5, "{} with {} of {} bytes: {}", bundle.key, damaged.len(), whole.len(), ran.err);
            assert!(ran.out.is_empty());
        }
        fs::write(&bundle.path, &whole).unwrap();
        if let Some(proof) = &bundle.proof {
            let without = verify(&[bundle.path.to_str().unwrap(), &swhid], None);
            assert!(without.code == 2 && without.err.contains("--proof"), "{}: {}", without.code, without.err);
            let mut bytes = fs::read(proof).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(proof, bytes).unwrap();
            assert_eq!(verify(&args, None).code, 5, "{}: the proof is not right", bundle.key);
        }
    }
    let swhid = "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let unknown = folder.path().join("unknown");
    fs::write(&unknown, "words").unwrap();
    assert_eq!(verify(&[unknown.to_str().unwrap(), swhid], None).code, 1, "of no known format");
    assert_eq!(verify(&["/nowhere/x.tar", swhid], None).code, 1);
    assert_eq!(verify(&["x.tar", "swh:1:dir:x"], None).code, 2);
    assert_eq!(verify(&["x.tar"], None).code, 2);
}

#[test]
fn where_a_tar_is_damaged_is_said_by_byte_and_member() {
    let folder = TempDir::new().unwrap();
    let bundles = bundles(&fixture("plain"), folder.path());
    let tar =
        bundles.iter().find(|one| one.key.format() == Format::Tar && one.key.kind() == ObjectKind::Directory).unwrap();
    let mut bytes = fs::read(&tar.path).unwrap();
    let at = bytes.len() - 1024 - 1;
    bytes[at] ^= 1;
    fs::write(&tar.path, bytes).unwrap();
    let swhid = tar.key.swhid().to_string();
    let ran = verify(&tar.args(&swhid), None);
    assert!(ran.code != 0 && (ran.err.contains("source/") || ran.err.contains("recomputed")), "{}", ran.err);
    let mut bytes = fs::read(&tar.path).unwrap();
    bytes[512] ^= 1;
    fs::write(&tar.path, bytes).unwrap();
    let ran = verify(&tar.args(&swhid), None);
    assert!(ran.err.contains("at byte 1024") && ran.err.contains("source/"), "{}", ran.err);
}

/// In this process, for speed.
fn is_verified(bundle: &Bundle, proof: Option<&Proof>, bytes: &[u8]) -> bool {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let format = bundle.key.format();
    verify::bundle(format, Input::File(&file))
        .is_ok_and(|found| verify::agrees(&found, format, &bundle.key.swhid(), proof).is_ok())
}

/// A content, and a snapshot in each format that it has.
fn content_and_snapshots(folder: &Path) -> Vec<Bundle> {
    let (fixture, data) = (fixture("octopus"), TempDir::new().unwrap());
    let mut manifest = Manifest::default();
    assert!(manifest.insert(b"HEAD", Target::Alias(b"refs/heads/main".to_vec())));
    for (name, revision) in [("refs/heads/base", "base"), ("refs/heads/main", "merge")] {
        assert!(manifest.insert(name.as_bytes(), Target::Object(ObjectKind::Revision, fixture.id(revision).id)));
    }
    let catalogue = Catalogue::open(&data.path().join("catalogue.db"), Access::Migrate).unwrap();
    let snapshot = catalogue.add_snapshot(&manifest, None).unwrap();
    drop(catalogue);
    let content = crate::common::git_line(&["rev-parse", "HEAD:one/file"], &fixture.repositories()[0]).parse().unwrap();
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let keys = [
        (ObjectKind::Content, content, Format::Raw),
        (ObjectKind::Snapshot, snapshot, Format::GitTar),
        (ObjectKind::Snapshot, snapshot, Format::Bundle),
        (ObjectKind::Snapshot, snapshot, Format::Gitfast),
    ];
    let fetched = |(kind, id, format)| {
        let key = BundleKey::new(kind, id, format).unwrap();
        assert_eq!(server.cook(&key.to_string())["status"], "done", "{key}");
        let path = folder.join(key.file_name());
        fs::write(&path, server.get(&format!("/vault/{key}")).body).unwrap();
        // The manifest is in a git.tar.
        let proof = (kind == ObjectKind::Snapshot && format != Format::GitTar).then(|| {
            let proof = folder.join(format!("{}.proof", key.file_name()));
            fs::write(&proof, larder::cook::proof::of_snapshot(&manifest)).unwrap();
            proof
        });
        Bundle { key, path, proof }
    };
    keys.into_iter().map(fetched).collect()
}

/// Calls `each` with every bundle that there is a reader for, whole and right, and its proof.
fn with_all_formats(fixture: &Fixture, mut each: impl FnMut(&Bundle, Option<&Proof>, &[u8])) {
    let folder = TempDir::new().unwrap();
    let mut all = content_and_snapshots(folder.path());
    all.extend(bundles(fixture, folder.path()));
    for format in Format::ALL {
        assert!(all.iter().any(|bundle| bundle.key.format() == format), "{format}");
    }
    for bundle in all {
        let whole = fs::read(&bundle.path).unwrap();
        let proof = bundle.proof.as_ref().map(|path| Proof::decode(&fs::read(path).unwrap()).unwrap());
        assert!(is_verified(&bundle, proof.as_ref(), &whole), "{}", bundle.key);
        each(&bundle, proof.as_ref(), &whole);
    }
}

#[test]
fn no_single_byte_of_any_format_changes_unnoticed() {
    with_all_formats(&fixture("plain"), |bundle, proof, whole| {
        let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(150) });
        let places = (any::<prop::sample::Index>(), 1..=255_u8);
        let result = runner.run(&places, |(at, by)| {
            let (mut changed, at) = (whole.to_vec(), at.index(whole.len()));
            changed[at] ^= by;
            prop_assert!(!is_verified(bundle, proof, &changed), "{}: byte {} of {}", bundle.key, at, whole.len());
            Ok(())
        });
        result.unwrap();
    });
}

/// Headers, trailers, padding, what gzip, zstd and zip put around: each byte, where chance may miss it.
#[test]
fn every_byte_of_a_small_bundle_of_any_format_counts() {
    let mut done = BTreeSet::new();
    with_all_formats(&fixture("octopus"), |bundle, proof, whole| {
        if !done.insert(bundle.key.format().ext()) {
            return;
        }
        let mut changed = whole.to_vec();
        for at in 0..whole.len() {
            let by = [1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0xff][at % 9];
            changed[at] ^= by;
            assert!(!is_verified(bundle, proof, &changed), "{}: byte {at} of {} by {by:#x}", bundle.key, whole.len());
            changed[at] = whole[at];
        }
    });
}
