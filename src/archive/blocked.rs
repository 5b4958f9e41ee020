//! An archive that keeps some of its objects to itself. Owns the one gate that every read of an
//! object passes; which objects are blocked it is told by a [`Blocks`].
//!
//! A [`Reader`] method that this file does not pass on would go around the gate: whoever adds one to
//! the trait adds it here.

use super::{Archive, ArchiveError, Header, ObjectType, Place, Reader};
use crate::key::Sha1Git;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

/// Which objects are blocked.
pub trait Blocks: Send + Sync {
    /// Whether this one is. Asked for each object that is read: it must cost next to nothing.
    fn is_blocked(&self, id: &Sha1Git) -> bool;
}

/// An archive without what is blocked.
pub struct BlockedArchive {
    /// Held for a clone of what is in it, never while another lock is taken.
    inner: RwLock<Arc<dyn Archive>>,
    blocks: Arc<dyn Blocks>,
}

impl BlockedArchive {
    /// `inner` without what `blocks` names.
    #[must_use]
    pub fn new(inner: Arc<dyn Archive>, blocks: Arc<dyn Blocks>) -> Self {
        Self { inner: RwLock::new(inner), blocks }
    }

    /// Another archive in place of the one within. Readers that there are keep the old one.
    pub fn replace(&self, inner: Arc<dyn Archive>) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = inner;
    }

    fn inner(&self) -> Arc<dyn Archive> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Archive for BlockedArchive {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(BlockedReader { inner: self.inner().reader(), blocks: Arc::clone(&self.blocks) })
    }

    fn stamp(&self, id: &Sha1Git) -> u64 {
        self.inner().stamp(id)
    }
}

struct BlockedReader {
    inner: Box<dyn Reader>,
    blocks: Arc<dyn Blocks>,
}

impl BlockedReader {
    fn pass(&self, id: &Sha1Git) -> Result<(), ArchiveError> {
        if self.blocks.is_blocked(id) { Err(ArchiveError::Blocked { id: *id }) } else { Ok(()) }
    }
}

impl Reader for BlockedReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        self.pass(id)?;
        self.inner.header(id)
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.pass(id)?;
        self.inner.find(id, buf)
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        self.pass(id)?;
        self.inner.stream(id, sink)
    }

    fn note(&mut self, id: &Sha1Git) -> Result<(), ArchiveError> {
        self.pass(id)?;
        self.inner.note(id)
    }

    fn widen(&mut self) {
        self.inner.widen();
    }

    fn place(&mut self, id: &Sha1Git) -> Result<Option<Place>, ArchiveError> {
        self.pass(id)?;
        self.inner.place(id)
    }

    fn peek(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.pass(id)?;
        self.inner.peek(id, buf)
    }

    fn peek_all(&mut self, id: &Sha1Git, most: u64, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.pass(id)?;
        self.inner.peek_all(id, most, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Everything;

    impl Archive for Everything {
        fn reader(&self) -> Box<dyn Reader> {
            Box::new(Self)
        }

        fn stamp(&self, _: &Sha1Git) -> u64 {
            0
        }
    }

    impl Reader for Everything {
        fn header(&mut self, _: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
            Ok(Some(Header { object_type: ObjectType::Blob, size: 0 }))
        }

        fn find(&mut self, _: &Sha1Git, _: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
            Ok(Some(ObjectType::Blob))
        }

        fn stream(&mut self, id: &Sha1Git, _: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
            self.header(id)
        }
    }

    struct One(Sha1Git);

    impl Blocks for One {
        fn is_blocked(&self, id: &Sha1Git) -> bool {
            *id == self.0
        }
    }

    #[test]
    fn no_way_of_reading_leads_to_what_is_blocked() {
        let (blocked, free) = (Sha1Git::from_bytes([1; 20]), Sha1Git::from_bytes([2; 20]));
        let archive = BlockedArchive::new(Arc::new(Everything), Arc::new(One(blocked)));
        let mut reader = archive.reader();
        let refused =
            |error: Option<ArchiveError>| matches!(error, Some(ArchiveError::Blocked { id }) if id == blocked);
        assert!(refused(reader.header(&blocked).err()));
        assert!(refused(reader.note(&blocked).err()));
        assert!(refused(reader.place(&blocked).err()));
        assert!(refused(reader.peek(&blocked, &mut Vec::new()).err()));
        assert!(refused(reader.peek_all(&blocked, 1, &mut Vec::new()).err()));
        assert!(refused(reader.find(&blocked, &mut Vec::new()).err()));
        assert!(refused(reader.stream(&blocked, &mut io::sink()).err()));
        assert!(reader.header(&free).unwrap().is_some());
        assert!(reader.find(&free, &mut Vec::new()).unwrap().is_some());
        assert!(reader.stream(&free, &mut io::sink()).unwrap().is_some());
    }
}
