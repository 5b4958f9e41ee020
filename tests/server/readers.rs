//! What other programs make of a bundle: GNU tar, bsdtar, busybox tar, Python's tarfile, 7z, zstd,
//! Info-ZIP's unzip, Python's zipfile and Java extract it to what git says is in the tree, and a
//! reader that stops after the first gzip member has seen all of it.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::{Fixture, REAL, fixture};
use crate::common::server::Server;
use crate::common::tree::Node;
use crate::common::{git_line, tree};
use larder::key::ObjectKind;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A program and how it extracts FILE into the current folder.
struct Reader {
    name: &'static str,
    ext: &'static str,
    script: &'static str,
    /// Whether it takes names that are long or not UTF-8: busybox skips pax headers, so a name beyond
    /// ustar is lost on it.
    odd_names: bool,
    /// What of a member it keeps.
    keeps: Keeps,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    /// 7z drops symlinks that go up (`../x`) and rewrites absolute ones.
    NoSymlinks,
    /// Names and contents; a symlink is a file with its target.
    Contents,
}

const READERS: [Reader; 13] = [
    tar("GNU tar", "tar.gz", "tar --warning=no-unknown-keyword -xzf \"$1\""),
    tar("bsdtar", "tar.gz", "bsdtar -xzf \"$1\""),
    Reader { odd_names: false, ..tar("busybox tar", "tar.gz", "busybox tar -xzf \"$1\"") },
    tar("Python's tarfile", "tar.gz", PYTHON_TAR),
    Reader {
        keeps: Keeps::NoSymlinks,
        ..tar(
            "7z",
            "tar.gz",
            "7z x -so \"$1\" >../stream.tar; 7z x -y ../stream.tar >../7z.log 2>&1 || grep -q 'Dangerous link' ../7z.log",
        )
    },
    tar("GNU tar --zstd", "tar.zst", "tar --zstd --warning=no-unknown-keyword -xf \"$1\""),
    tar("bsdtar and zstd", "tar.zst", "bsdtar -xf \"$1\""),
    tar("the zstd program", "tar.zst", "zstd -dqc \"$1\" | tar --warning=no-unknown-keyword -x"),
    // Without -^ unzip takes control characters out of names; it does not take each that a tar has.
    Reader { odd_names: false, ..tar("Info-ZIP's unzip", "zip", "unzip -qq -^ \"$1\"") },
    Reader { odd_names: false, ..tar("bsdtar and zip", "zip", "bsdtar -xf \"$1\"") },
    Reader {
        odd_names: false,
        keeps: Keeps::NoSymlinks,
        ..tar("7z and zip", "zip", "7z x -y \"$1\" >../7z.log 2>&1 || grep -q 'Dangerous' ../7z.log")
    },
    Reader {
        odd_names: false,
        keeps: Keeps::Contents,
        ..tar(
            "Python's zipfile",
            "zip",
            "python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall()' \"$1\"",
        )
    },
    Reader { odd_names: false, keeps: Keeps::Contents, ..tar("Java", "zip", JAVA) },
];

/// Python 3.12 and later ask which filter to take; 3.11 (Debian 12's) knows of none, and heeds no attribute.
const PYTHON_TAR: &str = "python3 -c 'import sys, tarfile; tarfile.TarFile.extraction_filter = lambda self, member, path: member; \
                          tarfile.open(sys.argv[1]).extractall()' \"$1\"";

/// `tests/install` fetches a JDK for the long run only.
const JAVA: &str = concat!("java -Dfile.encoding=UTF-8 ", env!("CARGO_MANIFEST_DIR"), "/tests/Unzip.java \"$1\"");

const fn tar(name: &'static str, ext: &'static str, script: &'static str) -> Reader {
    Reader { name, ext, script, odd_names: true, keeps: Keeps::All }
}

/// Fixtures that every program can extract, and whether they have odd names.
const FIXTURES: [(&str, bool); 7] = [
    ("plain", false),
    ("modes", false),
    ("octopus", false),
    ("loose", false),
    ("worktree", false),
    ("sizes", false),
    ("names", true),
];

#[test]
fn every_program_extracts_what_git_says_is_in_the_tree() {
    for (name, odd_names) in FIXTURES {
        let (fixture, data) = (fixture(name), TempDir::new().unwrap());
        let server = Server::start(data.path(), &[&fixture.path], &[]);
        for object in fixture.cookable().filter(|object| object.kind == ObjectKind::Directory) {
            let id = object.id.to_string();
            let expected = tree::of_git(&repository_of(&fixture, &id), &id);
            // Of `sizes` the whole says all. Names that no file system takes are verified, not extracted.
            let part = name == "sizes" && object.name != "root";
            let too_long = |path: &Vec<u8>| path.split(|byte| *byte == b'/').any(|component| component.len() > 255);
            if part || expected.keys().any(too_long) {
                continue;
            }
            let bundles = ["tar.gz", "tar.zst", "zip"].map(|ext| bundle(&server, &id, ext, data.path()));
            for reader in
                READERS.iter().filter(|reader| reader.odd_names || !odd_names).filter(|reader| is_asked(reader, name))
            {
                let what = format!("{}: {name}, {}", reader.name, object.name);
                let bundle = bundles.iter().find(|path| path.to_str().unwrap().ends_with(reader.ext)).unwrap();
                let out = extract(reader, bundle, &what);
                assert_eq!(entries(&out.path().join("out")), ["source"], "{what}: one directory on top");
                let mut actual = tree::on_disk(&out.path().join("out/source"));
                let mut expected = expected.clone();
                match reader.keeps {
                    Keeps::All => {}
                    Keeps::NoSymlinks => {
                        actual.retain(|path, _| !matches!(expected.get(path), Some(Node::Symlink { .. })));
                        expected.retain(|_, node| !matches!(node, Node::Symlink { .. }));
                    }
                    Keeps::Contents => {
                        for node in expected.values_mut() {
                            if let Node::File { id, .. } | Node::Symlink { id } = node {
                                *node = Node::File { executable: false, id: std::mem::take(id) };
                            }
                        }
                    }
                }
                tree::assert_equal(&actual, &expected, &what);
            }
        }
    }
}

/// Java takes seconds to start, and need not be there.
fn is_asked(reader: &Reader, fixture: &str) -> bool {
    reader.name != "Java"
        || ["modes", "sizes"].contains(&fixture) && Command::new("javac").arg("-version").output().is_ok()
}

#[test]
fn a_reader_that_stops_after_the_first_gzip_member_sees_all() {
    let (fixture, data) = (fixture("sizes"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let object = fixture.cookable().find(|object| object.kind == ObjectKind::Directory).unwrap();
    let bundle = bundle(&server, &object.id.to_string(), "tar.gz", data.path());
    let key = format!("directory/{}.tar", object.id);
    server.cook(&key);
    let tar = data.path().join("b.tar");
    std::fs::write(&tar, server.get(&format!("/vault/{key}")).body).unwrap();
    let script = "import sys, zlib\n\
                  d = zlib.decompressobj(31)\n\
                  tar = d.decompress(open(sys.argv[1], 'rb').read())\n\
                  assert d.eof and not d.unused_data, 'there is more than one member'\n\
                  assert tar == open(sys.argv[2], 'rb').read(), 'the streams differ'\n";
    let status = Command::new("python3").args(["-c", script]).args([&bundle, &tar]).status().unwrap();
    assert!(status.success());
    assert!(Command::new("gzip").arg("-t").arg(&bundle).status().unwrap().success());
}

#[test]
fn bundles_of_real_repositories_are_what_git_says_and_verify_to_their_id() {
    let (folder, data) = (fixture(REAL).path, TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&folder], &[]);
    let mut repositories: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("HEAD").exists() || path.join(".git").exists())
        .collect();
    repositories.sort();
    assert!(repositories.len() >= 3, "{repositories:?}");
    for repository in repositories {
        let id = git_line(&["rev-parse", "HEAD^{tree}"], &repository);
        let what = format!("{}: {id}", repository.display());
        let bundle = bundle(&server, &id, "tar.gz", data.path());
        let file = std::fs::File::open(&bundle).unwrap();
        assert_eq!(larder::verify::flat_tar_gz(file).unwrap().to_string(), id, "{what}");
        let out = extract(&READERS[0], &bundle, &what);
        tree::assert_equal(&tree::on_disk(&out.path().join("out/source")), &tree::of_git(&repository, &id), &what);
        let revision = git_line(&["rev-parse", "HEAD"], &repository);
        assert_eq!(server.cook(&format!("revision/{revision}"))["status"], "done", "{what}");
        let by_revision = server.get(&format!("/vault/revision/{revision}")).body;
        assert!(by_revision == std::fs::read(&bundle).unwrap(), "{what}: the revision's bundle is another");
    }
}

#[test]
fn the_id_recomputed_from_the_bytes_alone_is_the_one_asked_for() {
    for name in crate::common::fixtures::WELL_FORMED {
        let (fixture, data) = (fixture(name), TempDir::new().unwrap());
        let server = Server::start(data.path(), &[&fixture.path], &[]);
        for object in fixture.cookable() {
            let key = format!("{}/{}", object.kind, object.id);
            let what = format!("{name}: {} ({key})", object.name);
            let status = server.cook(&format!("{key}.tar"));
            assert_eq!(status["status"], "done", "{what}: {}", status["error"]);
            assert_eq!(server.cook(&key)["status"], "done", "{what}");
            let by_tar = larder::verify::flat_tar(&server.get(&format!("/vault/{key}.tar")).body[..]).unwrap();
            let by_gz = larder::verify::flat_tar_gz(&server.get(&format!("/vault/{key}")).body[..]).unwrap();
            assert_eq!(by_tar, by_gz, "{what}");
            for ext in ["tar.zst", "zip"] {
                assert_eq!(server.cook(&format!("{key}.{ext}"))["status"], "done", "{what}");
            }
            let zst = server.get(&format!("/vault/{key}.tar.zst")).body;
            assert_eq!(larder::verify::flat_tar_zst(&zst[..]).unwrap(), by_tar, "{what}");
            let zip = data.path().join("b.zip");
            std::fs::write(&zip, server.get(&format!("/vault/{key}.zip")).body).unwrap();
            assert_eq!(larder::verify::flat_zip(&File::open(&zip).unwrap()).unwrap(), by_tar, "{what}");
            if let Some(tree) = tree_of(&fixture, object.kind, &object.id.to_string()) {
                assert_eq!(by_gz.to_string(), tree, "{what}");
            }
        }
    }
}

fn bundle(server: &Server, id: &str, ext: &str, folder: &Path) -> PathBuf {
    let key = format!("directory/{id}.{ext}");
    let status = server.cook(&key);
    assert_eq!(status["status"], "done", "{status}");
    let path = folder.join(format!("{id}.{ext}"));
    std::fs::write(&path, server.get(&format!("/vault/{key}")).body).unwrap();
    path
}

fn extract(reader: &Reader, bundle: &Path, what: &str) -> TempDir {
    let outer = TempDir::new_in(bundle.parent().unwrap()).unwrap();
    let inner = outer.path().join("out");
    std::fs::create_dir(&inner).unwrap();
    let output = Command::new("bash")
        .args(["-ec", reader.script, "-"])
        .arg(bundle)
        .current_dir(&inner)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{what} complains: {}", String::from_utf8_lossy(&output.stderr));
    outer
}

fn entries(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The repository of a fixture that holds an object.
fn repository_of(fixture: &Fixture, id: &str) -> PathBuf {
    let holds = |repository: &&PathBuf| {
        crate::common::git_command(repository)
            .args(["cat-file", "-e", id])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    fixture.repositories().iter().find(holds).unwrap_or_else(|| panic!("no repository holds {id}")).clone()
}

/// The tree that git peels an object to; `None` for a release of a single file.
fn tree_of(fixture: &Fixture, kind: ObjectKind, id: &str) -> Option<String> {
    let repository = repository_of(fixture, id);
    if kind == ObjectKind::Directory {
        return Some(id.to_owned());
    }
    let output = crate::common::git_command(&repository)
        .args(["rev-parse", "--verify", "-q", &format!("{id}^{{tree}}")])
        .output();
    let output = output.unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}
