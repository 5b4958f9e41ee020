//! A worker: copies what others have made (`copy`), or reads what a job names, checks it against what was said
//! of it, deflates it. The order of things and all waiting are the pipeline's.

use super::Order;
use super::batch::{Batch, Body, Item, Role};
use super::copy::Copier;
use super::deflate::End;
use super::error::CookError;
use super::flat::same_size;
use super::form::Coder;
use super::pipeline::{Halt, Made, Pipeline, Raw, Task};
use super::planner::unit_length;
use super::root::same_type;
use super::segment::{Job, Large, Part, UNIT, Unit};
use super::segments::Name;
use super::zip::Figures;
use crate::archive::{ArchiveError, ObjectType, Reader};
use crate::key::Sha1Git;
use crate::segment::{self, MOST_PACKED, Provenance, Segment, Written};
use std::io;

/// One thread's worker.
pub(super) struct Worker<'a> {
    reader: Box<dyn Reader>,
    /// A whole content.
    content: Vec<u8>,
    copier: Copier<'a>,
    maker: Maker<'a>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(pipeline: &'a Pipeline, order: &'a Order<'a>) -> Self {
        let maker = Maker { pipeline, order, coder: Coder::new(order.format), unit: pipeline.buffer() };
        let copier = Copier { pipeline, segments: order.segments };
        Self { reader: order.archive.reader(), content: Vec::new(), copier, maker }
    }

    /// Works until the cook ends.
    pub(super) fn run(mut self) -> Result<(), Halt> {
        loop {
            let task = self.maker.pipeline.take()?;
            self.maker.check_stop()?;
            match task {
                Task::Handed(raw) => self.maker.make_handed(raw),
                Task::Job(Job::Unit(unit)) => self.unit(&unit),
                Task::Job(Job::Batch(batch)) => self.batch(batch),
                Task::Job(Job::Large(large)) => self.large(&large)?,
            }
        }
    }

    fn unit(&mut self, unit: &Unit) {
        if let Some(made) = self.copier.unit(&unit.known, unit.len as u64) {
            return self.maker.pipeline.put(unit.index, Ok(made));
        }
        match self.fill(unit) {
            Ok(()) => self.maker.make(unit.index, None, 0, unit.known.name()),
            Err(error) => self.maker.pipeline.put(unit.index, Err(error)),
        }
    }

    /// Reads the parts of `unit`.
    fn fill(&mut self, unit: &Unit) -> Result<(), CookError> {
        let bytes = &mut self.maker.unit;
        bytes.clear();
        let mut heads = &unit.heads[..];
        for part in &unit.parts {
            match *part {
                Part::Head(len) => {
                    let (head, rest) = heads.split_at(len);
                    bytes.extend_from_slice(head);
                    heads = rest;
                }
                Part::Zeros(len) => bytes.resize(bytes.len() + len, 0),
                Part::Content { id, size, from, to } => {
                    read(&mut *self.reader, &id, size, &mut self.content)?;
                    bytes.extend_from_slice(&self.content[from..to]);
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: Batch) {
        let (index, len, name) = (batch.index, batch.tar, batch.known.name());
        let batch = match self.copier.batch(batch) {
            Ok(made) => return self.maker.pipeline.put(index, Ok(made)),
            Err(batch) => batch,
        };
        let mut bytes = self.maker.pipeline.buffer();
        let mut members = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            match self.member(&item, &mut bytes) {
                Ok(figures) => members.push((item.entry, figures)),
                Err(error) => return self.maker.pipeline.put(index, Err(error)),
            }
        }
        let role = Some(Role::Batch(members));
        let written = name.and_then(|name| named(name, len, 0, &bytes));
        self.maker.pipeline.put(index, Ok(Made { bytes, raw: 0, len, crc: 0, role, written }));
    }

    /// Appends a small member of a zip: its local header and its content.
    fn member(&mut self, item: &Item, out: &mut Vec<u8>) -> Result<Figures, CookError> {
        let Item { entry, body } = item;
        let coded = &mut self.maker.unit;
        coded.clear();
        let crc = match body {
            Body::Stored(content) => {
                coded.extend_from_slice(content);
                crc32fast::hash(content)
            }
            Body::Content(id) => {
                read(&mut *self.reader, id, entry.size, &mut self.content)?;
                self.maker.coder.code(&self.content, End::Finish, coded)?
            }
        };
        let figures = Figures { crc, packed: coded.len() as u64 };
        entry.write_local(&figures, out);
        out.extend_from_slice(coded);
        Ok(figures)
    }

    /// Copies the units of a large file, from the first on for as long as they are to be had, and makes the
    /// others.
    fn large(&mut self, large: &Large) -> Result<(), Halt> {
        let copied = self.copy(large)?;
        if copied < large.units() { self.make_large(large, copied) } else { Ok(()) }
    }

    /// How many units it could copy: of a file of which one is missing, none.
    fn copy(&mut self, large: &Large) -> Result<u64, Halt> {
        if large.known.iter().any(|known| known.place.is_none()) {
            return Ok(0);
        }
        for (number, known) in large.known.iter().enumerate() {
            let index = large.first + number as u64;
            self.maker.await_turn(index)?;
            let Some(made) = self.copier.unit(known, unit_length(large, number)) else { return Ok(number as u64) };
            let is_last = number + 1 == large.known.len();
            let extra = large.zip.as_ref().filter(|_| is_last).map_or(0, |(_, tar)| *tar);
            let made = Made { role: role(large, index), len: made.raw + extra, ..made };
            self.maker.pipeline.put(index, Ok(made));
        }
        Ok(large.known.len() as u64)
    }

    /// Makes the units of a large file but the first `copied`, of which its content is only hashed.
    fn make_large(&mut self, large: &Large, copied: u64) -> Result<(), Halt> {
        self.maker.unit.clear();
        self.maker.unit.extend_from_slice(&large.head);
        let mut spill = Spill { maker: &mut self.maker, large, copied, index: large.first, written: 0, halt: None };
        let streamed = self.reader.stream(&large.id, &mut spill);
        let Spill { index, written, halt, .. } = spill;
        let ended = match (halt, streamed) {
            (Some(halt), _) => Err(halt),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(None)) => Err(CookError::Missing { id: large.id }.into()),
            (None, Ok(Some(_))) => same_size(&large.id, written, large.size).map_err(Halt::from),
        };
        match ended {
            // The last unit waits for the content's hash, which is known only now.
            Ok(()) => {
                let len = self.maker.unit.len() + large.padding();
                self.maker.unit.resize(len, 0);
                let extra = large.zip.as_ref().map_or(0, |(_, tar)| *tar);
                self.maker.make_admitted(index, role(large, index), extra, name(large, index))
            }
            Err(Halt::Failed(error @ CookError::Cancelled(_))) => Err(error.into()),
            Err(Halt::Failed(error)) => {
                self.maker.pipeline.put(index.max(large.first + copied), Err(error));
                Ok(())
            }
            Err(Halt::Over) => Err(Halt::Over),
        }
    }
}

/// What the unit `index` of a large file is in a zip.
fn role(large: &Large, index: u64) -> Option<Role> {
    let (entry, _) = large.zip.as_ref()?;
    Some(match index - large.first {
        0 => Role::First(entry.clone()),
        number if number + 1 == large.units() => Role::Last,
        _ => Role::Middle,
    })
}

/// And as a segment.
fn name(large: &Large, index: u64) -> Option<Name> {
    large.known.get(usize::try_from(index - large.first).ok()?)?.name_among()
}

/// What was just made, as a segment that others may copy, if it is worth that.
fn named(Name { key, least }: Name, length: u64, crc: u32, bytes: &[u8]) -> Option<Written> {
    let (length, packed) = (u32::try_from(length).ok()?, u32::try_from(bytes.len()).ok()?);
    if !(least..=MOST_PACKED).contains(&packed) {
        return None;
    }
    let checksum = segment::checksum(&key, length, crc, bytes);
    let segment = Segment { key, start: 0, packed, length, crc, checksum };
    Some(Written { segment, provenance: Provenance::Made })
}

/// Makes units of bytes.
struct Maker<'a> {
    pipeline: &'a Pipeline,
    order: &'a Order<'a>,
    coder: Coder,
    /// The unit being filled.
    unit: Vec<u8>,
}

impl Maker<'_> {
    /// Makes the unit `index` of `self.unit`, which is empty then.
    fn make(&mut self, index: u64, role: Option<Role>, extra: u64, name: Option<Name>) {
        let bytes = std::mem::take(&mut self.unit);
        self.unit = self.make_raw(Raw { index, bytes, role, extra, name });
    }

    /// The same for one whose turn may not have come, or that another worker has time for.
    fn make_admitted(&mut self, index: u64, role: Option<Role>, extra: u64, name: Option<Name>) -> Result<(), Halt> {
        self.await_turn(index)?;
        if matches!(self.coder, Coder::Plain) {
            self.make(index, role, extra, name);
            return Ok(());
        }
        let raw = Raw { index, bytes: std::mem::take(&mut self.unit), role, extra, name };
        self.unit = match self.pipeline.hand(raw) {
            Ok(buffer) => buffer,
            Err(raw) => self.make_raw(raw),
        };
        Ok(())
    }

    /// Waits until the unit `index` may be begun, and makes what was handed over meanwhile.
    fn await_turn(&mut self, index: u64) -> Result<(), Halt> {
        self.check_stop()?;
        while let Some(raw) = self.pipeline.admit(index)? {
            self.make_handed(raw);
        }
        Ok(())
    }

    fn make_handed(&mut self, raw: Raw) {
        let buffer = self.make_raw(raw);
        self.pipeline.give_back(buffer);
    }

    /// Makes a unit and gives an empty buffer for another.
    fn make_raw(&mut self, unit: Raw) -> Vec<u8> {
        let Raw { index, mut bytes, role, extra, name } = unit;
        let raw = bytes.len() as u64;
        let len = raw + extra;
        let mut other = self.pipeline.buffer();
        if matches!(self.coder, Coder::Plain) {
            let written = name.and_then(|name| named(name, raw, 0, &bytes));
            self.pipeline.put(index, Ok(Made { bytes, raw, len, crc: 0, role, written }));
            return other;
        }
        let end = if matches!(role, Some(Role::Last)) { End::Finish } else { End::Flush };
        let made = match self.coder.code(&bytes, end, &mut other) {
            Ok(crc) => {
                let written = name.and_then(|name| named(name, raw, crc, &other));
                Ok(Made { bytes: other, raw, len, crc, role, written })
            }
            Err(error) => Err(error.into()),
        };
        self.pipeline.put(index, made);
        bytes.clear();
        bytes
    }

    fn check_stop(&self) -> Result<(), Halt> {
        self.order.control.cancelled().map_or(Ok(()), |reason| Err(CookError::Cancelled(reason).into()))
    }
}

/// Takes a large file's content in pieces and cuts it into units.
struct Spill<'m, 'a> {
    maker: &'m mut Maker<'a>,
    large: &'m Large,
    /// So many of its units are there already.
    copied: u64,
    /// Number of the unit being filled.
    index: u64,
    /// Bytes of the content so far.
    written: u64,
    halt: Option<Halt>,
}

impl io::Write for Spill<'_, '_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.written += piece.len() as u64;
        let Err(halt) = self.spill(piece) else { return Ok(piece.len()) };
        self.halt = Some(halt);
        Err(io::Error::other("the cook is over"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Spill<'_, '_> {
    fn spill(&mut self, mut piece: &[u8]) -> Result<(), Halt> {
        if self.written > self.large.size {
            return Err(more_than_said(&self.large.id, self.large.size).into());
        }
        while !piece.is_empty() {
            // A full unit goes only when another byte has come: the last one must wait.
            if self.maker.unit.len() == UNIT {
                if self.index < self.large.first + self.copied {
                    self.maker.unit.clear();
                } else {
                    let (large, index) = (self.large, self.index);
                    self.maker.make_admitted(index, role(large, index), 0, name(large, index))?;
                }
                self.index += 1;
            }
            let (now, later) = piece.split_at(piece.len().min(UNIT - self.maker.unit.len()));
            self.maker.unit.extend_from_slice(now);
            piece = later;
        }
        Ok(())
    }
}

/// Reads a whole content of which the archive said this size.
fn read(reader: &mut dyn Reader, id: &Sha1Git, size: u64, content: &mut Vec<u8>) -> Result<(), CookError> {
    let found = reader.find(id, content)?.ok_or(CookError::Missing { id: *id })?;
    same_type(id, found, ObjectType::Blob)?;
    same_size(id, content.len() as u64, size)
}

fn more_than_said(id: &Sha1Git, said: u64) -> ArchiveError {
    ArchiveError::Corrupt { id: *id, reason: format!("it has more than the {said} bytes that the archive said") }
}
