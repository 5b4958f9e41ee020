//! Origins: mirrors of real repositories, over files and over HTTP, visited by the real commands; what
//! the server says of them; and servers that lie, stall and never end.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod common;
#[path = "origins/remote.rs"]
mod remote;

use common::server::Server;
use common::{git, git_command, git_line};
use larder::verify::{Proof, Proven};
use remote::{GitHttp, Stalling};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What lets tests mirror from this machine.
const HERE: [&str; 4] = ["--origin-transports", "file,http", "--origin-private", "true"];

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("origin").args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").env("LARDER_LOG", "warn");
    command.args(["--min-free", "0%"]).stdin(Stdio::null());
    command
}

fn origin(data: &Path, args: &[&str]) -> Output {
    command(data, args).args(HERE).output().unwrap()
}

#[track_caller]
fn ok(output: &Output) -> String {
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words}");
    words
}

#[track_caller]
fn refused(output: &Output) -> String {
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{words}");
    words
}

/// A repository with a branch, a tag of each kind, and refs that no snapshot has.
fn repository(folder: &Path) -> PathBuf {
    git(&["init", "-q", "--bare", "r.git"], folder);
    let path = folder.join("r.git");
    commit(&path, "main", "one");
    for args in [
        ["tag", "-am", "first", "v1", "main"].as_slice(),
        &["tag", "-am", "of a tag", "v1-again", "v1"],
        &["tag", "light", "main"],
        &["update-ref", "refs/pull/1/head", "main"],
        &["update-ref", "refs/pull/1/merge", "main"],
        &["update-ref", "refs/changes/01/1/1", "main"],
        &["update-ref", "refs/odd/tree", "main^{tree}"],
    ] {
        git(args, &path);
    }
    path
}

/// A new commit on a branch, on top of what is there.
fn commit(repository: &Path, branch: &str, text: &str) -> String {
    let mut import =
        git_command(repository).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped()).spawn().unwrap();
    let length = text.len();
    let from = git_command(repository)
        .args(["rev-parse", "--verify", "-q", &format!("refs/heads/{branch}^0")])
        .output()
        .unwrap();
    let from = match String::from_utf8(from.stdout).unwrap().trim() {
        "" => String::new(),
        id => format!("from {id}\n"),
    };
    write!(
        import.stdin.take().unwrap(),
        "commit refs/heads/{branch}\ncommitter x <x@example.org> 0 +0000\ndata {length}\n{text}\n{from}M 644 inline f\ndata {length}\n{text}\n"
    )
    .unwrap();
    assert!(import.wait().unwrap().success());
    git_line(&["rev-parse", &format!("refs/heads/{branch}")], repository)
}

fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The id of a snapshot, computed by another program from what git shows.
fn by_python(repository: &Path) -> String {
    const PROGRAM: &str = r#"
import hashlib, subprocess, sys
def git(*args):
    return subprocess.run(["git", *args], cwd=sys.argv[1], check=True, capture_output=True).stdout
word = {b"commit": b"revision", b"tag": b"release", b"tree": b"directory", b"blob": b"content"}
branches = {}
for line in git("ls-remote", "--symref", sys.argv[1]).splitlines():
    value, name = line.split(b"\t")
    if name.endswith(b"^{}") or name.startswith((b"refs/changes/", b"refs/pipelines/")):
        continue
    if name.startswith((b"refs/pull/", b"refs/merge-requests/")) and name.endswith(b"/merge"):
        continue
    if value.startswith(b"ref: "):
        branches[name] = (b"alias", value[5:])
    elif name not in branches:
        kind = git("cat-file", "-t", value.decode()).strip()
        branches[name] = (word[kind], bytes.fromhex(value.decode()))
for kind, target in list(branches.values()):
    if kind == b"alias":
        branches.setdefault(target, (b"dangling", b""))
manifest = b"".join(
    kind + b" " + name + b"\0" + str(len(target)).encode() + b":" + target
    for name, (kind, target) in sorted(branches.items()))
print(hashlib.sha1(b"snapshot %d\0" % len(manifest) + manifest).hexdigest())
"#;
    let output = Command::new("python3").args(["-c", PROGRAM]).arg(repository).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The snapshot that a visit printed.
fn snapshot(words: &str) -> String {
    let swhid =
        words.split_whitespace().find(|word| word.starts_with("swh:1:snp:")).unwrap_or_else(|| panic!("{words}"));
    swhid.trim_start_matches("swh:1:snp:").to_owned()
}

fn escaped(url: &str) -> String {
    url.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

fn resolve(server: &Server, url: &str, reference: &str) -> Value {
    let answer = server.get(&format!("/vault/resolve?origin={}&ref={}", escaped(url), escaped(reference)));
    assert_eq!(answer.status, 200, "{reference}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

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

fn mirror(data: &Path) -> PathBuf {
    let entries = std::fs::read_dir(data.join("origins")).unwrap().flatten();
    entries.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap()
}

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
    let deadline = Instant::now() + Duration::from_mins(1);
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

#[test]
fn what_the_settings_do_not_allow_is_refused() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = file_url(&repository);
    let plain = |args: &[&str]| command(data.path(), args).output().unwrap();
    let words = refused(&plain(&["add", &url]));
    assert!(words.contains("origin_transports"), "{words}");
    for url in ["ext::sh -c true", "https://me:secret@example.org/x", "-x", "/srv/x.git", "ssh://-oProxyCommand=x/y"] {
        let output = plain(&["add", "--", url]);
        let words = refused(&output);
        assert!(!words.contains("secret"), "{words}");
    }
    // Allowed once, and no longer.
    ok(&origin(data.path(), &["add", &url]));
    assert!(refused(&plain(&["visit", &url])).contains("origin_transports"));
    let private = "https://127.0.0.1:1/x.git";
    ok(&plain(&["add", private]));
    let words = refused(&plain(&["visit", private]));
    assert!(words.contains("origin_private"), "{words}");
}

#[test]
fn a_server_that_stalls_is_left_after_the_timeout_and_nothing_goes_on() {
    let data = TempDir::new().unwrap();
    let server = Stalling::start();
    let url = format!("http://127.0.0.1:{}/r.git", server.port);
    ok(&origin(data.path(), &["add", &url]));
    let words = refused(&command(data.path(), &["visit", &url, "--origin-timeout", "1s"]).args(HERE).output().unwrap());
    assert!(words.contains("origin_timeout"), "{words}");
    assert!(server.is_left(), "git goes on");
}

#[test]
fn branches_without_end_are_given_up_on() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let http = GitHttp::start(folder.path());
    let url = format!("http://127.0.0.1:{}/endless/r.git", http.port);
    ok(&origin(data.path(), &["add", &url]));
    let words = refused(&command(data.path(), &["visit", &url, "--origin-timeout", "3s"]).args(HERE).output().unwrap());
    assert!(words.contains("failed"), "{words}");
    assert!(ok(&origin(data.path(), &["list"])).contains("no snapshot"));
}

#[test]
fn a_mirror_that_grows_too_large_is_stopped_and_the_next_visit_works() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let noise: String = (0..200_000_u32).map(|n| blake3::hash(&n.to_le_bytes()).to_hex().to_string()).collect();
    commit(&repository, "large", &noise);
    let url = file_url(&repository);
    ok(&origin(data.path(), &["add", &url]));
    let small = command(data.path(), &["visit", &url, "--origin-max-size", "1MiB"]).args(HERE).output().unwrap();
    let words = refused(&small);
    assert!(words.contains("origin_max_size"), "{words}");
    let visited = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&visited), by_python(&repository));
}

#[test]
fn a_visit_that_was_killed_is_made_good_by_the_next() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let http = GitHttp::start(folder.path());
    let url = format!("http://127.0.0.1:{}/slow/r.git", http.port);
    ok(&origin(data.path(), &["add", &url]));
    let mut visit = command(data.path(), &["visit", &url]).args(HERE).stdout(Stdio::null()).spawn().unwrap();
    // Its git is in the midst of an answer.
    http.wait_for_slow();
    assert!(ok(&origin(data.path(), &["visit", &url])).contains("already"), "one visit at a time");
    visit.kill().unwrap();
    visit.wait().unwrap();
    let mirror = mirror(data.path());
    std::fs::write(mirror.join("packed-refs.lock"), "").unwrap();
    std::fs::write(mirror.join("objects/pack/tmp_pack_x"), "half").unwrap();
    http.hurry();
    let visited = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&visited), by_python(&repository));
    assert!(!mirror.join("objects/pack/tmp_pack_x").exists());
}

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
    let deadline = Instant::now() + Duration::from_mins(1);
    while server.get(&format!("/origins?url={}", escaped(url))).json()["origin"]["snapshot"] == changed["snapshot"] {
        assert!(Instant::now() < deadline, "the new branches were never seen");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(server.get(&format!("/vault/resolve?origin={}&ref=gone", escaped(url))).status, 404, "it dangles");
    assert_eq!(server.get(&format!("/vault/resolve?origin={}&ref=broken", escaped(url))).status, 404);
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
fn wait(server: &Server, url: &str, id: &str) -> Value {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let body = server.get(&format!("/origins?url={}", escaped(url))).json();
        if body["origin"]["snapshot"]["id"] == id {
            return body["origin"].clone();
        }
        assert!(Instant::now() < deadline, "{id} was never taken: {body}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
