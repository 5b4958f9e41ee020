//! A store that was copied without its times, its links and its catalogue, as `cp -r`, `rsync -r` and object
//! stores do: what proves itself is kept as it is, and what does not is not deleted.

use super::larder::{Larder, fsck, larder};
use super::stray::Shelf;
use serde_json::{Value, json};
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Every file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Puts a copy in the place of every bundle: another inode, one name each, dated now.
fn copied(data: &Path) {
    for path in files(&data.join("bundles/v0")) {
        let copy = path.with_extension("copy");
        fs::write(&copy, fs::read(&path).unwrap()).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o644)).unwrap();
        fs::rename(&copy, &path).unwrap();
    }
}

fn lose_catalogue(data: &Path) {
    for name in ["catalogue.db", "catalogue.db-wal", "catalogue.db-shm"] {
        let _ = fs::remove_file(data.join(name));
    }
}

/// What was done about each bundle.
fn did(said: &Value) -> Vec<(&str, &str)> {
    let findings = said["findings"].as_array().unwrap().iter();
    findings.map(|one| (one["what"].as_str().unwrap(), one["did"].as_str().unwrap())).collect()
}

#[test]
fn with_its_catalogue_every_file_gets_its_time_its_mode_and_its_links_again() {
    let larder = Larder::new();
    let before: Vec<i64> = larder.menu.keys().map(|key| fs::metadata(larder.path(key)).unwrap().mtime()).collect();
    copied(larder.data());
    let (code, said) = larder.fsck(&[]);
    assert_eq!((code, &said["faults"]["wrong-mtime"]["found"]), (4, &4.into()), "{said}");
    let (code, said) = larder.fsck(&["--repair"]);
    assert_eq!((code, &said["faults"]["wrong-mtime"]), (0, &json!({ "found": 4, "repaired": 4, "note": false })));
    assert!(did(&said).iter().all(|(_, did)| matches!(*did, "corrected" | "linked")), "{said}");
    assert_eq!(larder.quarantine(), [""; 0]);
    let after: Vec<i64> = larder.menu.keys().map(|key| fs::metadata(larder.path(key)).unwrap().mtime()).collect();
    assert_eq!(after, before);
    let (code, said) = larder.fsck(&["--deep"]);
    assert_eq!((code, &said["faults"]), (0, &json!({})), "one run put all of it right: {said}");
    larder.everything_can_be_had();
}

#[test]
fn without_its_catalogue_what_proves_itself_is_adopted_and_the_rest_set_aside() {
    let larder = Larder::new();
    copied(larder.data());
    lose_catalogue(larder.data());
    let (code, said) = larder.fsck(&["--repair"]);
    assert_eq!(code, 0, "{said}");
    for key in larder.menu.keys() {
        assert!(did(&said).contains(&(key, "adopted")), "{key}: {said}");
    }
    // Nothing in the tar of a revision says whose it is.
    assert!(did(&said).contains(&(larder.revision, "moved")), "{said}");
    assert_eq!(larder.quarantine().len(), 1);
    let (code, said) = larder.fsck(&["--deep"]);
    assert_eq!((code, &said["faults"]), (0, &json!({})), "{said}");
    larder.everything_can_be_had();
}

#[test]
fn every_format_that_tells_whose_it_is_is_adopted_without_time_and_catalogue() {
    let shelf = Shelf::new();
    copied(shelf.data());
    lose_catalogue(shelf.data());
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!(code, 0, "{said}");
    let mut adopted: Vec<&str> =
        did(&said).into_iter().filter(|(_, did)| *did == "adopted").map(|(what, _)| what).collect();
    let mut wanted: Vec<&str> = shelf.keys.iter().map(String::as_str).collect();
    adopted.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(adopted, wanted, "{said}");
    assert_eq!(shelf.left(), shelf.keys);
    let (code, said) = fsck(shelf.data(), &["--deep"]);
    assert_eq!((code, &said["faults"]), (0, &json!({})), "{said}");
}

#[test]
fn a_content_whose_row_is_wrong_is_kept_and_one_whose_bytes_are_is_never_deleted() {
    let shelf = Shelf::new();
    let key = format!("content/{}.raw", shelf.blob);
    let path = shelf.path(&key);
    let sql = |text: &str| {
        let connection = rusqlite::Connection::open(shelf.data().join("catalogue.db")).unwrap();
        assert_eq!(connection.execute(text, []).unwrap(), 1);
    };
    let row = "WHERE id = (SELECT file FROM bundle WHERE hex(sha1git) = upper('BLOB'))".replace("BLOB", &shelf.blob);
    for wrong in ["blake3 = zeroblob(32)", "size = size + 1"] {
        sql(&format!("UPDATE file SET {wrong} {row}"));
        let (code, said) = fsck(shelf.data(), &["--repair", "--deep"]);
        assert_eq!((code, did(&said)), (0, vec![(key.as_str(), "adopted")]), "{wrong}: {said}");
        let (code, said) = fsck(shelf.data(), &["--deep"]);
        assert_eq!((code, &said["faults"]), (0, &json!({})), "{wrong}: {said}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "some other bytes").unwrap();
    let quarantine = shelf.data().join("quarantine");
    let (code, _) = fsck(shelf.data(), &["--repair"]);
    assert_eq!(code, 0);
    let [kept] = files(&quarantine).try_into().unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"some other bytes");
    // However old it becomes there.
    let (_, name) = kept.file_name().unwrap().to_str().unwrap().split_once('_').unwrap();
    let old = quarantine.join(format!("2020-01-01T00:00:00.000Z_{name}"));
    fs::rename(&kept, &old).unwrap();
    assert_eq!(fsck(shelf.data(), &["--repair"]).0, 0);
    assert!(old.exists());
    assert_eq!(fsck(shelf.data(), &["--repair", "--delete-unproven"]).0, 0);
    assert!(!old.exists());
}

#[test]
fn a_content_whose_cook_failed_meanwhile_is_adopted_when_it_comes_back() {
    let shelf = Shelf::new();
    let key = format!("content/{}.raw", shelf.blob);
    let connection = rusqlite::Connection::open(shelf.data().join("catalogue.db")).unwrap();
    let sql = "UPDATE bundle SET status = 3, file = NULL, done_at = NULL, failed_at = 1, failure = 'missing-object',
               message = '' WHERE hex(sha1git) = upper(?1)";
    assert_eq!(connection.execute(sql, [&shelf.blob]).unwrap(), 1);
    drop(connection);
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!((code, did(&said)), (0, vec![(key.as_str(), "adopted")]), "{said}");
}

#[test]
fn what_nothing_proves_is_deleted_only_when_that_is_asked_for() {
    let shelf = Larder::new();
    let path = shelf.path(shelf.revision);
    let touch = |path: &Path| {
        // A file of its own: the directory's proves itself.
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
        let times = FileTimes::new().set_modified(SystemTime::now() - Duration::from_hours(1));
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    };
    shelf.forget(shelf.revision);
    touch(&path);
    let (code, said) = shelf.fsck(&["--repair", "--delete-unproven"]);
    assert_eq!(code, 0, "{said}");
    assert!(did(&said).contains(&(shelf.revision, "removed")), "{said}");
    assert_eq!(shelf.quarantine(), [""; 0]);
    assert_eq!(larder(shelf.data(), &["fsck", "--delete-unproven"]).status.code(), Some(2), "not without a repair");
    shelf.everything_can_be_had();
}

#[test]
fn empty_folders_are_counted_and_removed_by_a_repair() {
    let larder = Larder::new();
    let v0 = larder.data().join("bundles/v0");
    for folder in ["directory/00/01", "directory/00/02", "revision/ff"] {
        fs::create_dir_all(v0.join(folder)).unwrap();
    }
    for folder in ["directory/00", "directory/00/01", "directory/00/02", "revision/ff"] {
        fs::set_permissions(v0.join(folder), Permissions::from_mode(0o755)).unwrap();
    }
    let (code, said) = larder.fsck(&[]);
    assert_eq!((code, &said["empty_folders"]), (0, &3.into()), "no fault: {said}");
    let (code, said) = larder.fsck(&["--repair"]);
    assert_eq!((code, &said["empty_folders"]), (0, &3.into()), "{said}");
    assert!(!v0.join("directory/00").exists() && !v0.join("revision/ff").exists());
    let (_, said) = larder.fsck(&[]);
    assert_eq!(said["empty_folders"], 0);
    // What is removed takes its folders with it.
    let removed = larder.run(&[&["remove"][..], &larder.menu.keys().map(String::as_str).collect::<Vec<_>>()].concat());
    assert_eq!(removed.status.code(), Some(0));
    assert_eq!(fs::read_dir(v0.join("directory")).unwrap().count(), 0);
}
