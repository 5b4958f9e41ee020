//! Which bundles hold certain objects. Owns the walk from a bundle's name down to all that is in it;
//! removes nothing, and knows neither the kitchen nor HTTP.
//!
//! What an archive still has is walked there, and nothing is read twice: a tree that was found free of
//! the objects is free in every bundle. What no archive has any more is looked for in the bundle's own
//! bytes ([`in_file`]).

mod search;

pub use search::{Answer, Search};

use crate::archive::snapshot::Manifest;
use crate::key::{BundleKey, Sha1Git};
use crate::verify::{self, Input, VerifyError};
use std::fs::File;

/// What a bundle is made of: its name says it, and for a snapshot its manifest.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The bundle.
    pub key: &'a BundleKey,
    /// The manifest of a snapshot.
    pub manifest: Option<&'a Manifest>,
}

/// Whether the file of a bundle holds an object that is wanted, by its own bytes, or is that object's.
///
/// A lossy `gitfast.gz` holds commits and directories under other ids than those that it was made from:
/// of such a one only `true` means something, but for contents.
///
/// # Errors
/// [`VerifyError`] when the file is not a bundle.
pub fn in_file(key: &BundleKey, file: &File, is_wanted: impl Fn(&Sha1Git) -> bool) -> Result<bool, VerifyError> {
    let mut found = is_wanted(&key.id());
    verify::bundle_ids(key.format(), Input::File(file), &mut |id| found |= is_wanted(id))?;
    Ok(found)
}
