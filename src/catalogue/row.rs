//! Rows and the types they stand for.

use super::error::Fault;
use super::plan::prepare;
use crate::bundle::{Bundle, Failure, FailureCode, FileFacts, Remarks, Status};
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git};
use crate::time::Timestamp;
use rusqlite::{Connection, Row};

/// The columns that [`bundle`] reads, of `bundle b` and `file f`.
macro_rules! bundle_columns {
    () => {
        "b.kind, b.sha1git, b.format, b.status, b.created_at, b.done_at, b.hits, b.pinned, b.failure, b.message, \
         f.size, f.allocated, f.blake3, f.sha256, f.last_access, b.notes, b.lossy"
    };
}
pub(super) use bundle_columns;

/// A key as SQL takes it: kind, sha1git, format.
pub(super) fn key_params(key: &BundleKey) -> (u8, [u8; 20], u8) {
    (key.kind().code(), *key.id().as_bytes(), key.format().code())
}

/// The key in the three columns from `first`.
pub(super) fn key(row: &Row<'_>, first: usize) -> Result<BundleKey, Fault> {
    let kind = ObjectKind::from_code(row.get(first)?).ok_or(Fault::Row("a kind is none that exists"))?;
    let id = Sha1Git::from_bytes(row.get(first + 1)?);
    let format = Format::from_code(row.get(first + 2)?).ok_or(Fault::Row("a format is none that exists"))?;
    BundleKey::new(kind, id, format).map_err(|_| Fault::Row("a format is not one of its kind"))
}

/// A count or a size; the schema keeps them from being negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, Fault> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| Fault::Row("a count is negative"))
}

/// What SQLite can hold of a count: it has no unsigned integers.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The bundle in `bundle_columns!`.
pub(super) fn bundle(row: &Row<'_>) -> Result<Bundle, Fault> {
    let time = |column| Ok::<_, Fault>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
    let status = status(row, 3)?;
    let file = match row.get::<_, Option<[u8; 32]>>(12)? {
        Some(blake3) => Some(FileFacts { size: unsigned(row, 10)?, allocated: unsigned(row, 11)?, blake3 }),
        None => None,
    };
    let failure = match row.get::<_, Option<String>>(8)? {
        Some(word) => Some(Failure {
            code: FailureCode::from_word(&word).ok_or(Fault::Row("a failure is none that exists"))?,
            message: row.get(9)?,
        }),
        None => None,
    };
    Ok(Bundle {
        key: key(row, 0)?,
        status,
        file,
        sha256: row.get(13)?,
        created_at: Timestamp::from_millis(row.get(4)?),
        done_at: time(5)?,
        last_access_at: time(14)?,
        hits: unsigned(row, 6)?,
        pinned: row.get(7)?,
        failure,
        remarks: remarks(row, 15)?,
    })
}

/// What is said of a bundle, in the two columns from `first`.
fn remarks(row: &Row<'_>, first: usize) -> Result<Remarks, Fault> {
    let notes = match row.get::<_, Option<String>>(first)? {
        Some(json) => serde_json::from_str(&json).map_err(|_| Fault::Row("notes are not a list of texts"))?,
        None => Vec::new(),
    };
    Ok(Remarks { notes, lossy: row.get(first + 1)? })
}

pub(super) fn status(row: &Row<'_>, column: usize) -> Result<Status, Fault> {
    Status::from_code(row.get(column)?).ok_or(Fault::Row("a status is none that exists"))
}

/// All rows of a query, at most as many as its LIMIT.
pub(super) fn collect<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

/// The one row of a query, if there is one.
pub(super) fn first<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    read: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(read).transpose()
}

/// Runs a statement that adds one row and gives its number, by `RETURNING`.
pub(super) fn insert(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<i64, Fault> {
    first(connection, sql, params, |row| Ok(row.get(0)?))?.ok_or(Fault::Row("a row that was added has no number"))
}

/// Runs a statement that changes rows and counts them.
pub(super) fn execute(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<usize, Fault> {
    Ok(prepare(connection, sql)?.execute(params)?)
}
