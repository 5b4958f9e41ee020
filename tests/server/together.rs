//! Many at once: one cook for one bundle, and every bundle of a full queue, none twice.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::client::request;
use crate::common::fixtures::fixture;
use crate::common::process::Start as _;
use crate::common::server::Server;
use std::collections::HashSet;
use std::io::Write;
use std::sync::Barrier;
use tempfile::TempDir;

#[test]
fn two_hundred_clients_that_ask_for_one_bundle_get_one_cook_and_equal_answers() {
    let (fixture, data) = (fixture("sizes"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &["--workers", "2"]);
    let id = fixture.cookable().find(|id| id.kind.as_str() == "directory").unwrap();
    let target = format!("/vault/{}/{}", id.kind, id.id);
    let start = Barrier::new(200);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..200)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    request(&server.address, "POST", &target, &[("Prefer", "wait=60")]).unwrap()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let equal: HashSet<String> = answers
        .iter()
        .map(|answer| {
            let mut body = answer.json();
            assert_eq!((answer.status, body["status"].as_str()), (201, Some("done")), "{body}");
            // What follows behind the cook, at its own time.
            body["sha256"].take();
            body["last_access_at"].take();
            body.to_string()
        })
        .collect();
    assert_eq!(equal.len(), 1, "{equal:?}");
    // Two cooks would have ended at two times, and the second would show here.
    let status = server.settled(&format!("{}/{}", id.kind, id.id));
    assert!(equal.iter().all(|body| body.contains(status["done_at"].as_str().unwrap())));
}

#[test]
fn two_hundred_different_bundles_are_all_cooked_by_two_workers_and_none_twice() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let directories = directories(folder.path(), 200);
    let log = data.path().join("log");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "2", "--data"])
        .arg(data.path().join("larder"))
        .arg("--git")
        .arg(folder.path())
        .env("LARDER_LOG", "info")
        .stdout(std::process::Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap());
    let server = Server::spawn(command);
    let start = Barrier::new(directories.len());
    std::thread::scope(|scope| {
        for directory in &directories {
            let (server, start) = (&server, &start);
            scope.spawn(move || {
                start.wait();
                let answer = request(&server.address, "POST", &format!("/vault/directory/{directory}"), &[]).unwrap();
                assert_eq!(answer.status, 201);
            });
        }
    });
    for directory in &directories {
        let status = server.settled(&format!("directory/{directory}"));
        assert_eq!(status["status"], "done", "{status}");
    }
    assert!(server.terminate().success());
    let log = std::fs::read_to_string(log).unwrap();
    for directory in &directories {
        let cooked = log.lines().filter(|line| line.contains("cooked") && line.contains(directory.as_str())).count();
        assert_eq!(cooked, 1, "{directory}");
    }
}

/// A bare repository of `count` trees with a file each; their ids.
fn directories(folder: &std::path::Path, count: usize) -> Vec<String> {
    crate::common::git(&["init", "-q", "--bare", "r.git"], folder);
    let mut import = String::new();
    for n in 0..count {
        let text = format!("content {n}\n");
        let length = text.len();
        let commit = format!("commit refs/heads/b{n}\ncommitter x <x@example.org> 0 +0000\ndata 0\n");
        import.extend([commit, format!("M 100644 inline file\ndata {length}\n{text}\n")]);
    }
    let repository = folder.join("r.git");
    let mut git = crate::common::git_command(&repository)
        .args(["fast-import", "--quiet"])
        .stdin(std::process::Stdio::piped())
        .start()
        .unwrap();
    git.stdin.take().unwrap().write_all(import.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success());
    let trees = crate::common::git_line(&["for-each-ref", "--format=%(tree)", "refs/heads"], &repository);
    let trees: HashSet<String> = trees.lines().map(str::to_owned).collect();
    assert_eq!(trees.len(), count);
    trees.into_iter().collect()
}
