//! Collection where there is no room left to write down that files go.

use crate::common::disk::{Mount, fill_up, skipped};
use crate::common::kitchenware::all_is_well;
use crate::gc::aged;
use larder::bundles::Bundles;
use larder::catalogue::{Access, Catalogue};
use larder::gc::{self, Limits};
use larder::limits::{MinFree, Policy, RoomLimits};
use larder::store::Store;
use larder::time::Timestamp;
use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;
use tempfile::TempDir;

#[test]
fn where_the_catalogue_has_no_room_to_forget_files_they_are_deleted_first() {
    collect_all(4, 0, "24m");
}

#[test]
fn where_deleting_the_first_hundred_makes_no_room_either_they_are_forgotten_after_the_next() {
    collect_all(120, 100, "40m");
}

/// Collects all of `count` bundles on a disk that is full. The `kept` oldest have another link, so that
/// deleting them gives nothing back.
#[track_caller]
fn collect_all(count: u32, kept: usize, size: &str) {
    let (folder, disk) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(_mount) = Mount::tmpfs(disk.path(), size) else { return skipped() };
    let data = disk.path().join("data");
    let (menu, server) = aged(folder.path(), &data, count);
    assert!(server.terminate().success());
    let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Write).unwrap();
    let store = Store::open(&data).unwrap();
    for (number, key) in menu.keys().take(kept).enumerate() {
        fs::hard_link(store.path(&key.parse().unwrap()), disk.path().join(number.to_string())).unwrap();
    }
    // So that the log has to grow for the next commit.
    let sql = rusqlite::Connection::open(data.join("catalogue.db")).unwrap();
    let busy: i64 = sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0);
    fill_up(&disk.path().join("filler"), disk.path());
    // And what is left besides, page by page.
    let mut rest = File::create(disk.path().join("rest")).unwrap();
    while rest.write_all(&[1; 512]).is_ok() {}
    assert!(sql.execute("UPDATE totals SET files = files + 1", []).is_err(), "there is no room to write");

    let room =
        RoomLimits { max_size: Some(0), min_free: MinFree::Bytes(0), grace: Duration::ZERO, policy: Policy::Lru };
    let now = catalogue.moment(Timestamp::now()).unwrap();
    let bundles = Bundles::new(store.clone(), catalogue.clone());
    let stock = gc::stock(&bundles).unwrap();
    let plan =
        gc::plan(gc::candidates(&catalogue, Policy::Lru), &stock, &Limits { room, max_idle: None }, now).unwrap();
    // What was removed when, by the numbers of files.
    let mut steps = Vec::new();
    let removed = gc::run(&plan, &bundles, |_, sofar| steps.push(sofar.files)).unwrap();
    let count = u64::from(count);
    assert_eq!((removed.files, removed.names, removed.passed_over), (count, count, 0));
    let expected = if kept == 0 { vec![count] } else { vec![count - kept as u64, count] };
    assert_eq!(steps, expected, "those that could not be forgotten come last");
    assert!(menu.keys().all(|key| store.get(&key.parse().unwrap()).unwrap().is_none()));
    assert_eq!(catalogue.totals().unwrap().files, 0);
    drop((store, catalogue, bundles, sql));
    all_is_well(&data);
}
