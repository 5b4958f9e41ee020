//! A real nginx on a folder, for as long as a test needs it: one process, a Unix socket in a
//! temporary folder of its own, killed when it is dropped.

use super::process::{Process, Start as _};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) struct Nginx {
    process: Process,
    home: tempfile::TempDir,
}

impl Nginx {
    /// Serves `files` under `/files/`.
    pub(crate) fn start(files: &Path, max_ranges: usize) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        fs::write(home.path().join("nginx.conf"), configuration(home.path(), files, max_ranges)).expect("write");
        let process = Command::new(program())
            .arg("-p")
            .arg(home.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .start()
            .expect("nginx starts (it is what this test compares with; install it)");
        let mut nginx = Self { process, home };
        while UnixStream::connect(nginx.socket()).is_err() {
            let ended = nginx.process.try_wait().expect("its state is known");
            let log = || fs::read_to_string(nginx.home.path().join("error.log"));
            assert!(ended.is_none(), "nginx ended with {ended:?}: {:?}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("nginx.sock")
    }
}

/// Debian keeps it where only root's `PATH` looks.
fn program() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

fn configuration(home: &Path, files: &Path, max_ranges: usize) -> String {
    // As root it would read the files as another user, who may not enter a temporary folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let (home, files) = (home.display(), files.display());
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
            sendfile on;
            tcp_nodelay on;
            etag on;
            if_modified_since before;
            max_ranges {max_ranges};
            client_max_body_size 64k;
            types {{ application/gzip gz; application/x-tar tar; }}
            server {{
                listen unix:{home}/nginx.sock;
                location /files/ {{ alias {files}/; }}
            }}
        }}
        "
    )
}
