//! The entries of a git tree, read one at a time from its content.
//!
//! An entry is `<octal mode> SP <name> NUL <twenty bytes of id>`. The mode is kept as it stands,
//! for old trees hold forms (`100664`, `040000`) that git no longer writes and the id depends on.

use crate::key::Sha1Git;

/// One entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// The mode as the tree has it: one to seven octal digits.
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
}

/// What an entry is, by the type bits of its mode.
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
    /// `160000`: a commit of another repository.
    Gitlink,
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
    /// The mode is not one to seven octal digits and a space.
    #[error("the tree has an entry whose mode is not octal digits")]
    Mode,
    /// The type bits of the mode are none of git's.
    #[error("the tree has an entry of an unknown type, mode {0:o}")]
    Type(u32),
}

const MODE_DIGITS: usize = 7;
const ID_BYTES: usize = 20;

fn decode(bytes: &[u8]) -> Result<(TreeEntry<'_>, &[u8]), TreeError> {
    let digits = bytes.iter().take(MODE_DIGITS + 1).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let (mode, rest) = bytes.split_at(digits);
    match rest.first() {
        Some(b' ') if (1..=MODE_DIGITS).contains(&digits) => {}
        None if digits <= MODE_DIGITS => return Err(TreeError::Truncated),
        _ => return Err(TreeError::Mode),
    }
    let kind = entry_kind(mode)?;
    let rest = &rest[1..];
    let end = rest.iter().position(|byte| *byte == 0).ok_or(TreeError::Truncated)?;
    let (id, after) = rest[end + 1..].split_at_checked(ID_BYTES).ok_or(TreeError::Truncated)?;
    let id = Sha1Git::from_slice(id).ok_or(TreeError::Truncated)?;
    Ok((TreeEntry { mode, kind, name: &rest[..end], id }, after))
}

fn entry_kind(mode: &[u8]) -> Result<EntryKind, TreeError> {
    let mode = mode.iter().fold(0_u32, |value, digit| value << 3 | u32::from(digit & 7));
    // Bits above the type leave no type of git's: they stay in what is compared.
    match mode & !0o7777 {
        0o040_000 => Ok(EntryKind::Directory),
        0o100_000 => Ok(EntryKind::File { executable: mode & 0o100 != 0 }),
        0o120_000 => Ok(EntryKind::Symlink),
        0o160_000 => Ok(EntryKind::Gitlink),
        _ => Err(TreeError::Type(mode)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(mode: &str, name: &[u8], id: u8) -> Vec<u8> {
        [mode.as_bytes(), b" ", name, b"\0", &[id; 20]].concat()
    }

    #[test]
    fn modes_old_and_new_are_told_apart() {
        let cases = [
            ("40000", Ok(EntryKind::Directory)),
            ("040000", Ok(EntryKind::Directory)),
            ("0040000", Ok(EntryKind::Directory)),
            ("40755", Ok(EntryKind::Directory)),
            ("100644", Ok(EntryKind::File { executable: false })),
            ("100664", Ok(EntryKind::File { executable: false })),
            ("100655", Ok(EntryKind::File { executable: false })),
            ("100755", Ok(EntryKind::File { executable: true })),
            ("100744", Ok(EntryKind::File { executable: true })),
            ("0100755", Ok(EntryKind::File { executable: true })),
            ("120000", Ok(EntryKind::Symlink)),
            ("120777", Ok(EntryKind::Symlink)),
            ("160000", Ok(EntryKind::Gitlink)),
            ("0", Err(TreeError::Type(0))),
            ("644", Err(TreeError::Type(0o644))),
            ("60000", Err(TreeError::Type(0o60000))),
            ("140000", Err(TreeError::Type(0o140_000))),
            ("1100644", Err(TreeError::Type(0o1_100_644))),
            ("00100644", Err(TreeError::Mode)),
            ("", Err(TreeError::Mode)),
            ("100 644", Err(TreeError::Type(0o100))),
            ("10064a", Err(TreeError::Mode)),
            ("+40000", Err(TreeError::Mode)),
            ("100648", Err(TreeError::Mode)),
        ];
        for (mode, expected) in cases {
            let tree = entry(mode, b"name", 1);
            let first = tree_entries(&tree).next().unwrap();
            assert_eq!(first.map(|entry| entry.kind), expected, "{mode}");
            if let Ok(entry) = first {
                assert_eq!(entry.mode, mode.as_bytes());
            }
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
                ("0{0,1}(40000|100644|100755|100664|120000|160000)", proptest::collection::vec(1..=255_u8, 0..40), any::<u8>()),
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
