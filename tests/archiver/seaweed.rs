//! A real S3-compatible store, SeaweedFS, with one bucket, and a plain client of it.

use crate::common::process::{Process, Start as _};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUCKET: &str = "archives";
const SECRET: &str = "a-secret-that-nobody-prints";

/// A store in a process of its own; killed when dropped.
pub(crate) struct Seaweed {
    child: Option<Process>,
    ports: Vec<u16>,
    folder: TempDir,
}

impl Seaweed {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let identities = format!(
            r#"{{"identities": [{{"name": "a", "credentials": [{{"accessKey": "larder", "secretKey": "{SECRET}"}}],
                "actions": ["Admin", "Read", "List", "Write"]}},
                {{"name": "b", "credentials": [{{"accessKey": "limited", "secretKey": "{SECRET}"}}],
                "actions": ["Read", "List", "Write"]}}]}}"#
        );
        fs::write(folder.path().join("identities.json"), identities).unwrap();
        fs::write(folder.path().join("id"), "larder\n").unwrap();
        // Makes no bucket by putting something into it.
        fs::write(folder.path().join("limited"), "limited\n").unwrap();
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        fs::write(folder.path().join("wrong"), "guessed").unwrap();
        let mut seaweed = Self { child: None, ports: Vec::new(), folder };
        // Others may take a port between its choice and its use: then it ends, and others are chosen.
        let is_up = (0..5).any(|_| {
            let held: Vec<TcpListener> = (0..8).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            seaweed.ports = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
            drop(held);
            seaweed.try_up()
        });
        assert!(is_up, "it does not start:\n{}", seaweed.log());
        seaweed
    }

    /// Starts it again, with what it had.
    pub(crate) fn up(&mut self) {
        assert!(self.try_up(), "it does not start:\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Whether it has come up, and not ended instead.
    fn try_up(&mut self) -> bool {
        let names = ["s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc"];
        let port = |(name, port): (&str, &u16)| match name.split_once('.') {
            Some((server, kind)) => format!("-{server}.port.{kind}={port}"),
            None => format!("-{name}.port={port}"),
        };
        let child = Command::new(program())
            .arg("server")
            .arg(format!("-dir={}", self.folder.path().join("data").display()))
            .arg(format!("-s3.config={}", self.folder.path().join("identities.json").display()))
            .args(names.into_iter().zip(&self.ports).map(port))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.ip.bind=127.0.0.1"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=40"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.path().join("log")).unwrap())
            .start()
            .expect("weed can be run: tests/install installs it");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_mins(5);
        // 409: the bucket is there already.
        while !matches!(self.signed("PUT", "").0, 200 | 409) || self.signed("PUT", "/up").0 != 200 {
            let has_ended = self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some());
            if has_ended || Instant::now() > deadline {
                self.down();
                return false;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        true
    }

    /// Kills it.
    pub(crate) fn down(&mut self) {
        self.child = None;
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Settings of the region `name`, and further lines of it.
    pub(crate) fn settings(&self, name: &str, lines: &str) -> String {
        self.settings_with(name, BUCKET, "secret", lines)
    }

    /// With another bucket, and the secret of another file.
    pub(crate) fn settings_with(&self, name: &str, bucket: &str, secret: &str, lines: &str) -> String {
        let (endpoint, file) = (self.endpoint(), |name: &str| -> PathBuf { self.folder.path().join(name) });
        format!(
            "[archiver.regions.{name}]\nendpoint = \"{endpoint}\"\nbucket = \"{bucket}\"\nallow_http = true\n\
             access_key_file = \"{}\"\nsecret_key_file = \"{}\"\nprobe = \"200ms\"\n{lines}\n",
            file("id").display(),
            file(secret).display()
        )
    }

    /// A request of the owner's below the bucket, and the answer.
    pub(crate) fn signed(&self, method: &str, target: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["-s", "-w", "\n%{http_code}", "-X", method, "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", &format!("larder:{SECRET}"), &format!("{}/{BUCKET}{target}", self.endpoint())])
            .output()
            .expect("curl can be run");
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), body.to_owned())
    }

    /// The keys of the archives in the bucket.
    pub(crate) fn keys(&self) -> Vec<String> {
        let (status, body) = self.signed("GET", "?list-type=2");
        assert_eq!(status, 200, "{body}");
        let keys = body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        keys.filter(|key| key.len() == 40).collect()
    }

    /// How many uploads were begun and not ended.
    pub(crate) fn uploads(&self) -> usize {
        self.uploads_of("")
    }

    /// How many of keys that begin so.
    pub(crate) fn uploads_of(&self, key: &str) -> usize {
        let (status, body) = self.signed("GET", &format!("?prefix={key}&uploads="));
        assert_eq!(status, 200, "{body}");
        body.matches("<UploadId>").count()
    }
}

/// Where `tests/install` puts it, if it is there.
fn program() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/weed");
    if installed.exists() { installed } else { PathBuf::from("weed") }
}

/// A way to a server of the loopback that is narrow towards it; it ends with the test's process.
pub(crate) fn narrow(endpoint: &str) -> String {
    let server = endpoint.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || {
                let mut piece = vec![0; 128 << 10];
                while let Ok(n @ 1..) = client.read(&mut piece) {
                    std::thread::sleep(Duration::from_millis(n as u64 >> 13));
                    if server.write_all(&piece[..n]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    format!("http://{address}")
}

/// What a plain client gets: status, head in lower case, body.
pub(crate) fn get(url: &str) -> (u16, String, Vec<u8>) {
    let output = Command::new("curl").args(["-s", "-i", url]).output().expect("curl can be run").stdout;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or_else(|| panic!("{url}: no answer"));
    let head = String::from_utf8(output[..end].to_vec()).unwrap().to_ascii_lowercase();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, output[end + 4..].to_vec())
}
