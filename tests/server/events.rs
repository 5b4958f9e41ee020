//! Progress as server-sent events, over TCP: live, bounded in number, and over when the cook is, when
//! larder stops and when the client has gone.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::contents::{Contents, repository};
use crate::common::fixtures;
use crate::common::process::signal;
use crate::common::server::Server;
use larder::catalogue::{Access, Catalogue};
use larder::key::BundleKey;
use larder::store::Store;
use larder::time::Timestamp;
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A stream of events as it comes in.
struct Stream {
    status: u16,
    head: String,
    lines: BufReader<Chunks>,
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    id: String,
    data: serde_json::Value,
}

impl Stream {
    fn open(address: &str, key: &str, headers: &str) -> Self {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
        let target = format!("/vault/{key}/status");
        write!(tcp, "GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n{headers}\r\n").unwrap();
        let mut tcp = BufReader::new(tcp);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(tcp.read_line(&mut head).unwrap() > 0, "the answer has a head: {head}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_ascii_lowercase(), lines: BufReader::new(Chunks { tcp, left: 0, ended: false }) }
    }

    /// The next event; comments are passed over. `None` when the body has ended as it should.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut data) = (String::new(), None);
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                Some(("retry", value)) => assert!(value.parse::<u32>().is_ok()),
                _ if line == ":\n" || (line == "\n" && data.is_none()) => {}
                None if line == "\n" => return data.map(|data| Event { id, data }),
                _ => panic!("{line:?} is in no event of larder's"),
            }
        }
    }
}

/// The chunked body of RFC 9112 section 7.1; one that breaks off is an error.
struct Chunks {
    tcp: BufReader<TcpStream>,
    left: usize,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && !self.ended {
            let mut size = String::new();
            self.tcp.read_line(&mut size)?;
            self.left = usize::from_str_radix(size.trim_end(), 16).map_err(std::io::Error::other)?;
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(0);
        }
        let most = out.len().min(self.left);
        let read = self.tcp.read(&mut out[..most])?;
        self.left -= read;
        if self.left == 0 {
            let mut end = String::new();
            self.tcp.read_line(&mut end)?;
        }
        Ok(read)
    }
}

#[test]
fn progress_comes_live_for_a_directory_and_for_what_is_a_name_of_it() {
    let (git, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (commit, tree) = repository(git.path(), "slow.git", (10, 4 << 20), Contents::Letters);
    let server = Server::start(data.path(), &[git.path()], &["--cook-threads", "1"]);
    let revision = format!("revision/{commit}.tar.gz");
    assert_eq!(server.post(&format!("/vault/{revision}")).status, 201);
    let mut stream = Stream::open(&server.address, &revision, "");
    assert_eq!(stream.status, 200);
    for line in ["content-type: text/event-stream", "cache-control: no-store", "x-accel-buffering: no"] {
        assert!(stream.head.contains(&format!("\r\n{line}\r\n")), "{line}: {}", stream.head);
    }
    let mut events = vec![stream.next().expect("one event is there at once")];
    let now = server.get(&format!("/vault/{revision}/status")).json();
    assert_ne!(now["status"], "done", "the event came before the end");
    events.extend(std::iter::from_fn(|| stream.next()));
    let seen: Vec<u64> = events.iter().filter_map(|event| event.data["progress"]["done"].as_u64()).collect();
    assert!(seen.len() >= 2 && seen.is_sorted() && seen.first() < seen.last(), "{seen:?}");
    assert!(events.windows(2).all(|pair| pair[0] != pair[1]), "no event says what was said before");
    let last = events.last().unwrap();
    assert_eq!((last.id.as_str(), last.data["status"].as_str()), ("done", Some("done")));
    let directory = server.get(&format!("/vault/directory/{tree}.tar.gz/status")).json();
    assert_eq!(directory["status"], "done", "the directory was cooked for it");

    let mut again = Stream::open(&server.address, &revision, "");
    let only: Vec<Event> = std::iter::from_fn(|| again.next()).collect();
    assert_eq!((only.len(), only[0].id.as_str()), (1, "done"), "what is done is said once");
    let returned = server.send(
        "GET",
        &format!("/vault/{revision}/status"),
        &[("Accept", "text/event-stream"), ("Last-Event-ID", "done")],
    );
    assert_eq!(returned.status, 204, "who has seen the end is not to come back");
    let head = server.send("HEAD", &format!("/vault/{revision}/status"), &[("Accept", "text/event-stream")]);
    assert_eq!((head.header("content-type"), head.header("content-length")), (Some("text/event-stream"), None));
}

#[test]
fn a_failure_ends_the_stream_and_what_was_never_asked_for_has_none() {
    let fixture = fixtures::fixture("hostile/trees");
    let bad = fixture.ids.iter().find(|id| id.expect.is_some()).unwrap();
    let key = format!("{}/{}.tar.gz", bad.kind, bad.id);
    let data = TempDir::new().unwrap();
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let unknown = server.send("GET", &format!("/vault/{key}/status"), &[("Accept", "text/event-stream")]);
    assert_eq!((unknown.status, unknown.header("content-type")), (404, Some("application/json")));
    server.cook(&key);
    let mut stream = Stream::open(&server.address, &key, "");
    let last = std::iter::from_fn(|| stream.next()).last().unwrap();
    assert_eq!((last.id.as_str(), last.data["error"]["code"].as_str()), ("failed", bad.expect.as_deref()));
}

/// A bundle that this process has claimed, so that the server can only look at its status.
struct Elsewhere {
    _store: Store,
    catalogue: Catalogue,
    claim: Option<larder::catalogue::Claim>,
}

impl Elsewhere {
    fn claim(data: &Path, key: &str) -> Self {
        let key: BundleKey = key.parse().unwrap();
        let store = Store::open(data).unwrap();
        let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Write).unwrap();
        catalogue.order(&key, Timestamp::now(), 10, Duration::ZERO).unwrap();
        let claim = catalogue.claim_this(&key, store.members().me(), Timestamp::now()).unwrap();
        Self { claim: Some(claim.expect("nobody was faster")), _store: store, catalogue }
    }

    fn give_back(mut self) {
        self.catalogue.give_back(self.claim.take().unwrap()).unwrap();
    }
}

#[test]
fn a_cook_of_another_process_is_followed_by_its_status() {
    let fixture = fixtures::fixture("plain");
    let key = format!("directory/{}.tar.gz", fixture.cookable().find(|id| id.kind.as_str() == "directory").unwrap().id);
    let data = TempDir::new().unwrap();
    // Nobody cooks here between the order and the claim.
    drop(Server::start(data.path(), &[], &[]));
    let elsewhere = Elsewhere::claim(data.path(), &key);
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let mut stream = Stream::open(&server.address, &key, "");
    let first = stream.next().unwrap();
    assert_eq!((first.data["status"].as_str(), &first.data["progress"]), (Some("pending"), &serde_json::Value::Null));
    elsewhere.give_back();
    let last = std::iter::from_fn(|| stream.next()).last().expect("its end is seen");
    assert_eq!(last.data["status"], "done");
}

#[test]
fn streams_are_bounded_and_those_of_clients_that_left_are_free_again() {
    let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    let key = format!("directory/{id}.tar.gz");
    let data = TempDir::new().unwrap();
    drop(Server::start(data.path(), &[], &[]));
    let elsewhere = Elsewhere::claim(data.path(), &key);
    let server = Server::start(data.path(), &[], &[]);
    let mut streams: Vec<Stream> = Vec::new();
    let refused = loop {
        let mut stream = Stream::open(&server.address, &key, "");
        if stream.status != 200 {
            break stream;
        }
        assert_eq!(stream.next().unwrap().data["status"], "pending");
        streams.push(stream);
        assert!(streams.len() <= 256);
    };
    assert_eq!((streams.len(), refused.status), (256, 503));
    assert!(refused.head.contains("\r\nretry-after: "), "{}", refused.head);
    // Another client, as a proxy says, has one all the same: the first one's oldest ends.
    let mut other = Stream::open(&server.address, &key, "X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!((other.status, &other.next().unwrap().data["status"]), (200, &"pending".into()));
    while streams[0].next().is_some() {}
    drop((streams, other));
    while Stream::open(&server.address, &key, "").status != 200 {
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(elsewhere);
}

#[test]
fn a_stop_ends_the_streams_in_order() {
    let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz";
    let data = TempDir::new().unwrap();
    drop(Server::start(data.path(), &[], &[]));
    let elsewhere = Elsewhere::claim(data.path(), key);
    let server = Server::start(data.path(), &[], &["--stop-grace", "10min"]);
    let mut stream = Stream::open(&server.address, key, "");
    assert_eq!(stream.next().unwrap().data["status"], "pending");
    signal(server.pid(), Signal::TERM);
    assert_eq!(stream.next(), None, "the body ended as a body does");
    // A second signal would end it at once.
    assert!(server.ended().success());
    drop(elsewhere);
}
