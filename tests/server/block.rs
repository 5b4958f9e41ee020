//! Blocking through the real program: what is blocked is gone, in every bundle that held it, and is not
//! cooked again, in a server that runs all the while.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::client::Answer;
use crate::common::fixtures::{Fixture, fixture};
use crate::common::server::Server;
use larder::admission::Room;
use larder::archive::git::GitArchive;
use larder::archive::snapshot::{Manifest, Target};
use larder::archive::{Archive, ArchiveError, Header, ObjectType, Reader};
use larder::bundle::Status;
use larder::bundles::Bundles;
use larder::catalogue::{Access, Catalogue};
use larder::key::{BundleKey, ObjectKind, Sha1Git, Swhid};
use larder::kitchen::{Cooks, Limits, Orders};
use larder::limits::{MinFree, Mode, Policy, RoomLimits};
use larder::store::Store;
use larder::time::Timestamp;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn larder(data: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(args)
        .arg("--data")
        .arg(data)
        .env_remove("LARDER_CONFIG")
        .stdin(Stdio::null())
        .output()
        .expect("larder runs")
}

#[track_caller]
fn succeed(data: &Path, args: &[&str]) -> String {
    let output = larder(data, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The first file in a directory of the fixture's, as `(root, blob)`.
fn a_file(fixture: &Fixture) -> (String, String) {
    let repository = &fixture.repositories()[0];
    let root = crate::common::git_line(&["rev-parse", "HEAD^{tree}"], repository);
    let blob = crate::common::git_line(&["ls-tree", "-r", "--format=%(objectname)", "HEAD"], repository);
    (root, blob.lines().next().unwrap().to_owned())
}

#[track_caller]
fn is_blocked(answer: &Answer, reason: Option<&str>) {
    assert_eq!(answer.status, 451, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("link"), Some("<https://bundles.example.org>; rel=\"blocked-by\""));
    let body = answer.json();
    assert_eq!(body["code"], "blocked");
    if let Some(reason) = reason {
        assert_eq!(body["detail"], reason);
    }
}

fn soon(mut check: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_mins(5);
    while Instant::now() < deadline {
        if check() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn a_blocked_file_takes_every_bundle_that_holds_it_along_and_none_is_cooked_again() {
    let plain = fixture("plain");
    let repository = &plain.repositories()[0];
    let git = plain.path.to_str().unwrap();
    let (root, blob) = a_file(&plain);
    let revision = crate::common::git_line(&["rev-parse", "HEAD"], repository);
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[&plain.path], &["--public-url", "https://bundles.example.org"]);
    let (directory, tar) = (format!("directory/{root}.tar.gz"), format!("directory/{root}.tar"));
    let named = format!("revision/{revision}.tar.gz");
    for key in [&directory, &tar, &named] {
        assert_eq!(server.cook(key)["status"], "done");
    }
    crate::common::git(&["init", "-q", "--bare", "other.git"], data.path());
    succeed(data.path(), &["pin", &directory]);

    let swhid = format!("swh:1:cnt:{blob}");
    let printed = succeed(data.path(), &["block", &swhid, "--reason", "a court said so", "--git", git]);
    for key in [&directory, &tar, &named] {
        assert!(printed.contains(&format!("removed {key}")), "{printed}");
        assert!(soon(|| server.get(&format!("/vault/{key}")).status != 200));
    }
    assert!(succeed(data.path(), &["block", "--list"]).contains("a court said so"));

    // Asked for anew, it is tried, fails for the block, and stays refused.
    server.send("POST", &format!("/vault/{directory}"), &[("Prefer", "wait=60")]);
    assert_eq!(server.settled(&directory)["error"]["code"], "blocked");
    is_blocked(&server.post(&format!("/vault/{directory}")), None);
    is_blocked(&server.get(&format!("/vault/{directory}")), None);
    assert!(!larder(data.path(), &["cook", &named, "--git", git]).status.success());

    succeed(data.path(), &["unblock", &swhid]);
    assert!(soon(|| server.post(&format!("/vault/{directory}")).status == 201));
    assert_eq!(server.settled(&directory)["status"], "done");
}

#[test]
fn a_blocked_directory_is_451_by_itself_with_the_reason_within_a_second_or_so() {
    let plain = fixture("plain");
    let (root, _) = a_file(&plain);
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[&plain.path], &["--public-url", "https://bundles.example.org"]);
    let key = format!("directory/{root}.tar.gz");
    succeed(data.path(), &["block", &format!("swh:1:dir:{root}"), "--reason", "no"]);
    assert!(soon(|| server.get(&format!("/vault/{key}")).status == 451));
    is_blocked(&server.get(&format!("/vault/{key}")), Some("no"));
    is_blocked(&server.get(&format!("/vault/{key}/status")), Some("no"));
    is_blocked(&server.post(&format!("/vault/{key}")), Some("no"));
    let head = server.send("HEAD", &format!("/vault/{key}"), &[]);
    assert_eq!(head.status, 451);
}

#[test]
fn what_no_archive_has_any_more_is_looked_for_in_the_bundles_own_bytes() {
    let plain = fixture("plain");
    let (root, blob) = a_file(&plain);
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[&plain.path], &[]);
    let revision = crate::common::git_line(&["rev-parse", "HEAD"], &plain.repositories()[0]);
    let keys = ["tar.gz", "tar", "tar.zst", "zip", "git.tar"].map(|ext| format!("directory/{root}.{ext}"));
    let histories = ["git.tar", "bundle"].map(|ext| format!("revision/{revision}.{ext}"));
    for key in keys.iter().chain(&histories) {
        assert_eq!(server.cook(key)["status"], "done", "{key}");
    }
    assert_eq!(server.cook(&format!("content/{blob}.raw"))["status"], "done");
    server.terminate();
    let printed = succeed(data.path(), &["block", "swh:1:cnt:00000000000000000000000000000000000000ff"]);
    assert!(!printed.contains("removed"), "{printed}");
    let printed = succeed(data.path(), &["block", &format!("swh:1:cnt:{blob}"), "--json"]);
    let done: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(done["removed"].as_array().unwrap().len(), 8, "{printed}");
    assert_eq!(done["unchecked"], serde_json::json!([]));
}

#[test]
fn a_file_deep_in_history_takes_the_histories_along_and_leaves_what_has_it_no_more() {
    let work = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| crate::common::git(args, work.path());
    let id = |name: &str| crate::common::git_line(&["rev-parse", name], work.path());
    git(&["init", "-q", "-b", "main"]);
    std::fs::write(work.path().join("secret"), "what nobody is to have").unwrap();
    git(&["add", "secret"]);
    git(&["commit", "-q", "-m", "with it"]);
    git(&["rm", "-q", "secret"]);
    std::fs::write(work.path().join("public"), "what everybody may have").unwrap();
    git(&["add", "public"]);
    git(&["commit", "-q", "-m", "without it"]);
    git(&["tag", "-a", "-m", "of what is without it", "v1"]);
    let (head, secret) = (id("HEAD"), id("HEAD~:secret"));
    let mut manifest = Manifest::default();
    assert!(manifest.insert(b"refs/tags/v1", Target::Object(ObjectKind::Release, id("v1").parse().unwrap())));
    let data = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(&data.path().join("catalogue.db"), Access::Migrate).unwrap();
    let snapshot = catalogue.add_snapshot(&manifest, None).unwrap();

    let server = Server::start(data.path(), &[work.path()], &["--public-url", "https://bundles.example.org"]);
    let holding = [
        format!("snapshot/{snapshot}.git.tar"),
        format!("snapshot/{snapshot}.bundle"),
        format!("release/{}.git.tar", id("v1")),
        format!("revision/{head}.gitfast.gz"),
    ];
    let free = [format!("revision/{head}.tar.gz"), format!("directory/{}.git.tar", id("HEAD^{tree}"))];
    for key in holding.iter().chain(&free) {
        assert_eq!(server.cook(key)["status"], "done", "{key}");
    }
    let path = work.path().to_str().unwrap();
    let printed = succeed(data.path(), &["block", &format!("swh:1:cnt:{secret}"), "--json", "--git", path]);
    let done: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let removed: HashSet<_> = done["removed"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(removed, holding.iter().map(String::as_str).collect(), "{printed}");
    for key in &holding {
        assert!(soon(|| server.get(&format!("/vault/{key}")).status != 200), "{key}");
        server.send("POST", &format!("/vault/{key}"), &[("Prefer", "wait=60")]);
        assert_eq!(server.settled(key)["error"]["code"], "blocked", "{key}");
        is_blocked(&server.get(&format!("/vault/{key}")), None);
        is_blocked(&server.post(&format!("/vault/{key}")), None);
    }
    for key in &free {
        assert_eq!(server.get(&format!("/vault/{key}")).status, 200, "{key}");
    }
}

/// An archive in which an object is read, and only then blocked.
#[derive(Clone)]
struct Late {
    inner: Arc<GitArchive>,
    catalogue: Catalogue,
    object: Swhid,
    blocked: Arc<AtomicBool>,
}

struct LateReader(Late, Box<dyn Reader>);

impl Late {
    fn block(&self) {
        if !self.blocked.swap(true, Ordering::AcqRel) {
            assert!(self.catalogue.block(&self.object, None, Timestamp::now()).unwrap());
        }
    }
}

impl Archive for Late {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(LateReader(self.clone(), self.inner.reader()))
    }

    fn stamp(&self, id: &Sha1Git) -> u64 {
        self.inner.stamp(id)
    }
}

impl Reader for LateReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        self.1.header(id)
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let found = self.1.find(id, buf)?;
        if found == Some(ObjectType::Blob) {
            self.0.block();
        }
        Ok(found)
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        let found = self.1.stream(id, sink)?;
        self.0.block();
        Ok(found)
    }
}

#[test]
fn a_block_ends_a_cook_that_has_read_the_object_and_no_other() {
    let plain = fixture("plain");
    let (root, blob) = a_file(&plain);
    let key: BundleKey = format!("directory/{root}.tar").parse().unwrap();
    let inner = Arc::new(GitArchive::new(vec![plain.path.clone()]).unwrap());
    let (min_free, policy) = (MinFree::Bytes(0), Policy::Lru);
    let bounds = RoomLimits { max_size: None, min_free, grace: Duration::from_mins(6), policy };
    for (id, status) in [(blob.as_str(), Status::New), (&"ab".repeat(20), Status::Done)] {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let catalogue = Catalogue::open(&data.path().join("catalogue.db"), Access::Migrate).unwrap();
        let object = Swhid { kind: ObjectKind::Content, id: id.parse().unwrap() };
        let late = Late { inner: Arc::clone(&inner), catalogue: catalogue.clone(), object, blocked: Arc::default() };
        let limits = Limits {
            workers: 1,
            cook_threads: 1,
            max_queue: 9,
            max_bundle_size: 1 << 30,
            cook_timeout: Duration::from_mins(10),
            gitfast_lossy: false,
            room: bounds,
        };
        catalogue.order(&key, Timestamp::now(), 9, Duration::ZERO).unwrap();
        let bundles = Bundles::new(store, catalogue.clone());
        let admission = Arc::new(Room::new(bundles.clone(), limits.room));
        let orders = Orders::new(Mode::Normal, Arc::new(late.clone()), bundles, admission, limits);
        assert!(Cooks::new(orders).cook_with_its_root(&key).unwrap());
        assert!(late.blocked.load(Ordering::Acquire));
        assert_eq!(catalogue.bundle(&key).unwrap().unwrap().status, status, "{id}");
    }
}
