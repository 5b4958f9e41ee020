//! What SQL both SQLite and PostgreSQL read: a check of every statement that a test prepares, and of every one that
//! stands in the source.
//!
//! `INDEXED BY`, which PostgreSQL has not, can be cut out of a text; PRAGMAs are SQLite's alone, and are not prepared as
//! statements are. Schema and migrations are of one engine, and are not looked at.

use std::path::Path;

/// Words that PostgreSQL has no such function, clause or operator for.
const ABSENT: [&str; 19] = [
    "LAST_INSERT_ROWID",
    "ROWID",
    "IIF(",
    "IFNULL(",
    "TOTAL(",
    "GROUP_CONCAT(",
    "TYPEOF(",
    "PRINTF(",
    "ZEROBLOB(",
    "UNIXEPOCH",
    "STRFTIME",
    "OR IGNORE",
    "OR REPLACE",
    "REPLACE INTO",
    "CROSS JOIN",
    " GLOB ",
    " IS ?",
    " IS NOT ?",
    "==",
];

/// Why PostgreSQL would not read `sql`, or would read something else.
pub(super) fn fault(sql: &str) -> Option<String> {
    let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase();
    if let Some(word) = ABSENT.iter().find(|word| sql.contains(**word)) {
        return Some(format!("{word} is SQLite's alone"));
    }
    if sql.contains("ON CONFLICT DO") {
        return Some("ON CONFLICT does not say of what".to_owned());
    }
    for name in ["MAX(", "MIN("] {
        if calls(&sql, name).any(|(_, inner)| has_comma(inner)) {
            return Some(format!("{name} of several values is an aggregate's name there"));
        }
    }
    if calls(&sql, "SUM(").any(|(before, _)| !before.trim_end_matches("COALESCE(").ends_with("CAST(")) {
        return Some("a sum of integers is no integer there, and is not cast".to_owned());
    }
    if calls(&sql, "SUM(").any(|(_, inner)| inner.contains(" IS ") || inner.contains('=')) {
        return Some("what is true is no number there".to_owned());
    }
    if let Some((_, update)) = sql.split_once("DO UPDATE")
        && let Some((_, condition)) = update.split_once(" WHERE ")
        && !condition.split(' ').next().is_some_and(|column| column.contains('.'))
    {
        return Some("which row a column of DO UPDATE ... WHERE is of is not said".to_owned());
    }
    if calls(&sql, "FROM (")
        .any(|(before, inner)| !sql[before.len() + "FROM (".len() + inner.len() + 1..].starts_with(" AS "))
    {
        return Some("a query in FROM has no name".to_owned());
    }
    let mut words = sql.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '"'));
    // The one column of the schema whose name is a word of PostgreSQL's.
    words.find(|word| *word == "USER").map(|_| "user is whom one is there: quote it".to_owned())
}

/// Where `name` is called: what stands before, and within its parentheses.
fn calls<'s>(sql: &'s str, name: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
    sql.match_indices(name)
        .filter(|(at, _)| !sql[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
        .map(move |(at, _)| {
            let inner = &sql[at + name.len()..];
            let mut depth = 1;
            let end = inner.find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                depth == 0
            });
            (&sql[..at], &inner[..end.unwrap_or(inner.len())])
        })
}

/// Whether there is a comma that no further parentheses enclose.
fn has_comma(inner: &str) -> bool {
    let mut depth = 0;
    inner.contains(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
}

/// The texts in Rust source, without comments and tests.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let (mut found, mut rest) = (Vec::new(), source);
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (mark, behind) = (&rest[at..], &rest[at + 1..]);
        if mark.starts_with("//") {
            rest = mark.split_once('\n').map_or("", |(_, next)| next);
        } else if let Some(next) = mark.strip_prefix("'\"'") {
            rest = next;
        } else if !mark.starts_with('"') {
            rest = behind;
        } else {
            let mut escaped = false;
            let end = behind.find(|c| {
                let is_literal = escaped;
                escaped = c == '\\' && !escaped;
                c == '"' && !is_literal
            });
            let (text, next) = behind.split_at(end.unwrap_or(behind.len()));
            found.push(text.replace("\\\"", "\"").replace('\\', " "));
            rest = next.strip_prefix('"').unwrap_or(next);
        }
    }
    found
}

#[test]
fn every_statement_in_the_source_is_read_by_both_engines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalogue");
    let (mut folders, mut statements) = (vec![folder], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // This list itself, tests, and what is of one engine: its schema's versions.
            if matches!(name, "neutral.rs" | "upgrade.rs" | "migrate.rs") || name.ends_with("tests.rs") {
                continue;
            }
            for text in texts(&std::fs::read_to_string(&path).unwrap()) {
                let is_sql = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", " FROM ", " WHERE ", " AND "];
                if !text.starts_with("PRAGMA") && is_sql.iter().any(|word| text.contains(word)) {
                    statements += 1;
                    assert_eq!(fault(&text), None, "{}: {text}", path.display());
                }
            }
        }
    }
    assert!(statements > 100, "found {statements} statements only");
}

#[test]
fn what_one_engine_alone_reads_is_noticed() {
    for sql in [
        "SELECT last_insert_rowid()",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "INSERT INTO t VALUES (1)\n  ON CONFLICT\n  DO UPDATE SET a = 1",
        "UPDATE file SET last_access = max(last_access, ?2) WHERE id = ?1",
        "SELECT min((SELECT 1), ?1)",
        "SELECT sum(hits) FROM bundle",
        "SELECT coalesce(sum(a), 0) FROM t",
        "SELECT CAST(sum(a IS NULL) AS BIGINT) FROM t",
        "INSERT INTO log (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE a = ?5",
        "SELECT a FROM (SELECT 1 AS a)",
        "UPDATE t SET a = iif(b, 1, 2)",
        "SELECT user FROM credential",
        "SELECT a FROM t CROSS JOIN u ON t.a = u.a",
        "SELECT a FROM t WHERE a IS ?1",
    ] {
        assert!(fault(sql).is_some(), "{sql}");
    }
    for sql in [
        "SELECT a FROM t INDEXED BY u WHERE a > ?1",
        "SELECT max(a), min(coalesce(a, b)) FROM t",
        "SELECT CAST(sum(a) AS BIGINT), CAST(coalesce(sum(b), 0) AS BIGINT), count(*) FILTER (WHERE a IS NULL) FROM t",
        "INSERT INTO log (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = excluded.a WHERE log.a = ?5",
        "SELECT f.a FROM (SELECT 1 AS a) AS f",
        "SELECT c.\"user\" FROM credential c ORDER BY 1 LIMIT 1 OFFSET ?1",
    ] {
        assert_eq!(fault(sql), None, "{sql}");
    }
}
