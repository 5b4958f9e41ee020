//! Every kind of damage: planted, reported with nothing changed, repaired, gone.

use super::larder::Larder;
use crate::common::disk::{Mount, skipped};
use serde_json::Value;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, UNIX_EPOCH};

const SHALLOW: &[&str] = &[];
const DEEP: &[&str] = &["--deep"];

/// `plant` breaks a larder; a check with `flags` finds `fault` so many times and nothing else, changes
/// nothing, and with `--repair` puts all of it right. Gives what the repair said.
#[track_caller]
fn repaired(larder: &Larder, fault: &str, times: u64, flags: &[&str], plant: impl FnOnce()) -> Value {
    let (code, clean) = larder.fsck(DEEP);
    assert_eq!((code, &clean["clean"]), (0, &true.into()), "{clean}");
    plant();
    let before = larder.everything();
    let (code, said) = larder.fsck(flags);
    assert_eq!((code, &said["clean"]), (4, &false.into()), "{said}");
    assert_eq!(counts(&said), [(fault.to_owned(), times, 0)], "{said}");
    assert!(larder.everything() == before, "a check that was not to repair changed something");
    let person = larder.run(&[&["fsck"], flags].concat());
    let text = String::from_utf8(person.stdout).unwrap();
    assert!(text.starts_with(fault) && text.ends_with("not clean\n"), "{text}");

    let (code, said) = larder.fsck(&[&["--repair"], flags].concat());
    assert_eq!((code, &said["clean"]), (0, &true.into()), "{said}");
    for (name, found, repaired) in counts(&said) {
        assert_eq!(found, repaired, "{name}: {said}");
    }
    assert!(said["faults"][fault]["repaired"].as_u64().unwrap() >= 1, "{said}");
    is_clean(larder);
    said
}

#[track_caller]
fn is_clean(larder: &Larder) {
    let (code, clean) = larder.fsck(DEEP);
    assert_eq!((code, counts(&clean)), (0, Vec::new()), "{clean}");
}

/// Each fault: name, found, repaired.
fn counts(said: &Value) -> Vec<(String, u64, u64)> {
    let faults = said["faults"].as_object().unwrap().iter();
    let number = |value: &Value| value.as_u64().unwrap();
    faults.map(|(name, count)| (name.clone(), number(&count["found"]), number(&count["repaired"]))).collect()
}

fn did(said: &Value) -> Vec<&str> {
    said["findings"].as_array().unwrap().iter().map(|finding| finding["did"].as_str().unwrap()).collect()
}

/// Changes the bytes of a bundle in place; its mtime stays.
fn scribble(larder: &Larder, key: &str) {
    let path = larder.path(key);
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    set_mtime(larder, key, mtime);
}

fn set_mtime(larder: &Larder, key: &str, mtime: std::time::SystemTime) {
    let path = larder.path(key);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    File::options().write(true).open(&path).unwrap().set_times(FileTimes::new().set_modified(mtime)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
}

fn pinned_and_hit(larder: &Larder, key: &str) {
    assert_eq!(larder.run(&["pin", key]).status.code(), Some(0));
    larder.execute("UPDATE bundle SET hits = 7");
}

/// Whether a bundle is pinned still and its hits were not forgotten.
fn is_pinned_and_hit(larder: &Larder, key: &str) -> bool {
    let sql = "SELECT pinned = 1 AND hits >= 7 FROM bundle WHERE hex(sha1git) = upper(?1)";
    let id = &key.split_once('/').unwrap().1[..40];
    larder.sql().query_row(sql, [id], |row| row.get(0)).unwrap()
}

#[test]
fn a_file_without_a_row_is_adopted_where_it_is_whole() {
    let larder = Larder::new();
    let said = repaired(&larder, "stray-file", 1, SHALLOW, || {
        larder.forget(larder.alone);
    });
    assert_eq!(did(&said), ["adopted"]);
    larder.everything_can_be_had();
}

#[test]
fn a_file_without_a_row_goes_to_quarantine_where_it_is_not_what_its_name_says() {
    let larder = Larder::new();
    let wrong = format!("directory/{}.tar.gz", "ab".repeat(20));
    let said = repaired(&larder, "stray-file", 1, SHALLOW, || {
        let path = larder.path(&wrong);
        make_folders(&path);
        assert!(
            std::process::Command::new("cp")
                .arg("-p")
                .arg(larder.path(larder.alone))
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
    });
    assert_eq!(did(&said), ["moved"]);
    assert!(!larder.path(&wrong).exists());

    let cut = format!("directory/{}.tar", "cd".repeat(20));
    let said = repaired(&larder, "stray-file", 1, SHALLOW, || {
        let path = larder.path(&cut);
        make_folders(&path);
        fs::write(&path, b"half a bun").unwrap();
    });
    assert_eq!(did(&said), ["moved"]);
    assert_eq!(larder.quarantine().len(), 2);
}

fn make_folders(path: &std::path::Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for folder in path.ancestors().skip(1).take(3) {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_row_without_a_file_is_reopened_and_keeps_its_pin_and_its_hits() {
    let larder = Larder::new();
    let said = repaired(&larder, "missing-file", 1, SHALLOW, || {
        pinned_and_hit(&larder, larder.alone);
        fs::remove_file(larder.path(larder.alone)).unwrap();
    });
    assert_eq!(did(&said), ["reopened"]);
    assert_eq!(larder.run(&["status", larder.alone]).status.code(), Some(3));
    assert!(is_pinned_and_hit(&larder, larder.alone));
    larder.everything_can_be_had();
    assert!(is_pinned_and_hit(&larder, larder.alone));
    is_clean(&larder);
}

#[test]
fn a_file_of_a_wrong_size_goes_to_quarantine_and_is_cooked_again() {
    let larder = Larder::new();
    let said = repaired(&larder, "wrong-size", 1, SHALLOW, || {
        pinned_and_hit(&larder, larder.alone);
        let path = larder.path(larder.alone);
        let mtime = fs::metadata(&path).unwrap().modified().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
        set_mtime(&larder, larder.alone, mtime);
    });
    assert_eq!(did(&said), ["requeued"]);
    let kept = larder.quarantine();
    let name = larder.alone.replace('/', "_");
    assert!(kept.len() == 1 && kept[0].ends_with(&format!("_wrong-size_{name}")), "{kept:?}");
    assert_eq!(fs::metadata(larder.data().join("quarantine")).unwrap().mode() & 0o7777, 0o700);
    let server = larder.serve(&[]);
    assert_eq!(server.settled(larder.alone)["status"], "done", "nobody asked for it");
    drop(server);
    assert!(is_pinned_and_hit(&larder, larder.alone));
    larder.everything_can_be_had();
    is_clean(&larder);
}

#[test]
fn a_file_with_a_wrong_mtime_gets_the_right_one_where_its_bytes_are_the_rows() {
    let larder = Larder::new();
    let said = repaired(&larder, "wrong-mtime", 2, SHALLOW, || {
        set_mtime(&larder, &larder.directory, UNIX_EPOCH + Duration::from_secs(400_000_000));
    });
    assert_eq!(did(&said), ["corrected"], "both names at once");
    assert_eq!(larder.quarantine(), [""; 0]);
    larder.everything_can_be_had();
}

#[test]
fn a_file_with_a_wrong_mtime_and_other_bytes_goes_to_quarantine_with_all_its_names() {
    let larder = Larder::new();
    let said = repaired(&larder, "wrong-mtime", 2, SHALLOW, || {
        scribble(&larder, &larder.directory);
        set_mtime(&larder, &larder.directory, UNIX_EPOCH + Duration::from_secs(400_000_000));
    });
    assert_eq!(did(&said), ["requeued"], "both names at once");
    assert_eq!(larder.quarantine().len(), 1);
    larder.everything_can_be_had();
    is_clean(&larder);
}

#[test]
fn bytes_that_changed_are_found_by_a_deep_check_only() {
    let larder = Larder::new();
    let said = repaired(&larder, "wrong-blake3", 1, DEEP, || {
        scribble(&larder, &larder.directory);
        let (code, said) = larder.fsck(SHALLOW);
        assert_eq!(code, 0, "size and mtime are right: {said}");
    });
    assert_eq!(did(&said), ["requeued"]);
    assert!(larder.quarantine()[0].contains("_wrong-blake3_directory_"));
    larder.everything_can_be_had();
    is_clean(&larder);
}

#[test]
fn a_wrong_sha256_is_found_by_a_deep_check() {
    let larder = Larder::new();
    larder.execute("UPDATE file SET sha256 = NULL");
    let said = repaired(&larder, "wrong-sha256", 1, DEEP, || {
        larder.execute("UPDATE file SET sha256 = zeroblob(32) WHERE id = (SELECT file FROM bundle WHERE kind = 2)");
    });
    assert_eq!(did(&said), ["requeued"]);
    larder.everything_can_be_had();
}

#[test]
fn allocated_blocks_are_corrected_in_the_row() {
    let larder = Larder::new();
    let said = repaired(&larder, "wrong-allocated", 3, SHALLOW, || {
        larder.execute("UPDATE file SET allocated = allocated + 4096");
    });
    assert_eq!(did(&said), ["corrected"; 3]);
    assert!(larder.quarantine().is_empty());
}

#[test]
fn names_of_one_file_that_are_two_files_are_linked_again() {
    let larder = Larder::new();
    let said = repaired(&larder, "split-link", 1, SHALLOW, || {
        let path = larder.path(larder.revision);
        let copy = path.with_extension("copy");
        assert!(std::process::Command::new("cp").arg("-p").arg(&path).arg(&copy).status().unwrap().success());
        fs::rename(&copy, &path).unwrap();
    });
    assert_eq!(did(&said), ["linked"]);
    let ino = |key: &str| fs::metadata(larder.path(key)).unwrap().ino();
    assert_eq!(ino(larder.revision), ino(&larder.directory));
}

#[test]
fn modes_of_files_and_folders_are_set_again() {
    let larder = Larder::new();
    let shard = larder.path(larder.alone).parent().unwrap().to_owned();
    let folders = [shard.parent().unwrap().to_owned(), shard, larder.data().join("bundles/v0/directory")];
    let top = [larder.data().join("bundles/v0"), larder.data().join("bundles"), larder.data().to_owned()];
    repaired(&larder, "wrong-mode", 7, SHALLOW, || {
        for folder in folders.iter().chain(&top) {
            fs::set_permissions(folder, Permissions::from_mode(0o750)).unwrap();
        }
        fs::set_permissions(larder.path(larder.alone), Permissions::from_mode(0o400)).unwrap();
    });
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(folders.each_ref().map(|path| mode(path)), [0o755; 3]);
    assert_eq!(top.each_ref().map(|path| mode(path)), [0o755, 0o755, 0o711]);
}

#[test]
fn what_larder_did_not_put_there_is_moved_to_quarantine_and_not_followed() {
    let larder = Larder::new();
    let outside = tempfile::TempDir::new().unwrap();
    fs::write(outside.path().join("theirs"), b"theirs").unwrap();
    let v0 = larder.data().join("bundles/v0");
    let shard = larder.path(larder.alone).parent().unwrap().to_owned();
    let said = repaired(&larder, "strange-entry", 7, SHALLOW, || {
        fs::write(shard.join("notes.txt"), b"mine").unwrap();
        fs::create_dir(shard.join(format!("{}.tar", "0".repeat(40)))).unwrap();
        std::os::unix::fs::symlink(outside.path(), v0.join("directory/zz")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("theirs"), shard.join("link.tar.gz")).unwrap();
        fs::write(v0.join("tmp/loose"), b"x").unwrap();
        fs::create_dir(v0.join("letter")).unwrap();
        fs::write(larder.data().join("bundles/README"), b"x").unwrap();
    });
    assert_eq!(did(&said), ["moved"; 7]);
    assert_eq!(larder.quarantine().len(), 7);
    assert_eq!(fs::read(outside.path().join("theirs")).unwrap(), b"theirs");
}

#[test]
fn quarantine_works_where_bundles_are_a_file_system_of_their_own() {
    let larder = Larder::new();
    let Some(_mount) = Mount::onto_itself(&larder.data().join("bundles")) else { return skipped() };
    let bytes = fs::read(larder.path(larder.alone)).unwrap();
    repaired(&larder, "wrong-blake3", 1, DEEP, || scribble(&larder, larder.alone));
    let kept = fs::read(larder.data().join("quarantine").join(&larder.quarantine()[0])).unwrap();
    assert_eq!(kept.iter().zip(&bytes).filter(|(kept, byte)| kept != byte).count(), 1, "as it was found");
}

#[test]
fn drafts_of_a_process_that_is_gone_are_deleted() {
    let larder = Larder::new();
    let folder = larder.data().join("bundles/v0/tmp/12345-00000000deadbeef");
    let said = repaired(&larder, "stale-drafts", 1, SHALLOW, || {
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("draft-0"), b"half").unwrap();
    });
    assert_eq!(did(&said), ["removed"]);
    assert!(!folder.exists());
}

#[test]
fn bundles_of_another_layout_are_a_note_and_go_only_when_told_to() {
    let larder = Larder::new();
    let old = larder.data().join("bundles/v9/directory");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("x"), b"x").unwrap();
    for flags in [&["--deep"][..], &["--repair"]] {
        let (code, said) = larder.fsck(flags);
        assert_eq!((code, &said["faults"]["other-layout"]["found"]), (0, &1.into()), "{said}");
        assert!(old.exists());
    }
    assert_eq!(larder.run(&["fsck", "--remove-other-layouts"]).status.code(), Some(2), "it takes --repair");
    let (code, said) = larder.fsck(&["--repair", "--remove-other-layouts"]);
    assert_eq!((code, did(&said)), (0, vec!["removed"]), "{said}");
    assert!(!larder.data().join("bundles/v9").exists());
    is_clean(&larder);
}

#[test]
fn sums_that_drifted_are_corrected() {
    let larder = Larder::new();
    let said = repaired(&larder, "wrong-totals", 1, SHALLOW, || {
        larder.execute("UPDATE totals SET files = files + 2, allocated = allocated - 512, queued = 3");
    });
    assert_eq!(did(&said), ["corrected"]);
}

#[test]
fn a_file_row_that_no_bundle_names_is_removed() {
    let larder = Larder::new();
    let said = repaired(&larder, "nameless-file", 1, SHALLOW, || {
        larder.execute("INSERT INTO file (size, allocated, blake3, last_access) VALUES (1, 512, zeroblob(32), 0)");
    });
    assert_eq!(did(&said), ["removed"]);
}

#[test]
fn references_to_nothing_are_removed_from_the_queue_and_from_bundles() {
    let larder = Larder::new();
    repaired(&larder, "broken-reference", 1, SHALLOW, || {
        larder.execute("INSERT INTO cook (kind, sha1git, format, ready_at) VALUES (1, zeroblob(20), 1, 0)");
    });
    let said = repaired(&larder, "broken-reference", 3, SHALLOW, || {
        larder.execute("INSERT INTO cook (kind, sha1git, format, ready_at) VALUES (1, zeroblob(20), 1, 0)");
        larder.execute("DELETE FROM segment; DELETE FROM file WHERE id = (SELECT file FROM bundle WHERE kind = 2)");
    });
    assert!(did(&said).contains(&"adopted"), "the files are there: {said}");
    larder.everything_can_be_had();
}

#[test]
fn tasks_of_the_archiver_that_cannot_be_are_removed_and_what_was_collected_is_no_fault() {
    let larder = Larder::new();
    let alias = |id: u8, content: &str| {
        let fetched = if content == "NULL" { "NULL, NULL, NULL" } else { "1, 'none', zeroblob(20)" };
        format!(
            "INSERT INTO archiver_alias (id, key, source, repo, rev, suffix, subdir, url,
                                         content, fetched_at, no_directory, first_content)
             VALUES ({id}, unhex('{id:064x}'), 's', 'r', 'v', 'tar.gz', '', 'u', {content}, {fetched});"
        )
    };
    let task = |id: &str, alias: u8, state: u8| {
        let ended = if state == 2 { "9" } else { "NULL" };
        format!(
            "INSERT INTO archiver_task (id, alias, host, state, created_at, waits_since, ready_at, ended_at)
             VALUES ('{id}', {alias}, 'h', {state}, 1, 1, 1, {ended});"
        )
    };
    // Its archive was collected; another was never fetched.
    larder
        .execute(&[alias(1, "zeroblob(20)"), task("collected", 1, 2), alias(2, "NULL"), task("waits", 2, 0)].concat());
    let said = repaired(&larder, "impossible-task", 1, SHALLOW, || larder.execute(&task("liar", 2, 2)));
    assert_eq!(said["findings"][0]["detail"], "task liar: SUCCESS, and nothing was fetched", "{said}");
    repaired(&larder, "broken-reference", 1, SHALLOW, || larder.execute(&task("orphan", 77, 0)));
    let left: Vec<String> = (larder.sql().prepare("SELECT id FROM archiver_task ORDER BY id").unwrap())
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(left, ["collected", "waits"]);
}

#[test]
fn a_catalogue_that_sqlite_finds_broken_is_left_alone() {
    let larder = Larder::new();
    larder.execute("PRAGMA journal_mode = delete");
    // An index whose root page is another's: SQLite opens it, and its check does not pass.
    larder.execute(
        "PRAGMA writable_schema = on;
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'clock')
         WHERE name = 'log_by_seen_at'",
    );
    let bundles = larder.path(larder.alone);
    fs::remove_file(&bundles).unwrap();
    for flags in [SHALLOW, &["--repair"]] {
        let (code, said) = larder.fsck(flags);
        assert_eq!(code, 4, "{said}");
        assert!(said["faults"]["broken-catalogue"]["found"].as_u64().unwrap() >= 1, "{said}");
        assert!(said["faults"]["missing-file"].is_null(), "nothing is written into what is broken: {said}");
    }
}

#[test]
fn segments_that_lead_nowhere_and_segments_of_other_bytes() {
    let larder = Larder::new();
    let rows = || larder.sql().query_row("SELECT count(*) FROM segment", [], |row| row.get::<_, u32>(0)).unwrap();
    let before = rows();
    assert!(before >= 3, "{before}");
    let said = repaired(&larder, "broken-segment", 2, SHALLOW, || {
        larder.execute("UPDATE segment SET start = 1000000 WHERE key = (SELECT min(key) FROM segment)");
        larder.execute("UPDATE segment SET file = 999 WHERE key = (SELECT max(key) FROM segment)");
    });
    assert_eq!(did(&said), ["removed", "removed"]);
    let said = repaired(&larder, "broken-segment", 1, DEEP, || {
        larder.execute("UPDATE segment SET crc = crc + 1 WHERE key = (SELECT min(key) FROM segment)");
    });
    assert_eq!((did(&said), rows()), (vec!["removed"], before - 3));
}
