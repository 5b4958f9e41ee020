//! What a repository's HEAD points to. For the greeting of a server only: bundles are made of ids.

use super::refs::RefTarget;
use super::stack;
use crate::key::Sha1Git;
use gix_ref::file::{ReferenceExt, Store};
use std::path::Path;

/// Symbolic refs are followed this far, as by git.
const MAX_DEPTH: u32 = 5;

/// The id that HEAD of the repository at `git_dir` leads to; `None` where there is none yet, or
/// where it cannot be read.
pub(super) fn head(git_dir: &Path) -> Option<Sha1Git> {
    if stack::is_used(git_dir) {
        let refs = stack::refs(git_dir).ok()?;
        let mut name = b"HEAD".as_slice();
        for _ in 0..MAX_DEPTH {
            match refs.get(name)? {
                RefTarget::Object(id) => return Some(*id),
                RefTarget::Symbolic(to) => name = to,
            }
        }
        return None;
    }
    let store = Store::at(git_dir.to_owned(), gix_hash::Kind::Sha1);
    let packed = store.open_packed_buffer().ok()?;
    let mut head = store.try_find("HEAD").ok()??;
    let id = head.follow_to_object_packed(&store, packed.as_ref()).ok()?;
    Sha1Git::from_slice(id.as_slice())
}
