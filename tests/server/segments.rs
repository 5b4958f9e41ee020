//! Cooks that copy what other bundles have, through the real server: of commits that follow each other every
//! bundle is what it would be by itself, whatever becomes of those it is copied from.

use crate::common::client::request;
use crate::common::kitchenware::{Menu, Random, all_is_well, all_served_are_right, commits};
use crate::common::process::Start as _;
use crate::common::server::{Server, told};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

fn larder(data: &Path, args: &[&str]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG");
    command.stdout(Stdio::null()).stderr(Stdio::null()).start().unwrap().wait().unwrap().code()
}

fn path(data: &Path, key: &str) -> PathBuf {
    let (kind, name) = key.split_once('/').unwrap();
    data.join("bundles/v0").join(kind).join(&name[..2]).join(&name[2..4]).join(name)
}

#[track_caller]
fn cooks_right(server: &Server, (key, digest): &(String, String)) {
    assert_eq!(server.cook(key)["status"], "done", "{key}");
    let body = server.get(&format!("/vault/{key}")).body;
    assert_eq!(blake3::hash(&body).to_hex().as_str(), digest, "{key} has other bytes than from nothing");
}

#[test]
fn the_next_commit_is_copied_but_for_what_changed_and_for_what_is_damaged_or_gone() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let commits = commits(folder.path(), 6);
    let data = data.path().join("larder");
    let (server, log) = Server::telling(&data, folder.path(), &[]);
    cooks_right(&server, &commits[0]);
    let (copied, all) = told(&log, &commits[0].0);
    assert!(copied == 0 && all >= 3, "{copied} copied, {all} made");
    cooks_right(&server, &commits[1]);
    let (copied, made) = told(&log, &commits[1].0);
    assert!(copied > 0 && made <= 4, "{copied} copied, {made} made");

    // A byte of the first has changed, in place.
    let first = path(&data, &commits[0].0);
    fs::set_permissions(&first, Permissions::from_mode(0o644)).unwrap();
    let file = File::options().read(true).write(true).open(&first).unwrap();
    for at in (1000..file.metadata().unwrap().len()).step_by(3000) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
    cooks_right(&server, &commits[2]);
    let (_, made) = told(&log, &commits[2].0);
    assert!(made >= all - 4, "{made} made of {all}");
    // What was made then is what is copied from now on.
    cooks_right(&server, &commits[3]);
    let (_, made) = told(&log, &commits[3].0);
    assert!(made <= 4, "{made} made");

    // Every file is gone, and no row says so.
    for (key, _) in &commits[..4] {
        fs::remove_file(path(&data, key)).unwrap();
    }
    cooks_right(&server, &commits[4]);
    let (copied, made) = told(&log, &commits[4].0);
    assert!(copied == 0 && made >= 3, "{copied} copied, {made} made");
    cooks_right(&server, &commits[5]);
    assert!(told(&log, &commits[5].0).0 > 0);
    assert!(server.terminate().success());
    assert_eq!(larder(&data, &["fsck", "--repair", "--deep"]), Some(0));
    all_is_well(&data);
}

#[test]
fn a_new_process_copies_what_the_one_before_has_made() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let commits = commits(folder.path(), 2);
    let data = data.path().join("larder");
    let (server, _) = Server::telling(&data, folder.path(), &[]);
    cooks_right(&server, &commits[0]);
    assert!(server.terminate().success());
    let (server, log) = Server::telling(&data, folder.path(), &[]);
    cooks_right(&server, &commits[1]);
    let (copied, made) = told(&log, &commits[1].0);
    assert!(copied > 0 && made <= 4, "{copied} copied, {made} made");
}

#[test]
fn what_is_blocked_is_in_no_bundle_that_would_only_have_copied_it() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let commits = commits(folder.path(), 4);
    let repository = folder.path().join("r.git");
    let server = Server::start(data.path(), &[folder.path()], &[]);
    cooks_right(&server, &commits[0]);
    cooks_right(&server, &commits[1]);
    let blobs = |revision: &str| -> Vec<String> {
        let listed = crate::common::git_line(&["ls-tree", "-r", "--format=%(objectname)", revision], &repository);
        listed.lines().map(str::to_owned).collect()
    };
    let (third, fourth) = (blobs("main~1"), blobs("main"));
    let blob = third.iter().find(|blob| fourth.contains(blob) && blobs("main~2").contains(blob)).unwrap();
    let git = folder.path().to_str().unwrap();
    assert_eq!(larder(data.path(), &["block", &format!("swh:1:cnt:{blob}"), "--git", git]), Some(0));
    for (key, _) in &commits[2..] {
        assert_eq!(server.post(&format!("/vault/{key}")).status, 201);
        let status = server.settled(key);
        assert_eq!(status["error"]["code"], "blocked", "{status}");
        assert_eq!(server.get(&format!("/vault/{key}")).status, 451);
    }
}

#[test]
fn a_hundred_commits_at_once_are_all_right_while_their_sources_are_collected() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let commits = commits(folder.path(), 100);
    let menu: Menu = commits.iter().cloned().collect();
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2", "--grace", "0s"]);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                let collected =
                    larder(data.path(), &["gc", "--max-size", "2MiB", "--min-free", "0B", "--grace", "0s", "--force"]);
                assert_eq!(collected, Some(0));
            }
        });
        std::thread::scope(|scope| {
            for (key, _) in &commits {
                let server = &server;
                scope.spawn(move || {
                    let answer = request(&server.address, "POST", &format!("/vault/{key}"), &[]).unwrap();
                    assert_eq!(answer.status, 201, "{key}");
                });
            }
        });
        for (key, _) in &commits {
            // Done, or done and collected since: then nobody knows of it.
            while matches!(
                server.get(&format!("/vault/{key}/status")).json()["status"].as_str(),
                Some("new" | "pending")
            ) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        all_served_are_right(&server, &menu);
        ended.store(true, Ordering::Release);
    });
    for commit in &commits {
        cooks_right(&server, commit);
    }
    assert_eq!(all_served_are_right(&server, &menu), 100);
    assert!(server.terminate().success());
    all_is_well(data.path());
}

#[test]
fn a_larder_killed_at_random_among_cooks_that_copy_serves_nothing_wrong() {
    let kills = if std::env::var_os("LARDER_TEST_LONG").is_some() { 500 } else { 25 };
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu: Menu = commits(folder.path(), 30).into_iter().collect();
    let keys: Vec<&String> = menu.keys().collect();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..kills {
        let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
        all_served_are_right(&server, &menu);
        for _ in 0..=random.below(6) {
            let key = *random.choose(&keys);
            if random.below(3) == 0 {
                assert!(matches!(larder(data.path(), &["remove", key]), Some(0 | 3)));
            }
            let answer = request(&server.address, "POST", &format!("/vault/{key}"), &[]).unwrap();
            assert_eq!(answer.status, 201, "{key}");
        }
        std::thread::sleep(Duration::from_millis(random.below(100)));
        server.kill();
    }
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
    for key in &keys {
        assert_eq!(server.cook(key)["status"], "done", "{key}");
    }
    assert_eq!(all_served_are_right(&server, &menu), menu.len());
    all_is_well(data.path());
}
