//! From a format to the function that reads it: the one place that knows all of them.

use super::{History, VerifyError, flat_tar, flat_tar_gz, flat_tar_zst, flat_zip, git_bundle, git_tar, gitfast, raw};
use crate::key::{Format, Sha1Git};
use std::fs::File;
use std::io::Read;

/// What a bundle was found to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// A directory, by its recomputed id.
    Directory(Sha1Git),
    /// A content, by its recomputed id.
    Content(Sha1Git),
    /// A history, every id in it recomputed.
    History(History),
}

/// Where the bytes of a bundle come from.
pub enum Input<'a> {
    /// From a file, from its beginning whatever was read of it before.
    File(&'a File),
    /// From a stream, which only formats that are read in one go can be read from.
    Stream(&'a mut dyn Read),
}

/// Reads a whole bundle and recomputes the ids of all that is in it.
///
/// # Errors
/// [`VerifyError`]: the bytes are not those of a bundle in this format, or could not be read.
pub fn bundle(format: Format, input: Input<'_>) -> Result<Checked, VerifyError> {
    match format {
        Format::TarGz => Ok(Checked::Directory(flat_tar_gz(input.stream()?)?)),
        Format::Tar => Ok(Checked::Directory(flat_tar(input.stream()?)?)),
        Format::TarZst => Ok(Checked::Directory(flat_tar_zst(input.stream()?)?)),
        Format::Zip => Ok(Checked::Directory(flat_zip(input.file(format)?)?)),
        Format::Raw => {
            let file = input.file(format)?;
            let len = file.metadata().map_err(VerifyError::Read)?.len();
            Ok(Checked::Content(raw(Input::File(file).stream()?, len)?))
        }
        Format::GitTar => Ok(Checked::History(git_tar(input.file(format)?)?)),
        Format::Bundle => Ok(Checked::History(git_bundle(input.file(format)?)?)),
        Format::Gitfast => Ok(Checked::History(gitfast(input.stream()?)?)),
    }
}

/// Whether [`bundle`] can read this format from a stream.
#[must_use]
pub const fn is_streaming(format: Format) -> bool {
    matches!(format, Format::TarGz | Format::Tar | Format::TarZst | Format::Gitfast)
}

impl<'a> Input<'a> {
    fn file(self, format: Format) -> Result<&'a File, VerifyError> {
        match self {
            Self::File(file) => Ok(file),
            Self::Stream(_) => Err(VerifyError::Unsupported(format)),
        }
    }

    fn stream(self) -> Result<Box<dyn Read + 'a>, VerifyError> {
        match self {
            Self::File(file) => {
                let mut file = file;
                std::io::Seek::rewind(&mut file).map_err(VerifyError::Read)?;
                Ok(Box::new(file))
            }
            Self::Stream(stream) => Ok(Box::new(stream)),
        }
    }
}
