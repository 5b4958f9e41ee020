//! What may stand in a flat bundle: the checks of one tree, before any of it is unpacked anywhere.
//!
//! They are git's own (`git fsck`), made refusals: a name that could leave the directory or become
//! its repository, two entries of one name, entries out of order, an id of nothing. A mode of no known
//! type is refused too: git takes it for a gitlink, and no member of a tar says so.

use super::dotgit::is_dotgit;
use super::tree::{EntryKind, TreeEntry};
use std::cmp::Ordering;

/// Checks the entries of one tree, in the order in which they stand.
///
/// # Errors
/// The first entry that a flat bundle must not hold, and why.
pub fn check_flat(entries: &[TreeEntry<'_>]) -> Result<(), FlatError> {
    let mut previous: Option<&TreeEntry<'_>> = None;
    // Names, each a prefix of the next, that a directory further on could still repeat: in git's
    // order all that stands between a file `a` and a directory `a` begins with `a`.
    let mut open: Vec<&[u8]> = Vec::new();
    for entry in entries {
        let refuse = |reason| Err(FlatError { entry: quoted(entry.name), reason });
        if let Some(reason) = name_fault(entry.name) {
            return refuse(reason);
        }
        if entry.id.is_null() {
            return refuse("its id is null");
        }
        if !entry.is_of_known_type() {
            return refuse("its mode is of no known type");
        }
        if let Some(previous) = previous {
            if previous.name == entry.name {
                return refuse("another entry has the same name");
            }
            if previous.git_order(entry) != Ordering::Less {
                return refuse("it is out of order");
            }
        }
        while open.pop_if(|name| !entry.name.starts_with(name)).is_some() {}
        if entry.kind == EntryKind::Directory {
            if open.last() == Some(&entry.name) {
                return refuse("another entry has the same name");
            }
        } else {
            open.push(entry.name);
        }
        previous = Some(entry);
    }
    Ok(())
}

/// An entry that no flat bundle may hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}: {reason}")]
pub struct FlatError {
    /// The entry's name, quoted, in UTF-8 as far as it is, and cut when it is long.
    pub entry: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

fn name_fault(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("its name is empty"),
        b"." | b".." => Some("its name is that of a directory itself"),
        _ if name.contains(&b'/') => Some("its name has a slash"),
        _ if name.contains(&0) => Some("its name has a NUL"),
        _ if is_dotgit(name) => Some("its name is a form of .git"),
        _ => None,
    }
}

const QUOTED_BYTES: usize = 120;

fn quoted(name: &[u8]) -> String {
    let shown = &name[..name.len().min(QUOTED_BYTES)];
    let dots = if shown.len() < name.len() { "..." } else { "" };
    format!("{:?}{dots}", String::from_utf8_lossy(shown))
}

#[cfg(test)]
#[path = "flat_tests.rs"]
mod tests;
