//! Carrying out a plan, a hundred files a transaction. `mod.rs` has the crash order.

use super::Plan;
use crate::bundles::{Bundles, Error};
use crate::catalogue::{CatalogueError, Collected};
use crate::store::Withdrawn;

/// Files removed in one transaction, so that others get the write lock in between.
const BATCH: usize = 100;

/// What a run removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Their names.
    pub names: u64,
    /// Bytes that they allocated.
    pub bytes: u64,
    /// Files of the plan that were left alone: used or pinned since, or gone already.
    pub passed_over: u64,
}

impl Removed {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            names: self.names + other.names,
            bytes: self.bytes + other.bytes,
            passed_over: self.passed_over + other.passed_over,
        }
    }

    fn add(&mut self, collected: &Collected) {
        self.files += collected.files;
        self.names += collected.names;
        self.bytes += collected.bytes;
        self.passed_over += collected.passed_over;
    }
}

/// Removes what was planned. After each transaction `after` gets what it withdrew, to be dropped,
/// which deletes it, now or once a lock was let go of; and what was removed so far.
///
/// # Errors
/// The catalogue's. What was unlinked by then stays so; its rows read as absent and heal.
pub fn run(
    plan: &Plan,
    bundles: &Bundles,
    mut after: impl FnMut(Vec<Withdrawn>, &Removed),
) -> Result<Removed, CatalogueError> {
    let mut removed = Removed::default();
    let Some(not_after) = plan.newest else { return Ok(removed) };
    let mut unwritten = Vec::new();
    for batch in plan.victims.chunks(BATCH) {
        match bundles.collect(batch, not_after, plan.made_at, plan.inflation) {
            Ok((collected, withdrawn)) => {
                removed.add(&collected);
                after(withdrawn, &removed);
            }
            // Not even deleting them has made room for saying so. The next ones may.
            Err(error) if error.is_storage_full() => unwritten.push(batch),
            Err(error) => return Err(error),
        }
    }
    for batch in unwritten {
        let (collected, withdrawn) = bundles.collect(batch, not_after, plan.made_at, plan.inflation)?;
        removed.add(&collected);
        after(withdrawn, &removed);
    }
    Ok(removed)
}

/// Deletes the first files of a plan, and cuts the plan down to them, where there is no room to even
/// open the catalogue for writing: [`run()`] does the rest of that plan when there is. Nobody else
/// may have the catalogue open (`Access::Frozen`), so that what was planned is still so.
pub fn unlink_first(plan: &mut Plan, bundles: &Bundles) -> Result<(), Error> {
    plan.victims.truncate(BATCH);
    bundles.unlink_first(&plan.victims)
}
