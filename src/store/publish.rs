//! Giving files their names and taking them away: [`Store::publish`], [`Store::link`],
//! [`Store::withdraw`].
//!
//! Called inside the catalogue's write transaction, so that no two run at once. `mod.rs` has the
//! crash order.

use super::draft::{self, Scratch, Sealed};
use super::process::Process;
use super::{Store, dir, layout};
use crate::key::BundleKey;
use rustix::fs::{self, AtFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

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
            self.put_link(process, process.folder(), draft.scratch.name.as_ref(), name, &mut changed)?;
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
        let gone = Scratch::reserve(self.writer()?, "gone");
        match fs::renameat(&self.shared.root, layout::relative_path(key), gone.process.folder(), &gone.name) {
            Ok(()) => Ok(Some(Withdrawn { scratch: gone })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(dir::said("withdraw", &self.path(key), error)),
        }
    }

    /// Deletes a bundle at once, at its name. `false` when nothing stands there. For a disk with no
    /// room for another name, or for this process's folder: it works without one.
    pub fn erase(&self, key: &BundleKey) -> io::Result<bool> {
        match fs::unlinkat(&self.shared.root, layout::relative_path(key), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(dir::said("delete", &self.path(key), error)),
        }
    }

    /// Renames a file of our folder to the name of `key`.
    fn put(&self, scratch: &Scratch, key: &BundleKey, changed: &mut Vec<OwnedFd>) -> io::Result<()> {
        let [.., name] = layout::parts(key);
        let shard = self.shard(key, changed)?;
        fs::renameat(scratch.process.folder(), &scratch.name, &shard, name)
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
        let scratch = Scratch::reserve(process, "link");
        match fs::linkat(&parent, source, process.folder(), &scratch.name, AtFlags::empty()) {
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
}
