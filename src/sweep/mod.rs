//! Which bundles hold certain objects. Owns the walk from a bundle's name down to all that is in it;
//! removes nothing, and knows neither the kitchen nor HTTP.
//!
//! What an archive still has is walked there, and nothing is read twice: a tree that was found free of
//! the objects is free in every bundle. What no archive has any more is looked for in the bundle's own
//! bytes, where its format can be read so ([`in_file`]).

mod search;

pub use search::{Answer, Search};

use crate::archive::snapshot::Manifest;
use crate::key::{BundleKey, Format, Sha1Git};
use crate::verify::{self, VerifyError};
use std::fs::File;

/// What a bundle is made of: its name says it, and for a snapshot its manifest.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The bundle.
    pub key: &'a BundleKey,
    /// The manifest of a snapshot.
    pub manifest: Option<&'a Manifest>,
}

/// Whether the file of a bundle holds an object that is wanted, by its own bytes; `None` when its format cannot
/// be read so.
///
/// # Errors
/// [`VerifyError`] when the file is not a bundle.
pub fn in_file(key: &BundleKey, file: File, is_wanted: impl Fn(&Sha1Git) -> bool) -> Result<Option<bool>, VerifyError> {
    let mut found = false;
    let mut seen = |id: &Sha1Git| found |= is_wanted(id);
    match key.format() {
        Format::Tar => verify::flat_tar_ids(file, &mut seen)?,
        Format::TarGz => verify::flat_tar_gz_ids(file, &mut seen)?,
        Format::TarZst => verify::flat_tar_zst_ids(file, &mut seen)?,
        Format::Zip => verify::flat_zip_ids(&file, &mut seen)?,
        Format::Raw => {
            let len = file.metadata().map_err(VerifyError::Read)?.len();
            let id = verify::raw(file, len)?;
            seen(&id);
            id
        }
        Format::GitTar | Format::Bundle | Format::Gitfast => {
            return Ok(None);
        }
    };
    Ok(Some(found))
}
