//! Trees as fast-import makes them, and what changes from one to another.
//!
//! fast-import keeps paths and makes the trees itself: in git's order, with the modes that git
//! writes, without empty directories. **Invariant: a tree that [`Trees`] gives is one that comes out
//! of that with its own bytes**, so a commit has its tree when its paths are right.

use super::language::MAX_PATH;
use super::structure;
use crate::archive::object::{self, EntryKind, TreeEntry};
use crate::archive::{ObjectType, Reader};
use crate::cook::error::CookError;
use crate::key::Sha1Git;
use lru::LruCache;
use std::cmp::Ordering;
use std::rc::Rc;

/// The id of the empty tree.
const EMPTY: Sha1Git = Sha1Git::from_bytes([
    0x4b, 0x82, 0x5d, 0xc6, 0x42, 0xcb, 0x6e, 0xb9, 0xa0, 0x60, 0xe5, 0x4b, 0xf8, 0xd6, 0x92, 0x88, 0xfb, 0xee, 0x49,
    0x04,
]);
/// Bytes of trees that are remembered.
const CAPACITY: usize = 32 << 20;

/// A difference between two trees.
pub(super) enum Change<'a> {
    /// The path, a directory with all in it too, is there no more.
    Gone(&'a [u8]),
    /// The path is this now: a file, a symlink or a gitlink.
    Set { path: &'a [u8], mode: &'a [u8], kind: EntryKind, id: Sha1Git },
}

/// Why a comparison ended early.
pub(super) enum Stop {
    /// As any cook fails.
    Failed(CookError),
    /// What fast-import cannot carry, and where.
    Unfit { directory: Vec<u8>, reason: String },
}

impl<E: Into<CookError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Reads trees, and remembers those read lately: the next commit is compared with the last one's.
pub(super) struct Trees {
    reader: Box<dyn Reader>,
    read: LruCache<Sha1Git, Rc<[u8]>>,
    held: usize,
}

/// A directory under way in both trees; either may be absent.
struct Pair {
    old: Cursor,
    new: Cursor,
    /// Length of its path, the `/` included.
    path: usize,
}

/// A place in a tree.
struct Cursor {
    tree: Rc<[u8]>,
    at: usize,
}

impl Trees {
    pub(super) fn new(reader: Box<dyn Reader>) -> Self {
        Self { reader, read: LruCache::unbounded(), held: 0 }
    }

    /// Calls `visit` for every difference, in the order of the trees.
    pub(super) fn compare(
        &mut self,
        old: Option<Sha1Git>,
        new: Sha1Git,
        visit: &mut dyn FnMut(Change<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut path = Vec::new();
        let mut stack = vec![self.pair(old, Some(new), &path)?];
        while let Some(pair) = stack.last_mut() {
            path.truncate(pair.path);
            // Two shared handles, so that the entries do not borrow the stack.
            let (old_tree, new_tree) = (pair.old.tree.clone(), pair.new.tree.clone());
            let (old, new) = (pair.old.peek(&old_tree), pair.new.peek(&new_tree));
            let order = match (&old, &new) {
                (None, None) => {
                    stack.pop();
                    continue;
                }
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(old), Some(new)) => old.git_order(new),
            };
            let old = old.filter(|_| order.is_le()).inspect(|entry| pair.old.step(entry));
            let new = new.filter(|_| order.is_ge()).inspect(|entry| pair.new.step(entry));
            let Some(name) = new.or(old).map(|entry| entry.name) else { continue };
            path.extend_from_slice(name);
            match (old, new) {
                (_, None) => visit(Change::Gone(&path))?,
                (Some(old), Some(new)) if old.id == new.id && old.mode == new.mode => {}
                (old, Some(new)) => {
                    if path.len() > MAX_PATH {
                        let reason = format!("it has a path of over {MAX_PATH} bytes");
                        return Err(Stop::Unfit { directory: path[..MAX_PATH].to_vec(), reason });
                    }
                    if new.kind == EntryKind::Directory {
                        path.push(b'/');
                        stack.push(self.pair(old.map(|old| old.id), Some(new.id), &path)?);
                    } else {
                        visit(Change::Set { path: &path, mode: new.mode, kind: new.kind, id: new.id })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pair(&mut self, old: Option<Sha1Git>, new: Option<Sha1Git>, path: &[u8]) -> Result<Pair, Stop> {
        let mut open = |id: Option<Sha1Git>| match id {
            Some(id) => self.get(&id, path).map(|tree| Cursor { tree, at: 0 }),
            None => Ok(Cursor { tree: Rc::from([]), at: 0 }),
        };
        Ok(Pair { old: open(old)?, new: open(new)?, path: path.len() })
    }

    fn get(&mut self, id: &Sha1Git, path: &[u8]) -> Result<Rc<[u8]>, Stop> {
        if let Some(tree) = self.read.get(id) {
            return Ok(tree.clone());
        }
        let content = structure::read(&mut *self.reader, *id, ObjectType::Tree)?;
        check(&content).map_err(|reason| Stop::Unfit { directory: path.to_vec(), reason })?;
        let tree: Rc<[u8]> = content.into();
        self.held += tree.len();
        self.read.put(*id, tree.clone());
        while self.held > CAPACITY {
            let Some((_, oldest)) = self.read.pop_lru() else { break };
            self.held -= oldest.len();
        }
        Ok(tree)
    }
}

impl Cursor {
    fn peek<'t>(&self, tree: &'t Rc<[u8]>) -> Option<TreeEntry<'t>> {
        object::tree_entries(&tree[self.at..]).next()?.ok()
    }

    fn step(&mut self, entry: &TreeEntry<'_>) {
        self.at += entry.mode.len() + entry.name.len() + 22;
    }
}

/// Whether fast-import would make a tree of the same bytes; if not, why.
pub(crate) fn check(content: &[u8]) -> Result<(), String> {
    let entries = object::tree_entries(content).collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    for entry in &entries {
        let refuse = |reason: &str| Err(format!("entry \"{}\": {reason}", super::commit::shown(entry.name)));
        if !entry.is_canonical() {
            return refuse(&format!("its mode is {}", entry.mode.escape_ascii()));
        }
        if entry.id == EMPTY && entry.kind == EntryKind::Directory {
            return refuse("it is an empty directory");
        }
        if entry.kind == EntryKind::Symlink && is_dotgitmodules(entry.name) {
            return refuse("it is a symlink by the name of .gitmodules");
        }
    }
    object::check_flat(&entries).map_err(|error| error.to_string())
}

/// Names that are `.gitmodules` on some filesystem; as a symlink git takes none of them since 2.48.
fn is_dotgitmodules(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let behind = |rest: &[u8]| match rest.iter().find(|byte| !matches!(byte, b' ' | b'.')) {
        None => true,
        Some(byte) => *byte == b':',
    };
    let short = |prefix: &[u8]| {
        let rest = name.strip_prefix(prefix)?;
        let (digit, rest) = rest.split_first()?;
        (digit.is_ascii_digit() && behind(rest)).then_some(())
    };
    name.strip_prefix(b".gitmodules").is_some_and(behind) || short(b"gitmod~").or(short(b"gi7eba~")).is_some()
}
