//! What stands in the store's folders, whatever it is: the look around of `fsck`. Changes nothing.
//!
//! Folders are read one at a time, in order, each through the handle of the one above and without
//! following a symlink. What is held at once is one shard, a 65,536th of the store. Everything here
//! is as of the moment at which it was looked at: files come and go meanwhile.

use super::{Store, layout};
use crate::dir;
use crate::key::{BundleKey, ObjectKind};
use rustix::fs::{self, AtFlags, FileType};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A regular file, as its name showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Length in bytes.
    pub size: u64,
    /// Bytes allocated on disk.
    pub allocated: u64,
    /// Its mtime in seconds.
    pub mtime: i64,
    /// The device it lies on.
    pub dev: u64,
    /// Its inode there.
    pub ino: u64,
    /// Names that the inode has.
    pub links: u64,
    /// Its permission bits.
    pub mode: u32,
}

impl Seen {
    /// Whether both are one file.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

/// What a survey comes across. Paths are below the data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// The bundles whose ids begin with these two bytes, in order of key.
    Shard([u8; 2], Vec<(BundleKey, Seen)>),
    /// A folder in which bundles lie, with nothing in it.
    Empty(PathBuf),
    /// A folder with other permission bits than it should have.
    Mode(PathBuf, u32),
    /// What larder did not put there: of another name or type than what belongs there.
    Strange(PathBuf),
    /// The folder of another version of the layout.
    OtherLayout(PathBuf),
}

/// The mode of a bundle.
pub const FILE_MODE: u32 = 0o444;
/// The mode of a folder that leads to bundles.
const FOLDER_MODE: u32 = 0o755;

impl Store {
    /// Looks at the name of a bundle. `None` when no regular file stands there.
    pub fn look(&self, key: &BundleKey) -> io::Result<Option<Seen>> {
        match fs::statat(&self.shared.root, layout::relative_path(key), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Look::of(&stat).file()),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(dir::said("look at", &self.path(key), error)),
        }
    }

    /// What stands above the shards: modes, other layouts, what does not belong there.
    pub fn survey_top(&self) -> io::Result<Vec<Met>> {
        let data = &self.shared.data;
        let top = super::open_folder(data).map_err(|e| dir::said("open", data, e))?;
        let mut met = Vec::new();
        let mode = fs::fstat(&top).map_err(|e| dir::said("look at", data, e))?.st_mode & dir::PERMISSIONS;
        if mode != 0o711 {
            met.push(Met::Mode(PathBuf::new(), 0o711));
        }
        for (name, wanted) in [("bundles", FOLDER_MODE), ("quarantine", 0o700)] {
            if look(&top, OsStr::new(name), data)?.is_some_and(|look| look.is_folder() && look.mode != wanted) {
                met.push(Met::Mode(name.into(), wanted));
            }
        }
        let relative = PathBuf::from("bundles");
        let bundles = dir::open(&top, "bundles").map_err(|e| dir::said("open", &data.join(&relative), e))?;
        for name in names(&bundles, &data.join(&relative))? {
            let Some(look) = look(&bundles, &name, &data.join(&relative))? else { continue };
            let path = relative.join(&name);
            if name == layout::VERSION {
                met.extend((look.mode != FOLDER_MODE).then_some(Met::Mode(path, FOLDER_MODE)));
            } else if look.is_folder() && is_version(&name) {
                met.push(Met::OtherLayout(path));
            } else if name != "lost+found" {
                // That one is the file system's, where `bundles` is one of its own.
                met.push(Met::Strange(path));
            }
        }
        self.survey_layout(&mut met)?;
        Ok(met)
    }

    /// What stands in `bundles/v0` and in `tmp`.
    fn survey_layout(&self, met: &mut Vec<Met>) -> io::Result<()> {
        let (root, at) = (&self.shared.root, &self.shared.path);
        let relative = relative_root();
        for name in names(root, at)? {
            let Some(look) = look(root, &name, at)? else { continue };
            let path = relative.join(&name);
            let kind = name.to_str().and_then(|name| name.parse::<ObjectKind>().ok());
            let wanted = if kind.is_some() { FOLDER_MODE } else { 0o700 };
            if !look.is_folder() || (kind.is_none() && name != "tmp") {
                met.push(Met::Strange(path));
            } else if look.mode != wanted {
                met.push(Met::Mode(path, wanted));
            }
        }
        let at = self.tmp();
        let tmp = match dir::open(root, "tmp") {
            Ok(tmp) => tmp,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(dir::said("open", &at, error)),
        };
        for name in names(&tmp, &at)? {
            if look(&tmp, &name, &at)?.is_some_and(|look| !look.is_folder()) {
                met.push(Met::Strange(relative.join("tmp").join(name)));
            }
        }
        Ok(())
    }

    /// The bundles of a kind, shard by shard in order of id, with what is wrong with their folders.
    #[must_use]
    pub fn survey(&self, kind: ObjectKind) -> Survey<'_> {
        Survey { store: self, kind, folder: None, outer: None, inner: Vec::new(), met: VecDeque::new(), begun: false }
    }
}

/// The walk of [`Store::survey`]. Ends after an error.
#[derive(Debug)]
pub struct Survey<'s> {
    store: &'s Store,
    kind: ObjectKind,
    /// The kind's folder, and the outer folders in it that are still to come, last first.
    folder: Option<(OwnedFd, Vec<u8>)>,
    /// The outer folder that is read.
    outer: Option<(OwnedFd, u8)>,
    /// Its inner folders that are still to come, last first.
    inner: Vec<u8>,
    met: VecDeque<Met>,
    begun: bool,
}

impl Iterator for Survey<'_> {
    type Item = io::Result<Met>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(met) = self.met.pop_front() {
                return Some(Ok(met));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.folder = None;
                    self.outer = None;
                    self.inner.clear();
                    self.begun = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Survey<'_> {
    /// Reads the next folder. `false` at the end.
    fn step(&mut self) -> io::Result<bool> {
        if let Some(inner) = self.inner.pop() {
            self.read_shard(inner)?;
            return Ok(true);
        }
        self.outer = None;
        if let Some((folder, rest)) = &mut self.folder {
            let Some(outer) = rest.pop() else {
                self.folder = None;
                return Ok(false);
            };
            let at = relative_root().join(self.kind.as_str());
            let opened = open(folder, &hex(outer), &self.store.data().join(&at))?;
            let Some(opened) = opened else { return Ok(true) };
            let at = at.join(hex(outer));
            self.inner = self.folders(&opened, &at)?;
            if self.inner.is_empty() && names(&opened, &self.store.data().join(&at))?.is_empty() {
                self.met.push_back(Met::Empty(at));
            }
            self.outer = Some((opened, outer));
            return Ok(true);
        }
        if std::mem::replace(&mut self.begun, true) {
            return Ok(false);
        }
        let at = relative_root().join(self.kind.as_str());
        let Some(folder) = open(&self.store.shared.root, self.kind.as_str(), &self.store.shared.path)? else {
            return Ok(false);
        };
        let outer = self.folders(&folder, &at)?;
        self.folder = Some((folder, outer));
        Ok(true)
    }

    /// The shards that lie in a folder, last first; what else does is noted.
    fn folders(&mut self, folder: &OwnedFd, relative: &Path) -> io::Result<Vec<u8>> {
        let at = self.store.data().join(relative);
        let mut bytes = Vec::new();
        for name in names(folder, &at)? {
            let Some(look) = look(folder, &name, &at)? else { continue };
            match byte(&name).filter(|_| look.is_folder()) {
                Some(byte) => {
                    bytes.push(byte);
                    if look.mode != FOLDER_MODE {
                        self.met.push_back(Met::Mode(relative.join(&name), FOLDER_MODE));
                    }
                }
                None => self.met.push_back(Met::Strange(relative.join(&name))),
            }
        }
        bytes.sort_unstable_by(|a, b| b.cmp(a));
        Ok(bytes)
    }

    fn read_shard(&mut self, inner: u8) -> io::Result<()> {
        let Some((above, outer)) = &self.outer else { return Ok(()) };
        let outer = *outer;
        let below = Path::new(self.kind.as_str()).join(hex(outer)).join(hex(inner));
        let relative = relative_root().join(&below);
        let at = self.store.data().join(&relative);
        let Some(shard) = open(above, &hex(inner), &at)? else { return Ok(()) };
        let mut bundles = Vec::new();
        let names = names(&shard, &at)?;
        if names.is_empty() {
            self.met.push_back(Met::Empty(relative.clone()));
        }
        for name in names {
            let Some(look) = look(&shard, &name, &at)? else { continue };
            match (layout::parse(&below.join(&name)), look.file()) {
                (Some(key), Some(seen)) => bundles.push((key, seen)),
                _ => self.met.push_back(Met::Strange(relative.join(&name))),
            }
        }
        bundles.sort_unstable_by_key(|(key, _)| *key);
        self.met.push_back(Met::Shard([outer, inner], bundles));
        Ok(())
    }
}

/// `bundles/v0`, below the data directory.
pub(super) fn relative_root() -> PathBuf {
    Path::new("bundles").join(layout::VERSION)
}

/// What stands at a name.
struct Look {
    kind: FileType,
    mode: u32,
    seen: Seen,
}

impl Look {
    #[expect(clippy::unnecessary_cast, reason = "the widths of these fields differ between machines")]
    fn of(stat: &fs::Stat) -> Self {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let mode = stat.st_mode & dir::PERMISSIONS;
        let seen = Seen {
            size: count(stat.st_size as i64),
            allocated: count(stat.st_blocks as i64) * 512,
            mtime: stat.st_mtime as i64,
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            mode,
        };
        Self { kind: FileType::from_raw_mode(stat.st_mode), mode, seen }
    }

    fn is_folder(&self) -> bool {
        self.kind == FileType::Directory
    }

    fn file(self) -> Option<Seen> {
        (self.kind == FileType::RegularFile).then_some(self.seen)
    }
}

/// `None` when nothing stands there any more.
fn look(folder: impl AsFd, name: &OsStr, at: &Path) -> io::Result<Option<Look>> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Look::of(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(dir::said("look at", &at.join(name), error)),
    }
}

/// `None` when it is no folder, or no more; that was noted, or will be the next time.
fn open(above: impl AsFd, name: &str, at: &Path) -> io::Result<Option<OwnedFd>> {
    match dir::open(above, name) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(dir::said("open", at, error)),
    }
}

fn names(folder: &OwnedFd, at: &Path) -> io::Result<Vec<OsString>> {
    let said = |e| dir::said("list", at, e);
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(folder).map_err(said)? {
        let name = entry.map_err(said)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(&name).to_owned());
        }
    }
    Ok(names)
}

fn hex(byte: u8) -> String {
    format!("{byte:02x}")
}

/// The byte that two lower-case digits are.
fn byte(name: &OsStr) -> Option<u8> {
    let text = name.to_str().filter(|text| text.len() == 2)?;
    u8::from_str_radix(text, 16).ok().filter(|byte| hex(*byte) == text)
}

fn is_version(name: &OsStr) -> bool {
    let digits = name.as_bytes().strip_prefix(b"v");
    digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}
