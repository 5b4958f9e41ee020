//! Many clients that ask for much and take nothing: what larder holds for them is bounded, in memory and in open
//! files, others are answered meanwhile, and after they have gone it is given back. `LARDER_TEST_LONG` makes it 1,024
//! connections at once, which is as many as there may be.

use crate::common::client::request;
use crate::common::contents::{Contents, repository};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git_command, git_line};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What may be resident with 1,024 connections, in MiB.
const MOST: u64 = 400;

/// Requests at once on one connection.
const STREAMS: u32 = 48;

fn connections(short: usize) -> usize {
    if std::env::var_os("LARDER_TEST_LONG").is_some() { 1024 } else { short }
}

struct Crowd {
    server: Server,
    _data: tempfile::TempDir,
    /// A small bundle, which others fetch.
    small: String,
    /// A content of 4 MiB, one of 100 KiB, a list of many bundles, a commit with a proof of 2 MB, and a status.
    targets: Vec<String>,
}

impl Crowd {
    fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        let git_folder = data.path().join("git");
        std::fs::create_dir(&git_folder).unwrap();
        let (commit, tree) = repository(&git_folder, "r.git", (2, 4 << 20), Contents::Bytes);
        let r = git_folder.join("r.git");
        let large = git_line(&["rev-parse", "main:f0"], &r);
        let middle = piped(&r, &["hash-object", "-w", "--stdin"], &vec![b'x'; 100_000]);
        let many: Vec<_> =
            (0..200).map(|n| piped(&r, &["hash-object", "-w", "--stdin"], format!("{n}").as_bytes())).collect();
        let mut text = format!("tree {tree}\n");
        (0..40_000).for_each(|_| writeln!(text, "parent {commit}").unwrap());
        text.push_str("author a <a@x> 1 +0000\ncommitter a <a@x> 1 +0000\n\nm");
        let merge = piped(&r, &["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], text.as_bytes());
        let server = Server::start(&data.path().join("data"), &[&git_folder], &[]);
        for id in many.iter().chain([&large, &middle]) {
            assert_eq!(server.post(&format!("/vault/content/{id}")).status, 201);
        }
        for id in many.iter().chain([&large, &middle]) {
            assert_eq!(server.settled(&format!("content/{id}"))["status"], "done");
        }
        let targets = vec![
            format!("/vault/content/{large}"),
            format!("/vault/content/{middle}"),
            "/vault/content?limit=1000".to_owned(),
            format!("/vault/revision/{merge}/proof"),
            format!("/vault/content/{middle}/status"),
        ];
        Self { server, _data: data, small: format!("/vault/content/{}", many[0]), targets }
    }

    /// How long others wait for a bundle, in the middle and at worst.
    fn hits(&self) -> (Duration, Duration) {
        let mut times: Vec<_> = (0..60)
            .map(|_| {
                let begin = Instant::now();
                let answer = request(&self.server.address, "GET", &self.small, &[]).unwrap();
                assert_eq!((answer.status, answer.body.as_slice()), (200, b"0".as_slice()));
                begin.elapsed()
            })
            .collect();
        times.sort();
        (times[30], times[59])
    }

    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.server.pid())).unwrap().count()
    }
}

#[test]
fn what_is_held_for_clients_that_take_nothing_is_bounded_and_given_back() {
    let crowd = Crowd::open();
    let before = (crowd.resident(), crowd.hits());
    let count = connections(200);
    let mut worst = 0;
    let mut clients = Vec::new();
    for at in 0..count {
        // One of each sort in turn, and for every second the client says that it takes all.
        let target = &crowd.targets[at % crowd.targets.len()];
        clients.push(multiplexed(&crowd.server.address, target, at % 2 == 0));
        if at % 10 == 0 {
            worst = worst.max(crowd.resident());
        }
    }
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(300));
        worst = worst.max(crowd.resident());
    }
    let (during, open) = (crowd.hits(), crowd.descriptors());
    worst = worst.max(crowd.resident());
    println!("before {before:?}, with {count} connections {worst} MiB and {during:?}, {open} files open");
    let bound = before.0 + (MOST - before.0) * count as u64 / 1024 + 80;
    assert!(worst <= bound.min(MOST), "{worst} MiB with {count} connections, {} before, of {bound}", before.0);
    assert!(open <= count + 1024 + 200, "{open} files are open");
    let bearable = (before.1.0 * 3).max(Duration::from_millis(100));
    assert!(during.0 <= bearable, "others wait {:?}, before {:?}", during.0, before.1.0);
    drop(clients);
    let deadline = Instant::now() + Duration::from_mins(1);
    while crowd.resident() > before.0 * 3 / 2 {
        assert!(Instant::now() < deadline, "{} MiB a minute after, {} before", crowd.resident(), before.0);
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_stream_whose_file_was_closed_meanwhile_goes_on_where_it_was() {
    let crowd = Crowd::open();
    let target = &crowd.targets[0];
    let whole = crowd.server.get(target).body;
    // The first is read last: its file is the one that was not read for longest.
    let mut first = multiplexed(&crowd.server.address, target, false);
    std::thread::sleep(Duration::from_millis(200));
    let others: Vec<_> = (0..40).map(|_| multiplexed(&crowd.server.address, target, false)).collect();
    std::thread::sleep(Duration::from_secs(1));
    assert!(crowd.descriptors() < 1400, "{} files are open", crowd.descriptors());
    drop(others);
    // All windows open now: every stream is to be whole.
    first.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut open = window(0, 1 << 30);
    (0..STREAMS).for_each(|at| open.extend(window(1 + 2 * at, 1 << 30)));
    first.write_all(&open).unwrap();
    let mut bodies = vec![Vec::new(); STREAMS as usize];
    let mut ended = 0;
    while ended < STREAMS {
        let (kind, flags, stream, payload) = frame(&mut first);
        assert!(kind != 3 && kind != 7, "stream {stream} is whole: {payload:?}");
        if kind == 0 {
            bodies[(stream as usize - 1) / 2].extend(payload);
            ended += u32::from(flags & 1);
        }
    }
    assert!(bodies.iter().all(|body| *body == whole), "the bytes are those of the bundle");
}

/// A connection of HTTP/2 with [`STREAMS`] requests for `target`, of which nothing is read; with the window that
/// clients have at first, or with all of them open.
fn multiplexed(address: &str, target: &str, is_open: bool) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let settings: &[u8] = if is_open { &[0, 4, 0x7f, 0xff, 0xff, 0xff] } else { &[] };
    bytes.extend(framed(4, 0, 0, settings));
    if is_open {
        bytes.extend(window(0, 0x7fff_0000));
    }
    // RFC 7541: GET and http are in the static table, path and authority are written out.
    let mut head = vec![0x82, 0x86, 0x04, u8::try_from(target.len()).unwrap()];
    head.extend_from_slice(target.as_bytes());
    head.extend_from_slice(b"\x01\x01a");
    for at in 0..STREAMS {
        bytes.extend(framed(1, 5, 1 + 2 * at, &head));
    }
    stream.write_all(&bytes).unwrap();
    stream
}

fn framed(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    framed(8, 0, stream, &by.to_be_bytes())
}

/// The next frame: its kind, flags, stream and payload.
fn frame(stream: &mut TcpStream) -> (u8, u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).unwrap();
    (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload)
}

fn piped(repository: &Path, args: &[&str], input: &[u8]) -> String {
    let mut git = git_command(repository).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
    git.stdin.take().unwrap().write_all(input).unwrap();
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
