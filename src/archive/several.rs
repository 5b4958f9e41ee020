//! Several archives as one: each is asked in turn, until one has the object.

use super::packed::Place;
use super::{Archive, ArchiveError, Header, ObjectType, Reader};
use crate::key::Sha1Git;
use std::io::Write;
use std::sync::Arc;

/// Archives in the order in which they are asked.
pub struct Several(Vec<Arc<dyn Archive>>);

impl Several {
    /// These archives as one.
    #[must_use]
    pub fn new(archives: Vec<Arc<dyn Archive>>) -> Self {
        Self(archives)
    }
}

impl Archive for Several {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(Readers(self.0.iter().map(|archive| archive.reader()).collect()))
    }

    fn stamp(&self, id: &Sha1Git) -> u64 {
        // Any change of any of them changes it, but for an accident that an absence outlives by seconds.
        self.0.iter().fold(0, |all, archive| all.rotate_left(7).wrapping_mul(31).wrapping_add(archive.stamp(id)))
    }
}

struct Readers(Vec<Box<dyn Reader>>);

impl Readers {
    fn first<T>(
        &mut self,
        mut ask: impl FnMut(&mut dyn Reader) -> Result<Option<T>, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        for reader in &mut self.0 {
            if let Some(found) = ask(&mut **reader)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Reader for Readers {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        self.first(|reader| reader.header(id))
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.first(|reader| reader.find(id, buf))
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn Write) -> Result<Option<Header>, ArchiveError> {
        self.first(|reader| reader.stream(id, sink))
    }

    fn widen(&mut self) {
        for reader in &mut self.0 {
            reader.widen();
        }
    }

    fn place(&mut self, id: &Sha1Git) -> Result<Option<Place>, ArchiveError> {
        self.first(|reader| reader.place(id))
    }

    fn peek(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.first(|reader| reader.peek(id, buf))
    }
}
