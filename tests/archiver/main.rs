//! What larder fetches from other servers. The Archiver through TCP: against a real hgweb, against an upstream that misbehaves in every way
//! that is known, with regions that come and go, and killed at any instant. A vault as upstream (`vaults.rs`).

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod dying;
mod exchange;
mod forges;
mod hgweb;
mod misbehaving;
mod moving;
mod reasons;
mod regions;
mod seaweed;
mod secure;
mod seed;
mod tasks;
mod uploads;
mod vaults;

use common::client::Answer;
use common::server::Server;
use common::upstream;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A larder with these settings, beside `data`.
pub(crate) struct Larder {
    pub(crate) server: Server,
    pub(crate) data: TempDir,
    settings: String,
}

impl Larder {
    pub(crate) fn start(settings: &str) -> Self {
        Self::over(settings, &[])
    }

    /// Over repositories too.
    pub(crate) fn over(settings: &str, git: &[&Path]) -> Self {
        let data = TempDir::new().unwrap();
        let server = Self::serve(data.path(), settings, git);
        Self { server, data, settings: settings.to_owned() }
    }

    /// Kills it and starts another on the same data.
    pub(crate) fn again(self) -> Self {
        let settings = self.settings.clone();
        self.again_with(&settings)
    }

    /// With other settings.
    pub(crate) fn again_with(self, settings: &str) -> Self {
        self.server.kill();
        let server = Self::serve(self.data.path(), settings, &[]);
        Self { server, data: self.data, settings: settings.to_owned() }
    }

    fn serve(data: &Path, settings: &str, git: &[&Path]) -> Server {
        let config = data.join("larder.toml");
        std::fs::write(&config, settings).unwrap();
        Server::start(data, git, &["--config", config.to_str().unwrap(), "--min-free", "1MiB"])
    }

    /// A command of larder's on the same data; its exit code and output.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["--config", self.data.path().join("larder.toml").to_str().unwrap()])
            .arg("--data")
            .arg(self.data.path())
            .args(args)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Asks for an archive until its task has ended, and gives what is said of it then.
    pub(crate) fn fetch(&self, target: &str) -> Value {
        let asked = self.server.get(target);
        assert_eq!(asked.status, 202, "{}", String::from_utf8_lossy(&asked.body));
        self.ended(asked.header("location").unwrap())
    }

    /// Waits until the task at `location` has ended.
    pub(crate) fn ended(&self, location: &str) -> Value {
        let deadline = Instant::now() + Duration::from_mins(5);
        loop {
            let status = self.at(location).json()["result"].clone();
            if matches!(status["state"].as_str(), Some("SUCCESS" | "FAILURE")) {
                return status;
            }
            assert!(Instant::now() < deadline, "{location} never ended: {status}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Gets an absolute URL of this larder's.
    pub(crate) fn at(&self, url: &str) -> Answer {
        let target = url.strip_prefix(&format!("http://{}", self.server.address)).expect("it is larder's own");
        self.server.get(target)
    }

    /// Fetches an archive that must be there in the end, and gives its bytes.
    pub(crate) fn archive(&self, target: &str) -> Vec<u8> {
        let status = self.fetch(target);
        assert_eq!(status["state"], "SUCCESS", "{status}");
        let hit = self.server.get(target);
        assert_eq!(hit.status, 302);
        let archive = self.at(hit.header("location").unwrap());
        assert_eq!(archive.status, 200);
        archive.body
    }
}
