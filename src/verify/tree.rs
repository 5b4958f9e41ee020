//! Directories put together again: entries go into the tree they belong to, and a tree's id into
//! its parent when it is complete. Knows paths and ids, and nothing of tar.

use crate::archive::ObjectType;
use crate::archive::object::{self, TreeEntry};
use crate::key::Sha1Git;

/// As in cooking: larger bundles are not made. Depth is bounded by the length of a path.
const MAX_HELD: usize = 128 << 20;

/// The directories from the root down to where a bundle is being read.
pub(super) struct Trees<'s> {
    /// Told every id.
    seen: &'s mut dyn FnMut(&Sha1Git),
    /// The path of the innermost one, with its `/`.
    path: Vec<u8>,
    open: Vec<Open>,
    held: usize,
}

struct Open {
    /// Length of its path, and where its name starts in it.
    path: usize,
    name: usize,
    raw_mode: Vec<u8>,
    /// The id that the bundle names, if it does.
    claimed: Option<Sha1Git>,
    tree: Vec<u8>,
}

impl<'s> Trees<'s> {
    pub(super) fn new(seen: &'s mut dyn FnMut(&Sha1Git)) -> Self {
        Self { seen, path: Vec::new(), open: Vec::new(), held: 0 }
    }

    /// Opens a directory, the root first. Its path ends in `/`.
    pub(super) fn open(&mut self, path: &[u8], raw_mode: &[u8], claimed: Option<Sha1Git>) -> Result<(), String> {
        let name = if self.open.is_empty() { 0 } else { self.enter(path)? };
        self.path.extend_from_slice(&path[name..]);
        let (path, raw_mode) = (path.len(), raw_mode.to_vec());
        self.open.push(Open { path, name, raw_mode, claimed, tree: Vec::new() });
        Ok(())
    }

    /// Closes the directories that `path` is not in, so that the innermost is its parent; gives
    /// where its last name starts.
    pub(super) fn enter(&mut self, path: &[u8]) -> Result<usize, String> {
        let bare = path.strip_suffix(b"/").unwrap_or(path);
        let name = bare.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        while self.path != path[..name] {
            if self.open.len() < 2 {
                return Err("a member is not in the directory it stands in".to_owned());
            }
            self.close()?;
        }
        Ok(name)
    }

    /// Adds an entry to the innermost directory.
    pub(super) fn add(&mut self, raw_mode: &[u8], name: &[u8], id: &Sha1Git) -> Result<(), String> {
        (self.seen)(id);
        let tree = &mut self.open.last_mut().ok_or("there is no directory")?.tree;
        let before = tree.len();
        for bytes in [raw_mode, b" ", name, b"\0", id.as_bytes()] {
            tree.extend_from_slice(bytes);
        }
        self.held += tree.len() - before;
        if self.held > MAX_HELD {
            return Err("directories are too large".to_owned());
        }
        Ok(())
    }

    /// The id of the root, all its directories being complete.
    pub(super) fn finish(mut self) -> Result<Sha1Git, String> {
        loop {
            let id = self.close()?;
            (self.seen)(&id);
            if self.open.is_empty() {
                return Ok(id);
            }
        }
    }

    fn close(&mut self) -> Result<Sha1Git, String> {
        let open = self.open.pop().ok_or("there is no directory")?;
        let entries = object::tree_entries(&open.tree).collect::<Result<Vec<TreeEntry<'_>>, _>>();
        object::check_flat(&entries.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let id = object::hash(ObjectType::Tree, &open.tree).map_err(|error| error.to_string())?;
        if open.claimed.is_some_and(|claimed| claimed != id) {
            return Err(format!("a directory has the id {id}, and the bundle says another"));
        }
        self.held -= open.tree.len();
        let name = self.path[open.name..open.path - 1].to_vec();
        self.path.truncate(open.name);
        if !self.open.is_empty() {
            self.add(&open.raw_mode, &name, &id)?;
        }
        Ok(id)
    }
}
