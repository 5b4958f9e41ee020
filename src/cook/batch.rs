//! Where a zip is cut into work: small members by the batch, a large file into units. Pure.
//!
//! The counterpart of `segment`. Batches do not show in the bytes, for each member is deflated by
//! itself: they spare the threads a meeting for each small file, and they are what other zips share. So
//! they are cut as the segments of a tar are, by what the members are, and counted from there.

use super::segment::{Job, Large, T, UNIT, ends_segment};
use super::segments::Known;
use super::tarball::{Member, Node, TRAILER, padding};
use super::zip::{Entry, Figures};
use crate::key::Sha1Git;

/// Members that one worker makes together, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) index: u64,
    pub(crate) items: Vec<Item>,
    /// What these members take in a tar: sizes are counted so in every format.
    pub(crate) tar: u64,
    pub(crate) known: Known,
}

/// A member and where its content is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    pub(crate) body: Body,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Here: nothing, or a symlink's target.
    Stored(Vec<u8>),
    /// The content of this id, to be deflated.
    Content(Sha1Git),
}

/// What a unit is in a zip.
#[derive(Debug)]
pub(crate) enum Role {
    /// Whole members, and their figures.
    Batch(Vec<(Entry, Figures)>),
    /// The first piece of this large file.
    First(Entry),
    Middle,
    /// Its last piece.
    Last,
}

/// Cuts a stream of members.
#[derive(Default)]
pub(crate) struct Batcher {
    batch: Batch,
    /// Bytes of content and headers in it.
    len: u64,
    next: u64,
    ready: Vec<Job>,
}

impl Batcher {
    /// A member, and the bytes of its headers in a tar.
    pub(crate) fn member(&mut self, member: &Member<'_>, head: usize) {
        let entry = Entry::new(member);
        let content = if let Node::File { size, .. } = member.node { size } else { 0 };
        let tar = (head + padding(content)) as u64;
        if content >= T {
            self.end_batch();
        }
        if entry.is_streamed() {
            let large = Large {
                first: self.next,
                head: Vec::new(),
                id: *member.id,
                size: content,
                zip: Some((entry, tar)),
                known: Vec::new(),
            };
            self.next += large.units();
            self.ready.push(Job::Large(large));
            return;
        }
        let len = content + entry.local_len() as u64;
        if self.len + len > UNIT as u64 {
            self.end_batch();
        }
        let may_end = matches!(member.node, Node::File { .. } | Node::Symlink { .. });
        let ends = may_end && ends_segment(member.id, entry.size);
        let body = match member.node {
            Node::Symlink { target } => Body::Stored(target.to_vec()),
            Node::File { .. } if content > 0 => Body::Content(*member.id),
            _ => Body::Stored(Vec::new()),
        };
        self.batch.items.push(Item { entry, body });
        self.batch.tar += tar + content;
        self.len += len;
        if ends {
            self.end_batch();
        }
    }

    /// What would end a tar counts too.
    pub(crate) fn end(&mut self) {
        self.end_batch();
        self.batch.tar += TRAILER as u64;
        self.end_batch();
    }

    /// The jobs cut since the last call, in order.
    pub(crate) fn take_ready(&mut self) -> std::vec::Drain<'_, Job> {
        self.ready.drain(..)
    }

    /// Number of units cut so far.
    pub(crate) fn units(&self) -> u64 {
        self.next
    }

    fn end_batch(&mut self) {
        if self.batch.tar > 0 {
            let batch = std::mem::take(&mut self.batch);
            self.ready.push(Job::Batch(Batch { index: self.next, ..batch }));
            self.next += 1;
            self.len = 0;
        }
    }
}
