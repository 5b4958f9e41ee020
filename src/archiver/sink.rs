//! Where a body goes: into a draft, while the archive in it is read to its end. Blocking; runs on a
//! thread of its own beside the download and pulls from it, so that neither runs ahead of the other by
//! more than a few pieces.

use super::structure::{self, Packing, StructureError};
use super::tree::Top;
use crate::admission::Reservation;
use crate::archive::ObjectType;
use crate::archive::object::Hasher;
use crate::bundles::Bundles;
use crate::key::Sha1Git;
use crate::store::Sealed;
use crate::task::{Directory, Fault, FaultCode};
use bytes::{Buf, Bytes};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// What the download gives.
pub(super) enum Piece {
    /// The next bytes.
    Bytes(Bytes),
    /// The body has ended as it should. Without this it has not.
    End,
}

/// What was taken in: whole, and an archive.
pub(super) struct TakenIn {
    pub(super) sealed: Sealed,
    pub(super) content: Sha1Git,
    pub(super) directory: Result<Directory, String>,
}

/// What is taken in, and how much of it at most.
pub(super) struct Expected {
    pub(super) packing: Packing,
    pub(super) top: Top,
    pub(super) max_size: u64,
    pub(super) max_unpacked: u64,
    /// Whether the answer told where its body ends, by a length or in chunks: else it ends where the
    /// connection does, for whatever reason.
    pub(super) is_framed: bool,
}

/// Takes a body in. `None` when the download gave up; it knows why.
pub(super) fn take_in(
    bundles: &Bundles,
    reservation: &mut Reservation,
    expected: &Expected,
    pieces: mpsc::Receiver<Piece>,
    counter: Arc<AtomicU64>,
) -> Result<Option<TakenIn>, Fault> {
    match try_take_in(bundles, reservation, expected, pieces, counter) {
        Ok(taken) => Ok(Some(taken)),
        Err(StructureError::Read(error)) if is::<GaveUp>(&error) => Ok(None),
        Err(StructureError::Empty) if !expected.is_framed => Err(fault(&StructureError::CutShort)),
        Err(error) => Err(fault(&error)),
    }
}

fn try_take_in(
    bundles: &Bundles,
    reservation: &mut Reservation,
    expected: &Expected,
    pieces: mpsc::Receiver<Piece>,
    counter: Arc<AtomicU64>,
) -> Result<TakenIn, StructureError> {
    let mut draft = bundles.draft().map_err(StructureError::Read)?;
    let mut members = None;
    {
        let mut out = reservation.writing(&mut draft);
        let mut inflow =
            Inflow { pieces, out: &mut out, held: Bytes::new(), ended: false, left: expected.max_size, counter };
        if expected.packing != Packing::Zip {
            members = Some(structure::read_tar(expected.packing, &mut inflow, expected.max_unpacked, &mut ())?);
        }
        // A zip is read from its end; of a tar nothing is left.
        io::copy(&mut inflow, &mut io::sink())?;
    }
    let sealed = draft.seal().map_err(StructureError::Read)?;
    let size = sealed.facts().size;
    let mut members = if let Some(members) = members {
        members
    } else {
        let file = rawzip::FileReader::from(sealed.open().map_err(StructureError::Read)?);
        structure::read_zip(file, size, expected.max_unpacked, &mut ())?
    };
    let content = blob_id(sealed.open().map_err(StructureError::Read)?, size)?;
    Ok(TakenIn { sealed, content, directory: members.tree(expected.top, |_, _| {}) })
}

/// The id of a file's bytes. Their number comes before them in what is hashed, and an upstream rarely
/// says it, so this cannot be done while they come.
pub(super) fn blob_id(mut file: File, size: u64) -> Result<Sha1Git, StructureError> {
    let (mut hasher, mut buffer) = (Hasher::new(ObjectType::Blob, size), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer).map_err(StructureError::Read)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    hasher.finish().map_err(|collision| StructureError::Malformed(collision.to_string()))
}

/// The body as something to read; what is read is in the draft.
struct Inflow<'a> {
    pieces: mpsc::Receiver<Piece>,
    out: &'a mut dyn Write,
    held: Bytes,
    ended: bool,
    left: u64,
    counter: Arc<AtomicU64>,
}

impl BufRead for Inflow<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.held.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    let size = bytes.len() as u64;
                    self.left = self.left.checked_sub(size).ok_or_else(|| io::Error::other(TooLong))?;
                    self.out.write_all(&bytes).map_err(|error| io::Error::other(NotWritten(error)))?;
                    self.counter.fetch_add(size, Ordering::Relaxed);
                    self.held = bytes;
                }
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::other(GaveUp)),
            }
        }
        Ok(&self.held)
    }

    fn consume(&mut self, amount: usize) {
        self.held.advance(amount);
    }
}

impl Read for Inflow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the download gave up")]
struct GaveUp;

#[derive(Debug, thiserror::Error)]
#[error("the archive is too large")]
struct TooLong;

/// Kept apart from what decoders say of their input.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct NotWritten(io::Error);

fn is<E: std::error::Error + 'static>(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<E>()).is_some()
}

fn fault(error: &StructureError) -> Fault {
    match error {
        StructureError::Empty => {
            Fault::new(FaultCode::NotAnArchive, "What the upstream sent is not an archive: it is empty.")
        }
        StructureError::Malformed(what) => Fault::new(
            FaultCode::NotAnArchive,
            format!("What the upstream sent is not an archive of this suffix: {what}."),
        ),
        StructureError::Damaged(what) => Fault::new(FaultCode::Damaged, format!("The archive is damaged: {what}.")),
        StructureError::CutShort => {
            Fault::new(FaultCode::CutShort, "The archive ends before it is whole, though the answer seemed to be.")
        }
        StructureError::TooLarge(most) => {
            Fault::new(FaultCode::TooLarge, format!("The archive unpacks to more than {most} bytes."))
        }
        StructureError::NeedsMemory(most) => Fault::new(
            FaultCode::TooLarge,
            format!("The archive needs more than {most} bytes of memory to be unpacked."),
        ),
        StructureError::Read(error) if is::<TooLong>(error) => too_large(),
        StructureError::Read(error) => {
            let error = error.get_ref().and_then(|inner| inner.downcast_ref()).map_or(error, |NotWritten(inner)| inner);
            if error.kind() == io::ErrorKind::StorageFull {
                tracing::warn!(%error, "a fetch was refused");
                return Fault::new(FaultCode::NoSpace, "There is no room for the archive.");
            }
            tracing::error!(%error, "cannot keep what is fetched");
            Fault::new(FaultCode::Io, "The archive could not be kept.")
        }
    }
}

/// The archive is over `max_size`.
pub(super) fn too_large() -> Fault {
    Fault::new(FaultCode::TooLarge, "The archive is larger than its source allows.")
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
