//! Histories of a part of a repository: small, whole, and the same each time. A whole one is left as it
//! lies.

use super::kit::{cook, fsck, objects, snapshot, swhid, try_cook, unpacked};
use crate::common::process::Start as _;
use crate::common::{git, git_command, git_line};
use larder::archive::git::GitArchive;
use larder::cook::history::{self, Order, Subject};
use larder::cook::{Control, CookError, Reason};
use larder::key::Format;
use larder::verify;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// Commits of a part, and of all.
const PART: usize = 120;
const ALL: usize = 400;

/// A repository of one pack. Each commit changes some lines of each of four files and moves one of them
/// now and then, so that later ones are made from much the same; the pack is made as a whole, with the
/// newest of each file as the base of the others.
fn repository() -> TempDir {
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", "--bare", "-b", "main", "."], folder.path());
    let mut stream = String::new();
    for at in 0..ALL {
        let _ = writeln!(stream, "commit refs/heads/main\ncommitter C <c@example.org> {at} +0000\ndata 2\nx");
        for file in 0..4 {
            // Noise, so that what is not made from another takes as much as it has.
            let line = |n: usize| {
                let seed = (n + 1000 * file + if (at..at + 20).contains(&(n % ALL)) { at } else { 7 }) as u64;
                let mut number = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                number = (number ^ number >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                format!("{:016x}{n}", number ^ number >> 32)
            };
            let lines = (0..300 + at / 4).fold(String::new(), |text, n| text + &line((n * 3 + file) % 500) + "\n");
            let _ = writeln!(stream, "M 100644 inline d{}/f{file}.txt\ndata {}\n{lines}", at / 90, lines.len());
        }
        if at + 1 == PART {
            let _ = writeln!(stream, "reset refs/tags/part\nfrom refs/heads/main\n");
        }
    }
    let mut import = git_command(folder.path())
        .args(["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .start()
        .unwrap();
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    git(&["repack", "-adfq", "--depth=50", "--window=50"], folder.path());
    folder
}

fn part(repository: &Path) -> Subject {
    Subject::Revision(git_line(&["rev-parse", "part"], repository).parse().unwrap())
}

fn bytes(archive: &Path, subject: &Subject) -> Vec<u8> {
    let mut bytes = Vec::new();
    cook(archive, subject, Format::Bundle).0.read_to_end(&mut bytes).unwrap();
    bytes
}

/// The pack within a bundle.
fn pack(bundle: &[u8]) -> &[u8] {
    &bundle[bundle.windows(2).position(|two| two == b"\n\n").unwrap() + 2..]
}

/// Bytes of the pack that git makes of what a ref leads to.
fn gits(repository: &Path, name: &str, options: &[&str]) -> usize {
    let mut git = git_command(repository);
    git.args(["pack-objects", "-q", "--revs", "--stdout", "--delta-base-offset", "--threads=1"]).args(options);
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
    git.stdin.take().unwrap().write_all(format!("{name}\n").as_bytes()).unwrap();
    git.wait_with_output().unwrap().stdout.len()
}

#[test]
fn a_part_is_as_small_as_if_git_had_looked_for_every_delta_anew() {
    let folder = repository();
    let best = gits(folder.path(), "part", &["--no-reuse-delta"]);
    let own = pack(&bytes(folder.path(), &part(folder.path()))).len();
    assert!(own * 100 <= best * 110, "{own} bytes, and git's pack has {best}");
}

#[test]
fn a_part_is_what_git_has_and_git_finds_nothing_wrong() {
    let (folder, into) = (repository(), TempDir::new().unwrap());
    let copy = unpacked(folder.path(), &part(folder.path()), into.path());
    let ids = git_line(&["rev-list", "--objects", "--no-object-names", "part"], folder.path());
    let mut ids: Vec<_> = ids.lines().map(str::to_owned).collect();
    ids.sort();
    assert_eq!(objects(&copy), ids);
    assert_eq!(fsck(&copy), Vec::<String>::new());
    let (file, _) = cook(folder.path(), &part(folder.path()), Format::Bundle);
    assert_eq!(verify::git_bundle(&file).unwrap().objects, ids.len() as u64);
    // No chain is longer than git makes them.
    let index = fs::read_dir(copy.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let index = index.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "idx")).unwrap();
    let verified = git_line(&["verify-pack", "-v", index.to_str().unwrap()], &copy);
    let depths = verified.lines().filter_map(|line| line.strip_prefix("chain length = ")?.split(':').next());
    assert!(depths.map(|depth| depth.parse::<usize>().unwrap()).all(|depth| depth <= 50), "{verified}");
}

#[test]
fn a_part_is_the_same_bytes_each_time_and_with_any_number_of_threads() {
    let folder = repository();
    let first = bytes(folder.path(), &part(folder.path()));
    for threads in [1, 2, 8] {
        let mut again = Vec::new();
        try_cook(folder.path(), &part(folder.path()), Format::Bundle, threads, &mut again).unwrap();
        assert!(again == first, "with {threads} threads");
    }
}

#[test]
fn what_is_whole_is_copied_as_it_lies_byte_for_byte() {
    let folder = repository();
    let packs = fs::read_dir(folder.path().join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let packs: Vec<_> = packs.filter(|path| path.extension().is_some_and(|ext| ext == "pack")).collect();
    let [source] = &packs[..] else { panic!("one pack, not {packs:?}") };
    let own = bytes(folder.path(), &Subject::Snapshot(snapshot(folder.path())));
    assert!(pack(&own) == fs::read(source).unwrap());
}

/// The room that is asked for, and an order that can be stopped.
fn cook_with(repository: &Path, room: &dyn Fn(u64) -> io::Result<()>, control: &Control) -> Result<Vec<u8>, CookError> {
    let scratch = TempDir::new().unwrap();
    let archive = GitArchive::new(vec![repository.to_owned()]).unwrap();
    let subject = part(repository);
    let (swhid, scratch) = (swhid(&subject), scratch.path());
    let (format, max_size) = (larder::key::History::Bundle, 1 << 40);
    let order =
        Order { archive: &archive, swhid, subject, format, threads: 2, max_size, lossy: false, scratch, room, control };
    let mut out = Vec::new();
    history::cook(&order, &mut out).map(|_| out)
}

#[test]
fn room_is_asked_for_before_it_is_taken_and_a_refusal_or_a_stop_anywhere_ends_the_cook() {
    let folder = repository();
    let asked = std::cell::RefCell::new(Vec::new());
    let note = |size| {
        asked.borrow_mut().push(size);
        Ok(())
    };
    let own = cook_with(folder.path(), &note, &Control::default()).unwrap();
    let asked = asked.into_inner();
    let most = *asked.iter().max().unwrap();
    // The deltas that were made are in both files for a while.
    assert!(most > pack(&own).len() as u64, "{most}");
    for at in [0, 1, asked.len() / 2, asked.len() - 1] {
        let left = std::cell::Cell::new(at);
        let refuse = |_| match left.get() {
            0 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            more => {
                left.set(more - 1);
                Ok(())
            }
        };
        let error = cook_with(folder.path(), &refuse, &Control::default()).unwrap_err();
        assert!(matches!(&error, CookError::Output(cause) if cause.kind() == io::ErrorKind::StorageFull), "{error}");
        let (control, left) = (Control::default(), std::cell::Cell::new(at));
        let stop = |_| {
            left.set(left.get().wrapping_sub(1));
            if left.get() == usize::MAX {
                control.cancel(Reason::Stop);
            }
            Ok(())
        };
        let error = cook_with(folder.path(), &stop, &control).unwrap_err();
        assert!(matches!(error, CookError::Cancelled(Reason::Stop)), "{error}");
    }
}

/// A byte of a file's entry is another, in the first or in the second of two repositories.
#[test]
fn where_an_object_of_a_part_is_damaged_another_copy_is_taken_and_without_one_it_is_named() {
    let folder = repository();
    let id = git_line(&["rev-parse", "part:d1/f0.txt"], folder.path());
    let subject = part(folder.path());
    for damaged in ["a", "b"] {
        let both = TempDir::new().unwrap();
        let copies = ["a", "b"].map(|name| both.path().join(name));
        for copy in &copies {
            git(
                &["clone", "-q", "--bare", "--local", folder.path().to_str().unwrap(), copy.to_str().unwrap()],
                both.path(),
            );
        }
        let damaged = both.path().join(damaged);
        damage(&damaged, &id);
        let (file, _) = cook(both.path(), &subject, Format::Bundle);
        assert!(verify::git_bundle(&file).unwrap().objects > 4 * PART as u64);
        let error = try_cook(&damaged, &subject, Format::Bundle, 2, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CookError::Corrupt { .. }), "{error}");
    }
}

/// Changes a byte within the entry of an object.
fn damage(repository: &Path, id: &str) {
    let files = fs::read_dir(repository.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let index = files.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "idx")).unwrap();
    let listed = git_line(&["verify-pack", "-v", index.to_str().unwrap()], repository);
    let line = listed.lines().find(|line| line.starts_with(id)).unwrap();
    let fields: Vec<usize> = line.split_whitespace().skip(2).take(3).map(|field| field.parse().unwrap()).collect();
    let [_, length, offset] = fields[..] else { panic!("{line}") };
    let pack = index.with_extension("pack");
    let mut bytes = fs::read(&pack).unwrap();
    bytes[offset + length / 2] ^= 0x10;
    // Not in place: the file may be a link to one that others read.
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
}
