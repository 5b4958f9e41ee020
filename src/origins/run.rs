//! git as a child process: what it is allowed, and what ends it. Owns its environment, its limits and
//! what of its words a client may read.
//!
//! **What git is given.** Nothing of this process's environment but `PATH`; no configuration but that
//! on its command line; no terminal, prompt, hook or submodule; no credentials but those of the origin
//! (`secret`); only the transport of the URL. It runs in a process group of its own, which is killed as a whole, and dies with the
//! thread that waits for it (`setpriv --pdeathsig`, where that is installed).

use super::Rules;
use super::secret::Access;
use super::url::Transport;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a running git is looked at, and how often the size of what it writes.
const TICK: Duration = Duration::from_millis(20);
const TICKS_BETWEEN_SIZES: u32 = 10;

/// git's complaints are kept up to this length in bytes.
const MAX_WORDS: u64 = 16 << 10;

/// The address space of a git that only lists branches, in KiB: it holds all of them in memory.
const LISTING_MEMORY: u64 = 1 << 20;

/// How git calls ssh.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ForwardAgent=no -o ClearAllForwardings=yes";

/// What is set on every command line.
const CONFIG: [&str; 20] = [
    "core.hooksPath=/dev/null",
    "core.askPass=",
    "core.fsmonitor=false",
    "core.alternateRefsCommand=",
    "core.logAllRefUpdates=false",
    // A ref that a power cut leaves empty is removed by the next visit: syncing each is what would take
    // most of a first visit to many branches.
    "core.fsync=pack,pack-metadata",
    "credential.helper=",
    "credential.interactive=false",
    "protocol.version=2",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "fetch.unpackLimit=1",
    // Old history is odd here and there, and is to be had all the same.
    "fetch.fsckObjects=false",
    "transfer.bundleURI=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "http.emptyAuth=false",
];

/// Why git did not do what it was to.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It could not be run.
    #[error("cannot run git: {0}")]
    Run(io::Error),
    /// It failed, and these are its words.
    #[error("git failed: {0}")]
    Failed(String),
    /// It took longer than `origin_timeout`.
    #[error("it took longer than origin_timeout")]
    TimedOut,
    /// The mirror would be larger than `origin_max_size`.
    #[error("its mirror is larger than origin_max_size")]
    TooLarge,
    /// The disk would have less than `min_free` left.
    #[error("there is no room for its mirror")]
    NoRoom,
    /// It shows more than can be a snapshot.
    #[error("it shows too many branches")]
    TooMuch,
}

impl GitError {
    /// What clients may read: nothing that another machine, or a path of this one, could have put
    /// there.
    pub(super) fn public(&self) -> String {
        let Self::Failed(words) = self else {
            return match self {
                Self::Run(_) => "git cannot be run here".to_owned(),
                _ => self.to_string(),
            };
        };
        let words = words.to_ascii_lowercase();
        let known = [
            ("could not read username", "it asks for a password, or is not there"),
            ("authentication failed", "it asks for a password, or is not there"),
            ("permission denied", "access is denied"),
            ("not found", "it is not there"),
            ("does not appear to be a git repository", "there is no repository"),
            ("does not exist", "it is not there"),
            ("could not resolve", "its host has no address"),
            ("refused", "its host refuses the connection"),
            ("transport '", "its transport is not allowed"),
            ("certificate", "its certificate is not valid"),
            ("redirect", "it redirects elsewhere"),
            ("too slow", "its host sends nothing"),
        ];
        let meaning = known.iter().find(|(part, _)| words.contains(part)).map(|(_, meaning)| *meaning);
        meaning.unwrap_or("git could not fetch it").to_owned()
    }
}

/// One visit's use of git.
pub(super) struct Git<'a> {
    rules: &'a Rules,
    deadline: Instant,
    transport: Transport,
    /// `http.curloptResolve`: the only addresses to go to.
    pinned: Option<String>,
    /// What lets it in.
    access: Option<Access>,
}

/// What one run may print and write.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) output: u64,
    /// The folder that must stay under `origin_max_size`.
    pub(super) folder: Option<&'a Path>,
}

impl<'a> Git<'a> {
    pub(super) fn new(rules: &'a Rules, transport: Transport, pinned: Option<String>, access: Option<Access>) -> Self {
        Self { rules, deadline: Instant::now() + rules.timeout, transport, pinned, access }
    }

    /// Runs git in `git_dir` with `input` on its standard input, and gives its standard output.
    pub(super) fn run<S: AsRef<OsStr>>(
        &self,
        git_dir: &Path,
        args: &[S],
        input: &[u8],
        bounds: Bounds<'_>,
    ) -> Result<Vec<u8>, GitError> {
        let mut command = self.command(git_dir, bounds.folder.is_none());
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn().map_err(GitError::Run)?;
        self.attend(child, input, bounds)
    }

    fn command(&self, git_dir: &Path, small: bool) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let found = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
        let mut words: Vec<&str> = Vec::new();
        if found("setpriv") {
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"]);
        }
        let limit = format!("ulimit -v {LISTING_MEMORY}; exec \"$@\"");
        let mut command;
        if small {
            command = Command::new("/bin/sh");
            command.args(["-c", &limit, "git"]).args(&words).arg("git");
        } else if let Some((first, rest)) = words.split_first() {
            command = Command::new(first);
            command.args(rest).arg("git");
        } else {
            command = Command::new("git");
        }
        command.env_clear().env("PATH", &path).env("LC_ALL", "C").current_dir("/");
        for (name, value) in [
            ("HOME", "/nonexistent"),
            ("XDG_CONFIG_HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", ""),
            ("SSH_ASKPASS", ""),
            ("GIT_ADVICE", "0"),
            // Nothing beyond this list, whatever any configuration says.
            ("GIT_ALLOW_PROTOCOL", self.transport.as_str()),
        ] {
            command.env(name, value);
        }
        let access = self.access.as_ref();
        command.env("GIT_SSH_COMMAND", format!("{SSH}{}", access.map_or("", |access| &access.ssh)));
        command.envs(access.into_iter().flat_map(|access| access.variables.iter().map(|(name, value)| (name, value))));
        command.env("GIT_DIR", git_dir);
        for setting in CONFIG {
            command.args(["-c", setting]);
        }
        if let Some(helper) = access.and_then(|access| access.config) {
            command.args(["-c", helper]);
        }
        // A redirect could lead to where the URL itself may not, and a secret with it.
        let redirects = if self.rules.private && access.is_none() { "initial" } else { "false" };
        command.arg("-c").arg(format!("http.followRedirects={redirects}"));
        if let Some(pinned) = &self.pinned {
            command.arg("-c").arg(format!("http.curloptResolve={pinned}"));
        }
        command
    }

    /// Feeds and reads a child until it ends or has to.
    fn attend(&self, mut child: Child, input: &[u8], bounds: Bounds<'_>) -> Result<Vec<u8>, GitError> {
        let pid = Pid::from_child(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let overflow = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
            let output = scope.spawn(|| {
                let mut bytes = Vec::new();
                let read = stdout.map(|stdout| stdout.take(bounds.output + 1).read_to_end(&mut bytes));
                overflow.store(bytes.len() as u64 > bounds.output, Ordering::Release);
                read.transpose().map(|_| bytes)
            });
            let words = scope.spawn(|| stderr.map(|stderr| said(stderr, self.access.is_some())).unwrap_or_default());
            let ended = self.watch(pid, bounds, &overflow);
            // Whoever it started goes with it, and lets go of the pipes: before it is waited for, while its
            // number is certainly its own.
            let _ = kill_process_group(pid, Signal::KILL);
            let status = child.wait().map_err(GitError::Run)?;
            let output = output.join().expect("because reading into a vector does not panic").map_err(GitError::Run)?;
            let words = words.join().expect("because reading into a vector does not panic");
            ended?;
            if overflow.load(Ordering::Acquire) {
                return Err(GitError::TooMuch);
            }
            if !status.success() {
                return Err(GitError::Failed(if words.is_empty() { status.to_string() } else { words }));
            }
            Ok(output)
        })
    }

    /// Returns when the child has ended, or with why it must.
    fn watch(&self, pid: Pid, bounds: Bounds<'_>, overflow: &AtomicBool) -> Result<(), GitError> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut ticks = 0_u32;
        loop {
            match waitid(WaitId::Pid(pid), options) {
                Ok(None) => {}
                Ok(Some(_)) => return bounds.folder.map_or(Ok(()), |folder| self.check_size(folder)),
                Err(error) => return Err(GitError::Run(error.into())),
            }
            if Instant::now() >= self.deadline {
                return Err(GitError::TimedOut);
            }
            if overflow.load(Ordering::Acquire) {
                return Err(GitError::TooMuch);
            }
            if let Some(folder) = bounds.folder.filter(|_| ticks.is_multiple_of(TICKS_BETWEEN_SIZES)) {
                self.check_size(folder)?;
            }
            ticks = ticks.wrapping_add(1);
            std::thread::sleep(TICK);
        }
    }

    fn check_size(&self, folder: &Path) -> Result<(), GitError> {
        if size_of(folder) > self.rules.max_size {
            return Err(GitError::TooLarge);
        }
        let stat = rustix::fs::statvfs(folder).map_err(|error| GitError::Run(error.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.rules.min_free.of(stat.f_blocks.saturating_mul(stat.f_frsize)) {
            return Err(GitError::NoRoom);
        }
        Ok(())
    }
}

/// Bytes on disk of all files below a folder; those that come and go meanwhile count as they are met.
pub(super) fn size_of(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let (mut size, mut folders) = (0_u64, vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => size = size.saturating_add(metadata.blocks().saturating_mul(512)),
                Err(_) => {}
            }
        }
    }
    size
}

/// What a git said, in printable ASCII. Read to its end, so that it never blocks on a full pipe. With a
/// `secret` none of the server's words, which may repeat it.
fn said(mut stderr: impl Read, secret: bool) -> String {
    let mut bytes = Vec::new();
    let _ = stderr.by_ref().take(MAX_WORDS).read_to_end(&mut bytes);
    let _ = io::copy(&mut stderr, &mut io::sink());
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    let is_theirs = |line: &[u8]| secret && line.starts_with(b"remote:");
    let lines: Vec<String> = lines
        .filter(|line| !line.is_empty() && !is_theirs(line))
        .take(20)
        .map(|line| line.escape_ascii().to_string())
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::url::Remote;
    use super::*;
    use crate::limits::MinFree;
    use std::io::BufRead as _;
    use std::net::TcpListener;

    fn rules(private: bool) -> Rules {
        let transports = vec![Transport::Http];
        Rules { transports, private, timeout: Duration::from_mins(1), max_size: 1 << 30, min_free: MinFree::Percent(0) }
    }

    fn arguments(git: &Git<'_>) -> Vec<String> {
        let command = git.command(Path::new("/nonexistent"), false);
        command.get_args().map(|arg| arg.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn git_is_told_the_addresses_that_were_checked_and_to_follow_no_redirect() {
        let bound = |rules: &Rules, pinned: Option<&str>, access: Option<Access>| {
            arguments(&Git::new(rules, Transport::Https, pinned.map(str::to_owned), access))
        };
        let pin = "example.org:443:8.8.8.8,[2606:4700::1111]";
        let (strict, open) = (rules(false), rules(true));
        let told = bound(&strict, Some(pin), None);
        assert!(told.contains(&format!("http.curloptResolve={pin}")), "{told:?}");
        assert!(told.contains(&"http.followRedirects=false".to_owned()), "{told:?}");
        assert!(!bound(&strict, None, None).iter().any(|arg| arg.starts_with("http.curloptResolve")));
        assert!(bound(&open, None, None).contains(&"http.followRedirects=initial".to_owned()));
        let with_secret = bound(&open, None, Some(Access::default()));
        assert!(with_secret.contains(&"http.followRedirects=false".to_owned()), "{with_secret:?}");
    }

    #[test]
    fn a_git_that_is_bound_to_an_address_goes_there_and_looks_no_name_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let lines = io::BufReader::new(stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).find(|line| line.starts_with("Host:"))
        });
        // Nobody has this name (RFC 6761).
        let remote = Remote::parse(&format!("http://up.invalid:{}/r.git", address.port())).unwrap();
        let (rules, folder) = (rules(true), tempfile::tempdir().unwrap());
        let git = Git::new(&rules, Transport::Http, remote.pinned(&[address]), None);
        let bounds = Bounds { output: 1 << 20, folder: None };
        // The server hangs up.
        assert!(git.run(folder.path(), &["ls-remote", "--", remote.as_str()], b"", bounds).is_err());
        // Where git did not come, nobody waits for it.
        drop(std::net::TcpStream::connect(address));
        assert_eq!(asked.join().unwrap(), Some(format!("Host: up.invalid:{}", address.port())));
    }

    #[test]
    fn a_servers_words_are_not_repeated_where_they_may_hold_a_secret() {
        let words = b"remote: you sent Basic c2VjcmV0\nfatal: Authentication failed\n".as_slice();
        assert_eq!(said(words, true), "fatal: Authentication failed");
        assert!(said(words, false).contains("c2VjcmV0"));
    }
}
