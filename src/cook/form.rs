//! What differs between the flat formats, in three places: how the walk's members are cut ([`Cut`]),
//! what a unit becomes ([`Coder`]), and what stands around and between units ([`Binding`]). All
//! else in a cook is the same, and asks for no format.

use super::batch::{Batcher, Role};
use super::deflate::{Deflater, End, Level};
use super::directory::Directory;
use super::error::CookError;
use super::gzip;
use super::join::Miscoded;
use super::pipeline::Made;
use super::segment::{Cutter, Job};
use super::tarball::Member;
use super::zstandard::Framer;
use crate::key::Flat;
use std::io::Write;
use std::path::Path;

/// Cuts members into jobs. One to an order, in the walk.
pub(super) enum Cut {
    Tar(Cutter),
    Zip(Batcher),
}

impl Cut {
    pub(super) fn new(format: Flat) -> Self {
        match format {
            Flat::Zip => Self::Zip(Batcher::default()),
            Flat::TarGz | Flat::Tar | Flat::TarZst => Self::Tar(Cutter::default()),
        }
    }

    /// A member and its header blocks in a tar.
    pub(super) fn member(&mut self, member: &Member<'_>, head: &[u8]) {
        match self {
            Self::Tar(cutter) => cutter.member(member, head),
            Self::Zip(batcher) => batcher.member(member, head.len()),
        }
    }

    /// Behind the last member.
    pub(super) fn end(&mut self) {
        match self {
            Self::Tar(cutter) => cutter.end(),
            Self::Zip(batcher) => batcher.end(),
        }
    }

    /// The jobs cut since the last call, in order.
    pub(super) fn take_ready(&mut self) -> std::vec::Drain<'_, Job> {
        match self {
            Self::Tar(cutter) => cutter.take_ready(),
            Self::Zip(batcher) => batcher.take_ready(),
        }
    }

    /// Number of units cut so far.
    pub(super) fn units(&self) -> u64 {
        match self {
            Self::Tar(cutter) => cutter.units(),
            Self::Zip(batcher) => batcher.units(),
        }
    }
}

/// Turns a unit's bytes into what is written of them. One to a worker.
pub(super) enum Coder {
    /// They are written as they are.
    Plain,
    /// Raw deflate, and the CRC-32 of what went in.
    Deflate(Deflater),
    /// A zstd frame.
    Frame(Framer),
}

impl Coder {
    pub(super) fn new(format: Flat) -> Self {
        match format {
            Flat::TarGz => Self::Deflate(Deflater::new(Level::Gzip)),
            Flat::Zip => Self::Deflate(Deflater::new(Level::Zip)),
            Flat::TarZst => Self::Frame(Framer::default()),
            Flat::Tar => Self::Plain,
        }
    }

    /// Writes the coded `unit` to the empty `out` and gives its CRC-32, where the format has one.
    pub(super) fn code(&mut self, unit: &[u8], end: End, out: &mut Vec<u8>) -> Result<u32, Miscoded> {
        match self {
            Self::Plain => out.extend_from_slice(unit),
            Self::Deflate(deflater) => {
                deflater.deflate(unit, end, out)?;
                return Ok(crc32fast::hash(unit));
            }
            Self::Frame(framer) => framer.frame(unit, out),
        }
        Ok(0)
    }
}

/// Writes units, in order, and what stands around them. One to an order, in the writer.
pub(super) enum Binding {
    Bare,
    Gzip(gzip::Sum),
    Zip(Box<Directory>),
}

impl Binding {
    pub(super) fn new(format: Flat, scratch: &Path) -> Self {
        match format {
            Flat::TarGz => Self::Gzip(gzip::Sum::default()),
            Flat::Zip => Self::Zip(Box::new(Directory::new(scratch))),
            Flat::Tar | Flat::TarZst => Self::Bare,
        }
    }

    pub(super) fn begin(&self, out: &mut dyn Write) -> Result<(), CookError> {
        match self {
            Self::Gzip(_) => out.write_all(&gzip::HEADER).map_err(CookError::Output),
            Self::Bare | Self::Zip(_) => Ok(()),
        }
    }

    pub(super) fn unit(&mut self, made: &Made, role: Option<Role>, out: &mut dyn Write) -> Result<(), CookError> {
        match self {
            Self::Bare => {}
            Self::Gzip(sum) => sum.add(made.crc, made.len),
            Self::Zip(directory) => {
                let role = role.expect("because every unit of a zip has one");
                return directory.unit(made, role, out).map_err(CookError::Output);
            }
        }
        out.write_all(&made.bytes).map_err(CookError::Output)
    }

    pub(super) fn end(self, out: &mut dyn Write) -> Result<(), CookError> {
        let written = match self {
            Self::Bare => Ok(()),
            Self::Gzip(sum) => out.write_all(&gzip::END).and_then(|()| out.write_all(&sum.trailer())),
            Self::Zip(directory) => directory.write(out),
        };
        written.map_err(CookError::Output)
    }
}
