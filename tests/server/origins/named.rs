//! Bundles that are asked for by what people call them: an origin, a ref, a path.

use super::{command, escaped, ok, origin, repository};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git, git_command, git_line};
use serde_json::Value;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// A repository whose tag `v2` has `docs/man/page`, a link and a submodule.
fn with_folders(folder: &Path) -> std::path::PathBuf {
    let path = repository(folder);
    let fed = |args: &[&str], input: &str| {
        let mut child = git_command(&path).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let blob = fed(&["hash-object", "-w", "--stdin"], "a page\n");
    let man = fed(&["mktree"], &format!("100644 blob {blob}\tpage\n"));
    let docs = fed(&["mktree"], &format!("040000 tree {man}\tman\n120000 blob {blob}\tlink\n"));
    let commit = git_line(&["rev-parse", "main"], &path);
    let top = fed(
        &["mktree"],
        &format!("040000 tree {docs}\tdocs\n100644 blob {blob}\tREADME\n160000 commit {commit}\tsub\n"),
    );
    let commit = git_line(&["commit-tree", "-m", "two", &top], &path);
    git(&["tag", "-am", "two", "v2", &commit], &path);
    path
}

fn larder(args: &[&str], data: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").env_remove("LARDER_SERVER");
    command.args(["--min-free", "0%"]).env("LARDER_LOG", "warn").stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_path_below_a_ref_resolves_to_what_git_says() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = with_folders(folder.path());
    let url = "local:r.git";
    let mut visit = command(data.path(), &["visit", url]);
    ok(&visit.arg("--git").arg(folder.path()).output().unwrap());
    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "0s"]);
    let ask = |path: &str| server.get(&format!("/vault/resolve?origin={}&ref=v2&path={}", escaped(url), escaped(path)));
    for (below, kind, other) in [
        ("docs", "directory", "content"),
        ("docs/", "directory", "content"),
        ("docs/man", "directory", "content"),
        ("docs/man/page", "content", "directory"),
        ("docs/link", "content", "directory"),
        ("README", "content", "directory"),
    ] {
        let found = ask(below).json();
        let by_git = git_line(&["rev-parse", &format!("v2:{}", below.trim_end_matches('/'))], &path);
        assert_eq!((found[kind]["id"].as_str(), &found[other]), (Some(by_git.as_str()), &Value::Null), "{below}");
        assert_eq!(found["release"]["id"], git_line(&["rev-parse", "v2"], &path));
    }
    // Not there; below a file; below a link; in another repository.
    for below in ["none", "doc", "docs/none", "README/x", "docs/link/page", "sub", "sub/f", "Docs"] {
        let answer = ask(below);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("no_such_ref")), "{below}");
    }
    for below in ["", "/docs", "docs//man", "../docs"] {
        assert_eq!(ask(below).json()["code"], "malformed_query", "{below}");
    }
}

#[test]
fn get_and_cook_take_an_origin_a_ref_and_a_path() {
    let (folder, data, there) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = with_folders(folder.path());
    let id = |name: &str| git_line(&["rev-parse", name], &path);
    let given = folder.path().to_str().unwrap();

    // Nobody has looked at the repository yet.
    let cook =
        |args: &[&str]| larder(&[&["cook", "--origin", "local:r.git", "--git", given], args].concat(), data.path());
    for (args, key) in [
        (&["--ref", "v2"][..], format!("directory/{}.tar.gz", id("v2^{tree}"))),
        (&["--ref", "v2", "--path", "docs/man"], format!("directory/{}.tar.gz", id("v2:docs/man"))),
        (&["--ref", "v2", "--path", "docs/man", "--format", "zip"], format!("directory/{}.zip", id("v2:docs/man"))),
        (&["--ref", "v2", "--path", "README"], format!("content/{}.raw", id("v2:README"))),
        (&["--ref", "v1", "--format", "git.tar"], format!("release/{}.git.tar", id("v1"))),
        (&["--ref", "main", "--format", "bundle"], format!("revision/{}.bundle", id("main"))),
        (&[], format!("directory/{}.tar.gz", id("HEAD^{tree}"))),
    ] {
        let words = ok(&cook(args));
        assert!(words.starts_with(&key), "{args:?}: {words}");
    }
    for (args, words) in [
        (&["--ref", "v3"][..], "has no \"v3\""),
        (&["--ref", "v2", "--path", "none"], "nothing is at this path"),
        (&["--ref", "v2", "--path", "docs", "--format", "bundle"], "no such bundle"),
    ] {
        let output = cook(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{args:?}: {said}");
    }
    for args in [&["cook"][..], &["cook", "--ref", "v2"], &["cook", "swh:1:dir:x", "--origin", "local:r.git"], &["get"]]
    {
        assert_eq!(larder(args, data.path()).status.code(), Some(2), "{args:?}");
    }

    // A new tag of a repository that lies here is known at once; of a mirror after its visit.
    git(&["tag", "v3", "v2"], &path);
    ok(&cook(&["--ref", "v3"]));
    let url = super::file_url(&path);
    ok(&origin(data.path(), &["add", &url]));
    let mirrored = |args: &[&str]| larder(&[&["cook", "--origin", &url], args].concat(), data.path());
    assert!(String::from_utf8_lossy(&mirrored(&[]).stderr).contains("never visited"));
    ok(&origin(data.path(), &["visit", &url]));
    assert!(ok(&mirrored(&["--ref", "v3", "--path", "docs"])).starts_with("directory/"));

    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "0s"]);
    let base = format!("http://{}", server.address);
    let get = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.args(["get", "--server", &base, "--origin", "local:r.git", "--quiet"]).args(args);
        command.env_remove("LARDER_CONFIG").current_dir(there.path()).stdin(Stdio::null()).output().unwrap()
    };
    ok(&get(&["--ref", "v2", "--path", "docs/man", "--extract", "man"]));
    assert_eq!(std::fs::read_to_string(there.path().join("man/page")).unwrap(), "a page\n");
    let words = ok(&get(&["--ref", "v2", "--format", "git.tar"]));
    assert!(words.contains(&format!("swh:1:rel:{}", id("v2"))) && words.contains("verified"), "{words}");
    ok(&get(&["--ref", "v2", "--path", "README", "-o", "page"]));
    assert_eq!(std::fs::read_to_string(there.path().join("page")).unwrap(), "a page\n");
    for args in [&["--ref", "v9"][..], &["--ref", "v2", "--path", "none"]] {
        assert_eq!(get(args).status.code(), Some(3), "{args:?}");
    }
}
