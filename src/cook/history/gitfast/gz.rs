//! A stream of bytes as one gzip member, deflated by several threads: cut into units of 1 MiB from
//! its start, each deflated alone, written in order (`docs/format.md`). Knows nothing of what the
//! stream says.
//!
//! # Threads
//! One makes the bytes, `threads` deflate, and the calling one writes. For each unit the maker puts
//! the place where it will be found into `places`, which is bounded, and only then the unit itself
//! into `work`, which is not: so memory is bounded by `places`, and nobody but the maker ever waits
//! for room. When the writer stops, `places` closes and the maker ends; when the maker ends, `work`
//! closes and the others end.

use crate::cook::control::Control;
use crate::cook::deflate::{Deflater, End, Level};
use crate::cook::error::CookError;
use crate::cook::join::Miscoded;
use crate::cook::{gzip, threads};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Bytes of a unit.
const UNIT: usize = 1 << 20;

/// Writes what `source` writes to `out`, and gives what it returned.
///
/// # Errors
/// That of `out` first, then that of `source`.
pub(super) fn write<T: Send>(
    (number, max_size, control): (usize, u64, &Control),
    out: &mut dyn Write,
    source: impl FnOnce(&mut Units<'_>) -> Result<T, CookError> + Send,
) -> Result<T, CookError> {
    let (to_work, work) = channel();
    let (to_places, places) = sync_channel(2 * number + 2);
    let work = &Mutex::new(work);
    thread::scope(|scope| {
        let maker = threads::start(scope, move || {
            let mut units =
                Units { unit: Vec::with_capacity(UNIT), written: 0, max_size, control, to_work, to_places, halt: None };
            let made = source(&mut units).and_then(|made| units.end().map(|()| made).map_err(CookError::Output));
            made.map_err(|error| units.halt.take().unwrap_or(error))
        })?;
        // One at least; without it `places` is dropped, and the maker ends.
        let first = threads::start(scope, || deflate(work))?;
        let others = threads::start_some(scope, number.max(1) - 1, || || deflate(work));
        let written = write_units(places, out, control);
        let made = maker.join();
        for worker in others.into_iter().chain([first]) {
            // One that panicked has left a place empty, which the writer has seen.
            let _ = worker.join();
        }
        let sum = written?;
        let made = made.map_err(|_| CookError::Panicked)??;
        out.write_all(&gzip::END).and_then(|()| out.write_all(&sum.trailer())).map_err(CookError::Output)?;
        Ok(made)
    })
}

/// A unit, and the place where it is awaited.
struct Raw {
    bytes: Vec<u8>,
    place: SyncSender<Result<Made, Miscoded>>,
}

struct Made {
    /// Deflated.
    unit: Vec<u8>,
    length: u64,
    crc: u32,
}

/// Where the stream is written.
pub(super) struct Units<'a> {
    unit: Vec<u8>,
    written: u64,
    max_size: u64,
    control: &'a Control,
    to_work: Sender<Raw>,
    to_places: SyncSender<Receiver<Result<Made, Miscoded>>>,
    /// Why nothing more is taken, when it is not the writer's fault.
    halt: Option<CookError>,
}

impl Units<'_> {
    /// Bytes of the stream so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Fails when `more` bytes would be too many, or the cook was called off.
    pub(super) fn admit(&self, more: u64) -> Result<(), CookError> {
        if let Some(reason) = self.control.cancelled() {
            return Err(CookError::Cancelled(reason));
        }
        if self.written.saturating_add(more) > self.max_size {
            let reason = format!("the stream has more than {} bytes", self.max_size);
            return Err(CookError::TooLarge { reason });
        }
        Ok(())
    }

    /// Hands the unit on.
    fn end(&mut self) -> io::Result<()> {
        if self.unit.is_empty() {
            return Ok(());
        }
        let (to_place, place) = sync_channel(1);
        self.to_places.send(place).map_err(|_| closed())?;
        let bytes = std::mem::replace(&mut self.unit, Vec::with_capacity(UNIT));
        self.to_work.send(Raw { bytes, place: to_place }).map_err(|_| closed())
    }
}

impl Write for Units<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unit.len() == UNIT {
            if let Err(error) = self.admit(1) {
                self.halt = Some(error);
                return Err(closed());
            }
            self.end()?;
        }
        let now = bytes.len().min(UNIT - self.unit.len());
        self.unit.extend_from_slice(&bytes[..now]);
        self.written += now as u64;
        self.control.set_found(self.written);
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn deflate(work: &Mutex<Receiver<Raw>>) {
    let mut deflater = Deflater::new(Level::Gzip);
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Raw { bytes, place }) = next else { return };
        let mut unit = Vec::new();
        let done = deflater.deflate(&bytes, End::Flush, &mut unit);
        // Nobody waits for it when the writer has stopped.
        let made = done.map(|()| Made { unit, length: bytes.len() as u64, crc: crc32fast::hash(&bytes) });
        let _ = place.send(made);
    }
}

/// Writes the header and the units; their sum. Takes `places` so that they close when it
/// stops.
fn write_units(
    places: Receiver<Receiver<Result<Made, Miscoded>>>,
    out: &mut dyn Write,
    control: &Control,
) -> Result<gzip::Sum, CookError> {
    let mut sum = gzip::Sum::default();
    out.write_all(&gzip::HEADER).map_err(CookError::Output)?;
    for place in places {
        let made = place.recv().map_err(|_| CookError::Panicked)??;
        out.write_all(&made.unit).map_err(CookError::Output)?;
        sum.add(made.crc, made.length);
        control.add_done(made.length);
    }
    Ok(sum)
}

fn closed() -> io::Error {
    io::Error::other("the cook is over")
}
