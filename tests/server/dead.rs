//! The process dies at random moments of cooking and publishing, again and again: whatever is
//! served is whole and right, every cook asked for still happens, and nothing is left over.
//!
//! Fifty times; a thousand with `LARDER_TEST_LONG`.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::client::request;
use crate::common::kitchenware::{Random, all_is_well, all_served_are_right, menu};
use crate::common::server::Server;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn a_larder_killed_at_random_serves_nothing_wrong_and_loses_no_cook() {
    let kills = if std::env::var_os("LARDER_TEST_LONG").is_some() { 1000 } else { 50 };
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 40, 400_000);
    let keys: Vec<&String> = menu.keys().collect();
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut claimed = BTreeSet::new();
    for _ in 0..kills {
        let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
        all_served_are_right(&server, &menu);
        for _ in 0..=random.below(4) {
            let key = *random.choose(&keys);
            if random.below(4) == 0 {
                // Something to do for every round: what is there is cooked anew.
                remove(data.path(), key);
                claimed.remove(key);
            }
            match request(&server.address, "POST", &format!("/vault/{key}"), &[]) {
                Ok(answer) if answer.status == 201 => drop(claimed.insert(key)),
                Ok(answer) => panic!("{key}: {}", answer.status),
                Err(error) => panic!("{key}: {error}"),
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(120)));
        server.kill();
    }
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
    for key in &claimed {
        let status = server.settled(key);
        assert_eq!(status["status"], "done", "{status}");
    }
    // Files of the last kill's process are cleared by the upkeep of this one, which has run by now.
    let right = all_served_are_right(&server, &menu);
    assert!(right >= claimed.len(), "{right} of {} are served", claimed.len());
    all_is_well(data.path());
}

#[test]
fn a_larder_that_is_told_to_stop_gives_its_cooks_back_and_exits_cleanly() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 12, 2_000_000);
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2", "--stop-grace", "0s"]);
    for key in menu.keys() {
        assert_eq!(server.post(&format!("/vault/{key}")).status, 201);
    }
    assert!(server.terminate().success());
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
    for key in menu.keys() {
        assert_eq!(server.settled(key)["status"], "done");
    }
    assert_eq!(all_served_are_right(&server, &menu), menu.len());
    all_is_well(data.path());
}

fn remove(data: &std::path::Path, key: &str) {
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["remove", key, "--data"])
        .arg(data)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(matches!(status.code(), Some(0 | 3)), "removed, or was not there: {status}");
}
