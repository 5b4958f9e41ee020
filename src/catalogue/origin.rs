//! Origins and what came of their visits. A row of `visit` is a change: a visit that finds what the
//! one before found moves that row's `last_at`, so that looking often costs no room.

use super::error::Fault;
use super::row::{collect, execute, first, unsigned};
use super::{Catalogue, CatalogueError, clock};
use crate::key::Sha1Git;
use crate::time::Timestamp;
use rusqlite::{Connection, Row};

/// Failures kept of each origin: so many changes back.
const KEPT_FAILURES: i64 = 100;

/// A repository that has a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its URL.
    pub url: String,
    /// Whether it lies under a `git` archive, to be read where it is; else it is mirrored.
    pub local: bool,
    /// When larder first knew of it.
    pub added_at: Timestamp,
    /// When it was last visited, whatever came of that.
    pub visited_at: Option<Timestamp>,
    /// The newest snapshot.
    pub snapshot: Option<Sha1Git>,
    /// What the files of a local one's refs were like when it was taken; see [`Catalogue::stamp_origin`].
    pub stamp: Option<i64>,
}

/// What came of a visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The origin had this snapshot.
    Full(Sha1Git),
    /// Why not, without any path: clients see it.
    Failed(String),
}

/// Visits one after the other that found the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Counted in each origin, from 1.
    pub number: u64,
    /// What they found.
    pub outcome: Outcome,
    /// When the first of them was.
    pub first_at: Timestamp,
    /// When the last of them was.
    pub last_at: Timestamp,
    /// How many there were.
    pub times: u64,
}

macro_rules! origin_columns {
    () => {
        "o.url, o.local, o.added_at, o.visited_at,
         (SELECT v.snapshot FROM visit v WHERE v.origin = o.id AND v.outcome = 0 ORDER BY v.number DESC LIMIT 1),
         o.stamp"
    };
}

macro_rules! visit_select {
    () => {
        "SELECT number, snapshot, message, first_at, last_at, times FROM visit WHERE origin = ?1"
    };
}

impl Catalogue {
    /// Makes an origin known; `false` when it was already.
    pub fn add_origin(&self, url: &str, local: bool, now: Timestamp) -> Result<bool, CatalogueError> {
        if self.origin(url)?.is_some() {
            return Ok(false);
        }
        self.write("add an origin", |transaction| {
            let now = clock::tick(transaction, now)?.now().as_millis();
            let sql = "INSERT INTO origin (url, local, added_at) VALUES (?1, ?2, ?3) ON CONFLICT (url) DO NOTHING";
            Ok(execute(transaction, sql, (url, local, now))? == 1)
        })
    }

    /// Forgets an origin and its visits; `false` when there is none. Its snapshots stay.
    pub fn remove_origin(&self, url: &str) -> Result<bool, CatalogueError> {
        self.write("remove an origin", |transaction| {
            Ok(execute(transaction, "DELETE FROM origin WHERE url = ?1", [url])? == 1)
        })
    }

    /// An origin by its URL.
    pub fn origin(&self, url: &str) -> Result<Option<Origin>, CatalogueError> {
        self.read("look up an origin", |connection| {
            first(connection, concat!("SELECT ", origin_columns!(), " FROM origin o WHERE o.url = ?1"), [url], origin)
        })
    }

    /// Origins in order of URL, after the given one.
    pub fn origins(&self, after: Option<&str>, limit: u32) -> Result<Vec<Origin>, CatalogueError> {
        self.read("list origins", |connection| {
            let sql = concat!("SELECT ", origin_columns!(), " FROM origin o WHERE o.url > ?1 ORDER BY o.url LIMIT ?2");
            collect(connection, sql, (after.unwrap_or_default(), limit), origin)
        })
    }

    /// The last URL of a page of [`origins`](Self::origins) that has `limit` of them, and whether there are more behind
    /// it; `None` when there are fewer.
    pub fn origins_end(&self, after: Option<&str>, limit: u32) -> Result<Option<(String, bool)>, CatalogueError> {
        self.read("list origins", |connection| {
            let sql = "SELECT url FROM origin WHERE url > ?1 ORDER BY url LIMIT 2 OFFSET ?2";
            let parameters = (after.unwrap_or_default(), limit.saturating_sub(1));
            let mut found = collect(connection, sql, parameters, |row| Ok(row.get::<_, String>(0)?))?;
            let more = found.len() > 1;
            found.truncate(1);
            Ok(found.pop().map(|last| (last, more)))
        })
    }

    /// About how many origins there are, without counting them: some may have been forgotten.
    pub fn number_of_origins(&self) -> Result<u64, CatalogueError> {
        self.read("count origins", |connection| {
            let last = "SELECT id FROM origin ORDER BY id DESC LIMIT 1";
            Ok(first(connection, last, [], |row| unsigned(row, 0))?.unwrap_or(0))
        })
    }

    /// The origins that are mirrored, in order of URL, after the given one.
    pub fn mirrored_origins(&self, after: Option<&str>, limit: u32) -> Result<Vec<Origin>, CatalogueError> {
        self.read("list origins", |connection| {
            let sql = concat!(
                "SELECT ",
                origin_columns!(),
                " FROM origin o INDEXED BY origin_mirrored WHERE o.local = 0 AND o.url > ?1 ORDER BY o.url LIMIT ?2"
            );
            collect(connection, sql, (after.unwrap_or_default(), limit), origin)
        })
    }

    /// Notes what came of a visit of an origin, and gives its row. `None` when there is no such origin.
    ///
    /// A snapshot must be known: [`Catalogue::add_snapshot`] comes first.
    pub fn visited(&self, url: &str, outcome: &Outcome, now: Timestamp) -> Result<Option<Visit>, CatalogueError> {
        self.write("note a visit", |transaction| {
            let now = clock::tick(transaction, now)?.now().as_millis();
            let sql = "UPDATE origin SET visited_at = ?2 WHERE url = ?1 RETURNING id, visits";
            let Some::<(i64, i64)>((id, visits)) =
                first(transaction, sql, (url, now), |row| Ok((row.get(0)?, row.get(1)?)))?
            else {
                return Ok(None);
            };
            let number = match newest_like(transaction, id, outcome)? {
                Some(number) => {
                    let sql = "UPDATE visit SET last_at = ?3, times = times + 1 WHERE origin = ?1 AND number = ?2";
                    execute(transaction, sql, (id, number, now))?;
                    number
                }
                None => insert(transaction, id, visits + 1, outcome, now)?,
            };
            let sql = concat!(visit_select!(), " AND number = ?2");
            first(transaction, sql, (id, number), visit)
        })
    }

    /// Remembers what the files of a local origin's refs were like when its newest snapshot was taken:
    /// while they are like that it need not be taken again.
    pub fn stamp_origin(&self, url: &str, stamp: i64) -> Result<(), CatalogueError> {
        self.write("stamp an origin", |transaction| {
            execute(transaction, "UPDATE origin SET stamp = ?2 WHERE url = ?1", (url, stamp)).map(drop)
        })
    }

    /// The visits of an origin, newest first, before the given one.
    pub fn visits(&self, url: &str, before: Option<u64>, limit: u32) -> Result<Vec<Visit>, CatalogueError> {
        let before = before.and_then(|number| i64::try_from(number).ok()).unwrap_or(i64::MAX);
        self.read("list visits", |connection| {
            let Some(id) = origin_id(connection, url)? else { return Ok(Vec::new()) };
            let sql = concat!(visit_select!(), " AND number < ?2 ORDER BY number DESC LIMIT ?3");
            collect(connection, sql, (id, before, limit), visit)
        })
    }

    /// The number of the last visit of a page of [`visits`](Self::visits) that has `limit` of them, and whether there
    /// are more behind it; `None` when there are fewer.
    pub fn visits_end(
        &self,
        url: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Option<(u64, bool)>, CatalogueError> {
        let before = before.and_then(|number| i64::try_from(number).ok()).unwrap_or(i64::MAX);
        self.read("list visits", |connection| {
            let Some(id) = origin_id(connection, url)? else { return Ok(None) };
            let sql = "SELECT number FROM visit WHERE origin = ?1 AND number < ?2
                       ORDER BY number DESC LIMIT 2 OFFSET ?3";
            let found = collect(connection, sql, (id, before, limit.saturating_sub(1)), |row| unsigned(row, 0))?;
            Ok(found.first().map(|last| (*last, found.len() > 1)))
        })
    }
}

fn origin_id(connection: &Connection, url: &str) -> Result<Option<i64>, Fault> {
    first(connection, "SELECT id FROM origin WHERE url = ?1", [url], |row| Ok(row.get(0)?))
}

/// The row that `outcome` only repeats: the newest snapshot, or a failure since it.
fn newest_like(connection: &Connection, origin: i64, outcome: &Outcome) -> Result<Option<i64>, Fault> {
    let newest = |code: u8| {
        let sql = "SELECT number, snapshot, message FROM visit INDEXED BY visit_by_outcome
                   WHERE origin = ?1 AND outcome = ?2 ORDER BY number DESC LIMIT 1";
        first(connection, sql, (origin, code), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<[u8; 20]>>(1)?, row.get::<_, Option<String>>(2)?))
        })
    };
    let full = newest(0)?;
    Ok(match outcome {
        Outcome::Full(id) => {
            full.filter(|(_, snapshot, _)| *snapshot == Some(*id.as_bytes())).map(|(number, ..)| number)
        }
        Outcome::Failed(words) => {
            let since = full.map_or(0, |(number, ..)| number);
            let same = newest(1)?.filter(|(number, _, message)| *number > since && message.as_ref() == Some(words));
            same.map(|(number, ..)| number)
        }
    })
}

fn insert(connection: &Connection, origin: i64, number: i64, outcome: &Outcome, now: i64) -> Result<i64, Fault> {
    execute(connection, "UPDATE origin SET visits = ?2 WHERE id = ?1", (origin, number))?;
    let (code, snapshot, message) = match outcome {
        Outcome::Full(id) => (0_u8, Some(*id.as_bytes()), None),
        Outcome::Failed(words) => (1, None, Some(words)),
    };
    execute(
        connection,
        "INSERT INTO visit (origin, number, outcome, first_at, last_at, snapshot, message)
         VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)",
        (origin, number, code, now, snapshot, message),
    )?;
    execute(
        connection,
        "DELETE FROM visit WHERE origin = ?1 AND outcome = 1 AND number <= ?2",
        (origin, number - KEPT_FAILURES),
    )?;
    Ok(number)
}

fn origin(row: &Row<'_>) -> Result<Origin, Fault> {
    Ok(Origin {
        url: row.get(0)?,
        local: row.get(1)?,
        added_at: Timestamp::from_millis(row.get(2)?),
        visited_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
        snapshot: row.get::<_, Option<[u8; 20]>>(4)?.map(Sha1Git::from_bytes),
        stamp: row.get(5)?,
    })
}

fn visit(row: &Row<'_>) -> Result<Visit, Fault> {
    let outcome = match (row.get::<_, Option<[u8; 20]>>(1)?, row.get::<_, Option<String>>(2)?) {
        (Some(id), None) => Outcome::Full(Sha1Git::from_bytes(id)),
        (None, Some(words)) => Outcome::Failed(words),
        _ => return Err(Fault::Row("a visit is neither full nor failed")),
    };
    Ok(Visit {
        number: unsigned(row, 0)?,
        outcome,
        first_at: Timestamp::from_millis(row.get(3)?),
        last_at: Timestamp::from_millis(row.get(4)?),
        times: unsigned(row, 5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::snapshot::{Manifest, Target};
    use crate::catalogue::Access;

    const URL: &str = "https://example.org/a.git";

    fn catalogue() -> (tempfile::TempDir, Catalogue) {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
        (folder, catalogue)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000 + second * 1000)
    }

    fn snapshot(catalogue: &Catalogue, name: &str) -> Outcome {
        let mut manifest = Manifest::default();
        manifest.insert(name.as_bytes(), Target::Dangling);
        Outcome::Full(catalogue.add_snapshot(&manifest, None).unwrap())
    }

    #[test]
    fn a_visit_that_finds_nothing_new_moves_the_time_of_the_one_before() {
        let (_folder, catalogue) = catalogue();
        assert!(catalogue.add_origin(URL, false, at(0)).unwrap());
        assert!(!catalogue.add_origin(URL, true, at(1)).unwrap(), "it is known");
        let (a, b) = (snapshot(&catalogue, "a"), snapshot(&catalogue, "b"));
        let failed = Outcome::Failed("it is gone".to_owned());
        let visits = [&a, &a, &failed, &failed, &a, &b, &failed, &a];
        let numbers: Vec<_> = (1..)
            .zip(visits)
            .map(|(second, outcome)| catalogue.visited(URL, outcome, at(second)).unwrap().unwrap().number)
            .collect();
        assert_eq!(numbers, [1, 1, 2, 2, 1, 3, 4, 5]);
        let listed = catalogue.visits(URL, None, 9).unwrap();
        assert_eq!(listed.iter().map(|visit| visit.number).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
        assert_eq!((listed[4].first_at, listed[4].last_at, listed[4].times), (at(1), at(5), 3));
        assert_eq!(catalogue.visits(URL, Some(3), 1).unwrap(), listed[3..4]);
        let last = u32::try_from(listed.len()).unwrap();
        assert_eq!(catalogue.visits_end(URL, None, last - 1).unwrap(), Some((listed[listed.len() - 2].number, true)));
        assert_eq!(catalogue.visits_end(URL, None, last).unwrap(), listed.last().map(|last| (last.number, false)));
        assert_eq!(catalogue.visits_end(URL, None, last + 1).unwrap(), None);
        let origin = catalogue.origin(URL).unwrap().unwrap();
        let Outcome::Full(id) = a else { unreachable!() };
        assert_eq!((origin.snapshot, origin.visited_at, origin.stamp), (Some(id), Some(at(8)), None));
        catalogue.stamp_origin(URL, -7).unwrap();
        assert_eq!(catalogue.origin(URL).unwrap().unwrap().stamp, Some(-7));
    }

    #[test]
    fn failures_are_kept_in_bounded_number_and_snapshots_all() {
        let (_folder, catalogue) = catalogue();
        catalogue.add_origin(URL, false, at(0)).unwrap();
        let first = snapshot(&catalogue, "a");
        catalogue.visited(URL, &first, at(0)).unwrap();
        for n in 0..300 {
            catalogue.visited(URL, &Outcome::Failed(format!("for reason {n}")), at(n)).unwrap();
        }
        let listed = catalogue.visits(URL, None, 1000).unwrap();
        assert_eq!(listed.len(), 101);
        assert_eq!(listed.last().unwrap().outcome, first);
    }

    #[test]
    fn origins_are_listed_in_order_of_url_and_forgotten_with_their_visits() {
        let (_folder, catalogue) = catalogue();
        for (url, local) in [("b", false), ("a", true), ("c", false)] {
            catalogue.add_origin(url, local, at(0)).unwrap();
        }
        let urls = |origins: Vec<Origin>| origins.into_iter().map(|origin| origin.url).collect::<Vec<_>>();
        assert_eq!(urls(catalogue.origins(None, 2).unwrap()), ["a", "b"]);
        assert_eq!(catalogue.origins_end(None, 2).unwrap(), Some(("b".to_owned(), true)));
        assert_eq!(catalogue.origins_end(Some("a"), 2).unwrap(), Some(("c".to_owned(), false)));
        assert_eq!(catalogue.origins_end(Some("a"), 3).unwrap(), None);
        assert_eq!(urls(catalogue.origins(Some("b"), 2).unwrap()), ["c"]);
        assert_eq!(urls(catalogue.mirrored_origins(None, 9).unwrap()), ["b", "c"]);
        let found = snapshot(&catalogue, "x");
        catalogue.visited("b", &found, at(1)).unwrap();
        assert!(catalogue.remove_origin("b").unwrap());
        assert!(!catalogue.remove_origin("b").unwrap());
        assert_eq!(catalogue.visits("b", None, 9).unwrap(), []);
        assert_eq!(catalogue.visited("b", &found, at(2)).unwrap(), None);
        let Outcome::Full(id) = found else { unreachable!() };
        assert!(catalogue.has_snapshot(&id).unwrap(), "bundles of it may be there");
    }
}
