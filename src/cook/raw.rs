//! The bundle of a content: its bytes, nothing else.

use super::control::Control;
use super::error::CookError;
use super::flat::same_size;
use super::root::same_type;
use super::{Cooked, measure};
use crate::archive::{Archive, ObjectType};
use crate::key::Sha1Git;
use std::io::{self, Write};

/// Writes the content `id` to `out`, in one pass and in bounded memory.
///
/// # Errors
/// What `out` was given is then worthless: whether the bytes have the id is known only at the end.
pub fn raw(
    archive: &dyn Archive,
    id: &Sha1Git,
    max_size: u64,
    control: &Control,
    out: &mut dyn Write,
) -> Result<Cooked, CookError> {
    let mut reader = archive.reader();
    let header = reader.header(id)?.ok_or(CookError::Missing { id: *id })?;
    same_type(id, header.object_type, ObjectType::Blob)?;
    let max_size = max_size.min(measure::MOST);
    if header.size > max_size {
        return Err(CookError::TooLarge { reason: format!("the content has more than {max_size} bytes") });
    }
    control.set_found(header.size);
    control.set_found_all();
    let mut sink = Sink { out, control, size: header.size, written: 0 };
    let streamed = reader.stream(id, &mut sink);
    let written = sink.written;
    if let Some(reason) = control.cancelled() {
        return Err(CookError::Cancelled(reason));
    }
    if written <= header.size {
        streamed?.ok_or(CookError::Missing { id: *id })?;
    }
    same_size(id, written, header.size)?;
    Ok(Cooked { tar_size: written, members: 1, ..Cooked::default() })
}

/// Passes a content on until it is told to stop, or more comes than was said.
struct Sink<'a> {
    out: &'a mut dyn Write,
    control: &'a Control,
    size: u64,
    written: u64,
}

impl Write for Sink<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let written = self.written + piece.len() as u64;
        if self.control.cancelled().is_some() || written > self.size {
            self.written = written;
            return Err(io::Error::other("the cook is over"));
        }
        self.out.write_all(piece)?;
        self.written = written;
        self.control.add_done(piece.len() as u64);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
