//! Where every statement is prepared: once a connection, and, in tests, only if SQLite finds its
//! rows by seeking, and if PostgreSQL would read it too (`neutral`). A statement that reads a whole table is as quick as
//! the others with ten bundles and stops everything with ten million.

use rusqlite::{CachedStatement, Connection};

/// Prepares `sql`, or takes it from the connection's cache.
pub(super) fn prepare<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    #[cfg(test)]
    tests::assert_fit(connection, sql);
    connection.prepare_cached(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan of `sql`, a line a step.
    fn plan(connection: &Connection, sql: &str) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let width = statement.parameter_count();
        let nothing = std::iter::repeat_n(rusqlite::types::Null, width);
        statement
            .query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    fn assert_seeks(connection: &Connection, sql: &str) {
        for step in plan(connection, sql) {
            assert!(!step.contains("SCAN") || step == "SCAN CONSTANT ROW", "{sql}\nreads a whole table: {step}");
            assert!(!step.contains("TEMP B-TREE"), "{sql}\nsorts: {step}");
        }
    }

    pub(super) fn assert_fit(connection: &Connection, sql: &str) {
        assert_eq!(crate::catalogue::neutral::fault(sql), None, "{sql}");
        assert_seeks(connection, sql);
    }

    fn schema() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../schema.sql")).unwrap();
        connection
    }

    #[test]
    #[should_panic(expected = "reads a whole table")]
    fn a_statement_that_scans_is_noticed() {
        let _ = prepare(&schema(), "SELECT count(*) FROM bundle WHERE hits > 3");
    }

    #[test]
    fn triggers_seek_too() {
        let connection = schema();
        for sql in [
            "DELETE FROM file WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM bundle WHERE file = ?1)",
            "UPDATE bundle SET status = 0 WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
            "UPDATE totals SET files = files + 1 WHERE one = 1",
            // What foreign keys look for.
            "SELECT 1 FROM bundle WHERE file = ?1",
            "DELETE FROM segment WHERE file = ?1",
            "SELECT 1 FROM cook WHERE root = ?1",
            "SELECT 1 FROM cook WHERE kind = ?1 AND sha1git = ?2 AND format = ?3",
        ] {
            assert_seeks(&connection, sql);
        }
    }
}
