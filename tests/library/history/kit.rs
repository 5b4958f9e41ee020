//! What these tests share: snapshots of repositories, bundles of them, and what git reads in both.

use crate::common::{git, git_command, git_line};
use larder::archive::git::GitArchive;
use larder::archive::snapshot::{Manifest, Target};
use larder::cook::history::{self, Order, Subject};
use larder::cook::{Control, CookError, Cooked};
use larder::key::{Family, Format, ObjectKind, Sha1Git, Swhid};
use std::fs::{self, File};
use std::io::{Seek as _, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A larger pack than any here.
const MAX_SIZE: u64 = 1 << 40;

/// The snapshot of a repository.
pub(crate) fn snapshot(repository: &Path) -> Manifest {
    let mut manifest = Manifest::default();
    let refs = git(&["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)"], repository);
    for line in refs.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let mut fields = line.splitn(3, |byte| *byte == b' ');
        let mut text = || std::str::from_utf8(fields.next().unwrap()).unwrap();
        let id: Sha1Git = text().parse().unwrap();
        let kind = match text() {
            "commit" => ObjectKind::Revision,
            "tag" => ObjectKind::Release,
            "tree" => ObjectKind::Directory,
            _ => ObjectKind::Content,
        };
        assert!(manifest.insert(fields.next().unwrap(), Target::Object(kind, id)));
    }
    let head = fs::read_to_string(repository.join("HEAD")).unwrap();
    let target = match head.trim_end().strip_prefix("ref: ") {
        Some(name) => Target::Alias(name.as_bytes().to_vec()),
        None => Target::Object(ObjectKind::Revision, head.trim_end().parse().unwrap()),
    };
    assert!(manifest.insert(b"HEAD", target));
    manifest
}

pub(crate) fn swhid(subject: &Subject) -> Swhid {
    let (kind, id) = match subject {
        Subject::Directory(id) => (ObjectKind::Directory, *id),
        Subject::Revision(id) => (ObjectKind::Revision, *id),
        Subject::Release(id) => (ObjectKind::Release, *id),
        Subject::Snapshot(manifest) => (ObjectKind::Snapshot, manifest.id()),
    };
    Swhid { kind, id }
}

/// Cooks from the repositories under `archive`.
pub(crate) fn try_cook(
    archive: &Path,
    subject: &Subject,
    format: Format,
    threads: usize,
    out: &mut dyn Write,
) -> Result<Cooked, CookError> {
    cook_within(archive, (subject, format, threads), MAX_SIZE, &|_| Ok(()), out)
}

/// The same within a size, `room` being told what is about to be written.
pub(crate) fn cook_within(
    archive: &Path,
    (subject, format, threads): (&Subject, Format, usize),
    max_size: u64,
    room: &dyn Fn(u64) -> std::io::Result<()>,
    out: &mut dyn Write,
) -> Result<Cooked, CookError> {
    let Family::History(format) = format.family() else { panic!("{format} is of no history") };
    let scratch = TempDir::new().unwrap();
    let archive = GitArchive::new(vec![archive.to_owned()]).unwrap().with_scratch(scratch.path().to_owned());
    let order = Order {
        archive: &archive,
        swhid: swhid(subject),
        subject: subject.clone(),
        format,
        threads,
        max_size,
        lossy: false,
        scratch: scratch.path(),
        room,
        control: &Control::default(),
    };
    history::cook(&order, out)
}

pub(crate) fn cook(archive: &Path, subject: &Subject, format: Format) -> (File, Cooked) {
    let mut file = tempfile::tempfile().unwrap();
    let cooked = try_cook(archive, subject, format, 2, &mut file).unwrap();
    file.rewind().unwrap();
    (file, cooked)
}

/// Cooks a `git.tar`, unpacks it, and gives the repository.
pub(crate) fn unpacked(archive: &Path, subject: &Subject, into: &Path) -> PathBuf {
    let (file, _) = cook(archive, subject, Format::GitTar);
    let status = std::process::Command::new("tar").args(["-x", "-C"]).arg(into).stdin(file).status().unwrap();
    assert!(status.success());
    let swhid = swhid(subject);
    into.join(format!("swh_1_{}_{}.git", swhid.kind.swhid_type(), swhid.id))
}

/// Cooks a `bundle` to a file.
pub(crate) fn bundled(archive: &Path, subject: &Subject, into: &Path) -> PathBuf {
    let path = into.join("x.bundle");
    let (mut file, _) = cook(archive, subject, Format::Bundle);
    std::io::copy(&mut file, &mut File::create(&path).unwrap()).unwrap();
    path
}

/// All ids that can be reached from the refs, in order.
pub(crate) fn objects(repository: &Path) -> Vec<String> {
    let mut ids: Vec<_> = git_line(&["rev-list", "--objects", "--no-object-names", "--all"], repository)
        .lines()
        .map(str::to_owned)
        .collect();
    ids.sort();
    ids
}

pub(crate) fn refs(repository: &Path) -> String {
    git_line(&["for-each-ref", "--format=%(objectname) %(refname)"], repository)
}

/// What `git fsck` finds wrong, sorted; that an object dangles does not count.
pub(crate) fn fsck(repository: &Path) -> Vec<String> {
    let output = git_command(repository).args(["fsck", "--full", "--strict", "--no-dangling"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("Checking ") && !line.starts_with("notice:"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}
