//! larder as it is meant to run: a real nginx from the files in `nginx/`, a real larder behind it,
//! two users. What is there comes from nginx alone, everything else from larder, and a client cannot
//! tell which of them it was.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod api;
mod pins;

use crate::common::client::Answer;
use crate::common::fixtures::fixture;
use crate::common::process::Start as _;
use crate::common::site::Site;
use crate::common::{git_command, git_line};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

const SITES: [&str; 2] = ["larder.conf", "larder-unix.conf"];

/// The headers of a bundle that must not depend on who sends it.
const HEADERS: [&str; 9] = [
    "content-type",
    "content-length",
    "content-range",
    "etag",
    "last-modified",
    "accept-ranges",
    "x-content-type-options",
    "content-disposition",
    "cache-control",
];

#[test]
fn what_is_there_comes_from_nginx_and_the_rest_from_larder() {
    for name in SITES {
        let site = Site::open(name, &[], |_| {});
        let target = format!("/vault/{}", any("directory"));

        let missed = site.get(&target);
        assert_eq!((missed.status, missed.header("cache-control")), (404, Some("no-store")), "{name}");
        assert_eq!(missed.json()["links"]["cook"], format!("http://{}{target}.tar.gz", site.address));
        site.cook(&any("directory"));

        let asked = site.asked_of_larder();
        assert!(asked >= 2, "{name}: larder logs what it answers");
        let whole = site.get(&target);
        assert_eq!(whole.status, 200);
        let id = larder::verify::flat_tar_gz(&whole.body[..]).unwrap();
        assert!(target.ends_with(&id.to_string()));
        let head = site.send("HEAD", &format!("{target}.tar.gz"), &[]);
        assert_eq!((head.status, described(&head)), (200, described(&whole)));
        let part = site.send("GET", &target, &[("Range", "bytes=2-5")]);
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[2..6]));
        let etag = whole.header("etag").unwrap();
        assert_eq!(site.send("GET", &target, &[("If-None-Match", etag)]).status, 304);
        assert_eq!(site.asked_of_larder(), asked, "{name}: larder was not asked for what is there");
        assert_eq!(site.hits_logged().len(), 4, "{name}: {:?}", site.hits_logged());

        let again = site.send("POST", &target, &[]);
        assert_eq!((again.status, again.json()["status"].as_str()), (201, Some("done")), "{name}");
        assert_eq!(again.header("location"), Some(format!("http://{}{target}.tar.gz", site.address).as_str()));
        for method in ["DELETE", "PUT", "PATCH", "OPTIONS"] {
            let refused = site.send(method, &target, &[]);
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, POST")), "{method}");
            assert_eq!(refused.json()["code"], "method_not_allowed");
        }
        let listed = site.get("/vault/directory?limit=5");
        assert_eq!(listed.json()["bundles"][0]["links"]["bundle"], format!("http://{}{target}.tar.gz", site.address));
        assert_eq!(site.get(&format!("{target}/status")).json()["status"], "done");
        assert_eq!(site.get("/healthz").body, b"ok\n");
        assert_eq!(site.asked_of_larder(), asked + 8, "{name}: larder was asked for the rest");
        assert_eq!(site.hits_logged().len(), 4, "{name}: and nginx logged none of it");
    }
}

#[test]
fn a_bundle_is_described_alike_by_both() {
    let site = Site::open("larder.conf", &[], |_| {});
    for kind in ["directory", "revision", "release"] {
        for ext in ["", ".tar.gz", ".tar"] {
            let target = site.cook(&format!("{}{ext}", any(kind)));
            let asked = site.asked_of_larder();
            let from_nginx = requests().map(|(method, headers)| site.send(method, &target, headers));
            assert_eq!(site.asked_of_larder(), asked, "{target} came from nginx");
            let from_larder = requests().map(|(method, headers)| site.larder().send(method, &target, headers));
            for ((one, other), request) in from_nginx.iter().zip(&from_larder).zip(requests()) {
                assert_eq!(one.status, other.status, "{target} {request:?}");
                assert_eq!(described(one), described(other), "{target} {request:?}");
                assert_eq!(one.body, other.body, "{target} {request:?}");
            }
        }
    }
}

#[test]
fn a_content_has_the_name_and_the_type_that_its_url_asks_for() {
    let mut id = String::new();
    let site = Site::open("larder.conf", &[], |git| {
        crate::common::git(&["init", "-q", "--bare", "one.git"], git);
        id = piped(&git.join("one.git"), &["hash-object", "-w", "--stdin"], b"more than a few bytes of an archive");
    });
    let content = site.cook(&format!("content/{id}"));
    for (query, media_type) in [
        ("", "application/octet-stream"),
        ("?filename=ash-3d11.tar.gz&type=application/x-gzip", "application/x-gzip"),
        ("?type=application/zip", "application/zip"),
        ("?type=application/octet-stream", "application/octet-stream"),
        ("?type=text/html", "application/octet-stream"),
        ("?type=application/zip%0A", "application/octet-stream"),
        ("?type=application/zipp", "application/octet-stream"),
    ] {
        let target = format!("{content}{query}");
        let asked = site.asked_of_larder();
        let from_nginx = requests().map(|(method, headers)| site.send(method, &target, headers));
        let fresh = site.send("GET", &target, &[("If-None-Match", from_nginx[0].header("etag").unwrap())]);
        assert_eq!((fresh.status, fresh.header("content-type")), (304, None), "{target}");
        let parts = site.send("GET", &target, &[("Range", "bytes=0-0,3-3")]);
        let kinds: Vec<_> =
            parts.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type")).collect();
        assert!(kinds.len() == 1 && kinds[0].1.starts_with("multipart/byteranges"), "{target}: {kinds:?}");
        assert_eq!(site.asked_of_larder(), asked, "{target} came from nginx");
        for (one, request) in from_nginx.iter().zip(requests()) {
            let other = site.larder().send(request.0, &target, request.1);
            assert_eq!((one.status, described(one)), (other.status, described(&other)), "{target} {request:?}");
            assert_eq!(one.header("content-type"), Some(media_type), "{target} {request:?}");
        }
    }
}

/// Requests that both answer alike; `nginx_oracle` has those that differ.
fn requests() -> [(&'static str, &'static [(&'static str, &'static str)]); 5] {
    [
        ("GET", &[]),
        ("HEAD", &[]),
        ("GET", &[("Range", "bytes=0-9")]),
        ("GET", &[("Range", "bytes=-7")]),
        ("GET", &[("Accept-Encoding", "gzip")]),
    ]
}

#[test]
fn what_is_no_name_of_a_bundle_reaches_larder_and_no_file() {
    let site = Site::open("larder.conf", &[], |_| {});
    let target = site.cook(&any("directory"));
    let id = target.rsplit('/').next().unwrap();
    for (path, status) in [
        (format!("/vault/directory/{}", id.to_uppercase()), 308),
        (format!("/vault/tree/{id}.tgz"), 308),
        (format!("/vault/swh:1:dir:{id};path=/x"), 308),
        (format!("{target}?filename=a%22b"), 400),
        (format!("{target}?filename=x&y"), 400),
        (format!("{target}?y"), 400),
        (format!("/vault/directory/{id}%0A"), 400),
        (format!("/vault/directory/{id}.tar.gz%0A"), 400),
        (format!("/vault/directory/{id}.tar.gz.sig"), 400),
        (format!("/vault/directory/{id}.rar"), 400),
        (format!("/vault/directory/{}", &id[1..]), 400),
        (format!("/vault/snapshot/{id}.tar.gz"), 400),
        (format!("/vault/tmp/{id}.tar.gz"), 400),
        (format!("/vault//directory/{id}"), 404),
        (format!("/vault/revision/{id}"), 404),
        (format!("/bundles/v0/directory/{}/{}/{id}.tar.gz", &id[..2], &id[2..4]), 404),
        ("/vault/../catalogue.sqlite".to_owned(), 400),
    ] {
        let asked = site.asked_of_larder();
        assert_eq!(site.get(&path).status, status, "{path}");
        assert_eq!(site.asked_of_larder(), asked + 1, "{path}");
    }
    assert_eq!(site.hits_logged(), Vec::<String>::new());
}

#[test]
fn a_bundle_is_saved_under_the_same_name_by_both() {
    let site = Site::open("larder.conf", &[], |_| {});
    for key in [any("directory"), format!("{}.zip", any("revision"))] {
        let target = format!("{}?filename=project-1.0+x.tgz", site.cook(&key));
        let asked = site.asked_of_larder();
        let from_nginx = site.get(&target);
        assert_eq!(site.asked_of_larder(), asked, "{target} came from nginx");
        let from_larder = site.larder().get(&target);
        assert_eq!(from_nginx.header("content-disposition"), Some("attachment; filename=\"project-1.0+x.tgz\""));
        assert_eq!((from_nginx.status, described(&from_nginx)), (200, described(&from_larder)));
    }
}

#[test]
fn a_download_that_broke_off_at_nginx_goes_on_at_larder() {
    let site = Site::open("larder.conf", &[], |_| {});
    let target = site.cook(&format!("{}.tar", any("directory")));
    let whole = site.get(&target);
    let half = whole.body.len() / 2;
    let first = site.send("GET", &target, &[("Range", &format!("bytes=0-{}", half - 1))]);
    let if_range = first.header("etag").unwrap();
    let range = format!("bytes={half}-");
    let rest = site.larder().send("GET", &target, &[("Range", &range), ("If-Range", if_range)]);
    assert_eq!((first.status, rest.status), (206, 206));
    assert_eq!([first.body, rest.body].concat(), whole.body);
    let other = site.larder().send("GET", &target, &[("Range", &range), ("If-Range", "\"another\"")]);
    assert_eq!((other.status, other.body), (200, whole.body), "another file is sent whole");
}

#[test]
fn a_cook_under_way_is_waited_for_through_nginx() {
    let mut long = String::new();
    let site = Site::open("larder-unix.conf", &["--workers", "1"], |git| long = big_directory(git));
    // One worker: the small bundle waits behind the big one.
    assert_eq!(site.send("POST", &format!("/vault/directory/{long}"), &[]).status, 201);
    let target = format!("/vault/{}", any("directory"));
    assert_eq!(site.send("POST", &target, &[]).status, 201);
    let waited = site.send("GET", &target, &[("Prefer", "wait=60")]);
    assert_eq!((waited.status, waited.header("preference-applied")), (200, Some("wait=60")));
    let from_nginx = site.get(&target);
    assert_eq!(described(&waited), described(&from_nginx));
    assert_eq!(waited.body, from_nginx.body);
}

#[test]
fn downloads_outlive_a_reload_and_are_resumed_after_a_restart() {
    let mut id = String::new();
    let mut site = Site::open("larder.conf", &[], |git| id = big_directory(git));
    let target = site.cook(&format!("directory/{id}.tar"));
    let whole = site.larder().get(&target);

    let mut download = Download::begin(&site.address, &target);
    site.reload();
    assert_eq!(download.rest(), Ok(()), "a reload cuts no download");
    assert!(download.body() == whole.body, "the bytes are those of the bundle");

    let mut download = Download::begin(&site.address, &target);
    site.restart();
    let _ = download.rest();
    let so_far = download.body();
    assert!(so_far.len() < whole.body.len(), "the restart cut it");
    let headers = [("Range", &*format!("bytes={}-", so_far.len())), ("If-Range", whole.header("etag").unwrap())];
    let rest = site.send("GET", &target, &headers);
    assert_eq!(rest.status, 206);
    assert!([so_far, rest.body].concat() == whole.body, "the bytes are those of the bundle");
}

#[test]
fn without_larder_hits_are_served_and_the_rest_is_503() {
    let mut site = Site::open("larder.conf", &[], |_| {});
    let target = site.cook(&any("directory"));
    site.stop_larder();
    assert_eq!(site.get(&target).status, 200);
    for (method, path) in [("GET", "/vault/directory"), ("POST", &*target), ("GET", "/vault/directory/x")] {
        let answer = site.send(method, path, &[]);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("10")), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.json()["code"], "larder_unavailable");
    }
}

#[test]
fn what_nginx_refuses_it_refuses_in_larders_words() {
    let site = Site::open("larder.conf", &[], |_| {});
    let mut stream = TcpStream::connect(&site.address).unwrap();
    let target = site.cook(&any("directory"));
    write!(stream, "POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 65537\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"code\":\"body_too_large\""), "{answer}");

    // Orders are what is limited, and they come faster than twenty a second.
    let refused = (0..2000).map(|_| site.send("POST", "/", &[])).find(|answer| answer.status != 405).unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.json()["code"], "too_many_requests");
    assert_eq!(site.get("/").status, 200, "nothing else is");
}

#[test]
fn tls_and_http2_carry_the_same_bundle() {
    let site = Site::open("larder.conf", &[], |_| {});
    let target = site.cook(&any("directory"));
    let url = format!("https://{}{target}", site.tls);
    let output =
        Command::new("curl").args(["-sSk", "--http2", "-w", "%{stderr}%{http_version}", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "2");
    assert!(output.stdout == site.get(&target).body);
    let output = Command::new("curl").args(["-sSk", "--http2", "-X", "POST", "-d", "x", &url]).output().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["status"], "done");
}

#[test]
fn a_bundle_that_nginx_cannot_read_still_comes_from_larder() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let site = Site::open("larder.conf", &[], |_| {});
    let target = site.cook(&any("directory"));
    let from_nginx = site.get(&target);
    let asked = site.asked_of_larder();
    run_chmod("go-rx", &site.bundles());
    let from_larder = site.get(&target);
    assert_eq!(site.asked_of_larder(), asked + 1);
    assert_eq!((from_larder.status, &from_larder.body), (200, &from_nginx.body));
}

/// An object of `kind` in the fixture.
fn any(kind: &str) -> String {
    let fixture = fixture("plain");
    let id = fixture.cookable().find(|id| id.kind.as_str() == kind).expect("the fixture has one");
    format!("{kind}/{}", id.id)
}

fn described(answer: &Answer) -> Vec<(&'static str, Option<&str>)> {
    HEADERS.iter().map(|name| (*name, answer.header(name))).collect()
}

/// Makes a repository with one directory of 48 MB that nothing compresses, more than all buffers
/// between two programs; gives its id.
fn big_directory(folder: &Path) -> String {
    crate::common::git(&["init", "-q", "--bare", "big.git"], folder);
    let repository = folder.join("big.git");
    let mut random = crate::common::kitchenware::Random::new(11);
    let bytes: Vec<u8> = (0..6 << 20).flat_map(|_| random.next().to_be_bytes()).collect();
    let blob = piped(&repository, &["hash-object", "-w", "--stdin"], &bytes);
    let tree = piped(&repository, &["mktree"], format!("100644 blob {blob}\tbig\n").as_bytes());
    // A commit, so that the repository has a branch as others do.
    let commit = git_line(&["commit-tree", "-m", "big", &tree], &repository);
    crate::common::git(&["update-ref", "refs/heads/main", &commit], &repository);
    tree
}

fn piped(repository: &Path, args: &[&str], input: &[u8]) -> String {
    let mut git = git_command(repository).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
    git.stdin.take().unwrap().write_all(input).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn run_chmod(mode: &str, path: &Path) {
    assert!(Command::new("chmod").arg(mode).arg(path).status().unwrap().success());
}

/// A download whose first megabyte was read and whose rest nobody has asked for yet.
struct Download {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Download {
    fn begin(address: &str, target: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut bytes = vec![0; 1 << 20];
        stream.read_exact(&mut bytes).unwrap();
        Self { stream, bytes }
    }

    fn rest(&mut self) -> Result<(), std::io::ErrorKind> {
        self.stream.read_to_end(&mut self.bytes).map(drop).map_err(|error| error.kind())
    }

    fn body(&self) -> Vec<u8> {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        self.bytes[end + 4..].to_vec()
    }
}
