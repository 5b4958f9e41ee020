//! The vault of `/api/1`: one with `/vault`, and what clients do with it.

use super::{Archive, BASE};
use crate::common::server::Server;
use serde_json::json;

const DIRECTORY: &str = "88181dbd4845f1fbd3678b39a5144b6e7851b578";
const REVISION: &str = "28ac2944734b605aaac304223b0ede1f6276ac70";

#[test]
fn a_bundle_of_the_api_is_that_of_the_vault_whoever_orders_it() {
    let archive = Archive::open(&[]);
    let path = format!("/api/1/vault/flat/swh:1:dir:{DIRECTORY}");
    let ours = archive.server.cook(&format!("directory/{DIRECTORY}"));
    let theirs = archive.get(&path);
    assert_eq!((theirs.status, &theirs.json()["status"]), (200, &json!("done")));
    assert_eq!(theirs.json()["fetch_url"], format!("{BASE}{path}/raw/"));
    let (file, raw) = (archive.get(&format!("/vault/directory/{DIRECTORY}")), archive.get(&format!("{path}/raw")));
    assert_eq!((file.status, raw.status), (200, 200));
    assert!(file.body == raw.body, "the same bytes");
    let rows: i64 = archive.catalogue().query_row("SELECT count(*) FROM bundle", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "and the same row");

    let path = format!("/api/1/vault/git-bare/swh:1:rev:{REVISION}");
    assert_eq!(archive.server.post(&path).status, 200);
    archive.wait_for(&path, "done");
    let status = archive.get(&format!("/vault/revision/{REVISION}.git.tar/status")).json();
    assert_eq!(
        (&status["status"], &status["size"]),
        (&json!("done"), &json!(archive.get(&format!("{path}/raw")).body.len()))
    );
    assert_eq!(ours["status"], "done");
}

#[test]
fn whom_to_tell_may_stand_in_the_query_in_a_form_and_in_json_and_nothing_else_may() {
    let archive = Archive::open(&[]);
    let path = format!("/api/1/vault/flat/swh:1:dir:{DIRECTORY}");
    for (target, media_type, body, status) in [
        (format!("{path}?email=me@example.org"), "", "", 200),
        (path.clone(), "application/x-www-form-urlencoded", "email=me%40example.org", 200),
        (path.clone(), "multipart/form-data; boundary=x", "--x\r\n\r\n--x--", 200),
        (path.clone(), "application/json; charset=utf-8", r#"{"email": "me@example.org"}"#, 200),
        (path.clone(), "application/json", r#"{"email": }"#, 400),
        (path.clone(), "text/plain", "me@example.org", 415),
        (path.clone(), "text/plain", "", 200),
    ] {
        let answer = archive.post(&target, media_type, body);
        assert_eq!(answer.status, status, "{target} {media_type} {body}");
    }
}

#[test]
fn orders_at_once_of_one_bundle_are_one_cook() {
    let archive = Archive::open(&[]);
    let path = format!("/api/1/vault/gitfast/swh:1:rev:{REVISION}/");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..16).map(|_| scope.spawn(|| archive.post(&path, "application/json", "{}").status)).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 16]);
    let queued: i64 = archive
        .catalogue()
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'cook'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(queued, 1);
}

#[test]
fn what_is_blocked_is_said_to_be_in_the_form_of_the_api() {
    let archive = Archive::open(&[]);
    let path = format!("/api/1/vault/flat/swh:1:dir:{DIRECTORY}/");
    let blocked = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["block", &format!("swh:1:dir:{DIRECTORY}"), "--data"])
        .arg(archive.data.path())
        .env_remove("LARDER_CONFIG")
        .output()
        .unwrap();
    assert!(blocked.status.success(), "{}", String::from_utf8_lossy(&blocked.stderr));
    let refused = archive.server.post(&path);
    assert_eq!((refused.status, &refused.json()["exception"]), (451, &json!("UnavailableForLegalReasons")));
    assert_eq!(refused.header("link"), Some(&*format!("<{BASE}>; rel=\"blocked-by\"")));
    assert_eq!(archive.get(&format!("{path}raw/")).status, 451);
}

#[test]
fn a_larder_that_keeps_nothing_says_that_all_is_done_and_cooks_what_is_fetched() {
    let (fixture, data) = (crate::common::fixtures::fixture("swh"), tempfile::TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &["--mode", "pass-through"]);
    let path = format!("/api/1/vault/flat/swh:1:dir:{DIRECTORY}/");
    for answer in [server.post(&path), server.get(&path)] {
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("done")));
    }
    let bundle = server.get(&format!("{path}raw/"));
    let bytes = crate::common::client::unchunked(&bundle.body).unwrap();
    assert_eq!(larder::verify::flat_tar_gz(&bytes[..]).unwrap().to_string(), DIRECTORY);
    let absent = format!("/api/1/vault/flat/swh:1:dir:{}/", "0123456789".repeat(4));
    assert!(server.get(&absent).json()["reason"].as_str().unwrap().ends_with("was never requested."));
    assert!(server.post(&absent).json()["reason"].as_str().unwrap().ends_with(" not found."));
    assert_eq!(server.get(&format!("{absent}raw/")).status, 404);
}

#[test]
fn everything_lies_below_the_root_path_and_says_so() {
    let (fixture, data) = (crate::common::fixtures::fixture("swh"), tempfile::TempDir::new().unwrap());
    let flags = ["--root-path", "/larder", "--public-url", "https://bundles.example"];
    let server = Server::start(data.path(), &[&fixture.path], &flags);
    assert_eq!(server.get("/larder/api/1/ping/").body, b"\"pong\"");
    assert_eq!(server.get("/api/1/ping/").json()["code"], "no_such_resource");
    let ordered = server.post(&format!("/larder/api/1/vault/directory/{DIRECTORY}/"));
    let fetch = format!("https://bundles.example/larder/api/1/vault/flat/swh:1:dir:{DIRECTORY}/raw/");
    assert_eq!(ordered.json()["fetch_url"], fetch);
    let old = server.get(&format!("/larder/api/1/vault/directory/{DIRECTORY}/raw"));
    assert_eq!((old.status, old.header("location")), (302, Some(fetch.as_str())));
    let reason = server.get("/larder/api/1/x%20/").json()["reason"].clone();
    assert_eq!(reason, "The resource /larder/api/1/x / could not be found on the server.");
}
