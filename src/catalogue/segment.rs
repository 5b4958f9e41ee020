//! The index of segments: which file has one, so that a cook copies what another has made.
//!
//! It is never trusted: what a row leads to is compared with the row's checksum by whoever reads it, and a
//! row that leads to nothing, or to something else, costs no more than the cook without it. Such a row is
//! written over when the segment that it should have led to is published again.
//!
//! A row leads to one of perhaps many files that have its segment, and goes with that one. So that the rows
//! of a tree which is cooked again and again neither go with its oldest bundle nor lead to a hundred of
//! them, a cook that copied from many, or from one that is on its way out, has its own bundle take over all
//! that it copied ([`is_scattered`]).

use super::error::Fault;
use super::row::{collect, execute, first, unsigned};
use super::{Catalogue, CatalogueError, FileId};
use crate::segment::{MOST_IN_A_FILE, Provenance, Segment, SegmentKey, Written};
use crate::time::Timestamp;
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;
use std::time::Duration;

/// From more files than this one tree's segments are not gathered by the cooks that come after.
const MOST_SOURCES: usize = 16;
/// A file that nobody has used for as long may be the next that is collected.
const FRESH: Duration = Duration::from_mins(5);
/// Rows that a transaction of a collection removes at most.
const MOST_AT_ONCE: u32 = 10_000;

/// The columns that [`segment`] reads, of `segment`.
macro_rules! segment_columns {
    () => {
        "key, start, packed, length, crc, checksum, file"
    };
}

impl Catalogue {
    /// Where segments lie, as of one moment, in the order of `keys`: each in the file of that number.
    pub fn segments(&self, keys: &[SegmentKey]) -> Result<Vec<Option<(FileId, Segment)>>, CatalogueError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.read("look for segments", |connection| {
            // One snapshot, and one lock, for all.
            let snapshot = connection.unchecked_transaction()?;
            let sql = concat!("SELECT ", segment_columns!(), " FROM segment WHERE key = ?1");
            keys.iter().map(|key| first(&snapshot, sql, [key.as_bytes()], segment)).collect()
        })
    }

    /// The segments of a file after the given one in order of key. A page costs the same wherever it lies.
    pub fn segments_of(
        &self,
        file: FileId,
        after: Option<&SegmentKey>,
        limit: u32,
    ) -> Result<Vec<Segment>, CatalogueError> {
        // An empty blob sorts before every key.
        let after = after.map_or(&[][..], |key| key.as_bytes());
        self.read("list the segments of a file", |connection| {
            let sql = concat!(
                "SELECT ",
                segment_columns!(),
                " FROM segment INDEXED BY segment_by_file WHERE file = ?1 AND key > ?2 ORDER BY key LIMIT ?3"
            );
            collect(connection, sql, (file.number(), after, limit), |row| Ok(segment(row)?.1))
        })
    }

    /// The file after the given one, in order of number, that has segments.
    pub fn next_file_with_segments(&self, after: Option<FileId>) -> Result<Option<FileId>, CatalogueError> {
        self.read("look for files with segments", |connection| {
            let sql = "SELECT file FROM segment INDEXED BY segment_by_file WHERE file > ?1 ORDER BY file LIMIT 1";
            let after = after.map_or(i64::MIN, FileId::number);
            first(connection, sql, [after], |row| Ok(FileId::from_number(row.get(0)?)))
        })
    }

    /// Of the rows after the given one, in order of key, those that lead to no file or out of theirs; and the last
    /// row looked at, `None` when that was all.
    pub fn broken_segments(
        &self,
        after: Option<&SegmentKey>,
        limit: u32,
    ) -> Result<(Vec<Segment>, Option<SegmentKey>), CatalogueError> {
        let after = after.map_or(&[][..], |key| key.as_bytes());
        self.read("check the index of segments", |connection| {
            let sql = concat!(
                "SELECT ",
                segment_columns!(),
                ", start + packed > coalesce((SELECT f.size FROM file f WHERE f.id = segment.file), -1)
                 FROM segment WHERE key > ?1 ORDER BY key LIMIT ?2"
            );
            let page = collect(connection, sql, (after, limit), |row| Ok((segment(row)?.1, row.get::<_, bool>(7)?)))?;
            let last = page.last().map(|(segment, _)| segment.key).filter(|_| page.len() == limit as usize);
            Ok((page.into_iter().filter(|(_, broken)| *broken).map(|(segment, _)| segment).collect(), last))
        })
    }

    /// Forgets segments, each only while its row says what it is given as; counts those forgotten.
    pub fn forget_segments(&self, segments: &[Segment]) -> Result<usize, CatalogueError> {
        self.write("mend the index of segments", |transaction| {
            let sql = "DELETE FROM segment
                       WHERE key = ?1 AND start = ?2 AND packed = ?3 AND length = ?4 AND crc = ?5 AND checksum = ?6";
            segments.iter().try_fold(0, |gone, segment| {
                let Segment { key, start, packed, length, crc, checksum } = segment;
                let start = super::row::signed(*start);
                Ok(gone + execute(transaction, sql, (key.as_bytes(), start, packed, length, crc, checksum))?)
            })
        })
    }

    /// Before files are collected, in one transaction that others wait for: forgets the segments of those that
    /// have very many, piece by piece.
    pub(super) fn thin_segments(&self, files: &[FileId]) -> Result<(), CatalogueError> {
        let mut few = 0;
        for file in files {
            let count = self.read("count the segments of a file", |connection| {
                let sql = "SELECT count(*) FROM segment WHERE file = ?1";
                Ok(first(connection, sql, [file.number()], |row| unsigned(row, 0))?.unwrap_or(0))
            })?;
            few += count;
            if few < u64::from(MOST_AT_ONCE) {
                continue;
            }
            few -= count;
            let sql = "DELETE FROM segment WHERE key IN (SELECT key FROM segment WHERE file = ?1 LIMIT ?2)";
            let piece = || {
                self.write("forget the segments of a file", |transaction| {
                    execute(transaction, sql, (file.number(), MOST_AT_ONCE / 2))
                })
            };
            while piece()? == MOST_AT_ONCE as usize / 2 {}
        }
        Ok(())
    }
}

/// Remembers the segments of a file that was just added: those that were made, and where the others are too
/// scattered, all.
pub(super) fn keep(transaction: &Connection, file: i64, written: &[Written], now: Timestamp) -> Result<(), Fault> {
    let gather = is_scattered(transaction, written, now)?;
    let worth = |written: &&Written| gather || matches!(written.provenance, Provenance::Made);
    let mut segments: Vec<_> = written.iter().filter(worth).map(|written| &written.segment).collect();
    segments.truncate(MOST_IN_A_FILE);
    // Neighbours lie on one page.
    segments.sort_unstable_by_key(|segment| segment.key);
    for Segment { key, start, packed, length, crc, checksum } in segments {
        execute(
            transaction,
            "INSERT INTO segment (key, file, start, packed, length, crc, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (key) DO UPDATE SET file = ?2, start = ?3, packed = ?4, length = ?5, crc = ?6, checksum = ?7",
            (key.as_bytes(), file, super::row::signed(*start), packed, length, crc, checksum),
        )?;
    }
    Ok(())
}

/// Whether what was copied came from more than a few files, or from one that is gone or may soon be.
fn is_scattered(transaction: &Connection, written: &[Written], now: Timestamp) -> Result<bool, Fault> {
    // Of each file one segment stands for all: numbers of files are used again, so that a file of that number
    // may be another by now.
    let mut sources = BTreeMap::new();
    for written in written {
        if let Provenance::Copied(file) = written.provenance {
            sources.insert(file, written.segment.key);
        }
    }
    if sources.len() > MOST_SOURCES {
        return Ok(true);
    }
    for (file, key) in sources {
        let sql = "SELECT f.last_access FROM segment s JOIN file f ON f.id = s.file WHERE s.key = ?1 AND s.file = ?2";
        let used = first(transaction, sql, (key.as_bytes(), file), |row| Ok(Timestamp::from_millis(row.get(0)?)))?;
        if used.is_none_or(|used| now.since(used) > FRESH) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn segment(row: &Row<'_>) -> Result<(FileId, Segment), Fault> {
    let segment = Segment {
        key: SegmentKey::from_bytes(row.get(0)?),
        start: unsigned(row, 1)?,
        packed: row.get(2)?,
        length: row.get(3)?,
        crc: row.get(4)?,
        checksum: row.get(5)?,
    };
    Ok((FileId::from_number(row.get(6)?), segment))
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
