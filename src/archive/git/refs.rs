//! Which repositories there are, and what their refs point to: loose refs, packed ones, symbolic ones.
//! For snapshots only: bundles are made of ids. Reads no object.
//!
//! Refs in the `reftable` format are not read.

use super::packs::ObjectDir;
use crate::key::Sha1Git;
use gix_ref::file::Store;
use gix_ref::{Reference, Target};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A file system may date two changes alike that are so far apart.
const GRANULARITY: Duration = Duration::from_secs(2);

/// A repository of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    git_dir: PathBuf,
    /// Its path below the folder that was given, without `/.git` at the end; the last part of its own
    /// path when it was itself given.
    pub name: PathBuf,
}

/// What a ref points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefTarget {
    /// An object, which may not be there.
    Object(Sha1Git),
    /// Another ref, which may not be there.
    Symbolic(Vec<u8>),
}

/// The repositories of these `objects` directories, in order of path.
pub(super) fn repositories(given: &[PathBuf], dirs: &[Arc<ObjectDir>]) -> Vec<Repository> {
    let is_repository = |git_dir: &Path| git_dir.join("HEAD").is_file() && git_dir.join("refs").is_dir();
    let mut found: Vec<Repository> = dirs
        .iter()
        .filter_map(|dir| dir.path.parent().filter(|git_dir| is_repository(git_dir)))
        .map(|git_dir| Repository { name: name(given, git_dir), git_dir: git_dir.to_owned() })
        .collect();
    found.sort_by(|one, other| one.git_dir.cmp(&other.git_dir));
    found
}

fn name(given: &[PathBuf], git_dir: &Path) -> PathBuf {
    let work_dir = git_dir.parent().filter(|_| git_dir.ends_with(".git")).unwrap_or(git_dir);
    let below =
        given.iter().filter_map(|path| work_dir.strip_prefix(path).ok()).min_by_key(|path| path.as_os_str().len());
    match below {
        Some(path) if !path.as_os_str().is_empty() => path.to_owned(),
        _ => work_dir.file_name().map(PathBuf::from).unwrap_or_default(),
    }
}

impl Repository {
    /// Whether it lies below a folder.
    #[must_use]
    pub fn is_below(&self, folder: &Path) -> bool {
        self.git_dir.starts_with(folder)
    }

    /// Calls `each` with HEAD and every ref, until it says `false`. A ref that cannot be read is left
    /// out.
    pub fn refs(&self, each: &mut dyn FnMut(&[u8], RefTarget) -> bool) -> io::Result<()> {
        if self.git_dir.join("reftable").is_dir() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "its refs are a reftable"));
        }
        let store = Store::at(self.git_dir.clone(), gix_hash::Kind::Sha1);
        let head = store.try_find("HEAD").map_err(io::Error::other)?;
        let iterator = store.iter().map_err(io::Error::other)?;
        for reference in head.into_iter().map(Ok).chain(iterator.all()?.map(|read| read.map_err(drop))) {
            if let Ok(reference) = reference
                && let Some(target) = target(&reference)
                && !each(reference.name.as_bstr(), target)
            {
                break;
            }
        }
        Ok(())
    }

    /// A number that changes when refs do: of the times and sizes of the files and folders they are
    /// in. `None` when one of them changed so short a while ago that the next change may not show.
    #[must_use]
    pub fn stamp(&self) -> Option<i64> {
        let recently = SystemTime::now().checked_sub(GRANULARITY)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let mut hasher = blake3::Hasher::new();
        let mut folders = vec![self.git_dir.join("refs")];
        let files = [self.git_dir.join("HEAD"), self.git_dir.join("packed-refs")];
        let mut settled = true;
        let mut add = |path: &Path| {
            let Ok(metadata) = fs::metadata(path) else { return };
            settled &= metadata.mtime() < i64::try_from(recently.as_secs()).unwrap_or(i64::MAX);
            hasher.update(path.as_os_str().as_bytes());
            for number in [metadata.mtime(), metadata.mtime_nsec(), metadata.size().cast_signed()] {
                hasher.update(&number.to_le_bytes());
            }
        };
        for file in &files {
            add(file);
        }
        while let Some(folder) = folders.pop() {
            add(&folder);
            let mut below: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().collect();
            below.sort_by_key(fs::DirEntry::file_name);
            for entry in below {
                match entry.file_type() {
                    Ok(file_type) if file_type.is_dir() => folders.push(entry.path()),
                    _ => add(&entry.path()),
                }
            }
        }
        let first = hasher.finalize().as_bytes().first_chunk().copied().map(i64::from_le_bytes);
        first.filter(|_| settled)
    }
}

fn target(reference: &Reference) -> Option<RefTarget> {
    match &reference.target {
        Target::Object(id) => Sha1Git::from_slice(id.as_slice()).map(RefTarget::Object),
        Target::Symbolic(name) => Some(RefTarget::Symbolic(name.as_bstr().to_vec())),
    }
}
