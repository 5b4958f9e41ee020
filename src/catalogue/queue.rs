//! The queue: asking for a bundle, claiming its cook, giving it back, and taking over from a
//! process that died.
//!
//! A row's `ready_at` is both its place in the queue and its back-off: the oldest that is ready goes
//! first. A claim is the row's `seq`, owner and counters together: once a row was released or
//! retried, an older claim of it no longer fits, whoever holds it.

use super::clock::{self, Clock};
use super::error::Fault;
use super::row::{collect, execute, first, insert, key_params};
use super::{Catalogue, CatalogueError, bundle, finish, row, totals};
use crate::bundle::{Bundle, Failure, FailureCode, Status};
use crate::key::BundleKey;
use crate::time::Timestamp;
use rusqlite::Connection;
use std::time::Duration;

/// Interruptions that cost a cook nothing but its place in the queue.
const INTERRUPTIONS_FREE: u32 = 4;
/// The longest wait after an interruption.
const INTERRUPTION_WAIT: Duration = Duration::from_mins(10);
/// After more interruptions than this it is the cook that kills its process.
const INTERRUPTIONS: u32 = 25;

/// What became of asking for a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// It waits for a cook now, and did not before.
    Queued(Bundle),
    /// Nothing was changed: it is being cooked, or done, or failed too recently.
    Already(Bundle),
    /// Nothing was changed: too many wait already.
    QueueFull,
}

/// The right to cook one bundle. It ends with `finish`, `fail`, `give_back` or `delegate`, or when
/// its process is found dead; used after that it changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The bundle to cook.
    pub key: BundleKey,
    /// The process that cooks it.
    pub owner: String,
    /// Transient failures before this.
    pub attempt: u32,
    /// Processes that died cooking it.
    pub interruptions: u32,
    /// The epoch of what is blocked when it was claimed: the cook must heed no earlier list.
    pub block_epoch: u64,
    /// The row of the queue.
    pub(super) seq: i64,
}

impl Catalogue {
    /// Asks for a bundle: it is put in the queue, unless it is there, or done, or failed less than
    /// `retry_failed_after` ago, or `max_queue` others wait.
    pub fn order(
        &self,
        key: &BundleKey,
        now: Timestamp,
        max_queue: u64,
        retry_failed_after: Duration,
    ) -> Result<Order, CatalogueError> {
        let settled = |connection: &Connection, now| settled(connection, key, now, max_queue, retry_failed_after);
        let order = self.read("order a bundle", |connection| {
            let now = clock::read(connection)?.at(now).now();
            settled(connection, now)
        })?;
        if let Some(order) = order {
            return Ok(order);
        }
        self.write("order a bundle", |transaction| {
            let at = clock::read(transaction)?.at(now).now();
            if let Some(order) = settled(transaction, at)? {
                return Ok(order);
            }
            let at = clock::tick(transaction, now)?.now();
            enqueue(transaction, key, at, at)?;
            Ok(Order::Queued(expect(transaction, key)?))
        })
    }

    /// The file of a done bundle is gone: it counts as absent until it is ordered again. A pin, its
    /// hits and when it was first asked for stay.
    pub fn reopen(&self, key: &BundleKey, now: Timestamp) -> Result<(), CatalogueError> {
        self.inspect(now, |inspection| inspection.reopen(key)).map(drop)
    }

    /// Claims the oldest cook that is ready for the process `owner`. `None` when none is.
    pub fn claim(&self, owner: &str, now: Timestamp) -> Result<Option<Claim>, CatalogueError> {
        let idle = self.read("look for a cook", |connection| {
            let now = clock::read(connection)?.at(now).now();
            Ok(oldest(connection, owner, now)?.is_none())
        })?;
        if idle {
            return Ok(None);
        }
        self.write("claim a cook", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let Some(claim) = oldest(transaction, owner, now)? else { return Ok(None) };
            hand_over(transaction, &claim)?;
            Ok(Some(claim))
        })
    }

    /// Claims the cook of one bundle, whatever is before it in the queue and though its back-off is
    /// not over. `None` when nobody waits for it, when it is claimed, or when it waits for another.
    pub fn claim_this(&self, key: &BundleKey, owner: &str, now: Timestamp) -> Result<Option<Claim>, CatalogueError> {
        self.write("claim a cook", |transaction| {
            clock::tick(transaction, now)?;
            let sql = "SELECT kind, sha1git, format, attempts, interruptions, seq,
                              (SELECT epoch FROM blocking WHERE one = 1) FROM cook
                       WHERE kind = ?1 AND sha1git = ?2 AND format = ?3 AND owner IS NULL AND root IS NULL";
            let Some(claim) = first(transaction, sql, key_params(key), |row| claim(row, owner))? else {
                return Ok(None);
            };
            hand_over(transaction, &claim)?;
            Ok(Some(claim))
        })
    }

    /// Gives a cook back to the queue, not to be claimed for so long unless it is [hastened](Self::hasten): what
    /// it needs is not there yet. It counts as no try. A claim that was lost changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "the claim is used up")]
    pub fn put_off(&self, claim: Claim, wait: Duration, now: Timestamp) -> Result<(), CatalogueError> {
        self.write("put off a cook", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            if is_mine(transaction, &claim)? {
                requeue(transaction, &claim, now.after(wait))?;
            }
            Ok(())
        })
    }

    /// Makes a cook that waits in the queue ready now.
    pub fn hasten(&self, key: &BundleKey, now: Timestamp) -> Result<(), CatalogueError> {
        let (kind, id, format) = key_params(key);
        self.write("hasten a cook", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            execute(
                transaction,
                "UPDATE cook SET ready_at = ?4
                 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3 AND owner IS NULL AND root IS NULL AND ready_at > ?4",
                (kind, id, format, now.as_millis()),
            )
            .map(drop)
        })
    }

    /// Forgets up to `most` bundles that failed over `age` ago for an object that nobody has; how many. Where
    /// whatever is asked for is sought elsewhere, such rows would come without end.
    pub fn forget_absent(&self, age: Duration, most: u32, now: Timestamp) -> Result<usize, CatalogueError> {
        self.write("forget what nobody has", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let before = now.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            execute(
                transaction,
                "DELETE FROM bundle WHERE (kind, sha1git, format) IN (
                     SELECT kind, sha1git, format FROM bundle INDEXED BY bundle_absent
                     WHERE failure = 'missing-object' AND failed_at < ?1 AND pinned = 0 ORDER BY failed_at LIMIT ?2)",
                (before, most),
            )
        })
    }

    /// Makes all ready that were put off and not tried since. For a process that begins: whoever was to hasten
    /// them may be gone.
    pub fn hasten_all(&self, now: Timestamp) -> Result<(), CatalogueError> {
        self.write("hasten what was put off", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            execute(
                transaction,
                "UPDATE cook INDEXED BY cook_ready SET ready_at = ?1
                 WHERE owner IS NULL AND root IS NULL AND ready_at > ?1 AND attempts = 0 AND interruptions = 0",
                [now.as_millis()],
            )
            .map(drop)
        })
    }

    /// Gives a cook back to its place in the queue, as if it had never been claimed: a graceful
    /// stop. A claim that was lost changes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "the claim is used up")]
    pub fn give_back(&self, claim: Claim) -> Result<(), CatalogueError> {
        self.write("give back a cook", |transaction| {
            if is_mine(transaction, &claim)? {
                execute(transaction, "UPDATE cook SET owner = NULL WHERE seq = ?1", [claim.seq])?;
                set_status(transaction, &claim.key, Status::New)?;
            }
            Ok(())
        })
    }

    /// The processes that have claimed cooks.
    pub fn owners(&self) -> Result<Vec<String>, CatalogueError> {
        self.read("list the owners of cooks", |connection| {
            let sql = "SELECT DISTINCT owner FROM cook INDEXED BY cook_by_owner WHERE owner > '' ORDER BY owner";
            collect(connection, sql, [], |row| Ok(row.get(0)?))
        })
    }

    /// Takes the cooks of a dead process away from it, to the back of the queue, and counts them.
    ///
    /// One that outlived more than a few of its processes waits before it is tried again, and one
    /// that outlived too many fails as `interrupted`: the cook may well be what kills them.
    pub fn release(&self, owner: &str, now: Timestamp) -> Result<u64, CatalogueError> {
        self.write("release the cooks of a dead process", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let claims = collect(
                transaction,
                "SELECT kind, sha1git, format, attempts, interruptions, seq,
                        (SELECT epoch FROM blocking WHERE one = 1) FROM cook WHERE owner = ?1",
                [owner],
                |row| claim(row, owner),
            )?;
            for claim in &claims {
                interrupt(transaction, claim, now)?;
            }
            Ok(claims.len() as u64)
        })
    }

    /// When the next waiting cook is ready, on the machine's clock. `None` when none waits.
    pub fn next_ready(&self) -> Result<Option<Timestamp>, CatalogueError> {
        self.read("look for a cook", |connection| {
            let clock = clock::read(connection)?;
            let sql = "SELECT ready_at FROM cook INDEXED BY cook_ready
                       WHERE owner IS NULL AND root IS NULL AND ready_at >= ?1 ORDER BY ready_at, seq LIMIT 1";
            let ready = first(connection, sql, [i64::MIN], |row| Ok(Timestamp::from_millis(row.get(0)?)))?;
            Ok(ready.map(|time| clock.to_wall(time)))
        })
    }
}

/// What an order comes to if it changes nothing; `None` when the bundle is to be queued.
fn settled(
    connection: &Connection,
    key: &BundleKey,
    now: Timestamp,
    max_queue: u64,
    retry_failed_after: Duration,
) -> Result<Option<Order>, Fault> {
    let sql = "SELECT b.status, b.failed_at, c.seq IS NOT NULL
               FROM bundle b LEFT JOIN cook c ON c.kind = b.kind AND c.sha1git = b.sha1git AND c.format = b.format
               WHERE b.kind = ?1 AND b.sha1git = ?2 AND b.format = ?3";
    let known = first(connection, sql, key_params(key), |row| {
        let failed_at = row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis);
        Ok((row::status(row, 0)?, failed_at, row.get::<_, bool>(2)?))
    })?;
    let settled = match known {
        None => false,
        Some((Status::New | Status::Pending, _, queued)) => queued,
        Some((Status::Done, _, _)) => true,
        Some((Status::Failed, at, _)) => at.is_some_and(|at| now.since(at) < retry_failed_after),
    };
    if settled {
        return expect(connection, key).map(|bundle| Some(Order::Already(bundle)));
    }
    Ok((totals::read(connection)?.queued >= max_queue).then_some(Order::QueueFull))
}

/// Puts a bundle that has no row in the queue there, new, and gives the row's `seq`.
pub(super) fn enqueue(
    transaction: &Connection,
    key: &BundleKey,
    now: Timestamp,
    ready_at: Timestamp,
) -> Result<i64, Fault> {
    let (kind, id, format) = key_params(key);
    execute(
        transaction,
        "INSERT INTO bundle (kind, sha1git, format, status, created_at) VALUES (?1, ?2, ?3, 0, ?4)
         ON CONFLICT (kind, sha1git, format) DO UPDATE
         SET status = 0, file = NULL, done_at = NULL, failed_at = NULL, failure = NULL, message = NULL,
             notes = NULL, lossy = 0",
        (kind, id, format, now.as_millis()),
    )?;
    insert(
        transaction,
        "INSERT INTO cook (kind, sha1git, format, ready_at) VALUES (?1, ?2, ?3, ?4) RETURNING seq",
        (kind, id, format, ready_at.as_millis()),
    )
}

/// Whether the claim still stands.
pub(super) fn is_mine(transaction: &Connection, claim: &Claim) -> Result<bool, Fault> {
    let sql = "SELECT 1 FROM cook WHERE seq = ?1 AND owner = ?2 AND attempts = ?3 AND interruptions = ?4";
    let params = (claim.seq, &claim.owner, claim.attempt, claim.interruptions);
    Ok(first(transaction, sql, params, |_| Ok(()))?.is_some())
}

/// Puts a claimed cook back in the queue.
pub(super) fn requeue(transaction: &Connection, claim: &Claim, ready_at: Timestamp) -> Result<(), Fault> {
    execute(
        transaction,
        "UPDATE cook SET owner = NULL, ready_at = ?2, attempts = ?3, interruptions = ?4 WHERE seq = ?1",
        (claim.seq, ready_at.as_millis(), claim.attempt, claim.interruptions),
    )?;
    set_status(transaction, &claim.key, Status::New)
}

/// What is known of a bundle that has just been found or made.
fn expect(connection: &Connection, key: &BundleKey) -> Result<Bundle, Fault> {
    bundle(connection, key)?.ok_or(Fault::Row("a bundle that was asked for is not there"))
}

/// Sets the status of a bundle that is not done and not failed to another such one.
pub(super) fn set_status(transaction: &Connection, key: &BundleKey, status: Status) -> Result<(), Fault> {
    let (kind, id, format) = key_params(key);
    execute(
        transaction,
        "UPDATE bundle SET status = ?4 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
        (kind, id, format, status.code()),
    )
    .map(drop)
}

/// The claim that `owner` would get.
fn oldest(connection: &Connection, owner: &str, now: Timestamp) -> Result<Option<Claim>, Fault> {
    first(
        connection,
        "SELECT kind, sha1git, format, attempts, interruptions, seq,
                (SELECT epoch FROM blocking WHERE one = 1) FROM cook INDEXED BY cook_ready
         WHERE owner IS NULL AND root IS NULL AND ready_at <= ?1 ORDER BY ready_at, seq LIMIT 1",
        [now.as_millis()],
        |row| claim(row, owner),
    )
}

/// The cook is its claim's owner's from now on.
fn hand_over(transaction: &Connection, claim: &Claim) -> Result<(), Fault> {
    execute(transaction, "UPDATE cook SET owner = ?2 WHERE seq = ?1", (claim.seq, &claim.owner))?;
    set_status(transaction, &claim.key, Status::Pending)
}

fn claim(row: &rusqlite::Row<'_>, owner: &str) -> Result<Claim, Fault> {
    Ok(Claim {
        key: row::key(row, 0)?,
        owner: owner.to_owned(),
        attempt: row.get(3)?,
        interruptions: row.get(4)?,
        seq: row.get(5)?,
        block_epoch: row::unsigned(row, 6)?,
    })
}

/// A cook's process died.
fn interrupt(transaction: &Connection, claim: &Claim, now: Timestamp) -> Result<(), Fault> {
    let interruptions = claim.interruptions.saturating_add(1);
    if interruptions > INTERRUPTIONS {
        let message = format!("its cook was cut short {interruptions} times");
        return finish::give_up(transaction, claim, &Failure { code: FailureCode::Interrupted, message }, now);
    }
    let wait = match interruptions.checked_sub(INTERRUPTIONS_FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(20)).min(INTERRUPTION_WAIT),
    };
    requeue(transaction, &Claim { interruptions, ..claim.clone() }, now.after(wait))
}

/// When a cook that failed `attempts` times before is tried again, on the catalogue's clock.
pub(super) fn back_off(clock: Clock, attempts: u32) -> Timestamp {
    clock.now().after(Duration::from_secs(1 << attempts.min(20)))
}

/// The names that wait through a row, oldest first.
pub(super) fn waiters(transaction: &Connection, seq: i64) -> Result<Vec<BundleKey>, Fault> {
    let sql = "SELECT kind, sha1git, format FROM cook INDEXED BY cook_by_root WHERE root = ?1 ORDER BY seq";
    collect(transaction, sql, [seq], |row| row::key(row, 0))
}

/// Takes a row and those that wait through it out of the queue.
pub(super) fn dequeue(transaction: &Connection, seq: i64) -> Result<(), Fault> {
    // The waiters first: a waiter whose root goes would go back to the queue.
    execute(transaction, "DELETE FROM cook WHERE root = ?1", [seq])?;
    execute(transaction, "DELETE FROM cook WHERE seq = ?1", [seq])?;
    Ok(())
}
