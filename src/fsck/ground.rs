//! All but the bundles: the catalogue by itself, its sums, folders and what does not belong into
//! them, drafts of processes that are gone, and the quarantine's age.

use super::mend::done;
use super::{Check, Did, Error, Fault, Finding};
use crate::catalogue::FileId;
use crate::store::Met;
use std::path::Path;
use std::time::Duration;

/// Rows of files looked at in one statement.
const PAGE: u32 = 4096;
/// How long a folder of a process has to look dead.
const PATIENCE: Duration = Duration::from_millis(250);
/// What is older leaves quarantine for good.
const QUARANTINE_KEEP: Duration = Duration::from_hours(30 * 24);
/// And what is over so many bytes, oldest first.
const QUARANTINE_MOST: u64 = 10 << 30;

impl Check<'_> {
    /// `false` when the catalogue is so broken that nothing may be written into it.
    pub(super) fn catalogue_itself(&mut self) -> Result<bool, Error> {
        let lines = self.catalogue.check_integrity(self.order.deep)?;
        for line in &lines {
            let why = "move catalogue.db away, with its -wal and -shm, and repair again".to_owned();
            let did = if self.order.repair { Did::Failed(why) } else { Did::Nothing };
            self.tell_of(Fault::BrokenCatalogue, "catalogue.db", line, did);
        }
        if !lines.is_empty() {
            return Ok(false);
        }
        let rows = self.catalogue.broken_references()?;
        let did = if self.order.repair { Did::Removed } else { Did::Nothing };
        if self.order.repair && !rows.is_empty() {
            self.catalogue.remove_references(&rows)?;
        }
        for row in rows {
            self.tell_of(Fault::BrokenReference, "catalogue.db", &format!("row {row} of the queue"), did.clone());
        }
        self.tasks()?;
        Ok(true)
    }

    /// What the Archiver fetches.
    fn tasks(&mut self) -> Result<(), Error> {
        let tasks = self.catalogue.broken_tasks()?;
        let did = if self.order.repair { Did::Removed } else { Did::Nothing };
        if self.order.repair && !tasks.is_empty() {
            self.catalogue.remove_tasks(&tasks)?;
        }
        for task in tasks {
            let (fault, why) = if task.is_of_nothing {
                (Fault::BrokenReference, "what it fetches is not there")
            } else {
                (Fault::ImpossibleTask, "SUCCESS, and nothing was fetched")
            };
            self.tell_of(fault, "catalogue.db", &format!("task {}: {why}", task.id), did.clone());
        }
        Ok(())
    }

    /// Folders above the shards.
    pub(super) fn top(&mut self, before: &[Met]) -> Result<(), Error> {
        for met in before {
            if let Met::Mode(path, mode) = met
                && self.store.mode(path)? == Some(*mode)
            {
                self.tell_of(Fault::WrongMode, &shown(path), "", Did::Corrected);
            }
        }
        for met in self.store.survey_top()? {
            self.met(&met)?;
        }
        Ok(())
    }

    /// A folder is made and gets its mode inside a transaction: outside of one it has it.
    pub(super) fn folder_mode(&mut self, path: &Path, mode: u32) -> Result<(), Error> {
        let (store, repair) = (self.store, self.order.repair);
        let found = self.bundles.locked(self.now(), |_| -> Result<_, Error> {
            let Some(now) = store.mode(path)?.filter(|now| *now != mode) else { return Ok(None) };
            let did = if repair { done(store.set_mode(path, mode), Did::Corrected) } else { Did::Nothing };
            Ok(Some((now, did)))
        })?;
        if let Some((now, did)) = found {
            self.tell_of(Fault::WrongMode, &shown(path), &format!("mode {now:04o}"), did);
        }
        Ok(())
    }

    /// A folder that the last bundle has left: of no harm but for the disk that it takes.
    pub(super) fn empty_folder(&mut self, path: &Path) -> Result<(), Error> {
        let (store, repair) = (self.store, self.order.repair);
        // Where nobody publishes; and one that stays, for whatever reason, is no fault.
        let is_empty = || -> Result<bool, Error> { Ok(store.remove_empty(path).unwrap_or(false)) };
        let counts = !repair || self.bundles.locked(self.now(), |_| is_empty())?;
        self.report.empty_folders += u64::from(counts);
        Ok(())
    }

    /// What is not larder's is not deleted either.
    pub(super) fn strange(&mut self, path: &Path) {
        let did = if self.order.repair {
            match self.store.quarantine(path, "strange", self.now()) {
                Ok(Some(_)) => Did::Moved,
                Ok(None) => return,
                Err(error) => Did::Failed(error.to_string()),
            }
        } else {
            Did::Nothing
        };
        self.tell_of(Fault::StrangeEntry, &path.to_string_lossy(), "", did);
    }

    /// Perhaps somebody still serves it: only who says so has it deleted.
    pub(super) fn other_layout(&mut self, path: &Path) {
        let remove = self.order.repair && self.order.other_layouts;
        let did = if remove { done(self.store.remove_layout(path), Did::Removed) } else { Did::Nothing };
        self.tell_of(Fault::OtherLayout, &path.to_string_lossy(), "", did);
    }

    /// Folders of processes that are gone.
    pub(super) fn drafts(&mut self) -> Result<(), Error> {
        let mut dead = self.store.dead_drafts()?;
        if dead.is_empty() {
            return Ok(());
        }
        std::thread::sleep(PATIENCE);
        let still = self.store.dead_drafts()?;
        dead.retain(|name| still.contains(name));
        let did = if self.order.repair && !dead.is_empty() {
            done(self.store.clear_dead_drafts(), Did::Removed)
        } else {
            Did::Nothing
        };
        for name in dead {
            self.tell_of(Fault::StaleDrafts, &format!("bundles/v0/tmp/{name}"), "", did.clone());
        }
        Ok(())
    }

    /// Files that no bundle names, which would count for ever, and the sums.
    pub(super) fn sums(&mut self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let (nameless, last) = self.catalogue.nameless_files(after, PAGE)?;
            for file in nameless {
                self.nameless(file)?;
            }
            after = last;
            if after.is_none() {
                break;
            }
        }
        let drift = self.catalogue.drift()?;
        if !drift.is_none() {
            if self.order.repair {
                self.catalogue.mend_totals(&drift)?;
            }
            let did = if self.order.repair { Did::Corrected } else { Did::Nothing };
            self.tell_of(Fault::WrongTotals, "catalogue.db", &drift.to_string(), did);
        }
        Ok(())
    }

    fn nameless(&mut self, file: FileId) -> Result<(), Error> {
        let mut did = Did::Nothing;
        if self.order.repair {
            let removed = self.bundles.locked(self.now(), |locked| locked.rows.remove_nameless(file));
            if !removed? {
                return Ok(());
            }
            did = Did::Removed;
        }
        self.tell_of(Fault::NamelessFile, "catalogue.db", &format!("file {}", file.number()), did);
        Ok(())
    }

    /// What lay in quarantine for long enough.
    pub(super) fn old_quarantine(&mut self) -> Result<(), Error> {
        if self.order.repair {
            let contents_too = self.order.delete_unproven;
            let deleted = self.store.clear_quarantine(self.now(), QUARANTINE_KEEP, QUARANTINE_MOST, contents_too)?;
            self.report.expired = deleted.entries;
        }
        Ok(())
    }

    fn tell_of(&mut self, fault: Fault, what: &str, detail: &str, did: Did) {
        let finding = Finding { fault, what: what.to_owned(), detail: detail.to_owned(), did };
        self.found(&finding);
    }
}

/// A path below the data directory, for a report.
fn shown(path: &Path) -> String {
    if path.as_os_str().is_empty() { ".".to_owned() } else { path.to_string_lossy().into_owned() }
}
