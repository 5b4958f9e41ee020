//! What was cooked and when it was last used: `schema.sql` in an SQLite file.
//!
//! Owns every statement of SQL. Knows nothing of the store: what must happen to files inside a
//! transaction is a closure that the caller gives (`finish`, `delegate`, `remove`, `collect`). Blocking; reads
//! no clock.
//!
//! # Locking
//! One connection writes, lent to one at a time in order of asking (`writer.rs`); every transaction that
//! writes is `IMMEDIATE`, so that SQLite's write lock is what processes meet at and no transaction
//! fails half way because another wrote. Both waits end at one deadline ([`Catalogue::hurried`]). Up to eight connections read (`pool.rs`), each seeing the
//! last commit; they neither wait for the writer nor hinder it. No thread holds both. What may turn
//! out to have nothing to do looks first with a reader.
//!
//! A caller's closure runs while the writer is held: it must not call the catalogue. Nor may this
//! process open the catalogue's file in any way but through SQLite: closing it would give up the
//! locks of all its connections.
//!
//! # Crash order
//! Every method that changes something is one transaction (`remove`: one for each hundred names), on
//! disk when it returns (`synchronous = FULL`). Between any two the tables are as `schema.sql`
//! says: who is `new` or `pending` has a row in the queue or waits through one. A process that dies
//! leaves its name as the owner of its cooks, for [`Catalogue::release`].

#![allow(clippy::disallowed_methods, reason = "those that are its own")]

mod archiver;
mod backup;
mod block;
mod clock;
mod collect;
mod connect;
mod credential;
mod error;
mod file;
mod finish;
mod inspect;
mod integrity;
mod list;
mod log;
mod lru;
mod migrate;
#[cfg(test)]
mod neutral;
mod origin;
mod plan;
mod pool;
mod queue;
mod row;
mod segment;
mod snapshot;
mod totals;
mod upgrade;
mod writer;

pub use archiver::{
    Dropped, Job, Landed, Landing, Placed, Placement, PlacementEnd, PlacementJob, PlacementState, TaskOrder,
};
pub use block::Block;
pub use collect::{Candidate, Collected, Evicted, FileId, Merit};
pub use credential::Credential;
pub use error::CatalogueError;
pub use file::Loss;
pub use finish::{Delegated, Failed, Finished, Finishing};
pub use inspect::{Inspection, Shelved};
pub use integrity::BrokenTask;
pub use log::LogPosition;
pub use lru::Touch;
pub use migrate::{Migrated, VERSION, migrate};
pub use origin::{Origin, Outcome, Visit};
pub use queue::{Claim, Order};
pub use totals::{Drift, Totals};

use crate::bundle::Bundle;
use crate::key::BundleKey;
use crate::members::Lock;
use connect::Reach;
use error::Fault;
use file::Watched;
use migrate::Opened;
use pool::Pool;
use rusqlite::{Connection, Transaction};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use writer::Writer;

/// What a process means to do with the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Write, and bring the schema to this version first: `serve` and `migrate`.
    Migrate,
    /// Write, in a catalogue of this version only; one that does not exist yet is made.
    Write,
    /// Read, in a catalogue of this version only.
    Read,
    /// Read, and make nothing, not even the companions that reading takes: for a disk without room
    /// for them. Refused while anybody else has the catalogue open.
    Frozen,
}

/// The catalogue of one data directory. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub struct Catalogue {
    shared: Arc<Shared>,
    /// How long a write waits for its turn, in all.
    patience: Duration,
}

#[derive(Debug)]
struct Shared {
    /// `None` with `Access::Read` and `Access::Frozen`.
    writer: Option<Writer>,
    /// `None` where nothing is written, and in memory.
    watched: Option<Watched>,
    readers: Pool,
    manifests: snapshot::Manifests,
    path: std::path::PathBuf,
    /// Our share of the schema's lock. The last field: given up after the connections are closed.
    _hold: Option<Lock>,
}

impl Catalogue {
    /// Opens the catalogue at `path`, whose folder must exist.
    pub fn open(path: &Path, access: Access) -> Result<Self, CatalogueError> {
        let opened = migrate::open(path, access)?;
        let watched = match opened.writer {
            None => None,
            Some(_) => Some(Watched::new(&opened.path).map_err(|cause| CatalogueError::Io {
                action: "look at",
                path: opened.path.clone(),
                cause,
            })?),
        };
        Ok(Self::of(opened, watched))
    }

    /// Whether there is nothing at `path`, or a file in which nothing ever was: no catalogue, and what
    /// [`Catalogue::open`] would begin anew.
    pub fn is_blank(path: &Path) -> Result<bool, CatalogueError> {
        migrate::is_blank(path)
    }

    /// A catalogue that knows nothing and is nowhere but in memory.
    pub fn in_memory() -> Result<Self, CatalogueError> {
        Ok(Self::of(migrate::open_in_memory()?, None))
    }

    /// A catalogue that may not be there, or that this user may not read: each question is an error
    /// for as long as that is so.
    #[must_use]
    pub fn out_of_reach(path: &Path) -> Self {
        Self::of(Opened { path: path.to_owned(), writer: None, reach: Reach::Live, hold: None }, None)
    }

    fn of(opened: Opened, watched: Option<Watched>) -> Self {
        let readers = Pool::new(opened.path.clone(), opened.reach);
        let writer = opened.writer.map(Writer::new);
        let manifests = snapshot::Manifests::default();
        let shared = Shared { writer, watched, readers, manifests, path: opened.path, _hold: opened.hold };
        Self { shared: Arc::new(shared), patience: writer::PATIENCE }
    }

    /// The same catalogue for somebody who cannot wait long: a write that does not get its turn, from this
    /// process and from all others together, within `patience` is [`CatalogueError::Busy`].
    #[must_use]
    pub fn hurried(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Whether writing is possible: a transaction can begin, or one did within `patience`.
    pub fn can_write(&self) -> Result<(), CatalogueError> {
        let writer = self.shared.writer.as_ref().ok_or(CatalogueError::ReadOnly)?;
        self.look_after_file()?;
        if writer.last_began().is_some_and(|ago| ago < self.patience) {
            return Ok(());
        }
        let begin = || writer.lend(self.patience)?.begin().map(drop);
        begin().map_err(|fault| fault.during("begin to write", &self.shared.path))
    }

    /// What is known of a bundle. `None` when nobody asked for it, also when it was done and its
    /// file turned out to be gone ([`Catalogue::reopen`]).
    pub fn bundle(&self, key: &BundleKey) -> Result<Option<Bundle>, CatalogueError> {
        self.read("look up a bundle", |connection| bundle(connection, key))
    }

    /// Keeps a bundle from being collected, or no longer. `false` when there is no such bundle.
    pub fn pin(&self, key: &BundleKey, pinned: bool) -> Result<bool, CatalogueError> {
        self.write("pin a bundle", |transaction| {
            let (kind, id, format) = row::key_params(key);
            let changed = row::execute(
                transaction,
                "UPDATE bundle SET pinned = ?4 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
                (kind, id, format, pinned),
            )?;
            Ok(changed == 1)
        })
    }

    /// How hard a commit is driven to the disk: SQLite's `synchronous`.
    fn set_synchronous(&self, how: &str) -> Result<(), CatalogueError> {
        let writer = self.shared.writer.as_ref().ok_or(CatalogueError::ReadOnly)?;
        let set = || Ok(writer.lend(self.patience)?.pragma_update(None, "synchronous", how)?);
        set().map_err(|fault: Fault| fault.during("set how commits are written", &self.shared.path))
    }

    /// Runs `body` on a connection that only reads.
    fn read<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, CatalogueError> {
        self.expect_file()?;
        let reader = self.shared.readers.lend()?;
        body(&reader).map_err(|fault| fault.during(action, &self.shared.path))
    }

    /// Runs `body` in a transaction that holds the write lock; its error, or panic, undoes all.
    fn write<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Fault>,
    ) -> Result<T, CatalogueError> {
        let writer = self.shared.writer.as_ref().ok_or(CatalogueError::ReadOnly)?;
        self.look_after_file()?;
        let run = || {
            // A panic in a closure of the caller's rolls back: the connection is sound.
            let mut writer = writer.lend(self.patience)?;
            let transaction = writer.begin()?;
            let answer = body(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        run().map_err(|fault: Fault| fault.during(action, &self.shared.path))
    }
}

/// What is known of a bundle. A row that is new, and in no queue, counts as none.
fn bundle(connection: &Connection, key: &BundleKey) -> Result<Option<Bundle>, Fault> {
    let sql = concat!(
        "SELECT ",
        row::bundle_columns!(),
        " FROM bundle b LEFT JOIN file f ON f.id = b.file
          WHERE b.kind = ?1 AND b.sha1git = ?2 AND b.format = ?3
            AND (b.status <> 0 OR EXISTS (
                SELECT 1 FROM cook c
                WHERE c.kind = b.kind AND c.sha1git = b.sha1git AND c.format = b.format))"
    );
    row::first(connection, sql, row::key_params(key), row::bundle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Failure, FailureCode, FileFacts};
    use crate::key::{Format, ObjectKind, Sha1Git};
    use crate::time::Timestamp;

    const MINUTE: Duration = Duration::from_mins(1);

    fn key(kind: ObjectKind, byte: u8) -> BundleKey {
        BundleKey::new(kind, Sha1Git::from_bytes([byte; 20]), Format::TarGz).unwrap()
    }

    /// `plan::prepare` checks each statement: this goes through all methods and their branches.
    #[test]
    fn no_statement_reads_a_whole_table() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
        let now = Timestamp::from_millis(1_000_000_000);
        let facts = FileFacts { size: 1, allocated: 512, blake3: [1; 32] };
        let directory = key(ObjectKind::Directory, 1);
        let revision = key(ObjectKind::Revision, 2);
        let claim = |catalogue: &Catalogue| catalogue.claim("p", now).unwrap().unwrap();

        catalogue.order(&revision, now, 9, MINUTE).unwrap();
        catalogue.delegate(claim(&catalogue), &directory, now, |_, _| Ok(true)).unwrap();
        catalogue.give_back(claim(&catalogue)).unwrap();
        claim(&catalogue);
        assert_eq!(catalogue.owners().unwrap(), ["p"]);
        assert_eq!(catalogue.release("p", now).unwrap(), 1);
        catalogue.finish(claim(&catalogue), facts, MINUTE, now, |_| Ok(())).unwrap();
        assert_eq!(catalogue.list(ObjectKind::Directory, None, 9).unwrap().len(), 1);
        assert_eq!(catalogue.list_end(ObjectKind::Directory, None, 1).unwrap(), Some((directory, false)));
        assert_eq!(catalogue.list_end(ObjectKind::Directory, None, 2).unwrap(), None);
        assert_eq!(catalogue.without_sha256(9).unwrap().len(), 1);
        catalogue.set_sha256(&revision, &[1; 32], [2; 32]).unwrap();
        catalogue.touch(&[Touch { key: directory, at: now, hits: 1 }]).unwrap();
        let position = LogPosition { file: [1; 32], offset: 9, whole: false };
        let touch = [Touch { key: directory, at: now, hits: 1 }];
        assert!(catalogue.touch_from_log(&touch, 0, &position, now).unwrap());
        assert_eq!(catalogue.log_position(&position.file).unwrap(), Some(position));
        catalogue.see_log_files(&[position.file], now, MINUTE).unwrap();
        catalogue.pin(&directory, true).unwrap();
        assert_eq!(catalogue.remove(&[revision], |_| Ok(())).unwrap(), 0);
        catalogue.pin(&directory, false).unwrap();
        assert_eq!(catalogue.remove(&[revision], |_| Ok(())).unwrap(), 1);

        catalogue.order(&revision, now, 9, MINUTE).unwrap();
        catalogue.delegate(claim(&catalogue), &directory, now, |_, _| Ok(true)).unwrap();
        catalogue.reopen(&directory, now).unwrap();
        assert_eq!(catalogue.bundle(&directory).unwrap(), None);
        catalogue.order(&directory, now, 9, MINUTE).unwrap();
        catalogue.next_ready().unwrap();
        for (code, minutes) in [(FailureCode::Io, 1), (FailureCode::TooLarge, 2)] {
            let later = now.after(MINUTE * minutes);
            let claim = catalogue.claim("p", later).unwrap().unwrap();
            catalogue.fail(claim, Failure { code, message: String::new() }, later).unwrap();
        }
        let candidates = [false, true].map(|merits| catalogue.candidates(None, merits, 9).unwrap());
        assert_eq!(candidates.each_ref().map(Vec::len), [1, 1]);
        let totals = catalogue.totals().unwrap();
        assert_eq!((totals.files, totals.allocated, totals.queued, totals.running), (1, 512, 0, 0));
        let collected = catalogue.collect(&[candidates[0][0].file], now, now, Some(1.0), |_| Ok(())).unwrap();
        assert_eq!((collected.files, collected.bytes), (1, 512));
        assert_eq!(catalogue.moment(now).unwrap(), catalogue.moment(now).unwrap());
        assert!(catalogue.drift().unwrap().is_none());

        let adopt = |inspection: &Inspection<'_>| -> Result<(), CatalogueError> {
            inspection.adopt(&directory, &facts, None)?;
            let file = inspection.shelved(&directory)?.expect("it is done now").file;
            inspection.adopt(&revision, &facts, Some(file))?;
            inspection.set_allocated(file, 1024)?;
            assert_eq!(inspection.names(file)?, [directory, revision]);
            assert!(!inspection.remove_nameless(file)? && !inspection.is_on_its_way(&directory)?);
            assert!(inspection.queue(&revision, 9)? && !inspection.queue(&directory, 1)?);
            Ok(())
        };
        catalogue.inspect(now, adopt).unwrap();
        assert_eq!(catalogue.shelf(ObjectKind::Directory, None, 9).unwrap(), []);
        assert_eq!(catalogue.nameless_files(None, 9).unwrap(), (Vec::new(), None));
        catalogue.remove_references(&[]).unwrap();
        catalogue.mend_totals(&catalogue.drift().unwrap()).unwrap();
    }
}
