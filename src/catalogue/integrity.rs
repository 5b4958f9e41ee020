//! Whether the catalogue agrees with itself: SQLite's own checks, and references. With the sums (`totals`) the only
//! statements that read whole tables; they read as of one moment and keep nobody from writing.

use super::{Catalogue, CatalogueError};

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
}
