//! The zstd frames of a `tar.zst`: one a unit, as larder makes them, nothing between and behind.

use super::VerifyError;
use super::echo::Echo;
use super::source::Source;
use crate::cook::zstandard::Framer;
use std::io::{self, BufRead, BufReader, Read};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// A frame's window is its content, and that a unit at most: 2^20 bytes.
const WINDOW_LOG: u32 = 20;

/// Reads what was compressed.
pub(super) struct Unzstd<R> {
    input: BufReader<R>,
    context: DCtx<'static>,
    framer: Framer,
    frame: Vec<u8>,
    echo: Echo,
    in_frame: bool,
    fault: Option<VerifyError>,
}

impl<R: Read> Unzstd<R> {
    pub(super) fn new(input: R) -> Self {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).expect("because the library allows it");
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            context,
            framer: Framer::default(),
            frame: Vec::new(),
            echo: Echo::default(),
            in_frame: false,
            fault: None,
        }
    }

    fn refuse(&mut self, fault: VerifyError) -> io::Error {
        self.fault = Some(fault);
        io::Error::from(io::ErrorKind::InvalidData)
    }
}

impl<R: Read> Read for Unzstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let bytes = self.input.fill_buf()?;
            let at_end = bytes.is_empty();
            if at_end && !self.in_frame {
                return Ok(0);
            }
            let (mut from, mut to) = (InBuffer::around(bytes), OutBuffer::around(&mut *out));
            let hint = self.context.decompress_stream(&mut to, &mut from);
            let (taken, given) = (from.pos(), to.pos());
            let echoed = self.echo.read(&bytes[..taken]);
            self.input.consume(taken);
            match (hint, echoed) {
                (Err(_), _) => return Err(self.refuse(VerifyError::Zstd("it is not a zstd frame of at most a unit"))),
                (_, Err(error)) => return Err(self.refuse(error)),
                (Ok(hint), Ok(())) => self.in_frame = hint != 0,
            }
            if given > 0 {
                return Ok(given);
            }
            if at_end {
                return Err(self.refuse(VerifyError::Zstd("it ends too early")));
            }
        }
    }
}

impl<R: Read> Source for Unzstd<R> {
    fn unit(&mut self, unit: &[u8]) -> Result<(), VerifyError> {
        self.framer.frame(unit, &mut self.frame);
        self.echo.expect(&self.frame)
    }

    fn fault(&mut self) -> Option<VerifyError> {
        self.fault.take()
    }

    fn end(&mut self) -> Result<(), VerifyError> {
        self.echo.end()
    }
}
