//! Bodies that are pieces of a file. Owns how a file is read, and the buffers; knows no header and no status.
//!
//! What the page cache holds is read where the connection runs (`preadv2` with `RWF_NOWAIT` never
//! waits for a disk); only what it does not hold goes to a blocking thread. A file that ends before
//! its piece does makes the body fail, and hyper then closes the connection: a client sees a cut
//! transfer, never one that was padded.
//!
//! A buffer is taken when the connection wants bytes, is as large as the connection's purse allows (`held`), and is
//! held until the kernel has taken its bytes.

use super::descriptors::{Lent, Reopen};
use super::digests::FileId;
use super::held::{Held, Purse};
use super::hot;
use super::places::Place;
use super::range::ByteRange;
use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

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

/// Where the bytes are read from.
#[derive(Clone, Debug)]
enum Source {
    Own(Arc<File>),
    Lent(Arc<Lent>),
}

impl Source {
    fn open(&self) -> Option<Arc<File>> {
        match self {
            Self::Own(file) => Some(Arc::clone(file)),
            Self::Lent(lent) => lent.open(),
        }
    }

    /// Blocking.
    fn reopened(&self) -> io::Result<Arc<File>> {
        match self {
            Self::Own(file) => Ok(Arc::clone(file)),
            Self::Lent(lent) => lent.reopened(),
        }
    }
}

/// Pieces of a file, sent one after the other.
#[derive(Debug)]
pub struct FileBody {
    source: Source,
    current: Piece,
    rest: VecDeque<Piece>,
    left: u64,
    /// The read that a blocking thread does for us.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    /// The file this is all of, if it is worth keeping.
    keep: Option<FileId>,
    /// False once the filesystem has said that it cannot read without waiting.
    inline: bool,
    /// What its file takes a place of until it is sent.
    _place: Option<Place>,
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
        let source = Source::Own(Arc::new(file));
        Self { source, current, rest, left, reading: None, keep: None, inline: true, _place: None }
    }

    /// The same, whose file may be closed while nobody takes its bytes, and is then opened again.
    #[must_use]
    pub fn reopened(mut self, id: FileId, reopen: Reopen) -> Self {
        if let Source::Own(file) = self.source {
            self.source = match Arc::try_unwrap(file) {
                Ok(file) => Source::Lent(Lent::new(file, id, reopen)),
                Err(shared) => Source::Own(shared),
            };
        }
        self
    }

    /// The same, which holds `place` until it is sent.
    pub(super) fn in_place(self, place: Place) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// How many bytes are still to come.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        purse: Option<&Arc<Purse>>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        while self.current.size() == 0 {
            let Some(next) = self.rest.pop_front() else { return Poll::Ready(None) };
            self.current = next;
        }
        let chunk = match &mut self.current {
            Piece::Text(bytes) => std::mem::take(bytes),
            Piece::File(range) => {
                let range = *range;
                let chunk = match self.kept(purse) {
                    Some(kept) => kept,
                    None => match ready!(self.poll_read(range, cx, purse)) {
                        Ok(chunk) if chunk.is_empty() => {
                            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                        }
                        Ok(chunk) => chunk,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    },
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

    /// The whole file, when it is kept in memory and the connection may hold all of it.
    fn kept(&mut self, purse: Option<&Arc<Purse>>) -> Option<Bytes> {
        let id = self.keep.filter(|id| self.reading.is_none() && id.size <= hot::LARGEST)?;
        let bytes = hot::get(&id)?;
        self.keep = None;
        let Some(purse) = purse else { return Some(bytes) };
        // Others share these bytes while they are kept, and nobody does when they no longer are.
        let held = purse.hold(bytes.len())?;
        Some(Bytes::from_owner(Kept { bytes, _held: held }))
    }

    /// The first bytes of `range`, at most a buffer of them; none at the end of the file.
    fn poll_read(
        &mut self,
        range: ByteRange,
        cx: &mut Context<'_>,
        purse: Option<&Arc<Purse>>,
    ) -> Poll<io::Result<Bytes>> {
        if self.reading.is_none() {
            let mut buffer = Buffer::take(usize::try_from(range.size()).unwrap_or(usize::MAX), purse);
            if self.inline
                && let Some(file) = self.source.open()
            {
                match buffer.fill_from_cache(&file, range.start) {
                    Ok(true) => return Poll::Ready(Ok(Bytes::from_owner(buffer))),
                    Ok(false) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.inline = false,
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            let source = self.source.clone();
            self.reading = Some(tokio::task::spawn_blocking(move || {
                buffer.fill(&*source.reopened()?, range.start)?;
                Ok(Bytes::from_owner(buffer))
            }));
        }
        let reading = self.reading.as_mut().expect("because it was set above when there was none");
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(read.unwrap_or_else(|stopped| Err(io::Error::other(stopped))))
    }
}

/// Bytes read at once: a connection of HTTP/1.1 holds one or two of these, however large its file is.
const BUFFER: usize = 128 * 1024;

/// How many unused buffers are kept: 8 MiB of them.
const KEPT: usize = 64;

/// Buffers that nobody uses. Guards nothing else, and no lock is taken while it is held.
static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Lets go of the buffers that are kept, but for a few.
pub(super) fn let_go() {
    const FEW: usize = 8;
    if let Ok(mut free) = FREE.lock() {
        free.truncate(FEW);
        free.shrink_to_fit();
    }
}

/// Room for bytes on their way. One of [`BUFFER`] bytes goes back to [`FREE`] when it is dropped: zeroing and
/// mapping a new one costs more than the read.
struct Buffer {
    space: Box<[u8]>,
    want: usize,
    filled: usize,
    _held: Option<Held>,
}

impl Buffer {
    /// Room for `want` bytes, or for as many as may be held.
    fn take(want: usize, purse: Option<&Arc<Purse>>) -> Self {
        // Over half of one, a whole one is taken, and paid for.
        let size = if want > BUFFER / 2 { BUFFER } else { want };
        let held = purse.map(|purse| purse.hold_some(size));
        let size = held.as_ref().map_or(size, |held| held.size);
        let pooled = || FREE.lock().expect("because nothing panics while holding it").pop();
        let free = if size == BUFFER { pooled() } else { None };
        let space = free.unwrap_or_else(|| vec![0; size].into_boxed_slice());
        Self { space, want: want.min(size), filled: 0, _held: held }
    }

    /// Takes what the page cache holds at `offset`; `false` when it does not hold the first byte.
    fn fill_from_cache(&mut self, file: &File, offset: u64) -> rustix::io::Result<bool> {
        loop {
            let space = &mut [IoSliceMut::new(&mut self.space[..self.want])];
            match rustix::io::preadv2(file, space, offset, ReadWriteFlags::NOWAIT) {
                Ok(read) => {
                    self.filled = read;
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn fill(&mut self, file: &File, offset: u64) -> io::Result<()> {
        loop {
            match file.read_at(&mut self.space[..self.want], offset) {
                Ok(read) => {
                    self.filled = read;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.space[..self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.space.len() == BUFFER
            && let Ok(mut free) = FREE.lock()
            && free.len() < KEPT
        {
            free.push(std::mem::take(&mut self.space));
        }
    }
}

/// A kept file on its way.
struct Kept {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::body::{Body, tests::collect};
    use super::super::held::{Budget, HeldLimits, LEAST};
    use super::*;
    use std::io::Write;

    pub(in super::super) fn file(bytes: &[u8]) -> File {
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
    async fn a_body_holds_no_more_than_its_connection_may_and_is_whole_in_small_pieces_too() {
        let bytes: Vec<u8> = (0..=250_u8).cycle().take(3 * BUFFER).collect();
        let limits = HeldLimits { in_all: 0, share: 40 << 10, most: 0 };
        let purse = Arc::new(Purse::new(Arc::new(Budget::new(limits))));
        for keep in [true, false] {
            let id = FileId { dev: 7, ino: 7, size: bytes.len() as u64, mtime: 7 };
            let mut body = if keep {
                FileBody::whole(file(&bytes), id)
            } else {
                FileBody::single(file(&bytes), range(0, bytes.len() as u64))
            };
            let (mut chunks, mut all) = (Vec::new(), Vec::new());
            while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx, Some(&purse))).await {
                let chunk = chunk.unwrap();
                all.extend_from_slice(&chunk);
                // None is let go of, as of a stream whose client takes nothing.
                chunks.push(chunk);
            }
            assert!(all == bytes, "keep: {keep}");
            let sizes: Vec<_> = chunks.iter().map(Bytes::len).collect();
            assert_eq!(sizes[..4], [16 << 10, 4 << 10, LEAST, LEAST], "keep: {keep}");
        }
    }
}
