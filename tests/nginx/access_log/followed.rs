//! The thread that follows, and whole processes that do.

use super::desk::{Desk, NOW, add_bundles, key, line, pack};
use crate::common::server::Server;
use larder::access::log::{Bell, catch_up, follow};
use larder::catalogue::{Access, Catalogue};
use larder::metrics::Metrics;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

struct Following {
    bell: Arc<Bell>,
    thread: JoinHandle<()>,
}

impl Following {
    fn start(desk: &Desk) -> Self {
        let bell = Arc::new(Bell::default());
        let (log, catalogue, rung) = (desk.log.clone(), desk.catalogue.clone(), Arc::clone(&bell));
        let thread = thread::spawn(move || follow(&log, &catalogue, &rung, &Metrics::default().log(), &|| NOW));
        Self { bell, thread }
    }

    fn stop(self) {
        self.bell.stop();
        self.thread.join().unwrap();
    }
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while !there() {
        assert!(Instant::now() < deadline, "{what} never came");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_log_that_is_not_there_yet_is_followed_once_it_is() {
    let mut desk = Desk::new(1);
    fs::remove_dir(desk.folder.path().join("logs")).unwrap();
    let following = Following::start(&desk);
    thread::sleep(Duration::from_millis(60));
    fs::create_dir(desk.folder.path().join("logs")).unwrap();
    let mut file = desk.open("");
    desk.write(&file, 5);
    wait_for("the first lines", || desk.hits() == 5);
    // From here on it sleeps until it is told.
    thread::sleep(Duration::from_millis(60));
    let half = desk.line(0);
    file.write_all(&half.as_bytes()[..30]).unwrap();
    thread::sleep(Duration::from_millis(60));
    file.write_all(&half.as_bytes()[30..]).unwrap();
    wait_for("a line in two halves", || desk.hits() == 6);
    following.stop();
}

#[test]
fn rotation_while_it_follows_loses_nothing_even_out_of_the_folder() {
    let mut desk = Desk::new(1);
    let following = Following::start(&desk);
    let mut logged = 0;
    for turn in 0..9_u64 {
        let file = desk.open("");
        desk.write(&file, 20);
        logged += 20;
        wait_for("the log of this turn", || desk.hits() == logged);
        let away = desk.folder.path().join(format!("away{turn}"));
        match turn % 3 {
            0 => fs::rename(desk.path(""), desk.path(&format!(".{turn}"))).unwrap(),
            1 => fs::rename(desk.path(""), away).unwrap(),
            _ => {
                fs::copy(desk.path(""), desk.path(&format!(".{turn}"))).unwrap();
                file.set_len(0).unwrap();
            }
        }
        // By then it sleeps, or looks whether what left still grows.
        thread::sleep(Duration::from_millis(60));
        desk.write(&file, 3);
        logged += 3;
        wait_for("late lines", || desk.hits() == logged);
    }
    following.stop();
    assert_eq!(desk.hits(), logged);
}

/// The clock is asked when a round begins and before each batch is read: here it truncates the log at that moment, and what
/// is written then reaches beyond where reading goes on.
#[test]
fn what_is_read_of_a_log_that_was_truncated_just_then_is_not_of_the_file_it_was() {
    let mut desk = Desk::new(1);
    let file = desk.open("");
    desk.write(&file, 10);
    desk.catch_up();
    desk.write(&file, 5);
    let after: String = (0..30).map(|_| desk.line(0)).collect();
    fs::copy(desk.path(""), desk.path(".1")).unwrap();
    let (bell, log, catalogue) = (Arc::new(Bell::default()), desk.log.clone(), desk.catalogue.clone());
    let rung = Arc::clone(&bell);
    let thread = thread::spawn(move || {
        let asked = Cell::new(0);
        follow(&log, &catalogue, &rung, &Metrics::default().log(), &|| {
            asked.set(asked.get() + 1);
            if asked.get() == 2 {
                file.set_len(0).unwrap();
                file.try_clone().unwrap().write_all(after.as_bytes()).unwrap();
            }
            NOW
        });
    });
    wait_for("both files", || desk.hits() >= 45);
    Following { bell, thread }.stop();
    assert_eq!(desk.hits(), 45);
}

/// Rotation never waits for the reader: it may happen at any moment of a round.
#[test]
fn rotation_in_the_midst_of_reading_loses_nothing_and_counts_nothing_twice() {
    const LINES: u64 = 400;
    let mut desk = Desk::new(1);
    desk.log.interval = Duration::ZERO;
    let mut file = desk.open("");
    let following = Following::start(&desk);
    for turn in 0..60_u32 {
        desk.write(&file, LINES);
        for n in (1..=turn).rev() {
            let _ = fs::rename(desk.path(&format!(".{n}")), desk.path(&format!(".{}", n + 1)));
        }
        if turn % 2 == 0 {
            fs::rename(desk.path(""), desk.path(".1")).unwrap();
            desk.write(&file, 1);
            file = desk.open("");
        } else {
            fs::copy(desk.path(""), desk.path(".1")).unwrap();
            file.set_len(0).unwrap();
        }
    }
    desk.write(&file, 1);
    following.stop();
    desk.catch_up();
    assert_eq!(desk.hits(), 60 * LINES + 30 + 1);
}

#[test]
fn what_was_logged_before_the_stop_is_written_then() {
    let mut desk = Desk::new(1);
    desk.log.interval = Duration::from_hours(1);
    let file = desk.open("");
    desk.write(&file, 5);
    let following = Following::start(&desk);
    wait_for("the backlog", || desk.hits() == 5);
    desk.write(&file, 7);
    following.stop();
    assert_eq!(desk.hits(), 12);
}

#[test]
fn what_was_logged_is_read_by_one_that_is_told_to_stop_before_it_begins() {
    let mut desk = Desk::new(1);
    let file = desk.open("");
    desk.write(&file, 5);
    let bell = Bell::default();
    bell.stop();
    follow(&desk.log, &desk.catalogue, &Arc::new(bell), &Metrics::default().log(), &|| NOW);
    assert_eq!(desk.hits(), 5);
}

#[test]
fn one_follows_and_the_other_takes_over() {
    let mut desk = Desk::new(1);
    let file = desk.open("");
    desk.write(&file, 5);
    let first = Following::start(&desk);
    wait_for("the first lines", || desk.hits() == 5);
    assert_eq!(catch_up(&desk.log, &desk.catalogue, NOW).unwrap(), None, "the other one follows");
    let second = Following::start(&desk);
    first.stop();
    desk.write(&file, 5);
    wait_for("what the second reads", || desk.hits() == 10);
    second.stop();
    assert_eq!(desk.catch_up().lines, 0);
}

/// A million lines, half of them packed, by a larder of its own: its memory is looked at.
#[test]
fn a_backlog_of_a_million_lines_is_read_in_bounded_memory() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Migrate).unwrap();
    add_bundles(&catalogue, 20);
    let path = folder.path().join("access.log");
    for (part, name) in [(0..500_000_u64, "access.log.1"), (500_000..1_000_000, "access.log")] {
        let mut file = BufWriter::new(File::create(folder.path().join(name)).unwrap());
        let lines: Vec<String> = (0..20).map(|n| line("1790000000.000", 0, n)).collect();
        let first = line("1790000000.000", part.start + 1, 0);
        file.write_all(first.as_bytes()).unwrap();
        for n in part.start + 1..part.end {
            file.write_all(lines[usize::try_from(n % 20).unwrap()].as_bytes()).unwrap();
        }
        file.flush().unwrap();
    }
    let packed = folder.path().join("access.log.1");
    pack(&packed, &folder.path().join("access.log.1.gz"));
    fs::remove_file(packed).unwrap();
    let server = Server::start(&data, &[], &["--access-log", path.to_str().unwrap()]);
    let hits = || (0..20).map(|n| catalogue.bundle(&key(n)).unwrap().unwrap().hits).sum::<u64>();
    wait_for("a million hits", || {
        thread::sleep(Duration::from_millis(50));
        hits() >= 1_000_000
    });
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 64 << 10, "{kib} KiB at its peak");
    assert!(server.terminate().success());
    assert_eq!(hits(), 1_000_000);
}
