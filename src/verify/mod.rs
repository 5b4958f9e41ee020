//! From a bundle's bytes to the id of what it holds, with nothing else asked: neither larder nor an
//! archive is trusted.
//!
//! Takes only what `docs/format.md` describes, byte for byte: what is read is encoded again and
//! compared, compressed data too, so that no byte of a bundle can change unnoticed. Input is hostile:
//! what is held is bounded by the caps below, in all by the trees from the root down to where it is.
//! Knows no I/O but the stream or the file it is given.

mod agreement;
mod checked;
mod echo;
mod git_bundle;
mod git_tar;
mod gitfast;
mod gunzip;
mod history;
mod member;
mod pack;
mod proof;
mod raw;
mod source;
mod tar;
mod told;
mod tree;
mod units;
mod unzstd;
mod zip;

pub use crate::cook::proof::MAX_PROOF;
pub use agreement::{Differs, agrees};
pub use checked::{Checked, Input, bundle, bundle_ids, is_streaming};
pub use gitfast::gitfast;
pub use history::History;
pub use proof::{Proof, Proven};

use crate::key::{Format, Sha1Git};
use std::fs::File;
use std::io::{self, Read};

/// Told the id of each thing that a bundle holds.
pub type Seen<'s> = &'s mut dyn FnMut(&Sha1Git);

/// The id of the directory in a `tar` bundle, recomputed from its bytes.
///
/// For the bundle of a release of a single file this is the id of the directory that holds just
/// that file, under its own id.
///
/// ```
/// let mut tar = vec![0_u8; 1536];
/// assert!(larder::verify::flat_tar(&tar[..]).is_err());
/// ```
pub fn flat_tar(input: impl Read) -> Result<Sha1Git, VerifyError> {
    tar::directory(source::Bare(input), &mut |_| {})
}

/// The same for a `tar.gz` bundle, of which every byte counts too: what it holds is deflated again.
pub fn flat_tar_gz(input: impl Read) -> Result<Sha1Git, VerifyError> {
    tar::directory(gunzip::Gunzip::new(input), &mut |_| {})
}

/// The same for a `tar.zst` bundle: what it holds is compressed again.
pub fn flat_tar_zst(input: impl Read) -> Result<Sha1Git, VerifyError> {
    tar::directory(unzstd::Unzstd::new(input), &mut |_| {})
}

/// The same for a `zip` bundle, which is read at two places at once: where its members are, and where
/// its directory is. The file's own position does not matter.
pub fn flat_zip(file: &File) -> Result<Sha1Git, VerifyError> {
    zip::directory(file, &mut |_| {})
}

/// The id of the content in a `raw` bundle of `len` bytes.
///
/// ```
/// let id = larder::verify::raw(&b"hello\n"[..], 6)?;
/// assert_eq!(id.to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
/// # Ok::<(), larder::verify::VerifyError>(())
/// ```
pub fn raw(input: impl Read, len: u64) -> Result<Sha1Git, VerifyError> {
    raw::content(input, len)
}

/// What a `git.tar` bundle holds: every id recomputed, its index and list of refs compared with its
/// pack, and all that its refs lead to found in it.
pub fn git_tar(file: &File) -> Result<History, VerifyError> {
    git_tar::read(file, &mut |_| {})
}

/// The same for a `bundle` bundle.
pub fn git_bundle(file: &File) -> Result<History, VerifyError> {
    git_bundle::read(file, &mut |_| {})
}

/// Why a bundle is not one.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The bytes are not those of a bundle.
    #[error("at byte {at} of the tar: {reason}")]
    Tar {
        /// Where, in bytes of the tar stream.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not those of a bundle of git's objects.
    #[error("at byte {at}: {reason}")]
    Git {
        /// Where, in bytes of the bundle.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not those of a fast-import stream as larder writes them.
    #[error("at byte {at} of the stream: {reason}")]
    Stream {
        /// Where, in bytes of the stream before it was deflated.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The gzip around it is not as a bundle's.
    #[error("gzip: {0}")]
    Gzip(&'static str),
    /// A proof that proves nothing.
    #[error("the proof: {0}")]
    Proof(String),
    /// The frames around it are not as a bundle's.
    #[error("zstd: {0}")]
    Zstd(&'static str),
    /// The bytes are not those of a zip that larder writes.
    #[error("at byte {at} of the zip: {reason}")]
    Zip {
        /// Where, in bytes of the zip.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The content is not of the length that was said.
    #[error("{0}")]
    Raw(String),
    /// It can be read, but the compressed bytes are not those that larder makes of what they hold.
    #[error("its compressed bytes are not those that larder writes")]
    Encoding,
    /// Nothing here reads this format.
    #[error("a {0} bundle cannot be verified")]
    Unsupported(Format),
    /// The bundle could not be read.
    #[error("reading the bundle: {0}")]
    Read(io::Error),
}
