//! Directories put together from paths, as fast-import does it: the tree of a commit is its first
//! parent's with some paths changed.
//!
//! # Memory
//! Any commit's tree may be needed again, so all are kept, each directory once by its id: whole, or
//! as the bytes between what it has in common with the one it was made from, through at most
//! [`MAX_DEPTH`] of these. A commit that changes one file in a large directory costs about a hundred
//! bytes for each directory on the way. Besides, the directories touched last are held taken apart.

use crate::archive::ObjectType;
use crate::archive::object;
use crate::cook::gitfast::{MAX_PATH, check_tree};
use crate::key::Sha1Git;
use std::collections::{BTreeMap, HashMap};

/// A directory is put together from so many others at most.
const MAX_DEPTH: u8 = 64;
/// Directories and entries that are held taken apart from one commit to the next.
const MAX_HELD: usize = 1 << 18;
/// No node, no base.
const NONE: u32 = u32::MAX;

/// All trees so far, and the one under way.
#[derive(Default)]
pub(super) struct Trees {
    kept: Vec<Kept>,
    by_id: HashMap<Sha1Git, u32>,
    /// Directories of the tree under way that were looked into, its root first.
    nodes: Vec<Node>,
    dirty: Vec<u32>,
    /// What `nodes` hold at most. It is counted as it comes, those that became empty or went away too:
    /// looking at all of them at each commit would take longer than all else.
    held: usize,
}

/// A directory that is done.
struct Kept {
    id: Sha1Git,
    /// The one it shares its beginning and its end with, [`NONE`] for none.
    base: u32,
    prefix: u32,
    suffix: u32,
    depth: u8,
    middle: Box<[u8]>,
}

#[derive(Default)]
struct Node {
    parent: u32,
    /// Its key in the parent.
    key: Box<[u8]>,
    depth: u32,
    /// By name, a directory's with `/` behind it: that is git's order.
    entries: BTreeMap<Box<[u8]>, Entry>,
    /// What it was when it was last done.
    kept: Option<u32>,
    bytes: Vec<u8>,
    is_dirty: bool,
}

struct Entry {
    mode: Mode,
    id: Sha1Git,
    node: u32,
}

/// The modes that a stream knows, and that of a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Directory,
    File,
    Executable,
    Symlink,
    Gitlink,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Directory, Self::File, Self::Executable, Self::Symlink, Self::Gitlink];

    fn digits(self) -> &'static [u8] {
        match self {
            Self::Directory => b"40000",
            Self::File => b"100644",
            Self::Executable => b"100755",
            Self::Symlink => b"120000",
            Self::Gitlink => b"160000",
        }
    }

    /// The mode written so.
    pub(super) fn read(digits: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.digits() == digits)
    }
}

impl Trees {
    /// How many different trees there are.
    pub(super) fn count(&self) -> u64 {
        self.kept.len() as u64
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = &Sha1Git> {
        self.kept.iter().map(|kept| &kept.id)
    }

    /// Starts from a tree that is done, or from an empty one.
    pub(super) fn begin(&mut self, tree: Option<u32>) -> Result<(), String> {
        let stays = self.nodes.first().is_some_and(|root| root.kept == tree && tree.is_some());
        if !stays {
            self.let_go();
            let root = self.open(tree, Node { parent: NONE, ..Node::default() })?;
            self.nodes.push(root);
        }
        Ok(())
    }

    /// Takes away a path and all below it. Gives it as it stands in git's order.
    pub(super) fn remove(&mut self, path: &[u8]) -> Result<Box<[u8]>, String> {
        let (node, name) = self.walk(path, false)?;
        let entries = &mut self.nodes[node as usize].entries;
        let folder = folder(name);
        let is_folder = entries.remove(&folder).is_some();
        if !is_folder && entries.remove(name).is_none() {
            return Err(NOT_THERE.to_owned());
        }
        let start = path.len() - name.len();
        Ok(if is_folder { [&path[..start], &folder].concat().into() } else { path.into() })
    }

    /// Sets a path.
    pub(super) fn set(&mut self, path: &[u8], mode: Mode, id: Sha1Git) -> Result<(), String> {
        let (node, name) = self.walk(path, true)?;
        self.held += 1;
        let entries = &mut self.nodes[node as usize].entries;
        match entries.insert(name.into(), Entry { mode, id, node: NONE }) {
            Some(old) if old.mode == mode && old.id == id => Err("a path is set to what it is".to_owned()),
            _ => Ok(()),
        }
    }

    /// Ends the tree; its number and its id.
    pub(super) fn finish(&mut self) -> Result<(u32, Sha1Git), String> {
        let mut dirty = std::mem::take(&mut self.dirty);
        // Those below come first.
        dirty.sort_by_key(|&node| std::cmp::Reverse(self.nodes[node as usize].depth));
        for node in dirty {
            self.finish_node(node)?;
        }
        if self.nodes[0].kept.is_none() {
            self.finish_node(0)?;
        }
        let kept = self.nodes[0].kept.ok_or("the tree has no root")?;
        if self.held > MAX_HELD {
            self.let_go();
        }
        Ok((kept, self.kept[kept as usize].id))
    }

    fn let_go(&mut self) {
        self.nodes.clear();
        self.held = 0;
    }

    /// The directory that `path` is in, and its last name. All directories on the way will be done
    /// anew.
    fn walk<'p>(&mut self, path: &'p [u8], create: bool) -> Result<(u32, &'p [u8]), String> {
        if path.len() > MAX_PATH {
            return Err("a path is too long".to_owned());
        }
        let mut parts = path.split(|&byte| byte == b'/');
        let name = parts.next_back().ok_or("a path is empty")?;
        let mut at = 0;
        self.touch(at);
        for part in parts {
            at = self.child(at, &folder(part), create)?;
            self.touch(at);
        }
        Ok((at, name))
    }

    fn touch(&mut self, at: u32) {
        let node = &mut self.nodes[at as usize];
        if !node.is_dirty {
            node.is_dirty = true;
            self.dirty.push(at);
        }
    }

    fn child(&mut self, parent: u32, key: &[u8], create: bool) -> Result<u32, String> {
        let above = &mut self.nodes[parent as usize];
        let depth = above.depth + 1;
        let kept = match above.entries.get(key) {
            Some(entry) if entry.node != NONE => return Ok(entry.node),
            Some(entry) => Some(*self.by_id.get(&entry.id).ok_or("a directory is not known")?),
            None if create => None,
            None => return Err(NOT_THERE.to_owned()),
        };
        let node = self.open(kept, Node { parent, key: key.into(), depth, ..Node::default() })?;
        let at = u32::try_from(self.nodes.len()).map_err(|_| "there are too many directories")?;
        self.nodes.push(node);
        let new = || Entry { mode: Mode::Directory, id: Sha1Git::NULL, node: NONE };
        self.nodes[parent as usize].entries.entry(key.into()).or_insert_with(new).node = at;
        Ok(at)
    }

    /// Takes a directory apart.
    fn open(&mut self, kept: Option<u32>, mut node: Node) -> Result<Node, String> {
        node.kept = kept;
        if let Some(kept) = kept {
            node.bytes = self.bytes(kept);
        }
        for entry in object::tree_entries(&node.bytes) {
            let entry = entry.map_err(|error| error.to_string())?;
            let mode = Mode::read(entry.mode).ok_or("a directory has an entry of another mode")?;
            let key = if mode == Mode::Directory { folder(entry.name) } else { entry.name.into() };
            node.entries.insert(key, Entry { mode, id: entry.id, node: NONE });
        }
        self.held += 1 + node.entries.len();
        Ok(node)
    }

    /// Puts a directory together, those below it being done.
    fn finish_node(&mut self, at: u32) -> Result<(), String> {
        let node = &mut self.nodes[at as usize];
        node.is_dirty = false;
        let bytes = node.encode();
        let (parent, key) = (node.parent, node.key.clone());
        if let Some(above) = self.nodes.get_mut(parent as usize) {
            if above.entries.get(&key).is_none_or(|entry| entry.node != at) {
                return Ok(()); // It went away with a directory above it.
            }
            if bytes.is_empty() {
                above.entries.remove(&key);
                return Ok(());
            }
        }
        check_tree(&bytes)?;
        let id = object::hash(ObjectType::Tree, &bytes).map_err(|error| error.to_string())?;
        let kept = match self.by_id.get(&id) {
            Some(&kept) => kept,
            None => self.keep(id, at, &bytes)?,
        };
        let node = &mut self.nodes[at as usize];
        (node.kept, node.bytes) = (Some(kept), bytes);
        if let Some(entry) = self.nodes.get_mut(parent as usize).and_then(|above| above.entries.get_mut(&key)) {
            entry.id = id;
        }
        Ok(())
    }

    /// Keeps the tree `bytes` that became of `node`.
    fn keep(&mut self, id: Sha1Git, node: u32, bytes: &[u8]) -> Result<u32, String> {
        let number = u32::try_from(self.kept.len()).ok().filter(|&number| number != NONE);
        let number = number.ok_or("there are too many directories")?;
        let node = &self.nodes[node as usize];
        let mut kept = Kept { id, base: NONE, prefix: 0, suffix: 0, depth: 0, middle: Box::default() };
        if let Some(base) = node.kept
            && self.kept[base as usize].depth < MAX_DEPTH
        {
            let prefix = common(node.bytes.iter(), bytes.iter());
            let suffix = common(node.bytes[prefix..].iter().rev(), bytes[prefix..].iter().rev());
            let middle = &bytes[prefix..bytes.len() - suffix];
            if middle.len() < bytes.len() / 2 {
                let short = |length| u32::try_from(length).map_err(|_| "a directory is too large");
                (kept.prefix, kept.suffix, kept.middle) = (short(prefix)?, short(suffix)?, middle.into());
                (kept.base, kept.depth) = (base, self.kept[base as usize].depth + 1);
            }
        }
        if kept.base == NONE {
            kept.middle = bytes.into();
        }
        self.kept.push(kept);
        self.by_id.insert(id, number);
        Ok(number)
    }

    /// The content of a directory that is done.
    fn bytes(&self, number: u32) -> Vec<u8> {
        let mut chain = vec![&self.kept[number as usize]];
        while let Some(last) = chain.last().filter(|last| last.base != NONE) {
            chain.push(&self.kept[last.base as usize]);
        }
        let mut bytes = Vec::new();
        for kept in chain.into_iter().rev() {
            let (prefix, suffix) = (kept.prefix as usize, bytes.len() - kept.suffix as usize);
            bytes = [&bytes[..prefix], &kept.middle, &bytes[suffix..]].concat();
        }
        bytes
    }
}

impl Node {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 64);
        for (key, entry) in &self.entries {
            let name = if entry.mode == Mode::Directory { &key[..key.len() - 1] } else { key };
            for part in [entry.mode.digits(), b" ", name, b"\0", entry.id.as_bytes()] {
                bytes.extend_from_slice(part);
            }
        }
        bytes
    }
}

const NOT_THERE: &str = "a path goes away that is not there";

fn folder(name: &[u8]) -> Box<[u8]> {
    [name, b"/"].concat().into()
}

fn common<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that comes with one commit and goes with the next is held empty, and counts.
    #[test]
    fn what_is_held_is_never_more_than_is_counted() {
        let (mut trees, mut tree) = (Trees::default(), None);
        for round in 0..200 {
            let path = format!("{round}/x/y").into_bytes();
            trees.begin(tree).unwrap();
            trees.set(&path, Mode::File, Sha1Git::from_bytes([7; 20])).unwrap();
            let with = trees.finish().unwrap().0;
            trees.begin(Some(with)).unwrap();
            trees.remove(&path).unwrap();
            tree = Some(trees.finish().unwrap().0);
            let entries: usize = trees.nodes.iter().map(|node| node.entries.len()).sum();
            assert!(trees.nodes.len() > round && trees.held >= trees.nodes.len() + entries, "{}", trees.held);
        }
        trees.held = MAX_HELD + 1;
        trees.begin(tree).unwrap();
        trees.finish().unwrap();
        assert!(trees.nodes.is_empty() && trees.held == 0);
    }
}
