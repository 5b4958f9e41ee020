//! Reading a bundle's bytes: their digests, and whether they are what their name says. Done before
//! any lock is taken.

use crate::bundle::FileFacts;
use crate::key::{BundleKey, Format, ObjectKind, Sha1Git};
use crate::store::{Found, draft};
use crate::verify;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek};

/// Bytes read at a time: large enough for BLAKE3 to use its widest vectors.
const BUFFER: usize = 256 << 10;

/// The digests of a file.
pub(super) struct Digests {
    pub(super) blake3: [u8; 32],
    /// `None` when it was not asked for.
    pub(super) sha256: Option<[u8; 32]>,
}

/// Reads a file to its end; `each` is told how many bytes came.
pub(super) fn digest(file: &File, with_sha256: bool, each: &mut dyn FnMut(u64)) -> io::Result<Digests> {
    let (mut file, mut buffer) = (file, vec![0; BUFFER]);
    let mut blake3 = blake3::Hasher::new();
    let mut sha256 = with_sha256.then(Sha256::new);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        blake3.update(&buffer[..n]);
        if let Some(sha256) = &mut sha256 {
            sha256.update(&buffer[..n]);
        }
        each(n as u64);
    }
    Ok(Digests { blake3: *blake3.finalize().as_bytes(), sha256: sha256.map(|sha256| sha256.finalize().into()) })
}

/// What a file without a row is.
pub(super) enum Worth {
    /// A whole bundle, and the directory whose flat bundle it is, where it is one.
    Whole(FileFacts, Option<Sha1Git>),
    /// Not what its name says, and why.
    Nothing(String),
}

/// Judges a file by its bytes and its mtime alone.
///
/// larder gives a file its mtime, which is made of its BLAKE3, before it gives it a name: one that was
/// cut short or has changed since does not agree. A flat bundle is besides taken apart: that of a
/// directory must have its id. That of a revision or a release must be well formed; that it is *theirs*
/// only its name says, which larder alone writes.
pub(super) fn worth(key: &BundleKey, found: &Found, each: &mut dyn FnMut(u64)) -> Worth {
    let digests = match digest(&found.file, false, each) {
        Ok(digests) => digests,
        Err(error) => return Worth::Nothing(format!("cannot be read: {error}")),
    };
    if found.mtime != draft::mtime(&digests.blake3) {
        return Worth::Nothing("its mtime is not that of its bytes".to_owned());
    }
    let facts = FileFacts { size: found.size, allocated: found.allocated, blake3: digests.blake3 };
    match directory(key, &found.file) {
        Ok(Some(id)) if key.kind() == ObjectKind::Directory && id != key.id() => {
            Worth::Nothing(format!("it is the bundle of directory {id}"))
        }
        Ok(directory) => Worth::Whole(facts, directory),
        Err(error) => Worth::Nothing(error.to_string()),
    }
}

/// The directory that a flat bundle holds; `None` for other formats, whose mtime must suffice.
fn directory(key: &BundleKey, mut file: &File) -> Result<Option<Sha1Git>, verify::VerifyError> {
    file.rewind().map_err(verify::VerifyError::Read)?;
    match key.format() {
        Format::TarGz => verify::flat_tar_gz(file).map(Some),
        Format::Tar => verify::flat_tar(file).map(Some),
        Format::TarZst | Format::Zip | Format::GitTar | Format::Bundle | Format::Gitfast | Format::Raw => Ok(None),
    }
}
