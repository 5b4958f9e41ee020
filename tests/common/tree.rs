//! Two views of one tree: what git says is in it, and what lies on disk after a program extracted
//! its bundle. They are to be equal in names, kinds, executable bits and blob ids.

use larder::archive::ObjectType;
use larder::archive::object;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File { executable: bool, id: String },
    Symlink { id: String },
}

/// Paths (raw bytes, below the top directory) and what stands there.
pub(crate) type Listing = BTreeMap<Vec<u8>, Node>;

/// What `git ls-tree` says of a tree. A gitlink is an empty directory in a bundle.
pub(crate) fn of_git(repository: &Path, id: &str) -> Listing {
    let output = super::git(&["ls-tree", "-r", "-t", "-z", id], repository);
    let mut listing = Listing::new();
    for line in output.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t').expect("git writes a tab before the name");
        let head = String::from_utf8(line[..tab].to_vec()).expect("git's columns are ASCII");
        let columns: Vec<&str> = head.split(' ').collect();
        let &[mode, _, id] = columns.as_slice() else { panic!("git writes three columns: {head}") };
        let node = match &mode[..mode.len() - 4] {
            "4" | "04" | "16" => Node::Directory,
            "12" => Node::Symlink { id: id.to_owned() },
            _ => Node::File { executable: u32::from_str_radix(mode, 8).unwrap() & 0o100 != 0, id: id.to_owned() },
        };
        listing.insert(line[tab + 1..].to_vec(), node);
    }
    listing
}

/// What lies in a folder.
pub(crate) fn on_disk(folder: &Path) -> Listing {
    let mut listing = Listing::new();
    walk(folder, b"", &mut listing);
    listing
}

fn walk(folder: &Path, prefix: &[u8], listing: &mut Listing) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let mut path = prefix.to_vec();
        path.extend_from_slice(entry.file_name().as_bytes());
        let kind = entry.file_type().unwrap();
        let node = if kind.is_dir() {
            let mut below = path.clone();
            below.push(b'/');
            walk(&entry.path(), &below, listing);
            Node::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).unwrap();
            Node::Symlink { id: blob(AsRef::<OsStr>::as_ref(&target).as_bytes()) }
        } else {
            let executable = entry.metadata().unwrap().permissions().mode() & 0o100 != 0;
            Node::File { executable, id: blob(&fs::read(entry.path()).unwrap()) }
        };
        listing.insert(path, node);
    }
}

fn blob(bytes: &[u8]) -> String {
    object::hash(ObjectType::Blob, bytes).expect("no file here is a collision attack").to_string()
}

/// Panics with the first few differences.
pub(crate) fn assert_equal(actual: &Listing, expected: &Listing, what: &str) {
    let mut differences = Vec::new();
    for path in actual.keys().chain(expected.keys()) {
        if actual.get(path) != expected.get(path) {
            differences.push(format!(
                "{:?}: {:?} on disk, {:?} in git",
                path.escape_ascii().to_string(),
                actual.get(path),
                expected.get(path)
            ));
        }
    }
    differences.dedup();
    assert!(
        differences.is_empty(),
        "{what}: {} differ\n{}",
        differences.len(),
        differences[..differences.len().min(5)].join("\n")
    );
}
