//! Reading an archive through: every checksum, every header, to the last byte. What does not read so
//! is no archive, whatever its status and name said. Pure: works on what it is given to read.
//!
//! Bounded: memory does not grow with the archive but by the names in it (`tree`) and by what a decoder
//! holds, [`MAX_WINDOW`] at most; what it unpacks to is counted, so that a small file cannot be a large
//! one for ever.
//!
//! **Reasons.** What is wrong with it is told apart by what another try could mend: bytes that were
//! damaged or cut on the way, or by whoever packed them, may be whole the next time; an archive of
//! another form will not.

mod ahead;
mod magic;
#[cfg(test)]
mod packers;
mod tar;
mod unpack;
mod zip;

use super::tree::Members;
use crate::archive::object::{Hasher, ObjectType};
use crate::key::Sha1Git;
use std::io::{self, BufRead, Read};
use unpack::{Packer, Unpacked};

pub use unpack::MAX_WINDOW;
pub use zip::read_zip;

/// The suffixes of archives that can be read.
pub const SUFFIXES: [&str; 8] = ["tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz", "tar", "zip"];

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A tar in gzip (RFC 1952).
    TarGz,
    /// A tar in bzip2.
    TarBz2,
    /// A tar in xz (the format's document, version 1.2).
    TarXz,
    /// A tar in zstd (RFC 8878).
    TarZst,
    /// A tar in lzip (the format's chapter of its manual).
    TarLz,
    /// A tar.
    Tar,
    /// A zip, which is read from its end: see [`read_zip`].
    Zip,
}

impl Packing {
    /// What a suffix says, of [`SUFFIXES`].
    #[must_use]
    pub fn of(suffix: &str) -> Option<Self> {
        match suffix {
            "tar.gz" | "tgz" => Some(Self::TarGz),
            "tar.bz2" => Some(Self::TarBz2),
            "tar.xz" => Some(Self::TarXz),
            "tar.zst" => Some(Self::TarZst),
            "tar.lz" => Some(Self::TarLz),
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
    /// There are none.
    #[error("it is empty")]
    Empty,
    /// They are not of the form.
    #[error("{0}")]
    Malformed(String),
    /// They are of the form, and a check in them fails.
    #[error("{0}")]
    Damaged(String),
    /// They end too early.
    #[error("it ends too early")]
    CutShort,
    /// They unpack to more than may be.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// To be unpacked they need more memory than this.
    #[error("more than {0} bytes of memory are needed to unpack it")]
    NeedsMemory(u64),
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
    let packer = match packing {
        Packing::TarGz => Packer::Gzip,
        Packing::TarBz2 => Packer::Bzip2,
        Packing::TarXz => Packer::Xz,
        Packing::TarZst => Packer::Zstd,
        Packing::TarLz => Packer::Lzip,
        Packing::Tar => return tar::read(&mut Bounded::new(input, max_unpacked), false, blobs),
        Packing::Zip => return Err(StructureError::Malformed("a zip is not read as a stream".to_owned())),
    };
    let mut input = Bounded::new(Unpacked::new(packer, input)?, max_unpacked);
    tar::read(&mut input, true, blobs).map_err(|error| match error {
        StructureError::Malformed(_) | StructureError::CutShort => undamaged(input, error),
        error => error,
    })
}

/// What a tar says that was packed, if what it was packed in is whole; else what is wrong with that.
fn undamaged(mut input: impl Read, error: StructureError) -> StructureError {
    match io::copy(&mut input, &mut io::sink()).map_err(StructureError::from) {
        Err(outer @ (StructureError::Damaged(_) | StructureError::CutShort | StructureError::Read(_))) => outer,
        Ok(_) | Err(_) => error,
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
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| StructureError::TooLarge(self.most).carried())?;
        Ok(n)
    }
}

/// Goes through readers inside an `io::Error`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Carried(StructureError);

impl StructureError {
    fn carried(self) -> io::Error {
        io::Error::other(Carried(self))
    }
}

impl From<io::Error> for StructureError {
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<Carried>() {
            Ok(Carried(error)) => return error,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::CutShort,
            // What decoders say of bytes that they cannot decode.
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Self::Damaged(error.to_string()),
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
