//! Whether the catalogue agrees with itself: SQLite's own checks, references, and the sums that
//! triggers keep. The only statements that read whole tables; they read as of one moment and keep
//! nobody from writing.

use super::error::Fault;
use super::{Catalogue, CatalogueError, Totals, totals};
use rusqlite::Connection;

/// The most faults that are listed.
const LISTED: u32 = 100;

/// What is wrong with a task `t` and its alias `a`: there is none, or it says SUCCESS and nothing ever came.
macro_rules! broken_task {
    () => {
        "(a.id IS NULL OR (t.state = 2 AND a.content IS NULL))"
    };
}

/// A task of the Archiver that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenTask {
    seq: i64,
    /// Its name in URLs.
    pub id: String,
    /// Whether what it fetches is not there; else it says SUCCESS of what never came.
    pub is_of_nothing: bool,
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
    /// What SQLite finds wrong with its file, as it says it: structure and order of tables and, when
    /// `thorough`, each index against its table. Empty when nothing is.
    pub fn check_integrity(&self, thorough: bool) -> Result<Vec<String>, CatalogueError> {
        let pragma = if thorough { "integrity_check" } else { "quick_check" };
        self.read("check the catalogue", |connection| {
            let mut statement = connection.prepare(&format!("PRAGMA {pragma}({LISTED})"))?;
            let lines = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
            Ok(lines.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Rows of the queue that name a bundle or another row that is not there: their numbers. No
    /// larder leaves such a row.
    pub fn broken_references(&self) -> Result<Vec<i64>, CatalogueError> {
        self.read("check the references of the queue", |connection| {
            let mut statement = connection.prepare("PRAGMA foreign_key_check(cook)")?;
            let rows = statement.query_map([], |row| row.get(1))?.take(LISTED as usize);
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Takes rows of [`Catalogue::broken_references`] out of the queue.
    pub fn remove_references(&self, rows: &[i64]) -> Result<(), CatalogueError> {
        self.write("mend the queue", |transaction| {
            for row in rows {
                super::row::execute(transaction, "DELETE FROM cook WHERE seq = ?1", [row])?;
            }
            Ok(())
        })
    }

    /// The Archiver's tasks that no larder leaves, in order. An alias whose archive is not there is nothing
    /// wrong: it was collected, and the next request fetches it again.
    pub fn broken_tasks(&self) -> Result<Vec<BrokenTask>, CatalogueError> {
        self.read("check the tasks of the Archiver", |connection| {
            let sql = concat!(
                "SELECT t.seq, t.id, a.id IS NULL FROM archiver_task t LEFT JOIN archiver_alias a ON a.id = t.alias
                 WHERE ",
                broken_task!(),
                " ORDER BY t.seq"
            );
            let mut statement = connection.prepare(sql)?;
            let tasks = statement.query_map([], |row| {
                Ok(BrokenTask { seq: row.get(0)?, id: row.get(1)?, is_of_nothing: row.get(2)? })
            })?;
            Ok(tasks.collect::<Result<_, _>>()?)
        })
    }

    /// Removes those of the tasks that are as broken still: whoever asks for the archive orders it anew.
    pub fn remove_tasks(&self, tasks: &[BrokenTask]) -> Result<(), CatalogueError> {
        self.write("mend the tasks of the Archiver", |transaction| {
            for task in tasks {
                let sql = concat!(
                    "DELETE FROM archiver_task WHERE seq = (
                         SELECT t.seq FROM archiver_task t LEFT JOIN archiver_alias a ON a.id = t.alias
                         WHERE t.seq = ?1 AND ",
                    broken_task!(),
                    ")"
                );
                super::row::execute(transaction, sql, [task.seq])?;
            }
            Ok(())
        })
    }

    /// Counts the tables anew.
    pub fn drift(&self) -> Result<Drift, CatalogueError> {
        self.read("add up the tables", |connection| {
            // One snapshot for both: what is committed meanwhile changes neither.
            let snapshot = connection.unchecked_transaction()?;
            let counted = count(&snapshot)?;
            let kept = totals(&snapshot)?;
            let less = |counted: u64, kept: u64| super::row::signed(counted) - super::row::signed(kept);
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
            super::row::execute(transaction, sql, (drift.files, drift.allocated, drift.queued, drift.running)).map(drop)
        })
    }
}

fn count(connection: &Connection) -> Result<Totals, Fault> {
    let sql = "SELECT files, allocated, queued, running
               FROM (SELECT count(*) AS files, coalesce(sum(allocated), 0) AS allocated
                     FROM file INDEXED BY file_by_last_access),
                    (SELECT coalesce(sum(owner IS NULL), 0) AS queued, coalesce(sum(owner IS NOT NULL), 0) AS running
                     FROM cook)";
    // Prepared here and not by `plan`, which refuses what reads a whole table.
    Ok(connection.query_row(sql, [], |row| {
        let count = |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Totals { files: count(0)?, allocated: count(1)?, queued: count(2)?, running: count(3)? })
    })?)
}
