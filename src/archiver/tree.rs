//! The tree in an archive: its members, in whatever order they came, put together as git would, below
//! the archive's own top directory, if it has one. Pure; knows names, modes and ids, and no format of an
//! archive.
//!
//! Names are hostile: nothing is ever written under one. An archive with a name that leads elsewhere,
//! a device, or two members of one name has no tree; [`Members`] keeps why.

use crate::archive::object::{self, ObjectType, TreeEntry};
use crate::key::Sha1Git;
use crate::task::Directory;
use serde::{Deserialize, Serialize};

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

/// Which directory of an archive is its tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Top {
    /// The one that all members are in, where there is one; else all of them.
    #[default]
    Auto,
    /// The one that all members are in.
    Strip,
    /// All members as they are, be they in one directory or not.
    Keep,
}

/// The members of an archive as they are read.
#[derive(Debug, Default)]
pub struct Members {
    entries: Vec<Entry>,
    /// Whether the archive names its own root, `./`.
    has_root: bool,
    held: usize,
    fault: Option<String>,
}

#[derive(Debug)]
struct Entry {
    /// That of a directory ends in a slash.
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
        let mut path = parts.join(&b'/');
        if path.is_empty() {
            // `./` itself.
            self.has_root |= blob.is_none();
            return if blob.is_none() { Ok(()) } else { Err("it has no name") };
        }
        if blob.is_none() {
            path.push(b'/');
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
    pub fn tree(&mut self, top: Top, emit: impl FnMut(Sha1Git, Vec<u8>)) -> Result<Directory, String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.entries.is_empty() && !self.has_root {
            return Err("it has no members".to_owned());
        }
        // Bytewise order of whole paths, with those of directories ending in a slash, is git's order
        // in every directory, and keeps what is in one directory together.
        self.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let start = match (top, self.top()) {
            (Top::Keep, _) | (Top::Auto, None) => 0,
            (Top::Auto | Top::Strip, Some(top)) => top,
            (Top::Strip, None) => return Err("its members are not all in one top directory".to_owned()),
        };
        let mut build = Build { path: Vec::new(), open: vec![Open::default()], emit };
        // Nothing is left of the name of the top directory itself.
        for entry in self.entries.iter().filter(|entry| entry.path.len() > start) {
            let path = &entry.path[start..];
            build.add(path, entry.blob).map_err(|reason| format!("the member {}: {reason}", quoted(&entry.path)))?;
        }
        build.finish()
    }

    /// The length of the name of the one directory that all members are in, with its slash. They are in order.
    fn top(&self) -> Option<usize> {
        let (first, last) = (self.entries.first()?, self.entries.last()?);
        let top = first.path.iter().position(|&byte| byte == b'/')? + 1;
        last.path.starts_with(&first.path[..top]).then_some(top)
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
    fn add(&mut self, path: &[u8], blob: Option<(Mode, Sha1Git)>) -> Result<(), String> {
        let parent = match blob {
            None => path.len(),
            Some(_) => path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1),
        };
        while !path[..parent].starts_with(&self.path) {
            self.close()?;
        }
        while self.path.len() < parent {
            let start = self.path.len();
            let end = path[start..].iter().position(|&byte| byte == b'/').map_or(parent, |at| start + at + 1);
            self.path.extend_from_slice(&path[start..end]);
            self.open.push(Open { start, tree: Vec::new() });
        }
        if let Some((mode, id)) = blob {
            self.entry(mode.digits(), &path[parent..], &id)?;
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

    fn members(paths: &[&str]) -> Members {
        let mut members = Members::default();
        for path in paths {
            match path.strip_suffix('/') {
                Some(_) => members.directory(path.as_bytes()),
                None => members.blob(path.as_bytes(), Mode::File, BLOB),
            }
        }
        members
    }

    fn tree(paths: &[&str]) -> Result<Directory, String> {
        members(paths).tree(Top::Auto, |_, _| {})
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
    fn what_is_in_no_one_top_directory_is_the_tree_itself() {
        let below = tree(&["t/a", "t/d/b"]).unwrap();
        // As `tar c .` and gitiles write it, a file before or after the directory.
        for root in [&["a", "d/b"][..], &["./", "./a", "./d/", "./d/b"], &["d/b", "a"]] {
            assert_eq!(tree(root).unwrap(), below, "{root:?}");
        }
        let two = tree(&["t/x", "u/y"]).unwrap();
        assert_eq!(tree(&["top/t/x", "top/u/y"]).unwrap(), two);
        // Names with a common beginning are two all the same.
        assert_eq!(tree(&["t/x", "t.d/y", "t0/z"]).unwrap(), tree(&["n/t/x", "n/t.d/y", "n/t0/z"]).unwrap());
        assert_eq!(tree(&["./"]).unwrap().id.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn whether_a_top_directory_is_stripped_can_be_said() {
        let mut one = members(&["t/a", "t/d/b"]);
        let (kept, stripped) = (one.tree(Top::Keep, |_, _| {}).unwrap(), one.tree(Top::Strip, |_, _| {}).unwrap());
        assert_eq!(one.tree(Top::Auto, |_, _| {}).unwrap(), stripped);
        assert_eq!(kept, tree(&["n/t/a", "n/t/d/b"]).unwrap());
        let mut none = members(&["a", "d/b"]);
        assert_eq!(none.tree(Top::Keep, |_, _| {}), none.tree(Top::Auto, |_, _| {}));
        assert!(none.tree(Top::Strip, |_, _| {}).unwrap_err().contains("top directory"));
    }

    #[test]
    fn what_leads_elsewhere_or_stands_twice_has_no_tree() {
        let cases: [(&[&str], &str); 9] = [
            (&[], "no members"),
            (&["t/../x"], "elsewhere"),
            (&["../x"], "elsewhere"),
            (&["/t/x"], "absolute"),
            (&["t//x"], "elsewhere"),
            (&["t/x", "t/x"], "same name"),
            (&["x", "x/y"], "same name"),
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
            let mut members = members(&paths.iter().map(String::as_str).collect::<Vec<_>>());
            for top in [Top::Auto, Top::Strip, Top::Keep] {
                let _ = members.tree(top, |_, _| {});
            }
        }
    }
}
