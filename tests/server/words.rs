//! What the commands say where something is wrong.

use crate::common::git;
use std::collections::HashSet;
use std::fs;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

#[test]
fn no_command_says_the_same_thing_twice() {
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", "--bare", "git/r.git"], folder.path());
    for name in ["empty", "no-sqlite/catalogue.db", "foreign"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for (name, text) in [("file", "x"), ("x.tar.gz", "x"), ("bad.toml", "junk"), ("foreign/catalogue.db", "garbage")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let (directory, swhid) = (format!("directory/{ID}"), format!("swh:1:dir:{ID}"));
    let on_data: [&[&str]; 11] = [
        &["serve", "--listen", "127.0.0.1:0"],
        &["cook", &directory, "--git", "git"],
        &["list"],
        &["gc"],
        &["fsck"],
        &["fsck", "--repair"],
        &["pin", &directory],
        &["remove", &directory],
        &["origin", "list"],
        &["archiver", "status"],
        &["backup", "copy.db"],
    ];
    let mut lines: Vec<Vec<&str>> = Vec::new();
    for data in ["file", "file/below", "/proc/none", "no-sqlite", "foreign"] {
        lines.extend(on_data.iter().map(|line| [*line, &["--data", data]].concat()));
    }
    let url = format!("http://127.0.0.1:1/vault/{directory}.tar.gz");
    let other: [&[&str]; 14] = [
        &["--config", "none.toml", "list"],
        &["--config", "empty", "list"],
        &["cook", &directory, "--git", "none", "--data", "new"],
        &["cook", &directory, "--git", "file", "--data", "new"],
        &["cook", &directory, "--git", "git", "--data", "new"],
        &["get", &url, "--attempts", "1"],
        &["get", &url, "--attempts", "1", "--output", "none/x.tar.gz"],
        &["get", &url, "--cacert", "none"],
        &["get", &url, "--cacert", "file"],
        &["verify", "none.tar.gz", &swhid],
        &["verify", "x.tar.gz", &swhid],
        &["verify", "empty", &swhid],
        &["man", "--out", "file/below"],
        &["origin", "add", "https://example.org/x", "--token-file", "none", "--data", "new"],
    ];
    lines.extend(other.iter().map(|line| line.to_vec()));
    for line in lines {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(&line).current_dir(folder.path()).env_remove("LARDER_CONFIG").stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && !said.is_empty(), "{line:?}: {}: {said}", output.status);
        for words in said.lines() {
            let parts: Vec<&str> = words.split(": ").collect();
            let different: HashSet<&&str> = parts.iter().collect();
            assert_eq!(different.len(), parts.len(), "{line:?} says something twice: {words}");
        }
    }
}
