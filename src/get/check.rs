//! Whether what was downloaded is what was asked for: the server's own digest, then the ids. Blocking.

use crate::digest::repr_digest;
use crate::key::BundleKey;
use crate::verify::{self, Input, Proof};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is to be checked.
pub(super) struct Check {
    pub(super) file: File,
    pub(super) key: BundleKey,
    pub(super) proof: Option<Proof>,
    /// The server's `Repr-Digest` (RFC 9530).
    pub(super) digest: Option<String>,
    /// Whether the ids are recomputed too.
    pub(super) ids: bool,
    /// How many bytes were read for them, where they are read in order.
    pub(super) read: Arc<AtomicU64>,
}

/// Counts what is read.
struct Counted<'a>(&'a File, &'a AtomicU64);

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Check {
    /// Whether the bundle is read once, from its first byte to its last.
    pub(super) fn is_read_in_order(&self) -> bool {
        self.ids && verify::is_streaming(self.key.format())
    }

    /// # Errors
    /// What is wrong, in words.
    pub(super) fn run(mut self) -> Result<(), String> {
        // A damaged download is cheaper to find by this than by the ids, and says so.
        if let Some(claimed) = self.digest.take().filter(|claimed| claimed.contains("sha-256=:")) {
            let ours = repr_digest(&sha256(&mut self.file).map_err(|error| format!("it cannot be read: {error}"))?);
            if !claimed.split(',').any(|one| one.trim() == ours) {
                return Err(format!(
                    "the server's digest is {}, that of its bytes {ours}",
                    super::client::clean(&claimed)
                ));
            }
        }
        if !self.ids {
            return Ok(());
        }
        let format = self.key.format();
        let found = if self.is_read_in_order() {
            self.file.rewind().map_err(|error| format!("it cannot be read: {error}"))?;
            verify::bundle(format, Input::Stream(&mut Counted(&self.file, &self.read)))
        } else {
            verify::bundle(format, Input::File(&self.file))
        };
        let found = found.map_err(|error| error.to_string())?;
        verify::agrees(&found, format, &self.key.swhid(), self.proof.as_ref()).map_err(|error| error.to_string())
    }
}

fn sha256(file: &mut File) -> io::Result<[u8; 32]> {
    file.rewind()?;
    let (mut sha256, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sha256.finalize().into()),
            read => sha256.update(&buffer[..read]),
        }
    }
}
