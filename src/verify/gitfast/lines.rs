//! The stream as lines and data, each bounded. Knows no command.

use crate::archive::object::Hasher;
use crate::archive::{MAX_STRUCTURE, ObjectType};
use crate::key::Sha1Git;
use crate::verify::VerifyError;
use std::io::{BufRead, BufReader, ErrorKind, Read};

/// Reads lines and data, and knows where it is.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    at: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), at: 0 }
    }

    /// The next line, without its newline.
    pub(super) fn line(&mut self) -> Result<Vec<u8>, VerifyError> {
        let mut line = Vec::new();
        let read = self.input.by_ref().take(MAX_STRUCTURE).read_until(b'\n', &mut line);
        let read = read.map_err(|error| self.failed(error))?;
        if line.pop() != Some(b'\n') {
            return Err(self.refuse("it ends in the middle, or a line is too long"));
        }
        self.at += read as u64;
        Ok(line)
    }

    /// The next line, which must begin with `word`; what stands behind it.
    pub(super) fn after(&mut self, word: &[u8]) -> Result<Vec<u8>, VerifyError> {
        let line = self.line()?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.to_vec()),
            None => Err(self.refuse(format!("a line does not begin with \"{}\"", word.escape_ascii()))),
        }
    }

    /// A structure's data, `line` being its first line.
    pub(super) fn data(&mut self, line: &[u8]) -> Result<Vec<u8>, VerifyError> {
        let length = self.length(line)?;
        if length > MAX_STRUCTURE {
            return Err(self.refuse("a commit or a tag is too large"));
        }
        let mut data = Vec::new();
        let read = self.input.by_ref().take(length).read_to_end(&mut data).map_err(|error| self.failed(error))?;
        self.at += read as u64;
        if read as u64 != length {
            return Err(self.refuse("it ends in the middle of data"));
        }
        self.end_of_data()?;
        Ok(data)
    }

    /// The id of the content that comes next.
    pub(super) fn content(&mut self) -> Result<Sha1Git, VerifyError> {
        let line = self.line()?;
        let mut left = self.length(&line)?;
        let mut hasher = Hasher::new(ObjectType::Blob, left);
        while left > 0 {
            let bytes = match self.input.fill_buf() {
                Ok([]) => return Err(self.refuse("it ends in the middle of data")),
                Ok(bytes) => &bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))],
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            hasher.update(bytes);
            let taken = bytes.len();
            self.input.consume(taken);
            self.at += taken as u64;
            left -= taken as u64;
        }
        self.end_of_data()?;
        hasher.finish().map_err(|collision| self.refuse(collision.to_string()))
    }

    /// That there is nothing more.
    pub(super) fn end(&mut self) -> Result<(), VerifyError> {
        match self.input.read(&mut [0; 1]).map_err(|error| self.failed(error))? {
            0 => Ok(()),
            _ => Err(self.refuse("something follows its end")),
        }
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> VerifyError {
        VerifyError::Stream { at: self.at, reason: reason.into() }
    }

    fn length(&self, line: &[u8]) -> Result<u64, VerifyError> {
        line.strip_prefix(b"data ").and_then(decimal).ok_or_else(|| self.refuse("there is no length of data"))
    }

    fn end_of_data(&mut self) -> Result<(), VerifyError> {
        if self.line()?.is_empty() { Ok(()) } else { Err(self.refuse("data is longer than it says")) }
    }

    fn failed(&self, error: std::io::Error) -> VerifyError {
        match error.kind() {
            ErrorKind::UnexpectedEof => self.refuse("it ends too early"),
            _ => VerifyError::Read(error),
        }
    }
}

/// A number as it is written: without leading zeros.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let written = std::str::from_utf8(digits).ok()?;
    let number = written.parse::<u64>().ok()?;
    (number.to_string() == written).then_some(number)
}
