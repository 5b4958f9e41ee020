//! What proves that a flat bundle is of a revision or a release, or which branches a snapshot has:
//! the tags and the commit from it down to its directory, or its manifest, each in the form that is
//! hashed (`docs/http.md`). `verify::Proof` reads it.

use super::error::CookError;
use super::root::follow;
use crate::archive::snapshot::{MAX_MANIFEST, Manifest};
use crate::archive::{ObjectType, Reader};
use crate::key::{ObjectKind, Sha1Git};

/// The most bytes of a proof: one manifest, commit or tag of the largest size, and a little more.
pub const MAX_PROOF: usize = MAX_MANIFEST + (1 << 20);

/// The proof of a revision or a release; of a directory it is empty.
///
/// `None` when the object is not in the archive, or is of another kind than said.
///
/// # Errors
/// As of [`root`](super::root), and [`CookError::TooLarge`] when it would pass [`MAX_PROOF`].
pub fn proof(reader: &mut dyn Reader, kind: ObjectKind, id: &Sha1Git) -> Result<Option<Vec<u8>>, CookError> {
    let mut bytes = Vec::new();
    let mut pass = |object_type: ObjectType, content: &[u8]| {
        append(&mut bytes, object_type.as_str(), content);
        if bytes.len() > MAX_PROOF {
            return Err(CookError::TooLarge { reason: format!("the proof of {id} has more than {MAX_PROOF} bytes") });
        }
        Ok(())
    };
    let root = follow(reader, kind, id, &mut pass)?;
    Ok(root.map(|_| bytes))
}

/// The proof of a snapshot.
#[must_use]
pub fn of_snapshot(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, "snapshot", &manifest.encode());
    bytes
}

fn append(bytes: &mut Vec<u8>, word: &str, content: &[u8]) {
    bytes.extend_from_slice(format!("{word} {}\0", content.len()).as_bytes());
    bytes.extend_from_slice(content);
}
