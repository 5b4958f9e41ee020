//! A catalogue of very many bundles beside one of ten thousand: `LARDER_BENCH_ROWS` says how many,
//! a million unless it is set. And collection of real files beside `find -delete`.

use super::median;
use larder::access::Touches;
use larder::catalogue::{Access, Catalogue};
use larder::key::{BundleKey, Format, ObjectKind, Sha1Git};
use larder::store::{Store, layout};
use larder::time::Timestamp;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SMALL: u64 = 10_000;
const TOUCHES: u64 = 10_000;
/// Bytes that every file of these catalogues allocates.
const ALLOCATED: u64 = 4096;
/// 2026-01-01, in milliseconds: when the last of the files was used.
const NEWEST: i64 = 1_767_225_600_000;

/// What is measured, in milliseconds.
struct Figures {
    dry_run: f64,
    page: f64,
    claim: f64,
    status: f64,
    touches: f64,
    order: f64,
}

/// A plan for a tenth, a page, a claim, a status, a flush of touches and the orders beside it.
pub(super) fn of_the_catalogue() {
    let rows = number("LARDER_BENCH_ROWS", 1_000_000);
    let (small, large) = (measure(SMALL), measure(rows));
    println!("\n{rows} bundles beside {SMALL}: milliseconds, and the ratio");
    for (what, small, large) in [
        ("gc --dry-run of 10%", small.dry_run, large.dry_run),
        ("a page of the list", small.page, large.page),
        ("a claim", small.claim, large.claim),
        ("a status", small.status, large.status),
        ("10,000 touches", small.touches, large.touches),
        ("the longest order meanwhile", small.order, large.order),
    ] {
        println!("  {what:<28} {small:>10.3} {large:>10.3}   {:>8.2}", large / small);
    }
    let per_file = |figures: &Figures, rows: u64| figures.dry_run * 1000.0 / (rows as f64 / 10.0);
    println!(
        "  microseconds of the dry run for a file it removes: {:.2} and {:.2}",
        per_file(&small, SMALL),
        per_file(&large, rows)
    );
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn measure(rows: u64) -> Figures {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    drop(Store::open(data.path()).unwrap());
    let path = data.path().join("catalogue.db");
    let start = Instant::now();
    fill(&path, rows);
    println!("  {rows} rows were made in {:.1} s", start.elapsed().as_secs_f64());
    let catalogue = Catalogue::open(&path, Access::Migrate).unwrap();
    let now = Timestamp::from_millis(NEWEST + 1_000_000);
    let mut random = super::common::kitchenware::Random::new(3);
    let mut any = || key(random.below(rows) + 1, rows);

    let page = timed(301, || {
        let after = any();
        assert!(catalogue.list(after.kind(), Some((after.id(), after.format())), 100).unwrap().len() <= 100);
    });
    let status = timed(2001, || assert!(catalogue.bundle(&any()).unwrap().is_some()));
    let mut waiting = (0_u64..).map(|number| {
        let key = BundleKey::new(ObjectKind::Directory, id(number * 2 + 1, u64::MAX), Format::Tar).unwrap();
        catalogue.order(&key, now, u64::MAX, Duration::ZERO).unwrap();
    });
    let mut claims = Vec::new();
    for _ in 0..101 {
        waiting.next();
        let start = Instant::now();
        catalogue.claim("bench", now).unwrap().expect("one waits");
        claims.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let gathered = Touches::default();
    let mut orders = Vec::new();
    let mut flushes = Vec::new();
    for _ in 0..5 {
        (0..TOUCHES).for_each(|_| {
            gathered.touch(&any(), now);
        });
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| {
                let start = Instant::now();
                gathered.flush(&catalogue).unwrap();
                done.store(true, Ordering::Release);
                start.elapsed().as_secs_f64() * 1000.0
            });
            let mut longest = 0.0_f64;
            while !done.load(Ordering::Acquire) {
                let start = Instant::now();
                waiting.next();
                longest = longest.max(start.elapsed().as_secs_f64() * 1000.0);
            }
            orders.push(longest);
            flushes.push(flush.join().unwrap());
        });
    }
    drop(catalogue);
    let most = format!("{}B", rows / 10 * 9 * ALLOCATED);
    let dry_run = timed(5, || {
        let output = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["gc", "--dry-run", "--json", "--min-free", "0B", "--max-size", &most, "--data"])
            .arg(data.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["plan"]["files"].as_u64(), Some(rows / 10), "{plan}");
    });
    Figures { dry_run, page, claim: median(&claims), status, touches: median(&flushes), order: median(&orders) }
}

/// The median of so many runs.
fn timed(runs: usize, mut body: impl FnMut()) -> f64 {
    let times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            body();
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    median(&times)
}

/// The id of row `number` of so many: spread evenly, in order of the number.
fn id(number: u64, rows: u64) -> Sha1Git {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&(number * ((1 << 62) / rows).max(1)).to_be_bytes());
    Sha1Git::from_bytes(bytes)
}

fn key(number: u64, rows: u64) -> BundleKey {
    BundleKey::new(ObjectKind::Directory, id(number, rows), Format::TarGz).unwrap()
}

/// Writes a catalogue of so many done bundles, last used in no order of their ids. Indexes and
/// triggers are made anew at the end, from their own SQL.
fn fill(path: &Path, rows: u64) {
    drop(Catalogue::open(path, Access::Migrate).unwrap());
    let sql = rusqlite::Connection::open(path).unwrap();
    sql.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000").unwrap();
    let made: Vec<(String, String, String)> = sql
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql IS NOT NULL")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let drops: String = made.iter().flat_map(|(what, name, _)| ["DROP ", what, " ", name, ";"]).collect();
    let creates: String = made.iter().flat_map(|(_, _, sql)| [sql, ";"]).collect();
    let step = ((1_u64 << 62) / rows).max(1);
    sql.execute_batch(&format!(
        "{drops}
         BEGIN;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO file (id, size, allocated, blake3, sha256, last_access)
         SELECT i, 1000, {ALLOCATED}, randomblob(32), randomblob(32), {NEWEST} - (i * 2654435761 % 31536000000) FROM n;
         INSERT INTO bundle (kind, sha1git, format, status, file, created_at, done_at)
         SELECT 1, unhex(printf('%016x%024x', id * {step}, 0)), 1, 2, id, last_access, last_access FROM file;
         UPDATE totals SET files = {rows}, allocated = {rows} * {ALLOCATED};
         UPDATE clock SET newest = {NEWEST}, wall = {NEWEST};
         COMMIT;
         {creates}"
    ))
    .unwrap();
}

/// Real files of one block, removed by `larder gc` and by `find -delete`, in turn.
/// `LARDER_BENCH_FILES` says how many, 20,000 unless it is set.
pub(super) fn of_real_files() {
    let files = number("LARDER_BENCH_FILES", 20_000);
    println!("\nremoving {files} files, larder gc / find -delete, three times in turn");
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (ours, theirs) = (store_of(files), store_of(files));
        let start = Instant::now();
        let found = Command::new("find")
            .arg(theirs.path().join("bundles/v0/directory"))
            .args(["-type", "f", "-delete"])
            .status();
        assert!(found.unwrap().success());
        let find = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let output = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["gc", "--min-free", "0B", "--max-size", "0B", "--data"])
            .arg(ours.path())
            .output()
            .unwrap();
        let larder = start.elapsed().as_secs_f64();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let left = Catalogue::open(&ours.path().join("catalogue.db"), Access::Read).unwrap().totals().unwrap().files;
        assert_eq!(left, 0);
        println!("  {larder:.2} s / {find:.2} s");
        ratios.push(larder / find);
    }
    println!("  ratio {}", super::spread(&ratios));
}

fn store_of(files: u64) -> TempDir {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    drop(Store::open(data.path()).unwrap());
    fill(&data.path().join("catalogue.db"), files);
    for number in 1..=files {
        // Shards as of real ids, which are spread evenly.
        let path = data.path().join("bundles/v0").join(layout::relative_path(&key(number, files)));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, [0; 1000]).unwrap();
    }
    assert!(Command::new("sync").status().unwrap().success());
    data
}
