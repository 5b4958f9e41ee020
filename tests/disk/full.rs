//! A disk that is full and a store that became read-only, for real: a small tmpfs of the test's
//! own, which only root may mount. Without root these tests say so and end.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::client::request;
use crate::common::disk::{Mount, fill, skipped};
use crate::common::kitchenware::{Random, all_is_well, all_served_are_right, menu};
use crate::common::server::Server;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn a_full_disk_breaks_nothing_and_every_cook_is_done_when_there_is_room_again() {
    let (folder, disk) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(_mount) = Mount::tmpfs(disk.path(), "24m") else { return skipped() };
    let data = disk.path().join("data");
    let menu = menu(folder.path(), 12, 1_000_000);
    let flags = ["--workers", "2", "--min-free", "0B"];
    let mut server = Server::start(&data, &[folder.path()], &flags);
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let filler = disk.path().join("filler");
    let mut claimed = std::collections::BTreeSet::new();
    for (round, key) in menu.keys().enumerate() {
        // From now and then a little room to none at all.
        fill(&filler, disk.path(), random.below(3) * 400_000);
        let answer = request(&server.address, "POST", &format!("/vault/{key}"), &[]).unwrap();
        match answer.status {
            201 => drop(claimed.insert(key)),
            503 | 507 => assert_eq!(answer.header("content-type"), Some("application/problem+json")),
            status => panic!("{key}: {status}"),
        }
        all_served_are_right(&server, &menu);
        std::thread::sleep(Duration::from_millis(random.below(300)));
        if round % 3 == 2 {
            server.kill();
            // It must open what a full disk left, once it can write at all.
            fs::remove_file(&filler).unwrap();
            server = Server::start(&data, &[folder.path()], &flags);
        }
    }
    let _ = fs::remove_file(&filler);
    for key in claimed {
        let status = server.settled(key);
        if status["status"] == "failed" {
            // Tried five times with no room: it says so, and is cooked when asked for again.
            assert_eq!(status["error"]["code"], "no-space", "{status}");
        } else {
            assert_eq!(status["status"], "done", "{status}");
        }
    }
    all_served_are_right(&server, &menu);
    all_is_well(&data);
}

#[test]
fn a_store_that_became_read_only_serves_what_it_has_and_recovers() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 6, 300_000);
    let bundles = data.path().join("bundles");
    fs::create_dir(&bundles).unwrap();
    let Some(mount) = Mount::onto_itself(&bundles) else { return skipped() };
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
    let keys: Vec<&String> = menu.keys().collect();
    for key in &keys[..3] {
        assert_eq!(server.cook(key)["status"], "done");
    }
    mount.remount("ro");
    for key in &keys[3..] {
        let answer = server.post(&format!("/vault/{key}"));
        assert!(matches!(answer.status, 201 | 503 | 507), "{}", answer.status);
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(all_served_are_right(&server, &menu), 3, "what was cooked is still served");
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["problems"][0]["code"]), (503, &"store_read_only".into()));
    mount.remount("rw");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(server.get("/readyz").status, 200);
    for key in &keys[3..] {
        let answer = server.post(&format!("/vault/{key}"));
        assert_eq!(answer.status, 201);
        assert_eq!(server.settled(key)["status"], "done", "it was retried by itself");
    }
    assert_eq!(all_served_are_right(&server, &menu), keys.len());
    all_is_well(data.path());
}
