//! Orders: whether a bundle may be asked for, and its place in the queue. Owns what an order is
//! refused for, and asks what costs least first: memory, the catalogue, the archive, the disk.
//! Nothing is changed before all of them agree.
//!
//! A request that is to change the catalogue takes a place first, without a thread, and has one deadline
//! for that and for its turn to write: however long another process writes, [`WRITING_AT_ONCE`] threads
//! wait for it and all others answer what only reads.

use super::Orders;
use crate::archive::{Archive as _, ArchiveError, Blocks as _};
use crate::blocking::blocking;
use crate::bundle::{Bundle, FailureCode, Status};
use crate::bundles;
use crate::catalogue::{self, Catalogue, CatalogueError};
use crate::key::{BundleKey, ObjectKind, Sha1Git};
use crate::time::Timestamp;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// A failed bundle is cooked anew when it is asked for, but at most once in this time.
pub const RETRY_FAILED_AFTER: Duration = Duration::from_mins(1);

/// The most requests that write, or wait for their turn to, on a thread each. Of tokio's 512.
pub(super) const WRITING_AT_ONCE: usize = 64;

/// How long a request waits until it has written, in all.
const WRITING_PATIENCE: Duration = Duration::from_secs(5);

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// No archive has the object.
    #[error("no archive has this object")]
    NotFound,
    /// It is the id of something else.
    #[error("this is the id of a {is}, not of a {asked}")]
    OtherKind {
        /// What was asked for.
        asked: ObjectKind,
        /// What it is.
        is: ObjectKind,
    },
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
    /// Others write the catalogue, and did not stop for as long as a request can wait.
    #[error("the catalogue is being written by others; try again in a moment")]
    Busy,
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

impl From<bundles::Error> for OrderError {
    fn from(error: bundles::Error) -> Self {
        match error {
            bundles::Error::Catalogue(error) => Self::Catalogue(error),
            bundles::Error::Store(error) => Self::Store(error),
        }
    }
}

fn blocked_reason(reason: Option<&str>) -> &str {
    reason.unwrap_or("this object, or something in it, is blocked here")
}

impl Orders {
    /// Asks for a bundle, and gives it as it stands then. Blocking. A no-op while it is there or on its way,
    /// and when it failed less than [`RETRY_FAILED_AFTER`] ago.
    ///
    /// # Errors
    /// [`OrderError`]; nothing was changed then.
    pub fn order(&self, key: &BundleKey) -> Result<Bundle, OrderError> {
        self.order_after(key, RETRY_FAILED_AFTER)
    }

    /// [`Orders::order`], but a failure is tried anew however short ago it was. For the operator.
    pub fn order_anew(&self, key: &BundleKey) -> Result<Bundle, OrderError> {
        self.order_after(key, Duration::ZERO)
    }

    /// [`Orders::order`] for a request, which does not wait for long.
    ///
    /// # Errors
    /// [`OrderError::Busy`] too, when others write the catalogue all the while.
    pub async fn request(&self, key: BundleKey) -> Result<Bundle, OrderError> {
        let orders = self.clone();
        if let Some(settled) = blocking(move || orders.settled(&key)).await? {
            return Ok(settled);
        }
        let place = self.place_to_write().await.ok_or(OrderError::Busy)?;
        // Before it is in the queue, for a worker may have it at once.
        let noted = self.note_asker(key);
        let orders = self.clone();
        let placed = blocking(move || {
            let catalogue = orders.0.catalogue.hurried(place.left());
            orders.place(&catalogue, &key, RETRY_FAILED_AFTER)
        });
        let placed = placed.await;
        match &placed {
            Ok(bundle) if bundle.status == Status::New => tracing::info!(%key, "ordered"),
            _ if noted => self.0.askers.forget(&key),
            _ => {}
        }
        match placed {
            Err(OrderError::Catalogue(error)) if error.is_busy() => Err(OrderError::Busy),
            placed => placed,
        }
    }

    /// A place among the requests that write; `None` when none was to be had in time. Drop it when that is
    /// done.
    pub(crate) async fn place_to_write(&self) -> Option<Place> {
        let deadline = Instant::now() + WRITING_PATIENCE;
        let permit = tokio::time::timeout_at(deadline.into(), Arc::clone(&self.0.writing).acquire_owned());
        Some(Place { _permit: permit.await.ok()?.ok()?, deadline })
    }

    fn order_after(&self, key: &BundleKey, retry_failed_after: Duration) -> Result<Bundle, OrderError> {
        match self.settled(key)? {
            Some(settled) => Ok(settled),
            None => self.place(&self.0.catalogue, key, retry_failed_after),
        }
    }

    /// What an order comes to without a change; `None` when it is to be placed.
    fn settled(&self, key: &BundleKey) -> Result<Option<Bundle>, OrderError> {
        let shared = &*self.0;
        shared.blocks.refresh()?;
        self.check_blocked(&key.id())?;
        let known = self.look_up_and_heal(key)?;
        if let Some(bundle) = &known {
            if bundle.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::Blocked) {
                return Err(OrderError::Blocked { reason: None });
            }
            match bundle.status {
                Status::New | Status::Pending | Status::Done => return Ok(known),
                Status::Failed => {}
            }
        }
        if !self.is_known(key)? {
            match self.remote().and_then(|remote| remote.accepts(key)) {
                // Nobody had it a moment ago, and its status says so.
                None if known.is_some() && self.remote().is_some() => return Ok(known),
                None => return Err(OrderError::NotFound),
                Some(false) => return Err(OrderError::QueueFull),
                Some(true) => {}
            }
        }
        shared.room.check().map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => OrderError::NoRoom(error),
            _ => OrderError::Store(error),
        })?;
        Ok(None)
    }

    /// Puts what may be ordered in the queue.
    fn place(
        &self,
        catalogue: &Catalogue,
        key: &BundleKey,
        retry_failed_after: Duration,
    ) -> Result<Bundle, OrderError> {
        let shared = &*self.0;
        let max_queue = self.limits().max_queue;
        let order = || catalogue.order(key, Timestamp::now(), max_queue, retry_failed_after);
        let ordered = match order() {
            Err(error) if error.is_storage_full() && shared.room.make_some().is_ok() => order(),
            ordered => ordered,
        };
        match ordered? {
            catalogue::Order::Queued(bundle) => {
                shared.work.notify_one();
                Ok(bundle)
            }
            catalogue::Order::Already(bundle) => Ok(bundle),
            catalogue::Order::QueueFull => Err(OrderError::QueueFull),
        }
    }

    /// Sees to it that [`Orders::check_blocked`] knows what is blocked at this moment.
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
    ///
    /// # Errors
    /// [`OrderError::OtherKind`] when the id is that of another kind of object, among others.
    pub(super) fn is_known(&self, key: &BundleKey) -> Result<bool, OrderError> {
        // No archive holds a snapshot: what the catalogue knows is all there is of it.
        let is_snapshot = || self.0.catalogue.has_snapshot(&key.id());
        match key.kind() {
            ObjectKind::Snapshot => Ok(is_snapshot()? || self.archive_has(ObjectKind::Snapshot, key)?),
            asked @ (ObjectKind::Content | ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release) => {
                let has = self.archive_has(asked, key)?;
                if !has && is_snapshot()? {
                    return Err(OrderError::OtherKind { asked, is: ObjectKind::Snapshot });
                }
                Ok(has)
            }
        }
    }

    fn archive_has(&self, asked: ObjectKind, key: &BundleKey) -> Result<bool, OrderError> {
        let (shared, id) = (&*self.0, key.id());
        if shared.absences.contains(asked, id, Instant::now(), || shared.archive.stamp(&id)) {
            return Ok(false);
        }
        // Taken before the search: what appears during it changes the stamp and is not missed.
        let stamp = shared.archive.stamp(&id);
        let Some(header) = shared.archive.reader().header(&id)? else {
            shared.absences.insert(asked, id, stamp, Instant::now());
            return Ok(false);
        };
        let is = header.object_type.kind();
        if is == asked { Ok(true) } else { Err(OrderError::OtherKind { asked, is }) }
    }
}

/// One of the requests that write.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    deadline: Instant,
}

impl Place {
    /// How long it may still wait for its turn.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Header, ObjectType};
    use crate::catalogue::Access;
    use crate::key::Swhid;
    use crate::kitchen::kit;

    const TREE: Header = Header { object_type: ObjectType::Tree, size: 9 };

    #[test]
    fn an_order_knows_what_another_process_blocked_a_moment_ago() {
        let data = tempfile::tempdir().unwrap();
        let orders = kit::orders(data.path(), |_| Ok(Some(TREE)));
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        let others = Catalogue::open(&data.path().join("catalogue.db"), Access::Write).unwrap();
        let swhid: Swhid = key.swhid();
        others.block(&swhid, Some("why"), Timestamp::now()).unwrap();
        let refused = orders.order(&key).unwrap_err();
        assert!(matches!(&refused, OrderError::Blocked { reason } if reason.as_deref() == Some("why")), "{refused}");
        assert_eq!(orders.bundles().catalogue().totals().unwrap().queued, 0);
        others.unblock(&swhid).unwrap();
        assert_eq!(orders.order(&key).unwrap().status, Status::New);
    }

    #[tokio::test]
    async fn a_request_is_refused_in_time_while_another_writes_and_answered_where_nothing_is_to_be_written() {
        let data = tempfile::tempdir().unwrap();
        let orders = kit::orders(data.path(), |_| Ok(Some(TREE)));
        let [queued, new]: [BundleKey; 2] = ["tar", "zip"]
            .map(|ext| format!("directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.{ext}").parse().unwrap());
        assert_eq!(orders.request(queued).await.unwrap().status, Status::New);
        let other = rusqlite::Connection::open(data.path().join("catalogue.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let start = Instant::now();
        assert!(matches!(orders.request(new).await, Err(OrderError::Busy)));
        assert!(start.elapsed() < WRITING_PATIENCE + Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(orders.request(queued).await.unwrap().key, queued);
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(orders.request(new).await.unwrap().key, new);
    }
}
