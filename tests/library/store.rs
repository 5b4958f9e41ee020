//! The store through its public face: what is published is whole, what is dropped is gone, and what
//! a dead process left is cleared by the next.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::disk::{Mount, skipped};
use larder::key::BundleKey;
use larder::store::{Sealed, Store, StoreError, layout};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

fn key(kind: &str, byte: u8) -> BundleKey {
    format!("{kind}/{}.tar", format!("{byte:02x}").repeat(20)).parse().unwrap()
}

fn sealed(store: &Store, bytes: &[u8]) -> Sealed {
    let mut draft = store.draft().unwrap();
    draft.write_all(bytes).unwrap();
    draft.seal().unwrap()
}

fn read(store: &Store, key: &BundleKey) -> Option<Vec<u8>> {
    let mut found = store.get(key).unwrap()?;
    let mut bytes = Vec::new();
    found.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(found.size, bytes.len() as u64);
    Some(bytes)
}

/// Everything below the folder that is not a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[test]
fn a_published_bundle_is_what_was_written_under_its_only_path() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let name = key("directory", 0xab);
    assert!(store.get(&name).unwrap().is_none());

    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    let mut draft = store.draft().unwrap();
    // Pieces of all sizes, below and above the draft's buffer.
    for piece in [0..1, 1..5000, 5000..400_000, 400_000..400_000, 400_000..1_000_000] {
        draft.write_all(&bytes[piece]).unwrap();
    }
    assert_eq!(draft.written(), 1_000_000);
    let draft = draft.seal().unwrap();
    let facts = draft.facts();
    let digest = blake3::hash(&bytes);
    let first = u32::from_be_bytes(digest.as_bytes()[..4].try_into().unwrap());
    let mtime = 315_532_800 + i64::from(first >> 2);
    assert_eq!((facts.size, &facts.blake3, draft.mtime()), (1_000_000, digest.as_bytes(), mtime));
    store.publish(draft, &[name]).unwrap();

    assert_eq!(read(&store, &name), Some(bytes));
    let found = store.get(&name).unwrap().unwrap();
    let metadata = fs::symlink_metadata(store.path(&name)).unwrap();
    assert_eq!((found.dev, found.ino, found.mtime), (metadata.dev(), metadata.ino(), mtime));
    assert_eq!((metadata.mtime_nsec(), metadata.permissions().mode() & 0o7777), (0, 0o444));
    assert_eq!(found.allocated, facts.allocated);
    assert_eq!(store.path(&name), data.path().join("bundles/v0").join(layout::relative_path(&name)));
    assert_eq!(files_below(data.path()), [store.path(&name)]);
}

#[test]
fn names_of_one_bundle_are_one_file_and_a_new_bundle_replaces_what_stands_there() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let [directory, revision, release] = ["directory", "revision", "release"].map(|kind| key(kind, 7));
    store.publish(sealed(&store, b"old"), &[directory, revision]).unwrap();
    let ino = |name| store.get(name).unwrap().unwrap().ino;
    assert_eq!(ino(&directory), ino(&revision));

    assert!(store.link(&directory, &release).unwrap());
    assert!(store.link(&directory, &release).unwrap(), "again, over itself");
    assert_eq!(ino(&directory), ino(&release));
    assert!(!store.link(&key("directory", 8), &release).unwrap());

    store.publish(sealed(&store, b"new"), &[directory, revision]).unwrap();
    assert_eq!(read(&store, &directory).unwrap(), b"new");
    assert_eq!(read(&store, &revision).unwrap(), b"new");
    assert_eq!(read(&store, &release).unwrap(), b"old");
    assert_eq!(files_below(data.path()).len(), 3, "no temporary link is left");
}

#[test]
fn a_reader_keeps_the_bundle_it_opened_while_another_takes_its_place() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let name = key("directory", 1);
    store.publish(sealed(&store, b"first"), &[name]).unwrap();
    let mut open = store.get(&name).unwrap().unwrap();
    store.publish(sealed(&store, b"second"), &[name]).unwrap();
    store.withdraw(&name).unwrap().unwrap().discard().unwrap();
    let mut text = String::new();
    open.file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first");
}

#[test]
fn what_is_dropped_before_it_has_a_name_is_gone() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let mut draft = store.draft().unwrap();
    draft.write_all(&[1; 300]).unwrap();
    draft.flush().unwrap();
    let whole = sealed(&store, b"whole");
    assert_eq!(files_below(data.path()).len(), 2);
    drop((draft, whole));
    assert_eq!(files_below(data.path()).len(), 0);
    assert!(store.publish(sealed(&store, b"nameless"), &[]).is_err());
    assert_eq!(files_below(data.path()).len(), 0);
}

#[test]
fn a_withdrawn_bundle_is_absent_at_once_and_deleted_later() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let name = key("release", 3);
    assert!(store.withdraw(&name).unwrap().is_none());
    store.publish(sealed(&store, b"x"), &[name]).unwrap();
    let withdrawn = store.withdraw(&name).unwrap().unwrap();
    assert!(store.get(&name).unwrap().is_none());
    assert_eq!(files_below(data.path()).len(), 1);
    withdrawn.discard().unwrap();
    assert_eq!(files_below(data.path()).len(), 0);
}

#[test]
fn what_is_no_regular_file_is_not_there_and_a_symlink_leads_nowhere() {
    let data = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let [linked, folder, fifo] = [1, 2, 3].map(|byte| key("directory", byte));
    for name in [&linked, &folder, &fifo] {
        fs::create_dir_all(store.path(name).parent().unwrap()).unwrap();
    }
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    symlink(outside.path().join("secret"), store.path(&linked)).unwrap();
    fs::create_dir(store.path(&folder)).unwrap();
    assert!(Command::new("mkfifo").arg(store.path(&fifo)).status().unwrap().success());
    for name in [&linked, &folder, &fifo] {
        assert!(store.get(name).unwrap().is_none(), "{name}");
        assert!(!store.link(name, &key("revision", 9)).unwrap(), "{name}");
    }
    // A symlink that stands where a bundle belongs is replaced, not followed.
    store.publish(sealed(&store, b"bundle"), &[linked]).unwrap();
    assert_eq!(read(&store, &linked).unwrap(), b"bundle");
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");

    // A folder on the way that is a symlink is refused, for reading and for writing.
    let name = key("revision", 5);
    symlink(outside.path(), data.path().join("bundles/v0/revision")).unwrap();
    assert!(store.get(&name).unwrap().is_none());
    assert!(store.publish(sealed(&store, b"astray"), &[name]).is_err());
    assert_eq!(files_below(outside.path()).len(), 1);
}

#[test]
fn the_store_of_another_user_is_refused_with_the_command_that_would_work() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let data = tempfile::tempdir().unwrap();
    drop(Store::open(data.path()).unwrap());
    for (uid, line) in [
        (
            12_345,
            "belongs to uid 12345; run this as its owner, root can by: setpriv --reuid=12345 --clear-groups larder",
        ),
        (65_534, "belongs to nobody; run this as its owner, root can by: runuser -u nobody -- larder"),
    ] {
        std::os::unix::fs::chown(data.path(), Some(uid), None).unwrap();
        let error = Store::open(data.path()).unwrap_err();
        assert!(matches!(&error, StoreError::Owner { .. }), "{error}");
        assert!(error.to_string().contains(line), "{error}");
    }
    assert!(Store::open_read_only(data.path()).is_ok());
}

#[test]
fn a_folder_that_holds_other_things_keeps_its_mode() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("letter"), b"").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o750)).unwrap();
    drop(Store::open(home.path()).unwrap());
    assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn a_store_opened_for_reading_writes_nothing() {
    let data = tempfile::tempdir().unwrap();
    assert!(Store::open_read_only(data.path()).is_err(), "there is none yet");
    let name = key("directory", 1);
    let writer = Store::open(data.path()).unwrap();
    writer.publish(sealed(&writer, b"x"), &[name]).unwrap();

    let reader = Store::open_read_only(data.path()).unwrap();
    assert_eq!(reader.members().me(), "");
    assert_eq!(read(&reader, &name).unwrap(), b"x");
    assert!(reader.members().is_alive(writer.members().me()).unwrap());
    assert!(reader.free().unwrap().total_bytes > 0);
    for refused in [
        reader.draft().map(drop),
        reader.withdraw(&name).map(drop),
        reader.link(&name, &key("revision", 1)).map(drop),
        reader.clear_dead_drafts().map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
    let folders = fs::read_dir(data.path().join("bundles/v0/tmp")).unwrap().count();
    assert_eq!(folders, 1, "the writer's alone");
}

#[test]
fn a_process_is_alive_while_it_holds_its_folder() {
    let data = tempfile::tempdir().unwrap();
    let [one, two] = [(); 2].map(|()| Store::open(data.path()).unwrap());
    assert_ne!(one.members().me(), two.members().me());
    for store in [&one, &two] {
        assert!(store.members().is_alive(one.members().me()).unwrap());
        assert!(store.members().is_alive(two.members().me()).unwrap());
        for name in ["", ".", "..", "/", "../tmp", "no-such", "../directory", "a\0b"] {
            assert!(!store.members().is_alive(name).unwrap(), "{name}");
        }
    }
    let gone = two.members().me().to_owned();
    drop(two);
    assert!(!one.members().is_alive(&gone).unwrap());
    assert!(!data.path().join("bundles/v0/tmp").join(gone).exists(), "it took its folder along");
}

#[test]
fn folders_of_dead_processes_are_cleared_and_those_of_the_living_are_not() {
    let data = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), b"").unwrap();
    let tmp = data.path().join("bundles/v0/tmp");
    let [mine, other] = [(); 2].map(|()| Store::open(data.path()).unwrap());
    let mut draft = other.draft().unwrap();
    draft.write_all(b"in work").unwrap();

    for dead in ["1-dead", "dead-2-half-deleted"] {
        fs::create_dir(tmp.join(dead)).unwrap();
        fs::write(tmp.join(dead).join("draft-0"), b"left").unwrap();
    }
    symlink(outside.path(), tmp.join("1-dead/way-out")).unwrap();
    symlink(outside.path(), tmp.join("3-linked")).unwrap();
    assert!(!mine.members().is_alive("1-dead").unwrap());
    assert!(!mine.members().is_alive("3-linked").unwrap());

    assert_eq!(mine.clear_dead_drafts().unwrap(), 2);
    assert_eq!(mine.clear_dead_drafts().unwrap(), 0);
    assert!(outside.path().join("precious").exists());
    assert!(mine.members().is_alive(other.members().me()).unwrap());
    let name = key("directory", 1);
    other.publish(draft.seal().unwrap(), &[name]).unwrap();
    assert_eq!(read(&mine, &name).unwrap(), b"in work");
}

#[test]
fn a_process_that_begins_while_others_clear_and_probe_keeps_its_folder() {
    let data = tempfile::tempdir().unwrap();
    let cleaner = Store::open(data.path()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                cleaner.clear_dead_drafts().unwrap();
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for entry in fs::read_dir(data.path().join("bundles/v0/tmp")).unwrap().flatten() {
                    cleaner.members().is_alive(entry.file_name().to_str().unwrap()).unwrap();
                }
            }
        });
        let stores: Vec<_> = (0..100).map(|_| Store::open(data.path()).unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        for (byte, store) in (0..).zip(&stores) {
            assert!(cleaner.members().is_alive(store.members().me()).unwrap());
            store.publish(sealed(store, &[byte]), &[key("directory", byte)]).unwrap();
        }
    });
}

#[test]
fn a_full_disk_is_storage_full_and_leaves_what_was_published() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = Mount::tmpfs(folder.path(), "1m") else { return skipped() };
    let store = Store::open(&folder.path().join("data")).unwrap();
    let name = key("directory", 1);
    store.publish(sealed(&store, &[1; 2000].repeat(100)), &[name]).unwrap();

    let mut draft = store.draft().unwrap();
    let error = (0..1000).find_map(|_| draft.write_all(&[2; 5000]).err()).unwrap();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(draft.seal().is_err(), "a draft that failed once stays failed");
    assert_eq!(read(&store, &name).unwrap(), [1; 2000].repeat(100));
    assert_eq!(files_below(folder.path()), [store.path(&name)]);
    assert!(store.free().unwrap().bytes >= 200_000, "the draft's room is free again");
}
