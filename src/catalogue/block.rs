//! What the operator has blocked: objects that no bundle may be or hold.
//!
//! Every change of the list moves its epoch, so that a process that holds a copy knows with one seek
//! whether it still is the list. A block keeps the epoch at which it was made; a claim, the epoch at
//! which it was taken: what was blocked in between may have been read by the cook already, and then
//! nothing of it is published (`finish.rs`).

use super::clock;
use super::error::Fault;
use super::plan::prepare;
use super::row::{collect, execute, first, unsigned};
use super::{Catalogue, CatalogueError, Claim};
use crate::key::{BundleKey, ObjectKind, Sha1Git, Swhid};
use crate::time::Timestamp;
use rusqlite::Connection;
use std::io;

/// The longest reason kept, in bytes.
const REASON: usize = 500;

/// A blocked object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The object.
    pub swhid: Swhid,
    /// Since when.
    pub at: Timestamp,
    /// Why, in the operator's words: clients see them.
    pub reason: Option<String>,
}

impl Catalogue {
    /// Blocks an object. `false` when it was blocked before; the reason is the new one then.
    pub fn block(&self, swhid: &Swhid, reason: Option<&str>, now: Timestamp) -> Result<bool, CatalogueError> {
        self.write("block an object", |transaction| {
            let now = clock::tick(transaction, now)?.now();
            let reason = reason.map(|reason| &reason[..reason.floor_char_boundary(REASON)]);
            let epoch = advance(transaction)?;
            let known =
                execute(transaction, "UPDATE block SET reason = ?2 WHERE sha1git = ?1", (swhid.id.as_bytes(), reason))?;
            if known == 0 {
                execute(
                    transaction,
                    "INSERT INTO block (sha1git, kind, blocked_at, reason, epoch) VALUES (?1, ?2, ?3, ?4, ?5)",
                    (swhid.id.as_bytes(), swhid.kind.code(), now.as_millis(), reason, epoch),
                )?;
            }
            Ok(known == 0)
        })
    }

    /// Lifts a block; `false` when there was none. Cooks that failed because of any block are
    /// forgotten, so that they can be asked for anew.
    pub fn unblock(&self, swhid: &Swhid) -> Result<bool, CatalogueError> {
        self.write("unblock an object", |transaction| {
            let gone = execute(transaction, "DELETE FROM block WHERE sha1git = ?1", [swhid.id.as_bytes()])?;
            if gone > 0 {
                advance(transaction)?;
                execute(transaction, "DELETE FROM bundle INDEXED BY bundle_blocked WHERE failure = 'blocked'", [])?;
            }
            Ok(gone > 0)
        })
    }

    /// The blocked objects after the given one, in order of id.
    pub fn blocks(&self, after: Option<&Sha1Git>, limit: u32) -> Result<Vec<Block>, CatalogueError> {
        // An empty blob sorts before every id.
        let after = after.map_or(Vec::new(), |id| id.as_bytes().to_vec());
        self.read("list what is blocked", |connection| {
            let sql = "SELECT sha1git, kind, blocked_at, reason FROM block
                       WHERE sha1git > ?1 ORDER BY sha1git LIMIT ?2";
            collect(connection, sql, (after, limit), |row| {
                let kind = ObjectKind::from_code(row.get(1)?).ok_or(Fault::Row("a kind is none that exists"))?;
                let swhid = Swhid { kind, id: Sha1Git::from_bytes(row.get(0)?) };
                Ok(Block { swhid, at: Timestamp::from_millis(row.get(2)?), reason: row.get(3)? })
            })
        })
    }

    /// A number that grows with every change of what is blocked.
    pub fn block_epoch(&self) -> Result<u64, CatalogueError> {
        self.read("look at what is blocked", epoch)
    }

    /// Removes bundles with all names that are given, pinned or not; `withdraw` takes each file away,
    /// then its row goes. Counts the rows that are gone. At most a hundred a transaction, as
    /// [`Catalogue::remove`], which leaves alone what is pinned.
    pub fn expel(
        &self,
        keys: &[BundleKey],
        mut withdraw: impl FnMut(&BundleKey) -> io::Result<()>,
    ) -> Result<u64, CatalogueError> {
        let mut removed = 0;
        for batch in keys.chunks(100) {
            removed += self.write("remove blocked bundles", |transaction| {
                let mut removed = 0;
                for key in batch {
                    withdraw(key).map_err(Fault::Files)?;
                    let sql = "DELETE FROM bundle WHERE kind = ?1 AND sha1git = ?2 AND format = ?3";
                    removed += execute(transaction, sql, super::row::key_params(key))? as u64;
                }
                Ok(removed)
            })?;
        }
        Ok(removed)
    }
}

/// The epoch of the list.
pub(super) fn epoch(connection: &Connection) -> Result<u64, Fault> {
    let sql = "SELECT epoch FROM blocking WHERE one = 1";
    first(connection, sql, [], |row| unsigned(row, 0))?.ok_or(Fault::Row("the epoch of the blocks is missing"))
}

/// Whether something was blocked since `claim` was taken that `concerns` it.
pub(super) fn any_since(
    transaction: &Connection,
    claim: &Claim,
    concerns: impl Fn(&Sha1Git) -> bool,
) -> Result<bool, Fault> {
    let sql = "SELECT sha1git FROM block INDEXED BY block_by_epoch WHERE epoch > ?1";
    let mut statement = prepare(transaction, sql)?;
    let mut rows = statement.query([super::row::signed(claim.block_epoch)])?;
    while let Some(row) = rows.next()? {
        if concerns(&Sha1Git::from_bytes(row.get(0)?)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn advance(transaction: &Connection) -> Result<i64, Fault> {
    execute(transaction, "UPDATE blocking SET epoch = epoch + 1 WHERE one = 1", [])?;
    epoch(transaction).map(super::row::signed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Failure, FailureCode, FileFacts, Remarks};
    use crate::catalogue::{Access, Finished, Finishing};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);
    const FACTS: FileFacts = FileFacts { size: 1, allocated: 512, blake3: [1; 32] };

    fn catalogue(folder: &tempfile::TempDir) -> Catalogue {
        Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap()
    }

    fn swhid(byte: u8) -> Swhid {
        Swhid { kind: ObjectKind::Content, id: Sha1Git::from_bytes([byte; 20]) }
    }

    fn ordered(catalogue: &Catalogue) -> BundleKey {
        let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        catalogue.order(&key, NOW, 9, Duration::ZERO).unwrap();
        key
    }

    #[test]
    fn what_is_blocked_is_listed_until_it_is_unblocked() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(&folder);
        assert_eq!(catalogue.block_epoch().unwrap(), 0);
        assert!(catalogue.block(&swhid(2), Some("a court said so"), NOW).unwrap());
        assert!(catalogue.block(&swhid(1), None, NOW).unwrap());
        assert!(!catalogue.block(&swhid(1), Some("again"), NOW).unwrap());
        let blocks = catalogue.blocks(None, 9).unwrap();
        assert_eq!(blocks.iter().map(|block| block.swhid).collect::<Vec<_>>(), [swhid(1), swhid(2)]);
        assert_eq!(blocks[0].reason.as_deref(), Some("again"));
        assert_eq!(catalogue.blocks(Some(&swhid(1).id), 9).unwrap(), blocks[1..]);
        assert_eq!(catalogue.block_epoch().unwrap(), 3);
        assert!(catalogue.unblock(&swhid(1)).unwrap());
        assert!(!catalogue.unblock(&swhid(1)).unwrap());
        assert_eq!(catalogue.block_epoch().unwrap(), 4);
    }

    #[test]
    fn a_cook_that_was_claimed_before_a_block_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(&folder);
        ordered(&catalogue);
        let claim = catalogue.claim("p", NOW).unwrap().unwrap();
        catalogue.block(&swhid(1), None, NOW).unwrap();
        let publish = |_: &[BundleKey]| panic!("published");
        let finished = catalogue.finish(claim.clone(), FACTS, Duration::ZERO, NOW, publish).unwrap();
        assert_eq!(finished, Finished::Outdated);
        catalogue.give_back(claim).unwrap();
        let claim = catalogue.claim("p", NOW).unwrap().unwrap();
        catalogue.unblock(&swhid(1)).unwrap();
        let finished = catalogue.finish(claim, FACTS, Duration::ZERO, NOW, |_| Ok(())).unwrap();
        assert_eq!(finished, Finished::Done, "lifting a block outdates nothing");
    }

    #[test]
    fn a_cook_that_met_nothing_of_what_was_blocked_since_is_published_unless_another_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(&folder);
        let directory = ordered(&catalogue);
        let met = |id: &Sha1Git| *id == swhid(1).id;
        let remarks = Remarks::default();
        let finishing = Finishing { facts: FACTS, remarks: &remarks, took: Duration::ZERO, met: &met, segments: &[] };
        let refuse = |_: &[BundleKey]| panic!("published");
        let again = |claim: Claim| {
            catalogue.give_back(claim).unwrap();
            catalogue.claim("p", NOW).unwrap().unwrap()
        };

        let claim = catalogue.claim("p", NOW).unwrap().unwrap();
        catalogue.block(&swhid(2), None, NOW).unwrap();
        catalogue.block(&swhid(1), None, NOW).unwrap();
        assert_eq!(catalogue.finish_cook(claim.clone(), &finishing, NOW, refuse).unwrap(), Finished::Outdated);

        let claim = again(claim);
        let revision: BundleKey = "revision/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        catalogue.order(&revision, NOW, 9, Duration::ZERO).unwrap();
        let waiter = catalogue.claim("p", NOW).unwrap().unwrap();
        catalogue.delegate(waiter, &directory, NOW, |_, _| Ok(true)).unwrap();
        catalogue.block(&swhid(3), None, NOW).unwrap();
        let finished = catalogue.finish_cook(claim.clone(), &finishing, NOW, refuse).unwrap();
        assert_eq!(finished, Finished::Outdated, "the revision may be what is blocked, or lead to it");

        let claim = again(claim);
        catalogue.remove(&[revision], |_| Ok(())).unwrap();
        catalogue.block(&swhid(4), None, NOW).unwrap();
        assert_eq!(catalogue.finish_cook(claim, &finishing, NOW, |_| Ok(())).unwrap(), Finished::Done);
    }

    #[test]
    fn lifting_a_block_forgets_what_failed_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(&folder);
        let key = ordered(&catalogue);
        catalogue.block(&swhid(1), None, NOW).unwrap();
        let claim = catalogue.claim("p", NOW).unwrap().unwrap();
        let failure = Failure { code: FailureCode::Blocked, message: String::new() };
        catalogue.fail(claim, failure, NOW).unwrap();
        assert!(catalogue.bundle(&key).unwrap().is_some());
        catalogue.unblock(&swhid(1)).unwrap();
        assert_eq!(catalogue.bundle(&key).unwrap(), None);
    }

    #[test]
    fn a_pin_does_not_keep_what_is_expelled() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(&folder);
        let key = ordered(&catalogue);
        let claim = catalogue.claim("p", NOW).unwrap().unwrap();
        catalogue.finish(claim, FACTS, Duration::ZERO, NOW, |_| Ok(())).unwrap();
        catalogue.pin(&key, true).unwrap();
        assert_eq!(catalogue.remove(&[key], |_| Ok(())).unwrap(), 0);
        assert_eq!(catalogue.expel(&[key], |_| Ok(())).unwrap(), 1);
        assert_eq!(catalogue.totals().unwrap().files, 0);
    }
}
