//! Who fetches what, and when: tasks from their order to their end.

use super::super::row::{self, collect, execute, first, insert};
use super::super::{Catalogue, CatalogueError, clock, error::Fault as SqlFault};
use super::{cut, read};
use crate::task::{Alias, Fault, FaultCode, State, Wanted};
use crate::time::Timestamp;
use rusqlite::Connection;
use std::time::Duration;

/// After more interruptions than this it is the fetch that kills its process.
const INTERRUPTIONS: u32 = 25;
/// Tasks that are forgotten in one transaction.
const CLEANED_AT_ONCE: u32 = 1000;

/// What became of asking for an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskOrder {
    /// A task waits now, and did not before.
    Queued(String),
    /// This task is on its way already, or failed a moment ago.
    Already(String),
    /// Nothing was changed: too many wait.
    QueueFull,
}

/// The right to fetch one archive. Used after it was lost it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The task.
    pub id: String,
    /// What is fetched.
    pub alias: Alias,
    /// Tries before this one that failed.
    pub attempts: u32,
    /// The process that fetches.
    pub owner: String,
    interruptions: u32,
    pub(super) seq: i64,
}

impl Catalogue {
    /// Asks for a fetch, by a task called `id` if there is none under way. A failure shorter ago than
    /// `remember` is not tried again.
    pub fn order_fetch(
        &self,
        wanted: &Wanted,
        host: &str,
        id: &str,
        max_waiting: u64,
        remember: Duration,
        now: Timestamp,
    ) -> Result<TaskOrder, CatalogueError> {
        let key = wanted.key();
        let settled = |connection: &Connection, now: Timestamp| {
            let Some(row) = read::alias_row(connection, &key)? else { return Ok(None) };
            standing(connection, row, remember, now)
        };
        let standing = self.read("order a fetch", |connection| {
            let now = clock::read(connection)?.at(now).now();
            settled(connection, now)
        })?;
        if let Some(task) = standing {
            return Ok(TaskOrder::Already(task));
        }
        self.write("order a fetch", |transaction| {
            let at = clock::read(transaction)?.at(now).now();
            if let Some(task) = settled(transaction, at)? {
                return Ok(TaskOrder::Already(task));
            }
            if are_waiting(transaction, max_waiting)? {
                return Ok(TaskOrder::QueueFull);
            }
            let at = clock::tick(transaction, now)?.now();
            let alias = match read::alias_row(transaction, &key)? {
                Some(row) => row,
                None => add_alias(transaction, wanted)?,
            };
            execute(
                transaction,
                "INSERT INTO archiver_task (id, alias, host, created_at, waits_since, ready_at)
                 VALUES (?1, ?2, ?3, ?4, ?4, ?4)",
                (id, alias, host, at.as_millis()),
            )?;
            Ok(TaskOrder::Queued(id.to_owned()))
        })
    }

    /// Claims the oldest fetch that is ready, of a host that is fetched from less often than `at_once`
    /// says. `None` when none is.
    pub fn claim_fetch(
        &self,
        owner: &str,
        at_once: impl Fn(&str) -> usize,
        now: Timestamp,
    ) -> Result<Option<Job>, CatalogueError> {
        let idle = self.read("look for a fetch", |connection| {
            let now = clock::read(connection)?.at(now).now();
            Ok(next(connection, &at_once, now)?.is_none())
        })?;
        if idle {
            return Ok(None);
        }
        self.write("claim a fetch", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let Some(seq) = next(transaction, &at_once, now)? else { return Ok(None) };
            execute(transaction, "UPDATE archiver_task SET state = 1, owner = ?2 WHERE seq = ?1", (seq, owner))?;
            job(transaction, seq, owner)
        })
    }

    /// Gives a fetch back to its place in the queue, as if it had never been claimed.
    pub fn give_back_fetch(&self, job: &Job) -> Result<(), CatalogueError> {
        self.write("give back a fetch", |transaction| {
            if is_mine(transaction, job)? {
                let sql = "UPDATE archiver_task SET state = CASE WHEN attempts > 0 THEN 4 ELSE 0 END, owner = NULL
                           WHERE seq = ?1";
                execute(transaction, sql, [job.seq])?;
            }
            Ok(())
        })
    }

    /// What has waited for over `patience` waits anew, as RETRY; gives how many did.
    pub fn expire_fetches(&self, patience: Duration, now: Timestamp) -> Result<u64, CatalogueError> {
        let due = |connection: &Connection, now: Timestamp| {
            let sql = "SELECT seq FROM archiver_task INDEXED BY archiver_waiting
                       WHERE state IN (0, 4) AND waits_since < ?1 ORDER BY waits_since LIMIT 100";
            let since = now.as_millis().saturating_sub(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
            collect(connection, sql, [since], |row| Ok(row.get::<_, i64>(0)?))
        };
        let none = self.read("look for tasks that wait", |connection| {
            Ok(due(connection, clock::read(connection)?.at(now).now())?.is_empty())
        })?;
        if none {
            return Ok(0);
        }
        self.write("have tasks wait anew", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let due = due(transaction, now)?;
            for seq in &due {
                let sql = "UPDATE archiver_task SET state = 4, waits_since = ?2 WHERE seq = ?1";
                execute(transaction, sql, (seq, now.as_millis()))?;
            }
            Ok(due.len() as u64)
        })
    }

    /// Forgets tasks that ended more than `keep` ago; whether there may be more of them.
    pub fn clean_tasks(&self, keep: Duration, now: Timestamp) -> Result<bool, CatalogueError> {
        let ended = |connection: &Connection, now: Timestamp| {
            let before = now.as_millis().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
            let sql = "SELECT seq FROM archiver_task INDEXED BY archiver_ended
                       WHERE ended_at IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2";
            collect(connection, sql, (before, CLEANED_AT_ONCE), |row| Ok(row.get::<_, i64>(0)?))
        };
        let none = self.read("look for old tasks", |connection| {
            Ok(ended(connection, clock::read(connection)?.at(now).now())?.is_empty())
        })?;
        if none {
            return Ok(false);
        }
        self.write("forget old tasks", |transaction| {
            let old = ended(transaction, clock::tick(transaction, now)?.now())?;
            for seq in &old {
                execute(transaction, "DELETE FROM archiver_task WHERE seq = ?1", [seq])?;
            }
            Ok(old.len() == CLEANED_AT_ONCE as usize)
        })
    }

    /// The processes that fetch.
    pub fn fetch_owners(&self) -> Result<Vec<String>, CatalogueError> {
        self.read("list the owners of fetches", |connection| {
            let sql = "SELECT DISTINCT owner FROM archiver_task INDEXED BY archiver_by_owner
                       WHERE owner > '' ORDER BY owner";
            collect(connection, sql, [], |row| Ok(row.get(0)?))
        })
    }

    /// Takes the fetches of a dead process away from it, back into the queue, and counts them.
    pub fn release_fetches(&self, owner: &str, now: Timestamp) -> Result<u64, CatalogueError> {
        self.write("release the fetches of a dead process", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let seqs = collect(transaction, "SELECT seq FROM archiver_task WHERE owner = ?1", [owner], |row| {
                Ok(row.get::<_, i64>(0)?)
            })?;
            for &seq in &seqs {
                let Some(job) = job(transaction, seq, owner)? else { continue };
                if job.interruptions >= INTERRUPTIONS {
                    let message = format!("its fetch was cut short {} times", job.interruptions + 1);
                    let fault = Fault::new(FaultCode::Interrupted, message);
                    end(transaction, &job, State::Failure, Some(&fault), now)?;
                    continue;
                }
                execute(
                    transaction,
                    "UPDATE archiver_task SET state = 4, owner = NULL, interruptions = interruptions + 1,
                            waits_since = ?2, ready_at = ?2 WHERE seq = ?1",
                    (seq, now.as_millis()),
                )?;
            }
            Ok(seqs.len() as u64)
        })
    }
}

/// The task that answers for an alias: the one under way, or one that failed a moment ago.
fn standing(
    connection: &Connection,
    alias: i64,
    remember: Duration,
    now: Timestamp,
) -> Result<Option<String>, SqlFault> {
    let sql = "SELECT id, state, ended_at FROM archiver_task INDEXED BY archiver_by_alias
               WHERE alias = ?1 ORDER BY seq DESC LIMIT 1";
    let last = first(connection, sql, [alias], |row| {
        let ended = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_millis);
        Ok((row.get::<_, String>(0)?, row.get::<_, u8>(1)?, ended))
    })?;
    Ok(last
        .filter(|(_, state, ended)| match ended {
            None => true,
            Some(at) => *state == State::Failure.code() && now.since(*at) < remember,
        })
        .map(|(id, ..)| id))
}

/// Whether so many tasks wait; looks at no more of them than that.
fn are_waiting(connection: &Connection, number: u64) -> Result<bool, SqlFault> {
    let Some(before) = number.checked_sub(1) else { return Ok(true) };
    let sql = "SELECT 1 FROM archiver_task INDEXED BY archiver_waiting
               WHERE state IN (0, 4) AND waits_since >= ?1 ORDER BY waits_since LIMIT 1 OFFSET ?2";
    Ok(first(connection, sql, (i64::MIN, row::signed(before)), |_| Ok(()))?.is_some())
}

fn add_alias(transaction: &Connection, wanted: &Wanted) -> Result<i64, SqlFault> {
    insert(
        transaction,
        "INSERT INTO archiver_alias (key, source, repo, rev, suffix, subdir, url)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) RETURNING id",
        (wanted.key().0, &wanted.source, &wanted.repo, &wanted.rev, &wanted.suffix, &wanted.subdir, &wanted.url),
    )
}

/// The oldest task that may be claimed. Looks at one row a host: there are as many hosts as sources.
fn next(connection: &Connection, at_once: &impl Fn(&str) -> usize, now: Timestamp) -> Result<Option<i64>, SqlFault> {
    let (mut best, mut host): (Option<(i64, i64)>, String) = (None, String::new());
    loop {
        let sql = "SELECT host FROM archiver_task INDEXED BY archiver_ready
                   WHERE state IN (0, 4) AND host > ?1 ORDER BY host LIMIT 1";
        let Some(following) = first(connection, sql, [&host], |row| Ok(row.get::<_, String>(0)?))? else { break };
        host = following;
        let sql = "SELECT ready_at, seq FROM archiver_task INDEXED BY archiver_ready
                   WHERE state IN (0, 4) AND host = ?1 AND ready_at <= ?2 ORDER BY ready_at, seq LIMIT 1";
        let oldest = first(connection, sql, (&host, now.as_millis()), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some(oldest) = oldest.filter(|oldest| best.is_none_or(|best| *oldest < best)) else { continue };
        let sql =
            "SELECT count(*) FROM archiver_task INDEXED BY archiver_running WHERE host = ?1 AND owner IS NOT NULL";
        let running = first(connection, sql, [&host], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or(0);
        if usize::try_from(running).is_ok_and(|running| running < at_once(&host)) {
            best = Some(oldest);
        }
    }
    Ok(best.map(|(_, seq)| seq))
}

fn job(connection: &Connection, seq: i64, owner: &str) -> Result<Option<Job>, SqlFault> {
    let sql = "SELECT id, alias, attempts, interruptions FROM archiver_task WHERE seq = ?1";
    let task = first(connection, sql, [seq], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?))
    })?;
    let Some((id, alias, attempts, interruptions)) = task else { return Ok(None) };
    let alias = read::alias(connection, alias)?.ok_or(SqlFault::Row("a task is of no alias"))?;
    Ok(Some(Job { id, alias, attempts, owner: owner.to_owned(), interruptions, seq }))
}

/// Whether the claim still stands.
pub(super) fn is_mine(transaction: &Connection, job: &Job) -> Result<bool, SqlFault> {
    let sql = "SELECT 1 FROM archiver_task WHERE seq = ?1 AND owner = ?2 AND attempts = ?3 AND interruptions = ?4";
    Ok(first(transaction, sql, (job.seq, &job.owner, job.attempts, job.interruptions), |_| Ok(()))?.is_some())
}

/// Ends a task.
pub(super) fn end(
    transaction: &Connection,
    job: &Job,
    state: State,
    fault: Option<&Fault>,
    now: Timestamp,
) -> Result<(), SqlFault> {
    let (code, message) = fault.map(|fault| (fault.code.as_str(), cut(&fault.message))).unzip();
    execute(
        transaction,
        "UPDATE archiver_task SET state = ?2, owner = NULL, ended_at = ?3, fault = ?4, message = ?5 WHERE seq = ?1",
        (job.seq, state.code(), now.as_millis(), code, message),
    )
    .map(drop)
}
