//! Directories by handle: opened without following a symlink, made with an exact mode.
//!
//! Every step below the data directory goes through a handle of the folder above, so that nothing
//! that happens to the path in the meantime leads elsewhere.

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The permission bits of a mode.
pub(crate) const PERMISSIONS: u32 = 0o7777;

/// Opens the folder `name` of `parent`; a symlink is refused.
pub(crate) fn open(parent: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Opens the folder `name` of `parent`, made first when it is not there, and gives it `mode`.
/// Also tells whether it was made, which means that `parent` is to be fsynced.
///
/// The mode is set apart from making: the umask does not reach it, and a folder whose maker died
/// between the two steps is mended by the next one who passes.
pub(crate) fn ensure(parent: impl AsFd, name: &str, mode: u32) -> rustix::io::Result<(OwnedFd, bool)> {
    let parent = parent.as_fd();
    let (dir, fresh) = match open(parent, name) {
        Ok(dir) => (dir, false),
        Err(Errno::NOENT) => {
            let fresh = match fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error),
            };
            (open(parent, name)?, fresh)
        }
        Err(error) => return Err(error),
    };
    set_mode(&dir, mode)?;
    Ok((dir, fresh))
}

/// Gives an open file or folder exactly the permission bits `mode`.
pub(crate) fn set_mode(file: impl AsFd, mode: u32) -> rustix::io::Result<()> {
    let file = file.as_fd();
    if fs::fstat(file)?.st_mode & PERMISSIONS != mode {
        fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Opens `relative` below `root` for reading, following no symlink in any of its parts.
pub(crate) fn open_file(root: impl AsFd, relative: &Path) -> rustix::io::Result<OwnedFd> {
    // Without NONBLOCK the open of a FIFO would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let root = root.as_fd();
    match fs::openat2(root, relative, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Old kernels lack the call and some sandboxes forbid it: one folder at a time, then.
        Err(Errno::NOSYS | Errno::PERM) => walk(root, relative, flags),
        answer => answer,
    }
}

fn walk(root: impl AsFd, relative: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut dir = None;
    let name = relative.file_name().ok_or(Errno::INVAL)?;
    for part in relative.parent().into_iter().flat_map(Path::iter) {
        let part = part.to_str().ok_or(Errno::INVAL)?;
        dir = Some(match &dir {
            None => open(&root, part)?,
            Some(above) => open(above, part)?,
        });
    }
    match &dir {
        None => fs::openat(root, name, flags, Mode::empty()),
        Some(above) => fs::openat(above, name, flags, Mode::empty()),
    }
}

/// Unlinks the file `name` of `parent`; that it is gone already is no error.
pub(crate) fn unlink(parent: impl AsFd, name: &str) -> rustix::io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

/// `error` with what was being done to which path. Its kind stays, except that a used-up quota is
/// a full disk like any other.
pub(crate) fn said(action: &str, path: &Path, error: impl Into<io::Error>) -> io::Error {
    let error = error.into();
    let kind = match error.kind() {
        io::ErrorKind::QuotaExceeded => io::ErrorKind::StorageFull,
        kind => kind,
    };
    io::Error::new(kind, format!("{action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_refuses_a_symlink_wherever_it_lies_just_as_openat2_does() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(top.path().join("real/inner")).unwrap();
        std::fs::write(top.path().join("real/inner/file"), b"x").unwrap();
        std::os::unix::fs::symlink("real", top.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("file", top.path().join("real/inner/alias")).unwrap();
        let root = fs::open(top.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
        for (path, there) in
            [("real/inner/file", true), ("linked/inner/file", false), ("real/inner/alias", false), ("real/gone", false)]
        {
            assert_eq!(walk(&root, Path::new(path), flags).is_ok(), there, "walk to {path}");
            assert_eq!(open_file(&root, Path::new(path)).is_ok(), there, "open {path}");
        }
    }
}
