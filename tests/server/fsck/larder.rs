//! A small larder, cooked once and copied for each test: directories, and a revision that is another
//! name of one of them.

use crate::common::kitchenware::{Menu, all_served_are_right, menu};
use crate::common::server::Server;
use rusqlite::types::Value as Cell;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// What every test begins with.
struct Template {
    folder: TempDir,
    data: TempDir,
    menu: Menu,
    revision: String,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let menu = menu(folder.path(), 3, 20_000);
        let commit = crate::common::git_line(&["rev-parse", "refs/heads/b0"], &folder.path().join("r.git"));
        let revision = format!("revision/{commit}.tar.gz");
        let server = Server::start(data.path(), &[folder.path()], &[]);
        for key in menu.keys().chain([&revision]) {
            assert_eq!(server.cook(key)["status"], "done");
        }
        assert!(server.terminate().success());
        Template { folder, data, menu, revision }
    })
}

/// A larder of a test's own, that no server has open.
pub(crate) struct Larder {
    data: TempDir,
    pub(crate) menu: &'static Menu,
    /// The revision, and the directory whose file it shares.
    pub(crate) revision: &'static str,
    pub(crate) directory: String,
    /// A directory with one name only.
    pub(crate) alone: &'static str,
}

impl Larder {
    pub(crate) fn new() -> Self {
        let template = template();
        let data = TempDir::new().unwrap();
        let copied = Command::new("cp").arg("-a").arg(template.data.path().join(".")).arg(data.path()).status();
        assert!(copied.unwrap().success());
        let tree =
            crate::common::git_line(&["rev-parse", "refs/heads/b0^{tree}"], &template.folder.path().join("r.git"));
        let directory = format!("directory/{tree}.tar.gz");
        let alone = template.menu.keys().find(|key| **key != directory).unwrap();
        Self { data, menu: &template.menu, revision: &template.revision, directory, alone }
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where a bundle lies.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        let (kind, name) = key.split_once('/').unwrap();
        self.data().join("bundles/v0").join(kind).join(&name[..2]).join(&name[2..4]).join(name)
    }

    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.data().join("catalogue.db")).unwrap()
    }

    /// Runs one statement over the catalogue, with references unchecked.
    #[track_caller]
    pub(crate) fn execute(&self, sql: &str) {
        let connection = self.sql();
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Deletes the row of a bundle.
    pub(crate) fn forget(&self, key: &str) {
        let (kind, id) = key.split_once('/').unwrap();
        let kind = 1 + u8::from(kind == "revision");
        self.sql()
            .execute_batch(&format!("DELETE FROM bundle WHERE kind = {kind} AND hex(sha1git) = upper('{}')", &id[..40]))
            .unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        larder(self.data(), args)
    }

    /// `fsck --json` with more flags: its exit code and what it said.
    #[track_caller]
    pub(crate) fn fsck(&self, flags: &[&str]) -> (i32, Value) {
        fsck(self.data(), flags)
    }

    /// Everything that a check could change: each path with what it is, and each row.
    pub(crate) fn everything(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for sub in ["bundles", "quarantine"] {
            walk(&self.data().join(sub), &mut all);
        }
        let connection = self.sql();
        for table in ["bundle", "file", "cook", "totals", "clock", "log", "gdsf", "archiver_task"] {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let width = statement.column_count();
            let rows = statement.query_map([], |row| (0..width).map(|column| row.get::<_, Cell>(column)).collect());
            for row in rows.unwrap() {
                let row: Vec<Cell> = row.unwrap();
                *all.entry(format!("{table} {row:?}")).or_default() += ".";
            }
        }
        all
    }

    /// A server over this larder and the repository it was cooked from.
    pub(crate) fn serve(&self, flags: &[&str]) -> Server {
        Server::start(self.data(), &[template().folder.path()], flags)
    }

    /// All that may be served is, and right; what has to be cooked for that is.
    pub(crate) fn everything_can_be_had(&self) {
        let server = self.serve(&[]);
        for key in self.menu.keys().map(String::as_str).chain([self.revision]) {
            assert_eq!(server.cook(key)["status"], "done", "{key}");
        }
        assert_eq!(all_served_are_right(&server, self.menu), self.menu.len());
        let body = server.get(&format!("/vault/{}", self.revision)).body;
        assert_eq!(blake3::hash(&body).to_hex().as_str(), self.menu[&self.directory]);
        assert!(server.terminate().success());
    }

    /// The entries of quarantine.
    pub(crate) fn quarantine(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.data().join("quarantine")) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn larder(data: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(args).arg("--data").arg(data).env_remove("LARDER_CONFIG").stdin(Stdio::null());
    command.output().expect("larder runs")
}

/// `larder fsck --json` with more flags: its exit code and what it said.
#[track_caller]
pub(crate) fn fsck(data: &Path, flags: &[&str]) -> (i32, Value) {
    let output = larder(data, &[&["fsck", "--json"], flags].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{said}"));
    (output.status.code().unwrap(), json)
}

fn walk(path: &Path, all: &mut BTreeMap<String, String>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let (mode, ino, mtime) = (metadata.mode(), metadata.ino(), metadata.mtime());
    let mut what = format!("{mode:o} {ino} {}", metadata.nlink());
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), all);
        }
    } else if metadata.is_file() {
        let _ = write!(what, " {mtime} {}", blake3::hash(&fs::read(path).unwrap()));
    }
    all.insert(path.display().to_string(), what);
}
