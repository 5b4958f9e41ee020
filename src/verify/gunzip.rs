//! The gzip around a bundle: one member, its header as larder writes it, its units deflated as larder
//! does, nothing after it. Knows nothing of what it holds.

use super::VerifyError;
use super::echo::Echo;
use super::source::Source;
use crate::cook::deflate::{Deflater, End, Level};
use crate::cook::gzip::{END, HEADER};
use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, BufRead, BufReader, Read};

/// Reads what was deflated.
pub(super) struct Gunzip<R> {
    input: BufReader<R>,
    inflate: Decompress,
    sum: crc32fast::Hasher,
    stage: Stage,
    deflater: Deflater,
    deflated: Vec<u8>,
    echo: Echo,
    fault: Option<VerifyError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Body,
    End,
}

impl<R: Read> Gunzip<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            inflate: Decompress::new(false),
            sum: crc32fast::Hasher::new(),
            stage: Stage::Start,
            deflater: Deflater::new(Level::Gzip),
            deflated: Vec::new(),
            echo: Echo::default(),
            fault: None,
        }
    }

    fn refuse(&mut self, fault: &'static str) -> io::Error {
        self.fault = Some(VerifyError::Gzip(fault));
        io::Error::from(io::ErrorKind::InvalidData)
    }

    fn start(&mut self) -> io::Result<()> {
        let mut header = [0; HEADER.len()];
        if self.exact(&mut header)? && header == HEADER {
            self.stage = Stage::Body;
            return Ok(());
        }
        Err(self.refuse("its header is not that of a bundle"))
    }

    /// Whether `bytes` could be filled.
    fn exact(&mut self, bytes: &mut [u8]) -> io::Result<bool> {
        match self.input.read_exact(bytes) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn body(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.input.fill_buf()?;
            let at_end = bytes.is_empty();
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let inflated = self.inflate.decompress(bytes, out, FlushDecompress::None);
            let (after_in, after_out) = (self.inflate.total_in(), self.inflate.total_out());
            let taken = usize::try_from(after_in - before_in).expect("because it was in memory");
            let given = usize::try_from(after_out - before_out).expect("because it is in memory");
            let echoed = self.echo.read(&bytes[..taken]);
            self.input.consume(taken);
            self.sum.update(&out[..given]);
            match inflated {
                Err(_) => return Err(self.refuse("it is not deflated data")),
                Ok(_) if echoed.is_err() => {
                    self.fault = echoed.err();
                    return Err(io::Error::from(io::ErrorKind::InvalidData));
                }
                Ok(Status::StreamEnd) => {
                    self.stage = Stage::End;
                    self.finish()?;
                    return Ok(given);
                }
                Ok(_) if given > 0 => return Ok(given),
                Ok(_) if at_end => return Err(self.refuse("it ends too early")),
                Ok(_) => {}
            }
        }
    }

    /// The trailer, and nothing behind it.
    fn finish(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        if !self.exact(&mut trailer)? {
            return Err(self.refuse("it ends too early"));
        }
        let crc = self.sum.clone().finalize().to_le_bytes();
        let size = self.inflate.total_out().to_le_bytes();
        if trailer[..4] != crc || trailer[4..] != size[..4] {
            return Err(self.refuse("its CRC-32 or its length is wrong"));
        }
        if !self.input.fill_buf()?.is_empty() {
            return Err(self.refuse("something follows its only member"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.stage == Stage::Start {
            self.start()?;
        }
        if self.stage == Stage::End || out.is_empty() {
            return Ok(0);
        }
        self.body(out)
    }
}

impl<R: Read> Source for Gunzip<R> {
    fn unit(&mut self, unit: &[u8]) -> Result<(), VerifyError> {
        self.deflated.clear();
        // What larder's encoder gets wrong larder has not written.
        self.deflater.deflate(unit, End::Flush, &mut self.deflated).map_err(|_| VerifyError::Encoding)?;
        self.echo.expect(&self.deflated)
    }

    fn fault(&mut self) -> Option<VerifyError> {
        self.fault.take()
    }

    fn end(&mut self) -> Result<(), VerifyError> {
        self.echo.expect(&END)?;
        self.echo.end()
    }
}
