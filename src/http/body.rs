//! Bodies of answers: nothing, bytes in memory, pieces of a file, rows as they are read, or events as they come,
//! without a box on the way of a hit. Knows no header and no status.

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::Receiver;

use super::descriptors::Reopen;
use super::digests::FileId;
use super::events::Events;
pub use super::file_body::{FileBody, Piece};
use super::held::Purse;
use super::pages::Pages;

/// The body of an answer; but for a stream, for pages and for events its size is known.
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
    /// Rows of the catalogue, read as they are sent.
    Pages(Pages),
    /// Events, for as long as there are any.
    Events(Events),
}

impl Body {
    /// How many bytes are still to be sent, as far as that is known: none of a stream.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty | Self::Stream(_) | Self::Pages(_) | Self::Events(_) => 0,
            Self::Full(bytes) => bytes.len() as u64,
            Self::File(file) => file.left(),
        }
    }

    /// Whether [`size`](Self::size) is all there is.
    #[must_use]
    pub fn has_size(&self) -> bool {
        !matches!(self, Self::Stream(_) | Self::Pages(_) | Self::Events(_))
    }

    /// The same, whose file, if it is one, may be closed while nobody takes its bytes.
    pub(super) fn reopened(self, id: FileId, reopen: Reopen) -> Self {
        match self {
            Self::File(file) => Self::File(file.reopened(id, reopen)),
            other => other,
        }
    }

    /// Whether no bytes will come.
    pub(super) fn is_over(&self) -> bool {
        self.has_size() && self.size() == 0
    }

    /// The next bytes, no more of them than `purse` has room for, where that can be chosen.
    pub(super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        purse: Option<&Arc<Purse>>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(match self {
            Self::Empty => None,
            Self::Full(bytes) if bytes.is_empty() => None,
            Self::Full(bytes) => Some(Ok(std::mem::take(bytes))),
            Self::File(file) => ready!(file.poll_chunk(cx, purse)),
            Self::Stream(chunks) => ready!(chunks.poll_recv(cx)),
            Self::Pages(pages) => ready!(pages.poll_chunk(cx, purse)),
            Self::Events(events) => ready!(events.poll_chunk(cx)).map(Ok),
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.get_mut().poll_chunk(cx, None).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over()
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

#[cfg(test)]
pub(super) mod tests {
    use super::super::file_body::tests::file;
    use super::*;

    pub(in super::super) async fn collect(mut body: Body) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut all = Vec::new();
        while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx, None)).await {
            match chunk {
                Ok(chunk) => all.extend_from_slice(&chunk),
                Err(error) => return (all, Some(error.kind())),
            }
        }
        (all, None)
    }

    #[tokio::test]
    async fn bodies_without_bytes_end_at_once() {
        for body in [Body::Empty, Body::Full(Bytes::new()), Body::File(FileBody::pieces(file(b""), []))] {
            assert!(body.is_end_stream());
            assert_eq!(collect(body).await, (Vec::new(), None));
        }
    }
}
