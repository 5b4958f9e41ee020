//! What a repository's HEAD points to. For the greeting of a server only: bundles are made of ids.

use crate::key::Sha1Git;
use gix_ref::file::{ReferenceExt, Store};
use std::path::Path;

/// The id that HEAD of the repository at `git_dir` leads to; `None` where there is none yet, or
/// where it cannot be read.
pub(super) fn head(git_dir: &Path) -> Option<Sha1Git> {
    let store = Store::at(git_dir.to_owned(), gix_hash::Kind::Sha1);
    let packed = store.open_packed_buffer().ok()?;
    let mut head = store.try_find("HEAD").ok()??;
    let id = head.follow_to_object_packed(&store, packed.as_ref()).ok()?;
    Sha1Git::from_slice(id.as_slice())
}
