//! A zip: its directory, which stands at its end, and the content of every entry with its CRC-32.

use super::{Blobs, Bounded, Members, StructureError, content, magic};
use crate::archiver::tree::Mode;
use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, CreatorSystem, ErrorKind, ReaderAt, ZipLocator};
use std::io::{BufReader, Read};

const BUFFER: usize = 1 << 16;

/// Reads a zip of `size` bytes through.
pub fn read_zip(
    input: impl ReaderAt,
    size: u64,
    max_unpacked: u64,
    blobs: &mut dyn Blobs,
) -> Result<Members, StructureError> {
    let mut buffer = vec![0; BUFFER];
    begins(&input, size)?;
    let archive = ZipLocator::new().locate_in_reader(input, &mut buffer, size).map_err(|(_, error)| {
        match error.kind() {
            // Its end is what is looked for, and its beginning is there.
            ErrorKind::MissingEndOfCentralDirectory | ErrorKind::Eof => StructureError::CutShort,
            _ => refused(error),
        }
    })?;
    if archive.end_offset() != size {
        return Err(malformed("something follows the end of the zip"));
    }
    let mut members = Members::default();
    let (mut left, mut piece) = (max_unpacked, vec![0; BUFFER]);
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(refused)? {
        let path = entry.file_path().as_bytes().to_vec();
        let mode = entry.mode();
        let unix = entry.version_made_by().creator_system() == CreatorSystem::UNIX;
        let (method, length) = (entry.compression_method(), entry.uncompressed_size_hint());
        let found = archive.get_entry(entry.wayfinder()).map_err(refused)?;
        let raw = BufReader::with_capacity(BUFFER, found.reader());
        let unpacked: Box<dyn Read + '_> = match method {
            CompressionMethod::STORE => Box::new(raw),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(raw)),
            _ => return Err(malformed("an entry of the zip is packed in an unknown way")),
        };
        let mut unpacked = found.verifying_reader(Bounded { inner: unpacked, most: max_unpacked, left });
        left = left.checked_sub(length).ok_or(StructureError::TooLarge(max_unpacked))?;
        let id = content(&mut unpacked, length, &mut piece, blobs).map_err(in_entry)?;
        // The check comes with the end.
        if unpacked.read(&mut [0]).map_err(|error| in_entry(error.into()))? != 0 {
            return Err(StructureError::Damaged("an entry of the zip is longer than it says".to_owned()));
        }
        let kind = mode.value() & 0o170_000;
        match (path.ends_with(b"/"), unix, kind) {
            (true, ..) => members.directory(&path),
            (false, true, 0o120_000) => members.blob(&path, Mode::Symlink, id),
            (false, true, 0o100_000 | 0) if mode.value() & 0o100 != 0 => members.blob(&path, Mode::Executable, id),
            (false, true, 0o100_000 | 0) | (false, false, _) => members.blob(&path, Mode::File, id),
            (false, true, _) => members.refuse("it has device files"),
        }
    }
    Ok(members)
}

/// Whether it begins as a zip does: with an entry, or with the end of an empty one.
fn begins(input: &impl ReaderAt, size: u64) -> Result<(), StructureError> {
    let mut start = vec![0; usize::try_from(size).map_or(magic::ENOUGH, |size| size.min(magic::ENOUGH))];
    input.read_exact_at(&mut start, 0)?;
    if magic::ZIP.iter().any(|magic| start.starts_with(magic)) {
        return Ok(());
    }
    if start.is_empty() {
        return Err(StructureError::Empty);
    }
    if magic::ZIP.iter().any(|magic| magic.starts_with(&start)) {
        return Err(StructureError::CutShort);
    }
    Err(StructureError::Malformed(match magic::name(&start) {
        Some(what) => format!("it is {what} and not a zip"),
        None => "it does not begin as a zip does".to_owned(),
    }))
}

/// The zip is there to its end, so what an entry lacks was lost within it.
fn in_entry(error: StructureError) -> StructureError {
    match error {
        StructureError::CutShort => StructureError::Damaged("an entry of the zip ends too early".to_owned()),
        error => error,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn refused(error: rawzip::Error) -> StructureError {
    match error.kind() {
        ErrorKind::IO(io) if io.get_ref().is_none() && io.raw_os_error().is_some() => {
            StructureError::Read(std::io::Error::new(io.kind(), io.to_string()))
        }
        ErrorKind::Eof
        | ErrorKind::IO(_)
        | ErrorKind::InvalidSignature { .. }
        | ErrorKind::InvalidChecksum { .. }
        | ErrorKind::InvalidSize { .. } => StructureError::Damaged(error.to_string()),
        _ => StructureError::Malformed(error.to_string()),
    }
}

fn malformed(what: &str) -> StructureError {
    StructureError::Malformed(what.to_owned())
}
