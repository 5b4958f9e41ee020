//! [`Part`]: the file that a download goes into, and its ETag beside it. Owns their names and the
//! order in which they change: the ETag never describes bytes that are not there.

use super::{GetError, local};
use crate::members::Alone;
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most bytes of an ETag that is kept.
const MAX_ETAG: usize = 256;

/// A download under way. Whoever has it holds the lock on its file.
pub(super) struct Part {
    file: File,
    name: PathBuf,
    path: PathBuf,
    etag_path: PathBuf,
    etag: Option<String>,
    size: u64,
    /// Whether its bytes came in more than one answer.
    patched: bool,
    /// Whether the file has another name, or none, by now.
    ended: bool,
}

impl Part {
    /// What an earlier run left of the file `name`, or nothing yet.
    pub(super) fn open(name: &Path) -> Result<Self, GetError> {
        if name.file_name().is_none() || name.is_dir() {
            let cause = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(GetError::Local { action: "write", path: name.to_owned(), cause });
        }
        let path = name.with_added_extension("part");
        let etag_path = path.with_added_extension("etag");
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).expect("because the kernel's flags are of this type");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
        let file = options.open(&path).map_err(local("open", &path))?;
        // It stays ours for as long as any handle of it is open, `file` too.
        if file.try_clone().and_then(Alone::with).map_err(local("lock", &path))?.is_none() {
            let another = std::io::Error::other("another larder is downloading into it");
            return Err(local("lock", &path)(another));
        }
        let size = file.metadata().map_err(local("look at", &path))?.len();
        let etag = fs::read_to_string(&etag_path).ok().filter(|etag| is_strong(etag));
        let mut part =
            Self { file, name: name.to_owned(), path, etag_path, etag, size, patched: size > 0, ended: false };
        if part.etag.is_none() {
            part.restart(None)?;
        }
        Ok(part)
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) const fn is_patched(&self) -> bool {
        self.patched
    }

    /// What names the bytes that are here, when there are any to go on from.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|_| self.size > 0)
    }

    /// Begins anew, with bytes that this names.
    pub(super) fn restart(&mut self, etag: Option<&str>) -> Result<(), GetError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(local("empty", &self.path))?;
        (self.size, self.patched) = (0, false);
        self.etag = etag.filter(|etag| is_strong(etag)).map(str::to_owned);
        match &self.etag {
            Some(etag) => fs::write(&self.etag_path, etag).map_err(local("write", &self.etag_path)),
            None => remove_if_there(&self.etag_path),
        }
    }

    /// Goes on from what is here.
    pub(super) fn resume(&mut self) -> Result<(), GetError> {
        self.patched = true;
        self.file.seek(SeekFrom::Start(self.size)).map(|_| ()).map_err(local("seek in", &self.path))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), GetError> {
        // What a failed write left is written again by the next.
        self.file.write_all(bytes).map_err(local("write", &self.path))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Another handle on the same open file, which no rename changes.
    pub(super) fn file(&self) -> Result<File, GetError> {
        self.file.try_clone().map_err(local("open", &self.path))
    }

    /// Gives the file its name.
    pub(super) fn finish(mut self) -> Result<(), GetError> {
        self.file.sync_all().map_err(local("write", &self.path))?;
        fs::rename(&self.path, &self.name).map_err(local("write", &self.name))?;
        self.ended = true;
        sync_folder(&self.name)?;
        remove_if_there(&self.etag_path)
    }

    /// Removes what was only to be read.
    pub(super) fn remove(self) -> Result<(), GetError> {
        remove_if_there(&self.path)?;
        remove_if_there(&self.etag_path)
    }

    /// Keeps what is not what it should be under a name that nobody takes for it; gives that.
    pub(super) fn put_aside(mut self) -> Result<PathBuf, GetError> {
        let bad = self.name.with_added_extension("bad");
        fs::rename(&self.path, &bad).map_err(local("write", &bad))?;
        self.ended = true;
        remove_if_there(&self.etag_path)?;
        Ok(bad)
    }
}

/// What nothing was downloaded into does not stay behind.
impl Drop for Part {
    fn drop(&mut self) {
        // The lock is still held: no other larder has the file now.
        if !self.ended && self.size == 0 {
            let _ = remove_if_there(&self.path).and_then(|()| remove_if_there(&self.etag_path));
        }
    }
}

/// A strong validator (RFC 9110 section 8.8.3), as `If-Range` wants one, in a form that can be sent.
fn is_strong(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    etag.len() <= MAX_ETAG
        && inner.is_some_and(|inner| inner.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'))
}

fn remove_if_there(path: &Path) -> Result<(), GetError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(local("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a rename last.
pub(super) fn sync_folder(renamed: &Path) -> Result<(), GetError> {
    let folder = match renamed.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(local("write", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_on_only_with_the_etag_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("x.tar");
        let mut part = Part::open(&name).unwrap();
        part.restart(Some("\"a-1\"")).unwrap();
        part.write(b"1234").unwrap();
        assert!(Part::open(&name).is_err(), "it is locked");
        drop(part);
        assert!(name.with_added_extension("part").exists());
        let part = Part::open(&name).unwrap();
        assert_eq!((part.size(), part.etag()), (4, Some("\"a-1\"")));
        drop(part);
        fs::write(name.with_extension("tar.part.etag"), "W/\"a\"").unwrap();
        let mut part = Part::open(&name).unwrap();
        assert_eq!((part.size(), part.etag()), (0, None), "bytes without a name are worth nothing");
        part.write(b"56").unwrap();
        part.finish().unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!((left, fs::read(&name).unwrap()), (vec!["x.tar".into()], b"56".to_vec()));
    }

    #[test]
    fn a_part_that_nothing_came_into_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("x.raw");
        let mut part = Part::open(&name).unwrap();
        part.restart(Some("\"a-1\"")).unwrap();
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // A bundle of no bytes is a bundle.
        Part::open(&name).unwrap().finish().unwrap();
        assert_eq!(fs::read(&name).unwrap(), b"");
    }
}
