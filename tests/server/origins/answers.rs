//! What the server says of origins and of what is behind their branches.

use super::{commit, escaped, file_url, ok, origin, refused, repository, resolve, snapshot};
use crate::common::git_line;
use crate::common::server::Server;
use larder::verify::{Proof, Proven};
use serde_json::Value;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn branches_tags_and_ids_resolve_to_what_git_says_and_have_proofs() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = file_url(&repository);
    ok(&origin(data.path(), &["add", &url]));
    let server = Server::start(data.path(), &[], &[]);
    let unvisited = server.get(&format!("/vault/resolve?origin={}", escaped(&url)));
    assert_eq!((unvisited.status, unvisited.json()["code"].as_str()), (404, Some("no_such_ref")));
    // The server sees the mirror without a restart, within a second or so.
    let visited = ok(&origin(data.path(), &["visit", &url]));
    let deadline = Instant::now() + Duration::from_mins(5);
    while resolve(&server, &url, "HEAD")["directory"] == Value::Null {
        assert!(Instant::now() < deadline, "the mirror was never found");
        std::thread::sleep(Duration::from_millis(100));
    }

    let id = |name: &str| git_line(&["rev-parse", name], &repository);
    for (reference, name) in [
        ("HEAD", "HEAD"),
        ("main", "refs/heads/main"),
        ("heads/main", "refs/heads/main"),
        ("v1", "refs/tags/v1"),
        ("refs/tags/v1-again", "refs/tags/v1-again"),
        ("light", "refs/tags/light"),
        ("pull/1/head", "refs/pull/1/head"),
        ("odd/tree", "refs/odd/tree"),
    ] {
        let found = resolve(&server, &url, reference);
        assert_eq!(found["ref"], name);
        assert_eq!(found["snapshot"]["id"], snapshot(&visited));
        assert_eq!(found["directory"]["id"], id(&format!("{name}^{{tree}}")), "{reference}");
        if name.contains("tags/v1") {
            assert_eq!(found["release"]["id"], id(name));
        } else {
            assert_eq!(found["release"], Value::Null);
        }
        for kind in ["release", "revision"] {
            let Some(id) = found[kind]["id"].as_str() else { continue };
            let proof = server.get(&format!("/vault/{kind}/{id}/proof"));
            assert_eq!((proof.status, proof.header("content-type")), (200, Some("application/x-larder-proof")));
            let proven =
                Proof::decode(&proof.body).unwrap().check(&found[kind]["swhid"].as_str().unwrap().parse().unwrap());
            let directory = found["directory"]["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(proven.unwrap(), Proven::Directory(directory));
        }
    }
    let by_id = resolve(&server, &url, &id("v1"));
    assert_eq!((&by_id["ref"], by_id["release"]["id"].as_str()), (&Value::Null, Some(id("v1").as_str())));
    let bundle = by_id["release"]["links"]["bundle"].as_str().unwrap();
    let key = bundle.split_once("/vault/").unwrap().1;
    assert_eq!(server.cook(key)["status"], "done", "the mirror is an archive");

    for (query, status, code) in [
        (format!("origin={}&ref=nothing", escaped(&url)), 404, "no_such_ref"),
        (format!("origin={}&ref={}", escaped(&url), "1".repeat(40)), 404, "no_such_ref"),
        (format!("origin={}&ref=pull/1/merge", escaped(&url)), 404, "no_such_ref"),
        ("origin=https://example.org/x&ref=main".to_owned(), 404, "no_such_origin"),
        ("ref=main".to_owned(), 400, "malformed_query"),
        (format!("origin={}&ref=", escaped(&url)), 400, "malformed_query"),
    ] {
        let answer = server.get(&format!("/vault/resolve?{query}"));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{query}");
    }
    let nothing = "1".repeat(40);
    for kind in ["revision", "release", "snapshot"] {
        assert_eq!(server.get(&format!("/vault/{kind}/{nothing}/proof")).status, 404);
    }
    let as_release = server.get(&format!("/vault/release/{}/proof", id("main")));
    assert_eq!(as_release.status, 404, "a commit is no release");
}

#[test]
fn visits_are_listed_newest_first_and_origins_page_by_page() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = file_url(&repository);
    let others: Vec<String> = (0..4).map(|n| file_url(&folder.path().join(format!("no-{n}.git")))).collect();
    for url in others.iter().chain([&url]) {
        ok(&origin(data.path(), &["add", url]));
    }
    let first = snapshot(&ok(&origin(data.path(), &["visit", &url])));
    ok(&origin(data.path(), &["visit", &url]));
    commit(&repository, "other", "x");
    let second = snapshot(&ok(&origin(data.path(), &["visit", &url])));
    std::fs::rename(&repository, folder.path().join("elsewhere")).unwrap();
    let words = refused(&origin(data.path(), &["visit", &url]));
    assert!(words.contains("failed"), "{words}");

    let server = Server::start(data.path(), &[], &[]);
    let visits = server.get(&format!("/origins?url={}", escaped(&url))).json();
    let list = visits["visits"].as_array().unwrap();
    let said: Vec<_> =
        list.iter().map(|visit| (visit["status"].as_str().unwrap(), visit["times"].as_u64().unwrap())).collect();
    assert_eq!(said, [("failed", 1), ("full", 1), ("full", 2)]);
    assert_eq!((&list[1]["snapshot"]["id"], &list[2]["snapshot"]["id"]), (&second.into(), &first.into()));
    let error = list[0]["error"].as_str().unwrap();
    assert!(!error.contains('/'), "no path: {error}");
    let paged = server.get(&format!("/origins?url={}&limit=1", escaped(&url)));
    let next = paged.json()["links"]["next"].as_str().unwrap().to_owned();
    assert_eq!(paged.header("link"), Some(format!("<{next}>; rel=\"next\"").as_str()));
    let next = server.get(&next[next.find("/origins").unwrap()..]).json();
    assert_eq!(next["visits"][0], list[1]);
    assert_eq!(server.get("/origins?url=https://example.org/x").status, 404);

    let (mut seen, mut target) = (Vec::new(), "/origins?limit=2".to_owned());
    loop {
        let page = server.get(&target).json();
        seen.extend(
            page["origins"].as_array().unwrap().iter().map(|origin| origin["url"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["links"]["next"].as_str() else { break };
        target = next[next.find("/origins").unwrap()..].to_owned();
    }
    let mut all: Vec<String> = others.into_iter().chain([url]).collect();
    all.sort();
    assert_eq!(seen, all);
}
