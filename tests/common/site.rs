//! A real nginx from a site file of `nginx/` with a real larder behind it, each as a user of its own
//! when the test runs as root, as they do on a server. Of the site only ports, paths and the
//! certificate are replaced; its second TLS port is spoken to without TLS, for the plain client.

use crate::common::client::{Answer, request};
use crate::common::fixtures::fixture;
use crate::common::process::{Process, Start as _, signal};
use crate::common::server::Server;
use rustix::process::Signal;
use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The user that larder runs as: nobody's number, which every system has.
const LARDER_USER: u32 = 65_534;

pub(crate) struct Site {
    /// Dropped before the folder below it.
    nginx: Process,
    larder: Option<Server>,
    /// Where nginx speaks plain HTTP, `127.0.0.1:port`.
    pub(crate) address: String,
    /// Where it speaks TLS.
    pub(crate) tls: String,
    /// Where a forge is, whose site takes its archives from larder.
    pub(crate) forge: String,
    home: tempfile::TempDir,
}

impl Site {
    /// Starts the site in `nginx/<name>`, with larder over the fixture `plain` and a repository that
    /// `prepare` may make in the folder it is given; with further flags for larder, in which `@log` is nginx's log.
    pub(crate) fn open(name: &str, flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let [git, data, log] = ["git", "larder", "log"].map(|folder| home.path().join(folder));
        for folder in [&git, &data, &log] {
            fs::create_dir(folder).expect("a folder");
        }
        fixture("plain").copy_to(&git);
        prepare(&git);
        run(Command::new("chmod").arg("-R").arg("a+rX").arg(home.path()));
        if is_root() {
            chown(&data, Some(LARDER_USER), Some(LARDER_USER)).expect("root may give a folder away");
        }
        let ports = Ports::choose();
        let over_unix = name.contains("unix");
        let socket = data.join("larder.sock");
        let listen = if over_unix { format!("unix:{}", socket.display()) } else { "127.0.0.1:0".to_owned() };
        let public_url = format!("http://127.0.0.1:{}", ports.plain);
        let mut larder = larder(home.path());
        larder.arg("serve").arg("--data").arg(data.join("data")).arg("--git").arg(&git);
        larder.args(["--listen", &listen, "--public-url", &public_url]);
        let access_log = log.join("access.log").display().to_string();
        larder.args(flags.iter().map(|flag| flag.replace("@log", &access_log)));
        let log = File::create(home.path().join("larder.log")).expect("a file");
        larder.env_remove("LARDER_CONFIG").env("LARDER_LOG", "debug");
        larder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let larder = Server::spawn(larder);
        write_configuration(home.path(), name, &ports, &larder.address);
        let address = format!("127.0.0.1:{}", ports.plain);
        let nginx = start(home.path(), &address);
        Self {
            nginx,
            larder: Some(larder),
            address,
            tls: format!("127.0.0.1:{}", ports.tls),
            forge: format!("127.0.0.1:{}", ports.forge),
            home,
        }
    }

    /// Asks nginx.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        request(&self.address, method, target, headers).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[])
    }

    /// The larder behind it.
    pub(crate) fn larder(&self) -> &Server {
        self.larder.as_ref().expect("it was not stopped")
    }

    pub(crate) fn stop_larder(&mut self) {
        self.larder.take().expect("it was not stopped").kill();
    }

    /// Cooks a bundle by way of nginx; gives its URL's path.
    pub(crate) fn cook(&self, key: &str) -> String {
        let target = format!("/vault/{key}");
        let ordered = self.send("POST", &target, &[("Prefer", "wait=60")]);
        assert_eq!(ordered.status, 201, "{key}: {}", String::from_utf8_lossy(&ordered.body));
        assert_eq!(ordered.json()["status"], "done", "{key}: {}", String::from_utf8_lossy(&ordered.body));
        target
    }

    /// What larder has logged so far.
    pub(crate) fn larder_log(&self) -> String {
        fs::read_to_string(self.home.path().join("larder.log")).expect("larder's log")
    }

    /// How many requests larder answered so far, by its own log.
    pub(crate) fn asked_of_larder(&self) -> usize {
        self.larder_log().lines().filter(|line| line.contains("answered")).count()
    }

    /// The lines of the access log that larder is to read.
    pub(crate) fn hits_logged(&self) -> Vec<String> {
        let log = fs::read_to_string(self.home.path().join("log/access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// The certificate of the authority that its own is of.
    pub(crate) fn authority(&self) -> PathBuf {
        self.home.path().join("ca.pem")
    }

    /// Where a bundle lies.
    pub(crate) fn bundles(&self) -> PathBuf {
        self.home.path().join("larder/data/bundles")
    }

    /// `systemctl reload nginx`, and the wait that this does without: until then the workers of before answer
    /// too, by what was configured before.
    pub(crate) fn reload(&self) {
        let before = self.workers();
        signal(self.nginx.id(), Signal::HUP);
        // One that has closed what it listened on may still send what it had begun, and says so in its title.
        let answers = |worker: &String| {
            let title = fs::read_to_string(format!("/proc/{worker}/cmdline")).unwrap_or_default();
            !title.is_empty() && !title.contains("shutting down")
        };
        while self.workers().iter().all(|worker| before.contains(worker)) || before.iter().any(answers) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `systemctl restart nginx`, without patience: downloads are cut.
    pub(crate) fn restart(&mut self) {
        signal(self.nginx.id(), Signal::TERM);
        self.nginx.wait().expect("it was started here");
        self.nginx = start(self.home.path(), &self.address);
    }

    fn workers(&self) -> Vec<String> {
        let pid = self.nginx.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
        children.split_whitespace().map(str::to_owned).collect()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// larder, as its own user when that can be: its program is copied where that user can reach it.
fn larder(home: &Path) -> Command {
    let program = env!("CARGO_BIN_EXE_larder");
    if !is_root() {
        return Command::new(program);
    }
    let as_user = || {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={LARDER_USER}"), format!("--regid={LARDER_USER}"), "--clear-groups".to_owned()]);
        command
    };
    let is_in_reach = as_user().args(["test", "-x", program]).status().expect("setpriv runs").success();
    let mut command = as_user();
    if is_in_reach {
        command.arg(program);
    } else {
        let copy = home.join("larder-program");
        fs::copy(program, &copy).expect("a copy of the program");
        command.arg(copy);
    }
    command
}

struct Ports {
    http: u16,
    http_v6: u16,
    tls: u16,
    plain: u16,
    forge: u16,
}

impl Ports {
    /// Free ones; held until all are known, so that they differ.
    fn choose() -> Self {
        let held = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [http, http_v6, tls, plain, forge] =
            held.map(|listener| listener.local_addr().expect("it is bound").port());
        Self { http, http_v6, tls, plain, forge }
    }
}

/// The site file with what differs on every server, in a configuration as Debian's.
fn write_configuration(home: &Path, name: &str, ports: &Ports, larder: &str) {
    certificate(home);
    let site = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx").join(name)).expect("the site");
    let at = |path: &str| home.join(path).display().to_string();
    let mut site = site;
    for (old, new) in [
        ("listen 80;", format!("listen 127.0.0.1:{};", ports.http)),
        ("listen [::]:80;", format!("listen 127.0.0.1:{};", ports.http_v6)),
        ("listen 443 ssl http2;", format!("listen 127.0.0.1:{} ssl http2;", ports.tls)),
        ("listen [::]:443 ssl http2;", format!("listen 127.0.0.1:{};", ports.plain)),
        ("/etc/letsencrypt/live/bundles.example.org/fullchain.pem", at("certificate.pem")),
        ("/etc/letsencrypt/live/bundles.example.org/privkey.pem", at("key.pem")),
        ("/var/lib/larder/", at("larder/data/")),
        ("/var/log/larder/", at("log/")),
        ("server 127.0.0.1:8417;", format!("server {larder};")),
        ("server unix:/run/larder.sock;", format!("server {larder};")),
    ] {
        site = site.replace(old, &new);
    }
    fs::write(home.join("site.conf"), site).expect("write");
    let user = if is_root() { "user www-data;" } else { "" };
    let home = home.display();
    let archives = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx/forge-archive.conf");
    let (forge, archives) = (ports.forge, archives.display());
    let configuration = format!(
        "{user}
        worker_processes 2;
        daemon off;
        pid {home}/nginx.pid;
        events {{ worker_connections 768; }}
        http {{
            sendfile on;
            tcp_nopush on;
            types_hash_max_size 2048;
            include /etc/nginx/mime.types;
            default_type application/octet-stream;
            access_log {home}/all.log;
            gzip on;
            client_body_temp_path {home}/body;
            proxy_temp_path {home}/proxy;
            fastcgi_temp_path {home}/fastcgi;
            uwsgi_temp_path {home}/uwsgi;
            scgi_temp_path {home}/scgi;
            include {home}/site.conf;
            server {{
                listen 127.0.0.1:{forge};
                location / {{
                    return 200 forge;
                }}
                include {archives};
            }}
        }}
        "
    );
    fs::write(format!("{home}/nginx.conf"), configuration).expect("write");
}

/// `ca.pem` and `other.pem`, two authorities, and of the first `certificate.pem` with `key.pem`, as
/// docs/deploy.md makes them.
fn certificate(home: &Path) {
    let openssl = |args: &[&str]| run(Command::new("openssl").args(args).current_dir(home));
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for name in ["ca", "other"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let ends = ["-days", "2", "-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &certificate];
        openssl(&[&["req", "-x509"], &new[..], &ends].concat());
    }
    let extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    let ends = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem"];
    openssl(&[&["req"], &new[..], &extensions, &ends].concat());
    let signed = ["-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
    openssl(&[&["x509", "-req"], &signed[..], &["-copy_extensions", "copy", "-out", "certificate.pem"]].concat());
    fs::set_permissions(home.join("key.pem"), Permissions::from_mode(0o600)).expect("it was just made");
}

fn start(home: &Path, address: &str) -> Process {
    let mut nginx =
        nginx(home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).start().expect("nginx");
    while TcpStream::connect(address).is_err() {
        let ended = nginx.try_wait().expect("its state is known");
        let log = || fs::read_to_string(home.join("error.log"));
        assert!(ended.is_none(), "nginx ended with {ended:?}: {:?}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    nginx
}

/// Debian keeps it where only root's `PATH` looks.
fn nginx(home: &Path) -> Command {
    let mut command = Command::new(if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" });
    command.arg("-p").arg(home).args(["-c", "nginx.conf", "-e", "error.log"]);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
