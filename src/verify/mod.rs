//! From a bundle's bytes to the id of what it holds, with nothing else asked: neither larder nor an
//! archive is trusted.
//!
//! Takes only what `docs/format.md` describes, byte for byte: what is read is encoded again and
//! compared, so that no byte of a tar can change unnoticed. Input is hostile: what is held is
//! bounded by the caps below, in all by the trees from the root down to where it is. Knows no I/O
//! but the stream it is given.

mod gunzip;
mod proof;
mod tar;
mod tree;

pub use proof::{MAX_PROOF, Proof, Proven};

use crate::key::Sha1Git;
use std::io::{self, Read};

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
    tar::directory(input)
}

/// The same for a `tar.gz` bundle, its gzip header, length and CRC-32 checked too.
///
/// How the bytes were deflated is not looked at: another encoder's bundle has the same id.
pub fn flat_tar_gz(input: impl Read) -> Result<Sha1Git, VerifyError> {
    let mut gunzip = gunzip::Gunzip::new(input);
    let found = flat_tar(&mut gunzip);
    match gunzip.fault() {
        Some(fault) => Err(VerifyError::Gzip(fault)),
        None => found,
    }
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
    /// The gzip around it is not as a bundle's.
    #[error("gzip: {0}")]
    Gzip(&'static str),
    /// A proof that proves nothing.
    #[error("the proof: {0}")]
    Proof(String),
    /// The bundle could not be read.
    #[error("reading the bundle: {0}")]
    Read(io::Error),
}
