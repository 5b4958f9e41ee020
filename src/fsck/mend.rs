//! A suspicion, looked at again while nobody else writes: what it turns out to be, and the repair.
//!
//! Files first, then rows (`mod.rs` has the crash order). What hinders a repair is its finding's; what
//! the catalogue cannot do ends the check.

use super::content::Worth;
use super::shard::Suspicion;
use super::{Check, Did, Error, Fault, Finding};
use crate::bundle::FileFacts;
use crate::catalogue::{Inspection, Shelved};
use crate::key::{BundleKey, Family, Sha1Git};
use crate::store::{FILE_MODE, Seen, draft};
use crate::time::Timestamp;
use std::io;

impl Check<'_> {
    /// What a suspicion turns out to be; `None` when nothing is wrong.
    pub(super) fn judge(
        &self,
        inspection: &Inspection<'_>,
        suspicion: &Suspicion,
        now: Timestamp,
    ) -> Result<Option<Finding>, Error> {
        let key = suspicion.key;
        let row = inspection.shelved(&key)?;
        let seen = self.store.look(&key)?;
        let did = match (suspicion.fault, row, seen) {
            (Fault::StrayFile, None, Some(seen)) => {
                if !is_same(suspicion, &seen) || inspection.is_on_its_way(&key)? {
                    return Ok(None);
                }
                return self.settle_stray(inspection, suspicion, &seen, now).map(Some);
            }
            (Fault::BrokenReference, Some(row), _) if row.facts.is_none() => self.reopen(inspection, &key)?,
            (Fault::MissingFile, Some(_), None) => self.reopen(inspection, &key)?,
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
                Some(Worth::Whole { facts, block_epoch, .. }) if inspection.block_epoch()? == *block_epoch => {
                    // It is the row that is wrong.
                    inspection.reopen(&key)?;
                    self.adopt(inspection, &key, facts, None, &seen).map_or_else(
                        |error| match error {
                            Error::Store(error) => Ok(Did::Failed(error.to_string())),
                            error @ Error::Catalogue(_) => Err(error),
                        },
                        |()| Ok(Did::Adopted),
                    )?
                }
                _ => self.quarantine(inspection, &row, &seen, fault, now)?,
            },
            (Fault::WrongAllocated, Some(row), Some(seen)) => {
                if row.facts.is_none_or(|facts| facts.allocated == seen.allocated) {
                    return Ok(None);
                }
                self.correct_allocated(inspection, &row, &seen)?
            }
            (Fault::WrongMode, Some(_), Some(seen)) if seen.mode != FILE_MODE => self.file_mode(&key),
            (Fault::SplitLink, Some(row), Some(seen)) => match self.link(inspection, &row, &seen)? {
                Some(did) => did,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let detail = seen.map_or(String::new(), |seen| detail(suspicion.fault, &seen));
        Ok(Some(Finding { fault: suspicion.fault, what: key.to_string(), detail, did }))
    }

    fn settle_stray(
        &self,
        inspection: &Inspection<'_>,
        suspicion: &Suspicion,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Finding, Error> {
        let key = suspicion.key;
        let mut detail = String::new();
        let did = match &suspicion.worth {
            None => Did::Nothing,
            Some(Worth::Forbidden(why)) => {
                (*why).clone_into(&mut detail);
                done(self.store.erase(&key), Did::Removed)
            }
            Some(Worth::Unproven(why)) => {
                detail.clone_from(why);
                if self.order.delete_unproven {
                    done(self.store.erase(&key), Did::Removed)
                } else {
                    done(self.store.quarantine_bundle(&key, Fault::StrayFile.as_str(), now), Did::Moved)
                }
            }
            Some(Worth::Whole { block_epoch, .. }) if inspection.block_epoch()? != *block_epoch => {
                "something was blocked meanwhile: check again".clone_into(&mut detail);
                Did::Nothing
            }
            Some(Worth::Whole { facts, directory, .. }) => {
                match self.adopt(inspection, &key, facts, *directory, seen) {
                    Err(Error::Store(error)) => Did::Failed(error.to_string()),
                    adopted => adopted.map(|()| Did::Adopted)?,
                }
            }
        };
        Ok(Finding { fault: Fault::StrayFile, what: key.to_string(), detail, did })
    }

    /// Gives a stray its row: as a further name of its directory's file, where that is there and has
    /// the same bytes; else as a file of its own.
    fn adopt(
        &self,
        inspection: &Inspection<'_>,
        key: &BundleKey,
        facts: &FileFacts,
        directory: Option<Sha1Git>,
        seen: &Seen,
    ) -> Result<(), Error> {
        if seen.mode != FILE_MODE {
            self.store.set_mode(&self.store.relative(key), FILE_MODE)?;
        }
        if seen.mtime != draft::mtime(&facts.blake3) {
            self.store.set_mtime(key, &facts.blake3)?;
        }
        let root = match key.format().family() {
            Family::Flat(flat) => directory.map(|id| BundleKey::of_directory(id, flat)),
            Family::History(_) | Family::Raw => None,
        };
        if let Some(root) = root.filter(|root| root != key)
            && let Some(row) = inspection.shelved(&root)?
            && row.facts.is_some_and(|known| known.blake3 == facts.blake3)
            && let Some(file) = self.store.look(&root)?
        {
            if !file.is(seen) {
                // Where links are refused it keeps its copy, as when it was published.
                self.store.relink(&root, key)?;
            }
            inspection.adopt(key, facts, Some(row.file))?;
        } else {
            inspection.adopt(key, facts, None)?;
        }
        Ok(())
    }

    fn reopen(&self, inspection: &Inspection<'_>, key: &BundleKey) -> Result<Did, Error> {
        if self.order.repair {
            inspection.reopen(key)?;
            return Ok(Did::Reopened);
        }
        Ok(Did::Nothing)
    }

    /// Moves a file away from all its names, and has each cooked again.
    fn quarantine(
        &self,
        inspection: &Inspection<'_>,
        row: &Shelved,
        bad: &Seen,
        fault: Fault,
        now: Timestamp,
    ) -> Result<Did, Error> {
        if !self.order.repair {
            return Ok(Did::Nothing);
        }
        // This one first, for what lies in quarantine is named after it.
        let mut names = vec![row.key];
        names.extend(inspection.names(row.file)?.into_iter().filter(|name| *name != row.key));
        let mut queued = true;
        for (number, name) in names.iter().enumerate() {
            if !self.store.look(name)?.is_some_and(|seen| seen.is(bad)) {
                continue;
            }
            let moved = if number == 0 {
                self.store.quarantine_bundle(name, fault.as_str(), now).map(drop)
            } else {
                self.store.erase(name).map(drop)
            };
            if let Err(error) = moved {
                return Ok(Did::Failed(error.to_string()));
            }
            queued &= inspection.queue(name, self.order.max_queue)?;
        }
        Ok(if queued { Did::Requeued } else { Did::Quarantined })
    }

    /// The bytes are those of the row.
    fn correct_time(&self, row: &Shelved) -> Did {
        match row.facts.filter(|_| self.order.repair) {
            Some(facts) => done(self.store.set_mtime(&row.key, &facts.blake3), Did::Corrected),
            None => Did::Nothing,
        }
    }

    fn correct_allocated(&self, inspection: &Inspection<'_>, row: &Shelved, seen: &Seen) -> Result<Did, Error> {
        if self.order.repair {
            inspection.set_allocated(row.file, seen.allocated)?;
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
    fn link(&self, inspection: &Inspection<'_>, row: &Shelved, seen: &Seen) -> Result<Option<Did>, Error> {
        for name in inspection.names(row.file)? {
            let Some(first) = self.store.look(&name)? else { continue };
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
            return Ok(match self.store.relink(&name, &row.key) {
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
