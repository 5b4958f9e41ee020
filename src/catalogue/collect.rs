//! Collection: the files in order of last access, and their end.
//!
//! A plan reads pages of [`Candidate`]s, each from an index alone and each as of its own moment, so
//! that no read holds the log back. What was planned may have changed by the time it is done:
//! [`Catalogue::collect`] looks at each file again inside the transaction that removes it.

use super::clock;
use super::error::Fault;
use super::row::{collect, execute, first, key, signed, unsigned};
use super::{Catalogue, CatalogueError};
use crate::key::BundleKey;
use crate::time::Timestamp;
use rusqlite::{Connection, Row};
use std::io;
use std::time::Duration;

/// A row of the table `file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(i64);

impl FileId {
    /// The row of this number.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// A file that may be collected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its row.
    pub file: FileId,
    /// When any of its names was last used, on the catalogue's clock.
    pub last_access: Timestamp,
    /// Bytes that it allocates on disk, once for all its names.
    pub allocated: u64,
    /// Whether any of its names is pinned.
    pub pinned: bool,
    /// What it is good for; nothing when it was not asked for.
    pub merit: Merit,
}

/// What cooking a file again would cost, and how likely that is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Merit {
    /// How often its names were fetched.
    pub hits: u64,
    /// How long its cook took.
    pub cook: Duration,
    /// The inflation when it was last used.
    pub credit: f64,
}

/// What a transaction of [`Catalogue::collect`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files.
    pub files: u64,
    /// Their names.
    pub names: u64,
    /// Bytes that they allocated.
    pub bytes: u64,
    /// Files left alone: used or pinned since they were planned, or gone already.
    pub passed_over: u64,
}

/// What collections removed since the catalogue was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Files.
    pub files: u64,
    /// Bytes that they allocated.
    pub bytes: u64,
    /// For how many seconds each had not been used, summed up.
    pub unused: u64,
}

impl Catalogue {
    /// What was ever collected, by whichever process.
    pub fn evicted(&self) -> Result<Evicted, CatalogueError> {
        self.read("read what was collected", |connection| {
            let sql = "SELECT files, bytes, unused FROM evicted WHERE one = 1";
            let evicted = first(connection, sql, [], |row| {
                Ok(Evicted { files: unsigned(row, 0)?, bytes: unsigned(row, 1)?, unused: unsigned(row, 2)? })
            })?;
            evicted.ok_or(Fault::Row("what was collected is missing"))
        })
    }

    /// What the catalogue calls the moment at which the machine's clock says `now`.
    pub fn moment(&self, now: Timestamp) -> Result<Timestamp, CatalogueError> {
        self.read("read the clock", |connection| Ok(clock::read(connection)?.at(now).now()))
    }

    /// The files after the given one in order of last access, with their merits if asked. A page
    /// costs the same wherever it lies.
    pub fn candidates(
        &self,
        after: Option<&Candidate>,
        merits: bool,
        limit: u32,
    ) -> Result<Vec<Candidate>, CatalogueError> {
        let (time, id) = after.map_or((i64::MIN, i64::MIN), |last| (last.last_access.as_millis(), last.file.0));
        let sql = if merits {
            "SELECT f.id, f.last_access, f.allocated, f.pins > 0,
                    (SELECT CAST(sum(b.hits) AS BIGINT) FROM bundle b WHERE b.file = f.id), f.cook_millis, f.credit
             FROM file f INDEXED BY file_by_last_access
             WHERE (f.last_access, f.id) > (?1, ?2) ORDER BY f.last_access, f.id LIMIT ?3"
        } else {
            "SELECT id, last_access, allocated, pins > 0 FROM file INDEXED BY file_by_last_access
             WHERE (last_access, id) > (?1, ?2) ORDER BY last_access, id LIMIT ?3"
        };
        self.read("look for the least recently used", |connection| {
            collect(connection, sql, (time, id, limit), |row| candidate(row, merits))
        })
    }

    /// Removes files with all their names, in one transaction; give at most a hundred or so, for
    /// others wait for the write lock meanwhile. `withdraw` takes each name's file away, then its
    /// row goes. A file that has a pin now, or was used after `not_after`, is left alone. `planned` is when they were
    /// chosen, on the catalogue's clock.
    ///
    /// Should `withdraw` or the transaction fail, those withdrawn keep their rows: they read as
    /// absent and heal, and a second call removes them.
    pub fn collect(
        &self,
        files: &[FileId],
        not_after: Timestamp,
        planned: Timestamp,
        inflation: Option<f64>,
        mut withdraw: impl FnMut(&BundleKey) -> io::Result<()>,
    ) -> Result<Collected, CatalogueError> {
        match self.thin_segments(files) {
            // Then what follows may still make room, or says that there is none.
            Err(error) if error.is_storage_full() => {}
            thinned => thinned?,
        }
        self.write("collect bundles", |transaction| {
            let (mut collected, mut unused) = (Collected::default(), 0_u64);
            for &file in files {
                let sql = "SELECT allocated, last_access FROM file WHERE id = ?1 AND pins = 0 AND last_access <= ?2";
                let found = first(transaction, sql, (file.0, not_after.as_millis()), |row| {
                    Ok((unsigned(row, 0)?, Timestamp::from_millis(row.get(1)?)))
                })?;
                let Some((bytes, last_access)) = found else {
                    collected.passed_over += 1;
                    continue;
                };
                for name in names(transaction, file)? {
                    withdraw(&name).map_err(Fault::Files)?;
                    collected.names += 1;
                }
                execute(transaction, "DELETE FROM bundle WHERE file = ?1", [file.0])?;
                // Gone with its last name; but one that had none goes too.
                execute(transaction, "DELETE FROM file WHERE id = ?1", [file.0])?;
                collected.files += 1;
                collected.bytes += bytes;
                unused = unused.saturating_add(planned.since(last_access).as_secs());
            }
            if let Some(inflation) = inflation.filter(|inflation| inflation.is_finite()) {
                let sql = "UPDATE gdsf SET inflation = ?1 WHERE one = 1 AND inflation < ?1";
                execute(transaction, sql, [inflation])?;
            }
            let sql = "UPDATE evicted SET files = files + ?1, bytes = bytes + ?2, unused = unused + ?3 WHERE one = 1";
            execute(transaction, sql, (signed(collected.files), signed(collected.bytes), signed(unused)))?;
            Ok(collected)
        })
    }

    /// The names of a file.
    pub fn names_of(&self, file: FileId) -> Result<Vec<BundleKey>, CatalogueError> {
        self.read("look for the names of a file", |connection| names(connection, file))
    }

    /// From now on what this process commits survives its own end and not, perhaps, a power cut.
    /// For a process that only removes: rows that come back without their file read as absent, and
    /// heal.
    pub fn relax(&self) -> Result<(), CatalogueError> {
        self.set_synchronous("normal")
    }
}

fn candidate(row: &Row<'_>, merits: bool) -> Result<Candidate, Fault> {
    let merit = if merits {
        let millis = unsigned(row, 5)?;
        let hits = row.get::<_, Option<i64>>(4)?.map_or(0, |hits| u64::try_from(hits).unwrap_or(0));
        Merit { hits, cook: Duration::from_millis(millis), credit: row.get(6)? }
    } else {
        Merit::default()
    };
    Ok(Candidate {
        file: FileId(row.get(0)?),
        last_access: Timestamp::from_millis(row.get(1)?),
        allocated: unsigned(row, 2)?,
        pinned: row.get(3)?,
        merit,
    })
}

fn names(connection: &Connection, file: FileId) -> Result<Vec<BundleKey>, Fault> {
    collect(connection, "SELECT kind, sha1git, format FROM bundle WHERE file = ?1", [file.0], |row| key(row, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Access;

    #[test]
    fn the_row_of_a_file_that_has_no_name_goes_when_it_is_collected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.db");
        let catalogue = Catalogue::open(&path, Access::Write).unwrap();
        let sql = Connection::open(&path).unwrap();
        let columns = "size, allocated, blake3, last_access, credit";
        sql.execute(&format!("INSERT INTO file ({columns}) VALUES (1, 512, zeroblob(32), 7, 0)"), []).unwrap();
        let file = FileId(sql.last_insert_rowid());
        assert_eq!(catalogue.totals().unwrap().files, 1);
        let collected = {
            let (used, planned) = (Timestamp::from_millis(7), Timestamp::from_millis(60_007));
            catalogue.collect(&[file], used, planned, None, |_| Ok(())).unwrap()
        };
        assert_eq!((collected.files, collected.names, collected.bytes), (1, 0, 512));
        assert_eq!(catalogue.totals().unwrap().files, 0);
        assert_eq!(catalogue.evicted().unwrap(), Evicted { files: 1, bytes: 512, unused: 60 });
        let left: i64 = sql.query_row("SELECT count(*) FROM file", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }
}
