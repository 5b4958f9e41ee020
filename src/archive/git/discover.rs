//! Finds the `objects` directories under the given paths: of repositories, bare or not, at any
//! depth, of worktrees, and those that alternates name.
//!
//! **Invariant: nothing is read that is not served.** That is what lies below the given paths, and the
//! repository of a given path that is a worktree, wherever that lies. Links, `.git` files, `commondir`
//! and alternates are followed to where they really lead: within what is served, and to whole
//! repositories and object directories below the paths of `follow_links`. What they lead to elsewhere is
//! left alone, and so is all that is no repository that larder reads: each is logged once, with the
//! reason.
//!
//! What could not be looked at is not gone: see [`Found`].

use super::fault::{Fault, Trouble};
use super::layout::{self, Kind, Looked, Missed, kind, real};
use super::open::{self, Unopened};
use super::scans::Progress;
use super::served::Served;
use rustix::fs::{Access, FileType};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Folders are looked into this deep.
const MAX_DEPTH: usize = 64;

/// More `objects` directories than this are not looked for.
const MAX_OBJECT_DIRS: usize = 200_000;

/// Alternates of alternates are followed this far, as by git.
const MAX_ALTERNATES: usize = 5;

/// What a scan found.
#[derive(Default)]
pub(super) struct Found {
    /// Canonical, each with the number of its device, in an order that depends on nothing but the folders.
    pub(super) object_dirs: Vec<(PathBuf, u64)>,
    pub(super) repositories: usize,
    /// What larder may not look into. What was known below is as it was.
    pub(super) unseen: Vec<PathBuf>,
    /// Why something else could not be looked at: there may be more, and nothing known is gone.
    pub(super) trouble: Option<Trouble>,
}

/// Looks for repositories under `given`, and under `links` where a link leads there. All are canonical.
pub(super) fn scan(given: &[PathBuf], links: &[PathBuf], served: &Served, progress: &Progress) -> Found {
    let mut scan = Scan {
        roots: given.to_vec(),
        links,
        served,
        progress,
        found: Found::default(),
        seen: HashSet::new(),
        folders: HashSet::new(),
    };
    for path in given {
        if let Err(missed) = scan.serve_repository(path) {
            scan.miss(path, missed);
        }
    }
    for path in given {
        scan.walk(path);
    }
    if scan.found.trouble.is_none() && scan.found.unseen.is_empty() {
        served.replace(scan.roots);
    }
    scan.found
}

struct Scan<'a> {
    /// What is served, as far as it is known.
    roots: Vec<PathBuf>,
    links: &'a [PathBuf],
    served: &'a Served,
    progress: &'a Progress,
    found: Found,
    /// Object directories found.
    seen: HashSet<PathBuf>,
    /// Device and inode of folders visited: what keeps links from leading in a circle.
    folders: HashSet<(u64, u64)>,
}

impl Scan<'_> {
    /// Serves the repository of a path that was given, wherever that lies.
    fn serve_repository(&mut self, path: &Path) -> Looked<()> {
        self.go_to(path)?;
        let Some(git_dir) = layout::git_dir(path, self.served)? else { return Ok(()) };
        let common = layout::common_dir(&git_dir, self.served)?;
        let objects = real(&common.join("objects"))?;
        for root in [Some(git_dir), Some(common), objects].into_iter().flatten() {
            self.serve(root);
        }
        Ok(())
    }

    fn serve(&mut self, root: PathBuf) {
        self.served.add(root.clone());
        self.roots.push(root);
    }

    fn walk(&mut self, root: &Path) {
        let mut folders = vec![(root.to_path_buf(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            if self.found.object_dirs.len() >= MAX_OBJECT_DIRS {
                return self.served.skip(&folder, "no more repositories are looked for: there are too many");
            }
            match self.visit(&folder, depth) {
                Ok(below) => folders.extend(below.into_iter().map(|sub| (sub, depth + 1))),
                // Without a path that was given, nothing can be said.
                Err(Missed { path, why: Unopened::Absent }) if depth == 0 => {
                    self.trouble("look into", &path, io::Error::from(io::ErrorKind::NotFound));
                }
                Err(Missed { path, why: Unopened::Failed(cause) }) if depth == 0 && path == folder => {
                    self.trouble("look into", &path, cause);
                }
                Err(missed) => self.miss(&folder, missed),
            }
        }
    }

    /// Takes what is in a folder that is a repository, and gives the folders in one that is none, in
    /// falling order for a stack.
    fn visit(&mut self, folder: &Path, depth: usize) -> Looked<Vec<PathBuf>> {
        self.go_to(folder)?;
        let missed = |why| Missed { path: folder.to_owned(), why };
        let opened = open::folder(folder, self.served).map_err(missed)?;
        let stat = rustix::fs::fstat(&opened).map_err(|error| missed(Unopened::Failed(error.into())))?;
        if !self.folders.insert((stat.st_dev, stat.st_ino)) {
            return Ok(Vec::new());
        }
        if let Some(git_dir) = layout::git_dir(folder, self.served)? {
            self.add_repository(&git_dir)?;
            return Ok(Vec::new());
        }
        if let Some(reason) = layout::lacks(folder) {
            self.served.skip(folder, reason);
        }
        if depth >= MAX_DEPTH {
            self.served.skip(folder, "it is too deep");
            return Ok(Vec::new());
        }
        let mut folders = Vec::new();
        for (name, file_type) in open::names(&opened).map_err(|error| missed(Unopened::Failed(error)))? {
            let path = folder.join(name);
            match file_type {
                FileType::Directory => folders.push(path),
                FileType::Symlink => match self.follow(&path) {
                    Ok(target) => folders.extend(target),
                    Err(missed) => self.miss(&path, missed),
                },
                _ => {}
            }
        }
        folders.sort_unstable_by(|a, b| b.cmp(a));
        Ok(folders)
    }

    /// The folder that a link leads to, when it is one to be looked into.
    fn follow(&mut self, link: &Path) -> Looked<Option<PathBuf>> {
        self.go_to(link)?;
        let Some(target) = real(link)? else {
            self.served.skip(link, "the link leads nowhere");
            return Ok(None);
        };
        if kind(&target)? != Kind::Folder {
            return Ok(None);
        }
        if self.is_inside(&target) {
            return Ok(Some(target));
        }
        if !self.is_linked(&target) {
            self.served.skip(link, "the link leads outside of what is served; see the setting follow_links");
        } else if layout::git_dir(&target, self.served)?.is_none() {
            self.served.skip(link, "the link leads to a folder elsewhere that is no repository");
        } else {
            return Ok(Some(target));
        }
        Ok(None)
    }

    fn add_repository(&mut self, git_dir: &Path) -> Looked<()> {
        let skip = |path: &Path, reason| Missed { path: path.to_owned(), why: Unopened::Refused(reason) };
        let Some(git_dir) = real(git_dir)? else { return Ok(()) };
        let common = layout::common_dir(&git_dir, self.served)?;
        let objects = common.join("objects");
        let Some(objects) = real(&objects)? else { return Err(skip(&objects, "it leads nowhere")) };
        if !self.reaches(&common) || !self.reaches(&objects) {
            return Err(skip(&git_dir, "the repository, or its objects, lie outside of what is served"));
        }
        if self.seen.contains(&objects) {
            return Ok(());
        }
        if layout::has_other_format(&common, self.served)? {
            return Err(skip(&git_dir, "the repository's object format is not sha1"));
        }
        self.found.repositories += 1;
        self.add_objects(objects, 0);
        Ok(())
    }

    fn add_objects(&mut self, objects: PathBuf, depth: usize) {
        if !self.seen.insert(objects.clone()) {
            return;
        }
        let alternates = match layout::text(&objects.join("info/alternates"), self.served) {
            Ok(text) => text.unwrap_or_default(),
            Err(missed) => {
                self.miss(&objects, missed);
                Vec::new()
            }
        };
        for line in alternates.split(|byte| *byte == b'\n') {
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let named = objects.join(OsStr::from_bytes(line));
            let looked = self.go_to(&named).and_then(|()| real(&named)).and_then(|path| match path {
                Some(path) => Ok((kind(&path)? == Kind::Folder).then_some(path)),
                None => Ok(None),
            });
            match looked {
                Ok(None) => self.served.skip(&named, "the alternate leads nowhere"),
                Ok(Some(path)) if !self.reaches(&path) => {
                    self.served.skip(&path, "the alternate lies outside of what is served");
                }
                Ok(Some(path)) if depth < MAX_ALTERNATES => self.add_objects(path, depth + 1),
                Ok(Some(path)) => self.served.skip(&path, "too many alternates lead to it"),
                Err(missed) => self.miss(&named, missed),
            }
        }
        let device = objects.metadata().map_or(0, |metadata| metadata.dev());
        self.found.object_dirs.push((objects, device));
    }

    /// Notes where the scan is: there it may wait for ever, and is then not gone to again.
    fn go_to(&self, path: &Path) -> Looked<()> {
        if self.progress.goes_to(path) {
            return Ok(());
        }
        let cause = io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        Err(Missed { path: path.to_owned(), why: Unopened::Failed(cause) })
    }

    fn is_inside(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }

    fn is_linked(&self, path: &Path) -> bool {
        self.links.iter().any(|links| path.starts_with(links))
    }

    /// Whether a part of a repository is served: from now on it is, where links may lead to it.
    fn reaches(&mut self, path: &Path) -> bool {
        if !self.is_inside(path) {
            if !self.is_linked(path) {
                return false;
            }
            self.serve(path.to_owned());
        }
        true
    }

    /// Passes over what was missed in `whole`.
    fn miss(&mut self, whole: &Path, missed: Missed) {
        let Missed { path, why } = missed;
        match why {
            Unopened::Absent => {}
            Unopened::Refused(reason) => self.served.skip(&path, reason),
            Unopened::Failed(cause) => {
                if cause.kind() == io::ErrorKind::PermissionDenied && is_barred(&path) {
                    self.served.skip(&path, "larder may not read it");
                    self.found.unseen.push(whole.to_owned());
                } else {
                    self.trouble("look into", &path, cause);
                }
            }
        }
    }

    fn trouble(&mut self, action: &str, path: &Path, cause: io::Error) {
        self.found.trouble.get_or_insert_with(|| Fault::io(action, path, cause).trouble());
    }
}

/// Whether its mode, or that of a folder above, keeps larder out. A permission that was denied otherwise
/// is a failure like any other.
fn is_barred(path: &Path) -> bool {
    let denied = |access| rustix::fs::access(path, access) == Err(rustix::io::Errno::ACCESS);
    denied(Access::READ_OK) || denied(Access::EXEC_OK) && kind(path).is_ok_and(|kind| kind == Kind::Folder)
}
