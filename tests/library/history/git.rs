//! What git makes of the bundles: the same objects, refs and HEAD as in the repository they are of.

use super::kit::{bundled, fsck, objects, refs, snapshot, unpacked};
use crate::common::fixtures::{WELL_FORMED, fixture};
use crate::common::server::Server;
use crate::common::{git, git_line};
use larder::catalogue::{Access, Catalogue};
use larder::cook::history::Subject;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Repositories to be tested besides, `:` between them: real ones, of which none is part of larder.
const REPOSITORIES: &str = "LARDER_TEST_REPOSITORIES";

#[test]
fn snapshots_of_the_fixtures_are_what_git_has() {
    for name in WELL_FORMED {
        let fixture = fixture(name);
        for repository in fixture.repositories() {
            same_in_both(&fixture.path, &repository);
        }
    }
}

#[test]
fn snapshots_of_given_repositories_are_what_git_has() {
    for repository in std::env::var(REPOSITORIES).iter().flat_map(|list| list.split(':')) {
        same_in_both(Path::new(repository), Path::new(repository));
    }
}

/// The whole way, for those same repositories: a server takes the snapshot and cooks it, a client gets
/// it, verified, and git reads what came. One of a hundred thousand commits takes some minutes.
#[test]
fn snapshots_of_given_repositories_are_served_and_got_as_git_has_them() {
    for repository in std::env::var(REPOSITORIES).iter().flat_map(|list| list.split(':')).map(Path::new) {
        let folder = TempDir::new().unwrap();
        let manifest = snapshot(repository);
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Migrate).unwrap();
        let id = catalogue.add_snapshot(&manifest, None).unwrap();
        drop(catalogue);
        let server = Server::start(&data, &[repository], &["--min-free", "0%"]);
        let get = |format: &str, file: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
            command.args(["get", &format!("swh:1:snp:{id}"), "--format", format, "-o", file]);
            command.arg("--server").arg(format!("http://{}", server.address)).env_remove("LARDER_CONFIG");
            let start = std::time::Instant::now();
            let output = command.current_dir(folder.path()).env("NO_PROXY", "*").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            println!("{}: {format} served and got in {:?}", repository.display(), start.elapsed());
        };
        get("git.tar", "x.git.tar");
        let unpacked = Command::new("tar").args(["-xf", "x.git.tar"]).current_dir(folder.path()).status().unwrap();
        assert!(unpacked.success());
        let bare = folder.path().join(format!("swh_1_snp_{id}.git"));
        get("bundle", "x.bundle");
        git(&["clone", "-q", "--mirror", "x.bundle", "of-bundle"], folder.path());
        for copy in [bare, folder.path().join("of-bundle")] {
            same(repository, &copy);
            assert_eq!(git_line(&["symbolic-ref", "HEAD"], &copy), git_line(&["symbolic-ref", "HEAD"], repository));
        }
    }
}

fn same_in_both(archive: &Path, repository: &Path) {
    let subject = Subject::Snapshot(snapshot(repository));
    let folder = TempDir::new().unwrap();
    let start = std::time::Instant::now();
    let bare = unpacked(archive, &subject, folder.path());
    println!("{}: git.tar in {:?}", repository.display(), start.elapsed());
    same(repository, &bare);
    assert_eq!(git_line(&["symbolic-ref", "HEAD"], &bare), git_line(&["symbolic-ref", "HEAD"], repository));
    let clone = folder.path().join("of-bare");
    git(&[Path::new("clone"), Path::new("-q"), Path::new("--mirror"), &bare, &clone], folder.path());
    same(repository, &clone);

    let bundle = bundled(archive, &subject, folder.path());
    let clone = folder.path().join("of-bundle");
    git(&[Path::new("bundle"), Path::new("verify"), Path::new("-q"), &bundle], &bare);
    git(&[Path::new("clone"), Path::new("-q"), Path::new("--mirror"), &bundle, &clone], folder.path());
    same(repository, &clone);
}

fn same(repository: &Path, copy: &Path) {
    assert_eq!(objects(copy), objects(repository), "{}", repository.display());
    assert_eq!(refs(copy), refs(repository), "{}", repository.display());
    let known = fsck(repository);
    let new: Vec<_> = fsck(copy).into_iter().filter(|line| !known.contains(line)).collect();
    assert_eq!(new, Vec::<String>::new(), "{}", repository.display());
}
