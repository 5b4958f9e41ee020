//! Where contents are beside the store: which regions have which, are to have it, or are to lose it.
//!
//! A row is worked at by one process at a time, its owner, so that no deletion overtakes an upload. What
//! changes its mind meanwhile changes the state alone: whoever ends the work finds that, and the row is
//! due at once.

use super::super::row::{collect, execute, first, key_params, signed};
use super::super::{Catalogue, CatalogueError, clock, error::Fault as SqlFault};
use super::placement::{Placed, Placement, PlacementEnd, PlacementJob, content, placement_columns, read};
use super::{adopt, cut};
use crate::bundle::FileFacts;
use crate::key::BundleKey;
use crate::time::Timestamp;
use rusqlite::Connection;
use std::io;
use std::time::Duration;

/// Rows that are made due in one transaction.
const HURRIED_AT_ONCE: u32 = 1000;

impl Catalogue {
    /// Where a content is, in order of the regions' names.
    pub fn placements(&self, content: &BundleKey) -> Result<Vec<Placement>, CatalogueError> {
        self.read("look where an archive is", |connection| {
            let sql =
                concat!("SELECT ", placement_columns!(), " FROM archiver_placement WHERE content = ?1 ORDER BY region");
            collect(connection, sql, [content.id().as_bytes()], read)
        })
    }

    /// Has a content put into these regions, where it is not and nobody means to.
    pub fn want_placements(&self, placed: &Placed, regions: &[String], now: Timestamp) -> Result<(), CatalogueError> {
        self.write("have an archive put into regions", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if is_kept(transaction, &placed.content)? { want(transaction, placed, regions, now) } else { Ok(()) }
        })
    }

    /// Claims the placement of an object that is just being fetched, whatever it was before. `None` when
    /// a process is at it.
    pub fn claim_placement(
        &self,
        placed: &Placed,
        region: &str,
        owner: &str,
        now: Timestamp,
    ) -> Result<Option<PlacementJob>, CatalogueError> {
        self.write("claim a placement", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            want(transaction, placed, std::slice::from_ref(&region.to_owned()), now)?;
            claim(transaction, &placed.content, region, owner)
        })
    }

    /// Claims what has been due for longest in a region.
    pub fn next_placement(
        &self,
        region: &str,
        owner: &str,
        now: Timestamp,
    ) -> Result<Option<PlacementJob>, CatalogueError> {
        let due = |connection: &Connection, now: Timestamp| {
            let sql = "SELECT content FROM archiver_placement INDEXED BY archiver_placement_due
                       WHERE region = ?1 AND owner IS NULL AND due_at <= ?2 ORDER BY due_at LIMIT 1";
            first(connection, sql, (region, now.as_millis()), |row| content(row, 0))
        };
        let idle = self.read("look for a placement", |connection| {
            Ok(due(connection, clock::read(connection)?.at(now).now())?.is_none())
        })?;
        if idle {
            return Ok(None);
        }
        self.write("claim a placement", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            match due(transaction, now)? {
                Some(content) => claim(transaction, &content, region, owner),
                None => Ok(None),
            }
        })
    }

    /// Notes that a multipart upload is about to begin, its name being empty still, or has.
    pub fn note_upload(&self, job: &PlacementJob, upload: &str) -> Result<(), CatalogueError> {
        self.write("note an upload", |transaction| {
            let (content, region, owner) = job.key();
            let sql = "UPDATE archiver_placement SET upload = ?4 WHERE content = ?1 AND region = ?2 AND owner = ?3";
            execute(transaction, sql, (content, region, owner, upload)).map(drop)
        })
    }

    /// Ends the work at a placement.
    pub fn end_placement(&self, job: &PlacementJob, end: &PlacementEnd, now: Timestamp) -> Result<(), CatalogueError> {
        self.write("end a placement", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let (content, region, owner) = job.key();
            let changed = match end {
                PlacementEnd::There(again) => {
                    let sql = "UPDATE archiver_placement SET state = 1, owner = NULL, put_at = ?4, due_at = ?5,
                                      attempts = 0, fault = NULL, upload = NULL
                               WHERE content = ?1 AND region = ?2 AND owner = ?3 AND state <> 2";
                    let again = now.after(*again).as_millis();
                    execute(transaction, sql, (content, region, owner, now.as_millis(), again))?
                }
                PlacementEnd::Deleted => {
                    let sql = "DELETE FROM archiver_placement
                               WHERE content = ?1 AND region = ?2 AND owner = ?3 AND state = 2";
                    execute(transaction, sql, (content, region, owner))?
                }
                PlacementEnd::Orphaned => {
                    let sql =
                        "UPDATE archiver_placement SET state = 2 WHERE content = ?1 AND region = ?2 AND owner = ?3
                               AND NOT EXISTS (SELECT 1 FROM bundle WHERE kind = 0 AND sha1git = ?1 AND format = 8)";
                    execute(transaction, sql, (content, region, owner))?;
                    0
                }
                PlacementEnd::Lost => {
                    let sql = "UPDATE archiver_placement SET state = 0
                               WHERE content = ?1 AND region = ?2 AND owner = ?3 AND state = 1";
                    execute(transaction, sql, (content, region, owner))?;
                    0
                }
                PlacementEnd::Failed(fault, again) => {
                    let sql = "UPDATE archiver_placement SET owner = NULL, attempts = attempts + 1, fault = ?4,
                                      due_at = ?5
                               WHERE content = ?1 AND region = ?2 AND owner = ?3";
                    let again = now.after(*again).as_millis();
                    execute(transaction, sql, (content, region, owner, cut(fault), again))?
                }
                PlacementEnd::GivenBack => 0,
            };
            if changed == 0 {
                // Due as it stands now: what was wanted of it may have changed meanwhile.
                let sql = "UPDATE archiver_placement SET owner = NULL, due_at = ?4
                           WHERE content = ?1 AND region = ?2 AND owner = ?3";
                execute(transaction, sql, (content, region, owner, now.as_millis()))?;
            }
            Ok(())
        })
    }

    /// Somebody looked at an object that should be there, and that no process is at: it is, and is to be looked
    /// at again after this time; or it is not, and is to be put again.
    pub fn note_look(
        &self,
        content: &BundleKey,
        region: &str,
        again: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), CatalogueError> {
        self.write("note a look at an archive", |transaction| {
            let (now, id) = (clock::tick(transaction, now)?.now(), *content.id().as_bytes());
            if let Some(again) = again {
                let sql = "UPDATE archiver_placement SET put_at = ?3, due_at = ?4, attempts = 0, fault = NULL
                           WHERE content = ?1 AND region = ?2 AND state = 1 AND owner IS NULL";
                execute(transaction, sql, (id, region, now.as_millis(), now.after(again).as_millis())).map(drop)
            } else {
                let sql = "UPDATE archiver_placement SET state = 0, due_at = ?3
                           WHERE content = ?1 AND region = ?2 AND state = 1 AND owner IS NULL";
                execute(transaction, sql, (id, region, now.as_millis())).map(drop)
            }
        })
    }

    /// What was placed for a fetch that came to nothing is to go, unless it is kept for another reason.
    pub fn unwant_placements(&self, content: &BundleKey, now: Timestamp) -> Result<(), CatalogueError> {
        self.write("give up placements", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if is_kept(transaction, content)? {
                return Ok(());
            }
            let sql = "UPDATE archiver_placement SET state = 2, due_at = ?2 WHERE content = ?1";
            execute(transaction, sql, (content.id().as_bytes(), now.as_millis())).map(drop)
        })
    }

    /// The processes that work at placements.
    pub fn placement_owners(&self) -> Result<Vec<String>, CatalogueError> {
        self.read("list the owners of placements", |connection| {
            let sql = "SELECT DISTINCT owner FROM archiver_placement INDEXED BY archiver_placement_by_owner
                       WHERE owner > '' ORDER BY owner";
            collect(connection, sql, [], |row| Ok(row.get(0)?))
        })
    }

    /// Takes the placements of a dead process away from it: they are due now.
    pub fn release_placements(&self, owner: &str, now: Timestamp) -> Result<u64, CatalogueError> {
        self.write("release the placements of a dead process", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let sql = "UPDATE archiver_placement SET owner = NULL, due_at = ?2 WHERE owner = ?1";
            Ok(execute(transaction, sql, (owner, now.as_millis()))? as u64)
        })
    }

    /// What failed in a region is due now; for when it is back.
    pub fn hurry_placements(&self, region: &str, now: Timestamp) -> Result<(), CatalogueError> {
        loop {
            let hurried = self.write("hurry placements", |transaction| {
                let now = clock::tick(transaction, now)?.now();
                let sql = "SELECT content FROM archiver_placement INDEXED BY archiver_placement_failed
                           WHERE region = ?1 AND owner IS NULL AND attempts > 0 AND due_at > ?2
                           ORDER BY due_at LIMIT ?3";
                let failed =
                    collect(transaction, sql, (region, now.as_millis(), HURRIED_AT_ONCE), |row| content(row, 0))?;
                for content in &failed {
                    let sql = "UPDATE archiver_placement SET due_at = ?3 WHERE content = ?1 AND region = ?2";
                    execute(transaction, sql, (content.id().as_bytes(), region, now.as_millis()))?;
                }
                Ok(failed.len())
            })?;
            if hurried < HURRIED_AT_ONCE as usize {
                return Ok(());
            }
        }
    }

    /// Makes a content that is kept done again, its file having been lost. `publish` gives the draft
    /// its name, inside the transaction. `false` when it is not kept any more.
    pub fn restore_content(
        &self,
        content: &BundleKey,
        facts: &FileFacts,
        took: Duration,
        now: Timestamp,
        publish: impl FnOnce() -> io::Result<()>,
    ) -> Result<bool, CatalogueError> {
        self.write("bring an archive back", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if !is_kept(transaction, content)? {
                return Ok(false);
            }
            adopt(transaction, content, facts, took, now)?;
            publish().map_err(SqlFault::Files)?;
            Ok(true)
        })
    }
}

/// Has a content put into these regions, where it is not and nobody means to.
pub(super) fn want(
    transaction: &Connection,
    placed: &Placed,
    regions: &[String],
    now: Timestamp,
) -> Result<(), SqlFault> {
    for region in regions {
        execute(
            transaction,
            "INSERT INTO archiver_placement (content, region, size, blake3, media_type, file_name, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (content, region) DO UPDATE SET state = 0, due_at = ?7, attempts = 0
             WHERE archiver_placement.state = 2",
            (
                placed.content.id().as_bytes(),
                region,
                signed(placed.size),
                placed.blake3,
                &placed.media_type,
                &placed.file_name,
                now.as_millis(),
            ),
        )?;
    }
    Ok(())
}

fn claim(
    transaction: &Connection,
    content: &BundleKey,
    region: &str,
    owner: &str,
) -> Result<Option<PlacementJob>, SqlFault> {
    let id = *content.id().as_bytes();
    let sql = "UPDATE archiver_placement SET owner = ?3 WHERE content = ?1 AND region = ?2 AND owner IS NULL";
    if execute(transaction, sql, (id, region, owner))? == 0 {
        return Ok(None);
    }
    let is_kept = is_kept(transaction, content)?;
    let sql = concat!("SELECT ", placement_columns!(), " FROM archiver_placement WHERE content = ?1 AND region = ?2");
    first(transaction, sql, (id, region), |row| {
        Ok(PlacementJob { placement: read(row)?, upload: row.get(11)?, is_kept, owner: owner.to_owned() })
    })
}

fn is_kept(transaction: &Connection, content: &BundleKey) -> Result<bool, SqlFault> {
    let sql = "SELECT 1 FROM bundle WHERE kind = ?1 AND sha1git = ?2 AND format = ?3";
    Ok(first(transaction, sql, key_params(content), |_| Ok(()))?.is_some())
}

#[cfg(test)]
#[path = "placing_tests.rs"]
mod tests;
