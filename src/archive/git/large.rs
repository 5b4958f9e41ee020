//! Objects too large for memory: inflated in pieces, and where they are deltas, resolved through
//! unlinked scratch files. What is in memory is a few windows of 64 KiB, whatever the sizes.
//!
//! **Every size is checked before a byte of it is written**: a delta that claims more than the cap
//! is refused by its header, and one that makes more than it claimed at the first byte too many.

use super::chain::{Chain, Link};
use super::delta::{self, Instruction};
use super::fault::{Fault, check_size, corrupt};
use super::inflate::{PIECE, Pieces, Stream};
use std::fs::File;
use std::io::{BufRead, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Takes an object piece by piece.
pub(crate) type Emit<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

/// Where and how much scratch may be written.
pub(crate) struct Scratch<'a> {
    pub(crate) folder: &'a Path,
    /// The largest object, and so the largest file, in bytes.
    pub(crate) limit: u64,
}

/// Hands the object to `emit` in pieces of at most 64 KiB.
pub(super) fn read(
    chain: &Chain<'_>,
    stream: &mut Stream,
    scratch: &Scratch<'_>,
    emit: &mut Emit<'_>,
) -> Result<(), Fault> {
    let Some((last, below)) = chain.deltas.split_first() else {
        return inflate(&chain.base, stream, scratch.limit, emit);
    };
    let mut base = Base::new(scratch, |emit| inflate(&chain.base, stream, scratch.limit, emit))?;
    for link in below.iter().rev() {
        base = Base::new(scratch, |emit| apply(link, &mut base, stream, scratch.limit, emit))?;
    }
    apply(last, &mut base, stream, scratch.limit, emit)
}

fn inflate(link: &Link<'_>, stream: &mut Stream, limit: u64, emit: &mut Emit<'_>) -> Result<(), Fault> {
    check_size(link.size, limit)?;
    Pieces::new(link.deflated()?, stream, Some(link.size)).drain(emit)
}

fn apply(link: &Link<'_>, base: &mut Base, stream: &mut Stream, limit: u64, emit: &mut Emit<'_>) -> Result<(), Fault> {
    apply_pieces(&mut Pieces::new(link.deflated()?, stream, Some(link.size)), base, limit, &mut |_| Ok(()), emit)
}

/// Hands what `instructions` make of `base` to `emit`, its size to `begin` before, once it is known
/// to be at most `limit`.
pub(crate) fn apply_pieces<R: BufRead>(
    instructions: &mut Pieces<'_, R>,
    base: &mut Base,
    limit: u64,
    begin: &mut dyn FnMut(u64) -> Result<(), Fault>,
    emit: &mut Emit<'_>,
) -> Result<(), Fault> {
    let sizes = delta::read_sizes(&mut || instructions.byte())?;
    if sizes.base != base.size {
        return Err(corrupt(delta::OTHER_BASE));
    }
    check_size(sizes.result, limit)?;
    begin(sizes.result)?;
    let mut out = Gathered { piece: Vec::with_capacity(PIECE), left: sizes.result, emit };
    while let Some(instruction) = delta::read_instruction(&mut || instructions.byte())? {
        match instruction {
            Instruction::Copy { from, length } => base.copy(from, length, &mut |bytes| out.add(bytes))?,
            Instruction::Insert { mut length } => {
                while length > 0 {
                    let piece = instructions.piece()?;
                    let piece = &piece[..piece.len().min(length)];
                    if piece.is_empty() {
                        return Err(delta::cut());
                    }
                    out.add(piece)?;
                    let taken = piece.len();
                    length -= taken;
                    instructions.consume(taken);
                }
            }
        }
    }
    out.finish()
}

/// Small pieces made into large ones, and counted.
struct Gathered<'a, 'b> {
    piece: Vec<u8>,
    left: u64,
    emit: &'a mut Emit<'b>,
}

impl Gathered<'_, '_> {
    fn add(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(delta::other_size)?;
        while !bytes.is_empty() {
            let room = bytes.len().min(PIECE - self.piece.len());
            let (now, later) = bytes.split_at(room);
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                (self.emit)(&self.piece)?;
                self.piece.clear();
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Fault> {
        if self.left != 0 {
            return Err(delta::other_size());
        }
        if self.piece.is_empty() { Ok(()) } else { (self.emit)(&self.piece) }
    }
}

/// A base in a scratch file that has no name, with a window on where it was last read.
pub(crate) struct Base {
    file: File,
    size: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl Base {
    /// What `write` emits, in a file of the folder for scratch.
    pub(crate) fn new(
        scratch: &Scratch<'_>,
        write: impl FnOnce(&mut Emit<'_>) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        let fault = |cause| Fault::io("write a scratch file in", scratch.folder, cause);
        let mut file = tempfile::tempfile_in(scratch.folder).map_err(fault)?;
        let mut size = 0;
        write(&mut |piece| {
            size += piece.len() as u64;
            file.write_all(piece).map_err(fault)
        })?;
        Ok(Self { file, size, window: Vec::new(), window_start: 0 })
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Sets `buf` to all of it.
    pub(crate) fn read_into(&self, buf: &mut Vec<u8>) -> Result<(), Fault> {
        buf.resize(usize::try_from(self.size).map_err(|_| delta::outside())?, 0);
        let fault = |cause| Fault::Io { action: "read a scratch file".to_owned(), cause };
        self.file.read_exact_at(buf, 0).map_err(fault)
    }

    fn copy(&mut self, from: u64, length: usize, add: &mut Emit<'_>) -> Result<(), Fault> {
        let end = from.checked_add(length as u64).filter(|end| *end <= self.size).ok_or_else(delta::outside)?;
        let mut at = from;
        while at < end {
            let held = self.held(at)?;
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(held.len());
            add(&held[..wanted])?;
            at += wanted as u64;
        }
        Ok(())
    }

    /// Some bytes from `at` on, which lies within the file.
    fn held(&mut self, at: u64) -> Result<&[u8], Fault> {
        let window_end = self.window_start + self.window.len() as u64;
        if !(self.window_start..window_end).contains(&at) {
            let length = usize::try_from(self.size - at).unwrap_or(usize::MAX).min(PIECE);
            self.window.resize(length, 0);
            self.window_start = at;
            self.file.read_exact_at(&mut self.window, at).map_err(|cause| {
                self.window.clear();
                Fault::Io { action: "read a scratch file".to_owned(), cause }
            })?;
        }
        let skipped = usize::try_from(at - self.window_start).expect("because it lies within the window");
        Ok(&self.window[skipped..])
    }
}
