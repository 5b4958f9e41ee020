//! Connections of SQLite, each set up for what it is for. Which file they lead to, and whether it may be touched, is
//! `migrate`'s to know.

use super::CatalogueError;
use rusqlite::{Connection, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How long a statement waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// What the connections lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// A file that others may change.
    Live,
    /// A file that nobody changes: `Access::Frozen`, and disks that cannot be written.
    Frozen,
    /// Nothing on any disk.
    Memory,
}

impl Reach {
    /// A further connection, which only reads.
    pub(super) fn connect(self, path: &Path) -> Result<Connection, CatalogueError> {
        match self {
            Self::Live => reader(path),
            Self::Frozen => frozen(path),
            Self::Memory => connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI),
        }
    }
}

fn reader(path: &Path) -> Result<Connection, CatalogueError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "query_only", true).map_err(|e| sqlite("open the catalogue", path, e))?;
    Ok(connection)
}

/// SQLite then locks nothing and looks for no log.
fn frozen(path: &Path) -> Result<Connection, CatalogueError> {
    let name = percent_encoding::percent_encode(path.as_os_str().as_bytes(), percent_encoding::NON_ALPHANUMERIC);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    connect(Path::new(&format!("file:{name}?immutable=1")), flags)
}

pub(super) fn connect(path: &Path, access: OpenFlags) -> Result<Connection, CatalogueError> {
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        // A file cut short by somebody else must be an error, not a signal.
        connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(())).or_else(no_rows)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|e| sqlite("open the catalogue", path, e))
}

/// `mmap_size` answers nothing in an SQLite built without it.
fn no_rows(error: rusqlite::Error) -> rusqlite::Result<()> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}

pub(super) fn write_ahead(writer: &Connection) -> rusqlite::Result<()> {
    writer.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0)).map(drop)
}

/// Sets up the one that writes.
pub(super) fn prepare_writer(writer: &Connection) -> rusqlite::Result<()> {
    let mode: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        write_ahead(writer)?;
    }
    writer.pragma_update(None, "synchronous", "full")?;
    writer.pragma_update(None, "foreign_keys", true)?;
    // The log is cut back to this after a burst.
    writer.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))
}

pub(super) fn sqlite(action: &'static str, path: &Path, cause: rusqlite::Error) -> CatalogueError {
    CatalogueError::Sqlite { action, path: path.to_owned(), cause }
}
