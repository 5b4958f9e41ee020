//! `mode = "read-only"` and `mode = "pass-through"` through the real server.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::client::{request, unchunked};
use crate::common::disk::{Mount, skipped};
use crate::common::fixtures::{Fixture, fixture};
use crate::common::kitchenware;
use crate::common::process::Start as _;
use crate::common::server::Server;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn tree(fixture: &Fixture) -> String {
    crate::common::git_line(&["rev-parse", "HEAD^{tree}"], &fixture.repositories()[0])
}

/// A larder that has one bundle and runs no more; the bundle's key and bytes.
fn cooked(data: &Path, plain: &Fixture) -> (String, Vec<u8>) {
    let server = Server::start(data, &[&plain.path], &[]);
    let key = format!("directory/{}.tar.gz", tree(plain));
    assert_eq!(server.cook(&key)["status"], "done");
    let bytes = server.get(&format!("/vault/{key}")).body;
    assert!(server.terminate().success());
    (key, bytes)
}

/// Every file below `folder` with its time of change.
fn state(folder: &Path) -> BTreeMap<String, (u64, i64)> {
    use std::os::unix::fs::MetadataExt;
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            all.insert(entry.path().display().to_string(), (metadata.len(), metadata.ctime_nsec()));
        }
    }
    all
}

#[track_caller]
fn serves_and_refuses(server: &Server, key: &str, bytes: &[u8]) {
    let answer = server.get(&format!("/vault/{key}"));
    assert_eq!((answer.status, &answer.body[..]), (200, bytes));
    assert!(answer.header("etag").is_some());
    let refused = server.post(&format!("/vault/{key}"));
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    assert_eq!(refused.json()["code"], "read_only");
    assert_eq!(server.get("/vault/directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904").status / 100, 4);
}

#[test]
fn read_only_serves_what_is_there_and_writes_nothing() {
    let (data, plain) = (tempfile::tempdir().unwrap(), fixture("plain"));
    let (key, bytes) = cooked(data.path(), &plain);
    let owner = Server::start(data.path(), &[&plain.path], &[]);
    let server = Server::start(data.path(), &[&plain.path], &["--mode", "read-only"]);
    serves_and_refuses(&server, &key, &bytes);
    assert_eq!(server.get(&format!("/vault/{key}/status")).json()["status"], "done");
    assert_eq!(server.get("/vault/directory").json()["bundles"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/readyz").status, 200);
    // What the owner of the data cooks is there at once.
    let tar = format!("directory/{}.tar", tree(&plain));
    assert_eq!(server.get(&format!("/vault/{tar}")).status, 404);
    assert_eq!(owner.cook(&tar)["status"], "done");
    assert_eq!(server.get(&format!("/vault/{tar}")).status, 200);
}

#[test]
fn read_only_works_where_nothing_can_be_written() {
    let (data, plain) = (tempfile::tempdir().unwrap(), fixture("plain"));
    let Some(mount) = Mount::tmpfs(data.path(), "64m") else { return skipped() };
    let (key, bytes) = cooked(data.path(), &plain);
    let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(data.path()).status().unwrap();
    assert!(mounted.success());
    let before = state(data.path());
    let server = Server::start(data.path(), &[], &["--mode", "read-only"]);
    serves_and_refuses(&server, &key, &bytes);
    assert_eq!(server.get(&format!("/vault/{key}/status")).json()["status"], "done");
    assert!(server.terminate().success());
    assert_eq!(state(data.path()), before);
    drop(mount);
}

#[test]
fn read_only_serves_as_a_user_who_may_not_see_the_catalogue() {
    if !rustix::process::geteuid().is_root() {
        return skipped();
    }
    let (data, plain) = (tempfile::tempdir().unwrap(), fixture("plain"));
    std::fs::set_permissions(data.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let (key, bytes) = cooked(data.path(), &plain);
    let program = data.path().join("larder");
    std::fs::copy(env!("CARGO_BIN_EXE_larder"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--mode", "read-only", "--data"]).arg(data.path());
    command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let server = Server::spawn(command);
    serves_and_refuses(&server, &key, &bytes);
    assert_eq!(server.get(&format!("/vault/{key}/status")).status, 503, "it cannot know");
}

#[test]
fn pass_through_gives_the_same_bytes_and_keeps_none() {
    let (data, plain) = (tempfile::tempdir().unwrap(), fixture("plain"));
    let (key, bytes) = cooked(data.path(), &plain);
    let nowhere = data.path().join("nowhere");
    let server = Server::start(&nowhere, &[&plain.path], &["--mode", "pass-through"]);
    let target = format!("/vault/{key}");
    let head = server.send("HEAD", &target, &[]);
    assert_eq!((head.status, head.header("content-length")), (200, None));
    let promised = server.post(&target);
    assert_eq!(promised.status, 201);
    assert!(promised.header("location").unwrap().ends_with(&target));
    for headers in [&[][..], &[("Range", "bytes=0-1")], &[("If-None-Match", "*")]] {
        let answer = server.send("GET", &target, headers);
        assert_eq!(answer.status, 200);
        assert_eq!(unchunked(&answer.body).as_deref(), Some(&bytes[..]));
        for name in ["content-length", "etag", "last-modified", "repr-digest"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
        assert_eq!(answer.header("accept-ranges"), Some("none"));
        assert_eq!(answer.header("content-type"), Some("application/gzip"));
    }
    assert_eq!(server.get(&format!("{target}/status")).status, 404);
    assert!(!nowhere.exists());
    let unknown = format!("/vault/directory/{}", "1".repeat(40));
    for method in ["GET", "HEAD", "POST"] {
        assert_eq!(server.send(method, &unknown, &[]).status, 404, "{method}");
    }
    let mut old = TcpStream::connect(&server.address).unwrap();
    old.write_all(format!("GET {target} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 505 "), "{answer}");
}

#[test]
fn pass_through_starts_over_an_empty_folder_and_leaves_it_empty() {
    let (data, plain) = (tempfile::tempdir().unwrap(), fixture("plain"));
    let server = Server::start(data.path(), &[&plain.path], &["--mode", "pass-through"]);
    assert_eq!(server.get(&format!("/vault/directory/{}.tar", tree(&plain))).status, 200);
    assert!(server.terminate().success());
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0);
}

#[test]
fn pass_through_does_not_start_where_it_cannot_tell_what_is_blocked() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("catalogue.db"), "no catalogue").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--mode", "pass-through", "--data"]).arg(data.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn pass_through_serves_what_is_there_and_heeds_what_is_blocked() {
    let (data, plain) = (tempfile::tempdir().unwrap(), fixture("plain"));
    let (key, bytes) = cooked(data.path(), &plain);
    let blob = crate::common::git_line(&["ls-tree", "-r", "--format=%(objectname)", "HEAD"], &plain.repositories()[0]);
    let blob = blob.lines().next().unwrap();
    let server = Server::start(data.path(), &[&plain.path], &["--mode", "pass-through"]);
    let there = server.get(&format!("/vault/{key}"));
    assert_eq!((there.status, there.body), (200, bytes));
    assert!(there.headers.iter().any(|(name, _)| name == "etag"));
    let blocked = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["block", &format!("swh:1:cnt:{blob}"), "--data"])
        .arg(data.path())
        .args(["--git".as_ref(), plain.path.as_os_str()])
        .output()
        .unwrap();
    assert!(blocked.status.success());
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(server.get(&format!("/vault/{key}")).status, 451);
}

#[test]
fn pass_through_says_what_fails_at_once_and_breaks_off_what_fails_later() {
    let (data, hostile) = (tempfile::tempdir().unwrap(), fixture("hostile/trees"));
    let bad = hostile.ids.iter().find(|id| id.expect.as_deref() == Some("hostile-tree")).unwrap();
    // A tree whose last blob is missing, after megabytes that are there.
    let repository = data.path().join("broken.git");
    crate::common::git(&["init", "-q", "--bare", "broken.git"], data.path());
    let mut random = kitchenware::Random::new(3);
    let mut entries = String::new();
    for number in 0..40 {
        let file = data.path().join("blob");
        let bytes: Vec<u8> = (0..100_000).flat_map(|_| random.next().to_le_bytes()).collect();
        std::fs::write(&file, bytes).unwrap();
        let id = crate::common::git_line(&["hash-object", "-w", file.to_str().unwrap()], &repository);
        writeln!(entries, "100644 blob {id}\ta{number:02}").unwrap();
    }
    writeln!(entries, "100644 blob {}\tz", "1".repeat(40)).unwrap();
    let mut mktree = crate::common::git_command(&repository)
        .args(["mktree", "--missing"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .start()
        .unwrap();
    mktree.stdin.take().unwrap().write_all(entries.as_bytes()).unwrap();
    let late = String::from_utf8(mktree.wait_with_output().unwrap().stdout).unwrap();
    let late = late.trim_end();

    let flags = ["--mode", "pass-through", "--cook-threads", "1"];
    let server = Server::start(&data.path().join("none"), &[&hostile.path, &repository], &flags);
    let answer = server.get(&format!("/vault/{}/{}.tar", bad.kind, bad.id));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (422, Some("hostile-tree")));
    // The header of the missing blob is asked for by the walk, ahead of the bytes: either it fails with
    // a status of its own, or the answer has no end.
    match request(&server.address, "GET", &format!("/vault/directory/{late}.tar"), &[]) {
        Ok(answer) if answer.status == 200 => assert_eq!(unchunked(&answer.body), None, "it must not look whole"),
        Ok(answer) => assert_eq!(answer.status, 404),
        Err(_) => {}
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn pass_through_is_bounded_and_a_client_that_leaves_makes_room() {
    let (data, repositories) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let menu = kitchenware::menu(repositories.path(), 1, 24 << 20);
    let key = menu.keys().next().unwrap().replace(".tar.gz", ".tar");
    let flags = ["--mode", "pass-through", "--workers", "1"];
    let server = Server::start(&data.path().join("none"), &[repositories.path()], &flags);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.write_all(format!("GET /vault/{key} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    slow.read_exact(&mut [0; 1]).unwrap();
    let busy = server.get(&format!("/vault/{key}"));
    assert_eq!((busy.status, busy.json()["code"].as_str()), (503, Some("busy")));
    assert!(busy.header("retry-after").is_some());
    drop(slow);
    for _ in 0..200 {
        let answer = server.get(&format!("/vault/{key}"));
        if answer.status == 200 {
            assert!(unchunked(&answer.body).is_some());
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the place of a client that left was never free");
}
