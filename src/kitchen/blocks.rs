//! What is blocked, as this process knows it: a copy of the catalogue's list in memory, so that
//! asking whether an object that is read is blocked costs an atomic load while nothing is.
//!
//! The catalogue is the truth. The copy is compared with its epoch when an order comes, when a cook is
//! claimed, and by the upkeep every half second; a cook that met an object just before it was blocked
//! is stopped at the end, in the transaction that would have published it (`Finished::Outdated`).

use crate::archive::Blocks;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::key::Sha1Git;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// How many rows are read at a time.
const PAGE: u32 = 1000;

/// The copy.
pub(super) struct Blocklist {
    catalogue: Catalogue,
    /// Whether `list` holds anything.
    any: AtomicBool,
    /// Held for a clone, never while another lock is taken.
    list: RwLock<Arc<List>>,
    /// Held while the copy is renewed, so that an older list never replaces a newer one. Before `list`.
    renewing: Mutex<()>,
}

#[derive(Default)]
struct List {
    epoch: u64,
    reasons: HashMap<Sha1Git, Option<String>>,
}

impl Blocklist {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, any: AtomicBool::new(false), list: RwLock::default(), renewing: Mutex::default() }
    }

    /// Reads the list again if it has changed.
    pub(super) fn refresh(&self) -> Result<(), CatalogueError> {
        if self.catalogue.block_epoch()? == self.list().epoch {
            return Ok(());
        }
        let _renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the rows: what changes while they are read moves the epoch on, and they are read again.
        let mut list = List { epoch: self.catalogue.block_epoch()?, ..List::default() };
        let mut after = None;
        loop {
            let page = self.catalogue.blocks(after.as_ref(), PAGE)?;
            let Some(end) = page.last() else { break };
            after = Some(end.swhid.id);
            list.reasons.extend(page.into_iter().map(|block| (block.swhid.id, block.reason)));
        }
        self.any.store(!list.reasons.is_empty(), Ordering::Release);
        *self.list.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(list);
        Ok(())
    }

    /// Sees to it that the copy is no older than `epoch`.
    pub(super) fn reach(&self, epoch: u64) -> Result<(), CatalogueError> {
        if self.list().epoch >= epoch { Ok(()) } else { self.refresh() }
    }

    /// The operator's reason, if there is one and the object is blocked.
    pub(super) fn reason(&self, id: &Sha1Git) -> Option<String> {
        self.list().reasons.get(id).cloned().flatten()
    }

    fn list(&self) -> Arc<List> {
        Arc::clone(&self.list.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Blocks for Blocklist {
    fn is_blocked(&self, id: &Sha1Git) -> bool {
        self.any.load(Ordering::Acquire) && self.list().reasons.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Access;
    use crate::key::{ObjectKind, Swhid};
    use crate::time::Timestamp;

    #[test]
    fn what_another_process_blocks_and_unblocks_is_seen_at_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.db");
        let (ours, others) =
            (Catalogue::open(&path, Access::Migrate).unwrap(), || Catalogue::open(&path, Access::Write).unwrap());
        let list = Blocklist::new(ours);
        let swhid = Swhid { kind: ObjectKind::Content, id: Sha1Git::from_bytes([7; 20]) };
        list.refresh().unwrap();
        others().block(&swhid, Some("why"), Timestamp::from_millis(1)).unwrap();
        assert!(!list.is_blocked(&swhid.id));
        list.reach(1).unwrap();
        assert!(list.is_blocked(&swhid.id));
        assert_eq!(list.reason(&swhid.id).as_deref(), Some("why"));
        others().unblock(&swhid).unwrap();
        list.refresh().unwrap();
        assert!(!list.is_blocked(&swhid.id));
    }
}
