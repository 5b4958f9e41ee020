//! `larder get` against real servers and one that misbehaves: what it takes under a bundle's name is
//! that bundle, whatever the network and the server do.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod kitchen;
mod proxy;

use crate::common::contents::{Contents, repository};
use crate::common::fixtures::{Fixture, FixtureId, fixture};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::site::Site;
use crate::common::{git_command, git_line, tree};
use kitchen::{Kitchen, answer};
use larder::get::{GetError, Got, Order, Patience, Target, get};
use larder::key::ObjectKind;
use proxy::{Act, Proxy};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

fn larder(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("get").args(args).current_dir(folder).stdin(Stdio::null());
    command.env_remove("LARDER_CONFIG").env_remove("LARDER_SERVER").env("NO_PROXY", "*");
    command
}

fn run(args: &[&str], folder: &Path) -> (i32, Output) {
    let output = larder(args, folder).output().unwrap();
    (output.status.code().expect("it was not killed"), output)
}

/// Those of a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn any(fixture: &Fixture, kind: ObjectKind) -> FixtureId {
    fixture.cookable().find(|id| id.kind == kind).expect("the fixture has one").clone()
}

fn hurried() -> Patience {
    Patience { attempts: 5, pause: Duration::from_millis(10), read: Duration::from_secs(1), ..Patience::default() }
}

/// Gets it in this process, by way of `address`.
fn try_to_get(address: &str, key: &str, file: &Path, patience: Patience) -> Result<Got, GetError> {
    let target = Target::parse(&format!("http://{address}/vault/{key}"), None, None).unwrap();
    let order = Order { target, file: Some(file.to_owned()), folder: None, verify: true, patience };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(get(&order, &|_| {}))
}

#[test]
fn every_kind_is_cooked_followed_got_and_verified_with_and_without_nginx() {
    let site = Site::open("larder.conf", &[], |_| {});
    let fixture = fixture("plain");
    for kind in [ObjectKind::Directory, ObjectKind::Revision, ObjectKind::Release] {
        let id = any(&fixture, kind);
        for address in [&site.address, &site.larder().address] {
            for ext in ["tar.gz", "tar"] {
                let folder = TempDir::new().unwrap();
                let swhid = format!("swh:1:{}:{}", kind.swhid_type(), id.id);
                let server = format!("http://{address}");
                let (code, output) = run(&[&swhid, "--server", &server, "--format", ext, "--json"], folder.path());
                assert_eq!(code, 0, "{swhid} {ext}: {}", String::from_utf8_lossy(&output.stderr));
                let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!((report["verified"].as_bool(), report["swhid"].as_str()), (Some(true), Some(&swhid[..])));
                let name = format!("swh_1_{}_{}.{ext}", kind.swhid_type(), id.id);
                assert_eq!(names(folder.path()), [name.as_str()], "nothing else lies there");
                let sent = site.get(&format!("/vault/{kind}/{}.{ext}", id.id)).body;
                assert_eq!(fs::read(folder.path().join(name)).unwrap(), sent);
            }
        }
    }
}

#[test]
fn a_name_that_the_url_says_is_that_of_the_file() {
    let (fixture, data, folder) = (fixture("plain"), TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let id = any(&fixture, ObjectKind::Directory);
    let url = format!("http://{}/vault/directory/{}.zip", server.address, id.id);
    let (code, output) = run(&[&format!("{url}?filename=plain-1.0.zip")], folder.path());
    assert_eq!(code, 0, "{output:?}");
    assert_eq!(names(folder.path()), ["plain-1.0.zip"]);
    let (code, output) = run(&[&format!("{url}?filename=../x.zip")], folder.path());
    assert_eq!(code, 2, "{output:?}");
    // What -o says goes before it.
    assert_eq!(run(&[&format!("{url}?filename=plain-2.0.zip"), "-o", "other.zip"], folder.path()).0, 0);
    assert_eq!(names(folder.path()), ["other.zip", "plain-1.0.zip"]);
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let site = Site::open("larder.conf", &[], |_| {});
    let url = format!("https://{}/vault/directory/{}", site.tls, any(&fixture("plain"), ObjectKind::Directory).id);
    let folder = TempDir::new().unwrap();
    let (code, output) = run(&[&url, "-o", "x", "--attempts=3"], folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(code == 6 && said.contains("certificate") && !said.contains("again in"), "{code} {said}");
    let mut trusting = larder(&[&url, "-o", "x"], folder.path());
    let output = trusting.env("SSL_CERT_FILE", site.authority()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Or told so for this once: by the authority's certificate, not by another's nor by what is none.
    let cacert = |file: &Path| run(&[&url, "-o", "y", "--cacert", file.to_str().unwrap()], folder.path());
    let key = site.authority().with_file_name("key.pem");
    for (file, expected, words) in [
        (site.authority().with_file_name("other.pem"), 6, "certificate"),
        (key, 1, "key.pem: there is no PEM certificate in it"),
        (folder.path().join("none"), 1, "none: No such file"),
    ] {
        let (code, output) = cacert(&file);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(code == expected && said.contains(words) && !said.contains("again in"), "{code} {said}");
    }
    let (code, output) = cacert(&site.authority());
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(names(folder.path()), ["x", "y"]);
}

#[test]
fn events_come_through_nginx_as_they_are_said() {
    let mut revision = String::new();
    let site = Site::open("larder.conf", &["--cook-threads", "1"], |folder| {
        revision = repository(folder, "slow.git", (8, 4 << 20), Contents::Letters).0;
    });
    let folder = TempDir::new().unwrap();
    let url = format!("http://{}/vault/revision/{revision}", site.address);
    let (code, output) = run(&[&url, "--extract", "out"], folder.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("cooking: cooking"), "progress was seen before the end: {said}");
    assert_eq!(names(folder.path()), ["out"]);
    assert_eq!(names(&folder.path().join("out")).len(), 8);
}

#[test]
fn a_download_that_is_cut_again_and_again_is_put_together() {
    let kitchen = Kitchen::open();
    let proxy = Proxy::start(&kitchen.server.address, |_, number| match number % 4 {
        _ if number > 24 => Act::Pass,
        // In the head, a byte behind it, in the midst, and at a place that is no boundary of anything.
        0 => Act::Cut(1 + number * 7),
        1 => Act::Cut(150_001 + number),
        2 => Act::Cut(300_007 + number * 13),
        _ => Act::Cut(70_000 + 65_536),
    });
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("x.tar.gz");
    try_to_get(&proxy.address, &kitchen.key, &file, hurried()).unwrap();
    assert!(fs::read(&file).unwrap() == kitchen.bundle);
    assert_eq!(names(folder.path()), ["x.tar.gz"]);
    let heads = proxy.heads();
    assert!(heads.len() > 8, "{}", heads.len());
    assert!(heads.iter().filter(|head| head.contains("range: bytes=")).count() > 5);
    assert!(heads.iter().all(|head| head.contains("range: bytes=") == head.contains("if-range: \"")), "{heads:?}");
}

#[test]
fn whatever_a_server_does_once_the_bundle_comes_in_the_end() {
    let kitchen = Kitchen::open();
    let size = kitchen.bundle.len();
    let half = size / 2;
    let first_half =
        |etag: &str, bytes: &[u8]| answer("200 OK", &format!("etag: {etag}\r\ncontent-length: {size}"), bytes);
    let piece = |etag: &str, from: usize, total: usize| {
        let fields = format!(
            "etag: {etag}\r\ncontent-range: bytes {from}-{}/{total}\r\ncontent-length: {}",
            total - 1,
            total - from
        );
        answer("206 Partial Content", &fields, &vec![b'?'; total - from])
    };
    let wrong = vec![b'x'; half];
    let say = |bytes: &[u8]| Act::Say(bytes.to_vec());
    let cases: Vec<(&str, Vec<Act>)> = vec![
        ("another ETag: the whole comes", vec![say(&first_half("\"a\"", &wrong))]),
        ("no ETag at all", vec![say(&answer("200 OK", &format!("content-length: {size}"), &wrong))]),
        ("a weak ETag", vec![say(&first_half("W/\"a\"", &wrong))]),
        ("a piece from elsewhere", vec![say(&first_half("\"a\"", &wrong)), say(&piece("\"a\"", half - 1, size))]),
        ("a piece of another", vec![say(&first_half("\"a\"", &wrong)), say(&piece("\"b\"", half, size))]),
        (
            "a piece without end",
            vec![say(&first_half("\"a\"", &wrong)), say(&answer("206 x", "content-range: bytes */*", b""))],
        ),
        ("a patched whole of wrong bytes", vec![say(&first_half("\"a\"", &wrong)), say(&piece("\"a\"", half, size))]),
        (
            "416",
            vec![
                say(&first_half("\"a\"", &wrong)),
                say(&answer("416 x", "content-range: bytes */3\r\ncontent-length: 0", b"")),
            ],
        ),
        (
            "500 and 503",
            vec![
                say(&answer("500 x", "content-length: 0", b"")),
                say(&answer("503 x", "retry-after: 0\r\ncontent-length: 0", b"")),
            ],
        ),
        ("429 with a time", vec![say(&answer("429 x", "retry-after: 1\r\ncontent-length: 0", b""))]),
        ("garbage", vec![say(b"\x16\x03\x01\0\0\0\0"), say(b"HTTP/1.1 200\0\r\n\r\n")]),
        ("silence", vec![Act::Silence]),
        ("nothing", vec![say(b"")]),
        (
            "a redirect",
            vec![say(&answer(
                "307 x",
                &format!("location: http://{}/vault/{}\r\ncontent-length: 0", kitchen.server.address, kitchen.key),
                b"",
            ))],
        ),
    ];
    for (what, acts) in cases {
        let proxy =
            Proxy::start(&kitchen.server.address, move |_, number| acts.get(number).cloned().unwrap_or(Act::Pass));
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("x.tar.gz");
        let got = try_to_get(&proxy.address, &kitchen.key, &file, hurried());
        assert!(got.is_ok(), "{what}: {got:?}");
        assert!(fs::read(&file).unwrap() == kitchen.bundle, "{what}");
        assert_eq!(names(folder.path()), ["x.tar.gz"], "{what}");
    }
}

#[test]
fn a_server_that_always_misbehaves_gets_nothing_under_the_final_name() {
    let kitchen = Kitchen::open();
    let size = kitchen.bundle.len();
    let endless = answer(
        "200 OK",
        "transfer-encoding: chunked",
        &[b"100000\r\n".to_vec(), vec![0; 1 << 20], b"\r\n".to_vec()].concat().repeat(8),
    );
    let circle = answer("302 x", &format!("location: /vault/{}\r\ncontent-length: 0", kitchen.key), b"");
    let huge = answer("200 OK", "content-length: 99999999999999", b"x");
    let encoded = answer("200 OK", "content-encoding: gzip\r\ncontent-length: 1", b"x");
    let long = answer("200 OK", &format!("content-length: {}", size + 7), &[&kitchen.bundle[..], b"garbage"].concat());
    let cases: Vec<(&str, Act, &str)> = vec![
        ("wrong bytes", Act::Flip(size / 3), "verify"),
        ("bytes behind the end", Act::Say(long), "verify"),
        ("an endless body", Act::Say(endless), "network"),
        ("a circle of redirects", Act::Say(circle), "network"),
        ("more than may be", Act::Say(huge), "refused"),
        ("an encoding", Act::Say(encoded), "network"),
        ("silence", Act::Silence, "network"),
        ("500", Act::Say(answer("500 x", "content-length: 0", b"")), "network"),
        ("451", Act::Say(answer("451 x", "content-length: 0", b"")), "blocked"),
        ("403", Act::Say(answer("403 x", "content-length: 0", b"")), "refused"),
    ];
    for (what, act, expected) in cases {
        let proxy =
            Proxy::start(
                &kitchen.server.address,
                move |head, _| {
                    if head.starts_with("GET") { act.clone() } else { Act::Pass }
                },
            );
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("x.tar.gz");
        let patience = Patience { max_size: 6 << 20, attempts: 2, read: Duration::from_millis(300), ..hurried() };
        let error = try_to_get(&proxy.address, &kitchen.key, &file, patience).expect_err(what);
        let kind = match &error {
            GetError::Verify { kept, .. } => {
                assert_eq!(kept, &folder.path().join("x.tar.gz.bad"));
                assert_eq!(names(folder.path()), ["x.tar.gz.bad"], "{what}");
                "verify"
            }
            GetError::Network(_) => "network",
            GetError::Refused(_) => "refused",
            GetError::Blocked(_) => "blocked",
            _ => "other",
        };
        assert_eq!(kind, expected, "{what}: {error}");
        assert!(!file.exists(), "{what}");
    }
}

#[test]
fn what_there_is_not_what_fails_and_what_is_wrong_have_exit_codes_of_their_own() {
    let hostile = fixture("hostile/trees");
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[&hostile.path], &[]);
    let bad = hostile.ids.iter().find(|id| id.expect.as_deref() == Some("hostile-tree")).unwrap();
    let folder = TempDir::new().unwrap();
    let url = |id: &str| format!("http://{}/vault/directory/{id}.tar.gz", server.address);
    let failed = url(&bad.id.to_string());
    let cases = [
        (vec![url("0000000000000000000000000000000000000001")], 3),
        (vec![failed.clone()], 4),
        (vec!["swh:1:dir:0000000000000000000000000000000000000001".to_owned()], 2),
        (vec![format!("http://{}/", server.address)], 2),
        (vec![failed, "-o".to_owned(), "no/such/folder/x".to_owned()], 1),
        (
            vec![
                "http://127.0.0.1:1/vault/directory/0000000000000000000000000000000000000001".to_owned(),
                "--attempts=1".to_owned(),
            ],
            6,
        ),
    ];
    for (args, expected) in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, output) = run(&args, folder.path());
        assert_eq!(code, expected, "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let blocked =
        Proxy::start(&server.address, |_, _| Act::Say(b"HTTP/1.1 451 x\r\ncontent-length: 0\r\n\r\n".to_vec()));
    let id = bad.id.to_string();
    assert_eq!(run(&[&format!("http://{}/vault/directory/{id}", blocked.address)], folder.path()).0, 7);
    let lying = Proxy::start(&server.address, |_, _| {
        Act::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlies".to_vec())
    });
    assert_eq!(run(&[&format!("http://{}/vault/directory/{id}", lying.address)], folder.path()).0, 5);
    assert_eq!(names(folder.path()).iter().filter(|name| !name.contains(".part") && !name.contains(".bad")).count(), 0);
}

#[test]
fn without_events_the_status_is_asked_for() {
    let fixture = fixture("plain");
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let id = any(&fixture, ObjectKind::Revision).id;
    let pending = br#"{"status":"pending","progress":{"message":"x\u001b[2J","done":1,"total":null}}"#;
    let json =
        answer("200 OK", &format!("content-type: application/json\r\ncontent-length: {}", pending.len()), pending);
    let proxy = Proxy::start(&server.address, move |head, _| {
        if head.contains("text/event-stream") { Act::Say(json.clone()) } else { Act::Pass }
    });
    let folder = TempDir::new().unwrap();
    try_to_get(&proxy.address, &format!("revision/{id}.tar"), &folder.path().join("x"), hurried()).unwrap();
    let polled =
        proxy.heads().iter().filter(|head| head.contains("/status ") && head.contains("prefer: wait=")).count();
    assert!(polled > 0, "{:?}", proxy.heads());
}

#[test]
fn extracting_gives_the_tree_that_git_has() {
    let fixture = fixture("modes");
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    for id in fixture.cookable().filter(|id| id.kind != ObjectKind::Content) {
        let repository = holder(&fixture, &id.id.to_string());
        for ext in ["tar.gz", "tar"] {
            let folder = TempDir::new().unwrap();
            let url = format!("http://{}/vault/{}/{}.{ext}", server.address, id.kind, id.id);
            let (code, output) = run(&[&url, "--extract", "out", "-q"], folder.path());
            assert_eq!(code, 0, "{}: {}", id.name, String::from_utf8_lossy(&output.stderr));
            assert_eq!(names(folder.path()), ["out"], "the bundle was not to be kept");
            let tree_id = git_line(&["rev-parse", &format!("{}^{{}}", id.id)], &repository);
            if git_line(&["cat-file", "-t", &tree_id], &repository) != "blob" {
                let expected = tree::of_git(&repository, &tree_id);
                tree::assert_equal(&tree::on_disk(&folder.path().join("out")), &expected, &id.name);
            }
            let (again, output) = run(&[&url, "--extract", "out", "-q"], folder.path());
            let is_empty = fs::read_dir(folder.path().join("out")).unwrap().next().is_none();
            assert_eq!(again, i32::from(!is_empty), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The repository of a fixture that has an object.
fn holder(fixture: &Fixture, id: &str) -> PathBuf {
    let has = |repository: &PathBuf| {
        git_command(repository).args(["cat-file", "-e", id]).stderr(Stdio::null()).status().unwrap().success()
    };
    fixture.repositories().into_iter().find(has).expect("one of them has it")
}

#[test]
fn a_run_after_a_kill_goes_on_where_the_first_was() {
    let kitchen = Kitchen::open();
    let proxy =
        Proxy::start(&kitchen.server.address, |_, number| if number == 0 { Act::Trickle(4096) } else { Act::Pass });
    let folder = TempDir::new().unwrap();
    let url = format!("http://{}/vault/{}", proxy.address, kitchen.key);
    let part = folder.path().join("x.tar.gz.part");
    let mut first = larder(&[&url, "-o", "x.tar.gz", "-q"], folder.path()).start().unwrap();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 100_000 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(first.try_wait().unwrap().is_none(), "it is slow enough to be killed");
    }
    let (code, _) = run(&[&url, "-o", "x.tar.gz", "-q"], folder.path());
    assert_eq!(code, 1, "two at once do not write one file");
    first.kill().unwrap();
    first.wait().unwrap();
    let (code, output) = run(&[&url, "-o", "x.tar.gz", "--json"], folder.path());
    assert_eq!(code, 0, "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["resumed_from"].as_u64().unwrap() >= 100_000, "{report}");
    assert!(fs::read(folder.path().join("x.tar.gz")).unwrap() == kitchen.bundle);
    assert_eq!(names(folder.path()), ["x.tar.gz"]);
    let (code, output) = run(&[&url, "-o", "-", "-q"], folder.path());
    assert!(code == 0 && output.stdout == kitchen.bundle, "standard output has it too");
}
