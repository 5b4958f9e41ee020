//! Reading an archive through: every checksum, every header, to the last byte. What does not read so
//! is no archive, whatever its status and name said. Pure: works on what it is given to read.
//!
//! Bounded: memory does not grow with the archive but by the names in it (`tree`), and what it unpacks
//! to is counted, so that a small file cannot be a large one for ever.

mod tar;
mod zip;

use super::tree::Members;
use crate::archive::object::{Hasher, ObjectType};
use crate::key::Sha1Git;
use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

pub use zip::read_zip;

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A tar in gzip.
    TarGz,
    /// A tar in bzip2.
    TarBz2,
    /// A tar.
    Tar,
    /// A zip, which is read from its end: see [`read_zip`].
    Zip,
}

impl Packing {
    /// What a suffix says, of those that a source may offer.
    #[must_use]
    pub fn of(suffix: &str) -> Option<Self> {
        match suffix {
            "tar.gz" | "tgz" => Some(Self::TarGz),
            "tar.bz2" => Some(Self::TarBz2),
            "tar" => Some(Self::Tar),
            "zip" => Some(Self::Zip),
            _ => None,
        }
    }
}

/// Takes the contents of members, when somebody wants more of them than their ids.
pub trait Blobs {
    /// The next bytes of a content.
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The content that was given since the last end has this id.
    fn end(&mut self, id: &Sha1Git);
}

/// Wants none.
impl Blobs for () {
    fn bytes(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &Sha1Git) {}
}

/// Why bytes are not an archive.
#[derive(Debug, thiserror::Error)]
pub enum StructureError {
    /// They are not of the form.
    #[error("{0}")]
    Malformed(String),
    /// They end too early.
    #[error("it ends too early")]
    CutShort,
    /// They unpack to more than may be.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// They could not be read, or what they hold could not be taken.
    #[error(transparent)]
    Read(io::Error),
}

/// Reads a tar through, packed as it is, to the end of `input`.
///
/// # Errors
/// [`StructureError::Malformed`] for a zip too: it is read by [`read_zip`].
pub fn read_tar(
    packing: Packing,
    input: impl BufRead,
    max_unpacked: u64,
    blobs: &mut dyn Blobs,
) -> Result<Members, StructureError> {
    match packing {
        Packing::TarGz => tar::read(Bounded::new(MultiGzDecoder::new(input), max_unpacked), blobs),
        Packing::TarBz2 => tar::read(Bounded::new(MultiBzDecoder::new(input), max_unpacked), blobs),
        Packing::Tar => tar::read(Bounded::new(input, max_unpacked), blobs),
        Packing::Zip => Err(StructureError::Malformed("a zip is not read as a stream".to_owned())),
    }
}

/// Reads and fails once there is more than may be.
struct Bounded<R> {
    inner: R,
    most: u64,
    left: u64,
}

impl<R: Read> Bounded<R> {
    fn new(inner: R, most: u64) -> Self {
        Self { inner, most, left: most }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other(Excess(self.most)))?;
        Ok(n)
    }
}

/// Carries the limit through `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error("it unpacks to more than {0} bytes")]
struct Excess(u64);

impl From<io::Error> for StructureError {
    fn from(error: io::Error) -> Self {
        if let Some(Excess(most)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Self::TooLarge(*most);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutShort,
            // What decoders say of bytes that they cannot decode.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Malformed(error.to_string()),
            _ => Self::Read(error),
        }
    }
}

/// Passes a content of `size` bytes on and gives its id.
fn content(
    input: &mut impl Read,
    size: u64,
    buffer: &mut [u8],
    blobs: &mut dyn Blobs,
) -> Result<Sha1Git, StructureError> {
    let mut hasher = Hasher::new(ObjectType::Blob, size);
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let n = input.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(StructureError::CutShort);
        }
        hasher.update(&buffer[..n]);
        blobs.bytes(&buffer[..n]).map_err(StructureError::Read)?;
        left -= n as u64;
    }
    let id = hasher.finish().map_err(|collision| StructureError::Malformed(collision.to_string()))?;
    blobs.end(&id);
    Ok(id)
}

#[cfg(test)]
#[path = "structure_tests.rs"]
mod tests;
