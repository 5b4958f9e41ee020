//! What upstreams gave: a folder of repositories, `<data>/upstream`, read by the same code as any other that
//! is served. Owns the folder and how much it may take of the disk.
//!
//! One bundle of a vault becomes one repository; objects that come alone lie in `loose.git`. What is being
//! made lies in `tmp/` and gets its name by a rename, so that a reader sees all of it or nothing; a process that
//! dies leaves something in `tmp/`, which goes when it is old. What was used longest ago goes first: by the
//! access time of a file, which Linux keeps to a day (`relatime`).

use crate::archive::ObjectType;
use crate::key::{Sha1Git, Swhid};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The folder, in that of the data.
pub const FOLDER: &str = "upstream";
const LOOSE: &str = "loose.git";
const TMP: &str = "tmp";
/// What came so short a while ago is about to be used.
const GRACE: Duration = Duration::from_mins(10);
/// What is older in `tmp/` nobody is at any more.
const ABANDONED: Duration = Duration::from_hours(48);
/// How deep the files of a repository lie.
const DEPTH: usize = 4;

/// The folder of what upstreams gave.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    root: PathBuf,
    max_size: u64,
}

/// What can be removed by itself: a repository, or a loose object.
struct Entry {
    path: PathBuf,
    used: SystemTime,
    size: u64,
}

impl Kept {
    /// The folder `root`, which is there, and holds at most `max_size` bytes.
    pub(super) fn new(root: PathBuf, max_size: u64) -> io::Result<Self> {
        let kept = Self { root, max_size };
        fs::create_dir_all(kept.tmp())?;
        let loose = kept.root.join(LOOSE);
        if !loose.join("HEAD").exists() {
            blank_repository(&loose)?;
        }
        Ok(kept)
    }

    /// A name for this larder, made once and the same for all processes that use the folder.
    pub(super) fn name(&self) -> io::Result<String> {
        let path = self.root.join("name");
        if !path.exists() {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            let mut file = tempfile::NamedTempFile::new_in(self.tmp())?;
            write!(file, "larder-{:016x}", u64::from_le_bytes(bytes))?;
            file.as_file().sync_all()?;
            match file.persist_noclobber(&path) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
                _ => {}
            }
        }
        let mut name = String::new();
        File::open(&path)?.take(64).read_to_string(&mut name)?;
        if name.strip_prefix("larder-").is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        {
            return Ok(name);
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the file `name` in it is damaged; remove it"))
    }

    /// Where downloads and drafts lie.
    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join(TMP)
    }

    /// Gives a repository that was made in [`Kept::tmp`] its name.
    pub(super) fn keep_repository(&self, draft: &Path, swhid: &Swhid, what: &str) -> io::Result<()> {
        let name = self.root.join(format!("swh_1_{}_{}.{what}.git", swhid.kind.swhid_type(), swhid.id));
        // What is there already was not enough, or is damaged.
        let old = tempfile::tempdir_in(self.tmp())?;
        match fs::rename(&name, old.path().join("old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(draft, &name)?;
        File::open(&self.root)?.sync_all()
    }

    /// Keeps one object, whose id is known. `content` gives `size` bytes.
    pub(super) fn keep_object(
        &self,
        object_type: ObjectType,
        id: &Sha1Git,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut encoder = ZlibEncoder::new(tempfile::NamedTempFile::new_in(self.tmp())?, Compression::fast());
        encoder.write_all(format!("{} {size}\0", object_type.as_str()).as_bytes())?;
        io::copy(content, &mut encoder)?;
        let file = encoder.finish()?;
        file.as_file().sync_all()?;
        let hex = id.to_string();
        let folder = self.root.join(LOOSE).join("objects").join(&hex[..2]);
        fs::create_dir_all(&folder)?;
        file.persist(folder.join(&hex[2..])).map_err(|error| error.error)?;
        File::open(&folder)?.sync_all()
    }

    /// Removes what was used longest ago until the rest is within the limit, and what nobody is at any more in
    /// `tmp/`. How many bytes went.
    pub(super) fn make_room(&self, now: SystemTime) -> io::Result<u64> {
        let age = |time: SystemTime| now.duration_since(time).unwrap_or_default();
        for entry in fs::read_dir(self.tmp())? {
            let entry = entry?;
            if entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|time| age(time) > ABANDONED) {
                remove(&entry.path())?;
            }
        }
        let mut entries = self.entries()?;
        entries.sort_by_key(|entry| entry.used);
        let mut size: u64 = entries.iter().map(|entry| entry.size).sum();
        let mut gone = 0;
        for entry in entries {
            if size <= self.max_size || age(entry.used) < GRACE {
                break;
            }
            // At once for who reads: half a repository would be a damaged one.
            let gone_to = tempfile::tempdir_in(self.tmp())?;
            match fs::rename(&entry.path, gone_to.path().join("gone")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            size -= entry.size;
            gone += entry.size;
        }
        Ok(gone)
    }

    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == TMP || !entry.file_type()?.is_dir() {
                continue;
            }
            let mut files = Vec::new();
            walk(&entry.path(), DEPTH, &mut files)?;
            if name == LOOSE {
                entries.extend(files.into_iter().filter(|file| file.path.parent().is_some_and(is_fan_out)));
                continue;
            }
            let used = files.iter().map(|file| file.used).max().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push(Entry { path: entry.path(), used, size: files.iter().map(|file| file.size).sum() });
        }
        Ok(entries)
    }
}

/// Makes an empty bare repository, and gives its folder of packs.
pub(super) fn blank_repository(path: &Path) -> io::Result<PathBuf> {
    let packs = path.join("objects/pack");
    fs::create_dir_all(&packs)?;
    fs::create_dir_all(path.join("refs"))?;
    fs::write(path.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
    fs::write(path.join("HEAD"), "ref: refs/heads/main\n")?;
    Ok(packs)
}

/// Whether a folder holds loose objects: the first two digits of their ids are its name.
fn is_fan_out(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.len() == 2)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<Entry>) -> io::Result<()> {
    let Some(deeper) = depth.checked_sub(1) else { return Ok(()) };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // Another process makes room as well.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            walk(&entry.path(), deeper, files)?;
        } else {
            let used = metadata.accessed()?.max(metadata.modified()?);
            files.push(Entry { path: entry.path(), used, size: metadata.blocks() * 512 });
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::git::GitArchive;
    use crate::archive::{Archive as _, object};

    #[test]
    fn an_object_that_is_kept_is_found_and_goes_when_room_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let kept = Kept::new(root.clone(), 10 << 10).unwrap();
        let ids: Vec<Sha1Git> = (0..5_u8)
            .map(|n| {
                let content = [n; 100];
                let id = object::hash(ObjectType::Blob, &content).unwrap();
                kept.keep_object(ObjectType::Blob, &id, 100, &mut &content[..]).unwrap();
                id
            })
            .collect();
        let swhid: Swhid = "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let draft = kept.tmp().join("draft");
        fs::write(blank_repository(&draft).unwrap().join("x"), [1; 5000]).unwrap();
        kept.keep_repository(&draft, &swhid, "flat").unwrap();
        let archive = GitArchive::new(vec![root.clone()]).unwrap();
        for id in &ids {
            assert!(archive.reader().header(id).unwrap().is_some());
        }
        // Nothing goes while it may be about to be used, then what was used longest ago.
        assert_eq!(kept.make_room(SystemTime::now()).unwrap(), 0);
        assert!(kept.make_room(SystemTime::now() + 2 * GRACE).unwrap() > 0);
        assert!(kept.make_room(SystemTime::now() + 2 * GRACE).unwrap() == 0);
        let left: u64 = kept.entries().unwrap().iter().map(|entry| entry.size).sum();
        assert!(left <= 10 << 10, "{left}");
    }

    #[test]
    fn what_was_left_half_made_goes_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path().to_owned(), 1 << 20).unwrap();
        blank_repository(&kept.tmp().join("draft")).unwrap();
        kept.make_room(SystemTime::now()).unwrap();
        assert!(kept.tmp().join("draft").exists());
        kept.make_room(SystemTime::now() + 2 * ABANDONED).unwrap();
        assert!(!kept.tmp().join("draft").exists());
    }
}
