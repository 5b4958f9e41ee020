//! A larder without a repository, behind which a vault stands: one that speaks as Software Heritage's, over a
//! repository that git reads for it, and that misbehaves as it is told.

use super::Larder;
use super::common::fixtures::{self, Fixture};
use super::common::kitchenware::Random;
use super::common::server::Server;
use super::upstream::{Upstream, gz, reply, tar};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// What a vault does wrong; 0 and false for nothing.
#[derive(Clone, Copy, Default)]
struct Habits {
    /// It has to be asked so often until a cook is done.
    slow: usize,
    /// So many requests are answered by 429.
    throttles: usize,
    /// So many are answered by 500.
    fails: usize,
    /// It closes the connection in the middle of so many downloads.
    cuts: usize,
    /// It has lost so many bundles by the time that they are fetched.
    loses: usize,
    /// It sends this in place of every bundle.
    sends: Option<&'static str>,
    /// No cook ends well.
    never: bool,
}

/// A vault that counts what it is asked.
struct Vault {
    upstream: Upstream,
    /// Paths of the requests, in their order.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Vault {
    fn start(repository: PathBuf, habits: Habits) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, cooks) = (Arc::clone(&asked), Mutex::new(HashMap::<String, usize>::new()));
        let (throttled, failed, cut, lost) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let once = |count: &AtomicUsize, most: usize| count.fetch_add(1, Ordering::SeqCst) < most;
        let upstream = Upstream::start(move |stream, _, head| {
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            log.lock().unwrap().push(format!("{method} {path}"));
            assert!(head.to_ascii_lowercase().contains("via: 1.1 larder-"), "{head}");
            let path = path.strip_prefix("/api/1/").expect("all is asked below the API");
            if once(&throttled, habits.throttles) {
                return reply(stream, "429 Too Many Requests", "Retry-After: 1\r\n", br#"{"exception":"Throttled"}"#);
            }
            if once(&failed, habits.fails) {
                return reply(stream, "500 Internal Server Error", "", b"<html>");
            }
            let parts: Vec<&str> = path.split('/').collect();
            match parts[..] {
                ["vault", form, swhid, "raw", ""] => {
                    if once(&lost, habits.loses) {
                        return not_found(stream, "Cooked archive not found.");
                    }
                    let bytes = match habits.sends {
                        Some(what) => hostile(what),
                        None => bundle(&repository, form, swhid),
                    };
                    send(stream, head, &bytes, once(&cut, habits.cuts));
                }
                ["vault", form, swhid, ""] => {
                    let mut cooks = cooks.lock().unwrap();
                    let id = swhid.rsplit(':').next().unwrap();
                    match (method, cooks.get_mut(path)) {
                        (_, _) if git(&repository, &["cat-file", "-e", id]).is_none() => {
                            not_found(stream, "not found.");
                        }
                        ("POST", _) => {
                            cooks.insert(path.to_owned(), 0);
                            status(stream, form, swhid, "new");
                        }
                        ("GET", Some(looks)) => {
                            *looks += 1;
                            let word = match (habits.never, *looks > habits.slow) {
                                (_, false) => "pending",
                                (true, true) => "failed",
                                (false, true) => "done",
                            };
                            status(stream, form, swhid, word);
                        }
                        _ => not_found(stream, "was never requested."),
                    }
                }
                ["content", id, "raw", ""] => match git(&repository, &["cat-file", "blob", &id["sha1_git:".len()..]]) {
                    Some(bytes) => send(stream, head, &bytes, false),
                    None => not_found(stream, "not found."),
                },
                ["revision", id, ""] => told(stream, git(&repository, &["cat-file", "commit", id]).map(revision)),
                ["release", id, ""] => told(stream, git(&repository, &["cat-file", "tag", id]).map(release)),
                _ => not_found(stream, "no such thing."),
            }
        });
        Self { upstream, asked }
    }

    fn settings(&self) -> String {
        format!("[[upstream]]\nurl = \"http://{}\"\nprivate_addresses = true\n", self.upstream.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn git(repository: &Path, args: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new("git").arg("-C").arg(repository).args(args).output().unwrap();
    output.status.success().then_some(output.stdout)
}

fn not_found(stream: &mut TcpStream, reason: &str) {
    let body = json!({"exception": "NotFoundExc", "reason": reason}).to_string();
    reply(stream, "404 Not Found", "Content-Type: application/json\r\n", body.as_bytes());
}

fn told(stream: &mut TcpStream, json: Option<Value>) {
    match json {
        Some(json) => reply(stream, "200 OK", "", json.to_string().as_bytes()),
        None => not_found(stream, "not found."),
    }
}

fn status(stream: &mut TcpStream, form: &str, swhid: &str, word: &str) {
    let body = json!({"fetch_url": format!("http://elsewhere.invalid/{form}/{swhid}"), "id": 1, "status": word,
        "progress_message": "Traceback (most recent call last)", "swhid": swhid});
    reply(stream, "200 OK", "", body.to_string().as_bytes());
}

/// Sends bytes as a file with an ETag and ranges; only the half of what is asked for when it is `cut`.
fn send(stream: &mut TcpStream, head: &str, bytes: &[u8], cut: bool) {
    let from =
        head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let from = from.filter(|_| head.contains("if-range: \"v1\""));
    let rest = &bytes[from.unwrap_or(0)..];
    let mut top = format!("HTTP/1.1 {}\r\n", if from.is_some() { "206 Partial Content" } else { "200 OK" });
    let _ = write!(top, "ETag: \"v1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
    let _ = stream.write_all(top.as_bytes());
    let _ = stream.write_all(if cut { &rest[..rest.len() / 2] } else { rest });
}

/// A bundle as git makes it.
fn bundle(repository: &Path, form: &str, swhid: &str) -> Vec<u8> {
    let id = swhid.rsplit(':').next().unwrap();
    let top = swhid.replace(':', "_");
    if form == "flat" {
        let prefix = format!("--prefix={top}/");
        return gz(&git(repository, &["archive", "--format=tar", &prefix, id]).unwrap());
    }
    assert_eq!(form, "git-bare");
    let folder = TempDir::new().unwrap();
    let bare = folder.path().join(format!("{top}.git"));
    git(folder.path(), &["init", "--quiet", "--bare", bare.to_str().unwrap()]).unwrap();
    let list = git(repository, &["rev-list", "--objects", "--no-object-names", id]).unwrap();
    let mut pack = Command::new("git");
    pack.arg("-C").arg(repository).args(["pack-objects", "--quiet"]).arg(bare.join("objects/pack/pack"));
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(&list).unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    assert!(pack.stdin(input).output().unwrap().status.success());
    let tar =
        Command::new("tar").arg("-C").arg(folder.path()).args(["-cf", "-"]).arg(bare.file_name().unwrap()).output();
    tar.unwrap().stdout
}

/// Bytes that mean harm, or nothing.
fn hostile(what: &str) -> Vec<u8> {
    match what {
        "rubbish" => b"this is no tarball".to_vec(),
        "another tree" => gz(&tar(&[("top/a", b"b")])),
        "names that lead out" => gz(&tar(&[("top/../../../evil", b"x")])),
        "a bomb" => gz(&tar(&[("top/a", &vec![0; 64 << 20])])),
        "nothing" => Vec::new(),
        what => panic!("{what}"),
    }
}

/// What the API says of a commit.
fn revision(commit: Vec<u8>) -> Value {
    let commit = String::from_utf8(commit).unwrap();
    let (head, message) = commit.split_once("\n\n").unwrap();
    let all = |word: &str| head.lines().filter_map(move |line| line.strip_prefix(word)).collect::<Vec<_>>();
    let (author, date) = person(all("author ")[0]);
    let (committer, committer_date) = person(all("committer ")[0]);
    let parents: Vec<Value> =
        all("parent ").iter().map(|id| json!({"id": id, "url": "http://elsewhere.invalid/"})).collect();
    json!({"directory": all("tree ")[0], "parents": parents, "author": {"fullname": author}, "date": date,
        "committer": {"fullname": committer}, "committer_date": committer_date, "message": message, "extra_headers": []})
}

fn release(tag: Vec<u8>) -> Value {
    let tag = String::from_utf8(tag).unwrap();
    let (head, message) = tag.split_once("\n\n").unwrap();
    let one = |word: &str| head.lines().find_map(|line| line.strip_prefix(word)).unwrap();
    let (author, date) = person(one("tagger "));
    let target_type = match one("type ") {
        "commit" => "revision",
        "tag" => "release",
        word => panic!("{word}"),
    };
    json!({"name": one("tag "), "message": message, "target": one("object "), "target_type": target_type,
        "author": {"fullname": author}, "date": date})
}

/// `A <a@b> 0 +0100`, as name and date.
fn person(line: &str) -> (String, String) {
    let (rest, zone) = line.rsplit_once(' ').unwrap();
    let (name, seconds) = rest.rsplit_once(' ').unwrap();
    let offset = format!("{}:{}", &zone[..3], &zone[3..]);
    let minutes: i64 = zone[1..3].parse::<i64>().unwrap() * 60 + zone[3..].parse::<i64>().unwrap();
    let shift = if zone.starts_with('-') { -minutes * 60 } else { minutes * 60 };
    let local = larder::time::Timestamp::from_millis((seconds.parse::<i64>().unwrap() + shift) * 1000).to_string();
    (name.to_owned(), format!("{}{offset}", &local[..19]))
}

/// A fixture with a history and tags, and its one repository.
fn repository() -> (Fixture, PathBuf) {
    let fixture = fixtures::fixture("tags");
    let repository = fixture.repositories().remove(0);
    (fixture, repository)
}

#[track_caller]
fn bytes(server: &Server, key: &str) -> Vec<u8> {
    let told = server.cook(key);
    assert_eq!(told["status"], "done", "{key}: {told}");
    let answer = server.get(&format!("/vault/{key}"));
    assert_eq!(answer.status, 200, "{key}");
    answer.body
}

#[test]
fn what_only_a_vault_has_is_cooked_to_the_same_bytes_and_asked_for_once() {
    let (fixture, repository) = repository();
    let here = Larder::over("", &[&fixture.path]);
    let vault = Vault::start(repository.clone(), Habits { slow: 1, ..Habits::default() });
    let there = Larder::start(&vault.settings());
    let (root, head, tag) = (fixture.id("root").id, fixture.id("head").id, fixture.id("annotated").id);
    let blob = String::from_utf8(git(&repository, &["rev-parse", &format!("{root}:file")]).unwrap()).unwrap();
    for key in [
        format!("content/{}", blob.trim()),
        format!("release/{tag}.tar.gz"),
        format!("revision/{head}.zip"),
        format!("directory/{root}.tar.zst"),
    ] {
        assert!(bytes(&here.server, &key) == bytes(&there.server, &key), "{key}");
    }
    // What has come once is here.
    let asked = vault.asked();
    bytes(&there.server, &format!("directory/{root}.zip"));
    bytes(&there.server, &format!("revision/{head}.bundle"));
    assert_eq!(vault.asked(), asked);
    assert_eq!(asked.iter().filter(|path| path.ends_with("/raw/")).count(), 2, "a content and a directory: {asked:?}");
    let there = Larder::start(&vault.settings());
    // Of a history the content is promised, not the bytes: the command verifies it.
    for key in [format!("revision/{head}.git.tar"), format!("release/{tag}.bundle")] {
        bytes(&there.server, &key);
        let url = format!("http://{}/vault/{key}", there.server.address);
        let out = there.data.path().join("got");
        let (code, said) = there.run(&["get", &url, "-o", out.to_str().unwrap()]);
        assert_eq!(code, 0, "{key}: {said}");
        std::fs::remove_file(out).unwrap();
    }
    let asked = vault.asked().split_off(asked.len());
    assert!(asked.iter().all(|path| path.contains("vault/git-bare/")), "{asked:?}");
}

#[test]
fn a_vault_in_trouble_is_asked_again_until_it_gives_the_right_bytes() {
    let (fixture, repository) = repository();
    let here = Larder::over("", &[&fixture.path]);
    let key = format!("directory/{}", fixture.id("root").id);
    let good = bytes(&here.server, &key);
    for (what, habits) in [
        ("it is asked too often", Habits { throttles: 2, ..Habits::default() }),
        ("it fails", Habits { fails: 2, ..Habits::default() }),
        ("it breaks off", Habits { cuts: 3, ..Habits::default() }),
        ("it has lost it", Habits { loses: 1, ..Habits::default() }),
        ("it takes its time", Habits { slow: 3, ..Habits::default() }),
    ] {
        let vault = Vault::start(repository.clone(), habits);
        let larder = Larder::start(&vault.settings());
        assert!(bytes(&larder.server, &key) == good, "{what}");
    }
}

#[test]
fn what_a_vault_gives_that_is_not_asked_for_is_a_failure_that_says_so() {
    let (fixture, repository) = repository();
    let key = format!("directory/{}", fixture.id("root").id);
    for (what, habits, words) in [
        // Of no use as a tarball, nor as a tar with a repository, which is asked for next.
        ("rubbish", Habits::default(), "its tar "),
        ("another tree", Habits::default(), "its tar "),
        ("names that lead out", Habits::default(), "its tar "),
        ("a bomb", Habits::default(), "its tar "),
        ("nothing", Habits::default(), "what an upstream gave"),
        ("", Habits { never: true, ..Habits::default() }, "could not cook it"),
    ] {
        let sends = (!what.is_empty()).then_some(what);
        let vault = Vault::start(repository.clone(), Habits { sends, ..habits });
        let larder = Larder::start(&format!("max_bundle_size = \"8MiB\"\n{}", vault.settings()));
        let told = larder.server.cook(&key);
        assert_eq!(told["status"], "failed", "{what}: {told}");
        assert_eq!(told["error"]["code"], "missing-object", "{what}: {told}");
        let message = told["error"]["message"].as_str().unwrap();
        assert!(message.contains("upstream"), "{what}: {message}");
        assert!(message.contains(words), "{what}: {message}");
        assert_eq!(larder.server.get(&format!("/vault/{key}")).status, 404);
        assert!(!larder.data.path().join("evil").exists() && !larder.data.path().join("upstream/evil").exists());
    }
}

#[test]
fn what_nobody_has_fails_and_what_no_vault_was_named_for_is_refused_at_once() {
    let (_, repository) = repository();
    let vault = Vault::start(repository, Habits::default());
    let larder = Larder::start(&vault.settings());
    let key = "revision/0123456789012345678901234567890123456789";
    let told = larder.server.cook(key);
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!("failed"), &json!("missing-object")), "{told}");
    let asked = vault.asked().len();
    assert_eq!(larder.server.post(&format!("/vault/{key}")).status, 201, "it says that it failed a moment ago");
    assert_eq!(vault.asked().len(), asked, "it is not asked again at once");
    assert_eq!(Larder::start("").server.post(&format!("/vault/{key}")).status, 404);
}

#[test]
fn a_larder_that_cannot_reach_its_vault_says_so_and_tries_again() {
    let (fixture, repository) = repository();
    // A port where nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let larder = Larder::start(&format!("[[upstream]]\nurl = \"http://{nobody}\"\nprivate_addresses = true\n"));
    let key = format!("directory/{}", fixture.id("root").id);
    assert_eq!(larder.server.post(&format!("/vault/{key}")).status, 201);
    let vault = Vault::start(repository, Habits::default());
    std::thread::sleep(Duration::from_millis(500));
    assert_ne!(larder.server.get(&format!("/vault/{key}/status")).json()["status"], "failed", "at the first try");
    // As when it is up again.
    let larder = larder.again_with(&vault.settings());
    assert_eq!(larder.server.settled(&key)["status"], "done");
    let private = Larder::start(&vault.settings().replace("true", "false"));
    private.server.post(&format!("/vault/{key}"));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(vault.asked().iter().filter(|path| path.contains("flat")).count(), 4, "a private address is not asked");
}

#[test]
fn killed_while_a_vault_cooks_and_gives_every_order_ends() {
    let rounds = if std::env::var_os("LARDER_TEST_LONG").is_some() { 50 } else { 8 };
    let (fixture, repository) = repository();
    let vault = Vault::start(repository.clone(), Habits { slow: 2, cuts: 5, throttles: 3, ..Habits::default() });
    let mut larder = Larder::start(&vault.settings());
    let keys: Vec<String> = ["tar.gz", "zip", "tar", "git.tar"]
        .iter()
        .flat_map(|ext| {
            [
                format!("release/{}.{ext}", fixture.id("annotated").id),
                format!("directory/{}.{ext}", fixture.id("root").id),
            ]
        })
        .collect();
    let seed = Random::seed();
    let mut random = Random::new(seed);
    for round in 0..rounds {
        let key = &keys[round % keys.len()];
        assert_eq!(larder.server.post(&format!("/vault/{key}")).status, 201, "seed {seed}");
        std::thread::sleep(Duration::from_millis(random.below(700)));
        larder = larder.again();
    }
    for key in keys.iter().take(rounds) {
        let told = larder.server.settled(key);
        assert_eq!(told["status"], "done", "seed {seed}: {told}");
    }
    let (code, said) = larder.run(&["fsck", "--deep"]);
    assert_eq!(code, 0, "seed {seed}: {said}");
}

#[test]
fn a_page_of_what_only_a_vault_has_offers_to_order_it_and_says_what_came_of_it() {
    let (fixture, repository) = repository();
    let vault = Vault::start(repository, Habits::default());
    let larder = Larder::start(&vault.settings());
    let page = |path: &str| {
        let answer = larder.server.send("GET", path, &[("Accept", "text/html")]);
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let here = format!("/browse/swh:1:dir:{}", fixture.id("root").id);
    let (status, text) = page(&here);
    assert!(status == 200 && text.contains("other vaults are asked") && text.contains("<form"), "{text}");
    assert!(vault.asked().is_empty(), "to look asks nobody");
    assert_eq!(larder.server.post(&format!("{here}?format=zip")).status, 303);
    assert_eq!(larder.server.settled(&format!("directory/{}.zip", fixture.id("root").id))["status"], "done");
    let (status, text) = page(&here);
    assert!(status == 200 && text.contains("run") && !text.contains("other vaults"), "{text}");
    let nowhere = "/browse/swh:1:dir:0123456789012345678901234567890123456789";
    assert_eq!(larder.server.post(&format!("{nowhere}?format=zip")).status, 303);
    larder.server.settled("directory/0123456789012345678901234567890123456789.zip");
    let (status, text) = page(&format!("{nowhere}?format=zip"));
    assert!(status == 200 && text.contains("and no upstream"), "{text}");
}

/// A larder on a port that is known before it starts.
fn at(port: u16, data: &Path, settings: &str) -> Server {
    let config = data.join("larder.toml");
    std::fs::write(&config, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("serve").arg("--data").arg(data).arg("--config").arg(config).args(["--min-free", "1MiB"]);
    command.arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.env_remove("LARDER_CONFIG").env("LARDER_LOG", "warn").stdout(std::process::Stdio::piped());
    Server::spawn(command)
}

fn behind(address: &str) -> String {
    format!("[[upstream]]\nurl = \"http://{address}\"\nprivate_addresses = true\n")
}

#[test]
fn larders_in_a_row_give_the_same_bytes() {
    let (fixture, _) = repository();
    let last = Larder::over("", &[&fixture.path]);
    let middle = Larder::start(&behind(&last.server.address));
    let first = Larder::start(&behind(&middle.server.address));
    let (root, head, tag) = (fixture.id("root").id, fixture.id("head").id, fixture.id("annotated").id);
    for key in [format!("directory/{root}.tar.gz"), format!("release/{tag}.zip"), format!("revision/{head}.tar.zst")] {
        assert!(bytes(&first.server, &key) == bytes(&last.server, &key), "{key}");
    }
    for key in [format!("revision/{head}.git.tar"), format!("release/{tag}.bundle")] {
        bytes(&first.server, &key);
        let url = format!("http://{}/vault/{key}", first.server.address);
        let out = first.data.path().join("got");
        let (code, said) = first.run(&["get", &url, "-o", out.to_str().unwrap()]);
        assert_eq!(code, 0, "{key}: {said}");
        std::fs::remove_file(out).unwrap();
    }
}

#[test]
fn larders_in_a_ring_give_what_one_has_and_end_what_none_has() {
    let (fixture, _) = repository();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap()];
    // Free a moment ago, all three at once.
    let ports = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = ports.map(|listener| listener.local_addr().unwrap().port());
    let ring: Vec<Server> = (0..3)
        .map(|n| {
            let git = if n == 2 { format!("git = [{:?}]\n", fixture.path) } else { String::new() };
            at(ports[n], folders[n].path(), &(git + &behind(&format!("127.0.0.1:{}", ports[(n + 1) % 3]))))
        })
        .collect();
    let nobody = "revision/0123456789012345678901234567890123456789.git.tar";
    let told = ring[0].cook(nobody);
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!("failed"), &json!("missing-object")), "{told}");
    // The last has it.
    let there = format!("revision/{}.git.tar", fixture.id("head").id);
    assert_eq!(ring[0].cook(&there)["status"], "done");
    // All ask for the same at once.
    let nobody = "directory/0123456789012345678901234567890123456789";
    for server in &ring {
        assert_eq!(server.post(&format!("/vault/{nobody}")).status, 201);
    }
    for server in &ring {
        assert_eq!(server.settled(nobody)["status"], "failed");
    }
}
