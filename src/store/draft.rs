//! A file that is not yet a bundle: [`Draft`] while it is written, [`Sealed`] once it is whole.
//!
//! Both lie in their process's folder and are unlinked when dropped; only `Store::publish` gives
//! one a name. A draft is hashed while it is written, so that its bytes are never read again.

use crate::bundle::FileFacts;
use crate::dir;
use crate::members::process::{Held, Process};
use rustix::fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes gathered before a write: large enough for BLAKE3 to use its widest vectors.
const BUFFER: usize = 128 * 1024;

/// The mtime of a bundle whose BLAKE3 begins with 30 zero bits: 1980-01-01T00:00:00Z.
const MTIME_BASE: i64 = 315_532_800;

/// The mtime, in seconds, of a bundle with this BLAKE3. nginx makes its `ETag` and `Last-Modified`
/// of it, so equal bytes have equal validators on every machine; it is never after 2014.
#[must_use]
pub fn mtime(blake3: &[u8; 32]) -> i64 {
    let [a, b, c, d, ..] = *blake3;
    MTIME_BASE + i64::from(u32::from_be_bytes([a, b, c, d]) >> 2)
}

/// A file of a process's folder, unlinked when dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    process: Arc<Process>,
    /// The folder that it was made in.
    held: Arc<Held>,
    pub(super) name: String,
}

impl Scratch {
    /// A new empty file.
    pub(super) fn create(process: &Arc<Process>, what: &str) -> io::Result<(Self, File)> {
        let scratch = Self::reserve(process, what)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(scratch.folder(), &scratch.name, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| scratch.said("make", e))?;
        Ok((scratch, File::from(file)))
    }

    /// A name in the folder where nothing stands yet.
    pub(super) fn reserve(process: &Arc<Process>, what: &str) -> io::Result<Self> {
        Ok(Self { process: Arc::clone(process), held: process.hold()?, name: process.fresh_name(what) })
    }

    /// The folder that it lies in.
    pub(super) fn folder(&self) -> &File {
        self.held.folder()
    }

    /// Whether it is there.
    pub(super) fn exists(&self) -> bool {
        fs::statat(self.folder(), &self.name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Where it lies, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.process.path().join(&self.name)
    }

    /// Unlinks it now and says whether that worked.
    pub(super) fn unlink(&self) -> io::Result<()> {
        dir::unlink(self.folder(), &self.name).map_err(|e| self.said("unlink", e))
    }

    pub(super) fn said(&self, action: &str, error: impl Into<io::Error>) -> io::Error {
        dir::said(action, &self.path(), error)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Once published nothing stands here any more; on failure the folder is cleared later.
        let _ = self.unlink();
    }
}

/// A bundle being written. Dropped, it is gone.
#[derive(Debug)]
pub struct Draft {
    scratch: Scratch,
    file: File,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    written: u64,
    /// Set when a write failed: what stands in the file is then unknown.
    broken: bool,
}

impl Draft {
    pub(super) fn create(process: &Arc<Process>) -> io::Result<Self> {
        let (scratch, file) = Scratch::create(process, "draft")?;
        let buffer = Vec::with_capacity(BUFFER);
        Ok(Self { scratch, file, buffer, hasher: blake3::Hasher::new(), written: 0, broken: false })
    }

    /// Bytes taken so far, some of them perhaps still in memory.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the writing: mode and mtime are set, then everything is on disk when this returns.
    pub fn seal(mut self) -> io::Result<Sealed> {
        self.flush()?;
        let blake3 = *self.hasher.finalize().as_bytes();
        finish(&self.file, mtime(&blake3)).map_err(|e| self.scratch.said("finish", e))?;
        let metadata = self.file.metadata().map_err(|e| self.scratch.said("look at", e))?;
        if metadata.len() != self.written {
            return Err(self.scratch.said("finish", io::Error::other("its length is not what was written")));
        }
        let facts = FileFacts { size: self.written, allocated: metadata.blocks() * 512, blake3 };
        Ok(Sealed { scratch: self.scratch, facts })
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(self.scratch.said("write", io::Error::other("an earlier write failed")));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|e| {
            self.broken = true;
            self.scratch.said("write", e)
        })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            self.put(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let answer = self.put(&buffer);
        buffer.clear();
        self.buffer = buffer;
        answer
    }
}

/// A whole draft, on disk, that waits for its name. Dropped, it is gone.
#[derive(Debug)]
pub struct Sealed {
    pub(super) scratch: Scratch,
    facts: FileFacts,
}

impl Sealed {
    /// Opens it for reading: what it holds may have to be looked at once more before it is published.
    pub fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(self.scratch.folder(), &self.scratch.name, flags, Mode::empty());
        file.map(File::from).map_err(|e| self.scratch.said("open", e))
    }

    /// Its size, its blocks and its digest.
    #[must_use]
    pub fn facts(&self) -> FileFacts {
        self.facts
    }

    /// Its mtime in seconds.
    #[must_use]
    pub fn mtime(&self) -> i64 {
        mtime(&self.facts.blake3)
    }
}

/// Gives a written file the mode and the mtime of a bundle, and waits until it is on disk.
pub(super) fn finish(file: &File, mtime: i64) -> io::Result<()> {
    dir::set_mode(file, 0o444)?;
    fs::futimens(file, &times(mtime))?;
    file.sync_all()
}

/// The mtime, and no other time.
pub(super) fn times(mtime: i64) -> Timestamps {
    let modified = Timespec { tv_sec: mtime, tv_nsec: 0 };
    let accessed = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
    Timestamps { last_access: accessed, last_modification: modified }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mtime_is_1980_and_the_first_thirty_bits() {
        let mut digest = [0_u8; 32];
        assert_eq!(mtime(&digest), 315_532_800);
        digest[3] = 0b111;
        assert_eq!(mtime(&digest), 315_532_801);
        digest[..4].copy_from_slice(&[0xff; 4]);
        assert_eq!(mtime(&digest), 315_532_800 + (1 << 30) - 1);
        digest[4] = 9;
        assert_eq!(mtime(&digest), 315_532_800 + (1 << 30) - 1);
    }

    fn store() -> (tempfile::TempDir, crate::store::Store) {
        let data = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(data.path()).unwrap();
        (data, store)
    }

    #[test]
    fn after_a_write_that_failed_none_succeeds_though_there_is_room_again() {
        let (_data, store) = store();
        let mut draft = store.draft().unwrap();
        let good = std::mem::replace(&mut draft.file, File::options().write(true).open("/dev/full").unwrap());
        assert_eq!(draft.write_all(&vec![1; 2 * BUFFER]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        draft.file = good;
        let refused = draft.write_all(&vec![1; 2 * BUFFER]).unwrap_err();
        assert!(refused.to_string().contains("an earlier write failed"), "{refused}");
        assert!(draft.seal().is_err());
    }

    #[test]
    fn no_program_that_larder_runs_inherits_a_draft() {
        let (_data, store) = store();
        let draft = store.draft().unwrap();
        let closes = |file: &File| rustix::io::fcntl_getfd(file).unwrap().contains(rustix::io::FdFlags::CLOEXEC);
        assert!(closes(&draft.file));
        let sealed = draft.seal().unwrap();
        assert!(closes(&sealed.open().unwrap()));
    }

    #[test]
    fn a_symlink_in_the_place_of_a_draft_is_not_followed() {
        let (data, store) = store();
        let sealed = store.draft().unwrap().seal().unwrap();
        let path = sealed.scratch.path();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(data.path().join("bundles"), &path).unwrap();
        assert!(sealed.open().is_err());
    }
}
