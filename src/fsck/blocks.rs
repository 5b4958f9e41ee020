//! What is blocked, as a repair has to know it: a file that holds some of it is not adopted.
//!
//! Read before any lock is taken. Whoever adopts compares the epoch once more, under the write lock: a
//! block written before that is known then, and one written later finds the adopted row in its sweep.

use crate::catalogue::{Catalogue, CatalogueError};
use crate::key::{BundleKey, ObjectKind, Sha1Git};
use crate::store::Found;
use crate::sweep;
use crate::verify::VerifyError;
use std::collections::HashSet;

/// How many rows are read at a time.
const PAGE: u32 = 1000;

/// The list, as of one epoch.
#[derive(Default)]
pub(super) struct Blocks {
    epoch: u64,
    ids: HashSet<Sha1Git>,
}

impl Blocks {
    /// Reads the list anew if it has changed.
    pub(super) fn refresh(&mut self, catalogue: &Catalogue) -> Result<(), CatalogueError> {
        // Before the rows: what changes while they are read moves the epoch on.
        let epoch = catalogue.block_epoch()?;
        if epoch == self.epoch {
            return Ok(());
        }
        let (mut ids, mut after) = (HashSet::new(), None);
        loop {
            let page = catalogue.blocks(after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.swhid.id);
            ids.extend(page.into_iter().map(|block| block.swhid.id));
        }
        *self = Self { epoch, ids };
        Ok(())
    }

    /// The epoch that this list is of.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Why a bundle must not be adopted: it is, holds, or may be made from, what is blocked. `None` when
    /// it may. Its bytes are not read while nothing is blocked.
    ///
    /// The flat bundle of a release holds neither its commit nor the tags on the way there: no byte of it
    /// tells that one of these is blocked.
    pub(super) fn forbid(&self, key: &BundleKey, found: &Found) -> Result<Option<&'static str>, VerifyError> {
        if self.ids.is_empty() {
            return Ok(None);
        }
        if sweep::in_file(key, &found.file, |id| self.ids.contains(id))? {
            return Ok(Some("it holds what is blocked"));
        }
        let hides_its_commit = key.kind() == ObjectKind::Release && key.format().is_flat();
        Ok(hides_its_commit.then_some("its commit may be blocked"))
    }
}
