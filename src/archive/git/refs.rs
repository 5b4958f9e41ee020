//! Which repositories there are, and what their refs point to: loose refs, packed ones, symbolic ones,
//! reftables. For snapshots only: bundles are made of ids. Reads no object.

use super::open::is_absence;
use super::packs::ObjectDir;
use super::ref_files;
use super::served::Served;
use super::stack;
use crate::key::Sha1Git;
use rustix::fs::FileType;
use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A file system may date two changes alike that are so far apart.
const GRANULARITY: Duration = Duration::from_secs(2);

/// A repository of the archive.
#[derive(Clone, Debug)]
pub struct Repository {
    git_dir: PathBuf,
    served: Arc<Served>,
    /// Its path below the folder that was given, without `/.git` at the end; the last part of its own
    /// path when it was itself given. Where another one has that name, as much of the path that was
    /// given stands before it as tells them apart: the one of the path given first has the plain name.
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

/// The repositories of these `objects` directories: in order of the paths that were given, then of
/// their own. No two have one name.
pub(super) fn repositories(given: &[PathBuf], dirs: &[Arc<ObjectDir>]) -> Vec<Repository> {
    let git_dirs = dirs.iter().filter_map(|dir| Some((dir.path.parent().filter(|path| is_repository(path))?, dir)));
    let mut found: Vec<_> = git_dirs.map(|(git_dir, dir)| (root(given, work_dir(git_dir)), git_dir, dir)).collect();
    found.sort_by_key(|(root, git_dir, _)| (*root, *git_dir));
    let mut taken = HashSet::new();
    let mut named = Vec::new();
    for (root, git_dir, dir) in found {
        let name = free_name(given.get(root), work_dir(git_dir), &taken);
        taken.insert(name.clone());
        named.push(Repository { git_dir: git_dir.to_owned(), served: dir.served.clone(), name });
    }
    named
}

/// Whether an `objects` directory is that of a repository, and not one that only alternates name. One
/// that cannot be looked at may be, and keeps its name from another.
fn is_repository(git_dir: &Path) -> bool {
    let may_be_there = |name: &str| match git_dir.join(name).symlink_metadata() {
        Ok(_) => true,
        Err(error) => !is_absence(&error),
    };
    may_be_there("HEAD") && may_be_there("refs")
}

/// The repository of a `.git` is called as the folder it is in.
fn work_dir(git_dir: &Path) -> &Path {
    git_dir.parent().filter(|_| git_dir.ends_with(".git")).unwrap_or(git_dir)
}

/// Which of the given paths a repository lies below, the outermost of several.
fn root(given: &[PathBuf], work_dir: &Path) -> usize {
    let above = (0..given.len()).filter(|at| work_dir.starts_with(&given[*at]));
    above.min_by_key(|at| given[*at].as_os_str().len()).unwrap_or(given.len())
}

/// The path below the given one, and before it as much of that as it takes to be called otherwise than
/// those that were named already.
fn free_name(root: Option<&PathBuf>, work_dir: &Path, taken: &HashSet<PathBuf>) -> PathBuf {
    let parts: Vec<_> = work_dir.iter().skip(1).collect();
    let below = root.and_then(|root| work_dir.strip_prefix(root).ok()).map_or(0, |path| path.iter().count());
    let last = |count: usize| parts[parts.len() - count..].iter().collect::<PathBuf>();
    let lengths = below.clamp(1.min(parts.len()), parts.len())..=parts.len();
    let free = lengths.map(last).find(|name| !taken.contains(name));
    free.unwrap_or_else(|| work_dir.to_owned())
}

impl Repository {
    /// Whether it lies below a folder.
    #[must_use]
    pub fn is_below(&self, folder: &Path) -> bool {
        self.git_dir.starts_with(folder)
    }

    /// Calls `each` with HEAD and every ref, until it says `false`. What is no ref is left out.
    pub fn refs(&self, each: &mut dyn FnMut(&[u8], RefTarget) -> bool) -> io::Result<()> {
        if stack::is_used(&self.git_dir, &self.served)? {
            for (name, target) in stack::refs(&self.git_dir, &self.served)? {
                if is_shown(&name, &target) && !each(&name, target) {
                    break;
                }
            }
            return Ok(());
        }
        ref_files::each_ref(&self.git_dir, &self.served, each)
    }

    /// A number that changes when refs do: of the times and sizes of the files and folders they are
    /// in. `None` when one of them changed so short a while ago that the next change may not show, or
    /// could not be looked at.
    #[must_use]
    pub fn stamp(&self) -> Option<i64> {
        let recently = SystemTime::now().checked_sub(GRANULARITY)?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let mut hasher = blake3::Hasher::new();
        let mut folders = vec![self.git_dir.join("refs")];
        // Tables never change: a change is another list of them.
        let files = ["HEAD", "packed-refs", stack::LIST].map(|name| self.git_dir.join(name));
        let mut settled = true;
        let mut add = |path: &Path| {
            let metadata = match path.symlink_metadata() {
                Ok(metadata) => metadata,
                Err(error) => return is_absence(&error).then_some(()),
            };
            settled &= metadata.mtime() < i64::try_from(recently.as_secs()).unwrap_or(i64::MAX);
            hasher.update(path.as_os_str().as_bytes());
            for number in [metadata.mtime(), metadata.mtime_nsec(), metadata.size().cast_signed()] {
                hasher.update(&number.to_le_bytes());
            }
            Some(())
        };
        for file in &files {
            add(file)?;
        }
        while let Some(folder) = folders.pop() {
            add(&folder)?;
            for (name, file_type) in ref_files::names(&folder, &self.served).ok()? {
                let path = folder.join(name);
                if file_type == FileType::Directory {
                    folders.push(path);
                } else {
                    add(&path)?;
                }
            }
        }
        let first = hasher.finalize().as_bytes().first_chunk().copied().map(i64::from_le_bytes);
        first.filter(|_| settled)
    }
}

/// Whether a ref of a reftable is one that there would be as a file: `ORIG_HEAD` and its like are none, nor
/// are names that git refuses.
fn is_shown(name: &[u8], target: &RefTarget) -> bool {
    let leads = match target {
        RefTarget::Object(_) => true,
        RefTarget::Symbolic(to) => ref_files::is_legal(to),
    };
    (name == b"HEAD" || name.starts_with(b"refs/") && ref_files::is_legal(name)) && leads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str], work_dirs: &[&str]) -> Vec<String> {
        let given: Vec<PathBuf> = given.iter().map(PathBuf::from).collect();
        let mut taken = HashSet::new();
        let mut found: Vec<_> = work_dirs.iter().map(|path| (root(&given, Path::new(path)), Path::new(path))).collect();
        found.sort();
        let mut names = Vec::new();
        for (root, path) in found {
            let name = free_name(given.get(root), path, &taken);
            assert!(taken.insert(name.clone()), "{}", name.display());
            names.push(name.to_str().unwrap().to_owned());
        }
        names
    }

    #[test]
    fn repositories_of_one_name_are_told_apart_by_the_paths_that_were_given() {
        assert_eq!(names(&["/srv/b", "/srv/a"], &["/srv/a/x.git", "/srv/b/x.git"]), ["x.git", "a/x.git"]);
        assert_eq!(names(&["/u/a/p", "/u/b/p", "/v/b/p"], &["/u/a/p", "/u/b/p", "/v/b/p"]), ["p", "b/p", "v/b/p"]);
        assert_eq!(names(&["/srv"], &["/srv/a/x.git", "/srv/b/x.git"]), ["a/x.git", "b/x.git"]);
        assert_eq!(names(&["/srv", "/srv/a"], &["/srv/a/x.git"]), ["a/x.git"], "the outermost counts");
        assert_eq!(names(&["/one"], &["/elsewhere/y.git"]), ["y.git"], "a worktree's repository may lie elsewhere");
        assert_eq!(names(&["/"], &["/"]), [""]);
    }
}
