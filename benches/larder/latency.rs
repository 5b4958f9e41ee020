//! The time of one small request, and of a start.

use super::common::fixtures::fixture;
use super::common::server::Server;
use super::spread;
use larder::catalogue::{Access, Catalogue};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const REQUESTS: usize = 5000;
const STARTS: usize = 9;

/// One client, one connection, one request after another.
pub(super) fn of_status_and_no_op_post() {
    let (fixture, data) = (fixture("plain"), TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let id = fixture.cookable().next().unwrap();
    let key = format!("{}/{}", id.kind, id.id);
    assert_eq!(server.cook(&key)["status"], "done");
    println!("\nmilliseconds: min / median / max of {REQUESTS}");
    for (what, line) in [
        ("status", format!("GET /vault/{key}/status HTTP/1.1")),
        ("POST of what is there", format!("POST /vault/{key} HTTP/1.1")),
    ] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let request = format!("{line}\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            let start = Instant::now();
            stream.write_all(request.as_bytes()).unwrap();
            read_answer(&mut reader);
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        println!("  {what}: {}", spread(&times));
    }
}

pub(super) fn read_answer(reader: &mut BufReader<TcpStream>) {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the connection ended");
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
}

/// From the start of the process to its first answer.
pub(super) fn of_start_with_a_million_rows() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = data.path().join("catalogue.db");
    drop(Catalogue::open(&path, Access::Migrate).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
             INSERT INTO file (id, size, allocated, blake3, sha256, last_access)
             SELECT i, 1000, 4096, randomblob(32), randomblob(32), i FROM n;
             INSERT INTO bundle (kind, sha1git, format, status, file, created_at, done_at)
             SELECT 1, randomblob(20), 1, 2, id, id, id FROM file;
             COMMIT;",
        )
        .unwrap();
    drop(connection);
    let mut times = Vec::new();
    for round in 0..=STARTS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        command.env("LARDER_LOG", "off").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let start = Instant::now();
        let server = Server::spawn(command);
        assert_eq!(server.get("/readyz").status, 200);
        if round > 0 {
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    println!("\nmilliseconds from start to the first answer, a million bundles: {}", spread(&times));
}
