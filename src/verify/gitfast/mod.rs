//! A strict reader of the fast-import stream that larder writes, and of no other.
//!
//! Does what fast-import would do and hashes every object: contents, directories, commits, tags.
//! Every line has one spelling and every object must be led to, so a byte that changes is an error
//! here or changes an id that a ref leads to. What is held for each object is bounded ([`trees`]
//! says how for directories), and any one structure by [`MAX_STRUCTURE`].

mod import;
mod lines;
mod trees;

use super::gunzip::Gunzip;
use super::source::Source as _;
use super::units::Units;
use super::{History, Seen, VerifyError};
use import::Import;
use std::io::{self, Read};

#[cfg(doc)]
use crate::archive::MAX_STRUCTURE;

/// The refs of a `gitfast.gz` bundle, the ids of all objects recomputed from its bytes. A stream has
/// no HEAD.
///
/// Memory grows with the number of objects: about 60 bytes for each, and about 200 for each directory
/// that a commit changes.
///
/// ```
/// assert!(larder::verify::gitfast(&b"feature done\ndone\n"[..]).is_err(), "it is not in gzip");
/// ```
pub fn gitfast(input: impl Read) -> Result<History, VerifyError> {
    ids(input, &mut |_| {})
}

/// The same, `seen` being told the id of each object in it.
pub(super) fn ids(input: impl Read, seen: Seen<'_>) -> Result<History, VerifyError> {
    let mut cut = Cut { gunzip: Gunzip::new(input), units: Units::default(), fault: None };
    let found = Import::new(&mut cut).run(seen);
    match cut.fault.take().or_else(|| cut.gunzip.fault()) {
        Some(fault) => Err(fault),
        None => found,
    }
}

/// The stream out of its gzip, cut into units on the way, each of which is deflated again.
struct Cut<R> {
    gunzip: Gunzip<R>,
    units: Units,
    fault: Option<VerifyError>,
}

impl<R: Read> Read for Cut<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let given = self.gunzip.read(out)?;
        let Self { gunzip, units, .. } = self;
        let passed = if given == 0 && !out.is_empty() {
            units.cut(|unit| gunzip.unit(unit)).and_then(|()| gunzip.end())
        } else {
            units.pass(&out[..given], |unit| gunzip.unit(unit))
        };
        passed.map(|()| given).map_err(|fault| {
            self.fault = Some(fault);
            io::Error::from(io::ErrorKind::InvalidData)
        })
    }
}
