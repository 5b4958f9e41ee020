//! Where a tar comes from: bytes, and a way to say which of them are a unit.

use super::VerifyError;
use std::io::{self, Read};

/// A stream of a tar, perhaps out of a compressed one.
pub(super) trait Source: Read {
    /// The next unit of the tar, all of whose bytes were read before.
    fn unit(&mut self, unit: &[u8]) -> Result<(), VerifyError>;

    /// What is wrong with the stream around the tar, when reading failed because of it.
    fn fault(&mut self) -> Option<VerifyError>;

    /// The tar was read to its end, and all of it was units.
    fn end(&mut self) -> Result<(), VerifyError>;
}

/// A tar that is not compressed.
pub(super) struct Bare<R>(pub(super) R);

impl<R: Read> Read for Bare<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl<R: Read> Source for Bare<R> {
    fn unit(&mut self, _: &[u8]) -> Result<(), VerifyError> {
        Ok(())
    }

    fn fault(&mut self) -> Option<VerifyError> {
        None
    }

    fn end(&mut self) -> Result<(), VerifyError> {
        Ok(())
    }
}
