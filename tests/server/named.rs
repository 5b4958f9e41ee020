//! `/archive`: bundles by the names that people use, a repository and a branch, a tag or an id of it.

use crate::common::client::Answer;
use crate::common::server::Server;
use crate::common::{git, git_line};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FORGE: &str = "https://git.example.org/";

/// `team/project.git` with the tag `v1.0` and the branch `feature/x`, and `team/nested/feature.git`.
fn repositories(folder: &Path) -> PathBuf {
    let work = folder.join("work");
    std::fs::create_dir_all(folder.join("git/team/nested")).unwrap();
    git(&["init", "-q", work.to_str().unwrap()], folder);
    std::fs::write(work.join("file"), "one\n").unwrap();
    git(&["add", "."], &work);
    git(&["commit", "-qm", "one"], &work);
    git(&["tag", "-am", "one", "v1.0"], &work);
    std::fs::write(work.join("file"), "two\n").unwrap();
    git(&["commit", "-qam", "two"], &work);
    git(&["branch", "feature/x"], &work);
    for name in ["team/project.git", "team/nested/feature.git"] {
        let target = folder.join("git").join(name);
        git(&["clone", "-q", "--bare", work.to_str().unwrap(), target.to_str().unwrap()], folder);
    }
    folder.join("git/team/project.git")
}

fn serve(folder: &Path, data: &Path, flags: &[&str]) -> Server {
    let git = folder.join("git");
    let server =
        Server::start(data, &[&git], &[&["--local-origins", FORGE, "--snapshot-interval", "100ms"], flags].concat());
    let deadline = Instant::now() + Duration::from_mins(2);
    while server.get("/origins").json()["origins"].as_array().unwrap().len() < 2 {
        assert!(Instant::now() < deadline, "the repositories were never seen");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

/// The path of where an answer leads, and its id.
fn leads(answer: &Answer, server: &Server) -> String {
    assert_eq!(answer.status, 302, "{}", String::from_utf8_lossy(&answer.body));
    let location = answer.header("location").unwrap();
    let path = location.strip_prefix(&format!("http://{}", server.address)).unwrap();
    let bare = location.split('?').next().unwrap();
    assert_eq!(answer.header("link"), Some(&*format!("<{bare}>; rel=\"immutable\"")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    path.to_owned()
}

#[test]
fn a_name_leads_to_the_bundle_of_what_it_means_now() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repositories(folder.path());
    let server = serve(folder.path(), data.path(), &[]);
    let id = |name: &str| git_line(&["rev-parse", name], &repository);
    let tree = id("v1.0^{tree}");

    // What is not cooked is 404 and says where to ask for it; a GET orders nothing.
    let absent = server.get("/archive/team/project/v1.0.tar.gz");
    assert_eq!(absent.status, 404);
    assert_eq!(server.get(&format!("/vault/directory/{tree}/status")).status, 404, "nothing was ordered");
    let cook = absent.json()["links"]["cook"].as_str().unwrap().to_owned();
    let cook = cook.strip_prefix(&format!("http://{}", server.address)).unwrap();
    assert_eq!(server.send("POST", cook, &[("Prefer", "wait=60")]).status, 201);

    let there = leads(&server.get("/archive/team/project/v1.0.tar.gz"), &server);
    assert_eq!(there, format!("/vault/directory/{tree}.tar.gz?filename=project-v1.0.tar.gz"));
    let bundle = server.get(&there);
    assert_eq!(bundle.header("content-disposition"), Some("attachment; filename=\"project-v1.0.tar.gz\""));
    let project = "origin=https:%2F%2Fgit.example.org%2Fteam%2Fproject.git";
    for (name, file) in [
        (format!("/archive?{project}&ref=v1.0"), "project-v1.0.tar.gz"),
        (format!("/archive?{project}&ref=refs/tags/v1.0&format=tgz"), "project-v1.0.tar.gz"),
        ("/archive/team/project.git/v1.0.tgz".to_owned(), "project-v1.0.tar.gz"),
        ("/archive/team/project/refs/tags/v1.0.tar.gz".to_owned(), "project-v1.0.tar.gz"),
        // As cgit writes it.
        ("/archive/team/project.git/project-v1.0.tar.gz".to_owned(), "project-v1.0.tar.gz"),
        ("/archive/team/project.git/project-1.0.tar.gz".to_owned(), "project-v1.0.tar.gz"),
        (format!("/archive/team/project/{}.tar.gz", id("v1.0")), &*format!("project-{}.tar.gz", id("v1.0"))),
    ] {
        let there = leads(&server.get(&name), &server);
        assert_eq!(there, format!("/vault/directory/{tree}.tar.gz?filename={file}"), "{name}");
        assert_eq!(
            server.send("HEAD", &name, &[]).header("location"),
            Some(&*format!("http://{}{there}", server.address))
        );
    }

    // A branch whose name has a slash, and a repository whose path ends as the branch begins.
    for (path, name) in [("team/project", "project"), ("team/nested/feature", "feature")] {
        server.cook(&format!("directory/{}.zip", id("feature/x^{tree}")));
        let there = leads(&server.get(&format!("/archive/{path}/feature/x.zip")), &server);
        assert_eq!(there, format!("/vault/directory/{}.zip?filename={name}-feature-x.zip", id("feature/x^{tree}")));
    }
    // A history is that of the tag itself.
    server.cook(&format!("release/{}.bundle", id("v1.0")));
    let there = leads(&server.get("/archive/team/project/v1.0.bundle"), &server);
    assert_eq!(there, format!("/vault/release/{}.bundle?filename=project-v1.0.bundle", id("v1.0")));

    // The name moves on, and what it led to stays.
    git(&["update-ref", "refs/heads/feature/x", &id("v1.0^{commit}")], &repository);
    let deadline = Instant::now() + Duration::from_mins(1);
    while server.get("/archive/team/project/feature/x.tar.gz").header("location").is_none_or(|to| !to.contains(&tree)) {
        assert!(Instant::now() < deadline, "the branch never moved");
        std::thread::sleep(Duration::from_millis(50));
    }

    for (target, status, code) in [
        ("/archive/team/other/v1.0.tar.gz", 404, "no_such_origin"),
        ("/archive/team/project/v2.tar.gz", 404, "no_such_ref"),
        ("/archive/team/project/.tar.gz", 400, "malformed_key"),
        ("/archive/team/project/v1.0", 400, "malformed_key"),
        ("/archive/team/project/v1.0.raw", 404, "no_such_ref"),
        ("/archive/team/project/v1.0.tar.gz?x=y", 400, "malformed_query"),
        ("/archive", 400, "malformed_query"),
        ("/archive?origin=x&format=exe", 400, "malformed_key"),
        ("/archive?origin=x&path=y", 400, "malformed_query"),
        ("/archive/v1.0.tar.gz", 404, "no_such_resource"),
        ("/archive?origin=https://x.example/y", 404, "no_such_origin"),
    ] {
        let answer = server.get(target);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{target}");
    }
    assert_eq!(server.post("/archive/team/project/v1.0.tar.gz").status, 405);
}

#[test]
fn a_get_orders_by_name_and_waits_where_the_operator_says_so() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repositories(folder.path());
    let broken = {
        let blob = "1".repeat(40);
        let mut mktree = crate::common::git_command(&repository);
        mktree.args(["mktree", "--missing"]);
        let listing = folder.path().join("listing");
        std::fs::write(&listing, format!("100644 blob {blob}\tgone\n")).unwrap();
        let output = mktree.stdin(std::fs::File::open(&listing).unwrap()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let server = serve(folder.path(), data.path(), &["--cook-by-name"]);
    let tree = git_line(&["rev-parse", "v1.0^{tree}"], &repository);
    let name = "/archive/team/project/v1.0.zip";
    assert_eq!(server.send("HEAD", name, &[]).status, 404);
    assert_eq!(server.get(&format!("/vault/directory/{tree}.zip/status")).status, 404, "a HEAD orders nothing");
    let all = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| server.get(name))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in all {
        let there = leads(&answer, &server);
        assert_eq!(server.get(&there).status, 200);
    }
    // What cannot be cooked says why, as the bundle does.
    let failed = server.get(&format!("/archive/team/project/{broken}.zip"));
    assert_eq!((failed.status, failed.json()["code"].as_str()), (404, Some("missing-object")));
    // Below /vault a GET orders nothing all the same.
    assert_eq!(server.get(&format!("/vault/directory/{tree}.tar")).status, 404);
    assert_eq!(server.get(&format!("/vault/directory/{tree}.tar/status")).status, 404);
}
