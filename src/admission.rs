//! Room: what a new bundle may take of the disk. Owns the sum that the drafts of this process have
//! reserved, and the making of room; knows no queue and no HTTP.
//!
//! A draft reserves its space in steps as it grows (`Reservation`), so that many cooks at once
//! cannot together pass a limit that each of them keeps alone. What other processes draft is seen
//! in the free space of the disk. Where a step does not fit, bundles are collected, by the plan that
//! `larder gc` makes: just enough, the least recently used first, none that is pinned or was used
//! within the grace. Where that cannot make enough room nothing is removed, and the step is refused.
//!
//! **Locks.** `making` is held from the plan to the commit that forgets the files, so that two cooks
//! that find no room do not both remove as much as one of them needs. They are unlinked after it was
//! let go of; until then they count as free (`leaving`).

use crate::bundles::{Bundles, Error};
use crate::gc::{self, Limits, Plan};
use crate::limits::{Policy, RoomLimits};
use crate::time::Timestamp;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// How much a draft reserves at a time, in bytes: as much as it has already, within these.
const FIRST_STEP: u64 = 256 << 10;
const LAST_STEP: u64 = 16 << 20;

/// Most files collected to make room once. A store that is further over its limits, for they were
/// lowered perhaps, gets there in several goes, and nobody waits for all of them.
const FILES_AT_ONCE: usize = 2000;

/// How often room is made for one step before it is refused.
const TRIES: usize = 4;

/// The room that is left, shared by all in this process who write bundles or large files beside them.
pub struct Room {
    bundles: Bundles,
    /// Held for a copy, never while another lock is taken.
    limits: RwLock<RoomLimits>,
    reserved: AtomicU64,
    /// Bytes of files that are being unlinked.
    leaving: AtomicU64,
    making: Mutex<()>,
}

impl Room {
    /// All that the limits leave.
    #[must_use]
    pub fn new(bundles: Bundles, limits: RoomLimits) -> Self {
        let (reserved, leaving) = (AtomicU64::new(0), AtomicU64::new(0));
        let limits = RwLock::new(limits);
        Self { bundles, limits, reserved, leaving, making: Mutex::new(()) }
    }

    /// Other limits from now on.
    pub(crate) fn set_limits(&self, limits: RoomLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> RoomLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for another bundle, or room can be made. Removes nothing yet.
    ///
    /// # Errors
    /// An error of kind [`io::ErrorKind::StorageFull`] that says which limit is in the way.
    pub(crate) fn check(&self) -> io::Result<()> {
        // Whether there is enough to remove is the same for every policy, and quickest so.
        match self.plan(1, 1, Policy::Lru)? {
            Some(plan) if !plan.is_enough() => Err(full(&plan)),
            Some(_) | None => Ok(()),
        }
    }

    /// Collects what must go for a first step, for a catalogue that has no room to be written.
    pub(crate) fn make_some(&self) -> io::Result<()> {
        self.make(FIRST_STEP)
    }

    /// Nothing reserved yet; see [`Reservation::writing`].
    pub(crate) fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { room: Arc::clone(self), reserved: 0 }
    }

    /// Reserves `step` bytes, collecting what must go for them.
    fn reserve(&self, step: u64) -> io::Result<()> {
        self.reserved.fetch_add(step, Ordering::AcqRel);
        self.make(step).inspect_err(|_| self.give_back(step))
    }

    /// Bytes reserved for drafts.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Acquire)
    }

    fn give_back(&self, bytes: u64) {
        self.reserved.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Sees to it that what is reserved fits, the last `step` bytes of it being still unwritten.
    fn make(&self, step: u64) -> io::Result<()> {
        for _ in 0..TRIES {
            match self.plan(step, 0, self.limits().policy)? {
                None => return Ok(()),
                Some(plan) if !plan.is_enough() => return Err(full(&plan)),
                Some(_) => self.collect(step)?,
            }
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, "what is collected is used up at once by others"))
    }

    fn collect(&self, step: u64) -> io::Result<()> {
        let mut withdrawn = Vec::new();
        let removed = {
            let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            // Anew: somebody else may have made the room meanwhile.
            let Some(mut plan) = self.plan(step, 0, self.limits().policy)? else { return Ok(()) };
            plan.victims.truncate(FILES_AT_ONCE);
            let removed = gc::run(&plan, &self.bundles, |files, _| withdrawn.extend(files)).map_err(|error| {
                let full = error.is_storage_full();
                let kind = if full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
                io::Error::new(kind, error)
            })?;
            self.leaving.fetch_add(removed.bytes, Ordering::AcqRel);
            removed
        };
        drop(withdrawn);
        self.leaving.fetch_sub(removed.bytes, Ordering::AcqRel);
        if removed.files > 0 {
            tracing::info!(files = removed.files, bytes = removed.bytes, "collected to make room");
        }
        Ok(())
    }

    /// What must go so that `step` more bytes fit on the disk, and `more` besides what is reserved
    /// within `max_size`. `None` when they fit as it is.
    fn plan(&self, step: u64, more: u64, policy: Policy) -> io::Result<Option<Plan>> {
        let mut stock = gc::stock(&self.bundles).map_err(|error| match error {
            Error::Store(error) => error,
            Error::Catalogue(error) => io::Error::other(error),
        })?;
        stock.wanted = step;
        stock.coming = self.reserved.load(Ordering::Acquire).saturating_add(more);
        stock.free.bytes = stock.free.bytes.saturating_add(self.leaving.load(Ordering::Acquire));
        let room = RoomLimits { policy, ..self.limits() };
        if gc::holds(&stock, &room) {
            return Ok(None);
        }
        let catalogue = self.bundles.catalogue();
        let now = catalogue.moment(Timestamp::now()).map_err(io::Error::other)?;
        let limits = Limits { room, max_idle: None };
        gc::plan(gc::candidates(catalogue, policy), &stock, &limits, now).map(Some).map_err(io::Error::other)
    }
}

/// Which limit is in the way.
fn full(plan: &Plan) -> io::Error {
    let why = if plan.missing_bytes == 0 {
        "the disk has no inodes left"
    } else if plan.asked.max_size >= plan.asked.min_free {
        "the bundles take as much as max_size allows"
    } else {
        "less than min_free is left on the disk"
    };
    io::Error::new(io::ErrorKind::StorageFull, format!("{why}, and nothing more may be collected now"))
}

/// What one draft has reserved; ends with it.
pub(crate) struct Reservation {
    room: Arc<Room>,
    reserved: u64,
}

impl Reservation {
    /// A sink that writes to `inner` and reserves as it goes.
    pub(crate) fn writing<W: Write>(&mut self, inner: W) -> impl Write {
        Reserving { reservation: self, inner, written: 0 }
    }

    /// Sees to it that `upto` bytes in all are reserved.
    pub(crate) fn reach(&mut self, upto: u64) -> io::Result<()> {
        while self.reserved < upto {
            let step = self.reserved.clamp(FIRST_STEP, LAST_STEP);
            self.room.reserve(step)?;
            self.reserved += step;
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.give_back(self.reserved);
    }
}

struct Reserving<'a, W> {
    reservation: &'a mut Reservation,
    inner: W,
    written: u64,
}

impl<W: Write> Write for Reserving<'_, W> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Remarks;
    use crate::catalogue::{Access, Catalogue, Finishing};
    use crate::key::BundleKey;
    use crate::limits::MinFree;
    use crate::store::Store;
    use std::time::Duration;

    /// What the store may take: all there is.
    fn all() -> RoomLimits {
        RoomLimits { max_size: None, min_free: MinFree::Bytes(0), grace: Duration::ZERO, policy: Policy::Lru }
    }

    /// A room with three bundles of 256 KiB, last used long ago.
    fn room(data: &std::path::Path) -> Arc<Room> {
        let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Write).unwrap();
        let bundles = Bundles::new(Store::open(data).unwrap(), catalogue.clone());
        let then = Timestamp::from_millis(1_700_000_000_000);
        for number in 0..3_u8 {
            let key: BundleKey = format!("directory/{number:040x}.tar").parse().unwrap();
            let mut draft = bundles.draft().unwrap();
            draft.write_all(&vec![number; 256 << 10]).unwrap();
            let sealed = draft.seal().unwrap();
            catalogue.order(&key, then, 9, Duration::ZERO).unwrap();
            let claim = catalogue.claim("p", then).unwrap().unwrap();
            let (facts, remarks) = (sealed.facts(), Remarks::default());
            let cooked = Finishing { facts, remarks: &remarks, took: Duration::ZERO, met: &|_| true, segments: &[] };
            bundles.publish(claim, sealed, &cooked, then).unwrap();
        }
        Arc::new(Room::new(bundles, all()))
    }

    #[test]
    fn after_a_collection_the_limits_hold_as_before_it() {
        let data = tempfile::tempdir().unwrap();
        let room = room(data.path());
        let allocated = room.bundles.catalogue().totals().unwrap().allocated;
        room.set_limits(RoomLimits { max_size: Some(allocated), ..all() });
        let mut reservation = room.reservation();
        reservation.reach(1).unwrap();
        assert!(room.bundles.catalogue().totals().unwrap().files < 3, "something had to go");
        assert_eq!(room.leaving.load(Ordering::Acquire), 0, "and is gone");
        assert_eq!(room.reserved.load(Ordering::Acquire), FIRST_STEP);
        drop(reservation);
        assert_eq!(room.reserved.load(Ordering::Acquire), 0);
        room.set_limits(RoomLimits { min_free: MinFree::Bytes(1 << 60), ..all() });
        assert_eq!(room.check().unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(room.reservation().reach(1).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_draft_may_not_take_what_min_free_keeps() {
        let data = tempfile::tempdir().unwrap();
        let room = room(data.path());
        // Others use this disk meanwhile: by less than a gibibyte.
        let free = room.bundles.free().unwrap().bytes;
        let min_free = MinFree::Bytes(free.saturating_sub(1 << 30));
        room.set_limits(RoomLimits { min_free, grace: Duration::from_hours(1_000_000), ..all() });
        room.check().unwrap();
        assert_eq!(room.reserve(2 << 30).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(room.reserved.load(Ordering::Acquire), 0);
        room.reserve(1 << 10).unwrap();
    }
}
