//! Reading a bundle's bytes: their digests, and whether they are what their name says. Done before
//! any lock is taken.

use super::blocks::Blocks;
use crate::archive::snapshot::Manifest;
use crate::bundle::FileFacts;
use crate::key::{BundleKey, Format, Sha1Git};
use crate::store::{Found, draft};
use crate::verify::{self, Checked, Differs, Input};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};

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
    /// A whole bundle.
    Whole {
        facts: FileFacts,
        /// The directory whose flat bundle it is, where it is one.
        directory: Option<Sha1Git>,
        /// What was blocked when it was found to hold nothing of that.
        block_epoch: u64,
        /// Whether the bytes alone tell whose they are: neither the mtime nor the name was needed.
        proven: bool,
    },
    /// Not to be had: it is, or holds, what is blocked.
    Forbidden(&'static str),
    /// Not what its name says, or nothing shows that it is, and why.
    Unproven(String),
}

/// Judges a file by its mtime and its bytes.
///
/// The bundle is taken apart as `larder verify` does. Most prove themselves so: a content and a directory
/// have their id for a name, a history leads from its head. That a flat bundle of a revision or a release
/// is *theirs* only its name says, which larder alone writes; and so for the bundle of a snapshot of which
/// neither it nor `manifest` has the branches. Those take their mtime too: larder gives a file its mtime,
/// which is made of its BLAKE3, before it gives it a name, so one that was cut short or has changed since
/// does not agree. A file that was copied without its times has none that does.
pub(super) fn worth(
    key: &BundleKey,
    found: &Found,
    manifest: Option<Manifest>,
    blocks: &Blocks,
    each: &mut dyn FnMut(u64),
) -> Worth {
    let digests = match digest(&found.file, false, each) {
        Ok(digests) => digests,
        Err(error) => return Worth::Unproven(format!("cannot be read: {error}")),
    };
    let has_its_time = found.mtime == draft::mtime(&digests.blake3);
    let facts = FileFacts { size: found.size, allocated: found.allocated, blake3: digests.blake3 };
    match (read(key, &found.file, manifest), blocks.forbid(key, found)) {
        (_, Ok(Some(why))) => Worth::Forbidden(why),
        (Ok((_, false)), Ok(None)) if !has_its_time => {
            Worth::Unproven("its mtime is not that of its bytes, and they do not tell whose they are".to_owned())
        }
        (Ok((directory, proven)), Ok(None)) => Worth::Whole { facts, directory, block_epoch: blocks.epoch(), proven },
        (Err(why), _) => Worth::Unproven(why),
        (_, Err(error)) => Worth::Unproven(error.to_string()),
    }
}

/// The directory that a flat bundle holds, `None` for another, and whether the bytes alone tell that they
/// are those of `key`; or why they are not.
fn read(key: &BundleKey, file: &File, manifest: Option<Manifest>) -> Result<(Option<Sha1Git>, bool), String> {
    let mut checked = verify::bundle(key.format(), Input::File(file)).map_err(|error| error.to_string())?;
    if let Checked::History(history) = &mut checked
        && history.manifest.is_none()
    {
        history.manifest = manifest;
    }
    let proven = match verify::agrees(&checked, key.format(), &key.swhid(), None) {
        // A lossy one would be taken for one that is not.
        Err(Differs::Untold { .. }) if key.format() == Format::Gitfast => {
            return Err("nothing tells whether it leaves something out".to_owned());
        }
        Ok(()) => true,
        Err(Differs::NoProof(_) | Differs::Untold { .. }) => false,
        Err(differs) => return Err(differs.to_string()),
    };
    let directory = match checked {
        Checked::Directory(id) => Some(id),
        Checked::Content(_) | Checked::History(_) => None,
    };
    Ok((directory, proven))
}
