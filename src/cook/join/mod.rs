//! Deflate streams that were ended, made such that others can follow: the pieces of one stream. Pure.
//!
//! An encoder without a flush ends what it makes with a block that says it is the last (BFINAL, RFC
//! 1951, section 3.2.3). To join what was ended to what follows, as Mark Adler's `gzjoin` does it, that
//! bit is cleared, and an empty stored block put behind the block: three bits of zero, zeros up to a
//! whole byte, `00 00 ff ff`. What follows begins at a byte then, like behind a full flush.
//!
//! Where the last block begins only inflating tells. So all that is joined was inflated, and compared
//! with what it was made of: what an encoder gets wrong is not published.

mod blocks;
#[cfg(test)]
mod tests;

use blocks::{Blocks, Stop};

/// An empty stored block behind its three bits and the padding.
const STORED: [u8; 4] = [0, 0, 0xff, 0xff];
/// The most bytes that a stream is longer by when it is joined.
pub(crate) const LONGER: usize = 1 + STORED.len();
/// Bytes that are inflated at a time: what they are compared with is still in the cache.
const PIECE: usize = 1 << 16;

/// Bytes that do not inflate to what they were made of: a bug of the encoder, or of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoder made bytes that do not inflate to what it was given")]
pub struct Miscoded;

/// Joins streams, each alone. 110 KiB.
pub struct Joiner {
    blocks: Blocks,
    piece: Vec<u8>,
}

/// Where the last block lies, in bits from the start of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    header: usize,
    end: usize,
}

impl Default for Joiner {
    fn default() -> Self {
        Self { blocks: Blocks::new(), piece: vec![0; PIECE] }
    }
}

impl Joiner {
    /// Lets others follow the stream that begins at `out[from]` and reaches to the end of `out`. It must
    /// inflate to `plain`.
    pub fn join(&mut self, out: &mut Vec<u8>, from: usize, plain: &[u8]) -> Result<(), Miscoded> {
        let last = self.check(&out[from..], plain)?;
        let stream = &mut out[from..];
        stream[last.header / 8] &= !(1 << (last.header % 8));
        // What is behind the last block in its last byte: the header of the stored block, and padding.
        let used = last.end % 8;
        if used > 0 {
            stream[last.end / 8] &= (1 << used) - 1;
        }
        if used == 0 || used > 5 {
            out.push(0);
        }
        out.extend_from_slice(&STORED);
        Ok(())
    }

    /// Finds the last block of a stream that was ended, inflates to `plain`, and has nothing behind it.
    fn check(&mut self, stream: &[u8], plain: &[u8]) -> Result<Last, Miscoded> {
        self.blocks.reset();
        let (mut header, mut left) = (0, plain);
        loop {
            let step = self.blocks.step(stream, &mut self.piece);
            left = left.strip_prefix(&self.piece[..step.given]).ok_or(Miscoded)?;
            match step.stop {
                Stop::Full => {}
                Stop::Block(next) => header = next,
                Stop::Last(end) if left.is_empty() && end.div_ceil(8) == stream.len() => {
                    return Ok(Last { header, end });
                }
                Stop::Last(_) | Stop::Fault => return Err(Miscoded),
            }
        }
    }
}
