//! The cook of a history: what it is made of, and what it takes of the disk besides its draft.

use super::Kitchen;
use super::cooking::{Outcome, absent, cook_failed, not_written};
use crate::archive::{Archive as _, ObjectType};
use crate::catalogue::Claim;
use crate::cook::Control;
use crate::cook::history::{self, Order, Subject};
use crate::key::{BundleKey, ObjectKind};
use std::cell::RefCell;

impl Kitchen {
    pub(super) fn cook_history(&self, claim: &Claim, control: &Control) -> Outcome {
        let (key, shared, limits) = (claim.key, &*self.0, self.0.limits());
        let subject = match self.subject(key) {
            Ok(subject) => subject,
            Err(outcome) => return outcome,
        };
        // The pack is written twice: where it is checked, and into the draft.
        let scratch = RefCell::new(shared.room.reservation());
        let order = Order {
            archive: &shared.archive,
            swhid: key.swhid(),
            subject,
            format: key.format(),
            threads: limits.cook_threads,
            max_size: limits.max_bundle_size,
            lossy: limits.gitfast_lossy,
            scratch: shared.store.data(),
            room: &|bytes| scratch.borrow_mut().reach(bytes),
            control,
        };
        self.cook_file(claim, |out| history::cook(&order, out))
    }

    /// What a key names, once it is known to be there.
    fn subject(&self, key: BundleKey) -> Result<Subject, Outcome> {
        let (id, shared) = (key.id(), &*self.0);
        let (subject, wanted) = match key.kind() {
            ObjectKind::Directory => (Subject::Directory(id), ObjectType::Tree),
            ObjectKind::Revision => (Subject::Revision(id), ObjectType::Commit),
            ObjectKind::Release => (Subject::Release(id), ObjectType::Tag),
            ObjectKind::Snapshot => {
                let manifest = shared.catalogue.snapshot(&id).map_err(|error| not_written(key, &error))?;
                return manifest.map(Subject::Snapshot).ok_or_else(|| absent(key));
            }
            ObjectKind::Content => return Err(absent(key)),
        };
        let found = shared.archive.reader().header(&id).map_err(|error| cook_failed(key, &error.into()))?;
        found.filter(|header| header.object_type == wanted).map(|_| subject).ok_or_else(|| absent(key))
    }
}
