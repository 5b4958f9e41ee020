//! Which objects somebody asked an archive for. Owns the memory of it, whose size is fixed, and the
//! [`Archive`] that fills it; what the answer is good for it does not know.
//!
//! A [`Reader`] method that this file does not note would be forgotten: whoever adds one to the trait adds
//! it here.

use super::{Archive, ArchiveError, Header, ObjectType, Place, Reader};
use crate::key::Sha1Git;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a memory: a mebibyte.
const WORDS: usize = 1 << 17;

/// The ids of the objects asked for, as a Bloom filter: it forgets none, and takes one in a thousand others
/// for one of them after 400,000 ids, one in seven after two million.
#[derive(Debug)]
pub struct Met(Box<[AtomicU64]>);

impl Default for Met {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Met {
    /// Notes an object.
    pub fn insert(&self, id: &Sha1Git) {
        for (word, bit) in places(id) {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether an object was noted. `false` is certain, of what was noted before by this thread or by
    /// those it has waited for.
    #[must_use]
    pub fn may_hold(&self, id: &Sha1Git) -> bool {
        places(id).all(|(word, bit)| self.0[word].load(Ordering::Relaxed) & bit != 0)
    }
}

/// Four bits, each by four bytes of the id, which is a digest itself.
fn places(id: &Sha1Git) -> impl Iterator<Item = (usize, u64)> {
    id.as_bytes().as_chunks::<4>().0.iter().take(4).map(|bytes| {
        let number = u32::from_be_bytes(*bytes);
        (number as usize / 64 % WORDS, 1 << (number % 64))
    })
}

/// An archive that notes what it is asked for.
pub struct NotingArchive<'a> {
    inner: &'a dyn Archive,
    met: Arc<Met>,
}

impl<'a> NotingArchive<'a> {
    /// `inner`, with `met` told of each object asked for.
    #[must_use]
    pub fn new(inner: &'a dyn Archive, met: Arc<Met>) -> Self {
        Self { inner, met }
    }
}

impl Archive for NotingArchive<'_> {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(NotingReader { inner: self.inner.reader(), met: Arc::clone(&self.met) })
    }

    fn stamp(&self, id: &Sha1Git) -> u64 {
        self.inner.stamp(id)
    }
}

struct NotingReader {
    inner: Box<dyn Reader>,
    met: Arc<Met>,
}

impl Reader for NotingReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        self.met.insert(id);
        self.inner.header(id)
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.met.insert(id);
        self.inner.find(id, buf)
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        self.met.insert(id);
        self.inner.stream(id, sink)
    }

    fn note(&mut self, id: &Sha1Git) -> Result<(), ArchiveError> {
        self.met.insert(id);
        self.inner.note(id)
    }

    fn widen(&mut self) {
        self.inner.widen();
    }

    fn place(&mut self, id: &Sha1Git) -> Result<Option<Place>, ArchiveError> {
        self.met.insert(id);
        self.inner.place(id)
    }

    fn peek(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.met.insert(id);
        self.inner.peek(id, buf)
    }

    fn peek_all(&mut self, id: &Sha1Git, most: u64, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.met.insert(id);
        self.inner.peek_all(id, most, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::several::Several;

    fn id(number: u64) -> Sha1Git {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(&blake3::hash(&number.to_be_bytes()).as_bytes()[..20]);
        Sha1Git::from_bytes(bytes)
    }

    #[test]
    fn none_is_forgotten_and_few_others_are_taken_for_one_of_them() {
        let met = Met::default();
        (0..100_000).for_each(|number| met.insert(&id(number)));
        assert!((0..100_000).all(|number| met.may_hold(&id(number))));
        let mistaken = (100_000..200_000).filter(|number| met.may_hold(&id(*number))).count();
        assert!(mistaken < 100, "{mistaken} of 100,000");
    }

    #[test]
    fn every_way_of_reading_is_noted() {
        let (nothing, met) = (Several::new(Vec::new()), Arc::new(Met::default()));
        let archive = NotingArchive::new(&nothing, Arc::clone(&met));
        let mut reader = archive.reader();
        assert!(!(0..8).any(|number| met.may_hold(&id(number))));
        reader.header(&id(0)).unwrap();
        reader.find(&id(1), &mut Vec::new()).unwrap();
        reader.stream(&id(2), &mut io::sink()).unwrap();
        reader.place(&id(3)).unwrap();
        reader.peek(&id(4), &mut Vec::new()).unwrap();
        reader.peek_all(&id(5), 1, &mut Vec::new()).unwrap();
        reader.note(&id(6)).unwrap();
        assert_eq!((0..8).filter(|number| met.may_hold(&id(*number))).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }
}
