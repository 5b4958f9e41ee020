//! Several archives as one: each is asked in turn, until one has the object. One that cannot be read
//! keeps no other from being asked.

use super::packed::Place;
use super::{Archive, ArchiveError, Header, ObjectType, Reader};
use crate::key::Sha1Git;
use std::io::{self, Write};
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
        let mut failed = None;
        for reader in &mut self.0 {
            match ask(&mut **reader) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                // Another may have it. Without it, it cannot be said that none has.
                Err(error @ (ArchiveError::Io { .. } | ArchiveError::Corrupt { .. })) => {
                    failed = failed.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        failed.map_or(Ok(None), Err)
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
        let mut begun = Begun { sink, begun: false };
        self.first(|reader| {
            if begun.begun {
                // What the sink has cannot be taken back.
                return Ok(None);
            }
            reader.stream(id, &mut begun)
        })
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

    fn peek_all(&mut self, id: &Sha1Git, most: u64, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        self.first(|reader| reader.peek_all(id, most, buf))
    }
}

/// Notes whether anything was written.
struct Begun<'a> {
    sink: &'a mut dyn Write,
    begun: bool,
}

impl Write for Begun<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun = true;
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has one blob, of which it may write some and then fail.
    #[derive(Clone, Copy)]
    enum One {
        Has(&'static [u8]),
        Nothing,
        Fails(&'static [u8]),
    }

    impl Archive for One {
        fn reader(&self) -> Box<dyn Reader> {
            Box::new(*self)
        }

        fn stamp(&self, _: &Sha1Git) -> u64 {
            0
        }
    }

    impl Reader for One {
        fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
            self.stream(id, &mut io::sink())
        }

        fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
            buf.clear();
            Ok(self.stream(id, buf)?.map(|header| header.object_type))
        }

        fn stream(&mut self, _: &Sha1Git, sink: &mut dyn Write) -> Result<Option<Header>, ArchiveError> {
            let (One::Has(bytes) | One::Fails(bytes)) = *self else { return Ok(None) };
            sink.write_all(bytes).map_err(ArchiveError::Sink)?;
            match *self {
                One::Fails(_) => {
                    Err(ArchiveError::Io { action: "read".to_owned(), cause: io::ErrorKind::TimedOut.into() })
                }
                _ => Ok(Some(Header { object_type: ObjectType::Blob, size: bytes.len() as u64 })),
            }
        }
    }

    fn ask(archives: &[One]) -> (Result<Option<Header>, ArchiveError>, Vec<u8>) {
        let archives = archives.iter().map(|one| Arc::new(*one) as Arc<dyn Archive>).collect();
        let mut written = Vec::new();
        let answer = Several::new(archives).reader().stream(&Sha1Git::NULL, &mut written);
        (answer, written)
    }

    #[test]
    fn an_archive_that_fails_hides_no_other_and_makes_no_absence() {
        let found = |answer: (Result<Option<Header>, _>, Vec<u8>)| answer.0.unwrap().map(|_| answer.1);
        assert_eq!(found(ask(&[One::Nothing, One::Has(b"x")])), Some(b"x".to_vec()));
        assert_eq!(found(ask(&[One::Fails(b""), One::Has(b"x")])), Some(b"x".to_vec()));
        assert_eq!(found(ask(&[One::Nothing, One::Nothing])), None);
        for archives in [[One::Fails(b""), One::Nothing], [One::Nothing, One::Fails(b"")]] {
            assert!(ask(&archives).0.is_err());
        }
    }

    #[test]
    fn nothing_follows_the_half_of_a_blob() {
        let (answer, written) = ask(&[One::Fails(b"half"), One::Has(b"whole")]);
        assert!(answer.is_err());
        assert_eq!(written, b"half");
    }
}
