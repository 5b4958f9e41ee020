//! Inflating: whole into a buffer of the known size, or in pieces of at most 64 KiB.
//!
//! Both refuse a stream that holds more or less than the size stated for it.

use super::fault::{Fault, corrupt};
use gix_zlib::{Decompress, FlushDecompress, Inflate, Status};
use std::io::{self, BufRead};

/// The most that is held, written or handed on at once.
pub(crate) const PIECE: usize = 64 << 10;

const DAMAGED: &str = "its compressed data is damaged";
const OTHER_SIZE: &str = "it has not the size that its header states";
pub(crate) const FOLLOWED: &str = "its data is followed by other bytes";
const CUT: &str = "its data is cut short";

/// Fills `out` with the stream at the start of `input`, which must hold just as much.
pub(crate) fn whole(inflate: &mut Inflate, input: &[u8], out: &mut [u8]) -> Result<(), Fault> {
    inflate.reset();
    match inflate.once(input, out) {
        Ok((Status::StreamEnd, _, written)) if written == out.len() => Ok(()),
        Ok(_) => Err(corrupt(OTHER_SIZE)),
        Err(_) => Err(corrupt(DAMAGED)),
    }
}

/// Fills `out` as [`whole`] does, from a stream that ends where `input` does.
pub(crate) fn exact(inflate: &mut Inflate, input: &[u8], out: &mut [u8]) -> Result<(), Fault> {
    inflate.reset();
    match inflate.once(input, out) {
        Ok((Status::StreamEnd, read, written)) if written == out.len() && read == input.len() => Ok(()),
        Ok((Status::StreamEnd, _, written)) if written == out.len() => Err(corrupt(FOLLOWED)),
        Ok(_) => Err(corrupt(OTHER_SIZE)),
        Err(_) => Err(corrupt(DAMAGED)),
    }
}

/// Fills as much of `out` as the stream has, and gives how much that is.
pub(crate) fn prefix(inflate: &mut Inflate, input: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
    inflate.reset();
    inflate.prefix(input, out).map(|(_, _, written)| written).map_err(|_| corrupt(DAMAGED))
}

/// What [`Pieces`] needs and is worth keeping from one object to the next.
pub(crate) struct Stream {
    state: Decompress,
    piece: Box<[u8]>,
}

impl Default for Stream {
    fn default() -> Self {
        Self { state: Decompress::new(), piece: vec![0; PIECE].into_boxed_slice() }
    }
}

/// A stream inflated in pieces.
pub(crate) struct Pieces<'a, R> {
    input: R,
    stream: &'a mut Stream,
    start: usize,
    end: usize,
    /// What is still to come beyond `piece`, where that is known.
    left: Option<u64>,
    done: bool,
}

impl<'a, R: BufRead> Pieces<'a, R> {
    pub(crate) fn new(input: R, stream: &'a mut Stream, size: Option<u64>) -> Self {
        stream.state.reset();
        Self { input, stream, start: 0, end: 0, left: size, done: false }
    }

    /// States, once it is known, what must follow the bytes consumed so far.
    pub(crate) fn expect(&mut self, size: u64) -> Result<(), Fault> {
        let held = (self.end - self.start) as u64;
        let left = size.checked_sub(held).ok_or(corrupt(OTHER_SIZE))?;
        if self.done && left != 0 {
            return Err(corrupt(OTHER_SIZE));
        }
        self.left = Some(left);
        Ok(())
    }

    /// The next bytes, without consuming them; empty at the end, once all was as stated.
    pub(crate) fn piece(&mut self) -> Result<&[u8], Fault> {
        while self.start == self.end && !self.done {
            self.fill()?;
        }
        Ok(&self.stream.piece[self.start..self.end])
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.end);
    }

    pub(crate) fn byte(&mut self) -> Result<Option<u8>, Fault> {
        let byte = self.piece()?.first().copied();
        self.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// Hands all that is left to `emit`.
    pub(crate) fn drain(&mut self, emit: &mut dyn FnMut(&[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
        loop {
            let piece = self.piece()?;
            if piece.is_empty() {
                return Ok(());
            }
            emit(piece)?;
            self.consume(self.end - self.start);
        }
    }

    fn fill(&mut self) -> Result<(), Fault> {
        let input = self.input.fill_buf().map_err(read_fault)?;
        let state = &mut self.stream.state;
        let (before_in, before_out) = (state.total_in(), state.total_out());
        let flush = if input.is_empty() { FlushDecompress::Finish } else { FlushDecompress::None };
        let status = state.decompress(input, &mut self.stream.piece, flush).map_err(|_| corrupt(DAMAGED))?;
        let consumed = usize::try_from(state.total_in() - before_in).expect("because it is part of a slice");
        let written = usize::try_from(state.total_out() - before_out).expect("because it is part of a slice");
        self.input.consume(consumed);
        (self.start, self.end) = (0, written);
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(written as u64).ok_or(corrupt(OTHER_SIZE))?;
        }
        if status == Status::StreamEnd {
            self.done = true;
            if self.left.is_some_and(|left| left != 0) {
                return Err(corrupt(OTHER_SIZE));
            }
        } else if consumed == 0 && written == 0 {
            return Err(corrupt(CUT));
        }
        Ok(())
    }
}

fn read_fault(cause: io::Error) -> Fault {
    Fault::Io { action: "read a loose object".to_owned(), cause }
}
