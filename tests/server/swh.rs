//! `/api/1`, against a real `larder serve`: what the real service answered, replayed; and what larder does beyond it.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod differences;
mod objects;
mod official;
mod replay;
mod vault;

use crate::common::client::{Answer, request_with_body};
use crate::common::fixtures::{Fixture, fixture};
use crate::common::git;
use crate::common::process::Start as _;
use crate::common::server::Server;
use rusqlite::Connection;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What stands for scheme, host and port in the exchanges, and what larder is told that it is called.
const BASE: &str = "http://HOST";

/// A larder over the repositories that the exchanges were recorded on.
struct Archive {
    server: Server,
    data: TempDir,
    /// The repositories; dropped last.
    git: TempDir,
}

impl Archive {
    /// With both visits of ripgrep, and the one of the odd repository.
    fn open(flags: &[&str]) -> Self {
        Self::open_here(&[&["--public-url", BASE], flags].concat())
    }

    /// The same, where clients reach it as it listens.
    fn open_here(flags: &[&str]) -> Self {
        let (data, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let fixture: Fixture = fixture("swh").copy_to(folder.path());
        visit(data.path(), folder.path());
        let ripgrep = folder.path().join("github.com/BurntSushi/ripgrep");
        for (name, object) in [("refs/heads/master", "ripgrep-next"), ("refs/tags/0.1.3", "ripgrep-next-tag")] {
            git(&["update-ref", name, &fixture.id(object).id.to_string()], &ripgrep);
        }
        visit(data.path(), folder.path());
        let flags = [&["--local-origins", "https://"], flags].concat();
        let server = Server::start(data.path(), &[folder.path()], &flags);
        Self { server, data, git: folder }
    }

    /// The catalogue, around larder.
    fn catalogue(&self) -> Connection {
        let connection = Connection::open(self.data.path().join("catalogue.db")).unwrap();
        connection.busy_timeout(Duration::from_secs(20)).unwrap();
        connection
    }

    fn get(&self, target: &str) -> Answer {
        self.server.get(target)
    }

    fn post(&self, target: &str, media_type: &str, body: &str) -> Answer {
        request_with_body(&self.server.address, "POST", target, &[("Content-Type", media_type)], body.as_bytes())
            .unwrap_or_else(|error| panic!("POST {target}: {error}"))
    }

    /// Waits until the status at a path of the API is this one.
    fn wait_for(&self, path: &str, status: &str) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while self.get(path).json()["status"] != status {
            assert!(Instant::now() < deadline, "{path} is never {status}: {:?}", self.get(path).json());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Takes the snapshots of all repositories in a folder.
fn visit(data: &Path, folder: &Path) {
    for url in ["https://example.org/odd.git", "https://github.com/BurntSushi/ripgrep"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["origin", "visit", url, "--local-origins", "https://", "--data"]).arg(data);
        command.arg("--git").arg(folder).env_remove("LARDER_CONFIG").env("LARDER_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.start().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
