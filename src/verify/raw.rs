//! The id of a content, from its bytes.

use super::VerifyError;
use crate::archive::ObjectType;
use crate::archive::object::Hasher;
use crate::key::Sha1Git;
use std::io::{ErrorKind, Read};

/// Reads to the end, which must come after `len` bytes.
pub(super) fn content(mut input: impl Read, len: u64) -> Result<Sha1Git, VerifyError> {
    let mut hasher = Hasher::new(ObjectType::Blob, len);
    let (mut buf, mut read) = (vec![0; 1 << 16], 0_u64);
    loop {
        let now = match input.read(&mut buf) {
            Ok(0) => break,
            Ok(now) => now,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(VerifyError::Read(error)),
        };
        read += now as u64;
        if read > len {
            return Err(VerifyError::Raw(format!("it has more than {len} bytes")));
        }
        hasher.update(&buf[..now]);
    }
    if read < len {
        return Err(VerifyError::Raw(format!("it has {read} bytes, not {len}")));
    }
    hasher.finish().map_err(|error| VerifyError::Raw(error.to_string()))
}
