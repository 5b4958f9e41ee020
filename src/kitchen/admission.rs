//! Room: what a new bundle may take of the disk. Owns the sum that the drafts of this process have
//! reserved; knows no queue and no HTTP.
//!
//! A draft reserves its space in steps as it grows ([`Reservation`]), so that many cooks at once
//! cannot together pass a limit that each of them keeps alone. What other processes draft is seen
//! in the free space of the disk.

use crate::catalogue::Catalogue;
use crate::limits::RoomLimits;
use crate::store::Store;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// How much a draft reserves at a time, in bytes.
const STEP: u64 = 16 << 20;

/// The free inodes below which nothing is cooked: a bundle takes one and up to two directories.
const MIN_INODES: u64 = 256;

/// The room that is left, shared by all cooks of this process.
pub(super) struct Room {
    store: Store,
    catalogue: Catalogue,
    limits: RoomLimits,
    reserved: AtomicU64,
}

impl Room {
    pub(super) fn new(store: Store, catalogue: Catalogue, limits: RoomLimits) -> Self {
        Self { store, catalogue, limits, reserved: AtomicU64::new(0) }
    }

    /// Whether `more` bytes may be taken beside all that is reserved already.
    ///
    /// # Errors
    /// An error of kind [`io::ErrorKind::StorageFull`] that says which limit is in the way.
    pub(super) fn check(&self, more: u64) -> io::Result<()> {
        let wanted = self.reserved.load(Ordering::Acquire).saturating_add(more);
        if let Some(max_size) = self.limits.max_size {
            let used = self.catalogue.totals().map_err(io::Error::other)?.allocated;
            if used.saturating_add(wanted) > max_size {
                return Err(full("the bundles take as much as max_size allows"));
            }
        }
        let free = self.store.free()?;
        if free.bytes.saturating_sub(more) < self.limits.min_free.of(free.total_bytes) {
            return Err(full("less than min_free is left on the disk"));
        }
        // File systems without a fixed number of inodes (btrfs) report none at all.
        if free.total_inodes > 0 && free.inodes < MIN_INODES {
            return Err(full("the disk has no inodes left"));
        }
        Ok(())
    }

    /// Nothing reserved yet; see [`Reservation::writing`].
    pub(super) fn reservation(&self) -> Reservation<'_> {
        Reservation { room: self, reserved: 0 }
    }
}

fn full(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, why.to_owned())
}

/// What one draft has reserved; ends with it.
pub(super) struct Reservation<'a> {
    room: &'a Room,
    reserved: u64,
}

impl Reservation<'_> {
    /// A sink that writes to `inner` and reserves as it goes.
    pub(super) fn writing<W: Write>(&mut self, inner: W) -> impl Write {
        Reserving { reservation: self, inner, written: 0 }
    }

    fn reach(&mut self, upto: u64) -> io::Result<()> {
        while self.reserved < upto {
            self.room.check((upto - self.reserved).min(STEP))?;
            self.room.reserved.fetch_add(STEP, Ordering::AcqRel);
            self.reserved += STEP;
        }
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.room.reserved.fetch_sub(self.reserved, Ordering::AcqRel);
    }
}

struct Reserving<'a, 'r, W> {
    reservation: &'a mut Reservation<'r>,
    inner: W,
    written: u64,
}

impl<W: Write> Write for Reserving<'_, '_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reservation.reach(self.written + bytes.len() as u64)?;
        let n = self.inner.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
