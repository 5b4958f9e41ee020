//! Upstreams and regions over https, with certificates of an authority of their own: nginx in front, with
//! what openssl makes.

use super::Larder;
use super::regions::until;
use super::seaweed::Seaweed;
use super::upstream::good;
use crate::common::process::{Process, Start as _};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TARGET: &str = "/archiver/up/r/3d11cb4f31b9";

/// An nginx that has the archive, and passes on what comes to its other port.
struct Secure {
    _child: Process,
    home: TempDir,
    ports: [u16; 2],
}

impl Secure {
    fn start(behind: &str) -> Self {
        let home = TempDir::new().unwrap();
        certificates(home.path());
        fs::create_dir_all(home.path().join("files/r")).unwrap();
        fs::write(home.path().join("files/r/3d11cb4f31b9.tar.gz"), good()).unwrap();
        let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(held);
        fs::write(home.path().join("nginx.conf"), configuration(home.path(), ports, behind)).unwrap();
        let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let child = Command::new(nginx)
            .arg("-p")
            .arg(home.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .start()
            .expect("nginx can be run: tests/install installs it");
        let deadline = Instant::now() + Duration::from_mins(5);
        while ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            let log = fs::read_to_string(home.path().join("error.log"));
            assert!(Instant::now() < deadline, "nginx does not start: {log:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { _child: child, home, ports }
    }

    /// Settings of the source `up` under a name of this machine, and further lines of it.
    fn source(&self, host: &str, lines: &str) -> String {
        format!(
            "[archiver.sources.up]\nurl = \"https://{host}:{}/{{repo}}/{{rev}}.{{suffix}}\"\nrepos = [\"**\"]\n\
             private_addresses = true\nretries = 0\n{lines}\n",
            self.ports[0]
        )
    }

    /// A line that trusts the authority of this name.
    fn trust(&self, name: &str) -> String {
        format!("ca_file = \"{}\"", self.home.path().join(name).display())
    }

    /// Requests that came through to the upstream.
    fn requests(&self) -> usize {
        fs::read_to_string(self.home.path().join("access.log")).unwrap_or_default().lines().count()
    }
}

/// `ca.pem` and `other.pem`, two authorities, and `key.pem` with `certificate.pem` of the first, for
/// `localhost` alone.
fn certificates(home: &Path) {
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).current_dir(home).output().expect("openssl can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for name in ["ca", "other"] {
        let files =
            ["-subj", &format!("/CN={name}"), "-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")];
        openssl(&[&["req", "-x509", "-days", "2"], &key[..], &files].concat());
    }
    let files = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"];
    openssl(&[&["req"], &key[..], &files].concat());
    let extensions = "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n";
    fs::write(home.join("extensions"), extensions).unwrap();
    let authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
    let files = ["-in", "request.pem", "-extfile", "extensions", "-out", "certificate.pem"];
    openssl(&[&["x509", "-req"], &authority[..], &files].concat());
}

fn configuration(home: &Path, ports: [u16; 2], behind: &str) -> String {
    // As root it would read the files as another user, who may not enter a temporary folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let home = home.display();
    let [files, store] = ports;
    format!(
        "{user}
        daemon off;
        master_process off;
        pid {home}/nginx.pid;
        events {{ }}
        http {{
            access_log off;
            client_body_temp_path {home}/body;
            proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi;
            uwsgi_temp_path {home}/uwsgi;
            scgi_temp_path {home}/scgi;
            client_max_body_size 0;
            ssl_certificate {home}/certificate.pem;
            ssl_certificate_key {home}/key.pem;
            server {{ listen 127.0.0.1:{files} ssl; access_log {home}/access.log; root {home}/files; }}
            server {{
                listen 127.0.0.1:{store} ssl;
                location / {{ proxy_pass {behind}; proxy_set_header Host $http_host; }}
            }}
        }}
        "
    )
}

#[test]
fn an_upstream_over_https_is_fetched_from_where_its_authority_is_trusted_and_refused_where_it_is_not() {
    let nginx = Secure::start("http://127.0.0.1:9");
    let (trusted, other) = (nginx.trust("ca.pem"), nginx.trust("other.pem"));
    for (host, lines, words) in [
        ("localhost", String::new(), "certificate is refused: who issued it is not trusted here. (untrusted)"),
        ("localhost", other, "certificate is refused: who issued it is not trusted here. (untrusted)"),
        ("127.0.0.1", trusted.clone(), "certificate is refused: it is for another name. (untrusted)"),
        ("localhost", nginx.trust("nothing.pem"), "authority that the source trusts cannot be read. (source)"),
        ("localhost", nginx.trust("key.pem"), "authority that the source trusts cannot be read. (source)"),
    ] {
        let larder = Larder::start(&nginx.source(host, &lines));
        let status = larder.fetch(TARGET);
        assert_eq!(status["state"], "FAILURE", "{host} {lines}: {status}");
        assert!(status["status"].as_str().unwrap().ends_with(words), "{host} {lines}: {status}");
        assert!(larder.server.get("/vault/content").json()["bundles"].as_array().unwrap().is_empty());
    }
    assert_eq!(nginx.requests(), 0, "nothing was asked of a server that is not trusted");

    let larder = Larder::start(&nginx.source("localhost", &trusted));
    assert_eq!(larder.archive(TARGET), good());
    assert_eq!(nginx.requests(), 1);
    assert!(larder.run(&["config"]).1.contains(&trusted));
}

#[test]
fn a_region_over_https_is_put_into_where_its_authority_is_trusted() {
    let mut east = Seaweed::start();
    let nginx = Secure::start(&east.endpoint());
    let secure = format!("https://localhost:{}", nginx.ports[1]);
    let region = |name: &str, lines: &str| {
        east.settings(name, lines).replace(&east.endpoint(), &secure).replace("allow_http = true\n", "")
    };
    let regions = [region("trusted", &nginx.trust("ca.pem")), region("untrusted", &nginx.trust("other.pem"))].concat();
    let larder = Larder::start(&format!("{}{regions}", nginx.source("localhost", &nginx.trust("ca.pem"))));
    let status = larder.fetch(TARGET);
    assert_eq!(status["s3_urls"].as_object().unwrap().keys().collect::<Vec<_>>(), ["trusted"], "{status}");
    assert_eq!(east.keys().len(), 1);
    until("the other is known to be refused", || {
        larder.run(&["archiver", "status", "up/r/3d11cb4f31b9"]).1.contains("in untrusted")
    });
    east.down();
}
