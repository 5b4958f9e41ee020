//! The files of the log: the log itself and what it was rotated to, which is every regular file of
//! its folder whose name begins with the log's. Knows names, packing and identity, not what lines say.
//!
//! **A file is known by its first line.** Renaming, copying and packing keep that; truncating ends
//! it, for the next first line is another one (its time and its connection's number make it so).

use super::LogError;
use super::lines::Lines;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// As much of a first line as its digest is made of.
const IDENTITY: usize = 8 << 10;

/// What the file system says of a file; it changes when the file is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Device and inode.
    pub(super) id: (u64, u64),
    size: u64,
    /// Seconds and nanoseconds.
    mtime: (i64, i64),
}

impl Found {
    /// Whether `other`, under whatever name, is this file as it was.
    pub(super) fn is_unchanged(&self, other: &Self) -> bool {
        (self.id, self.size, self.mtime) == (other.id, other.size, other.mtime)
    }
}

/// The files of the log at `path` that are there, the one written to longest ago first. None where
/// the folder is not there (yet).
pub(super) fn list(path: &Path) -> Result<Vec<Found>, LogError> {
    let (folder, name) = (folder(path), path.file_name().unwrap_or_default());
    let fault = |cause| LogError::Io { action: "list", path: folder.to_owned(), cause };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fault)?;
        if !entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            continue;
        }
        let path = entry.path();
        // It may be gone since: rotation goes on meanwhile, and the folder is listed again.
        let Ok(facts) = std::fs::metadata(&path) else { continue };
        if facts.is_file() {
            let id = (facts.dev(), facts.ino());
            found.push(Found { path, id, size: facts.size(), mtime: (facts.mtime(), facts.mtime_nsec()) });
        }
    }
    found.sort_by(|a, b| (a.mtime, &a.path).cmp(&(b.mtime, &b.path)));
    Ok(found)
}

/// The folder in which the log at `path` lies.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file of the log, open, known by its first line.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    path: PathBuf,
    packed: bool,
    digest: [u8; 32],
}

impl Opened {
    /// Opens what was found. `None` when it is gone, or its first line has no end yet.
    pub(super) fn open(found: &Found) -> Result<Option<Self>, LogError> {
        let fault = |cause| LogError::Io { action: "read", path: found.path.clone(), cause };
        // Not to wait for a writer, should it have become a pipe.
        let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = match File::options().read(true).custom_flags(nonblock).open(&found.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(error)),
        };
        let facts = file.metadata().map_err(fault)?;
        if !facts.is_file() || (facts.dev(), facts.ino()) != found.id {
            return Ok(None);
        }
        let mut magic = [0; 2];
        let packed = file.read_at(&mut magic, 0).map_err(fault)? == 2 && magic == [0x1f, 0x8b];
        let digest = if packed { first_line(MultiGzDecoder::new(&file)) } else { first_line(At(&file, 0)) };
        let digest = digest.map_err(fault)?;
        Ok(digest.map(|digest| Self { file, path: found.path.clone(), packed, digest }))
    }

    /// BLAKE3 of its first line.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether it is packed, and so never written to again.
    pub(super) fn is_packed(&self) -> bool {
        self.packed
    }

    /// Where it was when it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its first line still is what it was. After reading: what was read is of this file then.
    pub(super) fn is_still_itself(&self) -> Result<bool, LogError> {
        if self.packed {
            return Ok(true);
        }
        let digest = first_line(At(&self.file, 0)).map_err(|error| self.fault(error))?;
        Ok(digest == Some(self.digest))
    }

    /// Its lines from `offset` on.
    pub(super) fn lines(&self, offset: u64) -> Result<Lines<Box<dyn Read + '_>>, LogError> {
        self.lines_from(offset).map_err(|error| self.fault(error))
    }

    fn lines_from(&self, offset: u64) -> io::Result<Lines<Box<dyn Read + '_>>> {
        let before = offset.saturating_sub(1);
        let mut input: Box<dyn Read + '_> = if self.packed {
            (&self.file).seek(SeekFrom::Start(0))?;
            let mut input = MultiGzDecoder::new(&self.file);
            io::copy(&mut (&mut input).take(before), &mut io::sink())?;
            Box::new(input)
        } else {
            Box::new(At(&self.file, before))
        };
        // Left in the midst of a line only where that one is too long.
        let mut last = [b'\n'];
        if offset > 0 {
            let _ = input.read(&mut last)?;
        }
        Ok(Lines::new(input, offset, last != [b'\n']))
    }

    pub(super) fn fault(&self, cause: io::Error) -> LogError {
        LogError::Io { action: "read", path: self.path.clone(), cause }
    }
}

/// Reads at places of its own: the file's position is left alone.
struct At<'a>(&'a File, u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read_at(buffer, self.1)?;
        self.1 += n as u64;
        Ok(n)
    }
}

/// The digest of the first line; `None` when it has no end yet.
fn first_line(input: impl Read) -> io::Result<Option<[u8; 32]>> {
    let mut bytes = Vec::with_capacity(512);
    let mut input = input.take(IDENTITY as u64);
    let mut chunk = [0; 512];
    loop {
        match input.read(&mut chunk) {
            // Packing it may be under way.
            Err(error) if is_cut_short(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) if bytes.len() < IDENTITY => return Ok(None),
            Ok(0) => return Ok(Some(blake3::hash(&bytes).into())),
            Ok(n) => {
                let end = memchr::memchr(b'\n', &chunk[..n]);
                bytes.extend_from_slice(&chunk[..end.unwrap_or(n)]);
                if end.is_some() {
                    return Ok(Some(blake3::hash(&bytes).into()));
                }
            }
        }
    }
}

/// Whether a packed file ends too early, or holds what nobody can unpack.
pub(super) fn is_cut_short(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_another_one_once_it_was_truncated_and_the_same_when_it_grew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let open = || Opened::open(&list(&path).unwrap()[0]).unwrap();
        std::fs::write(&path, "one").unwrap();
        assert!(open().is_none(), "its first line has no end yet");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"\ntwo\nthree\n").unwrap();
        let opened = open().unwrap();
        file.write_all(b"four\n").unwrap();
        assert!(opened.is_still_itself().unwrap());
        file.set_len(0).unwrap();
        assert!(!opened.is_still_itself().unwrap());
        file.write_all(b"five\nsix\n, longer than it was before\n").unwrap();
        assert!(!opened.is_still_itself().unwrap());
        assert_ne!(open().unwrap().digest(), opened.digest());
    }

    #[test]
    fn an_endless_first_line_names_its_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, vec![0; IDENTITY - 1]).unwrap();
        assert!(Opened::open(&list(&path).unwrap()[0]).unwrap().is_none());
        std::fs::write(&path, vec![0; IDENTITY]).unwrap();
        let short = *Opened::open(&list(&path).unwrap()[0]).unwrap().unwrap().digest();
        std::fs::write(&path, vec![0; 3 * IDENTITY]).unwrap();
        assert_eq!(*Opened::open(&list(&path).unwrap()[0]).unwrap().unwrap().digest(), short);
    }

    #[test]
    fn the_file_written_to_longest_ago_comes_first_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (name, seconds) in [("log", 30), ("log.1", 20), ("log.2.gz", 10), ("log-0", 20), ("other", 5)] {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        }
        let names: Vec<_> = list(&path).unwrap().iter().map(|found| found.path.clone()).collect();
        let expected = ["log.2.gz", "log-0", "log.1", "log"].map(|name| folder.path().join(name));
        assert_eq!(names, expected);
    }

    /// Reading fails like this.
    struct Failing(io::ErrorKind);

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_log_that_cannot_be_looked_at_is_not_one_that_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(list(&folder.path().join("none/log")).unwrap(), []);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(list(&file.join("log")).is_err(), "its folder is a file");

        // Packing may be under way; a disk that fails is no packing.
        assert_eq!(first_line(Failing(io::ErrorKind::UnexpectedEof)).unwrap(), None);
        for kind in [io::ErrorKind::Other, io::ErrorKind::PermissionDenied, io::ErrorKind::StaleNetworkFileHandle] {
            assert!(first_line(Failing(kind)).is_err(), "{kind}");
        }
    }

    #[test]
    fn a_file_that_took_the_name_since_it_was_found_is_not_opened_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\n").unwrap();
        let found = list(&path).unwrap().remove(0);
        assert!(Opened::open(&found).unwrap().is_some());
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        std::fs::write(&path, "two\n").unwrap();
        assert!(Opened::open(&found).unwrap().is_none());
        let device = Found { id: (found.id.0 + 1, found.id.1), path: folder.path().join("log.1"), ..found };
        assert!(Opened::open(&device).unwrap().is_none(), "the same inode of another device is another file");
    }
}
