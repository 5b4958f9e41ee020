//! From a bundle to a folder. The bundle was verified before, unless that was not wanted; all the same
//! nothing is written but below a new folder, which gets its name when it is whole. Blocking.
//!
//! **Invariants.** Every folder on the way to a member is opened through the one above, never by way of
//! a symlink; a member is made only where nothing is. Members are folders, files and symlinks, with
//! the executable bit and no other; owners, times and all else are those of whoever extracts.

use super::part::sync_folder;
use super::{GetError, local};
use crate::key::Format;
use flate2::read::GzDecoder;
use rustix::fs::{self as at, Mode, OFlags, RawMode};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{Archive, Entry, EntryType};

/// The longest path of a member and of a symlink's target, in bytes.
const MAX_PATH: usize = 4095;

/// Refuses a place that is taken, and a format that is no folder.
pub(super) fn check(folder: &Path, format: Format) -> Result<(), GetError> {
    reader(format)?;
    let taken = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(local("extract into", folder)(error)),
    };
    if taken {
        return Err(local("extract into", folder)(io::Error::other("there is something in it")));
    }
    Ok(())
}

/// Extracts what is below the one top folder of a bundle into `folder`, which appears whole or not
/// at all.
pub(super) fn extract(bundle: File, format: Format, folder: &Path) -> Result<(), GetError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = tempfile::Builder::new().prefix(".larder-").tempdir_in(parent).map_err(local("write in", parent))?;
    // One further down, for its mode is to be as the umask says and a temporary folder's is not.
    let whole = beside.path().join("folder");
    fs::create_dir(&whole).map_err(local("make", &whole))?;
    let reader = reader(format)?;
    unpack(bundle, reader, &whole).map_err(local("extract into", folder))?;
    fs::rename(&whole, folder).map_err(local("make", folder))?;
    sync_folder(folder)
}

/// From a bundle to the tar in it.
type Reader = fn(File) -> io::Result<Box<dyn Read>>;

/// How the tar in a bundle of this format is read; an error where there is none.
fn reader(format: Format) -> Result<Reader, GetError> {
    let hint = match format {
        Format::TarGz => return Ok(|bundle| Ok(Box::new(GzDecoder::new(bundle)))),
        Format::TarZst => return Ok(|bundle| Ok(Box::new(zstd::stream::read::Decoder::new(bundle)?))),
        Format::Tar | Format::GitTar => return Ok(|bundle| Ok(Box::new(bundle))),
        Format::Bundle => "; `git clone` takes it",
        Format::Zip | Format::Gitfast | Format::Raw => "",
    };
    Err(GetError::Refused(format!("a {format} bundle is not extracted{hint}: name another --format")))
}

fn unpack(mut bundle: File, reader: Reader, folder: &Path) -> io::Result<()> {
    bundle.rewind()?;
    let stream = reader(bundle)?;
    let root = at::open(folder, FOLDER, Mode::empty())?;
    let mut tree = Tree { parent: (PathBuf::new(), root.try_clone()?), root };
    let mut top = None;
    for entry in Archive::new(stream).entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let path = path.strip_suffix(b"/").unwrap_or(&path);
        let mut parts = path.splitn(2, |byte| *byte == b'/');
        let first = parts.next().unwrap_or_default().to_vec();
        if *top.get_or_insert_with(|| first.clone()) != first {
            return Err(refused(path, "it is not in the one top folder"));
        }
        match parts.next() {
            Some(below) => tree.put(Path::new(OsStr::from_bytes(below)), &mut entry)?,
            None if entry.header().entry_type() == EntryType::Directory => {}
            None => return Err(refused(path, "it should be a folder")),
        }
    }
    at::syncfs(&tree.root)?;
    Ok(())
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder that is filled, and the one of its folders that was last put something into.
struct Tree {
    root: OwnedFd,
    parent: (PathBuf, OwnedFd),
}

impl Tree {
    fn put<R: Read>(&mut self, path: &Path, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let bytes = path.as_os_str().as_bytes();
        let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        if bytes.len() > MAX_PATH || !bytes.split(|byte| *byte == b'/').all(is_plain) {
            return Err(refused(bytes, "its name leads elsewhere"));
        }
        let (parent, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default());
        if self.parent.0 != parent {
            self.parent = (parent.to_owned(), self.open(parent)?);
        }
        let folder = &self.parent.1;
        let in_words = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", bytes.escape_ascii()));
        match entry.header().entry_type() {
            EntryType::Directory => at::mkdirat(folder, name, Mode::from_raw_mode(0o777)).map_err(io::Error::from),
            EntryType::Regular => {
                let mode: RawMode = if entry.header().mode()? & 0o111 == 0 { 0o666 } else { 0o777 };
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = at::openat(folder, name, flags, Mode::from_raw_mode(mode)).map_err(io::Error::from);
                file.and_then(|file| io::copy(entry, &mut File::from(file)).map(|_| ()))
            }
            EntryType::Symlink => match entry.link_name_bytes() {
                Some(target) if target.len() <= MAX_PATH => {
                    at::symlinkat(OsStr::from_bytes(&target), folder, name).map_err(io::Error::from)
                }
                _ => return Err(refused(bytes, "a symlink leads nowhere")),
            },
            _ => return Err(refused(bytes, "it is neither a folder nor a file nor a symlink")),
        }
        .map_err(in_words)
    }

    /// Opens a folder below the root, one step at a time.
    fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut folder = self.root.try_clone()?;
        for part in path {
            folder = at::openat(&folder, part, FOLDER, Mode::empty())
                .map_err(|_| refused(path.as_os_str().as_bytes(), "there is no such folder for what is in it"))?;
        }
        Ok(folder)
    }
}

fn refused(path: &[u8], reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {reason}", path.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A tar of these members: name, type, target, mode.
    fn tar(members: &[(&str, EntryType, &str, u32)]) -> File {
        let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
        for (name, kind, target, mode) in members {
            let mut header = tar::Header::new_ustar();
            header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_ustar_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_size(if *kind == EntryType::Regular { 2 } else { 0 });
            header.set_cksum();
            builder.append(&header, &b"x\n"[..if *kind == EntryType::Regular { 2 } else { 0 }]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    const TOP: (&str, EntryType, &str, u32) = ("source/", EntryType::Directory, "", 0o755);

    #[test]
    fn modes_links_and_folders_come_out_and_nothing_else_of_them() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("out");
        fs::create_dir(&folder).unwrap();
        let bundle = tar(&[
            TOP,
            ("source/a", EntryType::Regular, "", 0o6755),
            ("source/d/", EntryType::Directory, "", 0o7777),
            ("source/d/b", EntryType::Regular, "", 0o600),
            ("source/l", EntryType::Symlink, "/etc/passwd", 0o777),
        ]);
        extract(bundle, Format::Tar, &folder).unwrap();
        let mode = |name: &str| fs::symlink_metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!((mode("a") & 0o7100, mode("d/b") & 0o7100, mode("d") & 0o7100), (0o100, 0, 0o100));
        assert_eq!(fs::read_link(folder.join("l")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing lies beside it");
    }

    #[test]
    fn nothing_is_written_outside_and_what_fails_leaves_nothing() {
        let regular = |name| (name, EntryType::Regular, "", 0o644);
        let cases: [&[(&str, EntryType, &str, u32)]; 11] = [
            &[TOP, regular("source/../x")],
            &[TOP, regular("../x")],
            &[TOP, regular("/x")],
            &[TOP, regular("x")],
            &[TOP, regular("source/./x")],
            &[TOP, ("source/l", EntryType::Symlink, "..", 0o777), regular("source/l/x")],
            &[TOP, ("source/x", EntryType::Symlink, "../../x", 0o777), regular("source/x")],
            &[TOP, regular("source/a"), ("source/x", EntryType::Link, "source/a", 0o644)],
            &[TOP, ("source/x", EntryType::Fifo, "", 0o644)],
            &[TOP, ("source/x", EntryType::Char, "", 0o644)],
            &[TOP, regular("source/d/x")],
        ];
        for members in cases {
            let home = tempfile::tempdir().unwrap();
            let result = extract(tar(members), Format::Tar, &home.path().join("out"));
            assert!(result.is_err(), "{members:?}");
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "{members:?}");
        }
    }

    #[test]
    fn a_place_that_is_taken_is_refused() {
        let home = tempfile::tempdir().unwrap();
        assert!(check(home.path(), Format::TarGz).is_ok() && check(&home.path().join("new"), Format::Tar).is_ok());
        assert!(check(home.path(), Format::Bundle).is_err());
        fs::write(home.path().join("x"), "").unwrap();
        assert!(check(home.path(), Format::TarGz).is_err());
        assert!(check(&home.path().join("x"), Format::TarGz).is_err());
    }
}
