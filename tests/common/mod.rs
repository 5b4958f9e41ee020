//! What the integration tests share: fixtures and a git whose surroundings are always the same.
//! Compiled into each test binary, so that none uses all of it.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

pub(crate) mod client;
pub(crate) mod contents;
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod fixtures;
pub(crate) mod kitchenware;
pub(crate) mod nginx;
pub(crate) mod process;
pub(crate) mod scrape;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod tree;
pub(crate) mod upstream;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs git in `dir` and gives its standard output; panics, with what git said, when it fails.
pub(crate) fn git<S: AsRef<OsStr>>(args: &[S], dir: &Path) -> Vec<u8> {
    let output = git_command(dir).args(args).stdin(Stdio::null()).output().expect("git can be run");
    let line: Vec<_> = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect();
    assert!(
        output.status.success(),
        "git {} in {}: {}\n{}",
        line.join(" "),
        dir.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// As [`git`], its output as text without the last line's end.
pub(crate) fn git_line<S: AsRef<OsStr>>(args: &[S], dir: &Path) -> String {
    String::from_utf8(git(args, dir)).expect("git's answer here is ASCII").trim_end().to_owned()
}

/// A git that knows of no configuration but the repository's, of no caller's repository, and commits
/// under a fixed name at a fixed time.
pub(crate) fn git_command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command
        .current_dir(dir)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_COUNT", "2")
        .env("GIT_CONFIG_KEY_0", "init.defaultBranch")
        .env("GIT_CONFIG_VALUE_0", "main")
        .env("GIT_CONFIG_KEY_1", "gc.auto")
        .env("GIT_CONFIG_VALUE_1", "0")
        .env("GIT_AUTHOR_NAME", "Fixture Author")
        .env("GIT_AUTHOR_EMAIL", "author@larder.invalid")
        .env("GIT_AUTHOR_DATE", "1112354055 +0200")
        .env("GIT_COMMITTER_NAME", "Fixture Committer")
        .env("GIT_COMMITTER_EMAIL", "committer@larder.invalid")
        .env("GIT_COMMITTER_DATE", "1112354055 +0200");
    command
}
