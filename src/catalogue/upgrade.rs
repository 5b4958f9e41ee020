//! From an older version of the schema to this one: the steps.
//!
//! All steps run in one exclusive transaction, with the lock beside the catalogue held alone: a process
//! that dies on the way has changed nothing, and no other ever meets a schema half way.

use super::{CatalogueError, error::Fault};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// What leads from each version to the next: `(from, SQL)`, in order. Never changed once released.
pub(super) const STEPS: &[(i64, &str)] = &[(1, CREDENTIALS), (2, EVICTED), (3, SEGMENTS), (4, ABSENT)];

/// Origins that are visited with a secret.
const CREDENTIALS: &str = "\
CREATE TABLE credential (
    origin       INTEGER PRIMARY KEY REFERENCES origin (id) ON DELETE CASCADE,
    kind         INTEGER NOT NULL CHECK (kind IN (0, 1, 2)), -- token, netrc, SSH key
    file         BLOB    NOT NULL CHECK (file <> x''),       -- paths, as bytes
    user         TEXT,                                       -- sent with a token
    known_hosts  BLOB,                                       -- of an SSH key
    CHECK ((kind = 0) = (user IS NOT NULL)),
    CHECK (known_hosts IS NULL OR kind = 2)
) STRICT;";

/// What collections removed.
const EVICTED: &str = "\
CREATE TABLE evicted (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    files   INTEGER NOT NULL CHECK (files >= 0),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),           -- on disk
    unused  INTEGER NOT NULL CHECK (unused >= 0)           -- seconds since each was last used, summed up
) STRICT;
INSERT INTO evicted VALUES (1, 0, 0, 0);";

/// Where the segments of flat bundles lie.
const SEGMENTS: &str = "\
CREATE TABLE segment (
    key       BLOB    PRIMARY KEY CHECK (length(key) = 20), -- of its members, its format and that's version
    file      INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    start     INTEGER NOT NULL CHECK (start >= 0),        -- where it begins in the file
    packed    INTEGER NOT NULL CHECK (packed > 0),        -- its bytes there
    length    INTEGER NOT NULL CHECK (length > 0),        -- and in a tar
    crc       INTEGER NOT NULL,                           -- CRC-32 of those, where the format has one; else 0
    checksum  BLOB    NOT NULL CHECK (length(checksum) = 16) -- BLAKE3 of all of that but where it lies
) STRICT, WITHOUT ROWID;
CREATE INDEX segment_by_file ON segment (file);";

/// What nobody has, by when that was found.
const ABSENT: &str = "CREATE INDEX bundle_absent ON bundle (failed_at) WHERE failure = 'missing-object';";

/// Applies the steps from `from` to `to`. The lock is held alone.
pub(super) fn upgrade(
    path: &Path,
    connection: &mut Connection,
    from: i64,
    to: i64,
    steps: &[(i64, &str)],
) -> Result<(), CatalogueError> {
    if from == to {
        return Ok(());
    }
    if (from..to).any(|version| !steps.iter().any(|(step, _)| *step == version)) {
        return Err(CatalogueError::TooOld { path: path.to_owned(), found: from });
    }
    let mut run = || -> Result<(), Fault> {
        // Rows may refer to a table that a step makes anew: the keys are looked at when all is done.
        connection.pragma_update(None, "foreign_keys", false)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        for (_, sql) in steps.iter().filter(|(step, _)| (from..to).contains(step)) {
            transaction.execute_batch(sql)?;
        }
        let mut broken = transaction.prepare("PRAGMA foreign_key_check")?;
        if broken.exists([])? {
            return Err(Fault::Row("a row refers to one that is not there"));
        }
        drop(broken);
        transaction.pragma_update(None, "user_version", to)?;
        transaction.commit()?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(())
    };
    run().map_err(|fault| fault.during("migrate the catalogue", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::migrate::migrate_to;
    use crate::catalogue::{Access, Catalogue, Migrated, VERSION, migrate};

    const NOW: i64 = VERSION;

    fn version(path: &Path) -> i64 {
        Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    fn made(folder: &tempfile::TempDir) -> std::path::PathBuf {
        let path = folder.path().join("catalogue.db");
        drop(Catalogue::open(&path, Access::Write).unwrap());
        path
    }

    #[test]
    fn steps_are_applied_in_order_all_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(&folder);
        let good = [(NOW, "CREATE TABLE x (y INTEGER) STRICT"), (NOW + 1, "ALTER TABLE x ADD COLUMN z INTEGER")];
        let bad = [good[0], (NOW + 1, "ALTER TABLE nothing ADD COLUMN z")];
        let to = NOW + 2;
        assert!(matches!(migrate_to(&path, to, &bad), Err(CatalogueError::Sqlite { .. })));
        assert_eq!(version(&path), NOW, "nothing was changed");
        assert_eq!(migrate_to(&path, to, &good).unwrap(), Migrated { from: NOW, to });
        assert_eq!(version(&path), to);
        assert_eq!(migrate_to(&path, to, &good).unwrap(), Migrated { from: to, to });
    }

    #[test]
    fn a_version_that_no_step_leads_from_and_a_newer_one_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(&folder);
        let later = migrate_to(&path, NOW + 2, &[(NOW + 1, "")]);
        assert!(matches!(later, Err(CatalogueError::TooOld { found: NOW, .. })));
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 9).unwrap();
        assert!(matches!(migrate(&path), Err(CatalogueError::Version { found: 9, .. })));
        assert_eq!(version(&path), 9);
    }

    #[test]
    fn nothing_is_migrated_under_a_process_that_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(&folder);
        let open = Catalogue::open(&path, Access::Write).unwrap();
        let steps = [(NOW, "CREATE TABLE x (y INTEGER) STRICT")];
        assert!(matches!(migrate_to(&path, NOW + 1, &steps), Err(CatalogueError::InUse { .. })));
        let current = Migrated { from: NOW, to: NOW };
        assert_eq!(migrate(&path).unwrap(), current, "there is nothing to do, whoever has it open");
        drop(open);
        assert_eq!(migrate_to(&path, NOW + 1, &steps).unwrap(), Migrated { from: NOW, to: NOW + 1 });
    }

    #[test]
    fn a_catalogue_of_the_first_version_becomes_what_a_new_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (made(&folder), folder.path().join("old.db"));
        let connection = Connection::open(&old).unwrap();
        connection.execute_batch(include_str!("../../fixtures/schema-1.sql")).unwrap();
        connection.execute_batch("INSERT INTO origin (url, local, added_at) VALUES ('https://a/b', 0, 7)").unwrap();
        connection.pragma_update(None, "application_id", 1_818_325_604).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        drop(connection);
        assert_eq!(migrate(&old).unwrap(), Migrated { from: 1, to: NOW });
        let schema = |path: &Path| -> Vec<(String, String, Option<String>)> {
            let connection = Connection::open(path).unwrap();
            let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            rows.collect::<Result<_, _>>().unwrap()
        };
        assert_eq!(schema(&old), schema(&new));
        let catalogue = Catalogue::open(&old, Access::Write).unwrap();
        assert!(catalogue.origin("https://a/b").unwrap().is_some(), "what was in it is in it still");
    }
}
