//! What the walk reads: through the memory of earlier cooks where there is one.
//!
//! What comes from memory is noted all the same (`Reader::note`), so that a blocked object stops a cook
//! that does not read it, and a cook knows what it has met.

use super::control::Control;
use super::error::CookError;
use super::remembered::{Listing, Remembered};
use super::root::same_type;
use crate::archive::object::{self, EntryKind, TreeEntry};
use crate::archive::{ObjectType, Reader};
use crate::key::Sha1Git;
use std::sync::Arc;

/// Bytes of a symlink's target.
pub(super) const MAX_TARGET: u64 = 4095;

pub(super) struct Objects<'a> {
    reader: Box<dyn Reader>,
    remembered: Option<&'a Remembered>,
    control: &'a Control,
    buf: Vec<u8>,
}

/// A tree that cannot stand in a flat bundle, or a symlink.
pub(super) enum Refused {
    Cook(CookError),
    /// Of its directory, for this reason.
    Hostile(String),
}

impl<E: Into<CookError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Cook(error.into())
    }
}

impl<'a> Objects<'a> {
    pub(super) fn new(reader: Box<dyn Reader>, remembered: Option<&'a Remembered>, control: &'a Control) -> Self {
        Self { reader, remembered, control, buf: Vec::new() }
    }

    /// The tree of a directory, whose entries may stand in a flat bundle.
    pub(super) fn open(&mut self, id: &Sha1Git) -> Result<Arc<Listing>, Refused> {
        if let Some(listing) = self.remembered.and_then(|remembered| remembered.tree(id)) {
            self.reader.note(id)?;
            return Ok(listing);
        }
        let mut tree = std::mem::take(&mut self.buf);
        let found = self.reader.find(id, &mut tree)?.ok_or(CookError::Missing { id: *id })?;
        same_type(id, found, ObjectType::Tree)?;
        let listing = Arc::new(self.listed(id, &tree)?);
        self.buf = tree;
        if let Some(remembered) = self.remembered {
            remembered.put_tree(*id, &listing);
        }
        Ok(listing)
    }

    /// A tree, checked, with the sizes of what it names.
    pub(super) fn listed(&mut self, id: &Sha1Git, tree: &[u8]) -> Result<Listing, Refused> {
        let entries: Vec<TreeEntry<'_>> = object::tree_entries(tree)
            .collect::<Result<_, _>>()
            .map_err(|error| CookError::Corrupt { id: *id, reason: error.to_string() })?;
        object::check_flat(&entries).map_err(|error| Refused::Hostile(error.to_string()))?;
        Ok(Listing { tree: tree.into(), sizes: self.sizes(&entries)? })
    }

    fn sizes(&mut self, entries: &[TreeEntry<'_>]) -> Result<Box<[u64]>, CookError> {
        let is_file = |entry: &&TreeEntry<'_>| matches!(entry.kind, EntryKind::File { .. });
        let ids: Vec<Sha1Git> = entries.iter().filter(is_file).map(|entry| entry.id).collect();
        let mut known = match self.remembered {
            Some(remembered) => remembered.sizes(&ids),
            None => vec![None; ids.len()],
        };
        let mut learned = Vec::new();
        for (id, size) in ids.iter().zip(&mut known) {
            if size.is_none() {
                self.check_stop()?;
                *size = Some(self.size(id)?);
                learned.extend(size.map(|size| (*id, size)));
            }
        }
        if let Some(remembered) = self.remembered {
            remembered.put_sizes(&learned);
        }
        let mut sizes = known.into_iter();
        let size = |entry: &TreeEntry<'_>| if is_file(&entry) { sizes.next().flatten().unwrap_or(0) } else { 0 };
        Ok(entries.iter().map(size).collect())
    }

    /// As the archive says.
    fn size(&mut self, id: &Sha1Git) -> Result<u64, CookError> {
        let header = self.reader.header(id)?.ok_or(CookError::Missing { id: *id })?;
        same_type(id, header.object_type, ObjectType::Blob)?;
        Ok(header.size)
    }

    /// A symlink's target.
    pub(super) fn target(&mut self, id: &Sha1Git) -> Result<Arc<[u8]>, Refused> {
        if let Some(target) = self.remembered.and_then(|remembered| remembered.target(id)) {
            self.reader.note(id)?;
            return Ok(target);
        }
        let size = self.size(id)?;
        if size > MAX_TARGET {
            return Err(Refused::Hostile(format!("a symlink's target in it has over {MAX_TARGET} bytes")));
        }
        let found = self.reader.find(id, &mut self.buf)?.ok_or(CookError::Missing { id: *id })?;
        same_type(id, found, ObjectType::Blob)?;
        super::flat::same_size(id, self.buf.len() as u64, size)?;
        if self.buf.is_empty() || self.buf.contains(&0) {
            return Err(Refused::Hostile("a symlink's target in it is empty or has a NUL".to_owned()));
        }
        if let Some(remembered) = self.remembered {
            remembered.put_target(*id, &self.buf);
        }
        Ok(self.buf.as_slice().into())
    }

    /// Counts an object as read whose size was enough.
    pub(super) fn note(&mut self, id: &Sha1Git) -> Result<(), CookError> {
        Ok(self.reader.note(id)?)
    }

    pub(super) fn check_stop(&self) -> Result<(), CookError> {
        self.control.cancelled().map_or(Ok(()), |reason| Err(CookError::Cancelled(reason)))
    }

    /// A tree to be measured, with the sizes of its files where they are known. Empty when it cannot be read.
    pub(super) fn peek_tree(&mut self, id: &Sha1Git) -> Arc<Listing> {
        if let Some(listing) = self.remembered.and_then(|remembered| remembered.tree(id)) {
            return listing;
        }
        if !matches!(self.reader.find(id, &mut self.buf), Ok(Some(ObjectType::Tree))) {
            self.buf.clear();
        }
        Arc::new(Listing { tree: self.buf.as_slice().into(), sizes: Box::default() })
    }

    /// The size of a file to be measured; 0 when it cannot be had.
    pub(super) fn peek_size(&mut self, id: &Sha1Git) -> u64 {
        self.reader.header(id).ok().flatten().map_or(0, |header| header.size)
    }
}
