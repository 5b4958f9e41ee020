//! A real nginx writes the log: a hundred thousand hits, while the log is rotated ten times and larder
//! is killed ten times.

use super::desk::pack;
use crate::common::fixtures::fixture;
use crate::common::kitchenware::Random;
use crate::common::process::{Process, Start as _, signal};
use crate::common::server::Server;
use larder::catalogue::{Access, Catalogue};
use larder::key::BundleKey;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const HITS: usize = 100_000;
const TURNS: usize = 10;

#[test]
fn a_hundred_thousand_hits_are_counted_through_ten_rotations_and_ten_kills() {
    let (folder, data, fixture) = (TempDir::new().unwrap(), TempDir::new().unwrap(), fixture("plain"));
    let log = folder.path().join("access.log");
    let keys: Vec<BundleKey> = {
        let server = Server::start(data.path(), &[&fixture.path], &[]);
        let keys = fixture.cookable().take(6).map(|id| format!("{}/{}", id.kind, id.id));
        keys.inspect(|key| assert_eq!(server.cook(key)["status"], "done")).map(|key| key.parse().unwrap()).collect()
    };
    let nginx = Nginx::start(folder.path(), &data.path().join("bundles/v0"));
    let larder = || Server::start(data.path(), &[], &["--access-log", log.to_str().unwrap()]);
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut clients = clients(&nginx.address, &keys, folder.path());
    thread::scope(|scope| {
        let kills: Vec<u64> = (0..TURNS).map(|_| random.below(800)).collect();
        scope.spawn(|| {
            for lifetime in kills {
                let server = larder();
                thread::sleep(Duration::from_millis(lifetime));
                server.kill();
                println!("counted when it was killed: {:?}", counted(data.path(), &keys));
            }
        });
        for turn in 0..TURNS {
            let enough = (HITS / TURNS * 160) as u64;
            while fs::metadata(&log).map_or(0, |facts| facts.len()) < enough {
                assert!(clients.try_wait().unwrap().is_none(), "the clients ended too early");
                thread::sleep(Duration::from_millis(10));
            }
            rotate(folder.path(), turn);
            signal(nginx.process.id(), Signal::USR1);
        }
    });
    clients.kill().unwrap();
    clients.wait().unwrap();
    drop(nginx);
    let logged = logged(folder.path());
    assert!(logged.values().sum::<u64>() >= HITS as u64, "{logged:?}");
    assert!(larder().terminate().success());
    assert_eq!(counted(data.path(), &keys), logged);
}

/// The hits in the catalogue, by bundle.
fn counted(data: &Path, keys: &[BundleKey]) -> BTreeMap<String, u64> {
    let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Read).unwrap();
    keys.iter().map(|key| (key.to_string(), catalogue.bundle(key).unwrap().unwrap().hits)).collect()
}

/// Renames as logrotate does, and packs what was rotated twice.
fn rotate(folder: &Path, turn: usize) {
    let name = |n: usize, ext: &str| folder.join(format!("access.log.{n}{ext}"));
    for n in (2..=turn + 1).rev() {
        let _ = fs::rename(name(n, ".gz"), name(n + 1, ".gz"));
    }
    if name(1, "").exists() {
        pack(&name(1, ""), &name(2, ".gz"));
        fs::remove_file(name(1, "")).unwrap();
    }
    fs::rename(folder.join("access.log"), name(1, "")).unwrap();
}

/// What the files of the log say that counts, by bundle.
fn logged(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with("access.log") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let mut text = String::new();
        if path.extension().unwrap() == "gz" {
            flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes).unwrap();
        }
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!((fields[0], fields.len()), ("larder1", 12), "{line}");
            let counts = match (fields[4], fields[5]) {
                ("GET", "200") => 2 * fields[6].parse::<u64>().unwrap() >= fields[7].parse::<u64>().unwrap(),
                ("GET", "206") => fields[8].starts_with("bytes 0-"),
                ("GET", "304") => true,
                _ => false,
            };
            // As nginx found it: /directory/4b/82/4b82....tar.gz
            let parts: Vec<&str> = fields[11].split('/').collect();
            if counts {
                *found.entry(format!("{}/{}", parts[1], parts[4])).or_default() += 1;
            }
        }
    }
    found
}

/// Clients that fetch, revalidate, resume and ask for parts, until they are killed.
fn clients(address: &str, keys: &[BundleKey], folder: &Path) -> Process {
    let paths: Vec<String> = keys.iter().map(|key| format!("\"/vault/{key}\"")).collect();
    let script = format!(
        "local paths = {{ {} }}
         local fields = {{ {{}}, {{ Range = 'bytes=0-9' }}, {{ Range = 'bytes=5-9' }},
                           {{ ['If-Modified-Since'] = 'Fri, 01 Jan 2100 00:00:00 GMT' }} }}
         local n = 0
         request = function()
             n = n + 1
             return wrk.format('GET', paths[n % #paths + 1], fields[n % 7 + 1] or fields[1])
         end",
        paths.join(", ")
    );
    fs::write(folder.join("clients.lua"), script).unwrap();
    Command::new("wrk")
        .args(["-t1", "-c8", "-d10m", "-s"])
        .arg(folder.join("clients.lua"))
        .arg(format!("http://{address}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .start()
        .expect("wrk starts (install it)")
}

/// nginx with two workers, so that one may still write to a file that the other has left.
struct Nginx {
    process: Process,
    address: String,
}

impl Nginx {
    fn start(home: &Path, bundles: &Path) -> Self {
        // Free a moment ago; nginx cannot choose one itself.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        fs::write(home.join("nginx.conf"), configuration(home, bundles, &address)).unwrap();
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let process = Command::new(program)
            .arg("-p")
            .arg(home)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .start()
            .expect("nginx starts (install it)");
        let mut nginx = Self { process, address };
        while TcpStream::connect(&nginx.address).is_err() {
            assert!(nginx.process.try_wait().unwrap().is_none(), "nginx ended: see its error log");
            thread::sleep(Duration::from_millis(10));
        }
        nginx
    }
}

/// The format is that of the document.
fn configuration(home: &Path, bundles: &Path, address: &str) -> String {
    let document = include_str!("../../../docs/access-log.md");
    let format = &document[document.find("log_format larder").unwrap()..];
    let format = &format[..=format.find(';').unwrap()];
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (home, bundles) = (home.display(), bundles.display());
    format!(
        "{user}
        daemon off;
        worker_processes 2;
        pid {home}/nginx.pid;
        events {{ }}
        http {{
            {format}
            access_log off;
            client_body_temp_path {home}/body;
            proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi;
            uwsgi_temp_path {home}/uwsgi;
            scgi_temp_path {home}/scgi;
            if_modified_since before;
            server {{
                listen {address};
                location ~ \"^/vault/(?<kind>[a-z]+)/(?<a>[0-9a-f]{{2}})(?<b>[0-9a-f]{{2}})(?<rest>[0-9a-f]{{36}}\\.[a-z.]+)$\" {{
                    root {bundles};
                    access_log {home}/access.log larder;
                    try_files /$kind/$a/$b/$a$b$rest =404;
                }}
            }}
        }}
        "
    )
}
