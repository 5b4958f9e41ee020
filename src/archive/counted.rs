//! An archive whose reads are counted, by what came of each. Changes nothing of what is read.
//!
//! A [`Reader`] method that this file does not pass on would be the trait's own, which may do more work than the
//! archive's: whoever adds one to the trait adds it here.

use super::{Archive, ArchiveError, Header, ObjectType, Place, Reader};
use crate::key::Sha1Git;
use crate::metrics::Reads;
use std::io;
use std::sync::Arc;

/// An archive that counts what it is asked for.
pub struct CountedArchive {
    inner: Arc<dyn Archive>,
    reads: Reads,
}

impl CountedArchive {
    /// `inner`, counting into `reads`.
    #[must_use]
    pub fn new(inner: Arc<dyn Archive>, reads: Reads) -> Self {
        Self { inner, reads }
    }
}

impl Archive for CountedArchive {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(CountedReader { inner: self.inner.reader(), reads: self.reads.clone() })
    }

    fn stamp(&self, id: &Sha1Git) -> u64 {
        self.inner.stamp(id)
    }
}

struct CountedReader {
    inner: Box<dyn Reader>,
    reads: Reads,
}

impl CountedReader {
    fn count<T>(&self, read: Result<Option<T>, ArchiveError>) -> Result<Option<T>, ArchiveError> {
        match &read {
            Ok(Some(_)) => drop(self.reads.found.inc()),
            Ok(None) => drop(self.reads.absent.inc()),
            Err(ArchiveError::Corrupt { .. }) => drop(self.reads.corrupt.inc()),
            Err(ArchiveError::TooLarge { .. }) => drop(self.reads.too_large.inc()),
            Err(ArchiveError::Io { .. }) => drop(self.reads.failed.inc()),
            // Neither says anything of the archive.
            Err(ArchiveError::Blocked { .. } | ArchiveError::Sink(_)) => {}
        }
        read
    }
}

impl Reader for CountedReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        let read = self.inner.header(id);
        self.count(read)
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let read = self.inner.find(id, buf);
        self.count(read)
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        let read = self.inner.stream(id, sink);
        self.count(read)
    }

    fn widen(&mut self) {
        self.inner.widen();
    }

    fn place(&mut self, id: &Sha1Git) -> Result<Option<Place>, ArchiveError> {
        let read = self.inner.place(id);
        self.count(read)
    }

    fn peek(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let read = self.inner.peek(id, buf);
        self.count(read)
    }

    fn peek_all(&mut self, id: &Sha1Git, most: u64, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let read = self.inner.peek_all(id, most, buf);
        self.count(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use prometheus_client::metrics::counter::Counter;

    /// Answers by the first byte of the id.
    struct Says;

    impl Archive for Says {
        fn reader(&self) -> Box<dyn Reader> {
            Box::new(Self)
        }

        fn stamp(&self, _: &Sha1Git) -> u64 {
            0
        }
    }

    impl Reader for Says {
        fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
            match id.as_bytes()[0] {
                0 => Ok(Some(Header { object_type: ObjectType::Blob, size: 0 })),
                1 => Ok(None),
                2 => Err(ArchiveError::Corrupt { id: *id, reason: String::new() }),
                3 => Err(ArchiveError::TooLarge { id: *id, size: 2, limit: 1 }),
                _ => Err(ArchiveError::Io { action: String::new(), cause: io::ErrorKind::Other.into() }),
            }
        }

        fn find(&mut self, id: &Sha1Git, _: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
            Ok(self.header(id)?.map(|header| header.object_type))
        }

        fn stream(&mut self, id: &Sha1Git, _: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
            self.header(id)
        }
    }

    #[test]
    fn every_way_of_reading_is_counted_once_by_what_came_of_it() {
        let reads = Metrics::default().reads();
        let archive = CountedArchive::new(Arc::new(Says), reads.clone());
        let mut reader = archive.reader();
        for first in 0..5 {
            let id = Sha1Git::from_bytes([first; 20]);
            let mut buf = Vec::new();
            let _ = reader.header(&id);
            let _ = reader.find(&id, &mut buf);
            let _ = reader.stream(&id, &mut io::sink());
            let _ = reader.place(&id);
            let _ = reader.peek(&id, &mut buf);
            let _ = reader.peek_all(&id, 1, &mut buf);
        }
        let counts = [&reads.found, &reads.absent, &reads.corrupt, &reads.too_large, &reads.failed];
        assert_eq!(counts.map(Counter::get), [6; 5]);
    }
}
