//! Checking: the catalogue against the files, each against itself, and putting right what is wrong.
//!
//! [`check()`] looks at everything once and tells each [`Finding`]; it changes nothing unless
//! [`Order::repair`]. `docs/fsck.md` has every fault and what is done about it. Knows no HTTP; the
//! time is asked of a function that the caller gives, for a check may take hours.
//!
//! # While others write
//! `serve`, `gc` and cooks go on meanwhile. What is read of the folders and of the catalogue is of
//! two moments, so a difference between them is only a *suspicion*. Each is looked at again inside
//! `BEGIN IMMEDIATE` ([`Bundles::locked`]), where nobody publishes and nobody
//! withdraws: a file gets its name, and loses it, only in a transaction that holds that same lock.
//! Only what is still wrong then is a finding, whether it is to be repaired or not, and the repair is
//! in the same transaction. So:
//! - A file published a moment ago, its row not yet committed, is no stray: its publisher holds the
//!   lock, and once it is ours the row is there. If the publisher died in between, its place in the
//!   queue is, and the cook publishes anew: what is on its way is left alone.
//! - A row whose file `gc` has just withdrawn is not missing one: its row goes in the same
//!   transaction.
//! - Folders get their mode after they are made: in that transaction too.
//! - Drafts are not looked into. The folder of a process that is just starting is not locked for an
//!   instant: a dead one is found dead twice.
//!
//! Contents are read before the lock is taken, through an open file, and count for the file that the
//! name still leads to after it is, and for the row that still says what they were compared with: a
//! bundle cooked anew meanwhile may be other bytes. At most [`BATCH`] suspicions are looked at in one transaction,
//! each for a few looks and renames: nobody waits for long. The sums of `totals` are counted in a
//! snapshot and corrected by their difference.
//!
//! # Crash order
//! A repair changes the files first, then the rows, then commits. Killed in between: a file moved
//! to quarantine leaves a row without a file, which reads as absent and heals; a removed stray leaves
//! nothing; a link leaves two names of one file, as it should be. The next check finds the rest.
//!
//! # At ten million bundles
//! Folders are read shard by shard in order, rows page by page in the same order, and the two are
//! merged: what is held is a page and a shard. A file is looked at once; rows of files with several
//! names cost one more look-up where the number of links says that something is wrong.

#![allow(clippy::disallowed_methods, reason = "a check looks at the files by themselves")]

mod blocks;
mod content;
mod ground;
mod mend;
mod merge;
mod report;
mod segments;
mod shard;

pub use crate::bundles::Error;
pub use report::{Did, Event, Fault, Finding, Progress, Report};

use crate::bundles::Bundles;
use crate::catalogue::Catalogue;
use crate::key::ObjectKind;
use crate::store::{Met, Store};
use crate::time::Timestamp;
use blocks::Blocks;
use merge::Merged;

/// Suspicions looked at in one transaction.
pub const BATCH: usize = 100;

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Order {
    /// Put right what is wrong. The store must be open for writing.
    pub repair: bool,
    /// Read every byte.
    pub deep: bool,
    /// Delete files without a row that are not shown to be what their names say, instead of moving them
    /// into quarantine; and contents from quarantine like all else. Only with `repair`.
    pub delete_unproven: bool,
    /// Delete the bundles of other versions of the layout; only with `repair`.
    pub other_layouts: bool,
    /// What was found wrong is cooked again unless so many cooks wait already.
    pub max_queue: u64,
}

/// Checks everything once. `tell` gets each finding as it is made, and how far it is.
///
/// Opening a store for writing sets the modes of its topmost folders: for a repair, `before` is what
/// `Store::survey_top` met before that.
///
/// # Errors
/// What hinders the check as a whole; what hinders one repair is in its finding.
pub fn check(
    bundles: &Bundles,
    order: Order,
    before: &[Met],
    clock: &dyn Fn() -> Timestamp,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<Report, Error> {
    let mut check = Check::new(bundles, order, clock, tell);
    if !check.catalogue_itself()? {
        // To write into what is broken would break more.
        return Ok(check.report);
    }
    check.top(before)?;
    check.drafts()?;
    for kind in ObjectKind::ALL {
        for step in merge::merged(check.store, check.catalogue, kind) {
            match step? {
                Merged::Shard { rows, bundles } => check.shard(&rows, &bundles)?,
                Merged::Other(met) => check.met(&met)?,
            }
        }
    }
    check.segments()?;
    check.sums()?;
    check.old_quarantine()?;
    Ok(check.report)
}

/// A check under way.
struct Check<'c> {
    bundles: &'c Bundles,
    store: &'c Store,
    catalogue: &'c Catalogue,
    order: Order,
    clock: &'c dyn Fn() -> Timestamp,
    tell: &'c mut dyn FnMut(Event<'_>),
    report: Report,
    /// As of the last stray.
    blocks: Blocks,
}

impl<'c> Check<'c> {
    fn new(
        bundles: &'c Bundles,
        order: Order,
        clock: &'c dyn Fn() -> Timestamp,
        tell: &'c mut dyn FnMut(Event<'_>),
    ) -> Self {
        let (store, catalogue) = (bundles.store(), bundles.catalogue());
        let (report, blocks) = (Report::default(), Blocks::default());
        Self { bundles, store, catalogue, order, clock, tell, report, blocks }
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn found(&mut self, finding: &Finding) {
        self.report.add(finding);
        (self.tell)(Event::Found(finding));
    }

    /// What stands in a folder that is no bundle.
    fn met(&mut self, met: &Met) -> Result<(), Error> {
        match met {
            Met::Shard(..) => {}
            Met::Empty(path) => self.empty_folder(path)?,
            Met::Mode(path, mode) => self.folder_mode(path, *mode)?,
            Met::Strange(path) => self.strange(path),
            Met::OtherLayout(path) => self.other_layout(path),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Access, Shelved};
    use crate::key::BundleKey;
    use crate::store::Seen;
    use std::io::Write;
    use std::time::Duration;

    struct Larder {
        _data: tempfile::TempDir,
        bundles: Bundles,
        key: BundleKey,
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    impl Larder {
        fn new() -> Self {
            let data = tempfile::tempdir().unwrap();
            let store = Store::open(data.path()).unwrap();
            let catalogue = Catalogue::open(&data.path().join("catalogue.db"), Access::Write).unwrap();
            let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar".parse().unwrap();
            Self { _data: data, bundles: Bundles::new(store, catalogue), key }
        }

        fn cook(&self, bytes: &[u8]) {
            let catalogue = self.bundles.catalogue();
            catalogue.order(&self.key, now(), 9, Duration::ZERO).unwrap();
            let claim = catalogue.claim("p", now()).unwrap().unwrap();
            let mut draft = self.bundles.draft().unwrap();
            draft.write_all(bytes).unwrap();
            let sealed = draft.seal().unwrap();
            let blake3 = *blake3::hash(bytes).as_bytes();
            let facts = crate::bundle::FileFacts { size: bytes.len() as u64, allocated: 4096, blake3 };
            let (remarks, took) = (crate::bundle::Remarks::default(), Duration::ZERO);
            let cooked = crate::catalogue::Finishing { facts, remarks: &remarks, took, met: &|_| true, segments: &[] };
            self.bundles.publish(claim, sealed, &cooked, now()).unwrap();
        }

        fn remove(&self) {
            assert_eq!(self.bundles.remove(&[self.key]).unwrap(), 1);
        }

        fn rows(&self) -> Vec<Shelved> {
            self.bundles.catalogue().shelf(self.key.kind(), None, 9).unwrap()
        }

        fn files(&self) -> Vec<(BundleKey, Seen)> {
            self.bundles.store().look(&self.key).unwrap().map(|seen| (self.key, seen)).into_iter().collect()
        }

        /// What a check that repairs finds, given rows and files as it read them.
        fn found(&self, rows: &[Shelved], files: &[(BundleKey, Seen)]) -> Vec<Fault> {
            let order = Order { repair: true, deep: true, ..Order::default() };
            let mut tell = |_: Event<'_>| ();
            let mut check = Check::new(&self.bundles, order, &now, &mut tell);
            check.shard(rows, files).unwrap();
            check.report.faults.into_keys().filter(|fault| *fault != Fault::WrongAllocated).collect()
        }
    }

    #[test]
    fn what_was_removed_published_or_cooked_to_other_bytes_since_it_was_read_is_nothing_wrong() {
        let larder = Larder::new();
        let absent = (larder.rows(), larder.files());
        larder.cook(b"one");
        let one = (larder.rows(), larder.files());
        assert_eq!(larder.found(&one.0, &one.1), []);
        assert_eq!(larder.found(&absent.0, &one.1), [], "published before its row was read");
        assert_eq!(larder.found(&one.0, &absent.1), [], "published after its folder was");
        larder.remove();
        assert_eq!(larder.found(&one.0, &one.1), []);
        assert_eq!(larder.found(&one.0, &absent.1), []);
        for (length, bytes) in [b"two", &b"three"[..]].into_iter().enumerate() {
            larder.cook(bytes);
            let now = (larder.rows(), larder.files());
            assert_eq!(larder.found(&one.0, &now.1), [], "another file, of another length {length}");
            assert_eq!(larder.found(&now.0, &one.1), []);
            assert!(larder.bundles.store().look(&larder.key).unwrap().is_some());
            larder.remove();
        }
    }

    #[test]
    fn what_is_still_wrong_when_it_is_looked_at_again_is_found() {
        let larder = Larder::new();
        larder.cook(b"one");
        let one = (larder.rows(), larder.files());
        larder.bundles.store().erase(&larder.key).unwrap();
        assert_eq!(larder.found(&one.0, &[]), [Fault::MissingFile]);
        assert_eq!(larder.found(&one.0, &[]), [], "it is reopened by now");
    }
}
