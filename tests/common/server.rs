//! A real `larder serve` in a process of its own, on a free port of the loopback.

use super::client::{Answer, request};
use super::process::{Process, Start as _, signal};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Process,
    pub(crate) address: String,
}

impl Server {
    /// Starts larder on `data` over the repositories in `git`, with further flags.
    pub(crate) fn start(data: &Path, git: &[&Path], flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]).args(flags);
        for path in git {
            command.arg("--git").arg(path);
        }
        command.env_remove("LARDER_CONFIG").env("LARDER_LOG", "warn").stdin(Stdio::null()).stdout(Stdio::piped());
        if std::env::var_os("LARDER_TEST_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        Self::spawn(command)
    }

    /// As [`start`](Self::start), and says in a file what its cooks did: [`told`] reads it.
    pub(crate) fn telling(data: &Path, git: &Path, flags: &[&str]) -> (Self, PathBuf) {
        let log = data.with_extension("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).arg("--git").arg(git).args(flags);
        command.env_remove("LARDER_CONFIG").env("LARDER_LOG", "info").stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::options().append(true).create(true).open(&log).unwrap());
        (Self::spawn(command), log)
    }

    /// Starts a command line of `larder serve --listen 127.0.0.1:0 ...` and waits for its address.
    pub(crate) fn spawn(mut command: impl std::borrow::BorrowMut<Command>) -> Self {
        let mut child = command.borrow_mut().start().expect("larder starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output is a pipe")).lines();
        let first = lines.next().expect("larder says where it listens").expect("and says it in UTF-8");
        // What else it prints is read, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = first.rsplit(' ').next().expect("the address is the last word").to_owned();
        Self { child, address }
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[])
    }

    pub(crate) fn post(&self, target: &str) -> Answer {
        self.send("POST", target, &[])
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        request(&self.address, method, target, headers).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// Asks for a bundle and waits until it is done or failed; gives its status body.
    #[track_caller]
    pub(crate) fn cook(&self, key: &str) -> serde_json::Value {
        let target = format!("/vault/{key}");
        let ordered = self.send("POST", &target, &[("Prefer", "wait=60")]);
        assert_eq!(ordered.status, 201, "{}", String::from_utf8_lossy(&ordered.body));
        self.settled(key)
    }

    /// Waits until a bundle is done or failed; gives its status body.
    pub(crate) fn settled(&self, key: &str) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_mins(5);
        loop {
            let answer = self.get(&format!("/vault/{key}/status"));
            let body = answer.json();
            if matches!(body["status"].as_str(), Some("done" | "failed")) {
                return body;
            }
            assert!(Instant::now() < deadline, "{key} never ended: {body}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it was started here");
        self.child.wait().expect("it was started here");
    }

    /// SIGTERM, and waits for its exit status.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        signal(self.pid(), Signal::TERM);
        self.child.wait().expect("the process was started here")
    }

    /// Waits for its exit status: it was told to stop.
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        self.child.wait().expect("the process was started here")
    }
}

/// Segments copied and made by the last cook of a bundle, as the log of [`Server::telling`] says.
#[track_caller]
pub(crate) fn told(log: &Path, key: &str) -> (u64, u64) {
    let text = fs::read_to_string(log).unwrap();
    let line = text.lines().rfind(|line| line.contains("cooked") && line.contains(key)).expect("it was cooked");
    let number = |name: &str| {
        let rest = line.split_once(name).expect("the line says it").1;
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    (number("copied="), number("made="))
}
