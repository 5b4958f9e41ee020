//! The tree in an archive: its members, in whatever order they came, put together as git would, below
//! the archive's own top directory. Pure; knows names, modes and ids, and no format of an archive.
//!
//! Names are hostile: nothing is ever written under one. An archive with a name that leads elsewhere,
//! a device, or two members of one name has no tree; [`Members`] keeps why.

use crate::archive::object::{self, ObjectType, TreeEntry};
use crate::archiver::task::Directory;
use crate::key::Sha1Git;

/// What all names together may take of memory, each with what it costs besides.
const MAX_HELD: usize = 256 << 20;
/// What a name costs besides its bytes.
const OVERHEAD: usize = 64;
/// As in a flat bundle.
const MAX_PATH: usize = 4095;
const MAX_DEPTH: usize = 2048;

/// What a member with content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 100644
    File,
    /// 100755
    Executable,
    /// 120000; the content is the target.
    Symlink,
}

impl Mode {
    const fn digits(self) -> &'static [u8] {
        match self {
            Self::File => b"100644",
            Self::Executable => b"100755",
            Self::Symlink => b"120000",
        }
    }
}

/// The members of an archive as they are read.
#[derive(Debug, Default)]
pub struct Members {
    entries: Vec<Entry>,
    top: Option<Vec<u8>>,
    held: usize,
    fault: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// Below the top directory; that of a directory ends in a slash.
    path: Box<[u8]>,
    blob: Option<(Mode, Sha1Git)>,
}

impl Members {
    /// Adds a directory.
    pub fn directory(&mut self, path: &[u8]) {
        self.add(path, None);
    }

    /// Adds a member with content.
    pub fn blob(&mut self, path: &[u8], mode: Mode, id: Sha1Git) {
        self.add(path, Some((mode, id)));
    }

    /// The archive holds no tree, for this reason.
    pub fn refuse(&mut self, reason: impl Into<String>) {
        self.fault.get_or_insert_with(|| reason.into());
        self.entries = Vec::new();
    }

    fn add(&mut self, path: &[u8], blob: Option<(Mode, Sha1Git)>) {
        if self.fault.is_some() {
            return;
        }
        if let Err(reason) = self.try_add(path, blob) {
            self.refuse(format!("the member {}: {reason}", quoted(path)));
        }
    }

    fn try_add(&mut self, path: &[u8], blob: Option<(Mode, Sha1Git)>) -> Result<(), &'static str> {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        if path.first() == Some(&b'/') {
            return Err("its name is absolute");
        }
        let parts: Vec<&[u8]> = bare.split(|&byte| byte == b'/').filter(|part| *part != b".").collect();
        if parts.iter().any(|part| part.is_empty() || *part == b"..") || path.contains(&0) {
            return Err("its name leads elsewhere, or nowhere");
        }
        if path.len() > MAX_PATH || parts.len() > MAX_DEPTH {
            return Err("its name is too long or too deep");
        }
        // `./` itself.
        let Some((top, below)) = parts.split_first() else { return Ok(()) };
        if self.top.get_or_insert_with(|| top.to_vec()) != top {
            return Err("it is not in the top directory of the others");
        }
        let mut path = below.join(&b'/');
        match (path.is_empty(), blob) {
            (true, None) => return Ok(()),
            (true, Some(_)) => return Err("it is in no top directory"),
            (false, None) => path.push(b'/'),
            (false, Some(_)) => {}
        }
        self.held += path.len() + OVERHEAD;
        if self.held > MAX_HELD {
            return Err("there are too many members before it");
        }
        self.entries.push(Entry { path: path.into_boxed_slice(), blob });
        Ok(())
    }

    /// Puts the tree together; `emit` gets every tree object, a directory after those in it.
    ///
    /// # Errors
    /// Why the archive holds no tree.
    pub fn tree(mut self, emit: impl FnMut(Sha1Git, Vec<u8>)) -> Result<Directory, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.top.is_none() {
            return Err("it has no members".to_owned());
        }
        // Bytewise order of whole paths, with those of directories ending in a slash, is git's order
        // in every directory, and keeps what is in one directory together.
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut build = Build { path: Vec::new(), open: vec![Open::default()], emit };
        for entry in &self.entries {
            build.add(entry).map_err(|reason| format!("the member {}: {reason}", quoted(&entry.path)))?;
        }
        build.finish()
    }
}

#[derive(Default)]
struct Open {
    /// Where its name starts in the path.
    start: usize,
    tree: Vec<u8>,
}

struct Build<F> {
    /// The path of the innermost open directory, with its slash.
    path: Vec<u8>,
    open: Vec<Open>,
    emit: F,
}

impl<F: FnMut(Sha1Git, Vec<u8>)> Build<F> {
    fn add(&mut self, entry: &Entry) -> Result<(), String> {
        let parent = match entry.blob {
            None => entry.path.len(),
            Some(_) => entry.path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1),
        };
        while !entry.path[..parent].starts_with(&self.path) {
            self.close()?;
        }
        while self.path.len() < parent {
            let start = self.path.len();
            let end = entry.path[start..].iter().position(|&byte| byte == b'/').map_or(parent, |at| start + at + 1);
            self.path.extend_from_slice(&entry.path[start..end]);
            self.open.push(Open { start, tree: Vec::new() });
        }
        if let Some((mode, id)) = entry.blob {
            self.entry(mode.digits(), &entry.path[parent..], &id)?;
        }
        Ok(())
    }

    fn entry(&mut self, mode: &[u8], name: &[u8], id: &Sha1Git) -> Result<(), String> {
        let tree = &mut self.open.last_mut().ok_or("there is no directory")?.tree;
        for bytes in [mode, b" ", name, b"\0", id.as_bytes()] {
            tree.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Ends the innermost directory, which goes into the one it is in.
    fn close(&mut self) -> Result<(), String> {
        let open = self.open.pop().ok_or("there is no directory")?;
        let id = self.seal(open.tree)?.id;
        let name = self.path[open.start..self.path.len() - 1].to_vec();
        self.path.truncate(open.start);
        self.entry(b"40000", &name, &id)
    }

    fn finish(mut self) -> Result<Directory, String> {
        while self.open.len() > 1 {
            self.close()?;
        }
        let root = self.open.pop().ok_or("there is no directory")?;
        self.seal(root.tree)
    }

    fn seal(&mut self, tree: Vec<u8>) -> Result<Directory, String> {
        let entries = object::tree_entries(&tree).collect::<Result<Vec<TreeEntry<'_>>, _>>();
        object::check_flat(&entries.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let id = object::hash(ObjectType::Tree, &tree).map_err(|error| error.to_string())?;
        let size = tree.len() as u64;
        (self.emit)(id, tree);
        Ok(Directory { id, size })
    }
}

fn quoted(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(&path[..path.len().min(120)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOB: Sha1Git = Sha1Git::from_bytes([7; 20]);

    fn tree(paths: &[&str]) -> Result<Directory, String> {
        let mut members = Members::default();
        for path in paths {
            match path.strip_suffix('/') {
                Some(_) => members.directory(path.as_bytes()),
                None => members.blob(path.as_bytes(), Mode::File, BLOB),
            }
        }
        members.tree(|_, _| {})
    }

    #[test]
    fn the_order_of_members_and_named_directories_change_nothing() {
        let one = tree(&["t/", "t/a/", "t/a/x", "t/a.b", "t/a0", "t/b/c/d"]).unwrap();
        assert_eq!(tree(&["t/b/c/d", "t/a0", "./t/a.b", "t/a/x"]).unwrap(), one);
        // What git says of these paths, each the blob 07...07.
        assert_ne!(tree(&["t/b/c/d", "t/a0", "t/a.b"]).unwrap(), one);
        assert_eq!(tree(&["t/"]).unwrap().id.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn what_leads_elsewhere_or_stands_twice_has_no_tree() {
        let cases: [(&[&str], &str); 10] = [
            (&[], "no members"),
            (&["t/../x"], "elsewhere"),
            (&["../x"], "elsewhere"),
            (&["/t/x"], "absolute"),
            (&["t//x"], "elsewhere"),
            (&["t/x", "u/y"], "top directory"),
            (&["x"], "no top directory"),
            (&["t/x", "t/x"], "same name"),
            (&["t/x", "t/x.y", "t/x/z"], "same name"),
            (&["t/.GIT/config"], ".git"),
        ];
        for (paths, word) in cases {
            let reason = tree(paths).unwrap_err();
            assert!(reason.contains(word), "{paths:?}: {reason}");
        }
    }

    proptest! {
        #[test]
        fn no_names_make_it_panic(paths in prop::collection::vec("t?[/a.x]{0,9}", 0..9)) {
            let _ = tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
