//! Bodies of answers: nothing, bytes in memory, pieces of a file, or events as they come, without a
//! box on the way of a hit. Owns how a file is read; knows no header and no status.
//!
//! What the page cache holds is read where the connection runs (`preadv2` with `RWF_NOWAIT` never
//! waits for a disk); only what it does not hold goes to a blocking thread. A file that ends before
//! its piece does makes the body fail, and hyper then closes the connection: a client sees a cut
//! transfer, never one that was padded.

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use super::digests::FileId;
use super::events::Events;
use super::hot;
use super::range::ByteRange;

/// The body of an answer; but for a stream and for events its size is known.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes in memory.
    Full(Bytes),
    /// Pieces of a file, with text between them.
    File(FileBody),
    /// Bytes that are still being made, nobody knows how many. An error breaks the answer off.
    Stream(Receiver<io::Result<Bytes>>),
    /// Events, for as long as there are any.
    Events(Events),
}

impl Body {
    /// How many bytes are still to be sent, as far as that is known: none of a stream.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty | Self::Stream(_) | Self::Events(_) => 0,
            Self::Full(bytes) => bytes.len() as u64,
            Self::File(file) => file.left,
        }
    }

    /// Whether [`size`](Self::size) is all there is.
    #[must_use]
    pub fn has_size(&self) -> bool {
        !matches!(self, Self::Stream(_) | Self::Events(_))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        let chunk = match body {
            Self::Empty => None,
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::File(file) => ready!(file.poll_chunk(cx)),
            Self::Stream(chunks) => ready!(chunks.poll_recv(cx)),
            Self::Events(events) => ready!(events.poll_chunk(cx)).map(Ok),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_size() && self.size() == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.has_size() { SizeHint::with_exact(self.size()) } else { SizeHint::default() }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Full(bytes.into())
    }
}

/// A piece of a [`FileBody`].
#[derive(Debug)]
pub enum Piece {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the file.
    File(ByteRange),
}

impl Piece {
    fn size(&self) -> u64 {
        match self {
            Self::Text(bytes) => bytes.len() as u64,
            Self::File(range) => range.size(),
        }
    }
}

/// Pieces of a file, sent one after the other.
#[derive(Debug)]
pub struct FileBody {
    file: Arc<File>,
    current: Piece,
    rest: VecDeque<Piece>,
    left: u64,
    /// The read that a blocking thread does for us.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// The file this is all of, if it is worth keeping.
    keep: Option<FileId>,
    /// False once the filesystem has said that it cannot read without waiting.
    inline: bool,
}

impl FileBody {
    /// The bytes `range` of `file`.
    #[must_use]
    pub fn single(file: File, range: ByteRange) -> Self {
        Self::pieces(file, [Piece::File(range)])
    }

    /// All of `file`, to be kept in memory when it is small.
    #[must_use]
    pub fn whole(file: File, id: FileId) -> Self {
        Self { keep: Some(id), ..Self::single(file, ByteRange { start: 0, end: id.size }) }
    }

    /// `pieces` one after the other.
    #[must_use]
    pub fn pieces(file: File, pieces: impl IntoIterator<Item = Piece>) -> Self {
        let mut pieces = pieces.into_iter();
        let current = pieces.next().unwrap_or_else(|| Piece::Text(Bytes::new()));
        let rest: VecDeque<_> = pieces.collect();
        let left = current.size() + rest.iter().map(Piece::size).sum::<u64>();
        Self { file: Arc::new(file), current, rest, left, reading: None, keep: None, inline: true }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        while self.current.size() == 0 {
            let Some(next) = self.rest.pop_front() else { return Poll::Ready(None) };
            self.current = next;
        }
        let chunk = match &mut self.current {
            Piece::Text(bytes) => std::mem::take(bytes),
            Piece::File(range) => {
                let range = *range;
                let chunk = match ready!(self.poll_read(range, cx)) {
                    Ok(chunk) if chunk.is_empty() => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    read => read,
                };
                let chunk = match chunk {
                    Ok(chunk) => chunk,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                if let Some(id) = self.keep.take() {
                    hot::put(id, &chunk);
                }
                self.current = Piece::File(ByteRange { start: range.start + chunk.len() as u64, ..range });
                chunk
            }
        };
        self.left -= chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }

    /// The first bytes of `range`, at most a buffer of them; none at the end of the file.
    fn poll_read(&mut self, range: ByteRange, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.reading.is_none() {
            let want = usize::try_from(range.size()).map_or(BUFFER, |size| size.min(BUFFER));
            if self.inline {
                match read_cached(&self.file, range.start, want) {
                    Ok(Some(chunk)) => return Poll::Ready(Ok(chunk)),
                    Ok(None) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.inline = false,
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            let file = Arc::clone(&self.file);
            self.reading = Some(tokio::task::spawn_blocking(move || read_waiting(&file, range.start, want)));
        }
        let reading = self.reading.as_mut().expect("because it was set above when there was none");
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(read.unwrap_or_else(|stopped| Err(io::Error::other(stopped))))
    }
}

/// Bytes that the page cache holds at `offset`, or `None` when it does not hold the first.
fn read_cached(file: &File, offset: u64, want: usize) -> rustix::io::Result<Option<Bytes>> {
    let mut buffer = Buffer::take();
    loop {
        let space = &mut [IoSliceMut::new(&mut buffer.space[..want])];
        match rustix::io::preadv2(file, space, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) => return Ok(Some(buffer.filled(read))),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

fn read_waiting(file: &File, offset: u64, want: usize) -> io::Result<Bytes> {
    let mut buffer = Buffer::take();
    loop {
        match file.read_at(&mut buffer.space[..want], offset) {
            Ok(read) => return Ok(buffer.filled(read)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes read at once: a connection holds one or two of these, however large its file is.
const BUFFER: usize = 128 * 1024;

/// How many unused buffers are kept: 8 MiB of them. More may be in use, two a connection.
const KEPT: usize = 64;

/// Buffers that nobody uses. Guards nothing else, and no lock is taken while it is held.
static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer of [`BUFFER`] bytes that goes back to [`FREE`] when it is dropped: zeroing and mapping a
/// new one costs more than the read.
struct Buffer {
    space: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    fn take() -> Self {
        let free = FREE.lock().expect("because nothing panics while holding it").pop();
        Self { space: free.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()), filled: 0 }
    }

    fn filled(mut self, bytes: usize) -> Bytes {
        self.filled = bytes;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.space[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock()
            && free.len() < KEPT
        {
            free.push(std::mem::take(&mut self.space));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    async fn collect(mut body: Body) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame {
                Ok(frame) => all.extend_from_slice(&frame.into_data().expect("because only data is made")),
                Err(error) => return (all, Some(error.kind())),
            }
        }
        (all, None)
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    #[tokio::test]
    async fn pieces_come_whole_and_in_order_whichever_way_they_are_read() {
        let bytes: Vec<u8> = (0..=255_u8).cycle().take(3 * BUFFER + 17).collect();
        for inline in [true, false] {
            let pieces = [
                Piece::File(range(5, 2 * BUFFER as u64 + 9)),
                Piece::Text(Bytes::from_static(b"--cut--")),
                Piece::File(range(0, 3)),
                Piece::Text(Bytes::from_static(b"end")),
            ];
            let mut body = FileBody::pieces(file(&bytes), pieces);
            body.inline = inline;
            let expected = [&bytes[5..2 * BUFFER + 9], b"--cut--", &bytes[..3], b"end"].concat();
            let body = Body::File(body);
            assert_eq!(body.size(), expected.len() as u64);
            assert!(collect(body).await == (expected, None), "inline: {inline}");
        }
    }

    #[tokio::test]
    async fn a_file_that_ends_early_fails_the_body() {
        for inline in [true, false] {
            let mut body = FileBody::single(file(b"short"), range(1, 9));
            body.inline = inline;
            assert_eq!(collect(Body::File(body)).await, (b"hort".to_vec(), Some(io::ErrorKind::UnexpectedEof)));
        }
    }

    #[tokio::test]
    async fn bodies_without_bytes_end_at_once() {
        for body in [Body::Empty, Body::Full(Bytes::new()), Body::File(FileBody::pieces(file(b""), []))] {
            assert!(body.is_end_stream());
            assert_eq!(collect(body).await, (Vec::new(), None));
        }
    }
}
