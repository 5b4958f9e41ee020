//! Modes whatever the umask. It belongs to the whole process, so this is a test program of its own
//! with one test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "the rooms below are tested by themselves")]

use larder::catalogue::{Access, Catalogue};
use larder::key::BundleKey;
use larder::store::Store;
use larder::time::Timestamp;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn modes_are_exact_whatever_the_umask() {
    let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
    let other: BundleKey = "revision/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
    for umask in [0o077, 0o000, 0o022] {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let top = tempfile::tempdir().unwrap();
        let data = top.path().join("data");
        let store = Store::open(&data).unwrap();
        let mut draft = store.draft().unwrap();
        draft.write_all(b"x").unwrap();
        store.publish(draft.seal().unwrap(), &[key, other]).unwrap();
        let catalogue = Catalogue::open(&data.join("catalogue.db"), Access::Migrate).unwrap();
        catalogue.order(&key, Timestamp::from_millis(1), 9, Duration::ZERO).unwrap();

        let root = data.join("bundles/v0");
        let expected = [
            (data.clone(), 0o711),
            (data.join("bundles"), 0o755),
            (root.clone(), 0o755),
            (root.join("directory"), 0o755),
            (root.join("directory/4b"), 0o755),
            (root.join("directory/4b/82"), 0o755),
            (root.join("revision/4b/82"), 0o755),
            (store.path(&key), 0o444),
            (store.path(&other), 0o444),
            (root.join("tmp"), 0o700),
            (root.join("tmp").join(store.members().me()), 0o700),
            (data.join("catalogue.db"), 0o600),
            (data.join("catalogue.db-wal"), 0o600),
            (data.join("catalogue.db-shm"), 0o600),
            (data.join("catalogue.db.lock"), 0o600),
        ];
        for (path, wanted) in expected {
            assert_eq!(mode(&path), wanted, "{} under umask {umask:03o}", path.display());
        }
        // A folder whose maker died before it set the mode is mended in passing.
        fs::set_permissions(root.join("directory/4b"), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(store.link(&other, &key).unwrap());
        assert_eq!(mode(&root.join("directory/4b")), 0o755);
    }
}
