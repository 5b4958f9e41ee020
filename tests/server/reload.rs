//! SIGHUP: what changes in a server that runs, what does not, and what a broken file does.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::fixture;
use crate::common::process::signal;
use crate::common::server::Server;
use rustix::process::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Desk {
    folder: tempfile::TempDir,
    server: Server,
}

impl Desk {
    fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("larder.toml");
        std::fs::write(&file, text(folder.path(), settings)).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["serve", "--config"]).arg(&file).env_remove("LARDER_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        Self { server: Server::spawn(command), folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Writes the settings, has them read, and waits until the log says `word` once more.
    fn reload(&self, settings: &str, word: &str) {
        let before = self.log().matches(word).count();
        std::fs::write(self.file(), text(self.folder.path(), settings)).unwrap();
        signal(self.server.pid(), Signal::HUP);
        let deadline = Instant::now() + Duration::from_mins(5);
        while self.log().matches(word).count() == before {
            assert!(Instant::now() < deadline, "{word} is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("larder.toml")
    }
}

fn text(folder: &Path, settings: &str) -> String {
    format!("data = \"{}\"\nlisten = \"127.0.0.1:0\"\n{settings}", folder.join("data").display())
}

const READ: &str = "settings were read again";
const KEPT: &str = "settings stay as they are";

#[test]
fn repositories_urls_limits_and_the_log_change_in_a_running_server() {
    let plain = fixture("plain");
    let tree = crate::common::git_line(&["rev-parse", "HEAD^{tree}"], &plain.repositories()[0]);
    let target = format!("/vault/directory/{tree}");
    let desk = Desk::new("snapshot_interval = \"100ms\"\npublic_url = \"http://one.example\"");
    assert_eq!(desk.server.post(&target).status, 404);
    let git = format!("snapshot_interval = \"100ms\"\ngit = [{:?}]\n", plain.path);
    desk.reload(&format!("{git}public_url = \"http://two.example\"\nworkers = 3"), READ);
    assert_eq!(desk.server.cook(&format!("directory/{tree}.tar"))["status"], "done");
    let location = desk.server.post(&target);
    assert!(location.header("location").unwrap().starts_with("http://two.example/"));
    desk.server.settled(&format!("directory/{tree}.tar.gz"));
    let deadline = Instant::now() + Duration::from_mins(5);
    while desk.server.get("/origins").json()["origins"].as_array().is_none_or(Vec::is_empty) {
        assert!(Instant::now() < deadline, "no snapshot of the new repositories was taken");
        std::thread::sleep(Duration::from_millis(50));
    }

    desk.reload(&format!("{git}max_size = \"1B\"\ngrace = \"1h\""), READ);
    let commit = crate::common::git_line(&["rev-parse", "HEAD"], &plain.repositories()[0]);
    assert_eq!(desk.server.post(&format!("/vault/revision/{commit}.tar")).status, 507);

    desk.reload(&format!("{git}log = \"debug\""), READ);
    desk.server.get("/healthz?seen");
    assert!(desk.log().contains("/healthz?seen"), "{}", desk.log());
}

#[test]
fn what_cannot_change_is_named_and_stays() {
    let desk = Desk::new("");
    desk.reload("root_path = \"/elsewhere\"\nmode = \"read-only\"", READ);
    assert!(desk.log().contains("root_path stays as it is"), "{}", desk.log());
    assert!(desk.log().contains("mode stays as it is"), "{}", desk.log());
    assert_eq!(desk.server.get("/healthz").status, 200);
}

#[test]
fn a_broken_file_is_refused_whole_and_nothing_changes() {
    let plain = fixture("plain");
    let tree = crate::common::git_line(&["rev-parse", "HEAD^{tree}"], &plain.repositories()[0]);
    let git = format!("git = [{:?}]\n", plain.path);
    let desk = Desk::new(&format!("{git}public_url = \"http://one.example\""));
    for broken in ["max_sise = 1", "workers = 0", "git = [\"/does/not/exist\"]", "log = \"=,=\"", "listen = "] {
        desk.reload(&format!("public_url = \"http://two.example\"\n{broken}"), KEPT);
        let answer = desk.server.post(&format!("/vault/directory/{tree}"));
        assert_eq!(answer.status, 201, "{broken}");
        assert!(answer.header("location").unwrap().starts_with("http://one.example/"), "{broken}");
    }
    desk.reload("public_url = \"http://two.example\"", READ);
}
