//! Origins: mirrors of real repositories, over files and over HTTP, visited by the real commands; what
//! the server says of them; and servers that lie, stall and never end.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod answers;
mod limits;
mod local;
mod mirrored;
mod named;
mod private;
mod reftables;
mod remote;

use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git, git_command, git_line};
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What lets tests mirror from this machine.
const HERE: [&str; 4] = ["--origin-transports", "file,http", "--origin-private", "true"];

fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("origin").args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").env("LARDER_LOG", "warn");
    command.args(["--min-free", "0%"]).stdin(Stdio::null());
    command
}

fn origin(data: &Path, args: &[&str]) -> Output {
    command(data, args).args(HERE).output().unwrap()
}

#[track_caller]
fn ok(output: &Output) -> String {
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words}");
    words
}

#[track_caller]
fn refused(output: &Output) -> String {
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{words}");
    words
}

/// A repository with a branch, a tag of each kind, and refs that no snapshot has.
pub(crate) fn repository(folder: &Path) -> PathBuf {
    repository_as(folder, "r.git", &[])
}

/// The same under a name, made with more options of `git init`.
fn repository_as(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    git(&[&["init", "-q", "--bare", name], options].concat(), folder);
    let path = folder.join(name);
    commit(&path, "main", "one");
    for args in [
        ["tag", "-am", "first", "v1", "main"].as_slice(),
        &["tag", "-am", "of a tag", "v1-again", "v1"],
        &["tag", "light", "main"],
        &["update-ref", "refs/pull/1/head", "main"],
        &["update-ref", "refs/pull/1/merge", "main"],
        &["update-ref", "refs/changes/01/1/1", "main"],
        &["update-ref", "refs/odd/tree", "main^{tree}"],
    ] {
        git(args, &path);
    }
    path
}

/// A new commit on a branch, on top of what is there.
pub(crate) fn commit(repository: &Path, branch: &str, text: &str) -> String {
    let mut import =
        git_command(repository).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped()).start().unwrap();
    let length = text.len();
    let from = git_command(repository)
        .args(["rev-parse", "--verify", "-q", &format!("refs/heads/{branch}^0")])
        .output()
        .unwrap();
    let from = match String::from_utf8(from.stdout).unwrap().trim() {
        "" => String::new(),
        id => format!("from {id}\n"),
    };
    write!(
        import.stdin.take().unwrap(),
        "commit refs/heads/{branch}\ncommitter x <x@example.org> 0 +0000\ndata {length}\n{text}\n{from}M 644 inline f\ndata {length}\n{text}\n"
    )
    .unwrap();
    assert!(import.wait().unwrap().success());
    git_line(&["rev-parse", &format!("refs/heads/{branch}")], repository)
}

pub(crate) fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// The id of a snapshot, computed by another program from what git shows.
pub(crate) fn by_python(repository: &Path) -> String {
    const PROGRAM: &str = r#"
import hashlib, subprocess, sys
def git(*args):
    return subprocess.run(["git", *args], cwd=sys.argv[1], check=True, capture_output=True).stdout
word = {b"commit": b"revision", b"tag": b"release", b"tree": b"directory", b"blob": b"content"}
branches = {}
for line in git("ls-remote", "--symref", sys.argv[1]).splitlines():
    value, name = line.split(b"\t")
    if name.endswith(b"^{}") or name.startswith((b"refs/changes/", b"refs/pipelines/")):
        continue
    if name.startswith((b"refs/pull/", b"refs/merge-requests/")) and name.endswith(b"/merge"):
        continue
    if value.startswith(b"ref: "):
        branches[name] = (b"alias", value[5:])
    elif name not in branches:
        kind = git("cat-file", "-t", value.decode()).strip()
        branches[name] = (word[kind], bytes.fromhex(value.decode()))
for kind, target in list(branches.values()):
    if kind == b"alias":
        branches.setdefault(target, (b"dangling", b""))
manifest = b"".join(
    kind + b" " + name + b"\0" + str(len(target)).encode() + b":" + target
    for name, (kind, target) in sorted(branches.items()))
print(hashlib.sha1(b"snapshot %d\0" % len(manifest) + manifest).hexdigest())
"#;
    let output = Command::new("python3").args(["-c", PROGRAM]).arg(repository).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The snapshot that a visit printed.
pub(crate) fn snapshot(words: &str) -> String {
    let swhid =
        words.split_whitespace().find(|word| word.starts_with("swh:1:snp:")).unwrap_or_else(|| panic!("{words}"));
    swhid.trim_start_matches("swh:1:snp:").to_owned()
}

pub(crate) fn escaped(url: &str) -> String {
    url.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02x}");
        text
    })
}

fn resolve(server: &Server, url: &str, reference: &str) -> Value {
    let answer = server.get(&format!("/vault/resolve?origin={}&ref={}", escaped(url), escaped(reference)));
    assert_eq!(answer.status, 200, "{reference}: {}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

pub(crate) fn mirror(data: &Path) -> PathBuf {
    let entries = std::fs::read_dir(data.join("origins")).unwrap().flatten();
    entries.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap()
}
