//! Orders: whether a bundle may be asked for, and its place in the queue. Owns what an order is
//! refused for, and asks what costs least first: memory, the catalogue, the archive, the disk.
//! Nothing is changed before all of them agree.

use super::Kitchen;
use crate::archive::{Archive as _, ArchiveError, Blocks as _, ObjectType};
use crate::bundle::{FailureCode, Status};
use crate::catalogue::{self, CatalogueError};
use crate::key::{BundleKey, ObjectKind, Sha1Git};
use crate::time::Timestamp;
use std::io;
use std::time::{Duration, Instant};

/// A failed bundle is cooked anew when it is asked for, but at most once in this time.
pub const RETRY_FAILED_AFTER: Duration = Duration::from_mins(1);

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// It is in the queue now.
    Queued,
    /// It was there, on its way, or failed too short a while ago to be tried again.
    Already(Status),
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No archive has the object.
    #[error("no archive has this object")]
    NotFound,
    /// The queue is full.
    #[error("too many cooks are waiting")]
    QueueFull,
    /// The operator has blocked the object, or something in it.
    #[error("{}", blocked_reason(reason.as_deref()))]
    Blocked {
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// Room cannot be made.
    #[error("there is no room for another bundle: {0}")]
    NoRoom(io::Error),
    /// The archive could not be asked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The catalogue could not be asked.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The store could not be asked.
    #[error("cannot look into the store: {0}")]
    Store(io::Error),
}

fn blocked_reason(reason: Option<&str>) -> &str {
    reason.unwrap_or("this object, or something in it, is blocked here")
}

impl Kitchen {
    /// Asks for a bundle. Blocking. A no-op while it is there or on its way.
    ///
    /// # Errors
    /// [`OrderError`]; nothing was changed then.
    pub fn order(&self, key: &BundleKey) -> Result<Ordered, OrderError> {
        self.order_after(key, RETRY_FAILED_AFTER)
    }

    /// [`Kitchen::order`], but a failure is tried anew however short ago it was. For the operator.
    pub fn order_anew(&self, key: &BundleKey) -> Result<Ordered, OrderError> {
        self.order_after(key, Duration::ZERO)
    }

    fn order_after(&self, key: &BundleKey, retry_failed_after: Duration) -> Result<Ordered, OrderError> {
        let shared = &*self.0;
        let limits = shared.limits();
        shared.blocks.refresh()?;
        self.check_blocked(&key.id())?;
        let known = self.status(key)?;
        if let Some(failure) = known.as_ref().and_then(|bundle| bundle.failure.as_ref())
            && failure.code == FailureCode::Blocked
        {
            return Err(OrderError::Blocked { reason: None });
        }
        match known.map(|bundle| bundle.status) {
            Some(status @ (Status::New | Status::Pending | Status::Done)) => return Ok(Ordered::Already(status)),
            Some(Status::Failed) | None => {}
        }
        if !self.is_known(key)? {
            return Err(OrderError::NotFound);
        }
        shared.room.check().map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => OrderError::NoRoom(error),
            _ => OrderError::Store(error),
        })?;
        let order = || shared.catalogue.order(key, Timestamp::now(), limits.max_queue, retry_failed_after);
        let ordered = match order() {
            Err(error) if error.is_storage_full() && shared.room.make_some().is_ok() => order(),
            ordered => ordered,
        };
        match ordered? {
            catalogue::Order::Queued => {
                shared.work.notify_one();
                Ok(Ordered::Queued)
            }
            catalogue::Order::Already(status) => Ok(Ordered::Already(status)),
            catalogue::Order::QueueFull => Err(OrderError::QueueFull),
        }
    }

    /// Sees to it that [`Kitchen::check_blocked`] knows what is blocked at this moment.
    pub fn look_at_blocks(&self) -> Result<(), CatalogueError> {
        self.0.blocks.refresh()
    }

    /// Whether the operator has blocked the object. Costs next to nothing: asks nothing but memory,
    /// which follows the catalogue within a second.
    pub fn check_blocked(&self, id: &Sha1Git) -> Result<(), OrderError> {
        let blocks = &self.0.blocks;
        if blocks.is_blocked(id) { Err(OrderError::Blocked { reason: blocks.reason(id) }) } else { Ok(()) }
    }

    /// Whether there is such an object.
    pub(super) fn is_known(&self, key: &BundleKey) -> Result<bool, OrderError> {
        Ok(match key.kind() {
            // No archive holds one: what the catalogue knows is all there is of it.
            ObjectKind::Snapshot => self.0.catalogue.has_snapshot(&key.id())?,
            ObjectKind::Content | ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release => {
                self.archive_has(key.kind(), key)?
            }
        })
    }

    fn archive_has(&self, kind: ObjectKind, key: &BundleKey) -> Result<bool, OrderError> {
        let (shared, id) = (&*self.0, key.id());
        if shared.absences.contains(kind, id, Instant::now(), || shared.archive.stamp(&id)) {
            return Ok(false);
        }
        // Taken before the search: what appears during it changes the stamp and is not missed.
        let stamp = shared.archive.stamp(&id);
        let found = shared.archive.reader().header(&id)?.map(|header| header.object_type);
        let wanted = match kind {
            ObjectKind::Content => Some(ObjectType::Blob),
            ObjectKind::Directory => Some(ObjectType::Tree),
            ObjectKind::Revision => Some(ObjectType::Commit),
            ObjectKind::Release => Some(ObjectType::Tag),
            ObjectKind::Snapshot => None,
        };
        let has = found.is_some() && found == wanted;
        if !has {
            shared.absences.insert(kind, id, stamp, Instant::now());
        }
        Ok(has)
    }
}
