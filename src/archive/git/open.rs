//! Opens what lies in the folder of a repository, which anybody may have put there: the one way to any
//! file of a repository.
//!
//! **Invariants.** No open waits, whatever has the name: a FIFO, a device or a socket is refused. Only
//! regular files are read, and texts up to a size. A link is followed only to where it really leads, and
//! only when that is below a folder that is served: no part of a path may turn into a link between the
//! look and the open.
//!
//! Three outcomes that are never mixed up: nothing is there; something is there that larder does not
//! read, which is logged once and then as if it were not there; and it could not be looked at, which
//! says nothing about what is there.

use super::fault::Fault;
use super::served::Served;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path};

/// Why something was not opened.
#[derive(Debug)]
pub(super) enum Unopened {
    /// Nothing has this name.
    Absent,
    /// It is there, and not to be read: why.
    Refused(&'static str),
    /// Whether it is there cannot be said.
    Failed(io::Error),
}

pub(super) const NOT_REGULAR: &str = "it is not a regular file";
const NOT_A_FOLDER: &str = "it is not a folder";
const OUTSIDE: &str = "it is a link that leads outside of what is served";
const TOO_LARGE: &str = "it is larger than such a file can be";

impl Unopened {
    fn of(error: io::Error) -> Self {
        if is_absence(&error) { Self::Absent } else { Self::Failed(error) }
    }

    /// `None` for what is not there; what is refused is logged, and as if it were not there.
    pub(super) fn excuse(self, action: &str, path: &Path, served: &Served) -> Result<(), Fault> {
        match self {
            Self::Absent => Ok(()),
            Self::Refused(reason) => {
                served.skip(path, reason);
                Ok(())
            }
            Self::Failed(cause) => Err(Fault::io(action, path, cause)),
        }
    }
}

/// Whether an error says for certain that nothing has the name.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a regular file to be read.
pub(super) fn file(path: &Path, served: &Served) -> Result<(File, Metadata), Unopened> {
    let file = File::from(open(path, OFlags::RDONLY, served)?);
    let metadata = file.metadata().map_err(Unopened::Failed)?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(Unopened::Refused(NOT_REGULAR)) }
}

/// Reads a regular file of at most `limit` bytes.
pub(super) fn text(path: &Path, limit: u64, served: &Served) -> Result<Vec<u8>, Unopened> {
    let (file, metadata) = self::file(path, served)?;
    if metadata.len() > limit {
        return Err(Unopened::Refused(TOO_LARGE));
    }
    let mut text = Vec::new();
    // One that grows meanwhile is read as far as one that may be as large.
    file.take(limit).read_to_end(&mut text).map_err(Unopened::Failed)?;
    Ok(text)
}

/// Opens a folder, to be listed and to be looked into.
pub(super) fn folder(path: &Path, served: &Served) -> Result<OwnedFd, Unopened> {
    match open(path, OFlags::RDONLY | OFlags::DIRECTORY, served) {
        // Nothing is there, or something else.
        Err(Unopened::Absent) => match path.symlink_metadata() {
            Ok(metadata) if !metadata.is_dir() && !metadata.is_symlink() => Err(Unopened::Refused(NOT_A_FOLDER)),
            // It came just now: the next look will tell.
            Ok(_) => Err(Unopened::Absent),
            Err(error) => Err(Unopened::of(error)),
        },
        opened => opened,
    }
}

/// Returns when the file system that a folder is on has answered, whatever it says. What is remembered of
/// a folder here is no answer: the space that is free must be asked for.
pub(super) fn ask(folder: &Path) {
    if let Ok(folder) = open_itself(folder, OFlags::RDONLY | OFlags::DIRECTORY) {
        let _ = rustix::fs::fstatvfs(folder);
    }
}

/// The names in a folder, in order, and what each is.
pub(super) fn names(folder: impl AsFd) -> io::Result<Vec<(OsString, FileType)>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let file_type = match entry.file_type() {
            // Not every file system says so.
            FileType::Unknown => match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            },
            known => known,
        };
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push((OsString::from_vec(name.to_bytes().to_vec()), file_type));
        }
    }
    names.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

fn open(path: &Path, flags: OFlags, served: &Served) -> Result<OwnedFd, Unopened> {
    match open_itself(path, flags) {
        Err(Errno::LOOP) => {
            let real = path.canonicalize().map_err(|error| match error.raw_os_error() {
                Some(code) if code == Errno::LOOP.raw_os_error() => Unopened::Absent,
                _ => Unopened::of(error),
            })?;
            if !served.contains(&real) {
                return Err(Unopened::Refused(OUTSIDE));
            }
            open_itself(&real, flags)
        }
        opened => opened,
    }
    .map_err(|error| match error {
        // A socket, or a device without a driver.
        Errno::NXIO | Errno::NODEV => Unopened::Refused(NOT_REGULAR),
        error => Unopened::of(error.into()),
    })
}

/// Opens a path in which nothing is a link; `ELOOP` when something is.
fn open_itself(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match retry(|| rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)) {
        // A kernel before 5.6, or a filter of system calls that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => open_in_steps(path, flags | OFlags::NOFOLLOW),
        opened => opened,
    }
}

/// The same by a step for each part of the path.
fn open_in_steps(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = retry(|| rustix::fs::openat(rustix::fs::CWD, "/", step, Mode::empty()))?;
    let mut parts = path.components().filter(|part| *part != Component::RootDir).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let name: &Path = part.as_ref();
        let opened = retry(|| rustix::fs::openat(&at, name, if last { flags } else { step }, Mode::empty()));
        at = match opened {
            // That is what a link is called where a folder is wanted.
            Err(Errno::NOTDIR) => {
                let stat = rustix::fs::statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let is_link = FileType::from_raw_mode(stat.st_mode).is_symlink();
                return Err(if is_link { Errno::LOOP } else { Errno::NOTDIR });
            }
            opened => opened?,
        };
    }
    if path.parent().is_none() {
        return retry(|| rustix::fs::openat(rustix::fs::CWD, "/", flags, Mode::empty()));
    }
    Ok(at)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn served(path: &Path) -> Served {
        Served::new(vec![path.to_owned()])
    }

    #[test]
    fn only_regular_files_are_opened_and_only_folders_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let served = served(&root);
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, 0o644.into(), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        fs::create_dir(root.join("folder")).unwrap();
        fs::write(root.join("file"), "text").unwrap();
        for name in ["fifo", "socket", "folder"] {
            assert!(matches!(file(&root.join(name), &served), Err(Unopened::Refused(_))), "{name}");
        }
        for name in ["fifo", "socket", "file"] {
            assert!(matches!(folder(&root.join(name), &served), Err(Unopened::Refused(_))), "{name}");
        }
        assert!(matches!(file(&root.join("none"), &served), Err(Unopened::Absent)));
        assert!(matches!(folder(&root.join("none"), &served), Err(Unopened::Absent)));
        assert!(matches!(file(&root.join("file/below"), &served), Err(Unopened::Absent)));
        assert_eq!(text(&root.join("file"), 4, &served).unwrap(), b"text");
        assert!(matches!(text(&root.join("file"), 3, &served), Err(Unopened::Refused(_))));
        let listed = names(folder(&root, &served).unwrap()).unwrap();
        assert_eq!(
            listed.iter().map(|(name, _)| name.to_str().unwrap()).collect::<Vec<_>>(),
            ["fifo", "file", "folder", "socket"]
        );
    }

    #[test]
    fn links_are_followed_below_what_is_served_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for folder in ["served/in", "outside"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("file"), folder).unwrap();
        }
        let at = |name: &str| root.join("served").join(name);
        let served = served(&at(""));
        symlink("in/file", at("file-in")).unwrap();
        symlink("in", at("folder-in")).unwrap();
        symlink("../outside/file", at("file-out")).unwrap();
        symlink("../outside", at("folder-out")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        symlink("circle", at("circle")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        for name in ["file-in", "folder-in/file"] {
            assert_eq!(text(&at(name), 100, &served).unwrap(), b"served/in", "{name}");
        }
        for name in ["file-out", "folder-out/file", "device"] {
            assert!(matches!(text(&at(name), 100, &served), Err(Unopened::Refused(OUTSIDE))), "{name}");
        }
        assert!(folder(&at("folder-in"), &served).is_ok());
        assert!(matches!(folder(&at("folder-out"), &served), Err(Unopened::Refused(OUTSIDE))));
        for name in ["circle", "dangling"] {
            assert!(matches!(file(&at(name), &served), Err(Unopened::Absent)), "{name}");
        }
    }

    #[test]
    fn a_kernel_without_openat2_opens_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("folder")).unwrap();
        fs::write(root.join("folder/file"), "text").unwrap();
        symlink("folder", root.join("link")).unwrap();
        symlink("file", root.join("folder/link")).unwrap();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = flags | OFlags::DIRECTORY;
        assert!(open_in_steps(&root.join("folder/file"), flags).is_ok());
        assert!(open_in_steps(&root.join("folder"), folder).is_ok());
        assert!(open_in_steps(Path::new("/"), folder).is_ok());
        for (name, flags) in [("link/file", flags), ("folder/link", flags), ("link", folder)] {
            assert_eq!(open_in_steps(&root.join(name), flags).unwrap_err(), Errno::LOOP, "{name}");
        }
        for (name, error) in [("folder/file/below", Errno::NOTDIR), ("none/file", Errno::NOENT), ("none", Errno::NOENT)]
        {
            assert_eq!(open_in_steps(&root.join(name), flags).unwrap_err(), error, "{name}");
        }
    }
}
