//! Comparing with the files: the done bundles in order, and a transaction in which a row and a file
//! are looked at together, and mended.
//!
//! Files get and lose their names only while their process holds the write lock, so within
//! [`Catalogue::inspect`] what the store shows is what the rows were committed for. It should hold
//! few looks and renames, and no reading of contents: others wait for the lock meanwhile.

use super::clock;
use super::error::Fault;
use super::finish::add_file;
use super::queue::enqueue;
use super::row::{collect, execute, first, key, key_params, signed, unsigned};
use super::{Catalogue, CatalogueError, FileId, totals};
use crate::bundle::FileFacts;
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git};
use crate::time::Timestamp;
use rusqlite::{Connection, Row, Transaction};
use std::path::Path;
use std::time::Duration;

/// The columns that [`shelved`] reads, of `bundle b` and `file f`.
macro_rules! shelved_columns {
    () => {
        "b.kind, b.sha1git, b.format, b.file, f.size, f.allocated, f.blake3, f.sha256, \
         (SELECT count(*) FROM bundle n WHERE n.file = b.file)"
    };
}

/// A done bundle, as far as its file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// Its name.
    pub key: BundleKey,
    /// The row of its file.
    pub file: FileId,
    /// What that row says; `None` when there is no such row, which no larder leaves.
    pub facts: Option<FileFacts>,
    /// SHA-256 of the bytes, once it is known.
    pub sha256: Option<[u8; 32]>,
    /// How many bundles the file has for names, with this one.
    pub names: u64,
}

impl Catalogue {
    /// The done bundles of a kind in order of id, then format, after the given one, with what is
    /// known of their files. A page costs the same wherever it lies.
    pub fn shelf(
        &self,
        kind: ObjectKind,
        after: Option<(Sha1Git, Format)>,
        limit: u32,
    ) -> Result<Vec<Shelved>, CatalogueError> {
        // An empty blob sorts before every id.
        let (id, format) = after.map_or((Vec::new(), 0), |(id, format)| (id.as_bytes().to_vec(), format.code()));
        self.read("list what is done", |connection| {
            collect(
                connection,
                concat!(
                    "SELECT ",
                    shelved_columns!(),
                    " FROM bundle b INDEXED BY bundle_done LEFT JOIN file f ON f.id = b.file
                      WHERE b.kind = ?1 AND b.status = 2 AND (b.sha1git, b.format) > (?2, ?3)
                      ORDER BY b.sha1git, b.format LIMIT ?4"
                ),
                (kind.code(), id, format, limit),
                shelved,
            )
        })
    }

    /// Rows of files that no bundle names, among the rows after the given one, in order; and the
    /// last row looked at, `None` when that was all.
    pub fn nameless_files(
        &self,
        after: Option<FileId>,
        limit: u32,
    ) -> Result<(Vec<FileId>, Option<FileId>), CatalogueError> {
        self.read("look for files without a name", |connection| {
            let sql = "SELECT id, EXISTS (SELECT 1 FROM bundle WHERE file = id) FROM file
                       WHERE id > ?1 ORDER BY id LIMIT ?2";
            let page = collect(connection, sql, (after.map_or(i64::MIN, FileId::number), limit), |row| {
                Ok((FileId::from_number(row.get(0)?), row.get::<_, bool>(1)?))
            })?;
            let last = page.last().map(|(id, _)| *id).filter(|_| page.len() == limit as usize);
            Ok((page.into_iter().filter(|(_, named)| !named).map(|(id, _)| id).collect(), last))
        })
    }

    /// Runs `body` while nobody else writes, in one transaction: its error undoes all that it
    /// changed here.
    ///
    /// # Errors
    /// Those of `body`, and the catalogue's own.
    pub fn inspect<T, E: From<CatalogueError>>(
        &self,
        now: Timestamp,
        body: impl FnOnce(&Inspection<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = &self.shared.path;
        let said = |fault: Fault| fault.during("compare with the files", path);
        let writer = self.shared.writer.as_ref().ok_or(CatalogueError::ReadOnly)?;
        self.look_after_file()?;
        let mut writer = writer.lend(self.patience).map_err(said)?;
        let transaction = writer.begin().map_err(said)?;
        let answer = body(&Inspection { transaction: &transaction, path, now })?;
        transaction.commit().map_err(|error| said(error.into()))?;
        Ok(answer)
    }
}

/// The write lock, held; see [`Catalogue::inspect`].
#[derive(Debug)]
pub struct Inspection<'t> {
    transaction: &'t Transaction<'t>,
    path: &'t Path,
    now: Timestamp,
}

impl Inspection<'_> {
    /// What is known of a done bundle; `None` for any other.
    pub fn shelved(&self, key: &BundleKey) -> Result<Option<Shelved>, CatalogueError> {
        let sql = concat!(
            "SELECT ",
            shelved_columns!(),
            " FROM bundle b LEFT JOIN file f ON f.id = b.file
              WHERE b.kind = ?1 AND b.sha1git = ?2 AND b.format = ?3 AND b.status = 2"
        );
        self.run(|transaction| first(transaction, sql, key_params(key), shelved))
    }

    /// Whether a bundle is in the queue or being cooked.
    pub fn is_on_its_way(&self, key: &BundleKey) -> Result<bool, CatalogueError> {
        let sql = "SELECT 1 FROM cook WHERE kind = ?1 AND sha1git = ?2 AND format = ?3";
        self.run(|transaction| Ok(first(transaction, sql, key_params(key), |_| Ok(()))?.is_some()))
    }

    /// [`Catalogue::block_epoch`] at this moment.
    pub fn block_epoch(&self) -> Result<u64, CatalogueError> {
        self.run(super::block::epoch)
    }

    /// The names of a file, in order.
    pub fn names(&self, file: FileId) -> Result<Vec<BundleKey>, CatalogueError> {
        let sql = "SELECT kind, sha1git, format FROM bundle WHERE file = ?1 ORDER BY kind, sha1git, format";
        self.run(|transaction| collect(transaction, sql, [file.number()], |row| key(row, 0)))
    }

    /// A done bundle counts as absent from now on; a pin, its hits and when it was first asked for
    /// stay. Whether it was done.
    pub fn reopen(&self, key: &BundleKey) -> Result<bool, CatalogueError> {
        self.run(|transaction| {
            clock::tick(transaction, self.now)?;
            let sql = "UPDATE bundle SET status = 0, file = NULL, done_at = NULL, notes = NULL, lossy = 0
                       WHERE kind = ?1 AND sha1git = ?2 AND format = ?3 AND status = 2";
            Ok(execute(transaction, sql, key_params(key))? == 1)
        })
    }

    /// [`Inspection::reopen`], and it is put in the queue, unless `max_queue` wait there. Whether it
    /// was.
    pub fn queue(&self, key: &BundleKey, max_queue: u64) -> Result<bool, CatalogueError> {
        self.reopen(key)?;
        self.run(|transaction| {
            if totals::read(transaction)?.queued >= max_queue {
                return Ok(false);
            }
            let now = clock::tick(transaction, self.now)?.now();
            enqueue(transaction, key, now, now).map(|_| true)
        })
    }

    /// Makes a bundle that is not done, nor on its way, done: its file is there already. `None` adds
    /// a file, last used now; else it is a further name of that one.
    pub fn adopt(&self, key: &BundleKey, facts: &FileFacts, file: Option<FileId>) -> Result<(), CatalogueError> {
        self.run(|transaction| {
            let now = clock::tick(transaction, self.now)?.now();
            let file =
                if let Some(file) = file { file.number() } else { add_file(transaction, facts, Duration::ZERO, now)? };
            let (kind, id, format) = key_params(key);
            execute(
                transaction,
                "INSERT INTO bundle (kind, sha1git, format, status, file, created_at, done_at)
                 VALUES (?1, ?2, ?3, 2, ?4, ?5, ?5)
                 ON CONFLICT (kind, sha1git, format) DO UPDATE
                 SET status = 2, file = ?4, done_at = ?5, failed_at = NULL, failure = NULL, message = NULL",
                (kind, id, format, file, now.as_millis()),
            )
            .map(drop)
        })
    }

    /// Corrects what a file allocates.
    pub fn set_allocated(&self, file: FileId, allocated: u64) -> Result<(), CatalogueError> {
        self.run(|transaction| {
            let sql = "UPDATE file SET allocated = ?2 WHERE id = ?1";
            execute(transaction, sql, (file.number(), signed(allocated))).map(drop)
        })
    }

    /// Removes a file that no bundle names. `false` when one does, or it is gone.
    pub fn remove_nameless(&self, file: FileId) -> Result<bool, CatalogueError> {
        self.run(|transaction| {
            let sql = "DELETE FROM file WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM bundle WHERE file = ?1)";
            Ok(execute(transaction, sql, [file.number()])? == 1)
        })
    }

    fn run<T>(&self, body: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, CatalogueError> {
        body(self.transaction).map_err(|fault| fault.during("compare with the files", self.path))
    }
}

fn shelved(row: &Row<'_>) -> Result<Shelved, Fault> {
    let facts = match row.get::<_, Option<[u8; 32]>>(6)? {
        Some(blake3) => Some(FileFacts { size: unsigned(row, 4)?, allocated: unsigned(row, 5)?, blake3 }),
        None => None,
    };
    Ok(Shelved {
        key: key(row, 0)?,
        file: FileId::from_number(row.get(3)?),
        facts,
        sha256: row.get(7)?,
        names: unsigned(row, 8)?,
    })
}
