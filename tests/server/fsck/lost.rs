//! The catalogue lost altogether, and files deleted by hand.

use super::larder::{Larder, fsck, larder};
use std::fs::{self, File};
use tempfile::TempDir;

#[test]
fn a_lost_catalogue_is_made_again_of_what_the_files_tell() {
    let larder = Larder::new();
    let listed = |data| {
        let output = super::larder::larder(data, &["list", "--json"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut bundles: Vec<(String, u64, String)> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|bundle| {
                let word = |name: &str| bundle[name].as_str().unwrap().to_owned();
                (word("swhid"), bundle["size"].as_u64().unwrap(), word("blake3"))
            })
            .collect();
        bundles.sort();
        bundles
    };
    let before = listed(larder.data());
    assert_eq!(before.len(), 4);
    for name in ["catalogue.db", "catalogue.db-wal", "catalogue.db-shm", "catalogue.db.lock"] {
        let _ = fs::remove_file(larder.data().join(name));
    }
    let refused = larder.run(&["fsck"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("--repair"), "{said}");
    assert!(!larder.data().join("catalogue.db").exists(), "a check alone makes none");

    let (code, said) = larder.fsck(&["--repair"]);
    assert_eq!((code, &said["faults"]["stray-file"]["repaired"]), (0, &4.into()), "{said}");
    assert_eq!(listed(larder.data()), before);
    let files: i64 = larder.sql().query_row("SELECT files FROM totals", [], |row| row.get(0)).unwrap();
    assert_eq!(files, 3, "the revision shares its directory's file");
    let (code, said) = larder.fsck(&["--deep"]);
    assert_eq!((code, &said["faults"]), (0, &serde_json::json!({})), "{said}");
    larder.everything_can_be_had();
}

#[test]
fn all_bundles_lost_are_cooked_again_when_asked_for() {
    let larder = Larder::new();
    fs::remove_dir_all(larder.data().join("bundles")).unwrap();
    let (code, said) = larder.fsck(&["--repair"]);
    assert_eq!((code, &said["faults"]["missing-file"]["repaired"]), (0, &4.into()), "{said}");
    larder.everything_can_be_had();
}

#[test]
fn a_file_deleted_by_hand_heals_at_the_first_read_whichever_that_is() {
    let larder = Larder::new();
    let server = larder.serve(&[]);
    for key in larder.menu.keys() {
        fs::remove_file(larder.path(key)).unwrap();
    }
    let keys: Vec<&String> = larder.menu.keys().collect();
    assert_eq!(server.get(&format!("/vault/{}", keys[0])).status, 404);
    assert_eq!(server.get(&format!("/vault/{}/status", keys[1])).status, 404);
    assert_eq!(server.post(&format!("/vault/{}", keys[2])).status, 201);
    assert_eq!(server.settled(keys[2])["status"], "done");
    let (code, said) = larder.fsck(&["--deep"]);
    assert_eq!((code, &said["faults"]), (0, &serde_json::json!({})), "nothing is left to repair: {said}");
    drop(server);
    larder.everything_can_be_had();
}

#[test]
fn the_exit_code_says_what_became_of_it() {
    let nothing = TempDir::new().unwrap();
    assert_eq!(larder(nothing.path(), &["fsck", "--repair"]).status.code(), Some(1), "there is no larder yet");
    assert_eq!(fs::read_dir(nothing.path()).unwrap().count(), 0, "and none was made");
    let larder = Larder::new();
    assert_eq!(larder.run(&["fsck", "--nonsense"]).status.code(), Some(2));
    let text = String::from_utf8(larder.run(&["fsck"]).stdout).unwrap();
    assert_eq!(text, "checked 4 bundles\nclean\n");
    let lock = File::open(larder.data().join("bundles")).unwrap();
    lock.lock().unwrap();
    let busy = larder.run(&["fsck", "--repair"]);
    assert_eq!(busy.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&busy.stderr).contains("another fsck"));
    drop(lock);
    fs::remove_file(larder.path(larder.alone)).unwrap();
    assert_eq!(larder.fsck(&[]).0, 4);
    let person = String::from_utf8(larder.run(&["fsck", "--repair"]).stdout).unwrap();
    let key = larder.alone;
    assert!(person.contains(&format!("missing-file      {key}: absent until it is asked for\n")), "{person}");
    assert!(person.ends_with("missing-file      1, 1 repaired\nempty folders     1, removed\nclean now\n"), "{person}");
    assert_eq!(fsck(larder.data(), &[]).0, 0);
}
