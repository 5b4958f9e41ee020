//! The Archiver: a hit beside a status of `/vault`, and a miss beside `curl -o` from the same upstream;
//! once without regions, once with two, into which a miss is uploaded, and for which a hit signs a URL.

use super::common::fixtures::fixture;
use super::common::server::Server;
use super::seaweed::Seaweed;
use super::{latency, median, spread};
use crate::common::process::{Process, Start as _};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REQUESTS: usize = 5000;
const ROUNDS: usize = 5;
/// Of the file that hgweb packs, in bytes: noise, so that packing it costs what it does of real trees.
const NOISE: usize = 64 << 20;

/// An hgweb in a process of its own.
struct Hgweb {
    _child: Process,
    address: String,
    rev: String,
    folder: TempDir,
}

pub(super) fn beside_curl_and_status() {
    let (hg, fixture) = (hgweb(), fixture("plain"));
    let id = fixture.cookable().next().unwrap();
    let key = format!("{}/{}", id.kind, id.id);
    for regions in [&[][..], &[Seaweed::start(), Seaweed::start()]] {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let config = hg.folder.path().join("larder.toml");
        let places = regions.iter().zip(["east", "west"]).map(|(region, name)| region.settings(name, ""));
        let text = format!(
            "[archiver.sources.hg]\npreset = \"hgweb\"\nbase = \"http://{}\"\nrepos = [\"**\"]\n\
             private_addresses = true\n{}",
            hg.address,
            places.collect::<String>()
        );
        std::fs::write(&config, text).unwrap();
        let server = Server::start(data.path(), &[&fixture.path], &["--config", config.to_str().unwrap()]);
        println!("\nwith {} regions", regions.len());
        miss_beside_curl(&hg, &server, regions, (&config, data.path()));
        hit_beside_status(&hg, &server, &key, regions);
    }
}

/// The same archive: by curl into a file, and by larder until its task has ended, in turn.
fn miss_beside_curl(hg: &Hgweb, server: &Server, regions: &[Seaweed], (config, data): (&Path, &Path)) {
    let url = format!("http://{}/r/archive/{}.tar.gz", hg.address, hg.rev);
    let (target, mut ratios) = (format!("/archiver/hg/r/{}", hg.rev), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let out = hg.folder.path().join("out");
        assert!(Command::new("curl").args(["-s", "-o"]).arg(&out).arg(&url).status().unwrap().success());
        let curl = start.elapsed();
        let start = Instant::now();
        let location = server.get(&target).header("location").unwrap().to_owned();
        let status = location.strip_prefix(&format!("http://{}", server.address)).unwrap().to_owned();
        while server.get(&status).json()["result"]["state"] != "SUCCESS" {
            std::thread::sleep(Duration::from_millis(5));
        }
        ratios.push(curl.as_secs_f64() / start.elapsed().as_secs_f64());
        let content = server.get(&target).header("location").unwrap().to_owned();
        let id = content.split('?').next().unwrap().rsplit('/').next().unwrap().trim_end_matches(".raw").to_owned();
        assert!(regions.iter().all(|region| region.keys() == [id.as_str()]), "it is in every region");
        let removed = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["remove", &format!("content/{id}.raw"), "--config"])
            .arg(config)
            .arg("--data")
            .arg(data)
            .status()
            .unwrap();
        assert!(removed.success());
        while regions.iter().any(|region| !region.keys().is_empty()) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    println!("\na miss's throughput, in that of curl -o (at least 0.8): {}", spread(&ratios));
}

/// One client, one connection, one of each in turn.
fn hit_beside_status(hg: &Hgweb, server: &Server, key: &str, regions: &[Seaweed]) {
    assert_eq!(server.cook(key)["status"], "done");
    let target = format!("/archiver/hg/r/{}", hg.rev);
    while server.get(&target).status != 302 {
        std::thread::sleep(Duration::from_millis(100));
    }
    let leads_to = server.get(&target).header("location").unwrap().to_owned();
    let signs = regions.iter().any(|region| leads_to.starts_with(&region.endpoint()));
    assert_eq!(signs, !regions.is_empty(), "{leads_to}");
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut hits, mut statuses) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        for (target, times) in [(&target, &mut hits), (&format!("/vault/{key}/status"), &mut statuses)] {
            let start = Instant::now();
            stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            latency::read_answer(&mut reader);
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    println!("\nmilliseconds: min / median / max of {REQUESTS}");
    println!("  a hit of the Archiver: {}", spread(&hits));
    println!("  a status of /vault: {}", spread(&statuses));
    println!("  a hit, in statuses (at most 1.5): {:.2}", median(&hits) / median(&statuses));
}

fn hgweb() -> Hgweb {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let repository = folder.path().join("r");
    std::fs::create_dir(&repository).unwrap();
    let hg = |args: &[&str]| {
        let output = Command::new("hg").args(args).current_dir(&repository).env("HGRCPATH", "").output().unwrap();
        assert!(output.status.success(), "hg {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    hg(&["init"]);
    let mut state = 7_u64;
    let noise: Vec<u8> = (0..NOISE)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + (state >> 60) as u8
        })
        .collect();
    for (n, piece) in noise.chunks(1 << 20).enumerate() {
        std::fs::write(repository.join(format!("f{n}")), piece).unwrap();
    }
    hg(&["add", "-q"]);
    hg(&["commit", "-q", "-m", "noise", "-u", "t", "-d", "0 0"]);
    let rev = hg(&["log", "-r", ".", "-T", "{node}"]);
    let conf = folder.path().join("hgweb.conf");
    std::fs::write(&conf, format!("[paths]\n/r = {}\n[web]\nallow-archive = gz\n", repository.display())).unwrap();
    let mut child = Command::new("hg")
        .args([
            "serve",
            "-a",
            "127.0.0.1",
            "-p",
            "0",
            "--print-url",
            "-A",
            "/dev/null",
            "-E",
            "/dev/null",
            "--web-conf",
        ])
        .arg(&conf)
        .env("HGRCPATH", "")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .start()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    let port = line.trim().trim_end_matches('/').rsplit(':').next().unwrap();
    Hgweb { _child: child, address: format!("127.0.0.1:{port}"), rev, folder }
}
