//! The git archive against real repositories, made by git itself.

#![expect(clippy::unwrap_used, reason = "what fails here is a failed test")]

use crate::common::process::Start as _;
use larder::archive::git::GitArchive;
use larder::archive::object::hash;
use larder::archive::{Archive, ArchiveError, Header, MAX_WHOLE_BLOB, ObjectType};
use larder::key::Sha1Git;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs git in `dir` with nothing of this machine's configuration.
fn git(dir: &Path, arguments: &[&str]) -> String {
    git_with_input(dir, arguments, b"")
}

fn git_with_input(dir: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("git")
        .current_dir(dir)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
        .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@example.org")])
        .envs([("GIT_AUTHOR_DATE", "1000000000 +0000"), ("GIT_COMMITTER_DATE", "1000000000 +0000")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .start()
        .expect("git is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn init(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q", "-b", "main", "."]);
    git(dir, &["config", "gc.auto", "0"]);
}

fn commit(dir: &Path, message: &str) -> Sha1Git {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "--allow-empty", "-m", message]);
    id(&git(dir, &["rev-parse", "HEAD"]))
}

/// A repository with a few commits, so that packing makes deltas.
fn repository(dir: &Path, seed: &str) -> Sha1Git {
    init(dir);
    fs::create_dir_all(dir.join("sub/deep")).unwrap();
    let mut text = String::new();
    for line in 0..400 {
        writeln!(text, "{seed} line {line} {}", line * 7919 % 1000).unwrap();
    }
    for revision in 0..6 {
        text.insert_str(revision * 100, &format!("revision {revision}\n"));
        fs::write(dir.join("text"), &text).unwrap();
        fs::write(dir.join("sub/deep/also"), format!("{text}{revision}")).unwrap();
        fs::write(dir.join(format!("sub/{revision}")), format!("{seed} {revision}")).unwrap();
        fs::write(dir.join("empty"), "").unwrap();
        commit(dir, &format!("revision {revision}"));
    }
    git(dir, &["tag", "-a", "-m", "a tag", "v1"]);
    id(&git(dir, &["rev-parse", "HEAD"]))
}

fn id(hex: &str) -> Sha1Git {
    hex.parse().unwrap()
}

fn archive(path: &Path) -> GitArchive {
    GitArchive::new(vec![path.to_path_buf()]).unwrap()
}

/// Every object of a repository, as git lists it.
fn all_objects(dir: &Path) -> Vec<(Sha1Git, ObjectType, u64)> {
    let list = git(dir, &["cat-file", "--batch-all-objects", "--batch-check", "--unordered"]);
    list.lines()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let object_type = match words[1] {
                "blob" => ObjectType::Blob,
                "tree" => ObjectType::Tree,
                "commit" => ObjectType::Commit,
                _ => ObjectType::Tag,
            };
            (id(words[0]), object_type, words[2].parse().unwrap())
        })
        .collect()
}

/// Asks for every object in every way, and compares with git.
fn assert_reads_all(archive: &GitArchive, dir: &Path) {
    let mut reader = archive.reader();
    let objects = all_objects(dir);
    assert!(!objects.is_empty());
    let mut buf = Vec::new();
    for (id, object_type, size) in objects {
        assert_eq!(reader.header(&id).unwrap(), Some(Header { object_type, size }), "{id}");
        assert_eq!(reader.find(&id, &mut buf).unwrap(), Some(object_type), "{id}");
        assert_eq!(buf.len() as u64, size);
        if object_type == ObjectType::Blob {
            let mut streamed = Vec::new();
            assert!(reader.stream(&id, &mut streamed).unwrap().is_some());
            assert_eq!(streamed, buf);
        } else {
            assert!(matches!(reader.stream(&id, &mut Vec::new()), Err(ArchiveError::Corrupt { .. })));
        }
    }
    assert_eq!(reader.find(&Sha1Git::from_bytes([0xab; 20]), &mut buf).unwrap(), None);
}

/// Whether the archive has the object, by every way of asking.
fn has(archive: &GitArchive, id: &Sha1Git) -> bool {
    let mut reader = archive.reader();
    let found = reader.find(id, &mut Vec::new()).unwrap().is_some();
    assert_eq!(reader.header(id).unwrap().is_some(), found);
    found
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    let folder = dir.join(".git/objects/pack");
    let mut packs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    packs.retain(|path| path.extension().is_some_and(|extension| extension == "pack"));
    packs.sort();
    packs
}

fn make_writable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn loose_objects_are_read() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "loose");
    assert!(packs(dir.path()).is_empty());
    assert_reads_all(&archive(dir.path()), dir.path());
}

#[test]
fn packed_objects_and_their_deltas_are_read() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "packed");
    git(dir.path(), &["repack", "-adfq", "--depth=50", "--window=50"]);
    git(dir.path(), &["prune-packed"]);
    let pack = packs(dir.path())[0].with_extension("idx");
    let chains = git(dir.path(), &["verify-pack", "-v", pack.to_str().unwrap()]);
    assert!(chains.contains("chain length = 2"), "the pack has deltas of deltas: {chains}");
    assert_reads_all(&archive(dir.path()), dir.path());
}

#[test]
fn deltas_that_name_their_base_by_id_are_read() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "by id");
    git(dir.path(), &["-c", "repack.useDeltaBaseOffset=false", "repack", "-adfq"]);
    assert_reads_all(&archive(dir.path()), dir.path());
    git(dir.path(), &["multi-pack-index", "write"]);
    assert_reads_all(&archive(dir.path()), dir.path());
}

#[test]
fn packs_of_a_multi_pack_index_and_beside_it_are_read() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "multi");
    git(dir.path(), &["repack", "-dq"]);
    fs::write(dir.path().join("second"), "second").unwrap();
    commit(dir.path(), "second");
    git(dir.path(), &["repack", "-dq"]);
    git(dir.path(), &["multi-pack-index", "write"]);
    fs::write(dir.path().join("third"), "third").unwrap();
    commit(dir.path(), "third");
    git(dir.path(), &["repack", "-dq"]);
    fs::write(dir.path().join("fourth"), "fourth").unwrap();
    commit(dir.path(), "fourth");
    assert_eq!(packs(dir.path()).len(), 3);
    assert_reads_all(&archive(dir.path()), dir.path());
}

#[test]
fn a_worktree_is_read_from_the_repository_it_belongs_to() {
    let dir = tempfile::tempdir().unwrap();
    let (main, tree) = (dir.path().join("main"), dir.path().join("tree"));
    let head = repository(&main, "worktree");
    git(&main, &["worktree", "add", "-q", "--detach", tree.to_str().unwrap()]);
    assert!(tree.join(".git").is_file());
    // Given by name, though its repository lies elsewhere; given with it, once.
    assert!(has(&archive(&tree), &head));
    assert_eq!(archive(dir.path()).discover(), 1);
    // In a folder without its repository, it leads outside.
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::rename(&tree, folder.join("tree")).unwrap();
    assert_eq!(archive(&folder).discover(), 0);
}

#[test]
fn alternates_are_followed_inside_the_given_paths_only() {
    let dir = tempfile::tempdir().unwrap();
    let (given, outside) = (dir.path().join("given"), dir.path().join("outside"));
    let hidden = repository(&outside, "outside");
    let pooled = repository(&given.join("pool"), "pool");
    // The pool is found by the alternate alone: its own folder is no repository any more.
    git(&given, &["clone", "-q", "--bare", "--shared", "pool", "fork.git"]);
    fs::rename(given.join("pool/.git/objects"), given.join("objects")).unwrap();
    fs::remove_dir_all(given.join("pool")).unwrap();
    fs::write(given.join("fork.git/objects/info/alternates"), "../../objects\n").unwrap();
    git(&given, &["clone", "-q", "--bare", "--shared", outside.to_str().unwrap(), "leak.git"]);
    let archive = archive(&given);
    assert_eq!(archive.discover(), 2);
    assert!(has(&archive, &pooled));
    assert!(!has(&archive, &hidden), "an alternate outside the given paths is not read");
    assert!(has(&GitArchive::new(vec![given, outside]).unwrap(), &hidden));
}

#[test]
fn symlinks_are_followed_inside_the_given_paths_only_and_never_in_circles() {
    let dir = tempfile::tempdir().unwrap();
    let given = dir.path().join("given");
    let inside = repository(&given.join("a/b/c/inside"), "inside");
    let hidden = repository(&dir.path().join("outside"), "outside");
    fs::create_dir(given.join("z")).unwrap();
    symlink("..", given.join("z/up")).unwrap();
    symlink("../a", given.join("z/again")).unwrap();
    symlink(".", given.join("z/self")).unwrap();
    symlink("nowhere", given.join("z/dangling")).unwrap();
    symlink(dir.path().join("outside"), given.join("z/outside")).unwrap();
    symlink(dir.path(), given.join("z/all")).unwrap();
    // A repository whose objects lie outside.
    git(&given, &["init", "-q", "--bare", "borrowed.git"]);
    fs::remove_dir_all(given.join("borrowed.git/objects")).unwrap();
    symlink(dir.path().join("outside/.git/objects"), given.join("borrowed.git/objects")).unwrap();
    let archive = archive(&given);
    assert_eq!(archive.discover(), 1);
    assert!(has(&archive, &inside));
    assert!(!has(&archive, &hidden));
}

#[test]
fn a_path_that_does_not_exist_is_named() {
    let error = GitArchive::new(vec![PathBuf::from("/nowhere/at/all")]).err().unwrap().to_string();
    assert!(error.contains("/nowhere/at/all"), "{error}");
}

#[test]
fn sha256_repositories_are_skipped() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("new")).unwrap();
    git(&dir.path().join("new"), &["init", "-q", "--object-format=sha256", "."]);
    let head = repository(&dir.path().join("old"), "old");
    let archive = archive(dir.path());
    assert_eq!(archive.discover(), 1);
    assert!(has(&archive, &head));
}

#[test]
fn replaced_objects_are_read_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let head = repository(dir.path(), "replaced");
    git(dir.path(), &["replace", "HEAD", "HEAD~1"]);
    let mut content = Vec::new();
    archive(dir.path()).reader().find(&head, &mut content).unwrap();
    assert_eq!(hash(ObjectType::Commit, &content), Ok(head));
    assert!(String::from_utf8(content).unwrap().contains("revision 5"));
}

/// Repeats `check` until it holds; new repositories are looked for at most once a second.
fn eventually(mut check: impl FnMut() -> bool) {
    let began = Instant::now();
    while !check() {
        assert!(began.elapsed() < Duration::from_secs(30), "it never came to hold");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn repositories_and_objects_that_come_later_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    let absent = Sha1Git::from_bytes([1; 20]);
    let mut reader = archive.reader();
    assert_eq!(reader.header(&absent).unwrap(), None);
    let home = dir.path().join("group/project");
    let head = repository(&home, "later");
    eventually(|| reader.header(&head).unwrap().is_some());
    // In a repository that is known, there is nothing to wait for.
    for number in 0..3 {
        let loose = id(&git_with_input(&home, &["hash-object", "-w", "--stdin"], &[number]));
        assert!(reader.header(&loose).unwrap().is_some());
        fs::write(home.join("file"), [number, number]).unwrap();
        let packed = commit(&home, "more");
        git(&home, &["repack", "-dq"]);
        assert!(reader.header(&packed).unwrap().is_some());
        assert_eq!(reader.header(&absent).unwrap(), None);
    }
}

#[test]
fn a_mirror_that_was_just_made_is_found_at_once() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = archive(dir.path()).with_mirrors(dir.path().to_owned());
    for number in 0..5 {
        let path = elsewhere.path().join("new");
        let commit = repository(&path, &format!("number {number}"));
        let stamp = archive.stamp(&commit);
        // A miss, which looks for repositories: the next such look, were it not for the mirror, is a second away.
        assert!(!has(&archive, &commit));
        std::fs::rename(&path, dir.path().join(format!("mirror-{number}"))).unwrap();
        assert_ne!(archive.stamp(&commit), stamp, "an absence that is remembered holds no more");
        assert!(has(&archive, &commit), "{number}");
    }
}

#[test]
fn the_stamp_changes_when_an_object_may_have_appeared() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("one");
    repository(&home, "stamp");
    let archive = archive(dir.path());
    let loose_id = hash(ObjectType::Blob, b"to come").unwrap();
    let before = archive.stamp(&loose_id);
    assert!(!has(&archive, &loose_id));
    assert_eq!(archive.stamp(&loose_id), before, "nothing changed");
    git_with_input(&home, &["hash-object", "-w", "--stdin"], b"to come");
    let loose = archive.stamp(&loose_id);
    assert_ne!(loose, before);
    git(&home, &["repack", "-dq"]);
    let packed = archive.stamp(&loose_id);
    assert_ne!(packed, loose);
    repository(&dir.path().join("two"), "stamp two");
    eventually(|| archive.stamp(&loose_id) != packed);
}

#[test]
fn readers_go_on_while_git_repacks_under_them() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "repacked");
    git(dir.path(), &["repack", "-adfq"]);
    let objects = all_objects(dir.path());
    let archive = archive(dir.path());
    let mut readers = [archive.reader(), archive.reader()];
    assert!(readers[0].header(&objects[0].0).unwrap().is_some());
    let mut buf = Vec::new();
    for round in 0..6 {
        // Each time another pack under another name; every second time all are loose before.
        fs::write(dir.path().join("round"), format!("{round}")).unwrap();
        commit(dir.path(), "round");
        if round % 2 == 0 {
            git(dir.path(), &["repack", "-Adfq", "--unpack-unreachable=now"]);
        }
        git(dir.path(), &["repack", "-adfq", &format!("--depth={}", round + 1)]);
        git(dir.path(), &["prune-packed"]);
        let fresh = archive.reader();
        for reader in readers.iter_mut().chain([fresh].iter_mut()) {
            for (id, object_type, _) in &objects {
                assert_eq!(reader.find(id, &mut buf).unwrap(), Some(*object_type), "round {round}");
            }
        }
    }
    assert_eq!(packs(dir.path()).len(), 1);
    // What git deleted is let go of, by readers that go on too.
    eventually(|| {
        for reader in &mut readers {
            assert!(reader.header(&objects[0].0).unwrap().is_some());
        }
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let home = dir.path().to_str().unwrap();
        !maps.lines().any(|line| line.contains(home) && line.ends_with("(deleted)"))
    });
}

#[test]
fn hundreds_of_repositories_are_read_more_than_are_kept_open() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    repository(&model, "many");
    git(&model, &["repack", "-adq"]);
    let mut expected = vec![id(&git(&model, &["rev-parse", "HEAD"]))];
    for number in 0..300 {
        // Made by hand, for git takes long to make so many.
        let home = dir.path().join(format!("{}/{number}.git", number % 7));
        for folder in ["refs", "objects/pack"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        fs::write(home.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        if number % 60 == 0 {
            let content = number.to_string();
            expected.push(id(&git_with_input(&home, &["hash-object", "-w", "--stdin"], content.as_bytes())));
        }
    }
    let archive = archive(dir.path());
    assert_eq!(archive.discover(), 301);
    let mut reader = archive.reader();
    for _ in 0..2 {
        for id in &expected {
            assert!(reader.header(id).unwrap().is_some());
        }
        assert_eq!(reader.header(&Sha1Git::from_bytes([2; 20])).unwrap(), None);
    }
}

/// The file of a loose object.
fn loose_path(dir: &Path, id: &Sha1Git) -> PathBuf {
    let hex = id.to_string();
    dir.join(".git/objects").join(&hex[..2]).join(&hex[2..])
}

fn assert_corrupt<T: std::fmt::Debug>(result: Result<T, ArchiveError>) {
    match result {
        Err(ArchiveError::Corrupt { reason, .. }) => assert!(!reason.contains('/'), "{reason} names no path"),
        other => panic!("{other:?} is not corruption"),
    }
}

#[test]
fn a_damaged_loose_object_is_an_error_unless_another_copy_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let (bad, good) = (dir.path().join("bad"), dir.path().join("good"));
    init(&bad);
    let blob = id(&git_with_input(&bad, &["hash-object", "-w", "--stdin"], b"one"));
    let other = id(&git_with_input(&bad, &["hash-object", "-w", "--stdin"], b"two"));
    let mut buf = Vec::new();
    let whole = fs::read(loose_path(&bad, &blob)).unwrap();
    make_writable(&loose_path(&bad, &blob));
    // Cut short, damaged, another object's bytes, no object at all, nothing.
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let other = fs::read(loose_path(&bad, &other)).unwrap();
    for bytes in [&whole[..whole.len() - 3], &damaged, &other, b"x\x9cjunk", b""] {
        fs::write(loose_path(&bad, &blob), bytes).unwrap();
        assert_corrupt(archive(dir.path()).reader().find(&blob, &mut buf));
        assert_corrupt(archive(dir.path()).reader().stream(&blob, &mut Vec::new()));
    }
    init(&good);
    git_with_input(&good, &["hash-object", "-w", "--stdin"], b"one");
    assert_eq!(archive(dir.path()).reader().find(&blob, &mut buf).unwrap(), Some(ObjectType::Blob));
    assert_eq!(buf, b"one");
}

#[test]
fn every_damaged_byte_of_a_pack_is_an_error_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "damaged");
    git(dir.path(), &["repack", "-adfq"]);
    git(dir.path(), &["prune-packed"]);
    let objects = all_objects(dir.path());
    let pack = packs(dir.path()).remove(0);
    make_writable(&pack);
    let whole = fs::read(&pack).unwrap();
    let (mut buf, mut errors) = (Vec::new(), 0);
    for at in (0..whole.len()).step_by(211) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        // Another file each time, as a mapped one must not change.
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, bytes).unwrap();
        let mut reader = archive(dir.path()).reader();
        for (id, object_type, _) in &objects {
            match reader.find(id, &mut buf) {
                Ok(found) => assert_eq!((found, hash(*object_type, &buf)), (Some(*object_type), Ok(*id))),
                Err(ArchiveError::Corrupt { .. } | ArchiveError::TooLarge { .. }) => errors += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(errors > whole.len() / 211 / 2, "{errors} errors");
}

#[test]
fn a_pack_cut_anywhere_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    repository(dir.path(), "cut");
    git(dir.path(), &["repack", "-adfq"]);
    git(dir.path(), &["prune-packed"]);
    let objects = all_objects(dir.path());
    let pack = packs(dir.path()).remove(0);
    make_writable(&pack);
    let whole = fs::read(&pack).unwrap();
    for length in [0, 11, 12, 31, 40, whole.len() / 2, whole.len() - 30] {
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, &whole[..length]).unwrap();
        let mut reader = archive(dir.path()).reader();
        let mut buf = Vec::new();
        let results: Vec<_> = objects.iter().map(|(id, ..)| reader.find(id, &mut buf)).collect();
        assert!(results.iter().any(Result::is_err));
        results.into_iter().filter(Result::is_err).for_each(assert_corrupt);
    }
}

/// Bytes that deflate does not make smaller, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn large_blobs_are_streamed_loose_whole_and_deltified() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    git(dir.path(), &["config", "core.bigFileThreshold", "1g"]);
    git(dir.path(), &["config", "core.compression", "0"]);
    git(dir.path(), &["config", "pack.compression", "0"]);
    let mut content = noise(24 << 20);
    let mut expected = Vec::new();
    for revision in 0..3 {
        content[1_000_000 * (revision + 1)] ^= 1;
        content.splice(15_000_000..15_000_000, format!("inserted {revision}").into_bytes());
        fs::write(dir.path().join("large"), &content).unwrap();
        commit(dir.path(), "large");
        expected.push((hash(ObjectType::Blob, &content).unwrap(), content.clone()));
    }
    let check = |dir: &Path| {
        let mut reader = archive(dir).reader();
        for (id, content) in &expected {
            let header = Header { object_type: ObjectType::Blob, size: content.len() as u64 };
            assert_eq!(reader.header(id).unwrap(), Some(header));
            let mut sink = Pieces::default();
            assert_eq!(reader.stream(id, &mut sink).unwrap(), Some(header));
            assert!(sink.longest <= 64 << 10);
            assert!(sink.bytes == *content, "{id} is streamed as it is");
            assert!(matches!(
                reader.find(id, &mut Vec::new()),
                Err(ArchiveError::TooLarge { limit: MAX_WHOLE_BLOB, .. })
            ));
            let refusing = &mut Refusing;
            assert!(matches!(reader.stream(id, refusing), Err(ArchiveError::Sink(error)) if error.to_string() == "no"));
        }
    };
    check(dir.path());
    git(dir.path(), &["repack", "-adfq", "--window=10"]);
    git(dir.path(), &["prune-packed"]);
    let index = packs(dir.path())[0].with_extension("idx");
    let chains = git(dir.path(), &["verify-pack", "-v", index.to_str().unwrap()]);
    assert!(
        chains.contains("chain length = 1: 2 objects") || chains.contains("chain length = 2: 1 object"),
        "{chains}"
    );
    check(dir.path());
    let small = archive(dir.path()).with_max_blob(20 << 20);
    for (id, _) in &expected {
        let mut sink = Pieces::default();
        assert!(matches!(small.reader().stream(id, &mut sink), Err(ArchiveError::TooLarge { .. })));
        assert!(sink.bytes.is_empty(), "nothing is written of what is refused");
    }
}

/// A sink that minds the size of what it is given.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    longest: usize,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.longest = self.longest.max(bytes.len());
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Refusing;

impl Write for Refusing {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("no"))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
