//! nginx is the oracle: the same requests go to a real nginx and to larder on the same files, and
//! the answers agree, or `DEPARTURES` says why not. A departure that does not happen fails too.
//!
//! Compared are the status, `ETag`, `Last-Modified`, `Content-Length`, `Content-Range`,
//! `Accept-Ranges`, `Content-Type` and the body; of an error only the status and `Content-Range`, for
//! nginx's pages are HTML and larder's are JSON. The boundary of a multipart body is replaced.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;
mod departures;

use crate::common::nginx::Nginx;
use bytes::Bytes;
use cases::{cases, last};
use departures::{Departure, What, departures};
use hyper::{Request, Response, StatusCode};
use larder::http::body::Body;
use larder::http::digests::FileId;
use larder::http::etag::Validator;
use larder::http::problem::Problem;
use larder::http::range::MAX_RANGES;
use larder::http::static_file::{Meta, respond};
use larder::http::{Limits, Listener, server};
use larder::metrics::Metrics;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn larder_answers_as_nginx_does_or_the_table_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    let nginx = Nginx::start(folder.path(), MAX_RANGES);
    let larder = Larder::start(folder.path());
    let departures = departures();
    let mut happened = BTreeSet::new();
    let mut unexplained = BTreeMap::new();
    let cases: Vec<_> = cases().into_iter().map(|text| Case { text }).collect();
    for case in &cases {
        for what in differences(&case.send(&nginx.socket()), &case.send(&larder.socket)) {
            let explains = |departure: &Departure| departure.what == what && (departure.when)(&case.text);
            match departures.iter().position(explains) {
                Some(index) => _ = happened.insert(index),
                None => unexplained.entry(what).or_insert_with(Vec::new).push(&case.text),
            }
        }
    }
    for (what, cases) in &unexplained {
        println!("{what:?}, {} times:", cases.len());
        cases.iter().take(40).for_each(|text| println!("    {text:.300?}"));
    }
    let idle: Vec<_> = departures.iter().enumerate().filter(|(index, _)| !happened.contains(index)).collect();
    for (_, departure) in &idle {
        println!("did not happen: {:?}: {}", departure.what, departure.why);
    }
    assert!(cases.len() > 300 && unexplained.is_empty() && idle.is_empty());
}

const MTIME: u64 = 1_700_000_000;

/// Files of no byte, of a thousand, and of more than one buffer.
fn write_files(folder: &Path) {
    for (name, size) in [("empty.tar", 0), ("small.tar.gz", 1000), ("large.tar", 300_000_u32)] {
        let bytes: Vec<u8> = (0..size).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut file = File::create(folder.join(name)).unwrap();
        file.write_all(&bytes).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(MTIME)).unwrap();
    }
}

/// larder's server with one route, on a Unix socket.
struct Larder {
    socket: PathBuf,
    _home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Larder {
    fn start(files: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("larder.sock");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        let listener = Listener::from(tokio::net::UnixListener::bind(&socket).unwrap());
        let files = files.to_owned();
        let service = move |request: Request<Bytes>, _| std::future::ready(answer(&files, &request));
        let (limits, metrics) = (Limits::default(), Metrics::default());
        runtime.spawn(server::run(vec![listener], service, limits, metrics, std::future::pending()));
        Self { socket, _home: home, _runtime: runtime }
    }
}

fn answer(files: &Path, request: &Request<Bytes>) -> Response<Body> {
    let name = request.uri().path().strip_prefix("/files/").filter(|name| !name.contains('/'));
    let Some(file) = name.and_then(|name| File::open(files.join(name)).ok()) else {
        return Problem::new(StatusCode::NOT_FOUND, "absent", "no such file").response();
    };
    let facts = file.metadata().unwrap();
    let validator = Validator { mtime: facts.mtime(), size: facts.len() };
    let media_type = if name == Some("small.tar.gz") { "application/gzip" } else { "application/x-tar" };
    let id = FileId { dev: facts.dev(), ino: facts.ino(), size: facts.len(), mtime: facts.mtime() };
    let meta = Meta { media_type, file_name: "file".to_owned(), immutable: true, sha256: None, file: Some(id) };
    respond(request.method(), request.headers(), file, &validator, &meta).response
}

/// What is sent on one connection: one request or several, well formed or not.
struct Case {
    text: String,
}

impl Case {
    /// Every answer until the connection is closed. One more request that closes it follows the case:
    /// it is answered where the connection has been kept, and in order.
    fn send(&self, socket: &Path) -> Vec<Answer> {
        let mut stream = UnixStream::connect(socket).unwrap();
        // A server may close before it has read all.
        let _ = stream.write_all(self.text.as_bytes()).and_then(|()| stream.write_all(last().as_bytes()));
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let mut answers = Vec::new();
        let mut methods = self.text.split("\r\n\r\n").map(|request| request.split(' ').next().unwrap());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (answer, after) = Answer::read(rest, methods.next());
            answers.push(answer);
            rest = after;
        }
        answers
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    fields: BTreeMap<&'static str, String>,
    body: Vec<u8>,
}

const FIELDS: [&str; 6] = ["etag", "last-modified", "content-length", "content-range", "accept-ranges", "content-type"];

impl Answer {
    /// The answer that `bytes` begin with, and what follows it.
    fn read<'a>(bytes: &'a [u8], method: Option<&str>) -> (Self, &'a [u8]) {
        let text = String::from_utf8_lossy(bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end.filter(|_| text.starts_with("HTTP/1.")) else {
            // HTTP/0.9, which has neither a status nor fields.
            return (Self { status: 9, fields: BTreeMap::new(), body: bytes.to_vec() }, &[]);
        };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lines = head.lines().skip(1).map(|line| line.split_once(": ").unwrap());
        let mut fields = BTreeMap::new();
        for (name, value) in lines {
            if let Some(name) = FIELDS.iter().find(|field| name.eq_ignore_ascii_case(field)) {
                assert!(fields.insert(*name, value.to_owned()).is_none(), "{name} twice");
            }
        }
        let has_body = method != Some("HEAD") && status != 304;
        let length = fields.get("content-length").filter(|_| has_body).map_or(0, |length| length.parse().unwrap());
        let (body, rest) = bytes[end + 4..].split_at_checked(length).unwrap_or_else(|| panic!("a whole body: {head}"));
        let mut answer = Self { status, fields, body: body.to_vec() };
        answer.normalise();
        (answer, rest)
    }

    fn normalise(&mut self) {
        if self.status >= 400 {
            self.fields.retain(|name, _| *name == "content-range");
            self.body.clear();
        }
        let Some(media_type) = self.fields.get_mut("content-type") else { return };
        let Some((_, boundary)) = media_type.split_once("boundary=") else { return };
        let (old, new) = (boundary.to_owned(), "=".repeat(boundary.len()));
        *media_type = media_type.replace(&old, &new);
        for start in 0..self.body.len().saturating_sub(old.len()) {
            if self.body[start..].starts_with(old.as_bytes()) {
                self.body[start..start + old.len()].copy_from_slice(new.as_bytes());
            }
        }
    }
}

fn differences(nginx: &[Answer], larder: &[Answer]) -> BTreeSet<What> {
    let statuses = |answers: &[Answer]| answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
    if statuses(nginx) != statuses(larder) {
        return [What::Statuses(statuses(nginx), statuses(larder))].into();
    }
    let mut found = BTreeSet::new();
    for (nginx, larder) in nginx.iter().zip(larder) {
        let differ = |name: &&str| nginx.fields.get(name) != larder.fields.get(name);
        found.extend(FIELDS.into_iter().filter(differ).map(What::Field));
        if nginx.body != larder.body {
            found.insert(What::Field("body"));
        }
    }
    found
}
