//! The objects behind the vault: what no exchange was recorded of, and what a client can make larder do.

use super::Archive;
use crate::common::contents::{Contents, repository};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git, git_command, git_line};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

const REVISION: &str = "28ac2944734b605aaac304223b0ede1f6276ac70";
const CONTENT: &str = "ce013625030ba8dba906f756967f9e9ca394464a";
const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// Writes an object as it is, and gives its id.
fn write(repository: &Path, kind: &str, bytes: &[u8]) -> String {
    let mut child = git_command(repository)
        .args(["hash-object", "-w", "--stdin", "--literally", "-t", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .start()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_log_is_what_git_finds_and_no_longer_than_asked_for() {
    let archive = Archive::open(&[]);
    let ripgrep = archive.git.path().join("github.com/BurntSushi/ripgrep");
    let all = git_line(&["rev-list", "6cb604f38f3a7abecaa9cdb1a7eb9556aa9d9dcc"], &ripgrep);
    let ids = |limit: &str| -> Vec<String> {
        let log = archive.get(&format!("/api/1/revision/6cb604f38f3a7abecaa9cdb1a7eb9556aa9d9dcc/log/{limit}"));
        assert_eq!(log.status, 200);
        log.json().as_array().unwrap().iter().map(|commit| commit["id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut whole, mut expected) = (ids("?limit=1000"), all.lines().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(whole[..10], ids(""));
    assert_eq!(whole[..3], ids("?limit=3"));
    assert_eq!(ids("?limit=0").len(), 1);
    whole.sort();
    expected.sort();
    assert_eq!(whole, expected, "each commit once");
    // Of what was merged both sides lead to the first commit.
    let odd = archive.git.path().join("example.org/odd.git");
    let mut expected: Vec<_> = git_line(&["rev-list", REVISION], &odd).lines().map(str::to_owned).collect();
    let log = archive.get(&format!("/api/1/revision/{REVISION}/log/?limit=1000")).json();
    let mut merged: Vec<_> =
        log.as_array().unwrap().iter().map(|commit| commit["id"].as_str().unwrap().to_owned()).collect();
    merged.sort();
    expected.sort();
    assert_eq!(merged, expected, "each commit once, by whatever way it is come to");
    let bad = archive.get(&format!("/api/1/revision/{REVISION}/log/?limit=x"));
    assert_eq!((bad.status, &bad.json()["reason"]), (400, &json!({"limit": ["A valid integer is required."]})));
}

#[test]
fn the_pages_of_a_snapshot_are_all_of_it_and_its_link_is_the_next() {
    let archive = Archive::open(&[]);
    let whole = archive.get("/api/1/snapshot/6748f87cd8b981b203909f1d081bff5f397e805f/").json();
    let mut next = Some("/api/1/snapshot/6748f87cd8b981b203909f1d081bff5f397e805f/?branches_count=1".to_owned());
    let mut found = serde_json::Map::new();
    while let Some(path) = next {
        let page = archive.get(&path);
        let body = page.json();
        found.extend(body["branches"].as_object().unwrap().clone());
        let link = page
            .header("link")
            .map(|link| link.trim_start_matches("<http://HOST").split('>').next().unwrap().to_owned());
        assert_eq!(link.is_some(), !body["next_branch"].is_null());
        next = link;
    }
    assert_eq!(Value::from(found), whole["branches"]);
    let none = archive.get("/api/1/snapshot/6748f87cd8b981b203909f1d081bff5f397e805f/?branches_count=0");
    assert_eq!((none.status, &none.json()["exception"]), (400, &json!("ValidationError")));
}

#[test]
fn checksums_are_remembered_across_a_restart_and_found_by() {
    let archive = Archive::open(&[]);
    let by = format!("/api/1/content/sha256:{SHA256}/");
    let unknown = archive.get(&by);
    assert_eq!((unknown.status, &unknown.json()["exception"]), (404, &json!("NotFoundExc")));
    let content = archive.get(&format!("/api/1/content/sha1_git:{CONTENT}/")).json();
    assert_eq!(content["checksums"]["sha256"], SHA256);
    assert_eq!(archive.get(&by).json()["checksums"], content["checksums"]);
    let Archive { server, data, git } = archive;
    server.kill();
    let server = Server::start(data.path(), &[git.path()], &["--local-origins", "https://"]);
    assert_eq!(server.get(&by).json()["checksums"], content["checksums"]);
    assert_eq!(server.get(&format!("{by}raw/")).body, b"hello\n");
    drop(server);
    // It is a cache: who takes it away loses nothing.
    std::fs::remove_file(data.path().join("checksums.db")).unwrap();
    let server = Server::start(data.path(), &[git.path()], &["--local-origins", "https://"]);
    assert_eq!(server.get(&by).status, 404);
    assert_eq!(server.get(&format!("/api/1/content/sha1_git:{CONTENT}/")).json()["checksums"], content["checksums"]);
}

#[test]
fn a_listing_computes_a_few_checksums_and_a_further_one_the_rest() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_, directory) = repository(folder.path(), "r.git", (150, 50), Contents::Letters);
    let server = Server::start(data.path(), &[folder.path()], &[]);
    let path = format!("/api/1/directory/{directory}/");
    let known = |entries: &Value| {
        let entries = entries.as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["length"] == 50 && entry["checksums"]["sha1_git"].is_string()));
        entries.iter().filter(|entry| entry["checksums"]["sha256"].is_string()).count()
    };
    for expected in [64, 128, 150, 150] {
        assert_eq!(known(&server.get(&path).json()), expected);
    }
}

#[test]
fn large_contents_come_whole_and_larger_ones_not_at_all() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    git(&["init", "-q", "--bare", "r.git"], folder.path());
    let repository = folder.path().join("r.git");
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
    let (large, too_large) = (write(&repository, "blob", &bytes), write(&repository, "blob", &vec![7; (64 << 20) + 1]));
    let server = Server::start(data.path(), &[folder.path()], &[]);
    let raw = server.get(&format!("/api/1/content/sha1_git:{large}/raw/"));
    assert!(raw.status == 200 && raw.body == bytes);
    let head = server.send("HEAD", &format!("/api/1/content/sha1_git:{large}/raw/"), &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("12000000")));
    let object = server.get(&format!("/api/1/raw/swh:1:cnt:{large}/"));
    assert!(object.body.starts_with(b"blob 12000000\0") && object.body.ends_with(&bytes));
    for path in [format!("content/sha1_git:{too_large}/raw/"), format!("raw/swh:1:cnt:{too_large}/")] {
        let refused = server.get(&format!("/api/1/{path}"));
        assert_eq!((refused.status, &refused.json()["exception"]), (422, &json!("UnprocessableObject")), "{path}");
    }
    let described = server.get(&format!("/api/1/content/sha1_git:{too_large}/")).json();
    assert_eq!((&described["length"], &described["checksums"]["sha256"]), (&json!((64 << 20) + 1), &Value::Null));
}

#[test]
fn what_is_malformed_or_of_an_odd_size_is_an_error_and_never_an_absence() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    git(&["init", "-q", "--bare", "r.git"], folder.path());
    let repository = folder.path().join("r.git");
    let no_commit = write(&repository, "commit", b"author A <a> 1 +0000\n\nno tree\n");
    let tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let huge = write(
        &repository,
        "commit",
        format!("tree {tree}\n{}\n", format!("parent {tree}\n").repeat(30_000)).as_bytes(),
    );
    let odd = write(
        &repository,
        "commit",
        &[format!("tree {tree}\nauthor ").as_bytes(), b"\xff <> x\n\n</pre><script>\0\n"].concat(),
    );
    let no_tree = write(&repository, "tree", b"100644 name");
    let odd_tree = write(
        &repository,
        "tree",
        &[b"100644 a\"<b>\0".as_slice(), &[1; 20], b"40000 ..\0", &[2; 20], b"7 x\0", &[3; 20]].concat(),
    );
    let server = Server::start(data.path(), &[folder.path()], &[]);
    for path in [
        format!("revision/{no_commit}/"),
        format!("revision/{huge}/"),
        format!("directory/{no_tree}/"),
        format!("revision/{no_commit}/log/"),
    ] {
        let refused = server.get(&format!("/api/1/{path}"));
        assert_eq!((refused.status, &refused.json()["exception"]), (422, &json!("UnprocessableObject")), "{path}");
    }
    let shown = server.get(&format!("/api/1/revision/{odd}/")).json();
    assert_eq!((&shown["date"], &shown["committer"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["message"], "</pre><script>\0\n");
    let entries = server.get(&format!("/api/1/directory/{odd_tree}/"));
    assert_eq!(entries.json()[0]["name"], "a\"<b>");
    assert_eq!(
        (&entries.json()[0]["length"], &entries.json()[0]["status"]),
        (&Value::Null, &Value::Null),
        "it is missing"
    );
    assert_eq!((&entries.json()[2]["type"], &entries.json()[2]["perms"]), (&json!("rev"), &json!(7)));
    for path in [format!("directory/{odd_tree}/"), format!("revision/{odd}/")] {
        let page = server.send("GET", &format!("/api/1/{path}"), &[("Accept", "text/html")]);
        let text = String::from_utf8(page.body).unwrap();
        let shown = text.split_once("<pre>").unwrap().1.strip_suffix("</pre></body></html>\n").unwrap();
        assert!(!shown.contains(['<', '>']), "{text}");
    }
    assert_eq!(server.get(&format!("/api/1/directory/{odd_tree}/../x/")).status, 404);
}

#[test]
fn what_is_blocked_is_not_known_and_not_shown() {
    let archive = Archive::open(&[]);
    let blocked = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["block", &format!("swh:1:cnt:{CONTENT}"), "--data"])
        .arg(archive.data.path())
        .env_remove("LARDER_CONFIG")
        .output()
        .unwrap();
    assert!(blocked.status.success(), "{}", String::from_utf8_lossy(&blocked.stderr));
    // Memory follows the catalogue within a second; an order looks at once.
    archive.server.post(&format!("/api/1/vault/flat/swh:1:dir:{}/", "0123456789".repeat(4)));
    let swhid = format!("swh:1:cnt:{CONTENT}");
    let known = archive.post("/api/1/known/", "application/json", &json!([swhid]).to_string());
    assert_eq!(known.json()[&swhid]["known"], false);
    for path in [
        format!("content/sha1_git:{CONTENT}/"),
        format!("content/sha1_git:{CONTENT}/raw/"),
        format!("raw/{swhid}/"),
        format!("resolve/{swhid}/"),
    ] {
        assert_eq!(archive.get(&format!("/api/1/{path}")).status, 451, "{path}");
    }
    let entries = archive.get("/api/1/directory/88181dbd4845f1fbd3678b39a5144b6e7851b578/").json();
    assert_eq!((&entries[0]["target"], &entries[0]["length"]), (&json!(CONTENT), &Value::Null));
}
