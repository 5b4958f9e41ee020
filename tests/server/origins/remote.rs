//! Servers to mirror from: git's own over HTTP, and one that never answers.

use crate::common::git_command;
use crate::common::process::{Process, Start as _};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// `git http-backend` over the repositories in a folder. Below `/secret` it asks for a password, which is in
/// the file `password` (as `user:password`) if any is right, and notes in the file `asked` who was let in
/// and who was not; below `/elsewhere` it sends clients to the URL in the file of that name; below
/// `/redirect` it sends clients to a file, below `/endless` it shows branches without end, and below `/slow` a fetch begins and goes on when told to.
pub(crate) struct GitHttp {
    _child: Process,
    pub(crate) port: u16,
    folder: PathBuf,
}

const PROGRAM: &str = r#"
import base64, http.server, os, subprocess, sys, time
folder, mark, hurry = sys.argv[1:4]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    def answer(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/elsewhere/"):
            self.send_response(302)
            self.send_header("Location", open(folder + "/elsewhere").read() + path[10:] + "?" + query)
            self.end_headers()
            return
        slow = path.startswith("/slow/")
        if slow:
            path = path[5:]
        if path.startswith("/secret/"):
            path = path[7:]
            sent = self.headers.get("Authorization") or ""
            with open(folder + "/asked", "a") as asked:
                asked.write(sent + "\n")
            try:
                right = "Basic " + base64.b64encode(open(folder + "/password", "rb").read()).decode()
            except FileNotFoundError:
                right = None
            if sent != right:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(b"you sent " + sent.encode())
                return
        if path.startswith("/endless/"):
            self.send_response(200)
            self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
            self.end_headers()
            lines = b"001e# service=git-upload-pack\n0000"
            n = 0
            while True:
                for n in range(n, n + 4096):
                    line = b"%040x refs/heads/%0512x\n" % (n + 1, n)
                    lines += b"%04x" % (len(line) + 4) + line
                self.wfile.write(lines)
                lines = b""
        if path.startswith("/redirect/"):
            self.send_response(302)
            self.send_header("Location", "file://" + folder + "/r.git/info/refs?" + query)
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        environment = dict(os.environ, GIT_PROJECT_ROOT=folder, GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
            QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_TYPE=self.headers.get("Content-Type") or "",
            CONTENT_LENGTH=str(len(body)), GIT_PROTOCOL=self.headers.get("Git-Protocol") or "",
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding") or "", REMOTE_ADDR="127.0.0.1")
        output = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True).stdout
        head, _, content = output.partition(b"\r\n\r\n")
        status = 200
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        for name, value in fields:
            if name == "Status":
                status = int(value.split()[0])
        self.send_response(status)
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        if slow and b"packfile\n" in content and not os.path.exists(hurry):
            self.wfile.write(content[:-40])
            self.wfile.flush()
            open(mark, "w").close()
            time.sleep(600)
        self.wfile.write(content)
    do_GET = do_POST = answer
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

impl GitHttp {
    pub(crate) fn start(folder: &Path) -> Self {
        // git's own environment of the tests, and its http-backend for the program.
        let git = git_command(folder);
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM]).arg(folder).arg(folder.join("slow")).arg(folder.join("hurry"));
        for (name, value) in git.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).start().expect("python3 runs");
        let mut output = child.stdout.take().expect("its output is a pipe");
        let (mut line, mut byte) = (String::new(), [0]);
        while output.read(&mut byte).expect("it says its port") == 1 && byte[0] != b'\n' {
            line.push(char::from(byte[0]));
        }
        let port = line.parse().expect("the port is a number");
        Self { _child: child, port, folder: folder.to_owned() }
    }

    /// Waits until a fetch below `/slow` has begun.
    pub(crate) fn wait_for_slow(&self) {
        let deadline = Instant::now() + Duration::from_mins(5);
        while !self.folder.join("slow").exists() {
            assert!(Instant::now() < deadline, "no fetch began");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// From now on `/slow` is as quick as the rest.
    pub(crate) fn hurry(&self) {
        std::fs::write(self.folder.join("hurry"), "").expect("the folder is the test's");
    }
}

/// A server that takes connections and says nothing.
pub(crate) struct Stalling {
    pub(crate) port: u16,
    open: Arc<AtomicUsize>,
}

impl Stalling {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
        let port = listener.local_addr().expect("it has one").port();
        let open = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&open);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    // Ends when the client goes.
                    let _ = std::io::copy(&mut &stream, &mut std::io::sink());
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, open }
    }

    /// Whether every client goes away within a while.
    pub(crate) fn is_left(&self) -> bool {
        let deadline = Instant::now() + Duration::from_mins(5);
        while self.open.load(Ordering::SeqCst) > 0 {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }
}
