//! Mirrors that are added, visited and removed, and what they keep.

use super::remote::GitHttp;
use super::{by_python, commit, file_url, mirror, ok, origin, refused, repository, resolve, snapshot};
use crate::common::server::Server;
use crate::common::{git, git_line};
use larder::verify::{Proof, Proven};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

#[test]
fn a_mirror_is_added_visited_and_its_snapshot_is_the_one_git_shows() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = file_url(&repository);
    assert!(ok(&origin(data.path(), &["add", &url])).contains("added"));
    assert!(ok(&origin(data.path(), &["add", &url])).contains("is known"));

    let first = ok(&origin(data.path(), &["visit", &url]));
    assert!(first.contains("has changed"), "{first}");
    assert_eq!(snapshot(&first), by_python(&repository));
    let again = ok(&origin(data.path(), &["visit", "--all"]));
    assert!(again.contains("nothing new"), "{again}");
    assert_eq!(snapshot(&again), snapshot(&first));

    commit(&repository, "main", "two");
    let changed = ok(&origin(data.path(), &["visit", &url]));
    assert!(changed.contains("has changed"), "{changed}");
    assert_eq!(snapshot(&changed), by_python(&repository));

    let listed = ok(&origin(data.path(), &["list", "--json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed["url"].as_str(), listed["local"].as_bool()), (Some(url.as_str()), Some(false)));
    assert_eq!(listed["snapshot"]["id"], snapshot(&changed));
    assert_eq!(std::fs::metadata(data.path().join("origins")).unwrap().permissions().mode() & 0o777, 0o700);

    ok(&origin(data.path(), &["remove", &url]));
    assert_eq!(origin(data.path(), &["visit", &url]).status.code(), Some(3));
    assert_eq!(ok(&origin(data.path(), &["list"])), "");
    let left = std::fs::read_dir(data.path().join("origins")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| entry.path().extension().is_some_and(|ext| ext == "lock")));
}

#[test]
fn a_first_visit_makes_the_refs_that_a_fetch_would_and_no_file_for_each() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let main = git_line(&["rev-parse", "main"], &repository);
    for number in 0..50 {
        git(&["update-ref", &format!("refs/heads/b{number}"), &main], &repository);
    }
    git(&["symbolic-ref", "refs/heads/alias", "refs/heads/b1"], &repository);
    git(&["update-ref", "--no-deref", "HEAD", &main], &repository);
    let url = file_url(&repository);
    ok(&origin(data.path(), &["add", &url]));
    let words = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&words), by_python(&repository));

    let mirror = mirror(data.path());
    let refs = |path: &std::path::Path| git_line(&["for-each-ref", "--format=%(objectname) %(refname)"], path);
    let of_mirror = refs(&mirror);
    git(&["init", "-q", "--bare", "fetched"], folder.path());
    let fetched = folder.path().join("fetched");
    let specs = ["+refs/*:refs/larder/now/*", "+HEAD:refs/larder/head", "^refs/pull/*/merge", "^refs/changes/*"];
    git(&[&["fetch", "-q", "--no-tags", &url][..], &specs].concat(), &fetched);
    assert_eq!(of_mirror, refs(&fetched));
    assert!(of_mirror.lines().count() > 50);
    let loose = std::fs::read_dir(mirror.join("refs")).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(loose.filter(|name| name == "larder").count(), 0, "a folder for refs was made");

    // The next visits go on from there.
    git(&["update-ref", "-d", "refs/heads/b7"], &repository);
    git(&["symbolic-ref", "HEAD", "refs/heads/main"], &repository);
    assert_eq!(snapshot(&ok(&origin(data.path(), &["visit", &url]))), by_python(&repository));
    assert!(!refs(&mirror).contains("now/heads/b7") && refs(&mirror).contains("now/heads/b8"));
}

#[test]
fn an_old_snapshot_stays_whole_after_a_force_push() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = file_url(&repository);
    ok(&origin(data.path(), &["add", &url]));
    let (lost, old) = (commit(&repository, "main", "lost"), ok(&origin(data.path(), &["visit", &url])));

    git(&["update-ref", "refs/heads/main", "main^"], &repository);
    git(&["update-ref", "-d", "refs/tags/v1"], &repository);
    let new = commit(&repository, "main", "instead");
    git(&["update-ref", "refs/heads/gone/deeper", "main"], &repository);
    ok(&origin(data.path(), &["visit", &url]));
    git(&["update-ref", "-d", "refs/heads/gone/deeper"], &repository);
    git(&["update-ref", "refs/heads/gone", "main"], &repository);
    let newest = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&newest), by_python(&repository));
    git(&["reflog", "expire", "--expire=all", "--all"], &repository);
    git(&["gc", "-q", "--prune=now"], &repository);

    let server = Server::start(data.path(), &[], &[]);
    assert_eq!(resolve(&server, &url, "main")["revision"]["id"], new);
    assert_eq!(resolve(&server, &url, &lost)["revision"]["id"], lost, "it is in no branch any more");
    assert_eq!(server.cook(&format!("revision/{lost}.tar"))["status"], "done");
    let proof = server.get(&format!("/vault/snapshot/{}/proof", snapshot(&old)));
    let swhid = format!("swh:1:snp:{}", snapshot(&old)).parse().unwrap();
    let Proven::Snapshot(manifest) = Proof::decode(&proof.body).unwrap().check(&swhid).unwrap() else { panic!() };
    assert!(manifest.get(b"refs/tags/v1").is_some());

    // A hand that collects garbage in the mirror takes nothing that a snapshot names.
    let mirror = mirror(data.path());
    git(&["gc", "-q", "--prune=now"], &mirror);
    git(&["cat-file", "-e", &lost], &mirror);
    let kept = String::from_utf8(git(&["for-each-ref", "refs/larder/keep"], &mirror)).unwrap();
    assert_eq!(kept.lines().count(), 2, "the lost commit and the tag, and nothing that is still reachable:\n{kept}");
}

#[test]
fn a_mirror_over_http_is_the_same_and_asks_for_no_password() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let http = GitHttp::start(folder.path());
    let url = format!("http://127.0.0.1:{}/r.git", http.port);
    ok(&origin(data.path(), &["add", &url]));
    let visited = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&visited), by_python(&repository));
    commit(&repository, "main", "more");
    assert_eq!(snapshot(&ok(&origin(data.path(), &["visit", &url]))), by_python(&repository));

    let secret = format!("http://127.0.0.1:{}/secret/r.git", http.port);
    ok(&origin(data.path(), &["add", &secret]));
    let words = refused(&origin(data.path(), &["visit", &secret]));
    assert!(words.contains("failed"), "{words}");
    let elsewhere = format!("http://127.0.0.1:{}/redirect/r.git", http.port);
    ok(&origin(data.path(), &["add", &elsewhere]));
    refused(&origin(data.path(), &["visit", &elsewhere]));
}
