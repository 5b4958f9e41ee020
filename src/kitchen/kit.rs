//! What the tests of the kitchen share: orders over an archive that answers what a test says.

use super::{Limits, Orders};
use crate::admission::Room;
use crate::archive::{Archive, ArchiveError, Header, ObjectType, Reader};
use crate::bundles::Bundles;
use crate::catalogue::{Access, Catalogue};
use crate::key::Sha1Git;
use crate::limits::{MinFree, Mode, Policy, RoomLimits};
use crate::store::Store;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Answer = dyn Fn(&Sha1Git) -> Result<Option<Header>, ArchiveError> + Send + Sync;

/// An archive that says of each object what the function says, and gives none.
#[derive(Clone)]
struct Says(Arc<Answer>);

impl Archive for Says {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }

    fn stamp(&self, _: &Sha1Git) -> u64 {
        0
    }
}

impl Reader for Says {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        (self.0)(id)
    }

    fn find(&mut self, _: &Sha1Git, _: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        Ok(None)
    }

    fn stream(&mut self, _: &Sha1Git, _: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        Ok(None)
    }
}

/// What the store may take: all there is.
fn room() -> RoomLimits {
    RoomLimits { max_size: None, min_free: MinFree::Bytes(0), grace: Duration::ZERO, policy: Policy::Lru }
}

/// Orders in `data` that nobody cooks.
pub(super) fn orders(
    data: &Path,
    says: impl Fn(&Sha1Git) -> Result<Option<Header>, ArchiveError> + Send + Sync + 'static,
) -> Orders {
    let store = Store::open(data).unwrap();
    let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Write).unwrap();
    let limits = Limits {
        workers: 1,
        cook_threads: 1,
        max_queue: 9,
        max_bundle_size: 1 << 30,
        cook_timeout: Duration::from_mins(1),
        gitfast_lossy: false,
        room: room(),
    };
    let bundles = Bundles::new(store, catalogue);
    let room = Arc::new(Room::new(bundles.clone(), limits.room));
    Orders::new(Mode::Normal, Arc::new(Says(Arc::new(says))), bundles, room, limits)
}
