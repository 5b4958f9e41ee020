//! The packings of tars: gzip, bzip2, xz, zstd and lzip, read one member after another to the end of
//! what holds them. A member is whole when its own trailer says so, and every check that it carries
//! (a CRC, the index of an xz, the sizes of a lzip) holds; behind the last one only zeros may follow,
//! as tapes and some servers pad with.
//!
//! **Memory.** What a decoder may hold is [`MAX_WINDOW`], whatever a header asks for.

use super::StructureError;
use super::ahead::Ahead;
use super::magic;
use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::stream::{Action, Error as LzmaError, Status, Stream, TELL_UNSUPPORTED_CHECK};
use std::io::{self, BufRead, Read};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// The largest dictionary or window of a decoder, as a power of two: that of `zstd --ultra -22`, twice
/// that of `xz -9`.
const WINDOW_LOG: u32 = 27;
/// What a decoder may hold of what it has unpacked, in bytes.
pub const MAX_WINDOW: u64 = 1 << WINDOW_LOG;
/// What it may hold besides.
const MARGIN: u64 = 1 << 20;

/// A packing that tars come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packer {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Lzip,
}

impl Packer {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "a gzip",
            Self::Bzip2 => "a bzip2",
            Self::Xz => "an xz",
            Self::Zstd => "a zstd",
            Self::Lzip => "a lzip",
        }
    }

    /// Whether a member begins so. Fewer bytes than [`magic::LONGEST`] are all that there are.
    fn begins(self, bytes: &[u8]) -> bool {
        match self {
            Self::Gzip => bytes.starts_with(magic::GZIP),
            Self::Bzip2 => bytes.starts_with(magic::BZIP2),
            Self::Xz => bytes.starts_with(magic::XZ),
            Self::Zstd => bytes.starts_with(magic::ZSTD) || magic::is_skippable(bytes),
            Self::Lzip => bytes.starts_with(magic::LZIP),
        }
    }

    /// Whether these few bytes, which are all that there are, could be the beginning of a member.
    fn could_begin(self, bytes: &[u8]) -> bool {
        let full = match self {
            Self::Gzip => magic::GZIP,
            Self::Bzip2 => magic::BZIP2,
            Self::Xz => magic::XZ,
            Self::Zstd => magic::ZSTD,
            Self::Lzip => magic::LZIP,
        };
        full.starts_with(bytes)
    }
}

/// What a packed stream unpacks to. Its end is reached only when the packed stream was whole.
pub(super) struct Unpacked<R> {
    packer: Packer,
    /// `None` when all has been read.
    member: Option<Member<Ahead<R>>>,
}

impl<R: BufRead> Unpacked<R> {
    /// # Errors
    /// What `input` is instead of something that `packer` made.
    pub(super) fn new(packer: Packer, input: R) -> Result<Self, StructureError> {
        let mut input = Ahead::new(input);
        let start = input.ahead(magic::ENOUGH)?;
        if !packer.begins(start) {
            if start.is_empty() {
                return Err(StructureError::Empty);
            }
            if start.len() < magic::LONGEST && packer.could_begin(start) {
                return Err(StructureError::CutShort);
            }
            let what = match magic::name(start) {
                Some(name) => format!("it is {name} and not {}", packer.name()),
                None => format!("it does not begin as {} does", packer.name()),
            };
            return Err(StructureError::Malformed(what));
        }
        Ok(Self { packer, member: Some(Member::new(packer, input)?) })
    }

    /// What follows a member: another one, or nothing but zeros.
    fn next(&self, mut input: Ahead<R>) -> Result<Option<Member<Ahead<R>>>, StructureError> {
        let (_, name) = self.packer.name().split_once(' ').unwrap_or_default();
        let behind = || StructureError::Malformed(format!("something follows the end of the {name}"));
        let mut zeros: u64 = 0;
        loop {
            let start = input.ahead(magic::LONGEST)?;
            match start.iter().position(|&byte| byte != 0) {
                None if start.is_empty() => return Ok(None),
                // Padding between two members is for xz alone, in fours (section 2.2 of its format).
                Some(0) if zeros == 0 || (self.packer == Packer::Xz && zeros.is_multiple_of(4)) => {
                    if self.packer.begins(start) {
                        return Member::new(self.packer, input).map(Some);
                    }
                    let cut = start.len() < magic::LONGEST && self.packer.could_begin(start);
                    return Err(if cut { StructureError::CutShort } else { behind() });
                }
                Some(0) => return Err(behind()),
                padding => {
                    let padding = padding.unwrap_or(start.len());
                    zeros += padding as u64;
                    input.consume_ahead(padding);
                }
            }
        }
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let read = member.read(buf);
            if matches!(read, Ok(n) if n > 0) {
                return read;
            }
            // A decoder that has failed is not asked again: it might go on.
            let member = self.member.take();
            read?;
            if let Some(member) = member {
                self.member = self.next(member.into_inner()).map_err(StructureError::carried)?;
            }
        }
        Ok(0)
    }
}

/// One member being read; at its end, and not behind it, when it gives no more.
enum Member<R> {
    Gzip(GzDecoder<R>),
    Bzip2(BzDecoder<R>),
    Stepped(Stepped<R>),
}

impl<R: BufRead> Member<R> {
    fn new(packer: Packer, input: R) -> Result<Self, StructureError> {
        let lzma = |stream: Result<Stream, LzmaError>| stream.map(Codec::Lzma).map_err(lzma_fault);
        let codec = match packer {
            Packer::Gzip => return Ok(Self::Gzip(GzDecoder::new(input))),
            Packer::Bzip2 => return Ok(Self::Bzip2(BzDecoder::new(input))),
            Packer::Xz => lzma(Stream::new_stream_decoder(MAX_WINDOW + MARGIN, TELL_UNSUPPORTED_CHECK))?,
            Packer::Lzip => lzma(Stream::new_lzip_decoder(MAX_WINDOW + MARGIN, 0))?,
            Packer::Zstd => {
                let mut context = DCtx::create();
                context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(zstd_fault)?;
                Codec::Zstd(context)
            }
        };
        Ok(Self::Stepped(Stepped { input, codec, ended: false }))
    }

    fn into_inner(self) -> R {
        match self {
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Stepped(decoder) => decoder.input,
        }
    }
}

impl<R: BufRead> Read for Member<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buf),
            Self::Bzip2(decoder) => decoder.read(buf),
            Self::Stepped(decoder) => decoder.read(buf),
        }
    }
}

/// A decoder that is fed piece by piece.
struct Stepped<R> {
    input: R,
    codec: Codec,
    ended: bool,
}

enum Codec {
    Lzma(Stream),
    Zstd(DCtx<'static>),
}

/// What came of a piece.
struct Step {
    used: usize,
    made: usize,
    ended: bool,
}

impl Codec {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, StructureError> {
        match self {
            Self::Lzma(stream) => {
                let (before_in, before_out) = (stream.total_in(), stream.total_out());
                let status = stream.process(input, output, Action::Run).map_err(lzma_fault)?;
                let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
                Ok(Step {
                    used: moved(stream.total_in(), before_in),
                    made: moved(stream.total_out(), before_out),
                    ended: status == Status::StreamEnd,
                })
            }
            Self::Zstd(context) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
                let left = context.decompress_stream(&mut to, &mut from).map_err(zstd_fault)?;
                Ok(Step { used: from.pos(), made: to.pos(), ended: left == 0 })
            }
        }
    }
}

impl<R: BufRead> Read for Stepped<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended {
            let input = self.input.fill_buf()?;
            let is_over = input.is_empty();
            let step = self.codec.step(input, buf).map_err(StructureError::carried)?;
            self.input.consume(step.used);
            self.ended = step.ended;
            if step.made > 0 {
                return Ok(step.made);
            }
            if is_over && !self.ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

fn lzma_fault(error: LzmaError) -> StructureError {
    match error {
        LzmaError::MemLimit => StructureError::NeedsMemory(MAX_WINDOW),
        LzmaError::Mem => StructureError::Read(io::ErrorKind::OutOfMemory.into()),
        LzmaError::Options | LzmaError::UnsupportedCheck | LzmaError::NoCheck => {
            StructureError::Malformed("it is packed in a way that is not known here".to_owned())
        }
        LzmaError::Data | LzmaError::Format | LzmaError::Program => {
            StructureError::Damaged("a check of the packed data fails".to_owned())
        }
    }
}

/// zstd's errors have stable names only by way of its C library.
fn zstd_fault(code: zstd_safe::ErrorCode) -> StructureError {
    let name = zstd_safe::get_error_name(code);
    if name.contains("too much memory") {
        StructureError::NeedsMemory(MAX_WINDOW)
    } else if name.contains("Allocation") {
        StructureError::Read(io::ErrorKind::OutOfMemory.into())
    } else if name.contains("ictionary") || name.contains("nsupported") {
        StructureError::Malformed("it is packed in a way that is not known here".to_owned())
    } else {
        StructureError::Damaged(name.to_owned())
    }
}
