//! Repositories under a `git` archive, which are origins by themselves.

use super::{by_python, command, commit, escaped, ok, refused, repository, resolve, snapshot};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git, git_line};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn repositories_in_an_archive_are_origins_and_none_of_their_paths_shows() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    std::fs::create_dir(folder.path().join("team a")).unwrap();
    let repository = repository(&folder.path().join("team a"));
    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "100ms"]);
    let url = "local:team%20a/r.git";
    let first = wait(&server, url, &by_python(&repository));
    assert_eq!((first["local"].as_bool(), first["url"].as_str()), (Some(true), Some(url)));
    let all = String::from_utf8(server.get("/origins").body).unwrap();
    assert!(!all.contains(folder.path().to_str().unwrap()), "{all}");
    assert_eq!(resolve(&server, url, "v1")["release"]["id"], git_line(&["rev-parse", "v1"], &repository));

    // Loose and packed, an unborn HEAD, a broken ref, and a branch whose object is gone.
    git(&["pack-refs", "--all"], &repository);
    commit(&repository, "other", "y");
    git(&["symbolic-ref", "HEAD", "refs/heads/unborn"], &repository);
    let changed = wait(&server, url, &by_its_refs(&repository));
    assert_ne!(changed["snapshot"], first["snapshot"]);
    std::fs::write(repository.join("refs/heads/broken"), "no id\n").unwrap();
    std::fs::write(repository.join("refs/heads/gone"), format!("{}\n", "1".repeat(40))).unwrap();
    let deadline = Instant::now() + Duration::from_mins(5);
    while server.get(&format!("/origins?url={}", escaped(url))).json()["origin"]["snapshot"] == changed["snapshot"] {
        assert!(Instant::now() < deadline, "the new branches were never seen");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.get(&format!("/vault/resolve?origin={}&ref=gone", escaped(url))).status, 404, "it dangles");
    assert_eq!(server.get(&format!("/vault/resolve?origin={}&ref=broken", escaped(url))).status, 404);
}

#[test]
fn two_repositories_of_one_name_are_two_origins() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repositories = ["a", "b"].map(|name| {
        let parent = folder.path().join(name);
        std::fs::create_dir(&parent).unwrap();
        let repository = repository(&parent);
        commit(&repository, name, name);
        repository
    });
    // Given as repositories, then as folders; the first that was given has the plain URL.
    let folders = [1, 0].map(|at| repositories[at].parent().unwrap());
    for given in [[&*repositories[1], &*repositories[0]], folders] {
        let server = Server::start(data.path(), &given, &["--snapshot-interval", "100ms"]);
        wait(&server, "local:r.git", &by_python(&repositories[1]));
        wait(&server, "local:a/r.git", &by_python(&repositories[0]));
    }
}

#[test]
fn a_new_tag_is_known_within_seconds_and_at_once_when_a_hook_says_so() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = "local:r.git";
    let visit = || {
        let mut command = command(data.path(), &["visit", url]);
        command.arg("--git").arg(folder.path()).output().unwrap()
    };
    let server = Server::start(data.path(), &[folder.path()], &[]);
    wait(&server, url, &by_python(&repository));
    git(&["tag", "seconds", "main"], &repository);
    let began = Instant::now();
    wait(&server, url, &by_python(&repository));
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    drop(server);

    // One that never looks by itself.
    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "0s"]);
    git(&["tag", "at-once", "main"], &repository);
    let words = ok(&visit());
    assert!(words.contains("has changed"), "{words}");
    assert_eq!(snapshot(&words), by_python(&repository));
    assert_eq!(resolve(&server, url, "at-once")["ref"], "refs/tags/at-once");
    assert!(ok(&visit()).contains("has nothing new"));
    let visits = server.get(&format!("/origins?url={}", escaped(url))).json()["visits"].clone();
    assert_eq!((&visits[0]["status"], visits[0]["times"].as_u64()), (&"full".into(), Some(2)), "{visits}");
    for gone in ["local:other.git", "local:"] {
        let mut command = command(data.path(), &["visit", gone]);
        let output = command.arg("--git").arg(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{gone}");
    }
}

#[test]
fn a_branch_whose_pack_comes_after_its_ref_is_found_though_no_ref_changes() {
    let (folder, data, aside) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = repository(folder.path());
    git(&["repack", "-adq"], &path);
    let packs = || -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(path.join("objects/pack")).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    };
    let first = packs();
    let late = commit(&path, "late", "what comes late");
    git(&["repack", "-dq"], &path);
    git(&["pack-refs", "--all"], &path);
    let second: Vec<_> = packs().into_iter().filter(|file| !first.contains(file)).collect();
    assert!(!second.is_empty());
    let move_all = |there: bool| {
        for file in &second {
            let other = aside.path().join(file.file_name().unwrap());
            let (from, to) = if there { (&other, file) } else { (file, &other) };
            std::fs::copy(from, to).unwrap();
            std::fs::remove_file(from).unwrap();
        }
    };
    move_all(false);
    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "100ms"]);
    let url = "local:r.git";
    let resolve = |name: &str| server.get(&format!("/vault/resolve?origin={url}&ref={name}"));
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_mins(2);
        while !is_so() {
            assert!(Instant::now() < deadline, "it never comes to this: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("the branch is noted as dangling", &|| resolve("main").status == 200);
    assert_eq!(resolve("late").status, 404);
    // A later look would find a ref that has changed.
    std::thread::sleep(Duration::from_secs(5));
    move_all(true);
    until("the branch is found", &|| resolve("late").status == 200);
    assert_eq!(resolve("late").json()["revision"]["id"], late);
    drop(server);

    // Who visits it meanwhile waits a little.
    move_all(false);
    let mut command = command(data.path(), &["visit", url]);
    let visit = command.arg("--git").arg(folder.path()).stdout(std::process::Stdio::piped()).start().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    move_all(true);
    assert_eq!(snapshot(&ok(&visit.wait_with_output().unwrap())), by_python(&path));
}

#[test]
fn a_snapshot_that_no_server_has_taken_is_cooked_all_the_same() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = repository(folder.path());
    let cook = |id: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["cook", &format!("swh:1:snp:{id}"), "--min-free", "0%", "--data"]).arg(data.path());
        command.env_remove("LARDER_CONFIG").arg("--git").arg(folder.path()).output().unwrap()
    };
    let (old, nothing) = (by_python(&path), "1".repeat(40));
    assert!(refused(&cook(&nothing)).contains("no archive has"));
    let words = ok(&cook(&old));
    assert!(words.contains(&old), "{words}");
    commit(&path, "main", "new");
    assert_ne!(by_python(&path), old);
    ok(&cook(&by_python(&path)));
}

/// The id of the snapshot of a repository that lies here: what `ls-remote` leaves out of an unborn HEAD
/// is in it.
fn by_its_refs(repository: &Path) -> String {
    use larder::archive::snapshot::{Manifest, Target};
    use larder::key::ObjectKind;
    let unborn = git_line(&["symbolic-ref", "HEAD"], repository);
    let mut manifest = Manifest::default();
    manifest.insert(b"HEAD", Target::Alias(unborn.clone().into_bytes()));
    manifest.insert(unborn.as_bytes(), Target::Dangling);
    let refs = git(&["for-each-ref", "--format=%(objecttype) %(objectname) %(refname)"], repository);
    for line in String::from_utf8(refs).unwrap().lines() {
        let [word, id, name] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if name.ends_with("/merge") || name.starts_with("refs/changes/") {
            continue;
        }
        let kind = match word {
            "commit" => ObjectKind::Revision,
            "tag" => ObjectKind::Release,
            _ => ObjectKind::Directory,
        };
        manifest.insert(name.as_bytes(), Target::Object(kind, id.parse().unwrap()));
    }
    manifest.id().to_string()
}

/// Waits until the snapshot of an origin is this one, and gives what is said of the origin.
pub(crate) fn wait(server: &Server, url: &str, id: &str) -> Value {
    let deadline = Instant::now() + Duration::from_mins(5);
    loop {
        let body = server.get(&format!("/origins?url={}", escaped(url))).json();
        if body["origin"]["snapshot"]["id"] == id {
            return body["origin"].clone();
        }
        assert!(Instant::now() < deadline, "{id} was never taken: {body}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
