//! A server whose surroundings fail: another process that writes and does not stop, a catalogue that is
//! taken away, drafts removed by hand, a limit on the size of files. Each for real.

use crate::common::client::{Answer, request};
use crate::common::kitchenware::{Menu, all_is_well, menu};
use crate::common::server::Server;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn larder(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").stdin(Stdio::null());
    command.output().expect("larder runs")
}

/// The codes of what `/readyz` says is wrong; with the status that belongs to them.
#[track_caller]
fn troubles(server: &Server) -> Vec<String> {
    let answer = server.get("/readyz");
    let body = answer.json();
    let codes: Vec<String> =
        body["problems"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!((answer.status == 200, body["ready"] == true), (codes.is_empty(), codes.is_empty()), "{body}");
    assert!(matches!(answer.status, 200 | 503));
    assert_eq!(answer.header("retry-after").is_some(), !codes.is_empty());
    assert!(!String::from_utf8_lossy(&answer.body).contains('/'), "no path is told: {body}");
    codes
}

/// Waits until `/readyz` says just this.
#[track_caller]
fn until_troubles_are(server: &Server, wanted: &[&str], within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let found = troubles(server);
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?} instead of {wanted:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A server that has cooked the first of a few bundles.
fn one_cooked(folder: &Path, data: &Path, flags: &[&str]) -> (Menu, Vec<String>, Server) {
    let menu = menu(folder, 4, 20_000);
    let server = Server::start(data, &[folder], flags);
    let keys: Vec<String> = menu.keys().cloned().collect();
    assert_eq!(server.cook(&keys[0])["status"], "done");
    assert_eq!(troubles(&server), [""; 0]);
    (menu, keys, server)
}

#[test]
fn while_another_process_writes_orders_give_up_within_seconds_and_reads_are_answered() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_, keys, server) = one_cooked(folder.path(), data.path(), &[]);
    let other = rusqlite::Connection::open(data.path().join("catalogue.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let asked = |method: &str, target: &str| -> (Answer, Duration) {
        let start = Instant::now();
        (request(&server.address, method, target, &[]).unwrap(), start.elapsed())
    };
    std::thread::scope(|scope| {
        // More than tokio has threads for what blocks.
        let orders: Vec<_> = (0..600)
            .map(|n| {
                let (asked, target) = (&asked, format!("/vault/{}", keys[1 + n % 3]));
                scope.spawn(move || asked("POST", &target))
            })
            .collect();
        std::thread::sleep(Duration::from_secs(1));
        let reads = [
            (format!("/vault/{}", keys[0]), 200),
            (format!("/vault/{}", keys[1]), 404),
            (format!("/vault/{}/status", keys[0]), 200),
            ("/vault/directory".to_owned(), 200),
            ("/healthz".to_owned(), 200),
        ];
        for (target, status) in &reads {
            let (answer, took) = asked("GET", target);
            assert_eq!(answer.status, *status, "{target}");
            assert!(took < Duration::from_secs(2), "{target} took {took:?}");
        }
        assert_eq!(asked("POST", &format!("/vault/{}", keys[0])).0.status, 201, "there is nothing to write");
        for order in orders {
            let (answer, took) = order.join().unwrap();
            assert_eq!((answer.status, &answer.json()["code"]), (503, &"catalogue_busy".into()));
            assert!(answer.header("retry-after").is_some());
            // Five seconds, and what a busy machine adds.
            assert!(took < Duration::from_secs(9), "{took:?}");
        }
    });
    until_troubles_are(&server, &["writer_blocked"], Duration::from_secs(10));
    other.execute_batch("COMMIT").unwrap();
    until_troubles_are(&server, &[], Duration::from_secs(10));
    for key in &keys[1..] {
        assert_eq!(server.cook(key)["status"], "done");
    }
    assert!(server.terminate().success());
    all_is_well(data.path());
}

#[test]
fn a_catalogue_that_is_taken_away_is_noticed_and_used_again_when_it_is_back() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_, keys, server) = one_cooked(folder.path(), data.path(), &[]);
    let (path, aside) = (data.path().join("catalogue.db"), data.path().join("aside"));
    let copy = data.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    for replaced in [false, true] {
        fs::rename(&path, &aside).unwrap();
        if replaced {
            fs::copy(&copy, &path).unwrap();
        }
        // Even the first order is not written into a file that is nobody's.
        let order = server.post(&format!("/vault/{}", keys[1]));
        assert_eq!((order.status, &order.json()["code"]), (503, &"catalogue_unavailable".into()));
        assert!(order.header("retry-after").is_some());
        until_troubles_are(&server, &["catalogue_lost"], Duration::from_secs(5));
        assert_eq!(server.get(&format!("/vault/{}", keys[0])).status, 200, "what is there is served");
        fs::rename(&aside, &path).unwrap();
        until_troubles_are(&server, &[], Duration::from_secs(5));
        assert_eq!(server.post(&format!("/vault/{}", keys[2])).status, 201);
    }
    assert_eq!(server.settled(&keys[2])["status"], "done");
    assert!(server.terminate().success());
    all_is_well(data.path());
}

#[test]
fn a_catalogue_that_was_deleted_or_emptied_is_not_begun_anew_beside_bundles_but_repaired() {
    for emptied in [false, true] {
        let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let (_, keys, server) = one_cooked(folder.path(), data.path(), &[]);
        let path = data.path().join("catalogue.db");
        if emptied {
            File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        until_troubles_are(&server, &["catalogue_lost"], Duration::from_secs(5));
        assert_eq!(server.post(&format!("/vault/{}", keys[1])).status, 503);
        assert_eq!(server.get(&format!("/vault/{}", keys[0])).status, 200);
        server.kill();
        for companion in ["-wal", "-shm"] {
            let _ = fs::remove_file(data.path().join(format!("catalogue.db{companion}")));
        }
        let git = folder.path().to_str().unwrap();
        for command in [&["serve", "--listen", "127.0.0.1:0", "--git", git][..], &["cook", "--git", git, &keys[1]]] {
            let refused = larder(data.path(), command);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && said.contains("larder fsck --repair"), "{command:?}: {said}");
            assert!(fs::metadata(&path).map_or(0, |metadata| metadata.len()) == 0, "nothing was begun");
        }
        let checked = larder(data.path(), &["fsck"]);
        assert_eq!(checked.status.code(), Some(1), "a check alone makes none");
        assert_eq!(larder(data.path(), &["fsck", "--repair"]).status.code(), Some(0));
        let server = Server::start(data.path(), &[folder.path()], &[]);
        assert_eq!(server.get(&format!("/vault/{}/status", keys[0])).json()["status"], "done");
        assert_eq!(server.cook(&keys[1])["status"], "done");
        assert!(server.terminate().success());
        all_is_well(data.path());
    }
}

#[test]
fn a_log_that_was_deleted_beneath_a_server_ends_its_writing() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_, keys, server) = one_cooked(folder.path(), data.path(), &[]);
    fs::remove_file(data.path().join("catalogue.db-wal")).unwrap();
    assert_eq!(server.post(&format!("/vault/{}", keys[1])).status, 503, "others would not see what it writes");
    until_troubles_are(&server, &["catalogue_lost"], Duration::from_secs(5));
    // It brings what was in the log into the file within a second or two.
    std::thread::sleep(Duration::from_secs(3));
    server.kill();
    let server = Server::start(data.path(), &[folder.path()], &[]);
    assert_eq!(server.get(&format!("/vault/{}/status", keys[0])).json()["status"], "done", "nothing was lost");
    assert_eq!(server.cook(&keys[1])["status"], "done");
}

#[test]
fn drafts_that_were_removed_by_hand_cost_no_cook() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_, keys, server) = one_cooked(folder.path(), data.path(), &[]);
    let tmp = data.path().join("bundles/v0/tmp");
    let own = || fs::read_dir(&tmp).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [ours] = own().try_into().unwrap();
    fs::remove_dir(&ours).unwrap();
    assert_eq!(server.cook(&keys[1])["status"], "done");
    fs::remove_dir_all(&tmp).unwrap();
    assert_eq!(server.cook(&keys[2])["status"], "done");
    // It is back, and locked: whoever cleans up beside it does not take its owner for dead.
    assert_eq!(larder(data.path(), &["fsck", "--repair"]).status.code(), Some(0));
    assert_eq!(own(), [ours]);
    assert_eq!(server.cook(&keys[3])["status"], "done");
    assert_eq!(troubles(&server), [""; 0]);
    // Also while nobody cooks, before another process looks who is alive.
    fs::remove_dir_all(&tmp).unwrap();
    let deadline = Instant::now() + Duration::from_secs(15);
    while !tmp.exists() || own().is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.terminate().success());
    all_is_well(data.path());
}

#[test]
fn a_limit_on_the_size_of_files_fails_the_cook_and_not_the_server() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (large, small) = (menu(folder.path(), 1, 12_000_000), TempDir::new().unwrap());
    let small_menu = menu(small.path(), 1, 20_000);
    let log = data.path().join("log");
    let mut command = Command::new("bash");
    command
        // In KiB: enough for the catalogue, not for a large tar.
        .args(["-c", "ulimit -f 8192; exec \"$@\"", "larder", env!("CARGO_BIN_EXE_larder")])
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data.path().join("data"))
        .arg("--git")
        .arg(folder.path())
        .arg("--git")
        .arg(small.path())
        .env_remove("LARDER_CONFIG")
        .env("LARDER_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).unwrap());
    let server = Server::spawn(command);
    let tar = large.keys().next().unwrap().replace(".tar.gz", ".tar");
    assert_eq!(server.post(&format!("/vault/{tar}")).status, 201);
    let deadline = Instant::now() + Duration::from_mins(1);
    while !fs::read_to_string(&log).unwrap().contains("no-space") {
        assert!(Instant::now() < deadline, "{}", fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.cook(small_menu.keys().next().unwrap())["status"], "done");
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.terminate().success());
}

#[test]
fn what_there_is_no_room_for_is_said_before_it_is_asked_for() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 1, 20_000);
    let server = Server::start(data.path(), &[folder.path()], &["--min-free", "1000TB"]);
    assert_eq!(server.post(&format!("/vault/{}", menu.keys().next().unwrap())).status, 507);
    assert_eq!(troubles(&server), ["no_room"]);
    drop(server);
    let server = Server::start(data.path(), &[folder.path()], &["--min-free", "0B"]);
    fs::rename(data.path().join("bundles"), data.path().join("moved")).unwrap();
    assert_eq!(troubles(&server), ["store_gone"]);
}
