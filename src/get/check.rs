//! Whether what was downloaded is what was asked for: the server's own digest, then the ids. Blocking.

use crate::http::static_file::repr_digest;
use crate::key::BundleKey;
use crate::verify::{self, Input, Proof};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek};

/// What is to be checked.
pub(super) struct Check {
    pub(super) file: File,
    pub(super) key: BundleKey,
    pub(super) proof: Option<Proof>,
    /// The server's `Repr-Digest` (RFC 9530).
    pub(super) digest: Option<String>,
    /// Whether the ids are recomputed too.
    pub(super) ids: bool,
}

impl Check {
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
        let found = verify::bundle(format, Input::File(&self.file)).map_err(|error| error.to_string())?;
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
