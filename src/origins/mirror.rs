//! One mirror: a bare repository in `<data>/origins`, which only git writes, but for the list of refs of
//! a first visit (`first`). Owns its name, its lock and what is in it.
//!
//! | refs | what |
//! |---|---|
//! | `refs/larder/now/*` | the origin's `refs/*` at the last fetch |
//! | `refs/larder/head` | its HEAD, when that is no branch |
//! | `refs/larder/keep/<id>` | what a branch once led to and no branch leads to any more |
//!
//! Nothing is ever pruned: larder collects no garbage here, and git is told not to; the kept refs are
//! for a hand that does. So every snapshot that was taken stays whole after a force-push.
//!
//! **Lock.** `<name>.lock` beside it is held (`flock`) for a whole visit, and by a removal.
//!
//! **Crash order.** A mirror is made under another name and renamed. What a killed git leaves (locks
//! of its own, half packs) is removed under our lock before the next one runs; refs are moved after
//! their objects are there, and what they lead to is kept before they are moved.

use super::advertised::{Branches, Shown};
use super::first;
use super::run::{Bounds, Git, GitError};
use super::url::Remote;
use crate::archive::git::GitArchive;
use crate::archive::snapshot::MAX_MANIFEST;
use crate::archive::{Archive as _, ObjectType, Reader};
use crate::key::Sha1Git;
use crate::members::Alone;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The most that `git ls-remote` may print: a manifest in hexadecimal, with tags peeled.
const MAX_LISTING: u64 = 4 * MAX_MANIFEST as u64;

/// More packs than this are joined after a visit.
const MAX_PACKS: usize = 50;

/// What is fetched: all but what no snapshot has.
const REFSPECS: [&str; 5] = [
    "+refs/*:refs/larder/now/*",
    "^refs/pull/*/merge",
    "^refs/merge-requests/*/merge",
    "^refs/pipelines/*",
    "^refs/changes/*",
];

/// A mirror that this process has locked.
pub(super) struct Mirror {
    path: PathBuf,
    _alone: Alone,
}

impl Mirror {
    /// The mirror of a URL, made when it is not there; `None` while somebody else has it.
    pub(super) fn lock(folder: &Path, url: &str) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(&blake3::hash(url.as_bytes()).to_hex()[..40]);
        let alone = Alone::at(&path.with_extension("lock"))?;
        Ok(alone.map(|alone| Self { path, _alone: alone }))
    }

    /// Deletes the mirror. Its lock stays, for somebody may wait for it.
    pub(super) fn remove(self) -> io::Result<()> {
        // Renamed first, so that no half of it is taken for a repository.
        let gone = self.path.with_extension("gone");
        delete(&gone)?;
        delete(&self.path.with_extension("new"))?;
        match fs::rename(&self.path, &gone) {
            Ok(()) => delete(&gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The branches that the origin shows now.
    pub(super) fn list(&self, git: &Git<'_>, remote: &Remote) -> Result<Vec<u8>, GitError> {
        let bounds = Bounds { output: MAX_LISTING, folder: None };
        git.run(&self.path, &["ls-remote", "--symref", "--quiet", "--", remote.as_str()], b"", bounds)
    }

    /// Makes the mirror, or mends what a killed git left in it.
    pub(super) fn prepare(&self, git: &Git<'_>) -> Result<(), GitError> {
        if self.path.join("HEAD").exists() {
            return clean(&self.path).map_err(GitError::Run);
        }
        let new = self.path.with_extension("new");
        delete(&new).map_err(GitError::Run)?;
        DirBuilder::new().mode(0o700).create(&new).map_err(GitError::Run)?;
        let args = ["init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--initial-branch=main"];
        git.run(&new, &args, b"", bounds(1 << 20, &new))?;
        fs::rename(&new, &self.path).map_err(GitError::Run)
    }

    /// A reader of what is in the mirror, and in nothing else.
    pub(super) fn reader(&self) -> Result<Box<dyn Reader>, GitError> {
        let archive = GitArchive::new(vec![self.path.clone()]);
        Ok(archive.map_err(|error| GitError::Run(io::Error::other(error)))?.reader())
    }

    /// Fetches what `branches` lead to, and keeps what the branches of before led to.
    pub(super) fn fetch(&self, git: &Git<'_>, remote: &Remote, branches: &Branches) -> Result<(), GitError> {
        let tips = self.tips(git)?;
        if tips.is_empty() && !self.path.join(first::PACKED_REFS).exists() {
            match first::fetch(&self.path, git, remote, branches) {
                // What a branch led to is gone, or the server gives nothing by id: by name then.
                Err(GitError::Failed(words)) => tracing::debug!(words, "a first visit by ids failed"),
                done => return done,
            }
        }
        let leaving: Vec<Sha1Git> = tips.difference(&branches.ids()).copied().collect();
        self.update_refs(git, &leaving, |id| format!("update refs/larder/keep/{id} {id}\n"))?;
        let mut args = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-show-forced-updates",
            "--prune",
            "--force",
            "--",
            remote.as_str(),
        ];
        args.extend(REFSPECS);
        if matches!(branches.get(b"HEAD"), Some(Shown::Object(_))) {
            args.push("+HEAD:refs/larder/head");
        }
        git.run(&self.path, &args, b"", bounds(1 << 20, &self.path))?;
        // What follows only tidies up: the next visit does it again.
        if let Err(error) = self.tidy(git, &leaving) {
            tracing::warn!(%error, "a mirror was not tidied up");
        }
        Ok(())
    }

    /// What the refs of the mirror lead to, but for those kept.
    fn tips(&self, git: &Git<'_>) -> Result<BTreeSet<Sha1Git>, GitError> {
        let args = ["for-each-ref", "--format=%(objectname)", "refs/larder/now", "refs/larder/head"];
        let output = git.run(&self.path, &args, b"", bounds(MAX_LISTING, &self.path))?;
        Ok(ids(&output))
    }

    /// Lets go of what is still reachable, then packs refs, and packs when there are many.
    fn tidy(&self, git: &Git<'_>, leaving: &[Sha1Git]) -> Result<(), GitError> {
        if !leaving.is_empty() {
            let mut reader = self.reader()?;
            let mut is_commit = |id: &Sha1Git| matches!(reader.header(id), Ok(Some(header)) if header.object_type == ObjectType::Commit);
            let commits: Vec<Sha1Git> = leaving.iter().copied().filter(|id| is_commit(id)).collect();
            let mut input = String::new();
            for id in &commits {
                let _ = writeln!(input, "{id}");
            }
            for id in self.tips(git)? {
                let _ = writeln!(input, "^{id}");
            }
            let args = ["rev-list", "--ignore-missing", "--stdin"];
            let output = git.run(&self.path, &args, input.as_bytes(), bounds(1 << 30, &self.path))?;
            let lost = ids(&output);
            let found: Vec<Sha1Git> = commits.into_iter().filter(|id| !lost.contains(id)).collect();
            self.update_refs(git, &found, |id| format!("delete refs/larder/keep/{id} {id}\n"))?;
        }
        git.run(&self.path, &["pack-refs", "--all"], b"", bounds(1 << 20, &self.path))?;
        let packs = fs::read_dir(self.path.join("objects/pack")).map_err(GitError::Run)?.flatten();
        if packs.filter(|entry| entry.path().extension().is_some_and(|ext| ext == "pack")).count() > MAX_PACKS {
            // Joins packs as they are: what nothing leads to stays as well.
            let args = ["repack", "--geometric=2", "-d", "--quiet"];
            git.run(&self.path, &args, b"", bounds(1 << 20, &self.path))?;
        }
        Ok(())
    }

    fn update_refs(&self, git: &Git<'_>, ids: &[Sha1Git], line: impl Fn(&Sha1Git) -> String) -> Result<(), GitError> {
        if ids.is_empty() {
            return Ok(());
        }
        let input: String = ids.iter().map(line).collect();
        let args = ["update-ref", "--stdin"];
        git.run(&self.path, &args, input.as_bytes(), bounds(1 << 20, &self.path)).map(drop)
    }
}

pub(super) fn bounds(output: u64, folder: &Path) -> Bounds<'_> {
    Bounds { output, folder: Some(folder) }
}

/// Deletes a folder that may not be there.
fn delete(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The ids in lines of their own.
fn ids(lines: &[u8]) -> BTreeSet<Sha1Git> {
    let id = |line: &[u8]| std::str::from_utf8(line).ok()?.parse().ok();
    lines.split(|byte| *byte == b'\n').filter_map(id).collect()
}

/// The bytes of a loose ref that leads to an object: its id and a newline.
const LOOSE_REF: u64 = 41;

/// What files are called in a folder of a mirror that a git began and did not end: those that begin so, and
/// those that end so.
type HalfMade = (&'static str, &'static [&'static [u8]], &'static [&'static [u8]]);

/// git stumbles over the first ones, for it makes `packed-refs.new` only where there is none; the rest
/// would only gather.
const HALF_MADE: [HalfMade; 4] = [
    ("", &[], &[b".lock", b".new"]),
    ("info", &[b"refs_"], &[b".lock"]),
    ("objects/info", &[b"packs_"], &[b".lock"]),
    ("objects/pack", &[b"tmp_", b".tmp-"], &[b".lock", b".keep"]),
];

/// Removes what a killed git, or a power cut, leaves: files half made, locks, empty refs. What a ref led to
/// is there still, for nothing is pruned.
fn clean(git_dir: &Path) -> io::Result<()> {
    for (folder, begins, ends) in HALF_MADE {
        for entry in entries(&git_dir.join(folder))? {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            let is_half_made =
                begins.iter().any(|begin| name.starts_with(begin)) || ends.iter().any(|end| name.ends_with(end));
            if is_half_made && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
    }
    let mut folders = vec![git_dir.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lock")
                || entry.metadata()?.len() != LOOSE_REF
            {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// What lies in a folder, which may not be there.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
