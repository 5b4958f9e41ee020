//! A suspicion, looked at again while nobody else writes: what it turns out to be, and the repair.
//!
//! Files first, then rows (`mod.rs` has the crash order). What hinders a repair is its finding's; what
//! the catalogue cannot do ends the check.

use super::content::Worth;
use super::shard::Suspicion;
use super::{Check, Did, Error, Fault, Finding};
use crate::bundles::{Locked, Moved};
use crate::catalogue::Shelved;
use crate::key::{BundleKey, Family};
use crate::store::{FILE_MODE, Seen};
use std::io;

impl Check<'_> {
    /// What a suspicion turns out to be; `None` when nothing is wrong.
    pub(super) fn judge(&self, locked: &Locked<'_>, suspicion: &Suspicion) -> Result<Option<Finding>, Error> {
        let key = suspicion.key;
        let row = locked.rows.shelved(&key)?;
        let seen = locked.files.look(&key)?;
        let did = match (suspicion.fault, row, seen) {
            (Fault::StrayFile, None, Some(seen)) => {
                if !is_same(suspicion, &seen) || locked.rows.is_on_its_way(&key)? {
                    return Ok(None);
                }
                return self.settle_stray(locked, suspicion, &seen).map(Some);
            }
            (Fault::BrokenReference, Some(row), _) if row.facts.is_none() => self.reopen(locked, &key)?,
            (Fault::MissingFile, Some(_), None) => self.reopen(locked, &key)?,
            (
                fault @ (Fault::WrongSize
                | Fault::WrongMtime
                | Fault::WrongBlake3
                | Fault::WrongSha256
                | Fault::Unreadable),
                Some(row),
                Some(seen),
            ) if is_same(suspicion, &seen) && suspicion.row == Some((&row).into()) => match &suspicion.worth {
                _ if suspicion.is_the_rows => self.correct_time(&row),
                Some(Worth::Whole { facts, block_epoch, .. }) if locked.rows.block_epoch()? == *block_epoch => {
                    // It is the row that is wrong.
                    locked.rows.reopen(&key)?;
                    adopted(locked.adopt(&key, facts, None, &seen))?
                }
                _ if !self.order.repair => Did::Nothing,
                _ => or_failed(locked.quarantine(&row, &seen, fault.as_str(), self.order.max_queue).map(|moved| {
                    match moved {
                        Moved::Queued => Did::Requeued,
                        Moved::Reopened => Did::Quarantined,
                    }
                }))?,
            },
            (Fault::WrongAllocated, Some(row), Some(seen)) => {
                if row.facts.is_none_or(|facts| facts.allocated == seen.allocated) {
                    return Ok(None);
                }
                self.correct_allocated(locked, &row, &seen)?
            }
            (Fault::WrongMode, Some(_), Some(seen)) if seen.mode != FILE_MODE => self.file_mode(&key),
            (Fault::SplitLink, Some(row), Some(seen)) => match self.link(locked, &row, &seen)? {
                Some(did) => did,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let detail = seen.map_or(String::new(), |seen| detail(suspicion.fault, &seen));
        Ok(Some(Finding { fault: suspicion.fault, what: key.to_string(), detail, did }))
    }

    fn settle_stray(&self, locked: &Locked<'_>, suspicion: &Suspicion, seen: &Seen) -> Result<Finding, Error> {
        let key = suspicion.key;
        let mut detail = String::new();
        let did = match &suspicion.worth {
            None => Did::Nothing,
            Some(Worth::Forbidden(why)) => {
                (*why).clone_into(&mut detail);
                done(locked.erase(&key), Did::Removed)
            }
            Some(Worth::Unproven(why)) => {
                detail.clone_from(why);
                if self.order.delete_unproven {
                    done(locked.erase(&key), Did::Removed)
                } else {
                    done(locked.set_aside(&key, Fault::StrayFile.as_str()), Did::Moved)
                }
            }
            Some(Worth::Whole { block_epoch, .. }) if locked.rows.block_epoch()? != *block_epoch => {
                "something was blocked meanwhile: check again".clone_into(&mut detail);
                Did::Nothing
            }
            Some(Worth::Whole { facts, directory, .. }) => {
                // Another name of its directory's file, where that has the same bytes.
                let twin = match key.format().family() {
                    Family::Flat(flat) => directory.map(|id| BundleKey::of_directory(id, flat)),
                    Family::History(_) | Family::Raw => None,
                };
                adopted(locked.adopt(&key, facts, twin, seen))?
            }
        };
        Ok(Finding { fault: Fault::StrayFile, what: key.to_string(), detail, did })
    }

    fn reopen(&self, locked: &Locked<'_>, key: &BundleKey) -> Result<Did, Error> {
        if self.order.repair {
            locked.rows.reopen(key)?;
            return Ok(Did::Reopened);
        }
        Ok(Did::Nothing)
    }

    /// The bytes are those of the row.
    fn correct_time(&self, row: &Shelved) -> Did {
        match row.facts.filter(|_| self.order.repair) {
            Some(facts) => done(self.store.set_mtime(&row.key, &facts.blake3), Did::Corrected),
            None => Did::Nothing,
        }
    }

    fn correct_allocated(&self, locked: &Locked<'_>, row: &Shelved, seen: &Seen) -> Result<Did, Error> {
        if self.order.repair {
            locked.rows.set_allocated(row.file, seen.allocated)?;
            return Ok(Did::Corrected);
        }
        Ok(Did::Nothing)
    }

    fn file_mode(&self, key: &BundleKey) -> Did {
        if !self.order.repair {
            return Did::Nothing;
        }
        done(self.store.set_mode(&self.store.relative(key), FILE_MODE), Did::Corrected)
    }

    /// Makes a name the same file as the first name of its row that has one. `None` when it is, or
    /// when links are refused here: then copies are as they should be.
    fn link(&self, locked: &Locked<'_>, row: &Shelved, seen: &Seen) -> Result<Option<Did>, Error> {
        for name in locked.rows.names(row.file)? {
            let Some(first) = locked.files.look(&name)? else { continue };
            if first.is(seen) {
                return Ok(None);
            }
            if row.facts.is_none_or(|facts| facts.size != first.size) || first.mtime != seen.mtime {
                // What is to be linked to is itself wrong, and is found so under its own name.
                continue;
            }
            if !self.order.repair {
                return Ok(Some(Did::Nothing));
            }
            return Ok(match locked.relink(&name, &row.key) {
                Ok(true) => Some(Did::Linked),
                Ok(false) => None,
                Err(error) => Some(Did::Failed(error.to_string())),
            });
        }
        Ok(None)
    }
}

/// Whether the file is the one that was suspected.
fn is_same(suspicion: &Suspicion, seen: &Seen) -> bool {
    suspicion.seen.is_some_and(|before| before.is(seen) && (before.size, before.mtime) == (seen.size, seen.mtime))
}

fn adopted(answer: Result<(), Error>) -> Result<Did, Error> {
    or_failed(answer.map(|()| Did::Adopted))
}

/// What hinders a repair is its finding's.
fn or_failed(answer: Result<Did, Error>) -> Result<Did, Error> {
    match answer {
        Err(Error::Store(error)) => Ok(Did::Failed(error.to_string())),
        answer => answer,
    }
}

pub(super) fn done<T>(answer: io::Result<T>, did: Did) -> Did {
    answer.map_or_else(|error| Did::Failed(error.to_string()), |_| did)
}

fn detail(fault: Fault, seen: &Seen) -> String {
    match fault {
        Fault::WrongSize => format!("{} bytes", seen.size),
        Fault::WrongMtime => format!("mtime {}", seen.mtime),
        Fault::WrongAllocated => format!("allocates {} bytes", seen.allocated),
        Fault::WrongMode => format!("mode {:04o}", seen.mode),
        _ => String::new(),
    }
}
