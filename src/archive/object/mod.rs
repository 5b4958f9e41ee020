//! Pure decoding of git objects: hashing, trees, and the first lines of commits and tags.
//!
//! Owns what the bytes of an object mean and what may stand in a flat bundle. Its input is
//! hostile: nothing here panics, and nothing is allocated by a length that the input states.
//! Knows no I/O, no archive and no format of a bundle.

mod described;
mod dotgit;
mod flat;
mod hash;
mod tree;

pub use described::{Described, Signature};
pub use flat::{FlatError, check_flat};
pub use hash::{Collision, Hasher, hash};
pub use tree::{EntryKind, TreeEntries, TreeEntry, TreeError, tree_entries};

use crate::key::{ObjectKind, Sha1Git};
use std::fmt;

/// The type of a git object (`gitglossary(7)`, "object type").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectType {
    /// A file's bytes.
    Blob,
    /// A directory.
    Tree,
    /// A revision.
    Commit,
    /// An annotated tag.
    Tag,
}

impl ObjectType {
    /// Git's word for it, which is also what is hashed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Tree => "tree",
            Self::Commit => "commit",
            Self::Tag => "tag",
        }
    }

    /// The kind of which it is an object.
    #[must_use]
    pub const fn kind(self) -> ObjectKind {
        match self {
            Self::Blob => ObjectKind::Content,
            Self::Tree => ObjectKind::Directory,
            Self::Commit => ObjectKind::Revision,
            Self::Tag => ObjectKind::Release,
        }
    }
}

impl fmt::Display for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The id of the tree of a commit, given the commit's content.
///
/// # Errors
/// When the first line is not `tree <id>`, as git requires.
pub fn commit_tree(content: &[u8]) -> Result<Sha1Git, HeaderError> {
    let mut lines = Lines(content);
    lines.id(b"tree ").ok_or(HeaderError::Commit)
}

/// The parents of a commit, in order, given the commit's content; empty where it is none.
///
/// These are the lines `parent <id>` that follow the first one: git looks no further.
pub fn commit_parents(content: &[u8]) -> impl Iterator<Item = Sha1Git> {
    let mut lines = Lines(content);
    let is_commit = lines.id(b"tree ").is_some();
    std::iter::from_fn(move || lines.id(b"parent ").filter(|_| is_commit))
}

/// What an annotated tag points at and of which type it says that is, given the tag's content.
///
/// # Errors
/// When the content does not begin with the lines `object <id>`, `type <type>` and `tag ...`.
pub fn tag_target(content: &[u8]) -> Result<(Sha1Git, ObjectType), HeaderError> {
    tag_head(content).map(|(target, _)| target)
}

/// The name of an annotated tag, given the tag's content: any bytes without a newline.
///
/// # Errors
/// As [`tag_target`].
pub fn tag_name(content: &[u8]) -> Result<&[u8], HeaderError> {
    tag_head(content).map(|(_, name)| name)
}

fn tag_head(content: &[u8]) -> Result<((Sha1Git, ObjectType), &[u8]), HeaderError> {
    let mut lines = Lines(content);
    let id = lines.id(b"object ").ok_or(HeaderError::Tag)?;
    let object_type = match lines.value(b"type ") {
        Some(b"blob") => ObjectType::Blob,
        Some(b"tree") => ObjectType::Tree,
        Some(b"commit") => ObjectType::Commit,
        Some(b"tag") => ObjectType::Tag,
        _ => return Err(HeaderError::Tag),
    };
    let name = lines.value(b"tag ").ok_or(HeaderError::Tag)?;
    Ok(((id, object_type), name))
}

/// A commit or a tag whose first lines are not those of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A commit without its tree.
    #[error("the commit does not begin with a line \"tree <id>\"")]
    Commit,
    /// A tag without its target.
    #[error("the tag does not begin with lines \"object <id>\", \"type <type>\" and \"tag <name>\"")]
    Tag,
}

/// The header lines still unread. Every line read must end in a newline.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn value(&mut self, key: &[u8]) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(key)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        self.0 = &rest[end + 1..];
        Some(&rest[..end])
    }

    /// An id in hexadecimal, of which git takes upper-case digits too.
    fn id(&mut self, key: &[u8]) -> Option<Sha1Git> {
        std::str::from_utf8(&self.value(key)?.to_ascii_lowercase()).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn first_lines_of_commits_and_tags_are_read_strictly() {
        let id: Sha1Git = ID.parse().unwrap();
        assert_eq!(commit_tree(format!("tree {ID}\nauthor A\n").as_bytes()), Ok(id));
        assert_eq!(commit_tree(format!("tree {}\n", ID.to_uppercase()).as_bytes()), Ok(id));
        let not_commits = [
            String::new(),
            "tree ".into(),
            format!("tree {ID}"),
            format!("tree {ID} \n"),
            format!(" tree {ID}\n"),
            format!("tree\t{ID}\n"),
            format!("parent {ID}\ntree {ID}\n"),
            format!("tree {}\n", &ID[..39]),
        ];
        for text in not_commits {
            assert_eq!(commit_tree(text.as_bytes()), Err(HeaderError::Commit), "{text:?}");
        }
        for (word, object_type) in [
            ("blob", ObjectType::Blob),
            ("tree", ObjectType::Tree),
            ("commit", ObjectType::Commit),
            ("tag", ObjectType::Tag),
        ] {
            let text = format!("object {ID}\ntype {word}\ntag v1\n\nwords");
            assert_eq!(tag_target(text.as_bytes()), Ok((id, object_type)));
            assert_eq!(tag_name(text.as_bytes()), Ok(&b"v1"[..]));
        }
        let not_tags = [
            String::new(),
            format!("object {ID}\n"),
            format!("object {ID}\ntype commit\n"),
            format!("object {ID}\ntype commit\ntag v1"),
            format!("object {ID}\ntype commits\ntag v1\n"),
            format!("object {ID}\ntype  commit\ntag v1\n"),
            format!("type commit\nobject {ID}\ntag v1\n"),
        ];
        for text in not_tags {
            assert_eq!(tag_target(text.as_bytes()), Err(HeaderError::Tag), "{text:?}");
        }
    }

    #[test]
    fn parents_are_the_lines_behind_the_tree() {
        let id: Sha1Git = ID.parse().unwrap();
        let parents = |text: String| commit_parents(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(parents(format!("tree {ID}\nparent {ID}\nparent {ID}\nauthor A\nparent {ID}\n")), [id, id]);
        assert_eq!(parents(format!("tree {ID}\nauthor A\n\nparent {ID}\n")), []);
        assert_eq!(parents(format!("parent {ID}\n")), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_header_decoders_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = commit_tree(&content);
            let _ = tag_target(&content);
            let mut tag = format!("object {ID}\ntype ").into_bytes();
            tag.extend_from_slice(&content);
            let _ = tag_target(&tag);
        }
    }
}
