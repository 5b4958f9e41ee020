//! The id of an object: SHA-1 over its header and content, with collision detection.
//!
//! **Invariant: a collision is never an id.** Bytes made to collide (shattered and its like) are
//! recognised while they are hashed, and give [`Collision`].

use super::ObjectType;
use crate::key::Sha1Git;
use std::io::Write as _;

/// The id of the object of this type and content.
///
/// ```
/// use larder::archive::{ObjectType, object};
/// let empty_tree = object::hash(ObjectType::Tree, b"")?;
/// assert_eq!(empty_tree.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
/// # Ok::<(), object::Collision>(())
/// ```
pub fn hash(object_type: ObjectType, content: &[u8]) -> Result<Sha1Git, Collision> {
    let mut hasher = Hasher::new(object_type, content.len() as u64);
    hasher.update(content);
    hasher.finish()
}

/// Hashes an object in pieces. Its size must be known first, for git hashes it before the content.
#[derive(Clone)]
pub struct Hasher(sha1dc::Hasher);

impl Hasher {
    /// Begins an object of this type and size in bytes.
    #[must_use]
    pub fn new(object_type: ObjectType, size: u64) -> Self {
        // "commit ", twenty digits and a NUL.
        let mut header = [0_u8; 28];
        let mut unwritten = &mut header[..];
        write!(unwritten, "{object_type} {size}\0").expect("because 28 bytes hold the longest header");
        let unwritten = unwritten.len();
        let mut hasher = sha1dc::Hasher::new();
        hasher.update(&header[..header.len() - unwritten]);
        Self(hasher)
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    /// The id of what was added.
    pub fn finish(self) -> Result<Sha1Git, Collision> {
        let digest = self.0.finalize().map_err(|_| Collision)?;
        Ok(Sha1Git::from_bytes(digest.to_bytes()))
    }
}

/// The bytes were made to have the SHA-1 of other bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are part of a SHA-1 collision attack")]
pub struct Collision;

#[cfg(test)]
mod tests {
    use super::*;
    use sha1::Digest as _;

    #[test]
    fn ids_are_those_of_git() {
        let cases = [
            (ObjectType::Blob, &b""[..], "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            (ObjectType::Tree, b"", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
            (ObjectType::Blob, b"hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        ];
        for (object_type, content, id) in cases {
            assert_eq!(hash(object_type, content).unwrap().to_string(), id);
        }
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let content: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let mut hasher = Hasher::new(ObjectType::Blob, content.len() as u64);
        for piece in content.chunks(777) {
            hasher.update(piece);
        }
        assert_eq!(hasher.finish(), hash(ObjectType::Blob, &content));
    }

    #[test]
    fn the_longest_header_fits() {
        let id = sha1::Sha1::digest(b"commit 18446744073709551615\0");
        let id = Sha1Git::from_slice(&id).unwrap();
        assert_eq!(Hasher::new(ObjectType::Commit, u64::MAX).finish(), Ok(id));
    }
}
