//! What lies in a repository's folder may be anything: nothing of it is waited for, read without end or
//! followed to where it is not served, and the repositories beside it are read as ever.

use crate::common;
use larder::archive::git::GitArchive;
use larder::archive::{Archive, ArchiveError};
use larder::key::Sha1Git;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tempfile::TempDir;

/// A bare repository with one commit in a pack, which is given.
fn repository(path: &Path, text: &str) -> Sha1Git {
    fs::create_dir_all(path).unwrap();
    common::git(&["init", "-q", "--bare", "."], path);
    let tree = common::git_line(&["mktree", "--missing"], path);
    let commit = common::git_line(&["commit-tree", "-m", text, &tree], path);
    common::git(&["update-ref", "refs/heads/main", &commit], path);
    common::git(&["repack", "-adq"], path);
    commit.parse().unwrap()
}

/// The one file in the folder of packs whose name ends so.
fn packed(git_dir: &Path, ext: &str) -> PathBuf {
    let mut files = fs::read_dir(git_dir.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|found| found == ext)).unwrap()
}

/// Puts something at a path.
type Make = fn(&Path);

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
}

/// Runs in a thread, so that what waits for ever is a failed test.
fn within_seconds<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, answer) = mpsc::channel();
    std::thread::spawn(move || sender.send(run()));
    answer.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what}: it never ended"))
}

/// Everything that is asked of an archive: whether it has the object, and whether all could be read.
fn ask(folder: PathBuf, id: Sha1Git) -> (bool, bool) {
    let archive = GitArchive::new(vec![folder]).unwrap();
    assert!(archive.discover() > 0);
    let _ = archive.example_revision();
    let mut branches = 0;
    for repository in archive.repositories().unwrap() {
        let _ = repository.stamp();
        let read = repository.refs(&mut |_, _| {
            branches += 1;
            true
        });
        assert!(read.is_ok(), "{read:?}");
    }
    assert!(branches > 0);
    let mut reader = archive.reader();
    let has = reader.find(&id, &mut Vec::new()).unwrap().is_some();
    let absent = reader.header(&Sha1Git::from_bytes([0xab; 20]));
    assert!(matches!(absent, Ok(None) | Err(ArchiveError::Io { .. })), "{absent:?}");
    (has, absent.is_ok())
}

#[test]
fn whatever_has_the_name_of_a_file_of_git_nothing_is_waited_for() {
    let names = [
        "HEAD",
        "config",
        "commondir",
        "packed-refs",
        "refs",
        "refs/heads/main",
        "refs/heads/x",
        "objects/info",
        "objects/info/alternates",
        "objects/pack",
        "objects/pack/multi-pack-index",
        "objects/pack/pack-1.idx",
        "objects/pack/pack-1.pack",
        "objects/IDX",
        "objects/PACK",
        "objects/ab",
        "objects/ab/abababababababababababababababababab",
        ".git",
    ];
    let kinds: [(&str, Make); 6] = [
        ("FIFO", fifo),
        ("socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("link to a device", |path| symlink("/dev/zero", path).unwrap()),
        ("link to a FIFO", |path| {
            let hidden = path.with_file_name("hidden");
            fifo(&hidden);
            symlink("hidden", path).unwrap();
        }),
        ("circle", |path| symlink(path.file_name().unwrap(), path).unwrap()),
        ("huge file", |path| fs::File::create(path).unwrap().set_len(1 << 42).unwrap()),
    ];
    for (kind, make) in kinds {
        // A short path, for a socket's may not be long.
        let dir = TempDir::with_prefix_in("l", "/tmp").unwrap();
        let good = repository(&dir.path().join("good"), kind);
        for (number, name) in names.iter().enumerate() {
            let bad = dir.path().join(format!("bad{number}"));
            repository(&bad, name);
            let stem = packed(&bad, "idx");
            let path = match *name {
                "objects/IDX" => stem,
                "objects/PACK" => stem.with_extension("pack"),
                name => bad.join(name),
            };
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
            } else {
                let _ = fs::remove_file(&path);
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            make(&path);
        }
        let folder = dir.path().to_owned();
        let (has, _) = within_seconds(kind, move || ask(folder, good));
        assert!(has, "{kind}");
    }
}

#[test]
fn links_out_of_a_repository_give_nothing_away() {
    let dir = TempDir::new().unwrap();
    let (private, served) = (dir.path().join("private.git"), dir.path().join("served"));
    let secret = repository(&private, "secret");
    let loose = common::git_line(&["commit-tree", "-m", "loose", &common::git_line(&["mktree"], &private)], &private);
    let (idx, pack) = (packed(&private, "idx"), packed(&private, "pack"));
    let bare = |name: &str| {
        let path = served.join(name);
        repository(&path, name);
        path
    };
    let put = |target: &Path, link: PathBuf| {
        let _ = fs::remove_dir_all(&link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, link).unwrap();
    };
    put(&private.join("objects/pack"), bare("a").join("objects/pack"));
    put(&private.join("objects"), bare("b").join("objects"));
    let files = bare("c").join("objects/pack");
    for target in [&idx, &pack] {
        put(target, files.join(target.file_name().unwrap()));
    }
    let (fan, rest) = loose.split_at(2);
    put(&private.join("objects").join(fan), bare("d").join("objects").join(fan));
    put(&private.join("objects").join(fan).join(rest), bare("e").join("objects").join(fan).join(rest));
    fs::write(bare("f").join("objects/info/alternates"), private.join("objects").to_str().unwrap()).unwrap();
    put(&private, served.join("g"));
    put(&private, served.join("h/.git"));
    fs::create_dir_all(served.join("i")).unwrap();
    fs::write(served.join("i/.git"), format!("gitdir: {}\n", private.display())).unwrap();
    let names = bare("j");
    fs::write(names.join("commondir"), private.to_str().unwrap()).unwrap();
    let refs = bare("k");
    put(&private.join("refs"), refs.join("refs"));
    put(&private.join("packed-refs"), refs.join("packed-refs"));

    let archive = GitArchive::new(vec![served.clone()]).unwrap();
    let mut reader = archive.reader();
    for id in [secret, loose.parse().unwrap()] {
        assert_eq!(reader.header(&id).unwrap(), None, "{id}");
    }
    for repository in archive.repositories().unwrap() {
        let read = repository.refs(&mut |name, target| {
            assert!(!format!("{target:?}").contains(&secret.to_string()), "{}", String::from_utf8_lossy(name));
            true
        });
        read.unwrap();
    }
}

#[test]
fn links_to_repositories_elsewhere_are_followed_where_that_is_allowed() {
    let dir = TempDir::new().unwrap();
    let (served, pool, other) = (dir.path().join("served"), dir.path().join("pool"), dir.path().join("other"));
    fs::create_dir_all(&served).unwrap();
    let linked = repository(&pool.join("deep/linked.git"), "linked");
    let beside = repository(&pool.join("deep/beside.git"), "beside");
    let elsewhere = repository(&other.join("elsewhere.git"), "elsewhere");
    // A repository that may be linked to cannot lead on to where none may.
    let leading = pool.join("leading.git");
    repository(&leading, "leading");
    fs::write(leading.join("objects/info/alternates"), other.join("elsewhere.git/objects").to_str().unwrap()).unwrap();
    for (target, name) in [
        (pool.join("deep/linked.git"), "linked"),
        (other.join("elsewhere.git"), "elsewhere"),
        (leading, "leading"),
        (pool.join("deep"), "folder"),
        (served.clone(), "circle"),
    ] {
        symlink(target, served.join(name)).unwrap();
    }
    let has = |links: &[&Path]| {
        let links = links.iter().map(|path| path.to_path_buf()).collect();
        let archive = GitArchive::with_links(vec![served.clone()], links).unwrap();
        let mut reader = archive.reader();
        [linked, beside, elsewhere].map(|id| reader.header(&id).unwrap().is_some())
    };
    assert_eq!(has(&[]), [false, false, false]);
    assert_eq!(has(&[&pool]), [true, false, false], "only whole repositories");
    assert_eq!(has(&[&pool, &other]), [true, false, true]);
    assert_eq!(has(&[Path::new("/")]), [true, false, true]);
}

/// Flips bytes of the files that `pick` takes, one at a time, and asks for objects of the pack.
fn damage(prepare: &[&[&str]], pick: fn(&Path) -> bool) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("r.git");
    repository(&path, "damaged");
    for arguments in prepare {
        common::git(arguments, &path);
    }
    let list = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
    let listed = String::from_utf8(common::git(&list, &path)).unwrap();
    let ids: Vec<Sha1Git> = listed.lines().map(|line| line.parse().unwrap()).collect();
    let files = fs::read_dir(path.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| pick(path)).collect();
    assert!(!files.is_empty());
    for file in files {
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        // Each byte but those of the table of 256 equal numbers, of which some stand for all.
        for at in (0..whole.len()).filter(|at| *at < 16 || *at > 1020 || at % 61 == 0) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x15;
            fs::write(&file, &damaged).unwrap();
            let archive = GitArchive::new(vec![path.clone()]).unwrap();
            let mut reader = archive.reader();
            for id in &ids {
                let found = reader.find(id, &mut Vec::new());
                assert!(!matches!(found, Ok(None)), "{}: byte {at}: {id} is called absent", file.display());
            }
        }
        for length in [0, 7, 1031, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            let archive = GitArchive::new(vec![path.clone()]).unwrap();
            let found = archive.reader().find(&ids[0], &mut Vec::new());
            assert!(!matches!(found, Ok(None)), "{}: {length} bytes: called absent", file.display());
        }
        fs::write(&file, &whole).unwrap();
    }
}

#[test]
fn a_damaged_index_makes_no_object_absent() {
    damage(&[], |path| path.extension().is_some_and(|ext| ext == "idx"));
}

#[test]
fn a_damaged_multi_pack_index_makes_no_object_absent() {
    damage(&[&["multi-pack-index", "write"]], |path| path.ends_with("multi-pack-index"));
}

#[test]
fn an_index_that_is_mended_in_place_is_read_again() {
    let dir = TempDir::new().unwrap();
    let id = repository(dir.path(), "mended");
    let index = packed(dir.path(), "idx");
    let whole = fs::read(&index).unwrap();
    let write = |bytes: &[u8]| {
        let mut permissions = fs::metadata(&index).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        fs::set_permissions(&index, permissions).unwrap();
        fs::write(&index, bytes).unwrap();
    };
    write(&whole[..500]);
    let archive = GitArchive::new(vec![dir.path().to_owned()]).unwrap();
    let mut reader = archive.reader();
    assert!(matches!(reader.header(&id), Err(ArchiveError::Io { .. })));
    // Long enough that the folder's time is believed to say that nothing changed.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(matches!(reader.header(&id), Err(ArchiveError::Io { .. })));
    write(&whole);
    let mended = (0..40).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        matches!(reader.header(&id), Ok(Some(_)))
    });
    assert!(mended, "the folder's time has not changed, and the index has");
}

#[test]
fn a_pack_or_index_that_is_cut_short_while_it_is_read_ends_nothing() {
    for ext in ["pack", "idx"] {
        let dir = TempDir::new().unwrap();
        common::git(&["init", "-q", "."], dir.path());
        for number in 0..300_u32 {
            let noise: Vec<u8> =
                (0..200).flat_map(|n| (n * 7919 + number).wrapping_mul(0x9e37_79b1).to_le_bytes()).collect();
            fs::write(dir.path().join(format!("n{number}")), noise).unwrap();
        }
        common::git(&["add", "-A"], dir.path());
        common::git(&["commit", "-qm", "x"], dir.path());
        common::git(&["repack", "-adq"], dir.path());
        let list = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
        let listed = String::from_utf8(common::git(&list, dir.path())).unwrap();
        let ids: Vec<Sha1Git> = listed.lines().map(|line| line.parse().unwrap()).collect();
        let archive = GitArchive::new(vec![dir.path().to_owned()]).unwrap();
        let mut reader = archive.reader();
        assert!(reader.find(&ids[0], &mut Vec::new()).unwrap().is_some());
        let file = packed(&dir.path().join(".git"), ext);
        let mut permissions = fs::metadata(&file).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
        fs::set_permissions(&file, permissions).unwrap();
        assert!(fs::metadata(&file).unwrap().len() > 2 << 12, "some pages");
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(100).unwrap();
        for id in &ids {
            let found = reader.find(id, &mut Vec::new());
            assert!(!matches!(found, Ok(None)), "{ext}: {id} is called absent");
        }
    }
}
