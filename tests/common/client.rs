//! A small HTTP/1.1 client over one connection a request: what it sends and gets is plain to see,
//! and nothing is retried, decoded or redirected behind a test's back.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Sends one request to `address` (`127.0.0.1:port`) and reads the whole answer.
pub(crate) fn request(address: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    request_with_body(address, method, target, headers, b"")
}

/// The same with a body.
pub(crate) fn request_with_body(
    address: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_mins(2)))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes, method == "HEAD")
}

/// Reads an answer; one whose body is shorter than its Content-Length is an error.
fn parse(bytes: &[u8], head_only: bool) -> io::Result<Answer> {
    let cut_short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is cut short");
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").ok_or_else(cut_short)?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::other("no status line"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if !head_only && status != 304 && length != answer.body.len() => Err(cut_short()),
        _ => Ok(answer),
    }
}

/// The bytes of a chunked body; `None` when its last chunk is missing.
pub(crate) fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let end = body.windows(2).position(|pair| pair == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).ok()?, 16).ok()?;
        body = &body[end + 2..];
        if size == 0 {
            return Some(bytes);
        }
        bytes.extend_from_slice(body.get(..size)?);
        body = body.get(size + 2..)?;
    }
}
