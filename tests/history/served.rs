//! Histories through the kitchen and HTTP.

use crate::common::server::Server;
use crate::common::{git, git_line};
use crate::kit::snapshot;
use larder::archive::snapshot::{Manifest, Target};
use larder::catalogue::{Access, Catalogue};
use larder::key::ObjectKind;
use larder::verify;
use std::io::Write as _;
use std::path::Path;
use tempfile::TempDir;

#[test]
fn histories_are_cooked_and_served_with_what_is_to_be_said_of_them() {
    let work = TempDir::new().unwrap();
    let repository = work.path().join("r.git");
    git(&["init", "-q", "--bare", "r.git"], work.path());
    let clone = work.path().join("clone");
    git(&["clone", "-q", "r.git", "clone"], work.path());
    std::fs::write(clone.join("f"), "x").unwrap();
    git(&["add", "f"], &clone);
    git(&["commit", "-q", "-m", "x"], &clone);
    git(&["tag", "-a", "-m", "x", "v1"], &clone);
    git(&["push", "-q", "--tags", "origin", "HEAD"], &clone);
    let id = |name: &str| git_line(&["rev-parse", name], &clone);

    let mut manifest = snapshot(&repository);
    let revision = Target::Object(ObjectKind::Revision, id("HEAD").parse().unwrap());
    assert!(manifest.insert(b"refs/heads/..", revision));
    let data = TempDir::new().unwrap();
    let snapshot = add(data.path(), &manifest);

    let server = Server::start(data.path(), &[&repository], &[]);
    let keys = [
        format!("directory/{}.git.tar", id("HEAD^{tree}")),
        format!("revision/{}.bundle", id("HEAD")),
        format!("release/{}.git.tar", id("v1")),
        format!("snapshot/{snapshot}.git.tar"),
        format!("snapshot/{snapshot}.bundle"),
    ];
    for key in keys {
        let status = server.cook(&key);
        assert_eq!(status["status"], "done", "{key}: {status}");
        let notes = status.get("notes").and_then(|notes| notes.as_array()).map_or(0, Vec::len);
        assert_eq!(notes, usize::from(key.starts_with("snapshot")), "{key}: {status}");
        let answer = server.get(&format!("/vault/{key}"));
        assert_eq!(answer.header("cache-control"), Some("public, no-cache"));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&answer.body).unwrap();
        let found = if key.ends_with("tar") { verify::git_tar(&file) } else { verify::git_bundle(&file) };
        assert!(found.unwrap().objects >= 3, "{key}");
    }
    let unknown = server.send("POST", &format!("/vault/snapshot/{}", "1".repeat(40)), &[]);
    assert_eq!(unknown.status, 404);
    let left: Vec<_> = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

fn add(data: &Path, manifest: &Manifest) -> String {
    let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Migrate).unwrap();
    catalogue.add_snapshot(manifest, None).unwrap().to_string()
}
