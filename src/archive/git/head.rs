//! What a repository's HEAD points to. For the greeting of a server only: bundles are made of ids.

use super::refs::RefTarget;
use super::served::Served;
use super::{ref_files, stack};
use crate::key::Sha1Git;
use std::path::Path;

/// Symbolic refs are followed this far, as by git.
const MAX_DEPTH: u32 = 5;

/// The id that HEAD of the repository at `git_dir` leads to; `None` where there is none yet, or
/// where it cannot be read.
pub(super) fn head(git_dir: &Path, served: &Served) -> Option<Sha1Git> {
    if !stack::is_used(git_dir, served).ok()? {
        return ref_files::follow(git_dir, b"HEAD", served).ok().flatten();
    }
    let refs = stack::refs(git_dir, served).ok()?;
    let mut name = b"HEAD".as_slice();
    for _ in 0..MAX_DEPTH {
        match refs.get(name)? {
            RefTarget::Object(id) => return Some(*id),
            RefTarget::Symbolic(to) => name = to,
        }
    }
    None
}
