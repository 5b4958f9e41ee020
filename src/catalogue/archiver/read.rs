//! What is known of aliases and tasks, and what an operator does to them by hand.

use super::super::row::{collect, execute, first, unsigned};
use super::super::{Catalogue, CatalogueError, clock, error::Fault as SqlFault};
use crate::key::{BundleKey, ObjectKind, Sha1Git};
use crate::task::{Alias, AliasKey, Directory, Drift, Fault, FaultCode, Fetched, State, Task, Wanted};
use crate::time::Timestamp;
use rusqlite::{Connection, Row};
use std::time::Duration;

macro_rules! alias_columns {
    () => {
        "a.id, a.source, a.repo, a.rev, a.suffix, a.subdir, a.url, a.content, a.size, a.media_type, a.file_name, \
         a.directory, a.directory_size, a.no_directory, a.fetched_at, a.first_content, a.drifts, a.drift_content, \
         a.drifted_at"
    };
}

macro_rules! task_columns {
    () => {
        "t.id, t.state, t.created_at, t.ready_at, t.ended_at, t.attempts, t.fault, t.message"
    };
}

/// The column after those of an alias.
const AFTER_ALIAS: usize = 19;

impl Catalogue {
    /// What a request stands for; `None` when it was never asked.
    pub fn alias(&self, key: &AliasKey) -> Result<Option<Alias>, CatalogueError> {
        self.read("look up an archive", |connection| {
            let sql = concat!("SELECT ", alias_columns!(), " FROM archiver_alias a WHERE a.key = ?1");
            first(connection, sql, [key.0], read_alias)
        })
    }

    /// A task and what it is of; `None` when there is none of this name.
    pub fn task(&self, id: &str) -> Result<Option<(Task, Alias)>, CatalogueError> {
        self.read("look up a task", |connection| {
            let sql = concat!(
                "SELECT ",
                alias_columns!(),
                ", ",
                task_columns!(),
                " FROM archiver_task t JOIN archiver_alias a ON a.id = t.alias WHERE t.id = ?1"
            );
            first(connection, sql, [id], |row| Ok((read_task(row)?, read_alias(row)?)))
        })
    }

    /// The newest task of a request that has not been forgotten.
    pub fn newest_task(&self, alias: &Alias) -> Result<Option<Task>, CatalogueError> {
        self.read("look up a task", |connection| {
            let sql = concat!(
                "SELECT ",
                alias_columns!(),
                ", ",
                task_columns!(),
                " FROM archiver_task t INDEXED BY archiver_by_alias JOIN archiver_alias a ON a.id = t.alias
                  WHERE t.alias = ?1 ORDER BY t.seq DESC LIMIT 1"
            );
            first(connection, sql, [alias.row], read_task)
        })
    }

    /// Tasks, the newest first, from below the row `before`; each with its row.
    pub fn tasks(&self, before: Option<i64>, limit: u32) -> Result<Vec<(i64, Task, Alias)>, CatalogueError> {
        self.read("list tasks", |connection| {
            let sql = concat!(
                "SELECT ",
                alias_columns!(),
                ", ",
                task_columns!(),
                ", t.seq FROM archiver_task t JOIN archiver_alias a ON a.id = t.alias
                  WHERE t.seq < ?1 ORDER BY t.seq DESC LIMIT ?2"
            );
            let read = |row: &Row<'_>| Ok((row.get(AFTER_ALIAS + 8)?, read_task(row)?, read_alias(row)?));
            collect(connection, sql, (before.unwrap_or(i64::MAX), limit), read)
        })
    }

    /// The archives whose tree is this directory, the newest first. Their files may be collected.
    pub fn archives_of(&self, directory: &Sha1Git) -> Result<Vec<Alias>, CatalogueError> {
        self.read("look for archives of a directory", |connection| {
            let sql = concat!(
                "SELECT ",
                alias_columns!(),
                " FROM archiver_alias a INDEXED BY archiver_by_directory
                  WHERE a.directory = ?1 ORDER BY a.fetched_at DESC LIMIT 64"
            );
            collect(connection, sql, [directory.as_bytes()], read_alias)
        })
    }

    /// When something was fetched last.
    pub fn last_fetch(&self) -> Result<Option<Timestamp>, CatalogueError> {
        self.read("look for the last fetch", |connection| {
            let sql = "SELECT fetched_at FROM archiver_alias INDEXED BY archiver_by_fetched_at
                       WHERE fetched_at IS NOT NULL AND fetched_at > ?1 ORDER BY fetched_at DESC LIMIT 1";
            first(connection, sql, [i64::MIN], |row| Ok(Timestamp::from_millis(row.get(0)?)))
        })
    }

    /// Whether so long has passed since `then`, which the catalogue noted.
    pub fn has_passed(&self, span: Duration, then: Timestamp, now: Timestamp) -> Result<bool, CatalogueError> {
        self.read("read the clock", |connection| Ok(clock::read(connection)?.at(now).now().since(then) >= span))
    }

    /// Forgets a request and all its tasks. What was fetched stays a bundle. `false` when it was not
    /// known.
    pub fn forget_alias(&self, key: &AliasKey) -> Result<bool, CatalogueError> {
        self.write("forget an archive", |transaction| {
            Ok(execute(transaction, "DELETE FROM archiver_alias WHERE key = ?1", [key.0])? == 1)
        })
    }

    /// Has a task that waits, waits no longer than until now. `false` when it does not wait.
    pub fn hurry_fetch(&self, id: &str, now: Timestamp) -> Result<bool, CatalogueError> {
        self.write("hurry a fetch", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let sql = "UPDATE archiver_task SET ready_at = CASE WHEN ready_at > ?2 THEN ?2 ELSE ready_at END
                       WHERE id = ?1 AND state IN (0, 4)";
            Ok(execute(transaction, sql, (id, now.as_millis()))? == 1)
        })
    }
}

pub(super) fn alias_row(connection: &Connection, key: &AliasKey) -> Result<Option<i64>, SqlFault> {
    first(connection, "SELECT id FROM archiver_alias WHERE key = ?1", [key.0], |row| Ok(row.get(0)?))
}

pub(super) fn alias(connection: &Connection, row: i64) -> Result<Option<Alias>, SqlFault> {
    let sql = concat!("SELECT ", alias_columns!(), " FROM archiver_alias a WHERE a.id = ?1");
    first(connection, sql, [row], read_alias)
}

fn read_alias(row: &Row<'_>) -> Result<Alias, SqlFault> {
    let id = |column| Ok::<_, SqlFault>(row.get::<_, Option<[u8; 20]>>(column)?.map(Sha1Git::from_bytes));
    let time = |column| Ok::<_, SqlFault>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let fetched = match id(7)? {
        None => None,
        Some(content) => Some(Fetched {
            content: BundleKey::with_default_format(ObjectKind::Content, content),
            size: unsigned(row, 8)?,
            media_type: row.get(9)?,
            file_name: row.get(10)?,
            directory: match id(11)? {
                Some(id) => Ok(Directory { id, size: unsigned(row, 12)? }),
                None => Err(row.get(13)?),
            },
        }),
    };
    let drift = match (id(15)?, id(17)?, time(18)?) {
        (Some(first), Some(last), Some(at)) => Some(Drift { times: unsigned(row, 16)?, first, last, at }),
        _ => None,
    };
    let text = |column| row.get::<_, String>(column);
    let wanted =
        Wanted { source: text(1)?, repo: text(2)?, rev: text(3)?, suffix: text(4)?, subdir: text(5)?, url: text(6)? };
    Ok(Alias { row: row.get(0)?, wanted, fetched, fetched_at: time(14)?, drift })
}

/// The task in the columns after those of its alias.
fn read_task(row: &Row<'_>) -> Result<Task, SqlFault> {
    let at = AFTER_ALIAS;
    let fault = match row.get::<_, Option<String>>(at + 6)? {
        None => None,
        Some(word) => Some(Fault {
            code: FaultCode::from_word(&word).ok_or(SqlFault::Row("a fault is none that exists"))?,
            message: row.get(at + 7)?,
        }),
    };
    Ok(Task {
        id: row.get(at)?,
        state: State::from_code(row.get(at + 1)?).ok_or(SqlFault::Row("a state is none that exists"))?,
        created_at: Timestamp::from_millis(row.get(at + 2)?),
        ready_at: Timestamp::from_millis(row.get(at + 3)?),
        ended_at: row.get::<_, Option<i64>>(at + 4)?.map(Timestamp::from_millis),
        attempts: row.get(at + 5)?,
        fault,
    })
}
