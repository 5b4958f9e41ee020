//! Sockets: listeners of both kinds, and the stream that hyper reads and writes. The stream counts
//! what passes, and `watch` judges by these counts; nothing here closes a connection by itself.

use bytes::BufMut;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where connections come in.
#[derive(Debug)]
pub enum Listener {
    /// An address and port.
    Tcp(TcpListener),
    /// A socket in the filesystem; who may connect is a matter of its mode.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

impl Listener {
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A client that is gone already is found out by the first read.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), Peer::Tcp(address)))
            }
            Self::Unix(listener) => Ok((Socket::Unix(listener.accept().await?.0), Peer::Unix)),
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A client with an address.
    Tcp(SocketAddr),
    /// A process of this machine.
    Unix,
}

/// A connected socket. It is shared, so that it can be closed gently after hyper is done with it.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Calls the same method of either kind of stream.
macro_rules! either {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl Socket {
    /// Says that no more will be sent; what the client still sends can be read.
    pub(super) fn finish(&self) {
        let fd = either!(self, stream => stream.as_fd());
        // It fails when the client is gone, and then there is nobody to tell.
        let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
    }

    /// Makes the close throw away what the client has not taken, instead of keeping it in the kernel.
    pub(super) fn abandon(&self) {
        if let Self::Tcp(stream) = self {
            let _ = stream.set_zero_linger();
        }
    }

    /// Closes our direction and reads what the client still sends for a while: closing with bytes unread
    /// would reset the connection, and take the answer away from under the client.
    pub(super) async fn linger(&self) {
        const MOST: usize = 4 << 20;
        self.finish();
        // Too late is as good as done: the client has had its time.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.discard(MOST)).await;
    }

    /// Sends what fits without waiting.
    pub(super) fn send_now(&self, bytes: &[u8]) {
        let _ = either!(self, stream => stream.try_write(bytes));
    }

    /// Reads and throws away, up to `most` bytes or the end.
    pub(super) async fn discard(&self, most: usize) {
        let mut space = [0; 4096];
        let mut read = 0;
        while read < most {
            if either!(self, stream => stream.readable().await).is_err() {
                return;
            }
            match either!(self, stream => stream.try_read(&mut space)) {
                Ok(0) => return,
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut impl BufMut) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_read_ready(cx)))?;
            match either!(self, stream => stream.try_read_buf(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(cx)))?;
            match either!(self, stream => stream.try_write_vectored(slices)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }
}

/// What has passed on a connection. Written by the stream and by the requests on it, read by the
/// watch and by the gate; each number stands alone, so no order between them is needed.
#[derive(Debug)]
pub(super) struct Pulse {
    /// When it was opened.
    opened: Instant,
    /// Milliseconds from then to the end of the last request; what it says while one is under way means nothing.
    rested: AtomicU64,
    /// Bytes read.
    pub(super) read: AtomicU64,
    /// Bytes the kernel has taken.
    pub(super) written: AtomicU64,
    /// Whether the last write found no room.
    pub(super) blocked: AtomicBool,
    /// Whether the client has said that it sends no more.
    pub(super) ended: AtomicBool,
    /// Requests begun, ever.
    pub(super) requests: AtomicU64,
    /// Requests begun whose answer is not handed over whole.
    pub(super) in_flight: AtomicUsize,
    /// Bodies of which there is something that the client has not taken.
    pub(super) sending: AtomicUsize,
    /// Whether it speaks HTTP/2.
    pub(super) http2: AtomicBool,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            opened: Instant::now(),
            rested: AtomicU64::new(0),
            read: AtomicU64::new(0),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
        }
    }
}

impl Pulse {
    /// A request begins.
    pub(super) fn begin(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A request is over.
    pub(super) fn end(&self) {
        if self.in_flight.fetch_sub(1, Relaxed) == 1 {
            let since = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.rested.store(since, Relaxed);
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.load(Relaxed) == 0 && !self.blocked.load(Relaxed)
    }

    /// Since when nothing is under way, if nothing is.
    pub(super) fn idle_since(&self) -> Instant {
        self.opened + Duration::from_millis(self.rested.load(Relaxed))
    }
}

/// The stream of one connection, as hyper sees it.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: Arc<Socket>,
    pub(super) pulse: Arc<Pulse>,
}

impl Stream {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.blocked.store(written.is_pending(), Relaxed);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.pulse.written.fetch_add(*bytes as u64, Relaxed);
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.socket.poll_read(cx, buffer))?;
        self.pulse.read.fetch_add(read as u64, Relaxed);
        if read == 0 {
            self.pulse.ended.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.count(self.socket.poll_write(cx, &[IoSlice::new(bytes)]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count(self.socket.poll_write(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.finish();
        Poll::Ready(Ok(()))
    }
}
