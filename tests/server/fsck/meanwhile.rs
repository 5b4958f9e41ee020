//! A check beside a server that cooks and serves, beside collections and removals; and a check that is
//! killed. The first for a minute with `LARDER_TEST_LONG`.

use super::larder::{fsck, larder};
use crate::common::client::request;
use crate::common::kitchenware::{Random, all_served_are_right, menu};
use crate::common::process::Start as _;
use crate::common::server::Server;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};
use tempfile::TempDir;

#[test]
fn beside_cooks_hits_removals_and_collections_nothing_wrong_is_found_and_nothing_breaks() {
    let long = std::env::var_os("LARDER_TEST_LONG").is_some();
    let length = if long { Duration::from_mins(1) } else { Duration::from_secs(8) };
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 20, 100_000);
    let mut keys: Vec<String> = menu.keys().cloned().collect();
    for branch in 0..10 {
        let commit =
            crate::common::git_line(&["rev-parse", &format!("refs/heads/b{branch}")], &folder.path().join("r.git"));
        keys.push(format!("revision/{commit}.tar.gz"));
    }
    let server = Server::start(data.path(), &[folder.path()], &["--workers", "2", "--min-free", "0B"]);
    let (stop, cooked, checked) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let seed = Random::seed();
    println!("seed {seed}");
    std::thread::scope(|scope| {
        let going = || !stop.load(Ordering::Relaxed);
        let (server, keys, menu, data) = (&server, &keys, &menu, data.path());
        let (cooked, checked) = (&cooked, &checked);
        for client in 0..3 {
            scope.spawn(move || {
                let mut random = Random::new(seed + client);
                while going() {
                    let target = format!("/vault/{}", random.choose(keys));
                    let ordered = request(&server.address, "POST", &target, &[("Prefer", "wait=5")]).unwrap();
                    assert_eq!(ordered.status, 201);
                    cooked.fetch_add(u64::from(ordered.json()["status"] == "done"), Ordering::Relaxed);
                    let key = random.choose(keys);
                    let got = request(&server.address, "GET", &format!("/vault/{key}"), &[]).expect("a whole body");
                    assert!(matches!(got.status, 200 | 404), "{}", got.status);
                    if let (200, Some(digest)) = (got.status, menu.get(key)) {
                        assert_eq!(blake3::hash(&got.body).to_hex().as_str(), digest, "{key}");
                    }
                }
            });
        }
        scope.spawn(move || {
            let mut random = Random::new(seed + 10);
            while going() {
                if random.below(4) == 0 {
                    larder(data, &["gc", "--max-size", "500KB", "--grace", "0s", "--min-free", "0B"]);
                } else {
                    let (one, other): (&String, &String) = (random.choose(keys), random.choose(keys));
                    larder(data, &["remove", one, other]);
                }
            }
        });
        scope.spawn(move || {
            while going() {
                for flags in [&["--repair", "--deep"][..], &[]] {
                    let (code, said) = fsck(data, flags);
                    assert_eq!((code, &said["faults"]), (0, &serde_json::json!({})), "{said}");
                    checked.fetch_add(said["checked"]["bundles"].as_u64().unwrap(), Ordering::Relaxed);
                }
            }
        });
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
    });
    let counts = [cooked, checked].map(AtomicU64::into_inner);
    println!("cooked, checked: {counts:?}");
    assert!(counts.iter().all(|&count| count >= 20), "too little happened: {counts:?}");
    all_served_are_right(&server, &menu);
}

#[test]
fn a_check_killed_at_random_leaves_what_the_next_one_puts_right() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 40, 8_000);
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let cook_all = || {
        let server = Server::start(data.path(), &[folder.path()], &["--workers", "2"]);
        for key in menu.keys() {
            assert_eq!(server.post(&format!("/vault/{key}")).status, 201);
        }
        for key in menu.keys() {
            assert_eq!(server.settled(key)["status"], "done");
        }
        assert_eq!(all_served_are_right(&server, &menu), menu.len());
        assert!(server.terminate().success());
    };
    let mut micros = 100_000;
    let mut cut_short = 0;
    for round in 0..20 {
        if round % 4 == 0 {
            cook_all();
        }
        for key in menu.keys() {
            damage(data.path(), key, random.below(12));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["fsck", "--repair", "--deep"]).arg("--data").arg(data.path()).env_remove("LARDER_CONFIG");
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).start().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(micros)));
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        cut_short += u32::from(!ended);
        if ended {
            micros = u64::try_from(start.elapsed().as_micros()).unwrap();
        }
        let (code, said) = fsck(data.path(), &["--repair", "--deep"]);
        assert_eq!(code, 0, "{said}");
        let (code, said) = fsck(data.path(), &["--deep"]);
        assert_eq!((code, &said["faults"]), (0, &serde_json::json!({})), "{said}");
    }
    println!("{cut_short} of 20 were cut short");
    assert!(cut_short >= 5, "it was over before it was killed");
    cook_all();
}

/// Damages a bundle one way or another, or not.
fn damage(data: &Path, key: &str, how: u64) {
    let (_, name) = key.split_once('/').unwrap();
    let path: PathBuf = data.join("bundles/v0/directory").join(&name[..2]).join(&name[2..4]).join(name);
    if !path.exists() {
        return;
    }
    let writable = || fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let mtime = |time| {
        File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
    };
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    match how {
        0 => fs::remove_file(&path).unwrap(),
        1 => {
            writable();
            File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
            mtime(before);
        }
        2 => {
            writable();
            mtime(UNIX_EPOCH + Duration::from_secs(500_000_000));
        }
        3 => {
            writable();
            let mut bytes = fs::read(&path).unwrap();
            bytes[500] ^= 1;
            fs::write(&path, bytes).unwrap();
            mtime(before);
        }
        4 => forget(data, name),
        5 => {
            forget(data, name);
            writable();
            File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
        }
        6 => writable(),
        7 => fs::write(path.with_extension("strange"), b"x").unwrap(),
        _ => {}
    }
}

fn forget(data: &Path, name: &str) {
    let sql = rusqlite::Connection::open(data.join("catalogue.db")).unwrap();
    sql.execute("DELETE FROM bundle WHERE hex(sha1git) = upper(?1)", [&name[..40]]).unwrap();
}
