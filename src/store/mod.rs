//! Bundles as files: `<data>/bundles/v0/<kind>/<aa>/<bb>/<id>.<ext>`, each put there whole.
//!
//! Owns the data directory's folders, their modes and the drafts. Knows nothing of the catalogue:
//! who publishes and who removes does so inside the catalogue's transaction, which is also what
//! keeps two writers apart. Nothing here takes a lock; this process's hold on its folder of drafts is `members`'.
//!
//! # Crash order
//! A draft is written, given its mode and mtime and fsynced; then renamed to its name; then every
//! folder that got an entry is fsynced. Killed between any two steps, what stands under a bundle's
//! name is a whole bundle, and what is left lies in the folder of a dead process, for
//! [`Store::clear_dead_drafts`]. Further names are linked under a temporary name and renamed, so
//! that a name is never absent while it is replaced. A removal renames into the process's folder
//! and unlinks after the catalogue's commit; it is not fsynced, so after a power cut a file may
//! stand without a row, which is harmless.
//!
//! # Modes
//! `<data>` 0711, `bundles` and all below 0755, files 0444, `tmp` and all below 0700, whatever the
//! umask: nginx runs as another user and reads the bundles, and nothing else.

#![allow(clippy::disallowed_methods, reason = "those that are its own")]

pub mod draft;
pub mod layout;
mod mend;
mod publish;
mod survey;

pub use draft::{Draft, Sealed};
pub use mend::Deleted;
pub use publish::Withdrawn;
pub use survey::{FILE_MODE, Met, Seen, Survey};

use crate::dir;
use crate::key::{BundleKey, ObjectKind};
use crate::members::Members;
use crate::members::process::{self, Process};
use draft::Scratch;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The store of one data directory. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    data: PathBuf,
    /// `<data>/bundles/v0`, where it lies and open.
    path: PathBuf,
    root: OwnedFd,
    members: Members,
}

impl Store {
    /// Opens the store in `data` for writing, made first when it is not there, and begins this
    /// process's folder.
    ///
    /// Refused when `data` belongs to another user: files of two owners would end in one that can
    /// neither be read nor removed.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let data = std::path::absolute(data).map_err(|e| StoreError::io("find", data, e))?;
        let top = open_data(&data)?;
        let bundles = make(&top, "bundles", &data, 0o755)?;
        let root = make(&bundles, layout::VERSION, &data.join("bundles"), 0o755)?;
        let path = data.join("bundles").join(layout::VERSION);
        let tmp = make(&root, "tmp", &path, 0o700)?;
        let members = root.try_clone().and_then(|root| Members::join(root, tmp, &path)).map_err(StoreError::Process)?;
        Ok(Self { shared: Arc::new(Shared { data, path, root, members }) })
    }

    /// A folder beside the bundles that is this user's alone (0700), and the data directory with it;
    /// both are made when they are not there.
    pub fn private_folder(data: &Path, name: &str) -> Result<PathBuf, StoreError> {
        let data = std::path::absolute(data).map_err(|e| StoreError::io("find", data, e))?;
        let top = open_data(&data)?;
        make(&top, name, &data, 0o700)?;
        Ok(data.join(name))
    }

    /// Opens the store in `data` for reading: makes nothing and changes nothing.
    pub fn open_read_only(data: &Path) -> Result<Self, StoreError> {
        let data = std::path::absolute(data).map_err(|e| StoreError::io("find", data, e))?;
        let path = data.join("bundles").join(layout::VERSION);
        let root = open_folder(&path).map_err(|e| StoreError::io("open", &path, e))?;
        let members = Members::watch(root.try_clone().map_err(|e| StoreError::io("open", &path, e))?, &path);
        Ok(Self { shared: Arc::new(Shared { data, path, root, members }) })
    }

    /// A store without bundles, which is nowhere.
    pub fn nowhere() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("larder-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let root = open_folder(&folder);
        // An open folder that has been removed holds nothing, for ever.
        std::fs::remove_dir(&folder)?;
        let root = root?;
        let members = Members::watch(root.try_clone()?, &folder);
        Ok(Self { shared: Arc::new(Shared { data: folder.clone(), path: folder, root, members }) })
    }

    /// The data directory, absolute.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.shared.data
    }

    /// The processes that work on it, and which this one is.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.shared.members
    }

    /// Where the bundle lies, or would.
    #[must_use]
    pub fn path(&self, key: &BundleKey) -> PathBuf {
        self.shared.path.join(layout::relative_path(key))
    }

    /// Opens a bundle. `None` when it is not there; what is not a regular file is not there.
    pub fn get(&self, key: &BundleKey) -> io::Result<Option<Found>> {
        let file = match dir::open_file(&self.shared.root, &layout::relative_path(key)) {
            Ok(file) => File::from(file),
            // LOOP: a symlink. NXIO: a socket.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(dir::said("open", &self.path(key), error)),
        };
        let metadata = file.metadata().map_err(|e| dir::said("look at", &self.path(key), e))?;
        Ok(metadata.is_file().then(|| Found {
            size: metadata.len(),
            mtime: metadata.mtime(),
            dev: metadata.dev(),
            ino: metadata.ino(),
            allocated: metadata.blocks() * 512,
            file,
        }))
    }

    /// Begins a bundle.
    pub fn draft(&self) -> io::Result<Draft> {
        Draft::create(self.writer()?)
    }

    /// Sees to it that this process's folder is there, as a sign of life and for drafts; made again where
    /// somebody has removed it.
    pub fn hold(&self) -> io::Result<()> {
        self.writer()?.hold().map(drop)
    }

    /// Whether a draft can be begun: begins one and drops it.
    pub fn try_draft(&self) -> io::Result<()> {
        Scratch::create(self.writer()?, "probe").map(drop)
    }

    /// Whether the store is still where it was opened.
    pub fn is_in_place(&self) -> io::Result<bool> {
        let said = |e| dir::said("look at", &self.shared.path, e);
        let opened = fs::fstat(&self.shared.root).map_err(said)?;
        match fs::stat(&self.shared.path) {
            Ok(now) => Ok((now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(said(error)),
        }
    }

    /// Whether any bundle is there. Looks no further than the first.
    pub fn has_bundles(&self) -> io::Result<bool> {
        for kind in ObjectKind::ALL {
            for met in self.survey(kind) {
                if matches!(met?, Met::Shard(_, bundles) if !bundles.is_empty()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Deletes the folders of dead processes with the drafts in them, and counts the folders.
    pub fn clear_dead_drafts(&self) -> io::Result<usize> {
        self.hold()?;
        let tmp = dir::open(&self.shared.root, "tmp").map_err(|e| dir::said("open", &self.tmp(), e))?;
        process::clear_dead(&tmp, &self.tmp())
    }

    /// What the file system has left for this user.
    pub fn free(&self) -> io::Result<Free> {
        let stat = fs::fstatvfs(&self.shared.root).map_err(|e| dir::said("look at", &self.shared.path, e))?;
        Ok(Free {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            inodes: stat.f_favail,
            total_inodes: stat.f_files,
        })
    }

    fn tmp(&self) -> PathBuf {
        self.shared.path.join("tmp")
    }

    fn writer(&self) -> io::Result<&Arc<Process>> {
        self.shared
            .members
            .process()
            .ok_or_else(|| io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the store was opened for reading only"))
    }
}

/// An open bundle.
#[derive(Debug)]
pub struct Found {
    /// The file, open for reading.
    pub file: File,
    /// Length in bytes.
    pub size: u64,
    /// Its mtime in seconds.
    pub mtime: i64,
    /// The device it lies on.
    pub dev: u64,
    /// Its inode there.
    pub ino: u64,
    /// Bytes allocated on disk.
    pub allocated: u64,
}

/// Room on the store's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// Bytes that this user may still allocate.
    pub bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files that this user may still make; means nothing when `total_inodes` is zero.
    pub inodes: u64,
    /// Files in all; zero on a file system that sets no limit.
    pub total_inodes: u64,
}

/// Why a store cannot be opened. For the operator: holds paths.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory is another user's.
    #[error("{} belongs to {owner}; run this as its owner, root can by: {command} larder ...", data.display())]
    Owner {
        /// The data directory.
        data: PathBuf,
        /// Its owner: a name, or `uid <number>` where the number has none.
        owner: String,
        /// What runs a command as that, of what every Linux has.
        command: String,
    },
    /// A folder cannot be made, opened or given its mode.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not. Said above, and so no `source`: who prints a chain of causes would say it twice.
        cause: io::Error,
    },
    /// This process's own folder cannot be made; the text holds the path.
    #[error(transparent)]
    Process(io::Error),
}

impl StoreError {
    fn io(action: &'static str, path: &Path, cause: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), cause: cause.into() }
    }
}

/// Makes or opens the data directory itself, which may be a symlink of the operator's.
fn open_data(data: &Path) -> Result<OwnedFd, StoreError> {
    let made = !data.exists();
    if made {
        std::fs::create_dir_all(data).map_err(|e| StoreError::io("make", data, e))?;
    }
    let top = open_folder(data).map_err(|e| StoreError::io("open", data, e))?;
    let owner = fs::fstat(&top).map_err(|e| StoreError::io("look at", data, e))?.st_uid;
    if owner != rustix::process::geteuid().as_raw() {
        let (owner, command) = match name_of(owner) {
            Some(name) => (name.clone(), format!("runuser -u {name} --")),
            None => (format!("uid {owner}"), format!("setpriv --reuid={owner} --clear-groups")),
        };
        return Err(StoreError::Owner { data: data.to_owned(), owner, command });
    }
    // A folder that is there, holds things and has no store yet may be anything, a home even: its
    // mode is not ours to change. What is made first in a new one may be another folder than `bundles`.
    if made || dir::open(&top, "bundles").is_ok() || is_empty(data) {
        dir::set_mode(&top, 0o711).map_err(|e| StoreError::io("set the mode of", data, e))?;
    }
    Ok(top)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// The folder `name` of `parent` (at `path`) with `mode`, and `parent` on disk if it was made.
fn make(parent: &OwnedFd, name: &str, path: &Path, mode: u32) -> Result<OwnedFd, StoreError> {
    let (folder, fresh) = dir::ensure(parent, name, mode).map_err(|e| StoreError::io("make", &path.join(name), e))?;
    if fresh {
        fs::fsync(parent).map_err(|e| StoreError::io("fsync", path, e))?;
    }
    Ok(folder)
}

fn open_folder(path: &Path) -> rustix::io::Result<OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The name of a user in `/etc/passwd`.
fn name_of(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
