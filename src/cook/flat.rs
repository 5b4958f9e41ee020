//! The walk: from a tree to the members of a flat bundle, in git's order, depth first.
//!
//! Owns every check on the shape of a tree that a bundle needs (the names and the order in one
//! directory are `archive::object`'s), and the count of the bundle's size, which is complete before
//! a content is read: a tree that would expand to more than `max_size` is refused by sizes alone.
//! Holds the trees from the root down to where it is, and no content but symlinks' targets.

use super::error::CookError;
use super::form::Cut;
use super::measure;
use super::objects::{Objects, Refused};
use super::pipeline::Halt;
use super::remembered::Listing;
use super::root::Root;
use super::segment::Job;
use super::tarball::{self, Member, Node};
use super::{Cooked, Order};
use crate::archive::object::{self, EntryKind};
use crate::key::Sha1Git;
use std::sync::Arc;

/// The id of the empty content.
const EMPTY: Sha1Git = Sha1Git::from_bytes([
    0xe6, 0x9d, 0xe2, 0x9b, 0xb2, 0xd1, 0xd6, 0x43, 0x4b, 0x8b, 0x29, 0xae, 0x77, 0x5a, 0xd8, 0xc2, 0xe4, 0x8c, 0x53,
    0x91,
]);
/// Bytes of a path below `source/`, a directory's without its last `/`. This bounds the depth too:
/// the path of a directory 2,049 deep has 4,097 bytes at least.
const MAX_PATH: usize = 4095;
/// Bytes of the trees that are held at once, from the root down.
const MAX_HELD: usize = 128 << 20;
/// From this size of the stream on it is worth a look whether the whole can be within `max_size`.
const MEASURE_AT: u64 = 64 << 20;

/// The walk's result: the bundle's figures and its number of units.
pub(super) struct Walked {
    pub(super) cooked: Cooked,
    pub(super) units: u64,
}

/// Walks the tree and gives its units, in order, to `emit`.
pub(super) fn walk(order: &Order<'_>, emit: &mut dyn FnMut(Job) -> Result<(), Halt>) -> Result<Walked, Halt> {
    let mut walk = Walk {
        order,
        objects: Objects::new(order.archive.reader(), order.remembered, order.control),
        cut: Cut::new(order.format),
        emit,
        path: tarball::TOP.to_vec(),
        head: Vec::new(),
        stack: Vec::new(),
        held: 0,
        size: tarball::TRAILER as u64,
        members: 0,
        measured: false,
    };
    walk.run()?;
    let cooked = Cooked { tar_size: walk.size, members: walk.members, ..Cooked::default() };
    Ok(Walked { cooked, units: walk.cut.units() })
}

struct Walk<'a> {
    order: &'a Order<'a>,
    objects: Objects<'a>,
    cut: Cut,
    emit: &'a mut dyn FnMut(Job) -> Result<(), Halt>,
    /// The member's name under way, from `source/` on.
    path: Vec<u8>,
    head: Vec<u8>,
    stack: Vec<Frame>,
    held: usize,
    /// Bytes of the tar stream so far, its end included.
    size: u64,
    members: u64,
    measured: bool,
}

/// A directory under way.
struct Frame {
    listing: Arc<Listing>,
    /// Where its next entry starts.
    at: usize,
    /// Number of its next entry.
    number: usize,
    /// Length of its name in `path`, the `/` included.
    path: usize,
}

/// An entry, free of the tree it was read from.
struct Entry {
    kind: EntryKind,
    id: Sha1Git,
    /// The mode's bytes in the tree, `listing.tree[mode]`.
    mode: std::ops::Range<usize>,
    /// Of a file.
    size: u64,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), Halt> {
        self.open_root()?;
        while let Some(entry) = self.next_entry()? {
            self.objects.check_stop()?;
            match entry.kind {
                EntryKind::Directory => self.directory(&entry)?,
                EntryKind::Gitlink => self.folder(&entry, Node::Gitlink)?,
                EntryKind::Symlink => self.symlink(&entry)?,
                EntryKind::File { executable } => self.file(&entry, executable)?,
            }
            self.flush()?;
            if self.size > MEASURE_AT && !self.measured {
                self.measured = true;
                measure::refuse_oversized(self.order, &mut self.objects)?;
            }
        }
        self.cut.end();
        self.flush()
    }

    /// `source/` itself.
    fn open_root(&mut self) -> Result<(), CookError> {
        let listing = match self.order.root {
            Root::Directory(id) => self.objects.open(&id),
            Root::File(id) => {
                let tree = [&b"100644 "[..], id.to_string().as_bytes(), b"\0", id.as_bytes()].concat();
                self.objects.listed(&id, &tree).map(Arc::new)
            }
        };
        let listing = listing.map_err(|refused| self.said(refused))?;
        // Its id does not show in its header.
        let id = match self.order.root {
            Root::Directory(id) | Root::File(id) => id,
        };
        let top = Member { name: tarball::TOP, node: Node::Directory, raw_mode: b"40000", id: &id };
        self.pass(&top)?;
        self.push(listing)
    }

    /// Steps to the next entry, down the stack when directories end; its name is then in `path`.
    fn next_entry(&mut self) -> Result<Option<Entry>, CookError> {
        while let Some(frame) = self.stack.last_mut() {
            self.path.truncate(frame.path);
            let Some(entry) = object::tree_entries(&frame.listing.tree[frame.at..]).next() else {
                self.held -= frame.listing.tree.len();
                self.stack.pop();
                continue;
            };
            let entry = entry.map_err(|error| CookError::hostile(&self.path, error.to_string()))?;
            let mode = frame.at..frame.at + entry.mode.len();
            frame.at += entry.mode.len() + entry.name.len() + 22;
            let size = frame.listing.sizes[frame.number];
            frame.number += 1;
            self.path.extend_from_slice(entry.name);
            if self.path.len() - tarball::TOP.len() > MAX_PATH {
                return Err(self.refused(format!("a path in it has over {MAX_PATH} bytes")));
            }
            return Ok(Some(Entry { kind: entry.kind, id: entry.id, mode, size }));
        }
        Ok(None)
    }

    fn directory(&mut self, entry: &Entry) -> Result<(), CookError> {
        self.folder(entry, Node::Directory)?;
        match self.objects.open(&entry.id) {
            Ok(listing) => self.push(listing),
            Err(Refused::Cook(error)) => Err(error),
            Err(Refused::Hostile(reason)) => Err(CookError::hostile(&self.path, reason)),
        }
    }

    /// Goes down into the directory at `path`.
    fn push(&mut self, listing: Arc<Listing>) -> Result<(), CookError> {
        self.held += listing.tree.len();
        if self.held > MAX_HELD {
            return Err(CookError::TooLarge { reason: format!("nested trees of over {MAX_HELD} bytes") });
        }
        self.stack.push(Frame { listing, at: 0, number: 0, path: self.path.len() });
        Ok(())
    }

    /// A member without content, whose name ends in `/`.
    fn folder(&mut self, entry: &Entry, node: Node<'_>) -> Result<(), CookError> {
        self.path.push(b'/');
        self.member(entry, node)
    }

    fn symlink(&mut self, entry: &Entry) -> Result<(), CookError> {
        let target = self.objects.target(&entry.id).map_err(|refused| self.said(refused))?;
        self.member(entry, Node::Symlink { target: &target })
    }

    fn file(&mut self, entry: &Entry, executable: bool) -> Result<(), CookError> {
        self.objects.note(&entry.id)?;
        if entry.size == 0 && entry.id != EMPTY {
            // Nothing of it would be read, and so nothing hashed.
            return Err(CookError::Corrupt { id: entry.id, reason: "it is not empty, as its archive says".to_owned() });
        }
        self.member(entry, Node::File { executable, size: entry.size })
    }

    /// Counts the member at `path`, and passes it on.
    fn member(&mut self, entry: &Entry, node: Node<'_>) -> Result<(), CookError> {
        let frame = self.stack.last().expect("because the entry is of the last directory");
        let (listing, path) = (Arc::clone(&frame.listing), std::mem::take(&mut self.path));
        let raw_mode = &listing.tree[entry.mode.clone()];
        let counted = self.pass(&Member { name: &path, node, raw_mode, id: &entry.id });
        self.path = path;
        counted
    }

    fn pass(&mut self, member: &Member<'_>) -> Result<(), CookError> {
        self.head.clear();
        tarball::write_headers(member, &mut self.head);
        self.count(if let Node::File { size, .. } = member.node { size } else { 0 })?;
        self.cut.member(member, &self.head);
        Ok(())
    }

    /// Counts a member of `self.head` and `size` bytes, before anything of its size is allocated.
    fn count(&mut self, size: u64) -> Result<(), CookError> {
        let max_size = self.order.max_size.min(measure::MOST);
        self.size = self.size.saturating_add(self.head.len() as u64).saturating_add(measure::padded(size));
        if self.size > max_size {
            return Err(measure::oversized(max_size));
        }
        self.members += 1;
        self.order.control.set_found(self.size);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Halt> {
        self.cut.take_ready().try_for_each(|job| (self.emit)(job))
    }

    /// Why an object of the directory under way cannot be in a bundle.
    fn said(&self, refused: Refused) -> CookError {
        match refused {
            Refused::Cook(error) => error,
            Refused::Hostile(reason) => self.refused(reason),
        }
    }

    /// The directory under way is refused.
    fn refused(&self, reason: String) -> CookError {
        let end = self.stack.last().map_or(self.path.len(), |frame| frame.path);
        CookError::hostile(&self.path[..end], reason)
    }
}

/// A content whose bytes are not as many as the archive said before.
pub(super) fn same_size(id: &Sha1Git, found: u64, said: u64) -> Result<(), CookError> {
    if found == said {
        return Ok(());
    }
    Err(CookError::Corrupt { id: *id, reason: format!("it has {found} bytes, and the archive said {said}") })
}
