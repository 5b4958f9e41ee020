//! Finds the `objects` directories under the given paths: of repositories, bare or not, at any
//! depth, of worktrees, and those that alternates name.
//!
//! **Invariant: nothing outside the given paths is read.** Symlinks, `.git` files, `commondir` and
//! alternates are followed to where they really lead, and left alone with a warning when that is
//! outside. A path that was given may itself be a worktree whose repository lies elsewhere: naming
//! it allows it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Folders are looked into this deep.
const MAX_DEPTH: usize = 64;

/// More `objects` directories than this are not looked for.
const MAX_OBJECT_DIRS: usize = 200_000;

/// Alternates of alternates are followed this far, as by git.
const MAX_ALTERNATES: usize = 5;

/// Configuration, alternates and the like are read up to this size in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// What a scan found.
#[derive(Default)]
pub(super) struct Found {
    /// Canonical, in an order that depends on nothing but the folders.
    pub(super) object_dirs: Vec<PathBuf>,
    pub(super) repositories: usize,
}

/// Looks for repositories under `given`, which are canonical. `warned` keeps each warning from being
/// repeated by the next scan.
pub(super) fn scan(given: &[PathBuf], warned: &mut HashSet<PathBuf>) -> Found {
    let mut scan = Scan {
        allowed: given.to_vec(),
        warned,
        found: Found::default(),
        seen: HashSet::new(),
        folders: HashSet::new(),
    };
    for path in given {
        scan.allow_repository(path);
    }
    for path in given {
        scan.walk(path);
    }
    scan.found
}

struct Scan<'a> {
    allowed: Vec<PathBuf>,
    warned: &'a mut HashSet<PathBuf>,
    found: Found,
    /// Object directories found.
    seen: HashSet<PathBuf>,
    /// Device and inode of folders visited: what keeps links from leading in a circle.
    folders: HashSet<(u64, u64)>,
}

impl Scan<'_> {
    /// Allows the repository of a path that was given, wherever that lies.
    fn allow_repository(&mut self, path: &Path) {
        let Some(git_dir) = git_dir(path) else { return };
        if let Some(common) = common_dir(&git_dir) {
            self.allowed.extend(common.join("objects").canonicalize());
            self.allowed.push(common);
        }
        self.allowed.push(git_dir);
    }

    fn walk(&mut self, root: &Path) {
        let mut folders = vec![(root.to_path_buf(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            if self.found.object_dirs.len() >= MAX_OBJECT_DIRS {
                return self.warn(&folder, "no more repositories are looked for: there are too many");
            }
            let Ok(meta) = folder.metadata() else { continue };
            if !self.folders.insert((meta.dev(), meta.ino())) {
                continue;
            }
            if let Some(git_dir) = git_dir(&folder) {
                self.add_repository(&git_dir);
            } else if depth < MAX_DEPTH {
                folders.extend(self.subfolders(&folder).into_iter().map(|sub| (sub, depth + 1)));
            } else {
                self.warn(&folder, "folder skipped: it is too deep");
            }
        }
    }

    /// The folders in a folder, in falling order for a stack.
    fn subfolders(&mut self, folder: &Path) -> Vec<PathBuf> {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) => {
                self.warn(folder, &format!("folder skipped: {error}"));
                return Vec::new();
            }
        };
        let mut folders = Vec::new();
        for entry in entries.flatten() {
            let Ok(file_type) = entry.file_type() else { continue };
            if file_type.is_dir() {
                folders.push(entry.path());
            } else if file_type.is_symlink() {
                folders.extend(entry.path().canonicalize().ok().filter(|path| path.is_dir() && self.is_inside(path)));
            }
        }
        folders.sort_unstable_by(|a, b| b.cmp(a));
        folders
    }

    fn add_repository(&mut self, git_dir: &Path) {
        let Some(common) = git_dir.canonicalize().ok().and_then(|git_dir| common_dir(&git_dir)) else { return };
        let Ok(objects) = common.join("objects").canonicalize() else { return };
        if !self.is_inside(&common) || !self.is_inside(&objects) {
            return self.warn(git_dir, "repository skipped: it lies outside the given paths");
        }
        if self.seen.contains(&objects) {
            return;
        }
        if is_sha256(&common) {
            return self.warn(git_dir, "repository skipped: its object format is not sha1");
        }
        self.found.repositories += 1;
        self.add_objects(objects, 0);
    }

    fn add_objects(&mut self, objects: PathBuf, depth: usize) {
        if !self.seen.insert(objects.clone()) {
            return;
        }
        let alternates = read_text(&objects.join("info/alternates")).unwrap_or_default();
        for line in alternates.split(|byte| *byte == b'\n') {
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            match objects.join(OsStr::from_bytes(line)).canonicalize() {
                Ok(path) if !path.is_dir() => {}
                Ok(path) if !self.is_inside(&path) => {
                    self.warn(&path, "alternate skipped: it lies outside the given paths");
                }
                Ok(path) if depth < MAX_ALTERNATES => self.add_objects(path, depth + 1),
                Ok(path) => self.warn(&path, "alternate skipped: too many lead to it"),
                Err(error) => self.warn(&objects, &format!("alternate skipped: {error}")),
            }
        }
        self.found.object_dirs.push(objects);
    }

    fn is_inside(&self, path: &Path) -> bool {
        self.allowed.iter().any(|allowed| path.starts_with(allowed))
    }

    fn warn(&mut self, path: &Path, what: &str) {
        const REMEMBERED: usize = 10_000;
        if self.warned.len() < REMEMBERED && self.warned.insert(path.to_path_buf()) {
            tracing::warn!(path = %path.display(), "{what}");
        }
    }
}

/// The git directory of a folder that is a repository or has one, not yet canonical.
fn git_dir(folder: &Path) -> Option<PathBuf> {
    let dot_git = folder.join(".git");
    match fs::metadata(&dot_git) {
        Ok(meta) if meta.is_dir() && is_git_dir(&dot_git) => return dot_git.canonicalize().ok(),
        Ok(meta) if meta.is_file() => {
            let text = read_text(&dot_git)?;
            let target = text.strip_prefix(b"gitdir: ")?.trim_ascii_end();
            let target = folder.join(OsStr::from_bytes(target)).canonicalize().ok()?;
            return is_git_dir(&target).then_some(target);
        }
        _ => {}
    }
    is_git_dir(folder).then(|| folder.to_path_buf())
}

/// Whether a folder has what git looks for; that of a worktree has only a pointer to the rest.
fn is_git_dir(folder: &Path) -> bool {
    folder.join("HEAD").symlink_metadata().is_ok()
        && (folder.join("commondir").is_file() || (folder.join("objects").is_dir() && folder.join("refs").is_dir()))
}

/// Where the objects and the configuration of a git directory are: itself, but for a worktree.
fn common_dir(git_dir: &Path) -> Option<PathBuf> {
    let Some(text) = read_text(&git_dir.join("commondir")) else { return Some(git_dir.to_path_buf()) };
    let common = git_dir.join(OsStr::from_bytes(text.trim_ascii_end()));
    common.canonicalize().ok()
}

/// Whether the configuration has another object format than sha1 (`gitrepository-layout(5)`).
fn is_sha256(common: &Path) -> bool {
    let text = read_text(&common.join("config")).unwrap_or_default();
    let mut in_extensions = false;
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line).trim().to_ascii_lowercase();
        if let Some(section) = line.strip_prefix('[') {
            in_extensions = section.trim_start().starts_with("extensions") && !section.contains('"');
        }
        // The first key may stand on the section's own line.
        let setting = line.rsplit(']').next().unwrap_or_default();
        if let Some((key, value)) = setting.split_once('=').filter(|_| in_extensions)
            && key.trim() == "objectformat"
        {
            return value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"') != "sha1";
        }
    }
    false
}

fn read_text(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path).ok()?.take(MAX_TEXT).read_to_end(&mut text).ok()?;
    Some(text)
}
