//! Collection through the real binary and the real library: what goes and what stays, exit codes,
//! under load, killed at random, and on a disk with no room to write.
//!
//! Under load for ten seconds; for a minute with `LARDER_TEST_LONG`.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::client::request;
use crate::common::disk::{Mount, fill_up, skipped};
use crate::common::kitchenware::{Menu, Random, all_is_well, all_served_are_right, faults, menu};
use crate::common::process::Start as _;
use crate::common::server::Server;
use larder::catalogue::{Access, Catalogue};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FREE: [&str; 2] = ["--min-free", "0B"];

fn larder(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").stdin(Stdio::null());
    command.output().expect("larder runs")
}

/// `larder gc --json` with more flags: its exit code and what it printed.
fn gc(data: &Path, flags: &[&str]) -> (i32, Value) {
    let output = larder(data, &[&["gc", "--json"], flags].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"));
    (output.status.code().unwrap(), json)
}

/// A store of `count` bundles that were last used a day ago and before, an hour apart, in order of
/// their keys.
pub(crate) fn aged(folder: &Path, data: &Path, count: u32) -> (Menu, Server) {
    let menu = menu(folder, count, 100_000);
    let server = Server::start(data, &[folder], &FREE);
    for key in menu.keys() {
        assert_eq!(server.cook(key)["status"], "done");
    }
    age(data, &menu);
    (menu, server)
}

fn age(data: &Path, menu: &Menu) {
    let sql = rusqlite::Connection::open(data.join("catalogue.db")).unwrap();
    sql.busy_timeout(Duration::from_secs(10)).unwrap();
    for (hours, key) in (1..).zip(menu.keys().rev()) {
        let changed = sql
            .execute(
                "UPDATE file SET last_access = last_access - ?2 WHERE id =
                 (SELECT file FROM bundle WHERE kind = 1 AND hex(sha1git) = upper(substr(?1, 11, 40)))",
                (key, 86_400_000 + hours * 3_600_000),
            )
            .unwrap();
        assert_eq!(changed, 1, "{key}");
    }
}

fn there(server: &Server, menu: &Menu) -> Vec<bool> {
    menu.keys().map(|key| server.get(&format!("/vault/{key}")).status == 200).collect()
}

#[test]
fn the_least_recently_used_go_first_and_pinned_ones_stay() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (menu, server) = aged(folder.path(), data.path(), 6);
    let keys: Vec<&String> = menu.keys().collect();
    assert_eq!(larder(data.path(), &["pin", keys[1]]).status.code(), Some(0));
    let nobody = format!("directory/{}.tar", "0".repeat(40));
    assert_eq!(larder(data.path(), &["pin", &nobody]).status.code(), Some(3));
    let (code, plan) = gc(data.path(), &[&FREE[..], &["--dry-run"]].concat());
    assert_eq!((code, plan["plan"]["files"].as_u64()), (0, Some(0)), "{plan}");
    let bytes = plan["store"]["allocated"].as_u64().unwrap();

    // Room for all but a block: one has to go, and the next, for the second is pinned.
    let size = format!("{}B", bytes / 6 * 4);
    let flags = [&FREE[..], &["--max-size", &size]].concat();
    let (code, planned) = gc(data.path(), &[&flags[..], &["--dry-run"]].concat());
    assert_eq!((code, planned["plan"]["files"].as_u64()), (0, Some(2)), "{planned}");
    assert_eq!((planned["removed"].is_null(), planned["plan"]["pinned"].as_u64()), (true, Some(1)), "{planned}");
    assert_eq!(there(&server, &menu), [true; 6]);
    age(data.path(), &menu);
    let (code, done) = gc(data.path(), &flags);
    assert_eq!((code, done["removed"]["files"].as_u64()), (0, Some(2)), "{done}");
    assert_eq!(there(&server, &menu), [false, true, false, true, true, true]);

    // All that is unpinned, and it is not enough.
    age_again(data.path());
    assert_eq!(larder(data.path(), &["unpin", keys[1]]).status.code(), Some(0));
    assert_eq!(larder(data.path(), &["pin", keys[5]]).status.code(), Some(0));
    let (code, done) = gc(data.path(), &[&FREE[..], &["--max-size", "0B"]].concat());
    assert_eq!((code, done["removed"]["files"].as_u64()), (4, Some(3)), "{done}");
    assert!(done["missing"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(there(&server, &menu), [false, false, false, false, false, true]);
    all_is_well(data.path());
}

fn age_again(data: &Path) {
    let sql = rusqlite::Connection::open(data.join("catalogue.db")).unwrap();
    sql.busy_timeout(Duration::from_secs(10)).unwrap();
    sql.execute("UPDATE file SET last_access = last_access - 86400000", []).unwrap();
}

#[test]
fn names_of_one_file_go_together_and_a_pin_on_one_holds_all() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 1, 100_000);
    let server = Server::start(data.path(), &[folder.path()], &FREE);
    let directory = menu.keys().next().unwrap();
    let commit = crate::common::git_line(&["rev-parse", "refs/heads/b0"], &folder.path().join("r.git"));
    let revision = format!("revision/{commit}.tar.gz");
    assert_eq!(server.cook(&revision)["status"], "done");
    assert_eq!(server.settled(directory)["status"], "done");
    age_again(data.path());
    assert_eq!(larder(data.path(), &["pin", &revision]).status.code(), Some(0));
    let flags = [&FREE[..], &["--max-size", "0B"]].concat();
    let (code, held) = gc(data.path(), &flags);
    assert_eq!((code, held["removed"]["files"].as_u64(), held["plan"]["pinned"].as_u64()), (4, Some(0), Some(1)));
    assert_eq!(larder(data.path(), &["unpin", &revision]).status.code(), Some(0));
    let (code, done) = gc(data.path(), &flags);
    assert_eq!((code, &done["removed"]["files"], &done["removed"]["names"]), (0, &1.into(), &2.into()), "{done}");
    for key in [directory, &revision] {
        assert_eq!(server.get(&format!("/vault/{key}")).status, 404);
    }
}

#[test]
fn the_exit_code_says_what_became_of_it() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    assert_eq!(larder(data.path(), &["gc"]).status.code(), Some(1), "there is no larder yet");
    let (menu, server) = aged(folder.path(), data.path(), 4);
    let lock = File::open(data.path()).unwrap();
    lock.lock().unwrap();
    let busy = larder(data.path(), &["gc"]);
    assert_eq!(busy.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("another collection"));
    drop(lock);
    let (code, plan) = gc(data.path(), &[&FREE[..], &["--max-size", "0B", "--grace", "3d"]].concat());
    assert_eq!((code, plan["removed"]["files"].as_u64()), (4, Some(0)), "the grace wins: {plan}");
    let idle = [&FREE[..], &["--max-idle", "1d"]].concat();
    let (code, plan) = gc(data.path(), &idle);
    assert_eq!((code, &plan["refused"], plan["removed"].is_null()), (5, &true.into(), true), "{plan}");
    assert_eq!(there(&server, &menu), [true; 4]);
    let (code, plan) = gc(data.path(), &[&idle[..], &["--force"]].concat());
    assert_eq!((code, plan["removed"]["files"].as_u64()), (0, Some(4)), "{plan}");
    let person = larder(data.path(), &[&["gc"], &FREE[..]].concat());
    let text = String::from_utf8(person.stdout).unwrap();
    assert!(text.contains("to remove     0 files") && text.contains("removed       0 files"), "{text}");
}

/// Cooks, hits and collections at once on a store that is always over a limit.
#[test]
fn under_load_the_limit_holds_no_body_is_broken_and_the_grace_is_kept() {
    const GRACE: i64 = 1000;
    let long = std::env::var_os("LARDER_TEST_LONG").is_some();
    let length = if long { Duration::from_mins(1) } else { Duration::from_secs(10) };
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 30, 300_000);
    let keys: Vec<&String> = menu.keys().collect();
    let max_size = 2_000_000;
    let most = format!("{max_size}B");
    let flags = [&FREE[..], &["--workers", "2", "--grace", "1s", "--max-size", &most]].concat();
    let server = Server::start(data.path(), &[folder.path()], &flags);
    let (stop, cooked, collected, hits) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let seed = Random::seed();
    println!("seed {seed}");
    std::thread::scope(|scope| {
        let going = || !stop.load(Ordering::Relaxed);
        let (server, keys, menu, data) = (&server, &keys, &menu, data.path());
        let (cooked, collected, hits) = (&cooked, &collected, &hits);
        for cook in 0..3 {
            scope.spawn(move || {
                let mut random = Random::new(seed + cook);
                while going() {
                    let target = format!("/vault/{}", random.choose(keys));
                    let answer = request(&server.address, "POST", &target, &[("Prefer", "wait=5")]).unwrap();
                    assert!(matches!(answer.status, 201 | 507), "{}", answer.status);
                    let body = answer.json();
                    let Some(done_at) = body["done_at"].as_str() else { continue };
                    cooked.fetch_add(1, Ordering::Relaxed);
                    let got = request(&server.address, "GET", &target, &[]).expect("a whole body");
                    let done_at: jiff::Timestamp = done_at.parse().unwrap();
                    let age = jiff::Timestamp::now().as_millisecond() - done_at.as_millisecond();
                    assert!(got.status == 200 || age >= GRACE, "gone after {age} ms");
                }
            });
        }
        for client in 10..12 {
            scope.spawn(move || {
                let mut random = Random::new(seed + client);
                while going() {
                    let key = *random.choose(keys);
                    let got = request(&server.address, "GET", &format!("/vault/{key}"), &[]).expect("a whole body");
                    assert!(matches!(got.status, 200 | 404), "{}", got.status);
                    if got.status == 200 {
                        assert_eq!(blake3::hash(&got.body).to_hex().as_str(), menu[key], "{key}");
                        hits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(move || {
                while going() {
                    let output =
                        larder(data, &["gc", "--json", "--grace", "1s", "--max-size", "1MB", FREE[0], FREE[1]]);
                    assert!(matches!(output.status.code(), Some(0 | 4 | 6)), "{output:?}");
                    if let Ok(json) = serde_json::from_slice::<Value>(&output.stdout) {
                        collected.fetch_add(json["removed"]["files"].as_u64().unwrap(), Ordering::Relaxed);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
        scope.spawn(move || {
            let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Read).unwrap();
            while going() {
                let allocated = catalogue.totals().unwrap().allocated;
                assert!(allocated <= max_size, "{allocated} bytes");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
    });
    let counts = [cooked, collected, hits].map(AtomicU64::into_inner);
    println!("cooked, collected, hits: {counts:?}");
    assert!(counts.iter().all(|&count| count >= 20), "too little happened: {counts:?}");
    all_served_are_right(&server, &menu);
    wait_for_no_drafts(data.path());
    all_is_well(data.path());
}

/// Dead processes' folders are deleted by the server's upkeep, every few seconds.
fn wait_for_no_drafts(data: &Path) {
    let deadline = Instant::now() + Duration::from_mins(5);
    let tmp = data.join("bundles/v0/tmp");
    while fs::read_dir(&tmp).unwrap().count() > 1 {
        assert!(Instant::now() < deadline, "folders of dead processes are left");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_collection_killed_at_random_leaves_catalogue_and_files_in_agreement() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 40, 8_000);
    let server = Server::start(data.path(), &[folder.path()], &[&FREE[..], &["--workers", "2"]].concat());
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let flags = ["gc", "--max-size", "0B", "--grace", "0s", FREE[0], FREE[1]];
    let start = Instant::now();
    assert!(larder(data.path(), &flags).status.success());
    let mut micros = u64::try_from(start.elapsed().as_micros()).unwrap() * 2;
    let mut cut_short = 0;
    for _ in 0..30 {
        for key in menu.keys() {
            // What a kill took the file of is absent, and cooked again.
            let answer = server.post(&format!("/vault/{key}"));
            assert_eq!(answer.status, 201);
        }
        for key in menu.keys() {
            assert_eq!(server.settled(key)["status"], "done");
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(flags).arg("--data").arg(data.path()).env_remove("LARDER_CONFIG").stdin(Stdio::null());
        let start = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).start().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(micros)));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        cut_short += u32::from(!ended);
        if ended {
            micros = u64::try_from(start.elapsed().as_micros()).unwrap();
        }
        // What its crash order promises: files that are gone a moment before their rows, and its folder.
        let found = faults(data.path());
        assert!(found.iter().all(|fault| ["missing-file", "stale-drafts"].contains(&fault.as_str())), "{found:?}");
        all_served_are_right(&server, &menu);
        // Reading has healed the rows.
        assert!(faults(data.path()).iter().all(|fault| fault == "stale-drafts"));
    }
    println!("{cut_short} of 30 were cut short");
    assert!(cut_short >= 5, "it was over before it was killed");
    wait_for_no_drafts(data.path());
    all_is_well(data.path());
}

#[test]
fn on_a_disk_that_others_filled_hits_are_answered_and_collection_needs_no_room() {
    let (folder, disk) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(_mount) = Mount::tmpfs(disk.path(), "24m") else { return skipped() };
    let data = disk.path().join("data");
    let menu = menu(folder.path(), 10, 1_500_000);
    let keys: Vec<&String> = menu.keys().collect();
    let server = Server::start(&data, &[folder.path()], &["--min-free", "1MiB"]);
    for key in &keys[..8] {
        assert_eq!(server.cook(key)["status"], "done");
    }
    let filler = disk.path().join("filler");
    fill_up(&filler, disk.path());
    assert_eq!(all_served_are_right(&server, &menu), 8);
    let refused = server.post(&format!("/vault/{}", keys[8]));
    assert_eq!(refused.status, 507, "all was used within the grace: {}", String::from_utf8_lossy(&refused.body));

    let (code, done) = gc(&data, &["--min-free", "4MiB", "--grace", "0s"]);
    assert_eq!(code, 0, "{done}");
    assert!(done["removed"]["files"].as_u64().unwrap() >= 4, "{done}");
    assert_eq!(server.cook(keys[8])["status"], "done", "there is room again, and nobody had to say so");

    // The kitchen makes room by itself where the grace lets it.
    server.kill();
    let server = Server::start(&data, &[folder.path()], &["--min-free", "1MiB", "--grace", "0s"]);
    fs::remove_file(&filler).unwrap();
    fill_up(&filler, disk.path());
    assert_eq!(server.cook(keys[9])["status"], "done");

    // Nor does it take a server that has the catalogue open already.
    fs::remove_file(&filler).unwrap();
    for key in &keys {
        assert_eq!(server.cook(key)["status"], "done");
    }
    assert!(server.terminate().success());
    // Whoever closes it last clears away its log and the log's index: there is no room for another.
    assert_eq!(larder(&data, &["unpin", keys[0]]).status.code(), Some(0));
    assert!(!data.join("catalogue.db-shm").exists());
    fill_up(&filler, disk.path());
    let output = larder(&data, &["gc", "--json", "--min-free", "1MiB", "--grace", "0s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("deleting first"), "{said}");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(matches!(done["removed"]["files"].as_u64(), Some(2..5)), "{done}");
    let server = Server::start(&data, &[folder.path()], &["--min-free", "1MiB"]);
    fs::remove_file(&filler).unwrap();
    assert_eq!(server.cook(keys[9])["status"], "done");
    assert!(all_served_are_right(&server, &menu) >= 1);
    wait_for_no_drafts(&data);
    all_is_well(&data);
}
