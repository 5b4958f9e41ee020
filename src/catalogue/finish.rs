//! How a cook ends: done, failed, or left to the cook of another bundle with the same bytes.
//!
//! What happens to files happens inside the transaction, after the claim was looked at again and
//! before the commit; so nobody but the owner of the claim ever publishes, and a name that is done
//! was on disk before its row said so. Killed in between, the claim stands, its owner is found dead
//! and the cook runs again over what was published.

use super::block;
use super::clock;
use super::error::Fault;
use super::queue::{back_off, dequeue, enqueue, is_mine, requeue, set_status, waiters};
use super::row::{execute, first, insert, key_params, signed};
use super::{Catalogue, CatalogueError, Claim, segment};
use crate::bundle::{Failure, FileFacts, Remarks, Status};
use crate::key::{BundleKey, Sha1Git};
use crate::segment::Written;
use crate::time::Timestamp;
use rusqlite::Connection;
use std::io;
use std::time::Duration;

/// Transient failures after which a cook is tried again.
const RETRIES: u32 = 5;
/// The longest reason kept, in bytes: rows are to stay small.
const MESSAGE: usize = 500;

/// What a cook came to, beside its draft.
#[derive(Clone, Copy)]
pub struct Finishing<'a> {
    /// Of the draft.
    pub facts: FileFacts,
    /// What is to be said of the bundle.
    pub remarks: &'a Remarks,
    /// How long it took.
    pub took: Duration,
    /// Whether the cook may have read an object; the bundle's own counts as read.
    pub met: &'a dyn Fn(&Sha1Git) -> bool,
    /// The segments of the draft, in order, where it has any that others may copy.
    pub segments: &'a [Written],
}

/// What became of a finished cook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Its names are done.
    Done,
    /// The claim was lost, or the bundle removed: nothing was published.
    Lost,
    /// Something was blocked since the claim that the bundle may hold: nothing was published, and the
    /// claim stands. It is to be given back and cooked anew.
    Outdated,
}

/// What became of a cook that was left to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegated {
    /// The other was done: so is this one.
    Linked,
    /// This one ends when the other does. Also when the claim was lost: somebody else sees to it.
    Waiting,
    /// Something was blocked since the claim: nothing was done, and the claim stands. It is to be given
    /// back.
    Outdated,
}

/// What became of a failed cook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again, not before this time of the machine's clock. Also when the claim was
    /// lost: somebody else sees to it.
    Retry(Timestamp),
    /// It is not.
    Final,
}

impl Catalogue {
    /// Leaves a cook to that of `root`, whose bundle has the same bytes: a flat bundle of a revision
    /// or a release to that of its directory.
    ///
    /// When `root` is done, `link(root, name)` gives its file a further name and this bundle is
    /// done too. When it is not, or `link` finds its file gone, it is put in the queue in this
    /// cook's place, whether the queue is full or not and though it may have failed before, and this
    /// cook waits through it.
    #[expect(clippy::needless_pass_by_value, reason = "the claim is used up")]
    pub fn delegate(
        &self,
        claim: Claim,
        root: &BundleKey,
        now: Timestamp,
        mut link: impl FnMut(&BundleKey, &BundleKey) -> io::Result<bool>,
    ) -> Result<Delegated, CatalogueError> {
        self.write("leave a cook to another", |transaction| {
            if *root == claim.key {
                return Err(Fault::Row("a cook was left to itself"));
            }
            let now = clock::tick(transaction, now)?.now();
            if !is_mine(transaction, &claim)? {
                return Ok(Delegated::Waiting);
            }
            if block::any_since(transaction, &claim, |_| true)? {
                return Ok(Delegated::Outdated);
            }
            if let Some(file) = file_of(transaction, root)? {
                let names = names(transaction, &claim)?;
                if link_all(root, &names, &mut link).map_err(Fault::Files)? {
                    done(transaction, &claim, &names, file, now)?;
                    used(transaction, file, now)?;
                    return Ok(Delegated::Linked);
                }
            }
            wait_for(transaction, &claim, root, now)?;
            Ok(Delegated::Waiting)
        })
    }

    /// [`finish_cook`](Self::finish_cook), of a cook of which nothing is to be said, and that may have
    /// read anything.
    pub fn finish(
        &self,
        claim: Claim,
        facts: FileFacts,
        took: Duration,
        now: Timestamp,
        publish: impl FnOnce(&[BundleKey]) -> io::Result<()>,
    ) -> Result<Finished, CatalogueError> {
        let finishing = Finishing { facts, remarks: &Remarks::default(), took, met: &|_| true, segments: &[] };
        self.finish_cook(claim, &finishing, now, publish)
    }

    /// Ends a cook whose draft is whole: `publish` gives the file its names, this bundle's and those
    /// of all that wait through it, and they are done.
    ///
    /// Whoever waits is the name of a revision or a release that leads here through objects that this
    /// cook has not read: then whatever was blocked since outdates it.
    #[expect(clippy::needless_pass_by_value, reason = "the claim is used up")]
    pub fn finish_cook(
        &self,
        claim: Claim,
        finishing: &Finishing<'_>,
        now: Timestamp,
        publish: impl FnOnce(&[BundleKey]) -> io::Result<()>,
    ) -> Result<Finished, CatalogueError> {
        self.write("finish a cook", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if !is_mine(transaction, &claim)? {
                return Ok(Finished::Lost);
            }
            let names = names(transaction, &claim)?;
            if block::any_since(transaction, &claim, |id| names.len() > 1 || (finishing.met)(id))? {
                return Ok(Finished::Outdated);
            }
            let file = add_file(transaction, &finishing.facts, finishing.took, now)?;
            done(transaction, &claim, &names, file, now)?;
            remark(transaction, &names, finishing.remarks)?;
            segment::keep(transaction, file, finishing.segments, now)?;
            // Last: whatever SQLite finds wrong is found before anything is published.
            publish(&names).map_err(Fault::Files)?;
            Ok(Finished::Done)
        })
    }

    /// Ends a cook that failed. When the reason is transient it is tried again, five times, after
    /// 1, 2, 4, 8 and 16 seconds; else it has failed, and all that wait through it have.
    #[expect(clippy::needless_pass_by_value, reason = "the claim is used up")]
    pub fn fail(&self, claim: Claim, failure: Failure, now: Timestamp) -> Result<Failed, CatalogueError> {
        self.write("fail a cook", |transaction| {
            let clock = clock::tick(transaction, now)?;
            if !is_mine(transaction, &claim)? {
                return Ok(Failed::Retry(now));
            }
            if failure.code.is_transient() && claim.attempt < RETRIES {
                let ready_at = back_off(clock, claim.attempt);
                requeue(transaction, &Claim { attempt: claim.attempt + 1, ..claim.clone() }, ready_at)?;
                return Ok(Failed::Retry(clock.to_wall(ready_at)));
            }
            give_up(transaction, &claim, &failure, clock.now())?;
            Ok(Failed::Final)
        })
    }
}

/// Marks a claimed cook and all that wait through it as failed.
pub(super) fn give_up(transaction: &Connection, claim: &Claim, failure: &Failure, now: Timestamp) -> Result<(), Fault> {
    let message = &failure.message[..failure.message.floor_char_boundary(MESSAGE)];
    for name in names(transaction, claim)? {
        let (kind, id, format) = key_params(&name);
        execute(
            transaction,
            "UPDATE bundle SET status = 3, failed_at = ?4, failure = ?5, message = ?6
             WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
            (kind, id, format, now.as_millis(), failure.code.as_str(), message),
        )?;
    }
    dequeue(transaction, claim.seq)
}

/// The bundle of a claim, then those that wait through it.
fn names(transaction: &Connection, claim: &Claim) -> Result<Vec<BundleKey>, Fault> {
    let mut names = vec![claim.key];
    names.extend(waiters(transaction, claim.seq)?);
    Ok(names)
}

/// `names` of a claim are names of `file` and done.
fn done(transaction: &Connection, claim: &Claim, names: &[BundleKey], file: i64, now: Timestamp) -> Result<(), Fault> {
    for name in names {
        let (kind, id, format) = key_params(name);
        execute(
            transaction,
            "UPDATE bundle SET status = 2, file = ?4, done_at = ?5 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
            (kind, id, format, file, now.as_millis()),
        )?;
    }
    dequeue(transaction, claim.seq)
}

/// Keeps what is to be said of bundles that are done.
fn remark(transaction: &Connection, names: &[BundleKey], remarks: &Remarks) -> Result<(), Fault> {
    if *remarks == Remarks::default() {
        return Ok(());
    }
    let notes = (!remarks.notes.is_empty()).then(|| serde_json::Value::from(remarks.notes.clone()).to_string());
    for name in names {
        let (kind, id, format) = key_params(name);
        execute(
            transaction,
            "UPDATE bundle SET notes = ?4, lossy = ?5 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
            (kind, id, format, &notes, remarks.lossy),
        )?;
    }
    Ok(())
}

/// Adds a file, last used now, and gives its row.
pub(super) fn add_file(
    transaction: &Connection,
    facts: &FileFacts,
    took: Duration,
    now: Timestamp,
) -> Result<i64, Fault> {
    let millis = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    insert(
        transaction,
        "INSERT INTO file (size, allocated, blake3, last_access, cook_millis, credit)
         VALUES (?1, ?2, ?3, ?4, ?5, (SELECT inflation FROM gdsf WHERE one = 1)) RETURNING id",
        (signed(facts.size), signed(facts.allocated), facts.blake3, now.as_millis(), millis),
    )
}

/// A file is used now; it may have been later.
pub(super) fn used(transaction: &Connection, file: i64, now: Timestamp) -> Result<(), Fault> {
    let sql = "UPDATE file SET last_access = ?2 WHERE id = ?1 AND last_access < ?2";
    execute(transaction, sql, (file, now.as_millis())).map(drop)
}

/// The file of a done bundle.
fn file_of(transaction: &Connection, key: &BundleKey) -> Result<Option<i64>, Fault> {
    let sql = "SELECT file FROM bundle WHERE kind = ?1 AND sha1git = ?2 AND format = ?3 AND status = 2";
    first(transaction, sql, key_params(key), |row| Ok(row.get(0)?))
}

/// `false` when the file of `root` is gone.
fn link_all(
    root: &BundleKey,
    names: &[BundleKey],
    link: &mut impl FnMut(&BundleKey, &BundleKey) -> io::Result<bool>,
) -> io::Result<bool> {
    for name in names {
        if !link(root, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a claimed cook, and those that wait through it, wait through that of `root`.
fn wait_for(transaction: &Connection, claim: &Claim, root: &BundleKey, now: Timestamp) -> Result<(), Fault> {
    let sql = "SELECT seq, root FROM cook WHERE kind = ?1 AND sha1git = ?2 AND format = ?3";
    let queued = first(transaction, sql, key_params(root), |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let seq = if let Some((seq, further)) = queued {
        // Never through two rows: whom `root` waits for, this one waits for.
        further.unwrap_or(seq)
    } else {
        let place = first(transaction, "SELECT ready_at FROM cook WHERE seq = ?1", [claim.seq], |row| {
            Ok(Timestamp::from_millis(row.get(0)?))
        })?;
        enqueue(transaction, root, now, place.unwrap_or(now))?
    };
    if seq == claim.seq {
        return Err(Fault::Row("two cooks were left to each other"));
    }
    execute(transaction, "UPDATE cook SET owner = NULL, root = ?2 WHERE seq = ?1", (claim.seq, seq))?;
    execute(transaction, "UPDATE cook SET root = ?2 WHERE root = ?1", (claim.seq, seq))?;
    set_status(transaction, &claim.key, Status::Pending)
}
