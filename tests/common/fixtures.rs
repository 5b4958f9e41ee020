//! Fixtures by name: runs `fixtures/<name>.sh` once and keeps what it built below the target folder.
//!
//! A build lies in a folder whose name has a digest of the scripts, so a changed script is run anew.
//! Several test binaries may ask at once: the lock on `<folder>.lock` is held while building. A folder
//! whose lock file does not hold the word `built` is what an interruption left, and is built again. It
//! is built where it stays, for git writes absolute paths into linked worktrees.

use larder::bundle::FailureCode;
use larder::key::{ObjectKind, Sha1Git};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The fixtures whose objects all cook, but those that [`FixtureId::expect`] a failure.
pub(crate) const WELL_FORMED: [&str; 11] =
    ["plain", "deep", "names", "modes", "octopus", "tags", "midx", "alternates", "loose", "worktree", "sizes"];

/// The fixtures whose objects all fail, but the few noted without a failure, which lie beside them to
/// show that they still cook.
pub(crate) const HOSTILE: [&str; 6] =
    ["hostile/trees", "hostile/missing", "hostile/types", "hostile/loose", "hostile/pack", "hostile/truncated"];

/// The `max_bundle_size`, in bytes, under which the hostile fixtures end as their manifests say.
pub(crate) const HOSTILE_MAX_SIZE: u64 = 256 << 20;

/// The fixture of 300 MB files, which takes seconds to build and 220 MB of disk.
pub(crate) const BIG: &str = "big";

/// The fixture of packed repositories of sources that others published. The first time it needs the
/// package registry and about a minute.
pub(crate) const REAL: &str = "real";

/// A folder of repositories and the objects in it worth cooking.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    /// The name it was asked for by.
    pub(crate) name: String,
    /// The folder: what `--git` is given. Shared by all tests: do not write to it.
    pub(crate) path: PathBuf,
    /// Its manifest.
    pub(crate) ids: Vec<FixtureId>,
}

/// A line of a fixture's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FixtureId {
    /// What the fixture calls the object.
    pub(crate) name: String,
    /// Directory, revision or release.
    pub(crate) kind: ObjectKind,
    /// The object's id.
    pub(crate) id: Sha1Git,
    /// The code of the failure that cooking it ends in; `None` when it cooks.
    pub(crate) expect: Option<String>,
}

impl Fixture {
    /// The object called `name`; panics when there is none.
    pub(crate) fn id(&self, name: &str) -> &FixtureId {
        let found = self.ids.iter().find(|id| id.name == name);
        found.unwrap_or_else(|| panic!("fixture {} has no object called {name}", self.name))
    }

    /// The objects that cook.
    pub(crate) fn cookable(&self) -> impl Iterator<Item = &FixtureId> {
        self.ids.iter().filter(|id| id.expect.is_none())
    }

    /// The git folders (bare repositories and `.git` folders) of the fixture, in order of path.
    pub(crate) fn repositories(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        find_repositories(&self.path, &mut found);
        found.sort();
        found
    }

    /// A copy of the fixture in `into`, for a test that writes to it. Not for `worktree`.
    pub(crate) fn copy_to(&self, into: &Path) -> Self {
        let status = Command::new("cp").arg("-R").arg(self.path.join(".")).arg(into).status();
        assert!(status.expect("cp can be run").success(), "copying {} to {}", self.path.display(), into.display());
        Self { path: into.to_owned(), ..self.clone() }
    }
}

/// The fixture called `name` (`plain`, `hostile/trees`), built if it is not there yet.
pub(crate) fn fixture(name: &str) -> Fixture {
    let script = scripts().join(format!("{name}.sh"));
    let mut digest = blake3::Hasher::new();
    for part in [&script, &scripts().join("lib.sh"), &scripts().join("objects.py")] {
        digest.update(&fs::read(part).unwrap_or_else(|e| panic!("reading {}: {e}", part.display())));
    }
    let folder = format!("{}-{}", name.replace('/', "-"), &digest.finalize().to_hex()[..16]);
    let path = cache().join(folder);
    build_once(&path, || run(&script, &path));
    let ids = fs::read_to_string(path.join("ids")).expect("a built fixture has its manifest");
    Fixture { name: name.to_owned(), ids: ids.lines().map(parse_line).collect(), path }
}

/// Calls `build` to fill `path`, unless it was filled before by whomever.
fn build_once(path: &Path, build: impl FnOnce()) {
    fs::create_dir_all(path.parent().expect("the cache is a folder")).expect("the cache can be made");
    let lock_path = path.with_added_extension("lock");
    let mut lock =
        File::options().read(true).write(true).create(true).truncate(false).open(lock_path).expect("a lock file");
    lock.lock().expect("locking the fixture");
    let mut word = String::new();
    lock.read_to_string(&mut word).expect("reading the lock file");
    if word == "built" && path.exists() {
        return;
    }
    lock.set_len(0).expect("emptying the lock file");
    if path.exists() {
        fs::remove_dir_all(path).expect("removing what an interrupted build left");
    }
    build();
    lock.rewind().expect("rewinding the lock file");
    lock.write_all(b"built").expect("writing the lock file");
}

fn run(script: &Path, dir: &Path) {
    let output = Command::new("bash").arg(script).arg(dir).stdin(Stdio::null()).output().expect("bash can be run");
    assert!(
        output.status.success(),
        "{} {}: {}\n{}{}",
        script.display(),
        dir.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn parse_line(line: &str) -> FixtureId {
    let fields: Vec<_> = line.split(' ').collect();
    let (&[name, kind, id], expect) = fields.split_at_checked(3).map_or_else(
        || panic!("a line of a manifest is `name kind id [code]`: {line}"),
        |(head, rest)| (head.try_into().expect("three fields were split off"), rest),
    );
    assert!(expect.len() <= 1, "a line of a manifest has at most four fields: {line}");
    if let Some(code) = expect.first() {
        assert!(FailureCode::from_word(code).is_some(), "{code} is not a failure code: {line}");
    }
    FixtureId {
        name: name.to_owned(),
        kind: kind.parse().expect("a kind"),
        id: id.parse().expect("an id"),
        expect: expect.first().map(|&code| code.to_owned()),
    }
}

fn find_repositories(dir: &Path, found: &mut Vec<PathBuf>) {
    if dir.join("objects").is_dir() && dir.join("HEAD").exists() {
        found.push(dir.to_owned());
        return;
    }
    for entry in fs::read_dir(dir).expect("reading a fixture's folder") {
        let entry = entry.expect("reading a fixture's folder");
        if entry.file_type().expect("the type of a file").is_dir() {
            find_repositories(&entry.path(), found);
        }
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// `CARGO_TARGET_TMPDIR` is below the target folder, and the same for every test binary.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures")
}
