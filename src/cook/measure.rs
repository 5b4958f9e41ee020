//! How large a bundle will be at least, without walking it: each tree is looked at once, however
//! often it is named. A few trees that name each other ten times over make billions of members;
//! the walk alone would meet `max_size` only after hours of cooking.

use super::Order;
use super::error::CookError;
use super::objects::Objects;
use super::remembered::Listing;
use super::root::Root;
use super::tarball::{self, BLOCK};
use crate::archive::object::{self, EntryKind};
use crate::key::Sha1Git;
use std::collections::HashMap;
use std::sync::Arc;

/// No bundle is larger, so that sizes can be added without a thought.
pub(super) const MOST: u64 = 1 << 62;
/// So many trees are remembered; a bomb needs few.
const MAX_TREES: usize = 1 << 18;

/// `size` bytes in whole blocks.
pub(super) fn padded(size: u64) -> u64 {
    size.saturating_add(tarball::padding(size) as u64)
}

/// The bundle has more than `limit` bytes.
pub(super) fn oversized(limit: u64) -> CookError {
    CookError::TooLarge { reason: format!("the tar has more than {limit} bytes") }
}

/// Refuses the order when its bundle is certain to be over `max_size`.
///
/// What cannot be read counts nothing: the walk will meet it and say more.
pub(super) fn refuse_oversized(order: &Order<'_>, objects: &mut Objects<'_>) -> Result<(), CookError> {
    let Root::Directory(root) = order.root else { return Ok(()) };
    let max_size = order.max_size.min(MOST);
    let mut known: HashMap<Sha1Git, u64> = HashMap::new();
    let mut stack = vec![Frame::open(root, objects)];
    while let Some(frame) = stack.last_mut() {
        if let Some(reason) = order.control.cancelled() {
            return Err(CookError::Cancelled(reason));
        }
        let wanted = frame.advance(&known, objects, max_size);
        if frame.size > max_size {
            return Err(oversized(max_size));
        }
        if let Some(tree) = wanted {
            // Deeper than any legal tree: the walk will say so.
            if stack.len() > MAX_FRAMES || known.len() >= MAX_TREES {
                return Ok(());
            }
            stack.push(Frame::open(tree, objects));
        } else if let Some(done) = stack.pop() {
            known.insert(done.id, done.size);
        }
    }
    Ok(())
}

/// Frames that are held at once: a legal tree needs no more.
const MAX_FRAMES: usize = 2050;

/// A tree being measured: its directories not yet known, and the size of all else.
struct Frame {
    id: Sha1Git,
    listing: Arc<Listing>,
    at: usize,
    /// Number of the entry at `at`.
    number: usize,
    size: u64,
}

impl Frame {
    fn open(id: Sha1Git, objects: &mut Objects<'_>) -> Self {
        Self { id, listing: objects.peek_tree(&id), at: 0, number: 0, size: 0 }
    }

    /// Adds up entries until one is a directory whose size is not known, which it gives; or until
    /// the end, or `limit`.
    fn advance(&mut self, known: &HashMap<Sha1Git, u64>, objects: &mut Objects<'_>, limit: u64) -> Option<Sha1Git> {
        while let Some(Ok(entry)) = object::tree_entries(&self.listing.tree[self.at..]).next() {
            let content = match entry.kind {
                EntryKind::Directory => match known.get(&entry.id) {
                    Some(&size) => size,
                    None => return Some(entry.id),
                },
                EntryKind::File { .. } => {
                    let size = self.listing.sizes.get(self.number).copied();
                    padded(size.unwrap_or_else(|| objects.peek_size(&entry.id)))
                }
                EntryKind::Symlink | EntryKind::Gitlink => 0,
            };
            self.at += entry.mode.len() + entry.name.len() + 22;
            self.number += 1;
            self.size = self.size.saturating_add(content).saturating_add(BLOCK as u64);
            if self.size > limit {
                return None;
            }
        }
        None
    }
}
