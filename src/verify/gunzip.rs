//! The gzip around a bundle: one member, its header as larder writes it, nothing after it. Knows
//! nothing of what it holds.

use crate::cook::gzip::HEADER;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::{self, BufRead, BufReader, Read};

/// Reads what was deflated. When it ends or fails, [`Gunzip::fault`] says whether the gzip was whole.
pub(super) struct Gunzip<R> {
    input: BufReader<R>,
    inflate: Decompress,
    sum: crc32fast::Hasher,
    stage: Stage,
    fault: Option<&'static str>,
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
            fault: None,
        }
    }

    /// What is wrong with the gzip, as far as it was read.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    fn refuse(&mut self, fault: &'static str) -> io::Error {
        self.fault = Some(fault);
        io::Error::new(io::ErrorKind::InvalidData, fault)
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
            self.input.consume(taken);
            self.sum.update(&out[..given]);
            match inflated {
                Err(_) => return Err(self.refuse("it is not deflated data")),
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
