//! The commands, as a person and a script meet them.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::{Fixture, fixture};
use crate::common::server::Server;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

fn larder(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").env("LARDER_LOG", "error");
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn directory(fixture: &Fixture) -> String {
    format!("directory/{}", fixture.id("root").id)
}

#[test]
fn a_bundle_is_cooked_listed_described_and_removed_without_a_server() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let (git, key) = (fixture.path.to_str().unwrap(), directory(&fixture));
    let out = data.path().join("out.tar.gz");
    let cooked = text(&larder(data.path(), &["cook", &key, "--git", git, "-o", out.to_str().unwrap()]));
    assert!(cooked.contains(&key), "{cooked}");
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(larder::verify::flat_tar_gz(&bytes[..]).unwrap(), fixture.id("root").id);
    let swhid = format!("swh:1:dir:{}", fixture.id("root").id);
    let piped = larder(data.path(), &["cook", &swhid, "-o", "-"]);
    assert!(piped.stdout == bytes, "the same by its SWHID, through a pipe, from the store");

    assert!(text(&larder(data.path(), &["list"])).starts_with(&format!("{key}.tar.gz")));
    let listed = text(&larder(data.path(), &["list", "directory", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(listed["swhid"], swhid);
    assert_eq!(text(&larder(data.path(), &["list", "release"])), "");
    let status = text(&larder(data.path(), &["status", &key, "--json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((status["status"].as_str(), status["size"].as_u64()), (Some("done"), Some(bytes.len() as u64)));
    assert!(text(&larder(data.path(), &["status", &key])).contains("cooked"));

    assert_eq!(text(&larder(data.path(), &["remove", &key])), "removed 1 of 1\n");
    assert_eq!(larder(data.path(), &["remove", &key]).status.code(), Some(3));
    assert_eq!(larder(data.path(), &["status", &key]).status.code(), Some(3));
    assert_eq!(text(&larder(data.path(), &["list"])), "");
}

#[test]
fn a_revision_is_cooked_by_the_command_with_its_directory() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let revision = fixture.cookable().find(|id| id.kind.as_str() == "revision").unwrap();
    let key = format!("revision/{}", revision.id);
    text(&larder(data.path(), &["cook", &key, "--git", fixture.path.to_str().unwrap()]));
    let listed = text(&larder(data.path(), &["list"]));
    assert!(listed.lines().count() == 2 && listed.contains(&key), "{listed}");
}

#[test]
fn a_running_server_and_a_command_cook_one_bundle_once() {
    let (fixture, data) = (fixture("sizes"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &[]);
    let key = directory(&fixture);
    assert_eq!(server.post(&format!("/vault/{key}")).status, 201);
    text(&larder(data.path(), &["cook", &key, "--git", fixture.path.to_str().unwrap()]));
    let by_command = text(&larder(data.path(), &["status", &key, "--json"]));
    let by_command: serde_json::Value = serde_json::from_str(&by_command).unwrap();
    assert_eq!(server.settled(&key)["done_at"], by_command["done_at"]);
}

#[test]
fn what_cannot_be_done_says_why_in_one_line() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let git = fixture.path.to_str().unwrap();
    let missing = format!("directory/{}", "1".repeat(40));
    for (args, words) in [
        (vec!["cook", missing.as_str(), "--git", git], "no archive has swh:1:dir:1111"),
        (vec!["cook", missing.as_str()], "name a repository with --git"),
        (vec!["cook", missing.as_str(), "--git", "/nowhere/at/all"], "/nowhere/at/all"),
        (vec!["serve", "--listen", "0.0.0.0:1"], "public_url is required"),
        (vec!["config", "--config", "/nowhere.toml"], "/nowhere.toml"),
    ] {
        let output = larder(data.path(), &args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(words) && error.trim_end().lines().count() == 1, "{args:?}: {error}");
    }
    assert_eq!(larder(data.path(), &["cook", "HEAD"]).status.code(), Some(2), "that is no name of a bundle");
    let empty = TempDir::new().unwrap();
    let error = String::from_utf8(larder(empty.path(), &["list"]).stderr).unwrap();
    assert!(error.contains("there is no larder in"), "{error}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "looking makes nothing");
}

#[test]
fn settings_come_from_flags_over_the_environment_over_the_file() {
    let data = TempDir::new().unwrap();
    let file = data.path().join("larder.toml");
    let written = "workers = 3\nmax_queue = 4\nmax_size = \"1GiB\"\nserver = \"https://file.example.org\"\n";
    std::fs::write(&file, written).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("config").arg("--config").arg(&file).args(["--workers", "5"]).env("LARDER_MAX_QUEUE", "6");
    command.env("LARDER_SERVER", "https://variable.example.org");
    let config = text(&command.arg("--data").arg(data.path()).output().unwrap());
    let server = "server = \"https://variable.example.org\"";
    for line in ["workers = 5", "max_queue = 6", "max_size = \"1073741824B\"", server] {
        assert!(config.lines().any(|l| l == line), "{line} in\n{config}");
    }
    std::fs::write(&file, "wrokers = 3\n").unwrap();
    let output = larder(data.path(), &["config", "--config", file.to_str().unwrap()]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("wrokers"), "an unknown key is named");
}

#[test]
fn completions_and_manual_pages_are_made_for_every_command() {
    let data = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&larder(data.path(), &["completions", shell]));
        assert!(["serve", "cook", "remove"].iter().all(|command| script.contains(command)), "{shell}");
    }
    text(&larder(data.path(), &["man", "--out", data.path().to_str().unwrap()]));
    for page in ["larder.1", "larder-serve.1", "larder-cook.1"] {
        assert!(data.path().join(page).exists(), "{page}");
    }
    assert!(text(&larder(data.path(), &["man"])).contains(".TH larder"));
}

#[test]
fn the_name_of_the_file_says_the_format_and_never_another_than_was_asked_for() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let (git, key) = (fixture.path.to_str().unwrap(), directory(&fixture));
    let place = |name: &str| data.path().join(name).to_str().unwrap().to_owned();
    text(&larder(data.path(), &["cook", &key, "--git", git, "-o", &place("x.zip")]));
    assert!(std::fs::read(place("x.zip")).unwrap().starts_with(b"PK"));
    let zip = format!("{key}.zip");
    text(&larder(data.path(), &["cook", &zip, "--git", git, "-o", &place("x")]));
    let refused = larder(data.path(), &["cook", &zip, "--git", git, "-o", &place("x.tar.gz")]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && error.contains("zip bundle"), "{error}");
    assert!(!data.path().join("x.tar.gz").exists());

    let server = Server::start(&data.path().join("served"), &[&fixture.path], &[]);
    let url = format!("http://{}/vault/{key}", server.address);
    text(&larder(data.path(), &["get", &url, "-o", &place("y.tar.zst")]));
    assert!(std::fs::read(place("y.tar.zst")).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let refused = larder(data.path(), &["get", &format!("{url}.tar"), "-o", &place("y.zip")]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn no_bundle_is_written_to_a_terminal() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let url = format!("http://127.0.0.1:9/vault/{}", directory(&fixture));
    for command in [format!("cook {} -o -", directory(&fixture)), format!("get {url} -o -")] {
        let line = format!("{} {command}", env!("CARGO_BIN_EXE_larder"));
        // `script` gives the program a terminal.
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env("LARDER_DATA", data.path());
        let output = script.stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("not for a terminal"), "{command}: {said}");
    }
}

#[test]
fn a_host_that_does_not_exist_is_given_up_on_at_once_and_leaves_no_part() {
    let folder = TempDir::new().unwrap();
    let url = format!("http://no-such-host.invalid/vault/directory/{}", "1".repeat(40));
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["get", &url]).current_dir(folder.path()).env("NO_PROXY", "*");
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(6) && error.contains("no such host"), "{error}");
    assert!(!error.contains("again in"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_is_pinned_is_not_removed_and_the_command_says_why() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let revision = fixture.cookable().find(|id| id.kind.as_str() == "revision").unwrap();
    let key = format!("revision/{}", revision.id);
    text(&larder(data.path(), &["cook", &key, "--git", fixture.path.to_str().unwrap()]));
    let listed = text(&larder(data.path(), &["list", "directory"]));
    let other = listed.split_whitespace().next().unwrap();
    text(&larder(data.path(), &["pin", &key]));
    for (named, words) in [(key.as_str(), "is pinned: `larder unpin"), (other, "which is pinned")] {
        let output = larder(data.path(), &["remove", named]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(4) && error.contains(words), "{named}: {error}");
    }
    assert_eq!(text(&larder(data.path(), &["list"])).lines().count(), 2);
    text(&larder(data.path(), &["unpin", &key]));
    assert_eq!(text(&larder(data.path(), &["remove", &key, other])), "removed 2 of 2\n");
}

#[test]
fn a_list_is_sorted_and_cut_off_as_asked() {
    let (plain, sizes, data) = (fixture("plain"), fixture("sizes"), TempDir::new().unwrap());
    for (fixture, ext) in [(&plain, "tar"), (&sizes, "tar"), (&plain, "tar.gz")] {
        let key = format!("{}.{ext}", directory(fixture));
        text(&larder(data.path(), &["cook", &key, "--git", fixture.path.to_str().unwrap()]));
    }
    let sizes_of = |args: &[&str]| -> Vec<u64> {
        let listed = text(&larder(data.path(), &[&["list", "--json"], args].concat()));
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["size"].as_u64().unwrap();
        listed.lines().map(line).collect()
    };
    let sorted = sizes_of(&["--sort", "size"]);
    assert!(sorted.len() == 3 && sorted.is_sorted_by(|a, b| a > b), "{sorted:?}");
    assert_eq!(sizes_of(&["--sort", "size", "--limit", "2"]), sorted[..2]);
    assert_eq!(sizes_of(&["--limit", "1"]).len(), 1);
    let places = |line: &str| line.find(" 0  2").map(|place| (line.len(), place));
    let lines = text(&larder(data.path(), &["list"]));
    let places: Vec<_> = lines.lines().map(places).collect();
    assert!(places.iter().all(|place| place.is_some() && place == &places[0]), "the columns are aligned:\n{lines}");
}
