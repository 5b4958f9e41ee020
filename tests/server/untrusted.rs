//! What larder says and serves over folders that others write: repositories that cannot be read, links
//! that lead out, names that forge lines.

use crate::common;
use crate::common::process::signal;
use crate::common::server::Server;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn larder(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_larder")).args(args).env_remove("LARDER_CONFIG").output().unwrap()
}

/// A bare repository with one commit, which is given.
fn repository(path: &Path) -> String {
    fs::create_dir_all(path).unwrap();
    common::git(&["init", "-q", "--bare", "."], path);
    let tree = common::git_line(&["mktree"], path);
    let commit = common::git_line(&["commit-tree", "-m", &path.display().to_string(), &tree], path);
    common::git(&["update-ref", "refs/heads/main", &commit], path);
    common::git(&["repack", "-adq"], path);
    commit
}

/// A server, and what it logs in a file.
fn logging(data: &Path, git: &Path, flags: &[&str], log: &Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("serve").arg("--data").arg(data).arg("--git").arg(git).args(["--listen", "127.0.0.1:0"]).args(flags);
    command.env_remove("LARDER_CONFIG").stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(fs::File::create(log).unwrap());
    Server::spawn(command)
}

/// Waits until a file holds something.
fn until(log: &Path, what: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
        if text.contains(what) {
            return text;
        }
        assert!(Instant::now() < deadline, "{what} was never logged:\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_thing_that_is_passed_over_is_logged_once_with_its_reason() {
    let dir = TempDir::new().unwrap();
    let (srv, log) = (dir.path().join("srv"), dir.path().join("log"));
    let good = repository(&srv.join("zgood.git"));
    repository(&dir.path().join("elsewhere.git"));
    symlink(dir.path().join("elsewhere.git"), srv.join("link.git")).unwrap();
    symlink("nowhere", srv.join("dangling")).unwrap();
    fs::create_dir_all(srv.join("half.git/objects")).unwrap();
    fs::create_dir_all(srv.join("sha256.git")).unwrap();
    common::git(&["init", "-q", "--bare", "--object-format=sha256", "."], &srv.join("sha256.git"));
    fs::create_dir_all(srv.join("worktree")).unwrap();
    fs::write(srv.join("worktree/.git"), "gitdir: /nowhere\n").unwrap();
    repository(&srv.join("fifo.git"));
    let made = Command::new("mkfifo").arg(srv.join("fifo.git/objects/info/alternates")).status().unwrap();
    assert!(made.success());
    let server = logging(&dir.path().join("data"), &srv, &[], &log);
    assert_eq!(server.post(&format!("/vault/revision/{good}")).status, 201);
    // Twice, a second apart: each scan meets all of it again.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1200));
        assert_eq!(server.post(&format!("/vault/revision/{}", "ab".repeat(20))).status, 404);
    }
    let text = until(&log, "fifo.git");
    for (name, reason) in [
        ("link.git", "follow_links"),
        ("dangling", "leads nowhere"),
        ("half.git", "HEAD is not there"),
        ("sha256.git", "not sha1"),
        ("worktree/.git", "leads to no repository"),
        ("fifo.git/objects/info/alternates", "not a regular file"),
    ] {
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&format!("srv/{name}"))).collect();
        assert_eq!(lines.len(), 1, "{name}:\n{text}");
        assert!(lines[0].contains("WARN") && lines[0].contains(reason), "{}", lines[0]);
    }
    assert!(server.terminate().success());
}

#[test]
fn a_path_for_repositories_that_is_none_is_an_error_that_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let serve = |git: &str| {
        let output = larder(&["--data", data.to_str().unwrap(), "--git", git, "--listen", "127.0.0.1:0", "serve"]);
        assert_eq!(output.status.code(), Some(1), "{git}");
        String::from_utf8(output.stderr).unwrap()
    };
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(serve(file.to_str().unwrap()).contains("not a folder"));
    assert!(serve("/nowhere/at/all").contains("/nowhere/at/all"));
    for url in ["https://example.org/x.git", "git@example.org:x.git", "ssh://host/x"] {
        assert!(serve(url).contains("larder origin add"), "{url}");
    }
    assert!(serve("/nowhere/a:/nowhere/b").contains("several"));
}

#[test]
fn a_path_with_a_colon_is_one_path_and_a_variable_has_one_a_line() {
    let dir = TempDir::new().unwrap();
    let (one, two) = (dir.path().join("a:b"), dir.path().join("c"));
    let (first, second) = (repository(&one.join("x.git")), repository(&two));
    let server = Server::start(&dir.path().join("data"), &[&one], &[]);
    assert_eq!(server.post(&format!("/vault/revision/{first}")).status, 201);
    drop(server);
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("--data").arg(dir.path().join("data")).args(["--listen", "127.0.0.1:0", "serve"]);
    command.env("LARDER_GIT", format!("{}\n{}", one.display(), two.display())).env_remove("LARDER_CONFIG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let server = Server::spawn(command);
    for commit in [first, second] {
        assert_eq!(server.post(&format!("/vault/revision/{commit}")).status, 201);
    }
}

#[test]
fn links_are_followed_as_the_settings_say_and_those_are_printed() {
    let dir = TempDir::new().unwrap();
    let srv = dir.path().join("srv");
    fs::create_dir(&srv).unwrap();
    let linked = repository(&dir.path().join("pool/x.git"));
    symlink(dir.path().join("pool/x.git"), srv.join("x.git")).unwrap();
    let below = format!("--follow-links={}", dir.path().join("pool").display());
    for (flags, status) in [(vec![], 404), (vec!["--follow-links"], 201), (vec![below.as_str()], 201)] {
        let data = TempDir::new().unwrap();
        let server = Server::start(data.path(), &[&srv], &flags);
        assert_eq!(server.post(&format!("/vault/revision/{linked}")).status, status, "{flags:?}");
    }
    let printed = larder(&["--data", "/d", "--follow-links=/a", "--follow-links=/b:c", "config"]);
    assert!(String::from_utf8(printed.stdout).unwrap().contains("follow_links = [\"/a\", \"/b:c\"]"));
}

#[test]
fn packs_that_cannot_be_listed_are_unavailable_and_not_absent() {
    if rustix::process::geteuid().is_root() {
        // Root may list anything: `archive_faults` fails the call itself.
        return;
    }
    let dir = TempDir::new().unwrap();
    let commit = repository(&dir.path().join("srv/a.git"));
    let packs = dir.path().join("srv/a.git/objects/pack");
    let server = Server::start(&dir.path().join("data"), &[&dir.path().join("srv")], &[]);
    fs::set_permissions(&packs, fs::Permissions::from_mode(0o000)).unwrap();
    let answer = server.post(&format!("/vault/revision/{commit}"));
    fs::set_permissions(&packs, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("archive_unavailable")));
    assert_eq!(server.post(&format!("/vault/revision/{commit}")).status, 201);
}

/// Runs `larder serve` so that no call on what is below `silent` returns once `silent.hang` is there.
fn serve_beside(silent: &Path, data: &Path, git: &[&Path]) -> Server {
    let mut command = Command::new(common::faults::make(data.parent().unwrap()));
    command.arg("--hang").arg(silent).arg(env!("CARGO_BIN_EXE_larder")).arg("--data").arg(data);
    command.args(["--listen", "127.0.0.1:0", "--stop-grace", "1s", "serve"]).env_remove("LARDER_CONFIG");
    for path in git {
        command.arg("--git").arg(path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Server::spawn(command)
}

/// Ends a server that something still waits in, and sees to it that it ends.
fn ends_in_time(server: Server) {
    let began = Instant::now();
    assert!(server.terminate().success());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_repository_that_never_answers_a_scan_holds_up_no_other_and_not_the_stop() {
    let dir = TempDir::new().unwrap();
    let srv = dir.path().canonicalize().unwrap().join("srv");
    let (silent, good) = (srv.join("a.git"), repository(&srv.join("b.git")));
    repository(&silent);
    fs::write(srv.join("a.git.hang"), "").unwrap();
    let server = serve_beside(&silent, &dir.path().join("data"), &[&srv]);
    let began = Instant::now();
    assert_eq!(server.cook(&format!("revision/{good}.tar"))["status"], "done");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    // Of what is nowhere else, nothing can be said.
    let answer = server.post(&format!("/vault/revision/{}", "ab".repeat(20)));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("archive_unavailable")));
    ends_in_time(server);
}

#[test]
fn a_file_system_that_falls_silent_holds_up_no_other() {
    let dir = TempDir::new().unwrap();
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&fs::metadata(path).unwrap());
    let memory = TempDir::new_in("/dev/shm").ok().filter(|other| device(dir.path()) != device(other.path()));
    // Where there is but one file system that can be written, none can fall silent alone.
    let Some(other) = memory else { return };
    let silent = other.path().canonicalize().unwrap().join("silent");
    let srv = dir.path().join("srv");
    let (good, bad) = (repository(&srv.join("x.git")), repository(&silent.join("y.git")));
    let server = serve_beside(&silent, &dir.path().join("data"), &[&silent, &srv]);
    // Nobody is on the way to it when it falls silent: whoever is waits with it.
    for commit in [&good, &bad] {
        assert_eq!(server.cook(&format!("revision/{commit}.git.tar"))["status"], "done");
    }
    fs::write(other.path().join("silent.hang"), "").unwrap();
    // So long the last answer is believed.
    std::thread::sleep(Duration::from_millis(1500));
    for format in ["tar", "zip", "tar.zst", "tar.gz", "bundle"] {
        let began = Instant::now();
        assert_eq!(server.cook(&format!("revision/{good}.{format}"))["status"], "done", "{format}");
        assert!(began.elapsed() < Duration::from_secs(20), "{format}: {:?}", began.elapsed());
    }
    let answer = server.post(&format!("/vault/revision/{}", "ab".repeat(20)));
    assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("archive_unavailable")));
    ends_in_time(server);
}

/// A name that begins a line of its own, steers a terminal and turns the direction of writing.
const FORGED: &str = "x\n2026-11-27T00:00:00.000000Z ERROR larder: forged \u{1b}[31mred\u{9b}\u{202e}.git";

/// Whether something in a text does what [`FORGED`] would.
fn is_forged(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("2026-11-27T00:00:00.000000Z ERROR"))
        || text.chars().any(|c| matches!(c, '\u{1b}' | '\u{9b}' | '\u{202e}'))
}

#[test]
fn names_from_outside_forge_no_line_of_a_log_or_a_terminal() {
    let dir = TempDir::new().unwrap();
    let (srv, log, data) = (dir.path().join("srv"), dir.path().join("log"), dir.path().join("data"));
    let bad = srv.join(FORGED);
    fs::create_dir_all(&bad).unwrap();
    common::git(&["init", "-q", "--bare", "--object-format=sha256", "."], &bad);
    repository(&srv.join(std::ffi::OsStr::from_bytes(b"y\n\xff.git")));
    let server = logging(&data, &srv, &[], &log);
    let text = until(&log, "forged");
    assert!(!is_forged(&text), "{text:?}");
    let (data, file) = (data.to_str().unwrap(), dir.path().join(FORGED));
    let file = file.to_str().unwrap();
    let id = format!("swh:1:dir:{}", "ab".repeat(20));
    for args in [
        vec!["--data", data, "--git", file, "cook", &id],
        vec!["--config", file, "--data", data, "list"],
        vec!["verify", file, &id],
        vec!["verify", &id, file],
        vec!["--data", data, "origin", "list"],
        vec!["--data", data, "origin", "visit", FORGED],
        vec!["--data", data, "origin", "add", FORGED],
        vec!["--data", file, "list"],
        vec!["get", "--json", &format!("http://127.0.0.1:1/{FORGED}")],
    ] {
        let output = larder(&args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!is_forged(&said), "{args:?}: {said:?}");
    }
    signal(server.pid(), rustix::process::Signal::TERM);
}
