//! An upstream that answers as it is told, byte by byte.

use larder::archiver::structure::SUFFIXES;
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What an answer is made of: the stream, the number of the request (from 0), and its head.
type Handler = dyn Fn(&mut TcpStream, usize, &str) + Send + Sync;

/// A server on a thread of its own; it ends with the test's process.
pub(crate) struct Upstream {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    requests: Arc<AtomicUsize>,
    times: Arc<Mutex<Vec<Instant>>>,
}

impl Upstream {
    pub(crate) fn start(handler: impl Fn(&mut TcpStream, usize, &str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (handler, requests): (Arc<Handler>, _) = (Arc::new(handler), Arc::new(AtomicUsize::new(0)));
        let times = Arc::new(Mutex::new(Vec::new()));
        let (counter, clock) = (Arc::clone(&requests), Arc::clone(&times));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (handler, counter, clock) = (Arc::clone(&handler), Arc::clone(&counter), Arc::clone(&clock));
                std::thread::spawn(move || {
                    let head = head(&stream);
                    if head.is_empty() {
                        return;
                    }
                    clock.lock().unwrap().push(Instant::now());
                    handler(&mut stream, counter.fetch_add(1, Ordering::SeqCst), &head);
                });
            }
        });
        Self { address, requests, times }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// When each request came.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.times.lock().unwrap().clone()
    }

    /// Settings of a larder with the source `up`, and further lines of it.
    pub(crate) fn settings(&self, lines: &str) -> String {
        format!(
            "[archiver.sources.up]\nurl = \"http://{}/{{repo}}/{{rev}}.{{suffix}}\"\nrepos = [\"**\"]\n\
             suffixes = {:?}\nprivate_addresses = true\nretry_wait = \"30ms\"\n{lines}\n",
            self.address, SUFFIXES
        )
    }
}

fn head(stream: &TcpStream) -> String {
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(n) if n > 0 => {}
            _ => return head,
        }
        if line == "\r\n" {
            return head;
        }
        head.push_str(&line);
    }
}

/// An answer with its length. Who asked may be gone.
pub(crate) fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

/// A tar of one directory: names (below it) and contents.
pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Written as it is: `set_path` refuses names that lead elsewhere.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar, packed as its suffix says.
pub(crate) fn packed(suffix: &str, tar: &[u8]) -> Vec<u8> {
    match suffix {
        "tar.gz" | "tgz" => gz(tar),
        "tar.bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        "tar.xz" => lzma(Stream::new_easy_encoder(6, Check::Crc64).unwrap(), tar),
        "tar.zst" => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        "tar.lz" => {
            let mut options = LzmaOptions::new_preset(6).unwrap();
            let raw = lzma(Stream::new_raw_encoder(Filters::new().lzma1(options.dict_size(1 << 23))).unwrap(), tar);
            let size = (6 + raw.len() + 20) as u64;
            let (sum, length) = (crc32fast::hash(tar).to_le_bytes(), (tar.len() as u64).to_le_bytes());
            [b"LZIP\x01\x17", &raw[..], &sum, &length, &size.to_le_bytes()].concat()
        }
        "tar" => tar.to_vec(),
        suffix => panic!("no tar is packed as {suffix}"),
    }
}

fn lzma(mut stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + (1 << 16));
    while stream.process_vec(&bytes[usize::try_from(stream.total_in()).unwrap()..], &mut out, Action::Finish).unwrap()
        != Status::StreamEnd
    {}
    out
}

/// A good archive.
pub(crate) fn good() -> Vec<u8> {
    let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    gz(&tar(&[("t/a", b"hello\n"), ("t/d/noise", &noise)]))
}
