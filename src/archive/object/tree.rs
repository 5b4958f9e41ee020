//! The entries of a git tree, read one at a time from its content.
//!
//! An entry is `<octal mode> SP <name> NUL <twenty bytes of id>`. The mode is kept as it stands,
//! for old trees hold forms (`100664`, `040000`) that git no longer writes and the id depends on.
//!
//! **Invariant: what decodes here and what it leads to is what git says of the same bytes**
//! (`decode_tree_entry` of its `tree-walk.c`, `object_type` of its `object.h`), but that a name may be
//! empty. Whoever walks a history asks [`EntryKind::leads_to`] and looks at no mode.

use super::ObjectType;
use crate::key::Sha1Git;
use std::cmp::Ordering;

/// One entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// The mode as the tree has it: octal digits, at least one.
    pub mode: &'a [u8],
    /// What the mode says the entry is.
    pub kind: EntryKind,
    /// The name: any bytes but NUL, not yet checked in any way.
    pub name: &'a [u8],
    /// The id of what is named.
    pub id: Sha1Git,
}

impl TreeEntry<'_> {
    /// Whether the mode is one of those that git writes today: `40000 100644 100755 120000 160000`.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        matches!(self.mode, b"40000" | b"100644" | b"100755" | b"120000" | b"160000")
    }

    /// The mode as a number, as far as 32 bits hold it.
    #[must_use]
    pub fn mode_value(&self) -> u32 {
        value(self.mode)
    }

    /// Whether the mode is at most seven digits and has one of the four types as its type bits, and
    /// nothing above them. Git reads other entries too, as gitlinks or without what is above; a flat
    /// bundle has none of them.
    #[must_use]
    pub fn is_of_known_type(&self) -> bool {
        self.mode.len() <= KNOWN_DIGITS && matches!(value(self.mode) & !0o7777, DIRECTORY | FILE | SYMLINK | GITLINK)
    }

    /// Git's order of the entries of a tree: that of the bytes of names, a directory's as if it ended in a slash.
    #[must_use]
    pub fn git_order(&self, other: &TreeEntry<'_>) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let next = |entry: &TreeEntry<'_>| match entry.name.get(common) {
            Some(byte) => *byte,
            None if entry.kind == EntryKind::Directory => b'/',
            None => 0,
        };
        self.name[..common].cmp(&other.name[..common]).then_with(|| next(self).cmp(&next(other)))
    }
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const GITLINK: u32 = 0o160_000;
/// The bits that tell the four apart, and all that git looks at.
const TYPE_BITS: u32 = 0o170_000;
/// The most digits of a mode that a flat bundle may have.
const KNOWN_DIGITS: usize = 7;

/// What git takes an entry for, by the type bits of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// `040000`: a tree.
    Directory,
    /// `100000`: a blob.
    File {
        /// Whether the owner's execute bit (`0100`) is set, which is all that git looks at.
        executable: bool,
    },
    /// `120000`: a blob that holds a symlink's target.
    Symlink,
    /// `160000`: a commit of another repository. So git reads every mode that is none of the others,
    /// such as `10644`, `140000` or `0`.
    Gitlink,
}

impl EntryKind {
    /// What an entry of this mode is, in octal digits of any number. Bits above the type do not count.
    fn of(mode: &[u8]) -> Self {
        let mode = value(mode);
        match mode & TYPE_BITS {
            DIRECTORY => Self::Directory,
            FILE => Self::File { executable: mode & 0o100 != 0 },
            SYMLINK => Self::Symlink,
            _ => Self::Gitlink,
        }
    }

    /// The type of the object that the entry leads to; `None` when that is in another repository.
    #[must_use]
    pub const fn leads_to(self) -> Option<ObjectType> {
        match self {
            Self::Directory => Some(ObjectType::Tree),
            Self::File { .. } | Self::Symlink => Some(ObjectType::Blob),
            Self::Gitlink => None,
        }
    }
}

/// The value of octal digits, as far as 32 bits hold it.
fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value << 3 | u32::from(digit & 7))
}

/// The entries of the tree with this content, in the order they stand.
///
/// ```
/// use larder::archive::object::{EntryKind, tree_entries};
/// let tree = [&b"100755 run\0"[..], &[7; 20]].concat();
/// let entry = tree_entries(&tree).next().expect("there is one entry")?;
/// assert_eq!((entry.name, entry.kind), (&b"run"[..], EntryKind::File { executable: true }));
/// # Ok::<(), larder::archive::object::TreeError>(())
/// ```
#[must_use]
pub fn tree_entries(content: &[u8]) -> TreeEntries<'_> {
    TreeEntries { rest: content }
}

/// The entries of a tree. After an error it ends.
#[derive(Clone, Debug)]
pub struct TreeEntries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TreeEntries<'a> {
    type Item = Result<TreeEntry<'a>, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = decode(self.rest);
        self.rest = match entry {
            Ok((_, rest)) => rest,
            Err(_) => &[],
        };
        Some(entry.map(|(entry, _)| entry))
    }
}

/// Bytes that are not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The bytes end within an entry.
    #[error("the tree ends within an entry")]
    Truncated,
    /// The mode is not octal digits and a space.
    #[error("the tree has an entry whose mode is not octal digits")]
    Mode,
}

const ID_BYTES: usize = 20;

fn decode(bytes: &[u8]) -> Result<(TreeEntry<'_>, &[u8]), TreeError> {
    let digits = bytes.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (mode, rest) = bytes.split_at(digits);
    match rest.first() {
        Some(b' ') if !mode.is_empty() => {}
        None => return Err(TreeError::Truncated),
        Some(_) => return Err(TreeError::Mode),
    }
    let rest = &rest[1..];
    let end = rest.iter().position(|byte| *byte == 0).ok_or(TreeError::Truncated)?;
    let (id, after) = rest[end + 1..].split_at_checked(ID_BYTES).ok_or(TreeError::Truncated)?;
    let id = Sha1Git::from_slice(id).ok_or(TreeError::Truncated)?;
    Ok((TreeEntry { mode, kind: EntryKind::of(mode), name: &rest[..end], id }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(mode: &str, name: &[u8], id: u8) -> Vec<u8> {
        [mode.as_bytes(), b" ", name, b"\0", &[id; 20]].concat()
    }

    /// Modes, what git takes each for, and whether a flat bundle may have it.
    const MODES: [(&str, Option<EntryKind>, bool); 41] = [
        ("40000", Some(EntryKind::Directory), true),
        ("040000", Some(EntryKind::Directory), true),
        ("0040000", Some(EntryKind::Directory), true),
        ("40755", Some(EntryKind::Directory), true),
        ("47777", Some(EntryKind::Directory), true),
        ("100644", Some(EntryKind::File { executable: false }), true),
        ("100664", Some(EntryKind::File { executable: false }), true),
        ("100655", Some(EntryKind::File { executable: false }), true),
        ("100000", Some(EntryKind::File { executable: false }), true),
        ("100755", Some(EntryKind::File { executable: true }), true),
        ("100744", Some(EntryKind::File { executable: true }), true),
        ("0100755", Some(EntryKind::File { executable: true }), true),
        ("107777", Some(EntryKind::File { executable: true }), true),
        ("120000", Some(EntryKind::Symlink), true),
        ("120777", Some(EntryKind::Symlink), true),
        ("160000", Some(EntryKind::Gitlink), true),
        ("160777", Some(EntryKind::Gitlink), true),
        ("0", Some(EntryKind::Gitlink), false),
        ("644", Some(EntryKind::Gitlink), false),
        ("777", Some(EntryKind::Gitlink), false),
        ("10644", Some(EntryKind::Gitlink), false),
        ("20000", Some(EntryKind::Gitlink), false),
        ("60000", Some(EntryKind::Gitlink), false),
        ("110000", Some(EntryKind::Gitlink), false),
        ("130000", Some(EntryKind::Gitlink), false),
        ("140000", Some(EntryKind::Gitlink), false),
        ("150000", Some(EntryKind::Gitlink), false),
        ("170000", Some(EntryKind::Gitlink), false),
        ("1100644", Some(EntryKind::File { executable: false }), false),
        ("7040000", Some(EntryKind::Directory), false),
        ("2120000", Some(EntryKind::Symlink), false),
        ("00100644", Some(EntryKind::File { executable: false }), false),
        ("000000000000000000000000000000040000", Some(EntryKind::Directory), false),
        ("77777777777777777777777100755", Some(EntryKind::File { executable: true }), false),
        ("777777777777777777777777777777", Some(EntryKind::Gitlink), false),
        ("100 644", Some(EntryKind::Gitlink), false),
        ("", None, false),
        ("10064a", None, false),
        ("+40000", None, false),
        ("100648", None, false),
        ("0x81a4", None, false),
    ];

    #[test]
    fn modes_old_and_new_are_told_apart() {
        for (mode, expected, is_known) in MODES {
            let tree = entry(mode, b"name", 1);
            let first = tree_entries(&tree).next().unwrap();
            assert_eq!(first.map(|entry| entry.kind), expected.ok_or(TreeError::Mode), "{mode}");
            if let Ok(entry) = first {
                assert_eq!(entry.mode, mode.split(' ').next().unwrap().as_bytes());
                assert_eq!(entry.is_of_known_type(), is_known, "{mode}");
            }
        }
    }

    /// Git lists the entries of a tree with the types of what they lead to, as it walks them.
    #[test]
    fn what_an_entry_leads_to_is_what_git_says() {
        let repository = tempfile::TempDir::new().unwrap();
        let git = |args: &[&str], input: &[u8]| {
            let mut git = std::process::Command::new("git")
                .args(args)
                .current_dir(repository.path())
                .env_remove("GIT_DIR")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut git.stdin.take().unwrap(), input).unwrap();
            let output = git.wait_with_output().unwrap();
            output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
        };
        git(&["init", "-q", "--bare", "."], b"").unwrap();
        for (mode, ..) in MODES {
            let tree = entry(mode, b"name", 1);
            let id = git(&["hash-object", "--literally", "-w", "-t", "tree", "--stdin"], &tree).unwrap();
            let by_git =
                git(&["ls-tree", id.trim()], b"").map(|line| line.split([' ', '\t']).nth(1).unwrap().to_owned());
            let ours = tree_entries(&tree).next().unwrap().ok();
            let ours = ours.map(|entry| entry.kind.leads_to().unwrap_or(ObjectType::Commit).to_string());
            assert_eq!(ours, by_git, "{mode}");
        }
    }

    #[test]
    fn a_tree_cut_anywhere_is_an_error_and_then_the_end() {
        let tree = entry("100644", b"name", 1);
        for length in 1..tree.len() {
            let mut entries = tree_entries(&tree[..length]);
            assert_eq!(entries.next(), Some(Err(TreeError::Truncated)), "{length}");
            assert_eq!(entries.next(), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = tree_entries(&content).count();
            let mut after_an_entry = entry("40000", b"a", 1);
            after_an_entry.extend_from_slice(&content);
            let _ = tree_entries(&after_an_entry).count();
        }

        #[test]
        fn what_is_written_reads_back(
            written in proptest::collection::vec(
                ("0{0,1}(40000|100644|100755|100664|120000|160000)|[0-7]{1,12}", proptest::collection::vec(1..=255_u8, 0..40), any::<u8>()),
                0..20,
            ),
        ) {
            let content: Vec<u8> = written.iter().flat_map(|(mode, name, id)| entry(mode, name, *id)).collect();
            let read: Vec<_> = tree_entries(&content).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), written.len());
            for (read, (mode, name, id)) in read.iter().zip(&written) {
                prop_assert_eq!(read.mode, mode.as_bytes());
                prop_assert_eq!(read.name, &name[..]);
                prop_assert_eq!(read.id, Sha1Git::from_bytes([*id; 20]));
            }
        }
    }
}
