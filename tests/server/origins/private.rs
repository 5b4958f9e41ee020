//! Private repositories: a token, a netrc file, a key of SSH. A server that asks for a password lets them
//! in, and the secret is seen nowhere else.

use super::remote::GitHttp;
use super::{HERE, by_python, command, commit, mirror, ok, origin, refused, repository, snapshot};
use crate::common::process::Start as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tempfile::TempDir;

const TOKEN: &str = "t0ken-of-the-tests-5f3a";

/// What is sent for a user's name and [`TOKEN`], in base64.
const ENCODED: [&str; 2] =
    ["eC1hY2Nlc3MtdG9rZW46dDBrZW4tb2YtdGhlLXRlc3RzLTVmM2E=", "bWU6dDBrZW4tb2YtdGhlLXRlc3RzLTVmM2E="];

fn private_file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Whether any file below a folder has these bytes in it.
fn holds(folder: &Path, text: &str) -> bool {
    let found = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .any(|path| if path.is_dir() { holds(&path, text) } else { path.is_file() && found(&path) })
}

#[track_caller]
fn says_nothing_of_it(output: &Output) {
    let words = [output.stdout.clone(), output.stderr.clone()].concat();
    let words = String::from_utf8_lossy(&words);
    for secret in [TOKEN, ENCODED[0], ENCODED[1]] {
        assert!(!words.contains(secret), "{words}");
    }
}

#[test]
fn a_private_repository_is_mirrored_with_a_token_that_is_seen_nowhere() {
    let (folder, data, secrets) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let http = GitHttp::start(folder.path());
    fs::write(folder.path().join("password"), format!("x-access-token:{TOKEN}")).unwrap();
    let url = format!("http://127.0.0.1:{}/secret/r.git", http.port);
    let token = private_file(secrets.path(), "a token", &format!("{TOKEN}\nnothing of this is sent\n"));
    let token = token.to_str().unwrap();

    ok(&origin(data.path(), &["add", &url]));
    let words = refused(&origin(data.path(), &["visit", &url]));
    assert!(words.contains("failed"), "{words}");
    // Added again, with what it asks for.
    assert!(ok(&origin(data.path(), &["add", &url, "--token-file", token])).contains("is known"));
    let traced = |args: &[&str]| command(data.path(), args).args(HERE).env("LARDER_LOG", "trace").output().unwrap();
    let visited = traced(&["visit", &url]);
    says_nothing_of_it(&visited);
    assert_eq!(snapshot(&ok(&visited)), by_python(&repository));
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(asked.contains(ENCODED[0]), "{asked}");
    assert!(!holds(data.path(), TOKEN) && !holds(data.path(), ENCODED[0]), "it is in the data");
    commit(&repository, "main", "more");
    assert_eq!(snapshot(&ok(&traced(&["visit", "--all"]))), by_python(&repository));
    says_nothing_of_it(&traced(&["list"]));

    // Under another name; a wrong password, which the server repeats to whoever reads its answer.
    ok(&origin(data.path(), &["add", &url, "--token-file", token, "--user", "me"]));
    let wrong = traced(&["visit", &url]);
    refused(&wrong);
    says_nothing_of_it(&wrong);
    assert!(fs::read_to_string(folder.path().join("asked")).unwrap().contains(ENCODED[1]));
    fs::write(folder.path().join("password"), format!("me:{TOKEN}")).unwrap();
    ok(&origin(data.path(), &["visit", &url]));
    // The file is looked at each time.
    fs::set_permissions(token, Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&origin(data.path(), &["visit", &url])).contains("by others"));
    fs::set_permissions(token, Permissions::from_mode(0o600)).unwrap();
    ok(&origin(data.path(), &["add", &url, "--anonymous"]));
    refused(&origin(data.path(), &["visit", &url]));
}

#[test]
fn no_process_of_a_visit_has_the_token_in_its_arguments_or_its_environment() {
    let (folder, data, secrets) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    repository(folder.path());
    let http = GitHttp::start(folder.path());
    fs::write(folder.path().join("password"), format!("x-access-token:{TOKEN}")).unwrap();
    let url = format!("http://127.0.0.1:{}/slow/secret/r.git", http.port);
    let token = private_file(secrets.path(), "token", TOKEN);
    ok(&origin(data.path(), &["add", &url, "--token-file", token.to_str().unwrap()]));
    let mut visit = command(data.path(), &["visit", &url]).args(HERE).stdout(Stdio::null()).start().unwrap();
    http.wait_for_slow();
    let mut of_git = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read =
            |name: &str| String::from_utf8_lossy(&fs::read(entry.path().join(name)).unwrap_or_default()).into_owned();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        assert!(!arguments.contains(TOKEN), "{arguments}");
        if arguments.contains(&url) {
            of_git += 1;
            assert!(!environment.contains(TOKEN), "{environment}");
        }
    }
    visit.kill().unwrap();
    visit.wait().unwrap();
    assert!(of_git >= 3, "larder, git and its child were looked at, and no less: {of_git}");
}

#[test]
fn a_redirect_never_gets_the_token() {
    let (folder, other, data) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    repository(other.path());
    let (http, elsewhere) = (GitHttp::start(folder.path()), GitHttp::start(other.path()));
    let target = format!("http://127.0.0.1:{}/secret", elsewhere.port);
    fs::write(folder.path().join("elsewhere"), target).unwrap();
    fs::write(other.path().join("password"), format!("x-access-token:{TOKEN}")).unwrap();
    let (url, token) =
        (format!("http://127.0.0.1:{}/elsewhere/r.git", http.port), private_file(data.path(), "token", TOKEN));
    let netrc = format!("default login me password {TOKEN}\n");
    let netrc = private_file(data.path(), "netrc", &netrc);
    for secret in [["--token-file", token.to_str().unwrap()], ["--netrc", netrc.to_str().unwrap()]] {
        ok(&origin(data.path(), &[&["add", &url][..], &secret].concat()));
        refused(&origin(data.path(), &["visit", &url]));
        let asked = fs::read_to_string(other.path().join("asked")).unwrap_or_default();
        assert!(!asked.contains("Basic"), "{secret:?}: {asked}");
    }
}

#[test]
fn a_netrc_file_lets_in_and_is_linked_to_for_as_long_as_it_takes() {
    let (folder, data, secrets) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let http = GitHttp::start(folder.path());
    fs::write(folder.path().join("password"), format!("me:{TOKEN}")).unwrap();
    let url = format!("http://127.0.0.1:{}/secret/r.git", http.port);
    let netrc = private_file(secrets.path(), "netrc", &format!("machine 127.0.0.1 login me password {TOKEN}\n"));
    ok(&origin(data.path(), &["add", &url, "--netrc", netrc.to_str().unwrap()]));
    let homes = secrets.path().join("tmp");
    fs::create_dir(&homes).unwrap();
    let visited = command(data.path(), &["visit", &url]).args(HERE).env("TMPDIR", &homes).output().unwrap();
    assert_eq!(snapshot(&ok(&visited)), by_python(&repository));
    says_nothing_of_it(&visited);
    assert_eq!(fs::read_dir(&homes).unwrap().count(), 0, "a folder is left behind");
    assert!(!holds(data.path(), TOKEN));
}

#[test]
fn a_key_of_ssh_is_the_only_one_that_is_offered() {
    let (folder, data, secrets) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    // What ssh was called with; then what it would have run there.
    let bin = secrets.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let script = "#!/bin/sh\nprintf '%s\\n' \"$@\" >>\"$(dirname \"$0\")/../called\"\nfor last; do :; done\neval \"exec $last\"\n";
    fs::write(bin.join("ssh"), script).unwrap();
    fs::set_permissions(bin.join("ssh"), Permissions::from_mode(0o755)).unwrap();
    let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())));
    let path = path.unwrap();
    let ssh = |args: &[&str]| {
        let mut command = command(data.path(), args);
        command.args(["--origin-transports", "ssh", "--origin-private", "true"]).env("PATH", &path).output().unwrap()
    };
    let url = format!("ssh://git@127.0.0.1{}", repository.display());
    let (key, known) = (private_file(secrets.path(), "key", "k"), private_file(secrets.path(), "known", "h"));
    let (key, known) = (key.to_str().unwrap(), known.to_str().unwrap());
    ok(&ssh(&["add", &url, "--ssh-key", key, "--known-hosts", known]));
    assert_eq!(snapshot(&ok(&ssh(&["visit", &url]))), by_python(&repository));
    let called = fs::read_to_string(secrets.path().join("called")).unwrap();
    let called: Vec<&str> = called.lines().collect();
    let has = |words: &[&str]| called.windows(words.len()).any(|window| window == words);
    let known = format!("UserKnownHostsFile={known}");
    for words in [
        &["-i", key][..],
        &["-F", "none"],
        &["-o", "IdentitiesOnly=yes"],
        &["-o", "IdentityAgent=none"],
        &["-o", "StrictHostKeyChecking=yes"],
        &["-o", &known],
        &["-o", "BatchMode=yes"],
        &["git@127.0.0.1"],
    ] {
        assert!(has(words), "{words:?} is not in {called:?}");
    }
    assert!(mirror(data.path()).join("HEAD").exists());
}

#[test]
fn a_secret_that_cannot_be_used_is_refused_before_anything_is_added() {
    let (data, secrets) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let token = private_file(secrets.path(), "token", TOKEN);
    let open = private_file(secrets.path(), "open", TOKEN);
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let (token, open) = (token.to_str().unwrap(), open.to_str().unwrap());
    let add = |args: &[&str]| {
        let args = [&["add"][..], args].concat();
        let output = command(data.path(), &args).args(["--origin-transports", "https,http,ssh"]).output().unwrap();
        says_nothing_of_it(&output);
        output
    };
    for (args, words) in [
        (["https://8.8.8.8/x.git", "--token-file", open], "by others"),
        (["https://8.8.8.8/x.git", "--token-file", "/nonexistent"], "cannot read /nonexistent"),
        (["https://8.8.8.8/x.git", "--token-file", "/dev/zero"], "regular file"),
        (["http://8.8.8.8/x.git", "--token-file", token], "https only"),
        (["ssh://8.8.8.8/x.git", "--token-file", token], "for an origin of https"),
        (["https://8.8.8.8/x.git", "--ssh-key", token], "for an origin of https"),
    ] {
        let said = refused(&add(&args));
        assert!(said.contains(words), "{args:?}: {said}");
    }
    for args in [
        &["https://8.8.8.8/x.git", "--token-file", token, "--netrc", token][..],
        &["https://8.8.8.8/x.git", "--token-file", token, "--anonymous"],
        &["https://8.8.8.8/x.git", "--user", "me"],
        &["https://8.8.8.8/x.git", "--known-hosts", token],
    ] {
        assert_eq!(add(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(ok(&origin(data.path(), &["list"])), "");
    ok(&add(&["https://8.8.8.8/x.git", "--token-file", token]));
}
