//! A real hgweb over real repositories.

use super::common::kitchenware::Random;
use crate::common::process::{Process, Start as _};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// `hg serve` over `mozilla-central` and `projects/ash`, which hold the same.
pub(crate) struct Hgweb {
    _child: Process,
    /// `127.0.0.1:port`
    pub(crate) address: String,
    /// The one revision, in full.
    pub(crate) rev: String,
    pub(crate) folder: TempDir,
}

impl Hgweb {
    pub(crate) fn start() -> Self {
        Self::with(0)
    }

    /// With a file of so many bytes beside.
    pub(crate) fn with(bytes: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let repository = folder.path().join("ash");
        fs::create_dir(&repository).unwrap();
        hg(&["init"], &repository);
        fill(&repository, bytes);
        hg(&["add", "-q"], &repository);
        hg(&["commit", "-q", "-m", "a tree", "-u", "t", "-d", "1112354055 0"], &repository);
        let rev = hg(&["log", "-r", ".", "-T", "{node}"], &repository);
        let config = folder.path().join("hgweb.conf");
        let path = repository.display();
        let text = format!(
            "[paths]\n/mozilla-central = {path}\n/projects/ash = {path}\n[web]\nallow-archive = gz, zip, bz2\n"
        );
        fs::write(&config, text).unwrap();
        let mut child = command(folder.path())
            .args([
                "serve",
                "-a",
                "127.0.0.1",
                "-p",
                "0",
                "--print-url",
                "-A",
                "/dev/null",
                "-E",
                "/dev/null",
                "--web-conf",
            ])
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .start()
            .expect("hg can be run: tests/install installs it");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().trim_end_matches('/').rsplit(':').next().unwrap();
        let address = format!("127.0.0.1:{port}");
        assert!(port.parse::<u16>().is_ok(), "hg serve says where it listens: {line:?}");
        Self { _child: child, address, rev, folder }
    }

    /// Twelve digits of the revision, as people write them.
    pub(crate) fn short(&self) -> &str {
        &self.rev[..12]
    }

    /// Settings of a larder whose sources are this hgweb.
    pub(crate) fn settings(&self) -> String {
        let base = format!("http://{}", self.address);
        format!(
            r#"
            [archiver.sources.mozharness]
            url = "{base}/{{repo}}/archive/{{rev}}.{{suffix}}/testing/mozharness"
            suffixes = ["tar.gz", "tar.bz2", "zip"]
            repos = ["mozilla-central", "projects/*"]
            private_addresses = true
            retries = 0

            [archiver.sources.hgmo]
            preset = "hgweb"
            base = "{base}"
            repos = ["**"]
            revisions = ["hash", "tip"]
            private_addresses = true
            retries = 0
            "#
        )
    }

    /// Changes what a whole archive of the revision holds: a tag stands in it.
    pub(crate) fn tag(&self) {
        let repository = self.folder.path().join("ash");
        hg(&["tag", "-q", "-u", "t", "-d", "1112354056 0", "v1", "-r", &self.rev], &repository);
    }
}

/// Files of every kind that a repository can hold.
pub(crate) fn fill(repository: &Path, bytes: usize) {
    let mozharness = repository.join("testing/mozharness");
    fs::create_dir_all(mozharness.join("configs/deep/er")).unwrap();
    fs::write(mozharness.join("setup.py"), "print('hello')\n").unwrap();
    fs::write(mozharness.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(mozharness.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../setup.py", mozharness.join("configs/link")).unwrap();
    fs::write(mozharness.join("configs/deep/er/empty"), "").unwrap();
    fs::write(mozharness.join(OsStr::new("naïve name.txt")), "x".repeat(2000)).unwrap();
    if bytes > 0 {
        let mut random = Random::new(3);
        let noise: Vec<u8> = (0..bytes / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        fs::write(mozharness.join("noise"), noise).unwrap();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new("hg");
    command.current_dir(folder).env("HGRCPATH", "").env("HGPLAIN", "1").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command
}

fn hg(args: &[&str], folder: &Path) -> String {
    let output = command(folder).args(args).output().expect("hg can be run: tests/install installs it");
    assert!(output.status.success(), "hg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
