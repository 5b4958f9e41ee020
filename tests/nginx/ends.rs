//! Whatever a test starts ends with it, however the test ends.

use crate::common::disk::Mount;
use crate::common::nginx::Nginx;
use crate::common::process::Start as _;
use crate::common::server::Server;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Set for the process that aborts: the folder where it says what it has started.
const ABORTING: &str = "LARDER_TEST_ABORTING";

/// Of the process that the next test starts, and of no other.
#[test]
fn it_starts_what_tests_start_and_aborts() {
    let Some(told) = std::env::var_os(ABORTING) else { return };
    let told = Path::new(&told);
    let server = Server::start(&told.join("data"), &[], &[]);
    let nginx = Nginx::start(told, 1);
    // As nginx's master and its workers: what was started starts another, and is not asked when it is killed.
    let mut family = Command::new("sh");
    family.args(["-c", "sleep 600 & echo $!; trap '' TERM HUP; wait"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut family = family.start().unwrap();
    let mut child = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(family.stdout.take().unwrap()), &mut child).unwrap();
    let mounted = Mount::tmpfs(&told.join("disk"), "1m");
    let pids = format!("{}\n{}\n{}\n{child}", server.pid(), nginx.pid(), family.id());
    fs::write(told.join("started"), pids).unwrap();
    // Nothing is dropped: neither the mount.
    let _kept = mounted;
    std::process::abort();
}

#[test]
fn a_test_that_aborts_leaves_no_process_and_no_mount() {
    let told = TempDir::new().unwrap();
    fs::create_dir(told.path().join("disk")).unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends::it_starts_what_tests_start_and_aborts"])
        .env(ABORTING, told.path())
        .output()
        .unwrap();
    let said = || format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let started = fs::read_to_string(told.path().join("started")).unwrap_or_else(|error| panic!("{error}: {}", said()));
    assert!(!run.status.success(), "it aborted");
    assert_eq!(started.lines().count(), 4, "{started}");
    let deadline = Instant::now() + Duration::from_mins(5);
    let disk = told.path().join("disk");
    let left = || -> Vec<&str> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mounted = mounts.lines().any(|line| line.split(' ').nth(1) == disk.to_str());
        started.lines().filter(|pid| runs(pid)).chain(mounted.then_some("the mount")).collect()
    };
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "it left {:?}", left());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Of what was killed a moment ago the number may still be there, for whoever is to ask how it ended.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn no_test_starts_a_process_that_nobody_ends() {
    let mut folders = vec!["tests", "benches"].into_iter().map(|name| here().join(name)).collect::<Vec<_>>();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("process.rs") {
                seen += 1;
                let text = fs::read_to_string(&path).unwrap();
                let found = text.lines().position(|line| line.contains(concat!(".spawn", "()")));
                assert_eq!(found, None, "{}: use `start` of common/process.rs", path.display());
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
