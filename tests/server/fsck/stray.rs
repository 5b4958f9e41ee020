//! Files without a row, in every format: adopted where they are what their name says, and never where
//! they hold what is blocked.

use super::by_hand;
use super::larder::{fsck, larder};
use crate::common::server::Server;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const FLAT: [&str; 4] = ["tar.gz", "tar", "tar.zst", "zip"];
const HISTORY: [&str; 3] = ["git.tar", "bundle", "gitfast.gz"];

/// A larder of one bundle in each format, which runs no more.
pub(crate) struct Shelf {
    data: TempDir,
    pub(crate) keys: Vec<String>,
    pub(crate) blob: String,
    commit: String,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let repository = TempDir::new().unwrap();
        let git = |args: &[&str]| crate::common::git_line(args, repository.path());
        git(&["init", "-q"]);
        fs::create_dir(repository.path().join("folder")).unwrap();
        fs::write(repository.path().join("folder/file"), "some content").unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", "one"]);
        let [tree, commit, blob] = ["HEAD^{tree}", "HEAD", "HEAD:folder/file"].map(|name| git(&["rev-parse", name]));
        let mut keys: Vec<_> = FLAT.iter().map(|ext| format!("directory/{tree}.{ext}")).collect();
        keys.extend(HISTORY.iter().map(|ext| format!("revision/{commit}.{ext}")));
        keys.push(format!("content/{blob}.raw"));
        let data = TempDir::new().unwrap();
        let server = Server::start(data.path(), &[repository.path()], &[]);
        for key in &keys {
            assert_eq!(server.cook(key)["status"], "done", "{key}");
        }
        assert!(server.terminate().success());
        Self { data, keys, blob, commit }
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        let (kind, name) = key.split_once('/').unwrap();
        self.data().join("bundles/v0").join(kind).join(&name[..2]).join(&name[2..4]).join(name)
    }

    fn forget_all(&self) {
        let connection = rusqlite::Connection::open(self.data().join("catalogue.db")).unwrap();
        connection.execute_batch("DELETE FROM bundle").unwrap();
    }

    fn block(&self, object: &str) {
        let connection = rusqlite::Connection::open(self.data().join("catalogue.db")).unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM bundle", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "the sweep must have nothing to find");
        drop(connection);
        assert!(larder(self.data(), &["block", object]).status.success());
    }

    pub(crate) fn left(&self) -> Vec<&str> {
        self.keys.iter().filter(|key| self.path(key).exists()).map(String::as_str).collect()
    }
}

#[test]
fn a_whole_bundle_of_every_format_is_adopted() {
    let shelf = Shelf::new();
    shelf.forget_all();
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!((code, &said["faults"]["stray-file"]["repaired"]), (0, &8.into()), "{said}");
    assert!(said["findings"].as_array().unwrap().iter().all(|finding| finding["did"] != "removed"), "{said}");
    let (code, said) = fsck(shelf.data(), &["--deep"]);
    assert_eq!((code, &said["faults"]), (0, &json!({})), "{said}");
    assert_eq!(shelf.left(), shelf.keys);
}

#[test]
fn a_bundle_of_any_format_under_the_name_of_another_object_is_set_aside() {
    let shelf = Shelf::new();
    shelf.forget_all();
    for key in &shelf.keys {
        let (kind, name) = key.split_once('/').unwrap();
        let wrong = shelf.path(&format!("{kind}/{}{}", "ab".repeat(20), &name[40..]));
        fs::create_dir_all(wrong.parent().unwrap()).unwrap();
        fs::rename(shelf.path(key), wrong).unwrap();
    }
    let (_, said) = fsck(shelf.data(), &["--repair"]);
    let strays: Vec<_> =
        said["findings"].as_array().unwrap().iter().filter(|one| one["fault"] == "stray-file").collect();
    assert_eq!(strays.len(), 8, "{said}");
    assert!(strays.iter().all(|finding| finding["did"] == "moved"), "{said}");
    assert_eq!(fs::read_dir(shelf.data().join("quarantine")).unwrap().count(), 8);
}

/// Both are whole to the last checksum: only who looks for every object that is named sees it.
#[test]
fn a_history_that_lacks_an_object_is_not_adopted() {
    let all = by_hand::revision();
    let tip = by_hand::id(all.last().unwrap());
    let data = TempDir::new().unwrap();
    assert!(Server::start(data.path(), &[], &[]).terminate().success());
    let digits = tip.to_string();
    let folder = data.path().join("bundles/v0/revision").join(&digits[..2]).join(&digits[2..4]);
    let outcome = |objects: &[by_hand::Named]| {
        // A repair takes the folder away with the last file in it.
        fs::create_dir_all(&folder).unwrap();
        let made = by_hand::Made::of(objects, tip);
        let tar = made.git_tar(&format!("swh_1_rev_{tip}"));
        for (format, bytes) in [("bundle", made.bundle()), ("git.tar", tar)] {
            let path = folder.join(format!("{tip}.{format}"));
            fs::write(&path, &bytes).unwrap();
            // Of a bundle in the store it follows from the bytes (`docs/http.md`).
            let digest: [u8; 4] = blake3::hash(&bytes).as_bytes()[..4].try_into().unwrap();
            let seconds = 315_532_800 + u64::from(u32::from_be_bytes(digest) >> 2);
            let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        let (_, said) = fsck(data.path(), &["--repair"]);
        let findings = said["findings"].as_array().unwrap();
        let strays = findings.iter().filter(|finding| finding["fault"] == "stray-file");
        let words =
            |finding: &serde_json::Value| ["did", "detail"].map(|word| finding[word].as_str().unwrap().to_owned());
        strays.map(words).collect::<Vec<_>>()
    };
    for at in 0..all.len() {
        let mut left = all.clone();
        let (name, ..) = left.remove(at);
        let did = outcome(&left);
        let is_refused = |[did, detail]: &[String; 2]| did != "adopted" && detail.contains("is missing");
        assert!(did.len() == 2 && did.iter().all(is_refused), "without {name}: {did:?}");
        // What a repair left for people to look at is out of its way.
        let _ = fs::remove_file(folder.join(format!("{tip}.bundle")));
        let _ = fs::remove_file(folder.join(format!("{tip}.git.tar")));
    }
    let did = outcome(&all);
    assert!(did.len() == 2 && did.iter().all(|[did, _]| did == "adopted"), "{did:?}");
}

#[test]
fn a_file_that_holds_what_is_blocked_is_not_adopted_in_any_format() {
    let shelf = Shelf::new();
    shelf.forget_all();
    shelf.block(&format!("swh:1:cnt:{}", shelf.blob));
    let content = shelf.path(&format!("content/{}.raw", shelf.blob));
    assert!(!content.exists(), "blocking takes the object's own file");
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!(code, 0, "{said}");
    let strays: Vec<_> =
        said["findings"].as_array().unwrap().iter().filter(|one| one["fault"] == "stray-file").collect();
    assert_eq!(strays.len(), 7, "{said}");
    for finding in strays {
        assert_eq!((&finding["did"], &finding["detail"]), (&"removed".into(), &"it holds what is blocked".into()));
    }
    assert_eq!(shelf.left(), [""; 0]);
}

#[test]
fn a_blocked_commit_keeps_its_histories_from_being_adopted_and_nothing_else() {
    let shelf = Shelf::new();
    shelf.forget_all();
    let kept: Vec<_> = HISTORY.iter().map(|ext| shelf.path(&format!("revision/{}.{ext}", shelf.commit))).collect();
    let aside = shelf.data().join("aside");
    fs::create_dir(&aside).unwrap();
    for path in &kept {
        fs::rename(path, aside.join(path.file_name().unwrap())).unwrap();
    }
    shelf.block(&format!("swh:1:rev:{}", shelf.commit));
    for path in &kept {
        fs::rename(aside.join(path.file_name().unwrap()), path).unwrap();
    }
    fs::remove_dir(&aside).unwrap();
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!(code, 0, "{said}");
    let left: Vec<_> = shelf.keys.iter().filter(|key| !key.starts_with("revision/")).collect();
    assert_eq!(shelf.left(), left);
}

#[test]
fn the_flat_bundle_of_a_release_whose_commit_is_blocked_is_not_adopted() {
    let (repository, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let git = |args: &[&str]| crate::common::git_line(args, repository.path());
    git(&["init", "-q"]);
    fs::write(repository.path().join("file"), "some content").unwrap();
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    git(&["tag", "-a", "-m", "first", "v1"]);
    let [tag, commit] = ["v1", "HEAD"].map(|name| git(&["rev-parse", name]));
    let release = format!("release/{tag}.tar.gz");
    let server = Server::start(data.path(), &[repository.path()], &[]);
    assert_eq!(server.cook(&release)["status"], "done");
    assert!(server.terminate().success());
    let shelf = Shelf { data, keys: vec![release], blob: String::new(), commit };

    shelf.forget_all();
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!((code, &said["findings"][0]["did"]), (0, &"adopted".into()), "nothing is blocked: {said}");

    shelf.forget_all();
    shelf.block(&format!("swh:1:rev:{}", shelf.commit));
    let (code, said) = fsck(shelf.data(), &["--repair"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(shelf.left(), [""; 0], "{said}");
}
