//! The sums over all files and all cooks, which triggers keep in one row (`totals`), so that nobody counts tables. Every
//! write that adds or removes one changes that row, which is no matter where writes take turns: this file is all that
//! knows of it, besides the schema.

use super::error::Fault;
use super::row::{execute, first, signed, unsigned};
use super::{Catalogue, CatalogueError};
use rusqlite::{Connection, Row};

/// How much there is of everything, as of the last commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files in the store, each counted once however many names it has.
    pub files: u64,
    /// Bytes that they allocate on disk.
    pub allocated: u64,
    /// Cooks that wait, for a worker or for another cook.
    pub queued: u64,
    /// Cooks that a process has claimed.
    pub running: u64,
}

/// By how much the sums in `totals` are too small, or, where negative, too large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    files: i64,
    allocated: i64,
    queued: i64,
    running: i64,
}

impl Drift {
    /// Whether the sums are right.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { files, allocated, queued, running } = self;
        write!(f, "off by {files} files, {allocated} bytes, {queued} waiting, {running} running")
    }
}

impl Catalogue {
    /// How much there is of everything.
    pub fn totals(&self) -> Result<Totals, CatalogueError> {
        self.read("read the totals", read)
    }

    /// Counts the tables anew.
    pub fn drift(&self) -> Result<Drift, CatalogueError> {
        self.read("add up the tables", |connection| {
            // One snapshot for both: what is committed meanwhile changes neither.
            let snapshot = connection.unchecked_transaction()?;
            let counted = count(&snapshot)?;
            let kept = read(&snapshot)?;
            let less = |counted: u64, kept: u64| signed(counted) - signed(kept);
            Ok(Drift {
                files: less(counted.files, kept.files),
                allocated: less(counted.allocated, kept.allocated),
                queued: less(counted.queued, kept.queued),
                running: less(counted.running, kept.running),
            })
        })
    }

    /// Adds what was missing to the sums. Triggers keep counting meanwhile, so the difference stays
    /// what it was, and the tables need not be read under the write lock.
    pub fn mend_totals(&self, drift: &Drift) -> Result<(), CatalogueError> {
        self.write("mend the totals", |transaction| {
            let sql = "UPDATE totals SET files = files + ?1, allocated = allocated + ?2,
                                         queued = queued + ?3, running = running + ?4 WHERE one = 1";
            execute(transaction, sql, (drift.files, drift.allocated, drift.queued, drift.running)).map(drop)
        })
    }
}

/// The sums as they are kept.
pub(super) fn read(connection: &Connection) -> Result<Totals, Fault> {
    let sql = "SELECT files, allocated, queued, running FROM totals WHERE one = 1";
    first(connection, sql, [], totals)?.ok_or(Fault::Row("the totals are missing"))
}

/// What the sums should be.
fn count(connection: &Connection) -> Result<Totals, Fault> {
    let sql = "SELECT f.files, f.allocated, c.queued, c.running
               FROM (SELECT count(*) AS files, CAST(coalesce(sum(allocated), 0) AS BIGINT) AS allocated
                     FROM file INDEXED BY file_by_last_access) AS f,
                    (SELECT count(*) FILTER (WHERE owner IS NULL) AS queued,
                            count(*) FILTER (WHERE owner IS NOT NULL) AS running FROM cook) AS c";
    // Prepared here and not by `plan`, which refuses what reads a whole table.
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    totals(rows.next()?.ok_or(Fault::Row("there are no sums"))?)
}

fn totals(row: &Row<'_>) -> Result<Totals, Fault> {
    Ok(Totals {
        files: unsigned(row, 0)?,
        allocated: unsigned(row, 1)?,
        queued: unsigned(row, 2)?,
        running: unsigned(row, 3)?,
    })
}
