//! The checksums of contents that others than git go by: SHA-1, SHA-256 and BLAKE2s of their bytes alone, remembered by
//! sha1git and found by any of them. Owns a file of its own beside the catalogue.
//!
//! It is a cache: whoever deletes the file loses the time that it takes to compute them again. So it is no part of the
//! catalogue, of its migrations and of its backups, nothing waits for the disk when one is noted, and a file that cannot
//! be read is made anew. It has a bounded number of rows; the oldest go.

use crate::key::Sha1Git;
use blake2::Blake2s256;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many contents are remembered, each in some 300 bytes of the disk.
const MOST: i64 = 262_144;

/// The version of the table: another one's is thrown away.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE content (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      BLOB NOT NULL UNIQUE,
    length  INTEGER NOT NULL,
    sha1    BLOB NOT NULL,
    sha256  BLOB NOT NULL,
    blake2s BLOB NOT NULL
) STRICT;
CREATE INDEX content_by_sha1 ON content (sha1);
CREATE INDEX content_by_sha256 ON content (sha256);
CREATE INDEX content_by_blake2s ON content (blake2s);";

/// The checksums of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// Its length in bytes.
    pub length: u64,
    /// SHA-1 of its bytes, which is not its sha1git.
    pub sha1: [u8; 20],
    /// SHA-256.
    pub sha256: [u8; 32],
    /// BLAKE2s with 256 bits.
    pub blake2s256: [u8; 32],
}

/// What a content can be found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1 of the bytes.
    Sha1,
    /// SHA-256.
    Sha256,
    /// BLAKE2s with 256 bits.
    Blake2s256,
}

impl Algorithm {
    /// Its name in Software Heritage's URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Blake2s256 => "blake2s256",
        }
    }
}

/// Computes them of what is written to it.
#[derive(Default)]
pub struct Summing {
    length: u64,
    sha1: Sha1,
    sha256: Sha256,
    blake2s: Blake2s256,
}

impl Summing {
    /// Those of all that was written.
    #[must_use]
    pub fn finish(self) -> Checksums {
        Checksums {
            length: self.length,
            sha1: self.sha1.finalize().into(),
            sha256: self.sha256.finalize().into(),
            blake2s256: self.blake2s.finalize().into(),
        }
    }
}

impl Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        self.blake2s.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The checksums remembered. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Remembered {
    /// Held for a few statements; no other lock is taken meanwhile.
    connection: Arc<Mutex<Connection>>,
}

impl Remembered {
    /// Those in a file, which is made where there is none, and anew where it is damaged.
    ///
    /// # Errors
    /// When there can be no such file.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        // The owner's alone, as the catalogue; SQLite says what is wrong where it cannot be made.
        let _ = File::options().write(true).create_new(true).mode(0o600).open(path);
        match Self::of(Connection::open(path)?) {
            Err(rusqlite::Error::SqliteFailure(error, _))
                if matches!(error.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) =>
            {
                for end in ["", "-wal", "-shm"] {
                    let mut file = path.as_os_str().to_owned();
                    file.push(end);
                    // What is not there need not go; what cannot go is told by the next line.
                    let _ = std::fs::remove_file(&file);
                }
                Self::of(Connection::open(path)?)
            }
            opened => opened,
        }
    }

    /// Those of this process alone.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn in_memory() -> rusqlite::Result<Self> {
        Self::of(Connection::open_in_memory()?)
    }

    fn of(connection: Connection) -> rusqlite::Result<Self> {
        // Another process may be at it; what it notes can be computed again, so that this is not long.
        connection.busy_timeout(Duration::from_secs(1))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            let renew = format!(
                "BEGIN IMMEDIATE; DROP TABLE IF EXISTS content; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"
            );
            connection.execute_batch(&renew)?;
        }
        Ok(Self { connection: Arc::new(Mutex::new(connection)) })
    }

    /// Those of these contents that are remembered, in the same order. What cannot be read is not remembered.
    #[must_use]
    pub fn get(&self, ids: &[Sha1Git]) -> Vec<Option<Checksums>> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<Option<Checksums>>> {
            let mut statement =
                connection.prepare_cached("SELECT length, sha1, sha256, blake2s FROM content WHERE id = ?1")?;
            ids.iter()
                .map(|id| {
                    statement
                        .query_row([id.as_bytes()], |row| {
                            Ok(Checksums {
                                length: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
                                sha1: row.get(1)?,
                                sha256: row.get(2)?,
                                blake2s256: row.get(3)?,
                            })
                        })
                        .optional()
                })
                .collect()
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the checksums of contents cannot be read");
            vec![None; ids.len()]
        })
    }

    /// The content that has this checksum, as far as that is remembered.
    #[must_use]
    pub fn find(&self, algorithm: Algorithm, digest: &[u8]) -> Option<Sha1Git> {
        let sql = match algorithm {
            Algorithm::Sha1 => "SELECT id FROM content WHERE sha1 = ?1 ORDER BY seq LIMIT 1",
            Algorithm::Sha256 => "SELECT id FROM content WHERE sha256 = ?1 ORDER BY seq LIMIT 1",
            Algorithm::Blake2s256 => "SELECT id FROM content WHERE blake2s = ?1 ORDER BY seq LIMIT 1",
        };
        let connection = self.lock();
        let found = connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row([digest], |row| Ok(Sha1Git::from_bytes(row.get(0)?))).optional()
        });
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the checksums of contents cannot be read");
            None
        })
    }

    /// Remembers these. What cannot be noted is computed again the next time.
    pub fn put(&self, sums: &[(Sha1Git, Checksums)]) {
        if sums.is_empty() {
            return;
        }
        let mut connection = self.lock();
        let mut write = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            {
                let mut statement = transaction.prepare_cached(
                    "INSERT INTO content (id, length, sha1, sha256, blake2s) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (id) DO NOTHING",
                )?;
                for (id, sums) in sums {
                    let length = i64::try_from(sums.length).unwrap_or(i64::MAX);
                    statement.execute(params![id.as_bytes(), length, sums.sha1, sums.sha256, sums.blake2s256])?;
                }
            }
            transaction.execute("DELETE FROM content WHERE seq <= (SELECT max(seq) FROM content) - ?1", [MOST])?;
            transaction.commit()
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "checksums of contents were not noted");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(bytes: &[u8]) -> Checksums {
        let mut summing = Summing::default();
        summing.write_all(bytes).unwrap();
        summing.finish()
    }

    fn id(byte: u8) -> Sha1Git {
        Sha1Git::from_bytes([byte; 20])
    }

    #[test]
    fn they_are_those_that_other_programs_make() {
        use crate::digest::hex;
        let sums = sums(b"hello\n");
        assert_eq!(sums.length, 6);
        assert_eq!(hex(&sums.sha1), "f572d396fae9206628714fb2ce00f72e94f2258f");
        assert_eq!(hex(&sums.sha256), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(hex(&sums.blake2s256), "3969b3926654065966b6f8d9a65789b0f76d56e1e2ab67dd94faa770959187ca");
    }

    #[test]
    fn what_was_noted_is_found_by_each_of_them_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checksums.db");
        let (one, other) = (sums(b"one"), sums(b"other"));
        Remembered::open(&path).unwrap().put(&[(id(1), one), (id(2), other), (id(1), one)]);
        let remembered = Remembered::open(&path).unwrap();
        assert_eq!(remembered.get(&[id(2), id(3), id(1)]), [Some(other), None, Some(one)]);
        assert_eq!(remembered.find(Algorithm::Sha1, &one.sha1), Some(id(1)));
        assert_eq!(remembered.find(Algorithm::Sha256, &other.sha256), Some(id(2)));
        assert_eq!(remembered.find(Algorithm::Blake2s256, &other.blake2s256), Some(id(2)));
        assert_eq!(remembered.find(Algorithm::Sha256, &one.blake2s256), None);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let remembered = Remembered::in_memory().unwrap();
        remembered.put(&[(id(1), sums(b"one"))]);
        let last = format!("UPDATE sqlite_sequence SET seq = {MOST}");
        remembered.lock().execute_batch(&last).unwrap();
        remembered.put(&[(id(2), sums(b"two"))]);
        assert_eq!(remembered.get(&[id(1), id(2)]), [None, Some(sums(b"two"))]);
    }

    #[test]
    fn a_file_that_is_none_of_these_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checksums.db");
        std::fs::write(&path, "this is not a database, and long enough to be seen to be none".repeat(20)).unwrap();
        let remembered = Remembered::open(&path).unwrap();
        remembered.put(&[(id(1), sums(b"one"))]);
        drop(remembered);
        let other = Connection::open(&path).unwrap();
        other.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(other);
        assert_eq!(Remembered::open(&path).unwrap().get(&[id(1)]), [None], "another version is thrown away");
        assert!(Remembered::open(folder.path()).is_err());
    }
}
