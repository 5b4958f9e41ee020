//! The folder of one process below `tmp/`, which holds its drafts and says that it lives.
//!
//! A process holds its folder locked (`flock` on the folder itself) for as long as it lives: the
//! kernel lets go of the lock when it dies, however it dies. Who can take the lock of a folder may
//! therefore delete it, and nobody else may. The lock guards the folder's existence and nothing
//! within it: within, only its own process makes and unlinks files.
//!
//! Three may meet at one folder: its maker, between making and locking it; a prober, who takes a
//! shared lock for an instant; and a cleaner, who takes the lock to delete. So the maker looks
//! again, once it has the lock, whether the name still leads to what it locked, and else starts
//! over under another name; a prober never hinders another; and a cleaner renames a folder before
//! it deletes what may be many gigabytes, so that nobody takes its lock for a sign of life.
//!
//! A folder that somebody else removed, by hand perhaps, is made and locked again under the same name
//! before the next draft ([`Process::hold`]); `tmp` with it. What lay in it is lost, and so may be the
//! cooks that another process took up meanwhile: their claims fit no more.

use super::Lock;
use crate::dir;
use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often a folder is made again while others take it away, and how long is waited in between.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// Folders that are being deleted begin so; no process has such a name.
const DEAD: &str = "dead-";

/// This process's folder, locked. Removed when dropped, if nothing is left in it.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    path: PathBuf,
    /// The layout's root, which `tmp` lies in.
    root: OwnedFd,
    /// Held while the folder is looked at and made again, never while another lock is taken.
    held: Mutex<Arc<Held>>,
    next: AtomicU64,
}

/// A folder that was made and locked. What was drafted in it refers to it, and not to one that was made
/// in its place.
#[derive(Debug)]
pub(crate) struct Held {
    tmp: OwnedFd,
    /// Ours for as long as we live.
    folder: Lock,
}

impl Held {
    /// The folder, open.
    pub(crate) fn folder(&self) -> &File {
        self.folder.file()
    }
}

impl Process {
    /// Makes and locks a folder in `tmp`, which lies in `root`, which lies at `path`.
    pub(crate) fn begin(root: OwnedFd, tmp: OwnedFd, path: &Path) -> io::Result<Self> {
        let path = path.join("tmp");
        loop {
            let random = getrandom::u64().map_err(|e| io::Error::other(format!("ask for random bytes: {e}")))?;
            let name = format!("{}-{random:016x}", std::process::id());
            if let Some(folder) = lock_new(&tmp, &name).map_err(|e| dir::said("make", &path.join(&name), e))? {
                let held = Mutex::new(Arc::new(Held { tmp, folder }));
                return Ok(Self { path: path.join(&name), name, root, held, next: AtomicU64::new(0) });
            }
        }
    }

    /// What owns this process's cooks.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the folder lies, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder; made again where it is no longer at its name.
    pub(crate) fn hold(&self) -> io::Result<Arc<Held>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Path::new("tmp").join(&self.name);
        if !leads_to(&self.root, &at, held.folder()).map_err(|e| dir::said("look at", &self.path, e))? {
            *held = Arc::new(self.make_again().map_err(|e| dir::said("make", &self.path, e))?);
            tracing::warn!(folder = %self.path.display(), "somebody removed this process's drafts; the folder is there again");
        }
        Ok(Arc::clone(&held))
    }

    fn make_again(&self) -> io::Result<Held> {
        for _ in 0..TRIES {
            let (tmp, _) = dir::ensure(&self.root, "tmp", 0o700)?;
            match lock_again(&tmp, &self.name) {
                Ok(Some(folder)) => return Ok(Held { tmp, folder }),
                Ok(None) => {}
                // `tmp` went away in between.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
        Err(io::Error::other("others take it away as often as it is made"))
    }

    /// A file name that nobody used yet in this folder.
    pub(crate) fn fresh_name(&self, what: &str) -> String {
        format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whatever hinders this, the next process to clear dead drafts does it instead.
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = fs::unlinkat(&held.tmp, &self.name, AtFlags::REMOVEDIR);
    }
}

/// Makes and locks a folder whose name is ours. `None` while somebody else, who takes it for a dead
/// process's, holds or deletes it.
fn lock_again(tmp: &OwnedFd, name: &str) -> io::Result<Option<Lock>> {
    match fs::mkdirat(tmp, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let folder = Lock::of(File::from(dir::open(tmp, name)?));
    dir::set_mode(folder.file(), 0o700)?;
    Ok((folder.try_alone()? && is_at(tmp, name, folder.file())?).then_some(folder))
}

/// `None` when somebody else got hold of the folder first.
fn lock_new(tmp: &OwnedFd, name: &str) -> io::Result<Option<Lock>> {
    fs::mkdirat(tmp, name, Mode::from_raw_mode(0o700))?;
    let folder = match dir::open(tmp, name) {
        Ok(folder) => Lock::of(File::from(folder)),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    dir::set_mode(folder.file(), 0o700)?;
    if !folder.try_alone()? {
        let _ = fs::unlinkat(tmp, name, AtFlags::REMOVEDIR);
        return Ok(None);
    }
    Ok(is_at(tmp, name, folder.file())?.then_some(folder))
}

/// Whether `name` leads to `folder`.
fn is_at(tmp: &OwnedFd, name: &str, folder: &File) -> io::Result<bool> {
    leads_to(tmp, Path::new(name), folder)
}

fn leads_to(above: &OwnedFd, path: &Path, folder: &File) -> io::Result<bool> {
    let held = fs::fstat(folder)?;
    match fs::statat(above, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the process called `name` lives: its folder is there and somebody holds it locked.
pub(crate) fn is_alive(tmp: impl AsFd, name: &str) -> io::Result<bool> {
    // The name comes from a table: it must not lead out of `tmp`.
    let ours = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(ours) || name.starts_with(DEAD) {
        return Ok(false);
    }
    Ok(is_free(tmp, name)? == Some(false))
}

/// Whether `name` is a folder that nobody holds locked.
pub(crate) fn is_dead(tmp: impl AsFd, name: &str) -> io::Result<bool> {
    Ok(is_free(tmp, name)? == Some(true))
}

/// Whether nobody holds the folder `name` locked; `None` when there is none. Hinders nobody who probes it too.
fn is_free(tmp: impl AsFd, name: &str) -> io::Result<Option<bool>> {
    match dir::open(tmp, name) {
        Ok(folder) => Lock::of(File::from(folder)).try_share().map(Some),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the folders of dead processes in `tmp`, which lies at `path`, and counts them.
pub(crate) fn clear_dead(tmp: &OwnedFd, path: &Path) -> io::Result<usize> {
    let mut cleared = 0;
    for entry in std::fs::read_dir(path).map_err(|e| dir::said("list", path, e))? {
        let entry = entry.map_err(|e| dir::said("list", path, e))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let folder = match dir::open(tmp, &name) {
            Ok(folder) => Lock::of(File::from(folder)),
            // Gone meanwhile, or not a folder: not a process's.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(dir::said("open", &entry.path(), error)),
        };
        if !folder.try_alone().map_err(|e| dir::said("lock", &entry.path(), e))? {
            continue;
        }
        // Another cleaner may have been here between our open and our lock.
        if is_at(tmp, &name, folder.file()).map_err(|e| dir::said("look at", &entry.path(), e))? {
            cleared += usize::from(delete(tmp, path, &name)?);
        }
    }
    Ok(cleared)
}

/// Deletes a folder that the caller holds locked. `false` when its maker, who found it locked, has
/// taken it away first.
fn delete(tmp: &OwnedFd, path: &Path, name: &str) -> io::Result<bool> {
    let dead = if name.starts_with(DEAD) { name.to_owned() } else { format!("{DEAD}{name}") };
    if dead != name {
        match fs::renameat(tmp, name, tmp, &dead) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(dir::said("rename", &path.join(name), error)),
        }
    }
    let path = path.join(&dead);
    std::fs::remove_dir_all(&path).map_err(|e| dir::said("delete", &path, e))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::OFlags;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::AtomicBool;

    fn begun(root: &Path) -> Process {
        let open = |path: &Path| fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let (tmp, _) = dir::ensure(open(root), "tmp", 0o700).unwrap();
        Process::begin(open(root), tmp, root).unwrap()
    }

    #[test]
    fn a_folder_that_was_removed_is_made_and_locked_again_under_its_name() {
        let root = tempfile::tempdir().unwrap();
        let process = begun(root.path());
        let tmp = || dir::open(&process.root, "tmp").unwrap();
        for gone in [process.path().to_owned(), root.path().join("tmp")] {
            std::fs::remove_dir_all(&gone).unwrap();
            let held = process.hold().unwrap();
            let there = process.path().metadata().unwrap();
            assert_eq!(there.ino(), held.folder().metadata().unwrap().ino());
            assert_eq!(there.mode() & 0o7777, 0o700);
            assert!(is_alive(tmp(), process.name()).unwrap());
            assert_eq!(clear_dead(&tmp(), &root.path().join("tmp")).unwrap(), 0);
            assert!(Arc::ptr_eq(&held, &process.hold().unwrap()), "and only once");
        }
        let path = process.path().to_owned();
        drop(process);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_at_the_name_that_is_another_is_not_taken_for_ours() {
        let root = tempfile::tempdir().unwrap();
        let process = begun(root.path());
        std::fs::remove_dir(process.path()).unwrap();
        std::fs::create_dir(process.path()).unwrap();
        let tmp = dir::open(&process.root, "tmp").unwrap();
        assert!(!is_alive(&tmp, process.name()).unwrap(), "nobody holds that one");
        process.hold().unwrap();
        assert!(is_alive(&tmp, process.name()).unwrap());
    }

    #[test]
    fn a_cleaner_deletes_no_folder_that_came_in_the_place_of_the_one_it_locked() {
        let root = tempfile::tempdir().unwrap();
        let (tmp, _) =
            dir::ensure(fs::open(root.path(), OFlags::RDONLY, Mode::empty()).unwrap(), "tmp", 0o700).unwrap();
        let path = root.path().join("tmp/1-a");
        std::fs::create_dir(&path).unwrap();
        let first = File::open(&path).unwrap();
        std::fs::remove_dir(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(!is_at(&tmp, "1-a", &first).unwrap());
        assert!(is_at(&tmp, "1-a", &File::open(&path).unwrap()).unwrap());
        assert!(!is_at(&tmp, "1-b", &first).unwrap());
    }

    #[test]
    fn beside_cleaners_and_somebody_who_removes_it_a_held_folder_is_always_a_locked_one() {
        let root = tempfile::tempdir().unwrap();
        let process = begun(root.path());
        let ended = AtomicBool::new(false);
        let at = root.path().join("tmp");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        if let Ok(tmp) = dir::open(&process.root, "tmp") {
                            let _ = clear_dead(&tmp, &at);
                        }
                    }
                });
            }
            for _ in 0..200 {
                let _ = std::fs::remove_dir_all(process.path());
                let held = process.hold().unwrap();
                let tmp = dir::open(&process.root, "tmp").unwrap();
                assert!(is_at(&tmp, process.name(), held.folder()).unwrap());
                assert!(is_alive(&tmp, process.name()).unwrap());
            }
            ended.store(true, Ordering::Relaxed);
        });
    }
}
