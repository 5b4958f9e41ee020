//! What other programs make of a bundle: GNU tar, bsdtar, busybox tar, Python's tarfile and 7z
//! extract it to what git says is in the tree, and a reader that stops after the first gzip member
//! has seen all of it.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod common;

use common::fixtures::{Fixture, REAL, fixture};
use common::server::Server;
use common::tree::Node;
use common::{git_line, tree};
use larder::key::ObjectKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A program and how it extracts FILE into the current folder.
struct Reader {
    name: &'static str,
    script: &'static str,
    /// Whether it reads pax headers: busybox skips them, so a name beyond ustar is lost on it.
    pax: bool,
    /// Whether it has a mind of its own about symlinks: 7z drops those that go up (`../x`) and
    /// rewrites absolute ones.
    cautious: bool,
}

const READERS: [Reader; 5] = [
    Reader { name: "GNU tar", script: "tar --warning=no-unknown-keyword -xzf \"$1\"", pax: true, cautious: false },
    Reader { name: "bsdtar", script: "bsdtar -xzf \"$1\"", pax: true, cautious: false },
    Reader { name: "busybox tar", script: "busybox tar -xzf \"$1\"", pax: false, cautious: false },
    Reader {
        name: "Python's tarfile",
        script: "python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(filter=\"fully_trusted\")' \"$1\"",
        pax: true,
        cautious: false,
    },
    Reader {
        name: "7z",
        script: "7z x -so \"$1\" >../stream.tar; 7z x -y ../stream.tar >../7z.log 2>&1 || grep -q 'Dangerous link' ../7z.log",
        pax: true,
        cautious: true,
    },
];

/// Fixtures that every program can extract, and whether their names need pax headers.
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
    for (name, needs_pax) in FIXTURES {
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
            let bundle = bundle(&server, &id, data.path());
            for reader in READERS.iter().filter(|reader| reader.pax || !needs_pax) {
                let what = format!("{}: {name}, {}", reader.name, object.name);
                let out = extract(reader, &bundle, &what);
                assert_eq!(entries(&out.path().join("out")), ["source"], "{what}: one directory on top");
                let mut actual = tree::on_disk(&out.path().join("out/source"));
                let mut expected = expected.clone();
                if reader.cautious {
                    actual.retain(|path, _| !matches!(expected.get(path), Some(Node::Symlink { .. })));
                    expected.retain(|_, node| !matches!(node, Node::Symlink { .. }));
                }
                tree::assert_equal(&actual, &expected, &what);
            }
        }
    }
}

#[test]
fn a_reader_that_stops_after_the_first_gzip_member_sees_all() {
    let (fixture, data) = (fixture("sizes"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let object = fixture.cookable().find(|object| object.kind == ObjectKind::Directory).unwrap();
    let bundle = bundle(&server, &object.id.to_string(), data.path());
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
        let bundle = bundle(&server, &id, data.path());
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
    for name in common::fixtures::WELL_FORMED {
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
            if let Some(tree) = tree_of(&fixture, object.kind, &object.id.to_string()) {
                assert_eq!(by_gz.to_string(), tree, "{what}");
            }
        }
    }
}

fn bundle(server: &Server, id: &str, folder: &Path) -> PathBuf {
    let status = server.cook(&format!("directory/{id}"));
    assert_eq!(status["status"], "done", "{status}");
    let path = folder.join(format!("{id}.tar.gz"));
    std::fs::write(&path, server.get(&format!("/vault/directory/{id}")).body).unwrap();
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
        common::git_command(repository)
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
    let output =
        common::git_command(&repository).args(["rev-parse", "--verify", "-q", &format!("{id}^{{tree}}")]).output();
    let output = output.unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim_end().to_owned())
}
