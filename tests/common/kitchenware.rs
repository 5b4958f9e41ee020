//! What the tests of dying processes and failing disks share: a repository whose trees take a
//! moment to cook, what each bundle must be, and the check that nothing is wrong in the end.

use super::client::request;
use super::process::Start as _;
use super::server::Server;
use larder::archive::git::GitArchive;
use larder::cook::{Control, Order, Root, cook};
use larder::key::Flat;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The digest that each bundle must have, by its key (`directory/<id>.tar.gz`).
pub(crate) type Menu = BTreeMap<String, String>;

/// Makes a repository of `trees` directories of about `size` bytes each, cooks each in a larder of
/// its own that nothing disturbs, and gives what they must be.
pub(crate) fn menu(folder: &Path, trees: u32, size: usize) -> Menu {
    super::git(&["init", "-q", "--bare", "r.git"], folder);
    let repository = folder.join("r.git");
    let mut git = super::git_command(&repository)
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .start()
        .expect("git can be run");
    let mut import = git.stdin.take().expect("its input is a pipe");
    let mut random = Random::new(7);
    for tree in 0..trees {
        let message = format!("commit refs/heads/b{tree}\ncommitter x <x@example.org> 0 +0000\ndata 0\n");
        import.write_all(message.as_bytes()).unwrap();
        for file in 0..8 {
            let bytes: Vec<u8> = (0..size / 8).map(|_| b'a' + (random.next() % 16) as u8).collect();
            import.write_all(format!("M 100644 inline d{file}/f\ndata {}\n", bytes.len()).as_bytes()).unwrap();
            import.write_all(&bytes).unwrap();
            import.write_all(b"\n").unwrap();
        }
        import.write_all(b"\n").unwrap();
    }
    drop(import);
    assert!(git.wait().unwrap().success());
    let data = tempfile::TempDir::new().unwrap();
    let server = Server::start(data.path(), &[folder], &[]);
    let trees = super::git_line(&["for-each-ref", "--format=%(tree)", "refs/heads"], &repository);
    trees
        .lines()
        .map(|tree| {
            let key = format!("directory/{tree}.tar.gz");
            assert_eq!(server.cook(&key)["status"], "done");
            let body = server.get(&format!("/vault/{key}")).body;
            (key, blake3::hash(&body).to_hex().to_string())
        })
        .collect()
}

/// Makes a repository whose commits each change a little of a tree of some 60 files and 1 MB, and gives the bundles of
/// their trees in order: each with the digest that it has when it is cooked from nothing.
pub(crate) fn commits(folder: &Path, count: u32) -> Vec<(String, String)> {
    super::git(&["init", "-q", "--bare", "r.git"], folder);
    let repository = folder.join("r.git");
    let mut git = super::git_command(&repository)
        .args(["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .start()
        .expect("git can be run");
    let mut import = git.stdin.take().expect("its input is a pipe");
    let mut random = Random::new(11);
    for commit in 0..count {
        let message = format!("commit refs/heads/main\ncommitter x <x@example.org> {commit} +0000\ndata 0\n");
        import.write_all(message.as_bytes()).unwrap();
        let changed = if commit == 0 { 60 } else { 1 + random.below(3) };
        for file in 0..changed {
            let number = if commit == 0 { file } else { random.below(60) };
            let size = 1000 + random.below(33_000);
            let bytes: Vec<u8> = (0..size).map(|_| b'a' + (random.next() % 16) as u8).collect();
            let line = format!("M 100644 inline d{}/f{number}\ndata {size}\n", number % 7);
            import.write_all(line.as_bytes()).unwrap();
            import.write_all(&bytes).unwrap();
            import.write_all(b"\n").unwrap();
        }
        import.write_all(b"\n").unwrap();
    }
    drop(import);
    assert!(git.wait().unwrap().success());
    let trees = super::git_line(&["log", "--reverse", "--format=%T", "main"], &repository);
    trees.lines().map(|tree| (format!("directory/{tree}.tar.gz"), from_nothing(&repository, tree))).collect()
}

/// The digest of a tree's `tar.gz`, cooked with no store around.
fn from_nothing(repository: &Path, tree: &str) -> String {
    let archive = &GitArchive::new(vec![repository.to_owned()]).unwrap();
    assert_eq!(archive.discover(), 1);
    let (scratch, control) = (&std::env::temp_dir(), &Control::default());
    let (root, format) = (Root::Directory(tree.parse().unwrap()), Flat::TarGz);
    let (segments, remembered) = (None, None);
    let order = Order { archive, root, format, threads: 2, max_size: 1 << 40, scratch, control, segments, remembered };
    let mut bytes = Vec::new();
    cook(&order, &mut bytes).unwrap();
    blake3::hash(&bytes).to_hex().to_string()
}

/// Fetches every bundle there is; one that is served is whole and right. Gives how many there are.
pub(crate) fn all_served_are_right(server: &Server, menu: &Menu) -> usize {
    menu.iter()
        .filter(|(key, digest)| {
            let Ok(answer) = request(&server.address, "GET", &format!("/vault/{key}"), &[]) else {
                panic!("{key}: the answer was cut short");
            };
            assert!(answer.status == 200 || answer.status == 404, "{key}: {}", answer.status);
            let whole = answer.status == 200;
            assert!(!whole || blake3::hash(&answer.body).to_hex().as_str() == digest.as_str(), "{key} is wrong");
            whole
        })
        .count()
}

/// A deep check finds nothing wrong: no draft is left, and catalogue and files agree to the byte.
#[track_caller]
pub(crate) fn all_is_well(data: &Path) {
    let found = faults(data);
    assert!(found.is_empty(), "fsck finds {found:?}");
}

/// The names of the faults that a deep check finds.
#[track_caller]
pub(crate) fn faults(data: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["fsck", "--deep", "--json", "--data"])
        .arg(data)
        .env_remove("LARDER_CONFIG")
        .output()
        .expect("larder runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let found: Vec<String> = report["faults"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(output.status.code(), Some(if found.is_empty() { 0 } else { 4 }), "{report}");
    if !found.is_empty() {
        println!("{report}");
    }
    found
}

/// Pseudo-random numbers (xorshift) from a seed that a failing test prints.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A seed of this run; `LARDER_TEST_SEED`, for one that failed.
    pub(crate) fn seed() -> u64 {
        if let Some(seed) = std::env::var_os("LARDER_TEST_SEED") {
            return seed.to_str().and_then(|seed| seed.parse().ok()).expect("LARDER_TEST_SEED is a number");
        }
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::from(now.subsec_nanos())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn choose<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        let at = self.below(among.len() as u64);
        &among[usize::try_from(at).unwrap()]
    }
}
