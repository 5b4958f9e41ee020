//! The `/vault` endpoints, through TCP, against a real `larder serve` over real repositories.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::{Fixture, fixture};
use crate::common::server::Server;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use tempfile::TempDir;

struct Vault {
    server: Server,
    fixture: Fixture,
    data: TempDir,
}

impl Vault {
    fn open(name: &str, flags: &[&str]) -> Self {
        let (fixture, data) = (fixture(name), TempDir::new().unwrap());
        let server = Server::start(data.path(), &[&fixture.path], flags);
        Self { server, fixture, data }
    }

    /// The name of some object of `kind`.
    fn any(&self, kind: &str) -> String {
        let id = self.fixture.cookable().find(|id| id.kind.as_str() == kind).expect("the fixture has one");
        format!("{kind}/{}", id.id)
    }

    fn file(&self, key: &str) -> PathBuf {
        let (kind, name) = key.split_once('/').unwrap();
        self.data.path().join("bundles/v0").join(kind).join(&name[..2]).join(&name[2..4]).join(name)
    }
}

#[test]
fn a_bundle_is_asked_for_cooked_and_fetched() {
    let vault = Vault::open("plain", &[]);
    let key = vault.any("directory");
    let target = format!("/vault/{key}");

    let before = vault.server.get(&target);
    assert_eq!(before.status, 404, "a GET never cooks");
    assert_eq!(before.json()["status"], serde_json::Value::Null);
    let cook = before.json()["links"]["cook"].as_str().unwrap().to_owned();
    assert_eq!(cook, format!("http://{}/vault/{key}.tar.gz", vault.server.address));
    assert_eq!(vault.server.get(&format!("{target}/status")).status, 404);

    let ordered = vault.server.post(&target);
    assert_eq!(ordered.status, 201);
    assert_eq!(ordered.header("location"), Some(cook.as_str()));
    assert_eq!(ordered.header("cache-control"), Some("no-store"));

    let status = vault.server.cook(&key);
    assert_eq!(status["status"], "done", "{status}");
    let bundle = vault.server.get(&target);
    assert_eq!(bundle.status, 200);
    assert_eq!(bundle.header("content-type"), Some("application/gzip"));
    assert_eq!(bundle.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(bundle.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(bundle.header("accept-ranges"), Some("bytes"));
    let id = key.split('/').nth(1).unwrap();
    let disposition = format!("attachment; filename=\"swh_1_dir_{id}.tar.gz\"");
    assert_eq!(bundle.header("content-disposition"), Some(disposition.as_str()));
    assert_eq!(status["size"], bundle.body.len());
    assert_eq!(status["blake3"], blake3::hash(&bundle.body).to_hex().to_string());
    assert_eq!(larder::verify::flat_tar_gz(&bundle.body[..]).unwrap().to_string(), id);

    let file = std::fs::metadata(vault.file(&format!("{key}.tar.gz"))).unwrap();
    assert_eq!(bundle.header("etag"), Some(format!("\"{:x}-{:x}\"", file.mtime(), file.size()).as_str()));
    let first = u32::from_be_bytes(blake3::hash(&bundle.body).as_bytes()[..4].try_into().unwrap()) >> 2;
    assert_eq!(file.mtime(), 315_532_800 + i64::from(first), "the mtime is that of the bytes");
    assert_eq!(file.permissions().mode() & 0o777, 0o444);
}

#[test]
fn asking_again_is_a_no_op_and_still_201() {
    let vault = Vault::open("plain", &[]);
    let key = vault.any("directory");
    let first = vault.server.cook(&key);
    let again = vault.server.post(&format!("/vault/{key}"));
    assert_eq!(again.status, 201);
    assert_eq!(again.json()["done_at"], first["done_at"]);
    assert_eq!(again.json()["status"], "done");
}

#[test]
fn conditional_and_range_requests_of_a_bundle_are_answered() {
    let vault = Vault::open("plain", &[]);
    let target = format!("/vault/{}", vault.any("directory"));
    vault.server.cook(&vault.any("directory"));
    let whole = vault.server.get(&target);
    let etag = whole.header("etag").unwrap();

    let cached = vault.server.send("GET", &target, &[("If-None-Match", etag)]);
    assert_eq!((cached.status, cached.body.len()), (304, 0));
    assert_eq!(vault.server.send("GET", &target, &[("If-Match", "\"other\"")]).status, 412);
    let part = vault.server.send("GET", &target, &[("Range", "bytes=10-19"), ("If-Range", etag)]);
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[10..20]));
    let outside = vault.server.send("GET", &target, &[("Range", "bytes=99999999-")]);
    assert_eq!(outside.status, 416);
    let head = vault.server.send("HEAD", &target, &[("Range", "bytes=0-1")]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), whole.header("content-length"));
}

#[test]
fn revision_and_release_are_other_names_of_their_directory() {
    let vault = Vault::open("tags", &[]);
    let release = vault.any("release");
    let status = vault.server.cook(&release);
    assert_eq!(status["status"], "done", "{status}");
    let bundle = vault.server.get(&format!("/vault/{release}"));
    let directory = format!("directory/{}", larder::verify::flat_tar_gz(&bundle.body[..]).unwrap());
    assert_eq!(vault.server.cook(&directory)["done_at"], status["done_at"], "it was cooked once, with the release");
    let inode = |key: &str| std::fs::metadata(vault.file(&format!("{key}.tar.gz"))).unwrap().ino();
    assert_eq!(inode(&release), inode(&directory), "one file with two names");

    let revision = vault.any("revision");
    vault.server.cook(&revision);
    let by_revision = vault.server.get(&format!("/vault/{revision}"));
    let of = format!("directory/{}", larder::verify::flat_tar_gz(&by_revision.body[..]).unwrap());
    assert_eq!(inode(&revision), inode(&of));
    let disposition = by_revision.header("content-disposition").unwrap();
    assert!(disposition.contains("swh_1_rev_"), "{disposition}");
}

#[test]
fn tar_is_the_stream_that_tar_gz_deflates() {
    let vault = Vault::open("sizes", &[]);
    let key = vault.any("directory");
    vault.server.cook(&key);
    vault.server.cook(&format!("{key}.tar"));
    let gz = vault.server.get(&format!("/vault/{key}.tar.gz"));
    let tar = vault.server.get(&format!("/vault/{key}.tar"));
    assert_eq!(tar.header("content-type"), Some("application/x-tar"));
    let mut inflated = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gz.body[..]), &mut inflated).unwrap();
    assert!(inflated == tar.body, "the two differ");
}

#[test]
fn prefer_wait_waits_for_the_cook_and_says_so() {
    let vault = Vault::open("sizes", &[]);
    let target = format!("/vault/{}", vault.any("directory"));
    let unasked = vault.server.send("GET", &target, &[("Prefer", "wait=60")]);
    assert_eq!(unasked.status, 404, "nothing is under way, so there is nothing to wait for");
    assert_eq!(vault.server.post(&target).status, 201);
    let waited = vault.server.send("GET", &target, &[("Prefer", "wait=60")]);
    assert_eq!(waited.status, 200);
}

#[test]
fn what_no_archive_has_is_404_and_forgotten_when_the_archive_changes() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = folder.path().join("r");
    std::fs::create_dir(&repository).unwrap();
    crate::common::git(&["init", "-q"], &repository);
    let server = Server::start(data.path(), &[folder.path()], &[]);
    std::fs::write(repository.join("f"), "1").unwrap();
    // The id that the tree will have, before it is there.
    crate::common::git(&["add", "f"], &repository);
    let directory = crate::common::git_line(&["write-tree"], &repository);
    let missing = format!("/vault/directory/{}", "1".repeat(40));
    for _ in 0..3 {
        let refused = server.post(&missing);
        assert_eq!(refused.status, 404);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(server.cook(&format!("directory/{directory}"))["status"], "done");

    let other = folder.path().join("later");
    std::fs::create_dir(&other).unwrap();
    crate::common::git(&["init", "-q"], &other);
    std::fs::write(other.join("g"), "2").unwrap();
    // A repository with the same objects elsewhere tells the id before it is there.
    let elsewhere = TempDir::new().unwrap();
    crate::common::git(&["init", "-q"], elsewhere.path());
    std::fs::write(elsewhere.path().join("g"), "2").unwrap();
    crate::common::git(&["add", "g"], elsewhere.path());
    let later = crate::common::git_line(&["write-tree"], elsewhere.path());
    assert_eq!(server.post(&format!("/vault/directory/{later}")).status, 404);
    crate::common::git(&["add", "g"], &other);
    assert_eq!(crate::common::git_line(&["write-tree"], &other), later);
    let key = format!("/vault/directory/{later}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(5);
    while server.post(&key).status != 201 {
        assert!(std::time::Instant::now() < deadline, "a repository that appears is found");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn a_revision_asked_for_as_a_directory_is_not_there() {
    let vault = Vault::open("plain", &[]);
    let revision = vault.any("revision");
    let id = revision.split('/').nth(1).unwrap();
    for kind in ["directory", "release", "content", "snapshot"] {
        let answer = vault.server.post(&format!("/vault/{kind}/{id}"));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("no_such_object")), "{kind}");
        let detail = format!("this is the id of a revision, not of a {kind}");
        assert_eq!((&answer.json()["detail"], &answer.json()["kind"]), (&detail.into(), &"revision".into()));
    }
    let proof = vault.server.get(&format!("/vault/release/{id}/proof"));
    assert_eq!((proof.status, proof.json()["kind"].as_str()), (404, Some("revision")));
    let nothing = vault.server.post(&format!("/vault/directory/{}", "1".repeat(40)));
    assert_eq!((nothing.status, nothing.json()["kind"].as_str()), (404, None));
}

#[test]
fn other_spellings_are_sent_on_to_the_one_that_larder_writes() {
    let vault = Vault::open("plain", &["--public-url", "https://example.org/x", "--root-path", "/larder"]);
    let key = vault.any("revision");
    let id = key.split('/').nth(1).unwrap();
    let capitals = id.to_uppercase();
    for (method, written, plain) in [
        ("GET", format!("swh:1:rev:{id}"), format!("revision/{id}")),
        ("POST", format!("swh:1:rev:{id}"), format!("revision/{id}")),
        ("POST", format!("swh:1:rev:{id};origin=https://e.org/a.b;path=/c"), format!("revision/{id}")),
        ("GET", format!("swh:1:rev:{id}.zip?filename=x.zip"), format!("revision/{id}.zip?filename=x.zip")),
        ("HEAD", format!("commit/{capitals}.tgz"), format!("revision/{id}.tar.gz")),
        ("GET", format!("revision/{capitals}/status"), format!("revision/{id}/status")),
    ] {
        let answer = vault.server.send(method, &format!("/larder/vault/{written}"), &[]);
        let there = format!("https://example.org/x/larder/vault/{plain}");
        assert_eq!((answer.status, answer.header("location")), (308, Some(there.as_str())), "{method} {written}");
    }
    let ordered = vault.server.post(&format!("/larder/vault/revision/{id}"));
    assert_eq!(ordered.status, 201, "and that one is answered");
}

#[test]
fn a_bundle_is_saved_under_the_name_that_the_url_says() {
    let vault = Vault::open("plain", &[]);
    let target = format!("/vault/{}", vault.any("revision"));
    let named = format!("{target}?filename=project-1.0+x_y.tar.gz");
    assert_eq!(vault.server.send("POST", &named, &[("Prefer", "wait=60")]).status, 201);
    vault.server.cook(&vault.any("revision"));
    for (method, headers) in [("GET", &[] as &[_]), ("HEAD", &[]), ("GET", &[("Range", "bytes=0-1")])] {
        let answer = vault.server.send(method, &named, headers);
        let disposition = answer.header("content-disposition");
        assert_eq!(disposition, Some("attachment; filename=\"project-1.0+x_y.tar.gz\""), "{method} {headers:?}");
    }
    for query in ["filename=", "filename=a%22b", "filename=../x", "filename=.x", "name=x", "filename=x&y=1", "x"] {
        let answer = vault.server.get(&format!("{target}?{query}"));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("malformed_query")), "{query}");
    }
    assert_eq!(vault.server.get(&format!("{target}?")).status, 200, "nothing is asked for");
}

#[test]
fn every_answer_in_json_ends_with_a_line_feed() {
    let vault = Vault::open("plain", &[]);
    let key = vault.any("directory");
    vault.server.cook(&key);
    for (method, target) in [
        ("GET", format!("/vault/{key}/status")),
        ("POST", format!("/vault/{key}")),
        ("GET", "/vault/directory".to_owned()),
        ("GET", "/origins".to_owned()),
        ("GET", "/origins?url=nothing".to_owned()),
        ("GET", "/vault/resolve?origin=nothing".to_owned()),
        ("GET", format!("/vault/directory/{}", "1".repeat(40))),
        ("POST", format!("/vault/directory/{}", "1".repeat(40))),
        ("GET", "/nothing".to_owned()),
        ("DELETE", format!("/vault/{key}")),
    ] {
        let answer = vault.server.send(method, &target, &[]);
        answer.json();
        assert!(answer.body.ends_with(b"}\n"), "{method} {target}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[test]
fn malformed_requests_are_refused_in_words_and_without_paths() {
    let vault = Vault::open("plain", &[]);
    let id = "1".repeat(40);
    for (method, target, status) in [
        ("GET", "/vault/directory/xyz".to_owned(), 400),
        ("GET", format!("/vault/trees/{id}"), 400),
        ("GET", format!("/vault/swh:1:dir:{id};path"), 400),
        ("GET", "/healthz?verbose".to_owned(), 400),
        ("POST", format!("/vault/directory/{id}.rar"), 400),
        ("POST", format!("/vault/content/{id}.tar"), 400),
        ("POST", format!("/vault/directory/{id}.raw"), 400),
        ("POST", format!("/vault/snapshot/{id}.zip"), 400),
        ("GET", "/vault/directory/..%2F..%2Fetc".to_owned(), 400),
        ("GET", "/vault/directory?limit=0".to_owned(), 400),
        ("GET", "/vault/directory?page=2".to_owned(), 400),
        ("GET", "/nothing".to_owned(), 404),
        ("DELETE", format!("/vault/directory/{id}"), 405),
        ("POST", "/healthz".to_owned(), 405),
    ] {
        let answer = vault.server.send(method, &target, &[]);
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {target}");
        assert_eq!(answer.json()["status"], status);
        let body = String::from_utf8(answer.body.clone()).unwrap();
        assert!(!body.contains(vault.data.path().to_str().unwrap()), "{body}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
}

#[test]
fn a_content_is_its_bytes_to_be_saved_and_not_shown() {
    let vault = Vault::open("plain", &[]);
    let repository = vault.fixture.repositories()[0].clone();
    let listed = String::from_utf8(crate::common::git(&["ls-tree", "-r", "HEAD"], &repository)).unwrap();
    let id = listed.lines().next().unwrap().split([' ', '\t']).nth(2).unwrap().to_owned();
    let key = format!("content/{id}");
    assert_eq!(vault.server.get(&format!("/vault/{key}")).status, 404);
    assert_eq!(vault.server.cook(&key)["status"], "done");
    for target in [format!("/vault/{key}"), format!("/vault/{key}.raw")] {
        let answer = vault.server.get(&target);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, crate::common::git(&["cat-file", "blob", &id], &repository));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let disposition = format!("attachment; filename=\"swh_1_cnt_{id}.raw\"");
        assert_eq!(answer.header("content-disposition"), Some(&disposition[..]));
    }
    assert_eq!(vault.server.post(&format!("/vault/content/{}", "1".repeat(40))).status, 404);
}

#[test]
fn the_list_pages_through_all_bundles_in_order_of_id() {
    let vault = Vault::open("sizes", &[]);
    let mut keys: Vec<String> = vault
        .fixture
        .cookable()
        .filter(|id| id.kind.as_str() == "directory")
        .flat_map(|id| [format!("directory/{}.tar.gz", id.id), format!("directory/{}.tar", id.id)])
        .collect();
    keys.sort_unstable();
    keys.dedup();
    for key in &keys {
        assert_eq!(vault.server.cook(key)["status"], "done");
    }
    let (mut listed, mut target) = (Vec::new(), "/vault/directory?limit=1".to_owned());
    loop {
        let page = vault.server.get(&target);
        assert_eq!(page.status, 200);
        let body = page.json();
        for bundle in body["bundles"].as_array().unwrap() {
            listed.push(format!(
                "{}/{}.{}",
                bundle["kind"].as_str().unwrap(),
                bundle["id"].as_str().unwrap(),
                bundle["format"].as_str().unwrap()
            ));
        }
        let Some(next) = body["links"]["next"].as_str() else { break };
        assert_eq!(page.header("link"), Some(format!("<{next}>; rel=\"next\"").as_str()));
        target = next.strip_prefix(&format!("http://{}", vault.server.address)).unwrap().to_owned();
    }
    let ids = |keys: &[String]| keys.iter().map(|key| key[..50].to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&listed), ids(&keys), "in order of id");
    listed.sort_unstable();
    assert_eq!(listed, keys, "each once");
    assert!(vault.server.get("/vault/release").json()["bundles"].as_array().unwrap().is_empty());
}

#[test]
fn a_bundle_deleted_by_hand_heals_and_is_cooked_to_the_same_bytes() {
    let vault = Vault::open("plain", &[]);
    let key = vault.any("directory");
    vault.server.cook(&key);
    let target = format!("/vault/{key}");
    let before = vault.server.get(&target);
    std::fs::remove_file(vault.file(&format!("{key}.tar.gz"))).unwrap();
    assert_eq!(vault.server.get(&target).status, 404);
    assert_ne!(vault.server.get(&format!("{target}/status")).json()["status"], "done");
    assert_eq!(vault.server.cook(&key)["status"], "done");
    let after = vault.server.get(&target);
    assert_eq!(after.body, before.body);
    assert_eq!(after.header("etag"), before.header("etag"));
}

#[test]
fn the_root_path_and_public_url_move_everything() {
    let vault = Vault::open("plain", &["--root-path", "/code", "--public-url", "https://example.org/"]);
    let key = vault.any("directory");
    assert_eq!(vault.server.get("/healthz").status, 404);
    assert_eq!(vault.server.get("/code/healthz").status, 200);
    assert_eq!(vault.server.post(&format!("/vault/{key}")).status, 404);
    let ordered = vault.server.post(&format!("/code/vault/{key}"));
    assert_eq!(ordered.status, 201);
    let location = format!("https://example.org/code/vault/{key}.tar.gz");
    assert_eq!(ordered.header("location"), Some(location.as_str()), "a Host header is not believed");
}

#[test]
fn sha_256_follows_behind_and_is_told_by_repr_digest() {
    let vault = Vault::open("plain", &[]);
    let key = vault.any("directory");
    vault.server.cook(&key);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(5);
    let status = loop {
        let status = vault.server.settled(&key);
        if status["sha256"].is_string() {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "the digest never came");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let bundle = vault.server.get(&format!("/vault/{key}"));
    let sha256: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(&bundle.body).into();
    let hex = larder::digest::hex(&sha256);
    assert_eq!(status["sha256"], hex);
    let digest = bundle.header("repr-digest").expect("it is known now");
    assert!(digest.starts_with("sha-256=:") && digest.ends_with("=:"), "{digest}");
}

#[test]
fn the_index_names_every_format_and_where_to_ask_for_origins() {
    let vault = Vault::open("plain", &[]);
    let text = String::from_utf8(vault.server.get("/").body).unwrap();
    for line in [
        "  content    raw",
        "  directory  tar.gz tar tar.zst zip git.tar",
        "  release    tar.gz tar tar.zst zip git.tar bundle gitfast.gz",
        "  snapshot   git.tar bundle gitfast.gz",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(text.contains(&format!("curl http://{}/origins\n", vault.server.address)), "{text}");
}

#[test]
fn health_readiness_and_robots_answer() {
    let vault = Vault::open("plain", &[]);
    assert_eq!(vault.server.get("/healthz").status, 200);
    assert_eq!(vault.server.get("/readyz").status, 200);
    let robots = String::from_utf8(vault.server.get("/robots.txt").body).unwrap();
    assert_eq!(robots, "User-agent: *\nDisallow: /\n");
    assert_eq!(vault.server.send("HEAD", "/healthz", &[]).body, b"");
}

#[test]
fn http_2_without_tls_gets_the_same_answers() {
    let vault = Vault::open("sizes", &[]);
    let key = format!("directory/{}", vault.fixture.id("root").id);
    vault.server.cook(&key);
    let target = format!("/vault/{key}");
    let by_http1 = vault.server.get(&target);
    let curl = |args: &[&str]| {
        let url = format!("http://{}{target}", vault.server.address);
        let output = std::process::Command::new("curl")
            .args(["-s", "--http2-prior-knowledge", "-w", "%{stderr}%{http_version} %{response_code} %header{etag}"])
            .args(args)
            .arg(url)
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {}", output.status);
        (String::from_utf8(output.stderr).unwrap(), output.stdout)
    };
    let etag = by_http1.header("etag").unwrap();
    let (said, body) = curl(&[]);
    assert_eq!(said, format!("2 200 {etag}"));
    assert!(body == by_http1.body, "the bodies differ");
    let (said, body) = curl(&["-r", "100-199"]);
    assert_eq!((said.as_str(), &body[..]), (format!("2 206 {etag}").as_str(), &by_http1.body[100..200]));
    assert_eq!(curl(&["-H", &format!("If-None-Match: {etag}")]).0, format!("2 304 {etag}"));
    assert_eq!(curl(&["-I"]).0, format!("2 200 {etag}"));
    assert_eq!(curl(&["-X", "POST"]).0, "2 201 ");
    assert_eq!(curl(&["-X", "DELETE"]).0, "2 405 ");
}
