//! Giving files their names and taking them away: [`Store::publish`], [`Store::link`],
//! [`Store::withdraw`].
//!
//! Called inside the catalogue's write transaction, so that no two run at once. `mod.rs` has the
//! crash order.
//!
//! The two folders above a bundle are made with it and go with the last one in them. What else takes
//! them away, between their making and the rename, is met by making them again.

use super::draft::{self, Scratch, Sealed};
use super::{Store, layout};
use crate::dir;
use crate::key::BundleKey;
use crate::members::process::Process;
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// How often the folder of a bundle is made for it.
const TRIES: u32 = 20;

impl Store {
    /// Gives a draft its names, replacing what stands there, and returns when all is on disk.
    ///
    /// The names are hard links of one file; where links are refused or used up, copies with the
    /// same mtime.
    #[expect(clippy::needless_pass_by_value, reason = "a draft is used up, published or not")]
    pub fn publish(&self, draft: Sealed, names: &[BundleKey]) -> io::Result<()> {
        let process = self.writer()?;
        let Some((first, others)) = names.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a bundle needs a name"));
        };
        let mut changed = Vec::new();
        for name in others {
            self.put_link(process, draft.scratch.folder(), draft.scratch.name.as_ref(), name, &mut changed)?;
        }
        self.put(&draft.scratch, first, &mut changed)?;
        self.sync(&changed)
    }

    /// Gives the bundle `from` the further name `to`, replacing what stands there, and returns
    /// when that is on disk. `false` when `from` is not there.
    pub fn link(&self, from: &BundleKey, to: &BundleKey) -> io::Result<bool> {
        let process = self.writer()?;
        if self.get(from)?.is_none() {
            return Ok(false);
        }
        let mut changed = Vec::new();
        if from != to {
            self.put_link(process, &self.shared.root, &layout::relative_path(from), to, &mut changed)?;
        }
        self.sync(&changed)?;
        Ok(true)
    }

    /// Takes a bundle away from its name, without deleting its bytes yet. `None` when nothing
    /// stands there.
    pub fn withdraw(&self, key: &BundleKey) -> io::Result<Option<Withdrawn>> {
        let gone = Scratch::reserve(self.writer()?, "gone")?;
        match fs::renameat(&self.shared.root, layout::relative_path(key), gone.folder(), &gone.name) {
            Ok(()) => {
                self.prune(key);
                Ok(Some(Withdrawn { scratch: gone }))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(dir::said("withdraw", &self.path(key), error)),
        }
    }

    /// Deletes a bundle at once, at its name. `false` when nothing stands there. For a disk with no
    /// room for another name, or for this process's folder: it works without one.
    pub fn erase(&self, key: &BundleKey) -> io::Result<bool> {
        match fs::unlinkat(&self.shared.root, layout::relative_path(key), AtFlags::empty()) {
            Ok(()) => {
                self.prune(key);
                Ok(true)
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(dir::said("delete", &self.path(key), error)),
        }
    }

    /// Removes the two folders that led to a bundle which is gone, where nothing else is in them. Ten
    /// thousand empty ones take as much of the disk as the bundles of a small store.
    pub(super) fn prune(&self, key: &BundleKey) {
        let [kind, outer, inner, _] = layout::parts(key);
        for folder in [format!("{kind}/{outer}/{inner}"), format!("{kind}/{outer}")] {
            if fs::unlinkat(&self.shared.root, folder, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }

    /// Renames a file of our folder to the name of `key`.
    fn put(&self, scratch: &Scratch, key: &BundleKey, changed: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut tries = 1;
        loop {
            match self.try_put(scratch, key, changed) {
                // The folder was taken away since it was made; or what is to be put there is gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES && scratch.exists() => {
                    tries += 1;
                }
                answer => return answer,
            }
        }
    }

    fn try_put(&self, scratch: &Scratch, key: &BundleKey, changed: &mut Vec<OwnedFd>) -> io::Result<()> {
        let [.., name] = layout::parts(key);
        let shard = self.shard(key, changed)?;
        fs::renameat(scratch.folder(), &scratch.name, &shard, name)
            .map_err(|e| dir::said("publish", &self.path(key), e))?;
        changed.push(shard);
        Ok(())
    }

    /// Puts a link to, or else a copy of, `source` in `parent` at the name of `key`.
    fn put_link(
        &self,
        process: &Arc<Process>,
        parent: impl AsFd,
        source: &Path,
        key: &BundleKey,
        changed: &mut Vec<OwnedFd>,
    ) -> io::Result<()> {
        // Renaming one link of a file over another does nothing and leaves both: dropping the
        // scratch then unlinks ours.
        let scratch = Scratch::reserve(process, "link")?;
        match fs::linkat(&parent, source, scratch.folder(), &scratch.name, AtFlags::empty()) {
            Ok(()) => self.put(&scratch, key, changed),
            Err(Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::OPNOTSUPP) => {
                self.put(&copy(process, parent, source)?, key, changed)
            }
            Err(error) => Err(dir::said("link", &self.path(key), error)),
        }
    }

    /// The folder that `key` lies in, made when it is not there. Every folder that got a new
    /// entry by it is added to `changed`.
    fn shard(&self, key: &BundleKey, changed: &mut Vec<OwnedFd>) -> io::Result<OwnedFd> {
        let [kind, outer, inner, _] = layout::parts(key);
        let mut folder = self.shared.root.try_clone()?;
        for part in [kind, outer, inner] {
            let (next, made) =
                dir::ensure(&folder, &part, 0o755).map_err(|e| dir::said("make the folder of", &self.path(key), e))?;
            if made {
                changed.push(folder);
            }
            folder = next;
        }
        Ok(folder)
    }

    fn sync(&self, changed: &[OwnedFd]) -> io::Result<()> {
        changed
            .iter()
            .try_for_each(|folder| fs::fsync(folder).map_err(|e| dir::said("fsync a folder of", &self.shared.path, e)))
    }
}

/// A file of its own with the bytes, the mode and the mtime of `source`, on disk: a reflink where
/// the file system can.
fn copy(process: &Arc<Process>, parent: impl AsFd, source: &Path) -> io::Result<Scratch> {
    let (scratch, mut target) = Scratch::create(process, "copy")?;
    let mut source = File::from(dir::open_file(parent, source).map_err(|e| scratch.said("copy to", e))?);
    let mtime = fs::fstat(&source).map_err(|e| scratch.said("copy to", e))?.st_mtime;
    if fs::ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut source, &mut target).map_err(|e| scratch.said("copy to", e))?;
    }
    draft::finish(&target, mtime).map_err(|e| scratch.said("finish", e))?;
    Ok(scratch)
}

/// A bundle without a name, to be deleted once the catalogue has forgotten it. Dropped, it is gone
/// as well.
#[derive(Debug)]
pub struct Withdrawn {
    scratch: Scratch,
}

impl Withdrawn {
    /// Deletes it and says whether that worked.
    pub fn discard(self) -> io::Result<()> {
        self.scratch.unlink()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Found;
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_bytes_the_mode_and_the_mtime_of_what_could_not_be_linked() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let mut draft = store.draft().unwrap();
        draft.write_all(&vec![7; 300_000]).unwrap();
        store.publish(draft.seal().unwrap(), &[key]).unwrap();

        let relative = layout::relative_path(&key);
        let copied = copy(store.writer().unwrap(), &store.shared.root, &relative).unwrap();
        let metadata = copied.path().metadata().unwrap();
        let Found { ino, mtime, .. } = store.get(&key).unwrap().unwrap();
        assert_ne!(metadata.ino(), ino);
        assert_eq!((metadata.mtime(), metadata.mtime_nsec(), metadata.mode() & 0o7777), (mtime, 0, 0o444));
        let mut bytes = Vec::new();
        File::open(copied.path()).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, vec![7; 300_000]);
        let path = copied.path();
        drop(copied);
        assert!(!path.exists());
    }
    fn stored(store: &Store, key: &BundleKey) {
        let mut draft = store.draft().unwrap();
        draft.write_all(b"bytes").unwrap();
        store.publish(draft.seal().unwrap(), std::slice::from_ref(key)).unwrap();
    }

    #[test]
    fn the_folders_of_a_bundle_go_with_the_last_one_in_them_and_no_sooner() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let [one, same, near]: [BundleKey; 3] = [
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar",
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904.zip",
            "4b005dc642cb6eb9a060e54bf8d69288fbee4904.tar",
        ]
        .map(|name| format!("directory/{name}").parse().unwrap());
        let folder = |key: &BundleKey| store.path(key).parent().unwrap().to_owned();
        for key in [&one, &same, &near] {
            stored(&store, key);
        }
        drop(store.withdraw(&one).unwrap().unwrap());
        assert!(folder(&one).is_dir(), "another bundle is in it");
        assert!(store.erase(&same).unwrap());
        assert!(!folder(&one).exists());
        assert!(folder(&near).is_dir());
        drop(store.withdraw(&near).unwrap().unwrap());
        assert!(!folder(&near).parent().unwrap().exists());
        stored(&store, &one);
        assert!(store.get(&one).unwrap().is_some(), "and they come again");
    }

    #[test]
    fn a_folder_that_is_removed_as_soon_as_it_is_made_is_made_again() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let keys: Vec<BundleKey> =
            (0..300).map(|n| format!("directory/{:040x}.tar", n * 7_000_003_u64).parse().unwrap()).collect();
        // Dropped by a panic too, so that the other thread ends.
        let (under_way, latest) = std::sync::mpsc::channel::<&BundleKey>();
        let (store, keys) = (&store, &keys);
        std::thread::scope(move |scope| {
            scope.spawn(move || {
                for mut key in &latest {
                    let mut removed = 0;
                    // Fewer times than it is made again: a slow disk loses every race.
                    while removed < TRIES / 2 {
                        key = match latest.try_recv() {
                            Ok(next) => {
                                removed = 0;
                                next
                            }
                            Err(std::sync::mpsc::TryRecvError::Empty) => key,
                            Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                        };
                        let folder = store.path(key).parent().unwrap().to_owned();
                        let was_there = folder.exists();
                        store.prune(key);
                        removed += u32::from(was_there && !folder.exists());
                    }
                }
            });
            for key in keys {
                under_way.send(key).unwrap();
                stored(store, key);
            }
        });
        assert!(keys.iter().all(|key| store.get(key).unwrap().is_some()));
    }

    #[test]
    fn a_draft_whose_folder_was_removed_is_an_error_and_the_next_one_is_published() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let draft = store.draft().unwrap().seal().unwrap();
        std::fs::remove_dir_all(data.path().join("bundles/v0/tmp")).unwrap();
        assert_eq!(store.publish(draft, &[key]).unwrap_err().kind(), io::ErrorKind::NotFound);
        stored(&store, &key);
        assert!(store.get(&key).unwrap().is_some());
    }

    #[test]
    fn every_folder_that_gets_an_entry_is_noted_and_what_is_noted_is_synced() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let scratch = || Scratch::create(store.writer().unwrap(), "draft").unwrap().0;
        let inode = |folder: &OwnedFd| fs::fstat(folder).unwrap().st_ino;
        let at = |path: &str| data.path().join("bundles/v0").join(path).metadata().unwrap().ino();
        let mut changed = Vec::new();
        store.put(&scratch(), &key, &mut changed).unwrap();
        let all = ["", "directory", "directory/4b", "directory/4b/82"].map(at);
        assert_eq!(changed.iter().map(inode).collect::<Vec<_>>(), all);
        let mut changed = Vec::new();
        store.put(&scratch(), &key, &mut changed).unwrap();
        assert_eq!(changed.iter().map(inode).collect::<Vec<_>>(), all[3..], "the others were there");
        store.sync(&changed).unwrap();
        // What is only a path cannot be synced: that is noticed, so it is tried.
        let path = fs::open(data.path(), fs::OFlags::PATH, fs::Mode::empty()).unwrap();
        assert!(store.sync(&[path]).is_err());
    }
}
