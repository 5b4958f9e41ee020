//! Inflating, stopped at the end of each block: where in the bits a block ends, which no safe library
//! tells. Owns all of larder's calls into `libz-rs-sys`, the interface of C to zlib-rs.

use libz_rs_sys as z;
use std::ffi::c_int;

/// Bits of `data_type` (`inflate` in zlib's manual): of the last byte taken so many bits are not used
/// yet; the last block has begun; it stopped between two blocks, or behind the last.
const UNUSED: c_int = 63;
const IN_LAST: c_int = 64;
const BETWEEN: c_int = 128;

/// A raw deflate stream (RFC 1951) being inflated, given in one piece.
pub(super) struct Blocks {
    stream: Box<z::z_stream>,
    /// Bytes of the input that it has taken.
    taken: usize,
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes written.
    pub(super) given: usize,
    pub(super) stop: Stop,
}

/// Why a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The room for output is used up.
    Full,
    /// A block ended that is not the last. The next begins at this bit of the input.
    Block(usize),
    /// The last block ended before this bit of the input.
    Last(usize),
    /// It is not deflated, or cut short.
    Fault,
}

impl Blocks {
    #[expect(unsafe_code, reason = "a function of C; see SAFETY")]
    pub(super) fn new() -> Self {
        let mut stream = Box::new(z::z_stream::default());
        let size = c_int::try_from(size_of::<z::z_stream>()).expect("because it is some hundred bytes");
        // SAFETY: `stream` is a default one, which asks for the library's own allocator; it stays where it
        // is, in its box, until `inflateEnd` in `drop`. Version and size are the library's own.
        let code = unsafe { z::inflateInit2_(&raw mut *stream, -15, z::zlibVersion(), size) };
        assert_eq!(code, z::Z_OK, "an inflater is made: there is memory, and the library is one with itself");
        Self { stream, taken: 0 }
    }

    /// Begins another stream.
    #[expect(unsafe_code, reason = "a function of C; see SAFETY")]
    pub(super) fn reset(&mut self) {
        // SAFETY: `stream` was initialized in `new`.
        let code = unsafe { z::inflateReset(&raw mut *self.stream) };
        assert_eq!(code, z::Z_OK, "an inflater that was made can begin again");
        self.taken = 0;
    }

    /// Goes on in `input`, all of the stream and the same at each call, until a block ends or `out` is full.
    #[expect(unsafe_code, reason = "a function of C; see SAFETY")]
    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Step {
        let stream = &mut *self.stream;
        let rest = input.get(self.taken..).unwrap_or_default();
        // No unit is so long; what would be cut off here ends as a fault.
        let clamp = |length: usize| z::uInt::try_from(length).unwrap_or(z::uInt::MAX);
        let (before_in, before_out, before) = (clamp(rest.len()), clamp(out.len()), self.taken);
        (stream.next_in, stream.avail_in) = (rest.as_ptr(), before_in);
        (stream.next_out, stream.avail_out) = (out.as_mut_ptr(), before_out);
        let unused = stream.data_type & UNUSED;
        // SAFETY: `stream` was initialized in `new`; `next_in` and `next_out` lead to so many bytes as the
        // two lengths say, which nobody else holds during the call, and neither is used after it. The
        // library keeps what it needs of earlier output in a window of its own.
        let code = unsafe { z::inflate(stream, z::Z_BLOCK) };
        self.taken += (before_in - stream.avail_in) as usize;
        let given = (before_out - stream.avail_out) as usize;
        let moved = given > 0 || self.taken > before || stream.data_type & UNUSED != unused;
        // Without progress is an end of the input that is none of the stream.
        let stop = match code {
            z::Z_OK | z::Z_BUF_ERROR if moved => {
                let bit = self.taken * 8 - usize::try_from(stream.data_type & UNUSED).expect("because it is masked");
                match (stream.data_type & BETWEEN != 0, stream.data_type & IN_LAST != 0) {
                    (true, false) => Stop::Block(bit),
                    (true, true) => Stop::Last(bit),
                    (false, _) if stream.avail_out == 0 => Stop::Full,
                    (false, _) => Stop::Fault,
                }
            }
            _ => Stop::Fault,
        };
        Step { given, stop }
    }
}

impl Drop for Blocks {
    #[expect(unsafe_code, reason = "a function of C; see SAFETY")]
    fn drop(&mut self) {
        // SAFETY: `stream` was initialized in `new`, and nothing uses it behind this.
        unsafe { z::inflateEnd(&raw mut *self.stream) };
    }
}
