//! From a format to the function that reads it: the one place that knows all of them.

use super::gunzip::Gunzip;
use super::source::Bare;
use super::unzstd::Unzstd;
use super::{History, Seen, VerifyError, git_bundle, git_tar, gitfast, raw, tar, zip};
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
    bundle_ids(format, input, &mut |_| {})
}

/// The same, `seen` being told the id of each thing in it: contents, symlinks' targets, directories; of a
/// history, of each object. Of a lossy `gitfast.gz` these are the ids of what it makes, which are not those of
/// what it was made from.
///
/// # Errors
/// As [`bundle`].
pub fn bundle_ids(format: Format, input: Input<'_>, seen: Seen<'_>) -> Result<Checked, VerifyError> {
    let directory = match format {
        Format::TarGz => tar::directory(Gunzip::new(input.stream()?), seen),
        Format::Tar => tar::directory(Bare(input.stream()?), seen),
        Format::TarZst => tar::directory(Unzstd::new(input.stream()?), seen),
        Format::Zip => zip::directory(input.file(format)?, seen),
        Format::Raw => {
            let file = input.file(format)?;
            let len = file.metadata().map_err(VerifyError::Read)?.len();
            let id = raw::content(Input::File(file).stream()?, len)?;
            seen(&id);
            return Ok(Checked::Content(id));
        }
        Format::GitTar => return git_tar::read(input.file(format)?, seen).map(Checked::History),
        Format::Bundle => return git_bundle::read(input.file(format)?, seen).map(Checked::History),
        Format::Gitfast => return gitfast::ids(input.stream()?, seen).map(Checked::History),
    };
    directory.map(Checked::Directory)
}

/// Whether [`bundle`] can read this format from a stream.
#[must_use]
pub const fn is_streaming(format: Format) -> bool {
    match format {
        Format::TarGz | Format::Tar | Format::TarZst | Format::Gitfast => true,
        Format::Zip | Format::GitTar | Format::Bundle | Format::Raw => false,
    }
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
