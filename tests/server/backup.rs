//! Backups and migrations through the real program.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::fixture;
use crate::common::server::Server;
use larder::catalogue::VERSION;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A larder with one bundle, and that bundle's key.
fn cooked(data: &Path) -> (Server, String) {
    let plain = fixture("plain");
    let tree = crate::common::git_line(&["rev-parse", "HEAD^{tree}"], &plain.repositories()[0]);
    let server = Server::start(data, &[&plain.path], &[]);
    let key = format!("directory/{tree}.tar.gz");
    assert_eq!(server.cook(&key)["status"], "done");
    (server, key)
}

#[test]
fn a_backup_made_while_larder_serves_restores_what_it_knew() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, key) = cooked(data.path());
    assert!(larder(data.path(), &["pin", &key]).status.success());
    let file = other.path().join("copy.db");
    let made = larder(data.path(), &["backup", file.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = std::fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["copy.db"], "nothing else is left beside");

    let before = std::fs::read(&file).unwrap();
    let refused = larder(data.path(), &["backup", file.to_str().unwrap()]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert!(larder(data.path(), &["backup", "--force", file.to_str().unwrap()]).status.success());

    server.terminate();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.path().join(format!("catalogue.db{suffix}")));
    }
    std::fs::copy(&file, data.path().join("catalogue.db")).unwrap();
    let status = larder(data.path(), &["status", &key, "--json"]);
    let body: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(body["status"], "done");
    assert!(text(&larder(data.path(), &["list"]).stdout).contains("pinned"));
    let server = Server::start(data.path(), &[], &[]);
    assert_eq!(server.get(&format!("/vault/{key}")).status, 200);
}

#[test]
fn a_backup_that_cannot_be_written_leaves_nothing() {
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let nowhere = larder(data.path(), &["backup", other.path().join("x").to_str().unwrap()]);
    assert!(!nowhere.status.success(), "there is no catalogue yet");
    drop(cooked(data.path()));
    let folder = other.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    assert!(!larder(data.path(), &["backup", "--force", folder.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1);
}

fn plant(data: &Path, version: i64) {
    let connection = rusqlite::Connection::open(data.join("catalogue.db")).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
}

#[test]
fn migrate_says_what_it_found_and_leaves_what_it_does_not_know_alone() {
    let data = tempfile::tempdir().unwrap();
    assert!(!larder(data.path(), &["migrate"]).status.success(), "there is nothing to migrate");
    let (server, key) = cooked(data.path());
    let done = larder(data.path(), &["migrate"]);
    assert!(done.status.success() && text(&done.stdout).contains("nothing to do"), "{}", text(&done.stderr));
    plant(data.path(), 0);
    let busy = larder(data.path(), &["migrate"]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(text(&busy.stderr).contains("stop them first"), "{}", text(&busy.stderr));
    plant(data.path(), VERSION);
    server.terminate();
    let done = larder(data.path(), &["migrate"]);
    assert!(done.status.success() && text(&done.stdout).contains("nothing to do"), "{}", text(&done.stderr));
    for (version, words) in [(999, "newer"), (0, "cannot migrate")] {
        plant(data.path(), version);
        let refused = larder(data.path(), &["migrate"]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(words), "{version}: {}", text(&refused.stderr));
        assert!(!larder(data.path(), &["list"]).status.success());
    }
    plant(data.path(), VERSION);
    assert!(text(&larder(data.path(), &["list"]).stdout).contains(&key));
}
