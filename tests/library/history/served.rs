//! Histories through the kitchen and HTTP.

use super::kit::snapshot;
use crate::common::client::unchunked;
use crate::common::server::Server;
use crate::common::{git, git_line};
use larder::archive::snapshot::{Manifest, Target};
use larder::catalogue::{Access, Catalogue};
use larder::key::{BundleKey, ObjectKind};
use larder::verify::{self, Checked, Input};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

#[test]
fn histories_are_cooked_and_served_with_what_is_to_be_said_of_them() {
    let work = TempDir::new().unwrap();
    let repository = repository(work.path());
    let clone = work.path().join("clone");
    let id = |name: &str| git_line(&["rev-parse", name], &clone);

    let mut manifest = snapshot(&repository);
    let revision = Target::Object(ObjectKind::Revision, id("HEAD").parse().unwrap());
    assert!(manifest.insert(b"refs/heads/..", revision));
    let data = TempDir::new().unwrap();
    let snapshot = add(data.path(), &manifest);

    let server = Server::start(data.path(), &[&repository], &[]);
    let keys = keys_of(&id, &snapshot);
    for key in keys {
        let status = server.cook(&key);
        assert_eq!(status["status"], "done", "{key}: {status}");
        let notes = status.get("notes").and_then(|notes| notes.as_array()).map_or(0, Vec::len);
        assert_eq!(notes, usize::from(key.starts_with("snapshot")), "{key}: {status}");
        let answer = server.get(&format!("/vault/{key}"));
        assert_eq!(answer.header("cache-control"), Some("public, no-cache"));
        assert!(objects(&key, &answer.body) >= 3, "{key}");
    }
    let unknown = server.send("POST", &format!("/vault/snapshot/{}", "1".repeat(40)), &[]);
    assert_eq!(unknown.status, 404);
    let left: Vec<_> = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

#[test]
fn pass_through_makes_histories_too_and_keeps_none() {
    let work = TempDir::new().unwrap();
    let repository = repository(work.path());
    let id = |name: &str| git_line(&["rev-parse", name], &work.path().join("clone"));
    let data = TempDir::new().unwrap();
    let snapshot = add(data.path(), &snapshot(&repository));
    let mut keys = keys_of(&id, &snapshot);
    keys.push(format!("revision/{}.gitfast.gz", id("HEAD")));
    assert!(Server::start(data.path(), &[], &[]).terminate().success());
    let server = Server::start(data.path(), &[&repository], &["--mode", "pass-through"]);
    for key in keys {
        let answer = server.get(&format!("/vault/{key}"));
        assert_eq!(answer.status, 200, "{key}: {}", String::from_utf8_lossy(&answer.body));
        let bytes = unchunked(&answer.body).unwrap_or_else(|| panic!("{key} is not whole"));
        assert!(objects(&key, &bytes) >= 3, "{key}");
        assert!(server.get(&format!("/vault/{key}/status")).json()["status"].is_null(), "{key}");
    }
    for key in [format!("snapshot/{}.bundle", "1".repeat(40)), format!("revision/{}.bundle", id("HEAD^{tree}"))] {
        assert_eq!(server.get(&format!("/vault/{key}")).status, 404, "{key}");
    }
}

/// A bare repository of one commit and one tag, and a clone of it.
fn repository(work: &Path) -> PathBuf {
    git(&["init", "-q", "--bare", "r.git"], work);
    let clone = work.join("clone");
    git(&["clone", "-q", "r.git", "clone"], work);
    std::fs::write(clone.join("f"), "x").unwrap();
    git(&["add", "f"], &clone);
    git(&["commit", "-q", "-m", "x"], &clone);
    git(&["tag", "-a", "-m", "x", "v1"], &clone);
    git(&["push", "-q", "--tags", "origin", "HEAD"], &clone);
    work.join("r.git")
}

fn keys_of(id: &dyn Fn(&str) -> String, snapshot: &str) -> Vec<String> {
    vec![
        format!("directory/{}.git.tar", id("HEAD^{tree}")),
        format!("revision/{}.bundle", id("HEAD")),
        format!("release/{}.git.tar", id("v1")),
        format!("snapshot/{snapshot}.git.tar"),
        format!("snapshot/{snapshot}.bundle"),
    ]
}

/// How many objects the bytes of a bundle hold.
fn objects(key: &str, bytes: &[u8]) -> u64 {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let key: BundleKey = key.parse().unwrap();
    match verify::bundle(key.format(), Input::File(&file)).unwrap() {
        Checked::History(history) => history.objects,
        other => panic!("{key} is no history but {other:?}"),
    }
}

fn add(data: &Path, manifest: &Manifest) -> String {
    let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Migrate).unwrap();
    catalogue.add_snapshot(manifest, None).unwrap().to_string()
}
