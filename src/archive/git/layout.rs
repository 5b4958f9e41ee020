//! What makes a folder a repository (`gitrepository-layout(5)`), and where the parts of one lie. Follows
//! `.git` files and `commondir`; whether what they lead to is served, it does not know.

use super::open::{self, Unopened, is_absence};
use super::served::Served;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Configuration, alternates and the like may have this size in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// What could not be had, and why.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) path: PathBuf,
    pub(super) why: Unopened,
}

pub(super) type Looked<T> = Result<T, Missed>;

/// What a name leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Absent,
    File,
    Folder,
    Other,
}

/// What a path leads to; nothing is opened.
pub(super) fn kind(path: &Path) -> Looked<Kind> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(Kind::Folder),
        Ok(metadata) if metadata.is_file() => Ok(Kind::File),
        Ok(_) => Ok(Kind::Other),
        Err(error) => absent_or(path, error).map(|()| Kind::Absent),
    }
}

/// Where a path really leads; `None` when that is nowhere.
pub(super) fn real(path: &Path) -> Looked<Option<PathBuf>> {
    match path.canonicalize() {
        Ok(real) => Ok(Some(real)),
        Err(error) => absent_or(path, error).map(|()| None),
    }
}

/// Nothing is there, or a link that leads in a circle; else it could not be looked at.
fn absent_or(path: &Path, error: io::Error) -> Looked<()> {
    if is_absence(&error) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return Ok(());
    }
    Err(Missed { path: path.to_owned(), why: Unopened::Failed(error) })
}

/// The text of a file; `None` where there is none.
pub(super) fn text(path: &Path, served: &Served) -> Looked<Option<Vec<u8>>> {
    match open::text(path, MAX_TEXT, served) {
        Ok(text) => Ok(Some(text)),
        Err(Unopened::Absent) => Ok(None),
        Err(why) => Err(Missed { path: path.to_owned(), why }),
    }
}

/// The git directory of a folder that is a repository or has one, not yet canonical.
pub(super) fn git_dir(folder: &Path, served: &Served) -> Looked<Option<PathBuf>> {
    let dot_git = folder.join(".git");
    match kind(&dot_git)? {
        Kind::Folder if is_git_dir(&dot_git)? => return real(&dot_git),
        Kind::File => {
            let text = text(&dot_git, served)?.unwrap_or_default();
            let target = text.strip_prefix(b"gitdir: ").map(<[u8]>::trim_ascii_end);
            let target = target.map(|target| real(&folder.join(OsStr::from_bytes(target)))).transpose()?.flatten();
            if let Some(target) = target
                && is_git_dir(&target)?
            {
                return Ok(Some(target));
            }
            return Err(Missed { path: dot_git, why: Unopened::Refused("it leads to no repository") });
        }
        Kind::Absent | Kind::Folder | Kind::Other => {}
    }
    Ok(is_git_dir(folder)?.then(|| folder.to_path_buf()))
}

/// Whether a folder has what git looks for; that of a worktree has only a pointer to the rest.
fn is_git_dir(folder: &Path) -> Looked<bool> {
    let head = folder.join("HEAD");
    if let Err(error) = head.symlink_metadata() {
        return absent_or(&head, error).map(|()| false);
    }
    Ok(kind(&folder.join("commondir"))? == Kind::File
        || (kind(&folder.join("objects"))? == Kind::Folder && kind(&folder.join("refs"))? == Kind::Folder))
}

/// What a folder that looks like a repository lacks to be one.
pub(super) fn lacks(folder: &Path) -> Option<&'static str> {
    let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
    let named = folder.extension().is_some_and(|extension| extension == "git");
    if !named && !(has("objects") && (has("HEAD") || has("refs"))) {
        return None;
    }
    Some(match (has("HEAD"), has("objects")) {
        (false, false) => "it is not a repository: neither HEAD nor objects is there",
        (false, true) => "it is not a repository: HEAD is not there",
        (true, false) => "it is not a repository: objects is not there",
        (true, true) => "it is not a repository: objects or refs is not a folder",
    })
}

/// Where the objects and the configuration of a git directory are: itself, but for a worktree.
pub(super) fn common_dir(git_dir: &Path, served: &Served) -> Looked<PathBuf> {
    let path = git_dir.join("commondir");
    let Some(text) = text(&path, served)? else { return Ok(git_dir.to_path_buf()) };
    let common = real(&git_dir.join(OsStr::from_bytes(text.trim_ascii_end())))?;
    common.ok_or(Missed { path, why: Unopened::Refused("it leads nowhere") })
}

/// Whether the configuration has another object format than sha1.
pub(super) fn has_other_format(common: &Path, served: &Served) -> Looked<bool> {
    let text = text(&common.join("config"), served)?.unwrap_or_default();
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
            return Ok(value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"') != "sha1");
        }
    }
    Ok(false)
}
