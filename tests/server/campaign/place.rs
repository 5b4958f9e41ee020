//! What the campaign is played with: repositories, an origin that changes, an upstream of archives, the
//! data folder that all share, and what can be seen in it from outside.

use super::cast::{self, Command, Running};
use crate::common::kitchenware::{Menu, Random, menu};
use crate::common::upstream::{Upstream, gz, reply, tar};
use crate::common::{git, git_line};
use crate::origins;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REV: &str = "3d11cb4f31b9";

pub(super) struct Place {
    folder: TempDir,
    data: TempDir,
    /// The digests of the directories.
    pub(super) menu: Menu,
    /// All that is ordered and must cook.
    pub(super) keys: Vec<String>,
    /// A revision whose directory is in no archive.
    pub(super) lacking: String,
    /// A repository that is mirrored.
    pub(super) origin: PathBuf,
    _upstream: Upstream,
    notes: AtomicU64,
}

impl Place {
    pub(super) fn new() -> Self {
        let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::create_dir(folder.path().join("git")).unwrap();
        let menu = menu(&folder.path().join("git"), 24, 400_000);
        let repository = folder.path().join("git/r.git");
        let mut keys: Vec<String> = menu.keys().cloned().collect();
        for line in git_line(&["for-each-ref", "--format=%(objectname) %(tree)", "refs/heads"], &repository).lines() {
            let (commit, tree) = line.split_once(' ').unwrap();
            keys.extend([format!("revision/{commit}.tar.gz"), format!("revision/{commit}.bundle")]);
            keys.extend(["zip", "tar.zst"].map(|format| format!("directory/{tree}.{format}")));
        }
        let lacking = folder.path().join("lacking");
        let person = "x <x@example.org> 0 +0000";
        let text = format!("tree {}\nauthor {person}\ncommitter {person}\n\nx\n", "5a".repeat(20));
        fs::write(&lacking, text).unwrap();
        let args = ["hash-object", "-w", "-t", "commit", "--literally", lacking.to_str().unwrap()];
        let lacking = format!("revision/{}.tar.gz", git_line(&args, &repository));

        fs::create_dir(folder.path().join("elsewhere")).unwrap();
        let origin = origins::repository(&folder.path().join("elsewhere"));
        let upstream = Upstream::start(|stream, _, head| {
            let path = head.split(' ').nth(1).unwrap();
            if path.starts_with("/gone") {
                return reply(stream, "404 Not Found", "", b"");
            }
            let bytes = archive(path);
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            for piece in bytes.chunks(8 << 10) {
                if stream.write_all(piece).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let settings = format!(
            "git = [\"{}\"]\norigin_transports = [\"file\"]\norigin_private = true\nmin_free = \"1MiB\"\nworkers = 2\n\
             log = \"warn\"\n{}",
            folder.path().join("git").display(),
            upstream.settings("")
        );
        fs::write(folder.path().join("larder.toml"), settings).unwrap();
        let notes = AtomicU64::new(0);
        let place = Self { folder, data, menu, keys, lacking, origin, _upstream: upstream, notes };
        place.larder(&["origin", "add", &place.url()]);
        place
    }

    pub(super) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(super) fn url(&self) -> String {
        origins::file_url(&self.origin)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A file that was not there before.
    pub(super) fn note(&self) -> PathBuf {
        self.folder.path().join(format!("note-{}", self.notes.fetch_add(1, Ordering::Relaxed)))
    }

    /// A command line of larder's over all this.
    pub(super) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("--config").arg(self.folder.path().join("larder.toml")).arg("--data").arg(self.data());
        command.args(args).env_remove("LARDER_CONFIG").stdin(Stdio::null());
        command
    }

    /// What a command says that must succeed.
    pub(super) fn larder(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{args:?}: {}: {said}", output.status);
        said
    }

    /// Starts a command on what chance says.
    pub(super) fn run(&self, command: Command, act: u32, random: &mut Random) -> Running {
        let url = self.url();
        match command {
            Command::Fsck => cast::run(self, command, &["fsck", "--repair", "--deep"]),
            Command::Gc => cast::run(self, command, &["gc", "--max-size", "3MB", "--grace", "0s"]),
            Command::Cook => cast::run(self, command, &["cook", random.choose::<String>(&self.keys)]),
            Command::Fetch => {
                let target = target(act, random.below(30));
                let request = target.strip_prefix("/archiver/").unwrap();
                cast::run(self, command, &["archiver", "retry", request])
            }
            Command::Visit => {
                self.change_origin(random);
                cast::run(self, command, &["origin", "visit", &url])
            }
        }
    }

    /// Commits, branches and branches that go.
    pub(super) fn change_origin(&self, random: &mut Random) {
        let number = random.next();
        origins::commit(&self.origin, "main", &format!("{number}\n"));
        let branch = format!("refs/heads/b{}", number % 5);
        if git_line(&["for-each-ref", &branch], &self.origin).is_empty() {
            git(&["update-ref", &branch, "main"], &self.origin);
        } else {
            git(&["update-ref", "-d", &branch], &self.origin);
        }
    }

    pub(super) fn remove<'a>(&self, keys: impl Iterator<Item = &'a String>) {
        let keys: Vec<&str> = keys.map(String::as_str).collect();
        let code = self.command(&[&["remove"], &keys[..]].concat()).stdout(Stdio::null()).status().unwrap().code();
        assert!(matches!(code, Some(0 | 3)), "removed, or was not there: {code:?}");
    }

    /// Loses a bundle's file, or its row, as a crash of the machine may.
    pub(super) fn damage(&self, random: &mut Random) {
        let (kind, name) = random.choose(&self.keys).split_once('/').unwrap();
        if random.below(2) == 0 {
            let path = self.data().join("bundles/v0").join(kind).join(&name[..2]).join(&name[2..4]).join(name);
            let _ = fs::remove_file(path);
        } else {
            self.catalogue().execute("DELETE FROM bundle WHERE hex(sha1git) = upper(?1)", [&name[..40]]).unwrap();
        }
    }

    fn catalogue(&self) -> rusqlite::Connection {
        let catalogue = rusqlite::Connection::open(self.data().join("catalogue.db")).unwrap();
        catalogue.busy_timeout(super::DEADLINE).unwrap();
        catalogue
    }

    /// What was begun ends, also where nobody heard that it was promised.
    pub(super) fn nobody_waits(&self, within: Duration) {
        for sql in ["SELECT count(*) FROM cook", "SELECT count(*) FROM archiver_task WHERE ended_at IS NULL"] {
            until(within, || match self.catalogue().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() {
                0 => Ok(()),
                left => Err(format!("{sql} gives {left}")),
            });
        }
    }

    /// The folders of those who died go.
    pub(super) fn only_the_servers_have_folders(&self, within: Duration) {
        until(within, || match self.entries("bundles/v0/tmp") {
            folders if folders.len() == 2 => Ok(()),
            folders => Err(format!("{folders:?} are left")),
        });
    }

    /// The names in a folder of the data.
    pub(super) fn entries(&self, folder: &str) -> Vec<String> {
        self.entries_of(&self.data().join(folder))
    }

    #[expect(clippy::unused_self, reason = "beside its like")]
    pub(super) fn entries_of(&self, folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// No process is left that has to do with this data.
    pub(super) fn nobody_is_left(&self) {
        let data = self.data().as_os_str().as_encoded_bytes();
        let is_ours = |folder: &Path| {
            ["cmdline", "environ"].iter().any(|file| {
                let bytes = fs::read(folder.join(file)).unwrap_or_default();
                bytes.windows(data.len()).any(|window| window == data)
            })
        };
        until(super::DEADLINE, || {
            let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
            let left: Vec<PathBuf> = processes.filter(|folder| is_ours(folder)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are still there")) }
        });
    }

    pub(super) fn no_log_tells_of_a_panic(&self) {
        for entry in fs::read_dir(self.folder.path()).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let text = fs::read_to_string(entry.path()).unwrap();
                let panic = text.lines().find(|line| line.contains("panicked"));
                assert_eq!(panic, None, "{}", entry.path().display());
            }
        }
    }
}

/// Tries until it is so, or tells why it still is not.
fn until(within: Duration, mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + within;
    while let Err(why) = is_so() {
        assert!(Instant::now() < deadline, "{why}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A request to the Archiver: one in ten is for what the upstream does not have.
pub(super) fn target(act: u32, number: u64) -> String {
    let name = if number.is_multiple_of(10) { "gone" } else { "r" };
    format!("/archiver/up/{name}{act}-{number}/{REV}")
}

/// Whether the upstream has what is requested.
pub(super) fn is_upstream(target: &str) -> bool {
    !target.starts_with("/archiver/up/gone")
}

/// What the upstream sends for a request, of larder's or of who asks larder.
pub(super) fn archive(path: &str) -> Vec<u8> {
    let repository = path.trim_start_matches("/archiver/up").trim_start_matches('/').split('/').next().unwrap();
    let mut random = Random::new(repository.bytes().map(u64::from).sum());
    let noise: Vec<u8> = (0..100_000).map(|_| random.next().to_le_bytes()[0]).collect();
    gz(&tar(&[("t/name", repository.as_bytes()), ("t/d/noise", &noise)]))
}
