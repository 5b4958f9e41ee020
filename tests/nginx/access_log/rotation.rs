//! Rotation, junk and times, with files that are written as nginx and logrotate would.

use super::desk::{Desk, NOW, key, line, pack};
use larder::time::Timestamp;
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Write;

/// Something that happens to a log.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Fetches are logged.
    Write(u64),
    /// The beginning of a line is.
    Begin,
    /// A worker that has not reopened the log yet writes to the file before.
    Late(u64),
    /// logrotate's default; so many of the older files are packed.
    Rename,
    /// logrotate's `copytruncate`; so many lines are written between the copy and the end.
    CopyTruncate(u64),
    /// larder is started, reads, and ends.
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..30_u64).prop_map(Step::Write),
        1 => Just(Step::Begin),
        1 => (1..5_u64).prop_map(Step::Late),
        2 => Just(Step::Rename),
        1 => (0..4_u64).prop_map(Step::CopyTruncate),
        2 => Just(Step::Read),
    ]
}

/// The log as nginx and logrotate see it, and what they did.
struct World {
    desk: Desk,
    file: File,
    /// What the log was before the last renaming, while that is not packed.
    before: Option<File>,
    /// The rest of a line whose beginning was written.
    rest: Option<String>,
    logged: u64,
    /// Written between a copy and the truncation.
    in_windows: u64,
}

impl World {
    fn new() -> Self {
        let desk = Desk::new(1);
        let file = desk.open("");
        Self { desk, file, before: None, rest: None, logged: 0, in_windows: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(lines) => self.write(lines),
            Step::Begin if self.rest.is_none() => {
                let line = self.desk.line(0);
                let (begin, rest) = line.split_at(line.len() / 2);
                self.file.write_all(begin.as_bytes()).unwrap();
                self.rest = Some(rest.to_owned());
            }
            Step::Begin => {}
            Step::Late(lines) => {
                if let Some(file) = &self.before {
                    self.desk.write(file, lines);
                    self.logged += lines;
                }
            }
            Step::Rename => {
                self.end_line();
                self.shift();
                fs::rename(self.desk.path(""), self.desk.path(".1")).unwrap();
                self.before = Some(std::mem::replace(&mut self.file, self.desk.open("")));
            }
            Step::CopyTruncate(window) => {
                self.end_line();
                self.shift();
                fs::copy(self.desk.path(""), self.desk.path(".1")).unwrap();
                self.write(window);
                self.in_windows += window;
                self.file.set_len(0).unwrap();
            }
            Step::Read => _ = self.desk.catch_up(),
        }
    }

    fn write(&mut self, lines: u64) {
        self.end_line();
        self.desk.write(&self.file, lines);
        self.logged += lines;
    }

    fn end_line(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.file.write_all(rest.as_bytes()).unwrap();
            self.logged += 1;
        }
    }

    /// Makes room for a new `.1`: what was it becomes `.2.gz`.
    fn shift(&mut self) {
        self.before = None;
        for n in (2..40).rev() {
            let _ = fs::rename(self.desk.path(&format!(".{n}.gz")), self.desk.path(&format!(".{}.gz", n + 1)));
        }
        if self.desk.path(".1").exists() {
            pack(&self.desk.path(".1"), &self.desk.path(".2.gz"));
            fs::remove_file(self.desk.path(".1")).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_line_counts_once_whatever_happens_to_the_log(steps in prop::collection::vec(step(), 1..30)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            prop_assert!(world.desk.hits() <= world.logged);
        }
        world.desk.catch_up();
        let lost = world.logged - world.desk.hits();
        prop_assert!(lost <= world.in_windows, "{lost} are lost, {} may be", world.in_windows);
        prop_assert_eq!(world.desk.catch_up().lines, 0);
    }
}

#[test]
fn several_rotations_while_larder_is_down_are_all_read_under_whatever_names() {
    let mut desk = Desk::new(1);
    for (lines, suffix) in [(3, "-20261101"), (5, ".2"), (7, ".old"), (11, ".1"), (13, "")] {
        let file = desk.open(suffix);
        desk.write(&file, lines);
    }
    pack(&desk.path("-20261101"), &desk.path("-20261101.gz"));
    fs::remove_file(desk.path("-20261101")).unwrap();
    // Of another log, and no file at all.
    fs::copy(desk.path(""), desk.path("").with_file_name("other.log")).unwrap();
    fs::create_dir(desk.path(".d")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, desk.path(".pipe"), rustix::fs::Mode::RUSR).unwrap();
    let progress = desk.catch_up();
    assert_eq!((progress.lines, progress.hits, progress.foreign), (39, 39, 0));
    assert_eq!(desk.hits(), 39);
    assert_eq!(desk.catch_up().lines, 0);
}

#[test]
fn a_file_that_is_being_packed_is_read_once() {
    let mut desk = Desk::new(1);
    let file = desk.open("");
    desk.write(&file, 2000);
    desk.catch_up();
    desk.write(&file, 1000);
    fs::rename(desk.path(""), desk.path(".1")).unwrap();
    pack(&desk.path(".1"), &desk.path(".1.whole"));
    let packed = fs::read(desk.path(".1.whole")).unwrap();
    fs::remove_file(desk.path(".1.whole")).unwrap();
    for part in [0, 1, 15, packed.len() / 3, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
        fs::write(desk.path(".1.gz"), &packed[..part]).unwrap();
        desk.catch_up();
        assert_eq!(desk.hits(), 3000);
    }
    fs::remove_file(desk.path(".1")).unwrap();
    fs::write(desk.path(".1.gz"), &packed).unwrap();
    desk.catch_up();
    assert_eq!(desk.hits(), 3000);
    // Unpacked again, it is still the same file.
    fs::write(desk.path(".7"), "").unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut desk.open(".7")).unwrap();
    desk.catch_up();
    assert_eq!(desk.hits(), 3000);
}

#[test]
fn what_packing_had_not_written_yet_is_read_when_it_is() {
    let mut desk = Desk::new(1);
    let file = desk.open(".1");
    desk.write(&file, 3000);
    pack(&desk.path(".1"), &desk.path(".1.gz"));
    fs::remove_file(desk.path(".1")).unwrap();
    let packed = fs::read(desk.path(".1.gz")).unwrap();
    fs::write(desk.path(".1.gz"), &packed[..packed.len() / 2]).unwrap();
    desk.catch_up();
    let part = desk.hits();
    assert!(part > 0 && part < 3000, "{part}");
    fs::write(desk.path(".1.gz"), &packed).unwrap();
    desk.catch_up();
    assert_eq!(desk.hits(), 3000);
}

#[test]
fn junk_and_endless_lines_are_passed_over_and_the_rest_counts() {
    let mut desk = Desk::new(1);
    let mut file = desk.open("");
    let mut random = crate::common::kitchenware::Random::new(5);
    for _ in 0..20 {
        desk.write(&file, 10);
        let junk: Vec<u8> = (0..5000).map(|_| random.next().to_le_bytes()[0]).collect();
        file.write_all(&junk).unwrap();
        file.write_all(b"\n\n\0\n\xff\xfe\r\n").unwrap();
        file.write_all(desk.line(0).replace("larder1\t", "larder1 ").as_bytes()).unwrap();
    }
    // An endless line that ends in what would count, in three parts, read in between.
    let counting = desk.line(0);
    for part in [vec![b'x'; 300 << 10], vec![0; 300 << 10], counting.as_bytes().to_vec()] {
        file.write_all(&part).unwrap();
        desk.catch_up();
    }
    desk.write(&file, 10);
    let progress = desk.catch_up();
    assert_eq!((progress.hits, desk.hits()), (10, 210));
}

#[test]
fn what_is_logged_moves_the_last_access_forward_only_and_never_beyond_now() {
    let mut desk = Desk::new(3);
    let before = desk.bundle(0).last_access_at.unwrap();
    let mut file = desk.open("");
    for (connection, (msec, n)) in
        [("1790000000.500", 0), ("1600000000.000", 1), ("9999999999.000", 2)].iter().enumerate()
    {
        file.write_all(line(msec, connection as u64, *n).as_bytes()).unwrap();
    }
    desk.catch_up();
    assert_eq!(desk.bundle(0).last_access_at, Some(Timestamp::from_millis(1_790_000_000_500)));
    assert_eq!(desk.bundle(1).last_access_at, Some(before));
    assert_eq!(desk.bundle(2).last_access_at, Some(NOW));
    assert_eq!([0, 1, 2].map(|n| desk.bundle(n).hits), [1, 1, 1]);
    file.write_all(desk.line(2).as_bytes()).unwrap();
    desk.catch_up();
    assert_eq!(desk.bundle(2).last_access_at, Some(NOW));
}

#[test]
fn more_bundles_than_one_transaction_takes_are_all_counted() {
    let mut desk = Desk::new(200);
    let mut text = String::new();
    // Most are unknown: removed since.
    for n in 0..5000 {
        text.push_str(&desk.line(n % 2500));
    }
    fs::write(desk.path(""), text).unwrap();
    assert_eq!(desk.catch_up().hits, 5000);
    assert!((0..200).all(|n| desk.bundle(n).hits == 2));
    assert_eq!(desk.catalogue.bundle(&key(200)).unwrap(), None);
}
