//! How far the access log was read. A position moves in the transaction that notes the fetches up
//! to it: whatever dies in between, no fetch is noted twice and none is passed over.

use super::lru::{Touch, note};
use super::row::{execute, first, signed, unsigned};
use super::{Catalogue, CatalogueError, clock};
use crate::time::Timestamp;
use std::time::Duration;

/// How far one file of the access log was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// BLAKE3 of the file's first line: its name and its inode change.
    pub file: [u8; 32],
    /// Bytes read, as they were before the file was packed.
    pub offset: u64,
    /// Whether it was packed and read to its end: nothing can be added to it.
    pub whole: bool,
}

impl Catalogue {
    /// How far the file whose first line has this digest was read. `None`: not at all.
    pub fn log_position(&self, file: &[u8; 32]) -> Result<Option<LogPosition>, CatalogueError> {
        self.read("look up a position in the access log", |connection| {
            first(connection, "SELECT position, whole FROM log WHERE file = ?1", [file], |row| {
                Ok(LogPosition { file: *file, offset: unsigned(row, 0)?, whole: row.get(1)? })
            })
        })
    }

    /// Notes the fetches that stand in a file between `from` and `to`, and that it was read so far,
    /// in one transaction. `false`, and nothing changed, when it was not `from` that it had been
    /// read to: another process reads it too.
    pub fn touch_from_log(
        &self,
        touches: &[Touch],
        from: u64,
        to: &LogPosition,
        now: Timestamp,
    ) -> Result<bool, CatalogueError> {
        self.write("note fetches of the access log", |transaction| {
            let seen_at = clock::read(transaction)?.place(now).as_millis();
            let moved = execute(
                transaction,
                "INSERT INTO log (file, position, whole, seen_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (file) DO UPDATE
                 SET position = excluded.position, whole = excluded.whole, seen_at = excluded.seen_at
                 WHERE log.position = ?5",
                (to.file, signed(to.offset), to.whole, seen_at, signed(from)),
            )?;
            if moved == 0 {
                return Ok(false);
            }
            note(transaction, touches)?;
            Ok(true)
        })
    }

    /// Notes that these files of the log are there, and forgets those not seen for `forget_after`.
    pub fn see_log_files(
        &self,
        files: &[[u8; 32]],
        now: Timestamp,
        forget_after: Duration,
    ) -> Result<(), CatalogueError> {
        self.write("note the files of the access log", |transaction| {
            let now = clock::read(transaction)?.place(now).as_millis();
            for file in files {
                execute(transaction, "UPDATE log SET seen_at = ?2 WHERE file = ?1 AND seen_at < ?2", (file, now))?;
            }
            let span = i64::try_from(forget_after.as_millis()).unwrap_or(i64::MAX);
            execute(transaction, "DELETE FROM log WHERE seen_at < ?1", [now.saturating_sub(span)])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Access;
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn catalogue() -> (tempfile::TempDir, Catalogue) {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
        (folder, catalogue)
    }

    #[test]
    fn a_position_moves_only_from_where_it_is() {
        let (_folder, catalogue) = catalogue();
        let now = Timestamp::from_millis(1);
        let at = |offset| LogPosition { file: [1; 32], offset, whole: false };
        assert_eq!(catalogue.log_position(&[1; 32]).unwrap(), None);
        assert!(catalogue.touch_from_log(&[], 0, &at(10), now).unwrap());
        assert!(!catalogue.touch_from_log(&[], 0, &at(20), now).unwrap(), "somebody else was there first");
        assert_eq!(catalogue.log_position(&[1; 32]).unwrap(), Some(at(10)));
        assert!(catalogue.touch_from_log(&[], 10, &at(30), now).unwrap());
        assert_eq!(catalogue.log_position(&[1; 32]).unwrap(), Some(at(30)));
    }

    #[test]
    fn where_fetches_cannot_be_noted_the_position_stays() {
        let (_folder, catalogue) = catalogue();
        let now = Timestamp::from_millis(1);
        let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        catalogue.order(&key, now, 1, DAY).unwrap();
        let sql = "UPDATE bundle SET hits = ?1 WHERE kind = 1 AND sha1git = ?2 AND format = 1";
        let overflows =
            |transaction: &rusqlite::Transaction<'_>| execute(transaction, sql, (i64::MAX, *key.id().as_bytes()));
        assert_eq!(catalogue.write("prepare a test", overflows).unwrap(), 1);
        let touch = Touch { key, at: now, hits: 1 };
        let to = LogPosition { file: [1; 32], offset: 9, whole: false };
        assert!(catalogue.touch_from_log(&[touch], 0, &to, now).is_err());
        assert_eq!(catalogue.log_position(&[1; 32]).unwrap(), None);
    }

    #[test]
    fn only_what_was_long_gone_is_forgotten() {
        let (_folder, catalogue) = catalogue();
        let start = Timestamp::from_millis(1);
        for file in [[1; 32], [2; 32]] {
            assert!(catalogue.touch_from_log(&[], 0, &LogPosition { file, offset: 5, whole: true }, start).unwrap());
        }
        catalogue.see_log_files(&[[1; 32]], start.after(DAY * 20), DAY * 30).unwrap();
        assert!(catalogue.log_position(&[2; 32]).unwrap().is_some());
        catalogue.see_log_files(&[], start.after(DAY * 31), DAY * 30).unwrap();
        assert!(catalogue.log_position(&[1; 32]).unwrap().is_some(), "it was seen eleven days ago");
        assert!(catalogue.log_position(&[2; 32]).unwrap().is_none());
    }
}
