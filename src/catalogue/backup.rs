//! A copy of the catalogue as of one moment, made while others write.

use super::error::Fault;
use super::{Catalogue, CatalogueError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// Pages copied between two reports.
const PAGES: i32 = 4096;

impl Catalogue {
    /// Copies the catalogue into the empty file at `to`, as of now: what others write meanwhile waits
    /// for nobody and is not in it. `progress` is told pages copied and pages in all.
    ///
    /// # Errors
    /// Also when the copy turns out to be damaged.
    pub fn backup(&self, to: &Path, mut progress: impl FnMut(u64, u64)) -> Result<(), CatalogueError> {
        self.read("back up the catalogue", |connection| {
            // Held to the end: the copy then never begins anew because of what others write.
            let snapshot = connection.unchecked_transaction()?;
            super::clock::read(&snapshot)?;
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut copy = Connection::open_with_flags(to, flags)?;
            copy_pages(&snapshot, &mut copy, &mut progress)?;
            // One file, with no log beside it.
            copy.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0))?;
            let found: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if found == "ok" { Ok(()) } else { Err(Fault::Row("the copy is damaged, and so is the catalogue")) }
        })
    }
}

fn copy_pages(from: &Connection, to: &mut Connection, progress: &mut impl FnMut(u64, u64)) -> Result<(), Fault> {
    let backup = Backup::new(from, to)?;
    loop {
        let step = backup.step(PAGES)?;
        let at = backup.progress();
        let (all, left) = (at.pagecount.unsigned_abs().into(), u64::from(at.remaining.unsigned_abs()));
        progress(u64::saturating_sub(all, left), all);
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => return Err(Fault::Row("the catalogue is locked by another program")),
        }
    }
}
