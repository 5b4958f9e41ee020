//! Every system call of the archive on what lies in repositories fails once, in each way that says
//! nothing of what is there: no object is ever called absent or damaged, no list of refs is cut short, and
//! the next try gives all of it.
//!
//! A program in C (`common/faults.c`) runs this test program again and fails the calls
//! of the kernel, so that it is no matter which library makes them. All ways of failing with
//! `LARDER_TEST_LONG`.

use crate::common;
use larder::archive::git::{GitArchive, RefTarget};
use larder::archive::object::hash;
use larder::archive::{Archive, ArchiveError, ObjectType, Reader};
use larder::key::Sha1Git;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What says that something could not be looked at.
const FAULTS: [Errno; 7] =
    [Errno::IO, Errno::MFILE, Errno::ACCESS, Errno::NFILE, Errno::STALE, Errno::NOMEM, Errno::AGAIN];

/// Of these a short run tries each.
const SHORT: usize = 2;

/// The folder of repositories, where the program is run under faults.
const FOLDER: &str = "LARDER_FAULTS_FOLDER";

#[test]
fn a_call_that_fails_makes_no_object_absent_and_the_next_try_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().canonicalize().unwrap().join("repositories");
    make_repositories(&folder);
    let program = common::faults::make(dir.path());
    let run = Command::new(&program)
        .arg(&folder)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "archive_faults::under_faults", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, &folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{}\n{said}\n{}", run.status, String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

/// A repository with loose objects, packs, a multi-pack index, refs of both kinds, a worktree, and one
/// that borrows from it, both reached by a link.
fn make_repositories(folder: &Path) {
    let main = folder.join("group/main");
    fs::create_dir_all(&main).unwrap();
    let git = |args: &[&str]| common::git(args, &main);
    git(&["init", "-q", "."]);
    for (name, pack) in [("one", true), ("two", true), ("three", true), ("four", false)] {
        fs::write(main.join(name), format!("{name}\n").repeat(400)).unwrap();
        git(&["add", "-A"]);
        git(&["commit", "-qm", name]);
        git(&["branch", name]);
        if pack {
            git(&["repack", "-dq"]);
        }
        if name == "two" {
            git(&["multi-pack-index", "write"]);
            git(&["pack-refs", "--all"]);
        }
    }
    git(&["tag", "-am", "a tag", "v1"]);
    git(&["worktree", "add", "-q", "--detach", "../tree"]);
    common::git(&["clone", "-q", "--bare", "--shared", "main", "fork.git"], &folder.join("group"));
    std::os::unix::fs::symlink("group/fork.git", folder.join("link.git")).unwrap();
}

/// The refs of a repository, in order of name.
type Refs = Vec<(Vec<u8>, RefTarget)>;

/// What the archive is to give.
struct Expected {
    folder: PathBuf,
    objects: BTreeMap<Sha1Git, ObjectType>,
    refs: Vec<Refs>,
}

#[test]
#[ignore = "run by the test above, under a program that fails its calls"]
fn under_faults() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("it is run by the test above"));
    let expected = Expected::read(folder);
    let long = std::env::var_os("LARDER_TEST_LONG").is_some();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for fault in FAULTS.into_iter().take(if long { FAULTS.len() } else { SHORT }) {
        // From the call on all fail, for a while: only what is denied is then believed.
        let counts: &[u32] = if long && fault != Errno::ACCESS { &[1, 1 << 30] } else { &[1] };
        for (count, warm) in counts.iter().flat_map(|count| [(*count, false), (*count, true)]) {
            // The second way is tried here and there when time is short.
            let step = if long || fault == FAULTS[0] { 1 } else { 7 };
            let mut call = 1;
            while expected.fails_well(fault, call, count, warm, &mut wrong) {
                call += step;
                tried += 1;
            }
            assert!(call > 50, "only {call} calls were seen");
        }
    }
    println!("{tried} calls failed");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong[..wrong.len().min(40)].join("\n"));
}

impl Expected {
    fn read(folder: PathBuf) -> Self {
        let list = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
        let listed = String::from_utf8(common::git(&list, &folder.join("group/main"))).unwrap();
        let mut reader = GitArchive::new(vec![folder.clone()]).unwrap().reader();
        let mut found = |id: &Sha1Git| reader.find(id, &mut Vec::new()).unwrap().expect("git lists it");
        let objects: BTreeMap<_, _> =
            listed.lines().map(|line| line.parse().unwrap()).map(|id| (id, found(&id))).collect();
        assert!(objects.len() > 12, "{}", objects.len());
        let refs = refs(&GitArchive::new(vec![folder.clone()]).unwrap()).unwrap();
        assert_eq!(refs.len(), 2);
        assert!(refs.iter().all(|refs| refs.len() > 5), "{refs:?}");
        Self { folder, objects, refs }
    }

    /// Whether there was such a call. What went wrong after it failed is added to `wrong`.
    fn fails_well(&self, fault: Errno, call: u32, count: u32, warm: bool, wrong: &mut Vec<String>) -> bool {
        let open = || GitArchive::new(vec![self.folder.clone()]);
        let mut archive = warm.then(|| open().unwrap());
        let mut reader = archive.as_ref().map(Archive::reader);
        if let (Some(archive), Some(reader)) = (&archive, &mut reader) {
            self.ask(archive, &mut **reader, &mut |what| panic!("before anything failed: {what}"));
            // So that all is looked at again.
            for name in ["group/main/.git/objects/pack", "group/main/.git/objects", "group"] {
                let folder = fs::File::open(self.folder.join(name)).unwrap();
                let times = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
                folder.set_times(times).unwrap();
            }
        }
        let mut note = |what: String| wrong.push(format!("{fault:?}, {count} from call {call}, warm {warm}: {what}"));
        arm(fault, call, count);
        match archive.as_ref().map_or_else(|| open().map(Some), |_| Ok(None)) {
            Ok(None) | Err(ArchiveError::Io { .. }) => {}
            Ok(fresh) => {
                reader = fresh.as_ref().map(Archive::reader);
                archive = fresh;
            }
            Err(error) => note(format!("opening: {error}")),
        }
        if let (Some(archive), Some(reader)) = (&archive, &mut reader) {
            self.ask(archive, &mut **reader, &mut |what| {
                if !what.starts_with("failed") {
                    note(what);
                }
            });
        }
        let hit = was_hit();
        arm(Errno::PERM, 1, 0);
        if !hit {
            return false;
        }
        if archive.is_none() {
            archive = Some(open().unwrap());
        }
        let archive = archive.unwrap();
        let mut reader = reader.unwrap_or_else(|| archive.reader());
        // What failed is tried again soon, a scan after a tenth of a second and as long as it took.
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut left = Vec::new();
        while Instant::now() < deadline {
            left.clear();
            self.ask(&archive, &mut *reader, &mut |what| left.push(what));
            if left.is_empty() {
                return true;
            }
            assert!(left.iter().all(|what| what.starts_with("failed")), "{left:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        note(format!("the next tries: {left:?}"));
        true
    }

    /// Asks for everything, and says what is not as expected: `failed` where that is said.
    fn ask(&self, archive: &GitArchive, reader: &mut dyn Reader, note: &mut dyn FnMut(String)) {
        let mut buf = Vec::new();
        for (id, object_type) in &self.objects {
            match reader.find(id, &mut buf) {
                Ok(Some(found)) if found == *object_type && hash(found, &buf).is_ok_and(|hashed| hashed == *id) => {}
                Ok(found) => note(format!("{id} was {found:?}")),
                Err(error @ ArchiveError::Io { .. }) => note(format!("failed: {error}")),
                Err(error) => note(format!("{id}: {error}")),
            }
        }
        match reader.header(&Sha1Git::from_bytes([0xab; 20])) {
            Ok(None) => {}
            Ok(found) => note(format!("what is not there was {found:?}")),
            Err(error @ ArchiveError::Io { .. }) => note(format!("failed: {error}")),
            Err(error) => note(format!("what is not there: {error}")),
        }
        match refs(archive) {
            Ok(refs) if refs == self.refs => {}
            Ok(refs) => note(format!("refs were {refs:?}")),
            Err(error) => note(format!("failed: {error}")),
        }
    }
}

/// The refs of each repository, in order.
fn refs(archive: &GitArchive) -> Result<Vec<Refs>, String> {
    let mut all = Vec::new();
    for repository in archive.repositories().map_err(|error| error.to_string())? {
        let mut refs = Vec::new();
        let read = repository.refs(&mut |name, target| {
            refs.push((name.to_vec(), target));
            true
        });
        read.map_err(|error| error.to_string())?;
        refs.sort_by(|a, b| a.0.cmp(&b.0));
        all.push(refs);
    }
    Ok(all)
}

fn arm(fault: Errno, first: u32, count: u32) {
    let path = format!("/larder-faults/arm/{}/{first}/{count}", fault.raw_os_error());
    assert_eq!(fs::File::open(path).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

fn was_hit() -> bool {
    fs::File::open("/larder-faults/hit").unwrap_err().kind() == std::io::ErrorKind::AlreadyExists
}
