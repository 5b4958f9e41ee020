//! The Archiver's aliases and tasks: ordering a fetch, claiming it, and how it ends.
//!
//! Single flight is an index: an alias has one task at most that has not ended. A fetch belongs to a
//! process as a cook does. What comes of it is written in one transaction with the bundle of its
//! bytes, so that a task never says SUCCESS before its archive is published.

mod placement;
mod placing;
mod queue;
mod read;

pub use placement::{Placed, Placement, PlacementEnd, PlacementJob, PlacementState};
pub use queue::{Job, TaskOrder};

use super::finish::{add_file, used};
use super::queue::dequeue;
use super::row::{execute, first, key_params, signed};
use super::{Catalogue, CatalogueError, clock, error::Fault as SqlFault};
use crate::bundle::FileFacts;
use crate::key::{BundleKey, Sha1Git};
use crate::task::{Fault, Fetched, State};
use crate::time::Timestamp;
use rusqlite::Connection;
use std::io;
use std::time::Duration;

/// The longest reason kept, in bytes.
const MESSAGE: usize = 500;

/// What a fetch brought, its draft being whole and read through.
#[derive(Clone, Debug)]
pub struct Landing {
    /// What the alias is to stand for.
    pub fetched: Fetched,
    /// The draft.
    pub facts: FileFacts,
    /// How long it took.
    pub took: Duration,
    /// Whether other bytes than before are a fault.
    pub immutable: bool,
    /// Whether other bytes than before are to be expected: the alias stands for the newest.
    pub moves: bool,
    /// The regions that it is to be in.
    pub regions: Vec<String>,
}

/// What became of what a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landed {
    /// It is published and the alias stands for it.
    Published,
    /// The bytes are others than those that are there. These stay, and the drift is recorded.
    Drifted,
    /// The bytes are others than the first and must not be: the drift is recorded, nothing else.
    Refused,
    /// The archive, or its directory, was blocked: nothing was done.
    Blocked,
    /// The task is no longer this process's: nothing was done.
    Lost,
}

/// What became of a task that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is tried again.
    Retry,
    /// It is not.
    Final,
    /// The task was no longer this process's.
    Lost,
}

impl Catalogue {
    /// Ends a fetch that brought something. `is_there` says whether the file of a bundle is in the
    /// store, `publish` gives the draft its names: both are called inside the transaction.
    pub fn land(
        &self,
        job: &Job,
        landing: &Landing,
        now: Timestamp,
        is_there: impl FnOnce(&BundleKey) -> io::Result<bool>,
        publish: impl FnOnce(&[BundleKey]) -> io::Result<()>,
    ) -> Result<Landed, CatalogueError> {
        self.write("finish a fetch", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if !queue::is_mine(transaction, job)? {
                return Ok(Landed::Lost);
            }
            let content = landing.fetched.content;
            // Blocked while it was fetched, perhaps: no file of it may appear, for a web server would serve it.
            let directory = landing.fetched.directory.as_ref().ok().map(|directory| directory.id);
            for id in [Some(content.id()), directory].into_iter().flatten() {
                let sql = "SELECT 1 FROM block WHERE sha1git = ?1";
                if first(transaction, sql, [id.as_bytes()], |row| Ok(row.get::<_, i64>(0)?))?.is_some() {
                    return Ok(Landed::Blocked);
                }
            }
            let before = first(
                transaction,
                "SELECT content FROM archiver_alias WHERE id = ?1 AND content IS NOT NULL",
                [job.alias.row],
                |row| Ok(Sha1Git::from_bytes(row.get(0)?)),
            )?;
            if let Some(before) = before.filter(|before| *before != content.id() && !landing.moves) {
                drift(transaction, job, &content, now)?;
                let before = BundleKey::new(content.kind(), before, content.format())
                    .map_err(|_| SqlFault::Row("an alias is of no content"))?;
                if is_there(&before).map_err(SqlFault::Files)? {
                    queue::end(transaction, job, State::Success, None, now)?;
                    return Ok(Landed::Drifted);
                }
                if landing.immutable {
                    return Ok(Landed::Refused);
                }
            }
            adopt(transaction, &content, &landing.facts, landing.took, now)?;
            placing::want(transaction, &Placed::of(&landing.fetched, &landing.facts), &landing.regions, now)?;
            point(transaction, job, &landing.fetched, now)?;
            queue::end(transaction, job, State::Success, None, now)?;
            // Last: whatever SQLite finds wrong is found before anything is published.
            publish(&[content]).map_err(SqlFault::Files)?;
            Ok(Landed::Published)
        })
    }

    /// Ends a try that failed. With `again` the task waits until then, else it has failed.
    pub fn drop_fetch(
        &self,
        job: &Job,
        fault: &Fault,
        again: Option<Duration>,
        now: Timestamp,
    ) -> Result<Dropped, CatalogueError> {
        self.write("fail a fetch", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if !queue::is_mine(transaction, job)? {
                return Ok(Dropped::Lost);
            }
            let Some(wait) = again else {
                queue::end(transaction, job, State::Failure, Some(fault), now)?;
                return Ok(Dropped::Final);
            };
            let (wait, message) = (now.after(wait).as_millis(), cut(&fault.message));
            execute(
                transaction,
                "UPDATE archiver_task SET state = 4, owner = NULL, attempts = attempts + 1, ready_at = ?2,
                        waits_since = ?2, fault = ?3, message = ?4 WHERE seq = ?1",
                (job.seq, wait, fault.code.as_str(), message),
            )?;
            Ok(Dropped::Retry)
        })
    }
}

/// Other bytes came than those that the alias stands for.
fn drift(transaction: &Connection, job: &Job, content: &BundleKey, now: Timestamp) -> Result<(), SqlFault> {
    execute(
        transaction,
        "UPDATE archiver_alias SET drifts = drifts + 1, drift_content = ?2, drifted_at = ?3 WHERE id = ?1",
        (job.alias.row, content.id().as_bytes(), now.as_millis()),
    )
    .map(drop)
}

/// The alias stands for what was fetched.
fn point(transaction: &Connection, job: &Job, fetched: &Fetched, now: Timestamp) -> Result<(), SqlFault> {
    let (directory, size, reason) = match &fetched.directory {
        Ok(directory) => (Some(*directory.id.as_bytes()), Some(signed(directory.size)), None),
        Err(reason) => (None, None, Some(cut(reason))),
    };
    let content = fetched.content.id();
    execute(
        transaction,
        "UPDATE archiver_alias SET content = ?2, size = ?3, media_type = ?4, file_name = ?5, directory = ?6,
                directory_size = ?7, no_directory = ?8, fetched_at = ?9, first_content = coalesce(first_content, ?2)
         WHERE id = ?1",
        (
            job.alias.row,
            content.as_bytes(),
            signed(fetched.size),
            &fetched.media_type,
            &fetched.file_name,
            directory,
            size,
            reason,
            now.as_millis(),
        ),
    )
    .map(drop)
}

/// The content is a bundle that is done, whatever it was before.
fn adopt(
    transaction: &Connection,
    content: &BundleKey,
    facts: &FileFacts,
    took: Duration,
    now: Timestamp,
) -> Result<(), SqlFault> {
    let (kind, id, format) = key_params(content);
    let known = "SELECT file FROM bundle WHERE kind = ?1 AND sha1git = ?2 AND format = ?3 AND status = 2";
    if let Some(file) = first(transaction, known, (kind, id, format), |row| Ok(row.get::<_, i64>(0)?))? {
        return used(transaction, file, now);
    }
    let file = add_file(transaction, facts, took, now)?;
    execute(
        transaction,
        "INSERT INTO bundle (kind, sha1git, format, status, file, created_at, done_at) VALUES (?1, ?2, ?3, 2, ?4, ?5, ?5)
         ON CONFLICT (kind, sha1git, format) DO UPDATE
         SET status = 2, file = ?4, done_at = ?5, failed_at = NULL, failure = NULL, message = NULL",
        (kind, id, format, file, now.as_millis()),
    )?;
    // Whoever cooks it from another archive finds the claim lost.
    let queued = "SELECT seq FROM cook WHERE kind = ?1 AND sha1git = ?2 AND format = ?3";
    match first(transaction, queued, (kind, id, format), |row| Ok(row.get::<_, i64>(0)?))? {
        Some(seq) => dequeue(transaction, seq),
        None => Ok(()),
    }
}

/// A reason of a length that rows may have.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE)]
}

#[cfg(test)]
mod tests;
