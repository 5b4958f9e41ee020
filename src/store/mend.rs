//! Putting right what a survey found: modes, links, and the **quarantine**, `<data>/quarantine`
//! (0700), where what is wrong is kept for a person to look at instead of being deleted.
//!
//! What lies there is named `<when>_<why>_<what>`: `2026-11-22T11:31:00.000Z_wrong-size_directory_
//! 4b82...904.tar.gz`. [`Store::clear_quarantine`] deletes what has been there for long, and the
//! oldest of it when it is much; what has another name is somebody's, and stays.
//!
//! A rename into quarantine is atomic and is not fsynced: after a power cut what was moved may be
//! back, to be found again.

use super::draft::{self, Scratch};
use super::survey::relative_root;
use super::{Store, layout};
use crate::dir;
use crate::key::BundleKey;
use crate::members::process::{self, Process};
use crate::time::Timestamp;
use rustix::fs::{self, AtFlags, CWD, Mode, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names tried before giving up; each further one has a number in it.
const NAMES: u32 = 100_000;

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Files and folders.
    pub entries: u64,
    /// Bytes that they allocated.
    pub bytes: u64,
}

impl Store {
    /// Moves what stands at `relative` (below the data directory) into quarantine and gives its path
    /// there. `None` when nothing stands there any more.
    pub fn quarantine(&self, relative: &Path, why: &str, now: Timestamp) -> io::Result<Option<PathBuf>> {
        self.writer()?;
        let (from, folder) = (self.data().join(relative), self.data().join("quarantine"));
        let top = super::open_folder(self.data()).map_err(|e| dir::said("open", self.data(), e))?;
        let (quarantine, _) = dir::ensure(&top, "quarantine", 0o700).map_err(|e| dir::said("make", &folder, e))?;
        let what = what(relative);
        for number in 0..NAMES {
            let suffix = if number == 0 { String::new() } else { format!("~{number}") };
            let name = format!("{now}_{why}_{what}{suffix}");
            match fs::renameat_with(CWD, &from, &quarantine, &name, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(Some(folder.join(name))),
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(Errno::EXIST) => {}
                // File systems without the flag: a name that nothing has is looked for first.
                Err(Errno::INVAL) if fs::statat(&quarantine, &name, AtFlags::SYMLINK_NOFOLLOW).is_err() => {
                    fs::renameat(CWD, &from, &quarantine, &name).map_err(|e| dir::said("move", &from, e))?;
                    return Ok(Some(folder.join(name)));
                }
                // The bundles are a file system of their own.
                Err(Errno::XDEV) if self.mode(relative)?.is_some() && from.is_file() => {
                    match File::create_new(folder.join(&name)) {
                        Ok(mut kept) => {
                            let copied = File::open(&from).and_then(|mut file| io::copy(&mut file, &mut kept));
                            copied
                                .and_then(|_| std::fs::remove_file(&from))
                                .map_err(|e| dir::said("move", &from, e))?;
                            return Ok(Some(folder.join(name)));
                        }
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                        Err(error) => return Err(dir::said("move", &from, error)),
                    }
                }
                Err(error) => return Err(dir::said("move", &from, error)),
            }
        }
        Err(dir::said("move", &from, io::Error::other("the quarantine has too many of its kind")))
    }

    /// [`Store::quarantine`] for a bundle.
    pub fn quarantine_bundle(&self, key: &BundleKey, why: &str, now: Timestamp) -> io::Result<Option<PathBuf>> {
        let moved = self.quarantine(&self.relative(key), why, now)?;
        if moved.is_some() {
            self.prune(key);
        }
        Ok(moved)
    }

    /// Gives a bundle the mtime of these bytes, and waits until that is on disk.
    pub fn set_mtime(&self, key: &BundleKey, blake3: &[u8; 32]) -> io::Result<()> {
        self.writer()?;
        let path = layout::relative_path(key);
        let said = |e: io::Error| dir::said("set the time of", &self.path(key), e);
        let times = draft::times(draft::mtime(blake3));
        fs::utimensat(&self.shared.root, &path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| said(e.into()))?;
        let file = dir::open_file(&self.shared.root, &path).map_err(|e| said(e.into()))?;
        File::from(file).sync_all().map_err(said)
    }

    /// Removes a folder that lies at `relative` (below the data directory), and the one above it, where
    /// nothing is in them. `false` when something is. To be called inside the catalogue's write
    /// transaction, where nobody publishes.
    pub fn remove_empty(&self, relative: &Path) -> io::Result<bool> {
        self.writer()?;
        let path = self.data().join(relative);
        match fs::unlinkat(CWD, &path, AtFlags::REMOVEDIR) {
            Ok(()) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(error) => return Err(dir::said("remove", &path, error)),
        }
        if let Some(above) =
            path.parent().filter(|above| *above != self.shared.path && above.parent() != Some(&self.shared.path))
        {
            let _ = fs::unlinkat(CWD, above, AtFlags::REMOVEDIR);
        }
        Ok(true)
    }

    /// Deletes what was put into quarantine longer than `keep` ago and then, oldest first, what is
    /// over `most` bytes. Contents stay unless `contents_too`: they may be nowhere else, and be what
    /// somebody still wants to save.
    pub fn clear_quarantine(
        &self,
        now: Timestamp,
        keep: Duration,
        most: u64,
        contents_too: bool,
    ) -> io::Result<Deleted> {
        let folder = self.data().join("quarantine");
        let said = |e| dir::said("list", &folder, e);
        let mut kept: Vec<(Timestamp, PathBuf, u64)> = Vec::new();
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Deleted::default()),
            entries => entries.map_err(said)?,
        };
        for entry in entries {
            let entry = entry.map_err(said)?;
            let Some(since) = put_there(&entry.file_name()) else { continue };
            if !contents_too && is_content(&entry.file_name()) {
                continue;
            }
            kept.push((since, entry.path(), allocated(&entry.path())?));
        }
        kept.sort_unstable();
        let mut bytes: u64 = kept.iter().map(|(.., bytes)| bytes).sum();
        let mut deleted = Deleted::default();
        for (since, path, size) in kept {
            if now.since(since) > keep || bytes > most {
                delete(&path).map_err(|e| dir::said("delete", &path, e))?;
                bytes -= size;
                deleted.entries += 1;
                deleted.bytes += size;
            }
        }
        Ok(deleted)
    }

    /// Gives what stands at `relative` (below the data directory) its mode. A symlink is left alone.
    pub fn set_mode(&self, relative: &Path, mode: u32) -> io::Result<()> {
        let path = self.data().join(relative);
        let said = |e| dir::said("set the mode of", &path, e);
        let stat = fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW).map_err(said)?;
        if matches!(fs::FileType::from_raw_mode(stat.st_mode), fs::FileType::Directory | fs::FileType::RegularFile) {
            // By name, for what may not be read cannot be opened.
            fs::chmodat(CWD, &path, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(said)?;
        }
        Ok(())
    }

    /// Makes the bundle `to` another name of the file `from`, in place of its own. `false` where the
    /// file system refuses links, or this file has all it may have: then each keeps its own.
    pub fn relink(&self, from: &BundleKey, to: &BundleKey) -> io::Result<bool> {
        let scratch = Scratch::reserve(self.writer()?, "link")?;
        let source = layout::relative_path(from);
        match fs::linkat(&self.shared.root, &source, scratch.folder(), &scratch.name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::OPNOTSUPP) => return Ok(false),
            Err(error) => return Err(dir::said("link", &self.path(from), error)),
        }
        fs::renameat(scratch.folder(), &scratch.name, &self.shared.root, layout::relative_path(to))
            .map_err(|e| dir::said("link", &self.path(to), e))?;
        Ok(true)
    }

    /// The folders of processes that are gone, below `tmp`. One that is only just being made looks
    /// the same for an instant: look twice.
    pub fn dead_drafts(&self) -> io::Result<Vec<String>> {
        let at = self.tmp();
        let tmp = match dir::open(&self.shared.root, "tmp") {
            Ok(tmp) => tmp,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(dir::said("open", &at, error)),
        };
        let mut dead = Vec::new();
        for entry in std::fs::read_dir(&at).map_err(|e| dir::said("list", &at, e))? {
            let entry = entry.map_err(|e| dir::said("list", &at, e))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if process::is_dead(&tmp, &name).map_err(|e| dir::said("look at", &entry.path(), e))? {
                dead.push(name);
            }
        }
        dead.sort_unstable();
        Ok(dead)
    }

    /// Deletes the folder of another version of the layout, with all that is in it. Its name is
    /// gone at once; the rest may take a while.
    pub fn remove_layout(&self, relative: &Path) -> io::Result<()> {
        let process: &std::sync::Arc<Process> = self.writer()?;
        process.hold()?;
        let path = self.data().join(relative);
        let gone = process.path().join(process.fresh_name("gone"));
        std::fs::rename(&path, &gone).map_err(|e| dir::said("move", &path, e))?;
        std::fs::remove_dir_all(&gone).map_err(|e| dir::said("delete", &gone, e))
    }

    /// The permission bits of what stands at `relative` (below the data directory). `None` for what
    /// is not there, and for a symlink.
    pub fn mode(&self, relative: &Path) -> io::Result<Option<u32>> {
        let path = self.data().join(relative);
        match fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Symlink => Ok(None),
            Ok(stat) => Ok(Some(stat.st_mode & dir::PERMISSIONS)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(dir::said("look at", &path, error)),
        }
    }

    /// Where a bundle lies below the data directory.
    #[must_use]
    pub fn relative(&self, key: &BundleKey) -> PathBuf {
        relative_root().join(layout::relative_path(key))
    }
}

/// The path as one file name, cut to a length that leaves room for the rest.
fn what(relative: &Path) -> String {
    let key = relative.strip_prefix(relative_root()).ok().and_then(layout::parse);
    let text = match key {
        Some(key) => key.to_string(),
        None => relative.to_string_lossy().into_owned(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.chars().map(|c| if plain(c) { c } else { '_' }).take(120).collect()
}

/// When a name of [`Store::quarantine`] was given; `None` for any other name.
fn put_there(name: &std::ffi::OsStr) -> Option<Timestamp> {
    let (time, _) = name.to_str()?.split_once('_')?;
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

/// Whether a name of [`Store::quarantine`] is that of a content, which is cooked from nothing but itself.
fn is_content(name: &std::ffi::OsStr) -> bool {
    let what = name.to_str().and_then(|name| name.splitn(3, '_').nth(2));
    what.is_some_and(|what| what.starts_with("content_"))
}

/// Bytes that a file, or all that is in a folder, allocates.
fn allocated(path: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let said = |e| dir::said("look at", path, e);
    let metadata = std::fs::symlink_metadata(path).map_err(said)?;
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).map_err(said)? {
            bytes += allocated(&entry.map_err(said)?.path())?;
        }
    }
    Ok(bytes)
}

fn delete(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path)?.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn quarantine_keeps_what_is_young_and_little_and_what_is_not_larders() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let at = |days: u32| Timestamp::from_millis(1_700_000_000_000).after(DAY * days);
        for (day, name) in [(0, "a"), (20, "b"), (20, "b"), (21, "c")] {
            std::fs::write(data.path().join(name), vec![1; 10_000]).unwrap();
            let moved = store.quarantine(Path::new(name), "strange", at(day)).unwrap().expect("it was there");
            assert!(moved.exists() && !data.path().join(name).exists());
        }
        assert_eq!(store.quarantine(Path::new("d"), "strange", at(0)).unwrap(), None);
        std::fs::write(data.path().join("quarantine/mine"), b"x").unwrap();
        let content =
            data.path().join("quarantine").join(format!("{}_wrong-size_content_{}.raw", at(0), "a".repeat(40)));
        std::fs::write(&content, vec![1; 10_000]).unwrap();
        let clear = |most, contents_too| store.clear_quarantine(at(40), DAY * 30, most, contents_too).unwrap().entries;
        assert_eq!(clear(u64::MAX, false), 1, "a");
        assert_eq!(clear(30_000, false), 1, "one b, for there is much");
        assert!(content.exists());
        assert_eq!(clear(30_000, true), 1, "a content only when told to");
        let mut left: Vec<_> = std::fs::read_dir(data.path().join("quarantine")).unwrap().collect();
        assert_eq!(left.len(), 3);
        left.retain(|entry| entry.as_ref().unwrap().file_name() == "mine");
        assert_eq!(left.len(), 1);
    }

    #[test]
    fn names_in_quarantine_say_what_it_was_whatever_its_path() {
        assert_eq!(what(Path::new("bundles/v0/directory/x y\n")), "bundles_v0_directory_x_y_");
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let path = relative_root().join(layout::relative_path(&key));
        assert_eq!(what(&path), "directory_4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz");
    }
}
