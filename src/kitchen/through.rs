//! Pass-through: a cook whose bytes go straight to whoever asked, and are kept nowhere.
//!
//! Nothing is queued: so many cook at once as there are workers, and a further one is refused. What
//! goes wrong before the first bytes are ready is said in words; after that the stream ends in an error,
//! and whoever sends it must break off, so that nobody takes it for whole. A cook ends when nobody
//! takes its bytes any more, and when it has taken too long, though it may be the reader who is slow.

use super::recipe::{Surroundings, Unmade};
use super::{Cooks, OrderError, Orders};
use crate::bundle::{Failure, FailureCode};
use crate::cook::{Control, CookError, Reason};
use crate::key::BundleKey;
use crate::metrics::CookOutcome;
use bytes::Bytes;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

/// Bytes sent at a time. A bundle smaller than this is whole before its first byte is sent.
const CHUNK: usize = 128 << 10;

/// Chunks that wait for the reader.
const WAITING: usize = 4;

/// The bytes of a bundle as they are made. After an error nothing follows, and the bundle is not whole.
pub type Stream = mpsc::Receiver<io::Result<Bytes>>;

/// Why nothing is streamed.
#[derive(Debug, thiserror::Error)]
pub enum ThroughError {
    /// As many cook as may.
    #[error("too many bundles are being cooked")]
    Busy,
    /// The cook failed before its first bytes.
    #[error("{}", .0.message)]
    Failed(Failure),
    /// As of an order.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl Orders {
    /// Whether a bundle could be cooked for whoever asks now, as far as a look at its object says.
    /// Blocking.
    pub fn could_cook(&self, key: &BundleKey) -> Result<(), OrderError> {
        self.check_blocked(&key.id())?;
        if self.is_known(key)? { Ok(()) } else { Err(OrderError::NotFound) }
    }
}

impl Cooks {
    /// Cooks a bundle for whoever asks now, and keeps nothing. Resolves when the first bytes are there.
    pub async fn cook_through(&self, key: BundleKey) -> Result<Stream, ThroughError> {
        let place = self.take_place().ok_or(ThroughError::Busy)?;
        let (chunks, stream) = mpsc::channel(WAITING);
        let (begun, first_bytes) = oneshot::channel();
        let (control, ended) = (Control::default(), Arc::new(Notify::new()));
        let watch =
            tokio::spawn(watch(chunks.clone(), control.clone(), Arc::clone(&ended), self.orders.limits().cook_timeout));
        let cooks = self.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            let buffer = Vec::with_capacity(CHUNK);
            let mut sink = Sink { chunks, begun: Some(begun), buffer, written: 0, ended, runtime };
            let started = Instant::now();
            let cooked = catch_unwind(AssertUnwindSafe(|| cooks.cook_into(&key, &control, &mut sink)));
            watch.abort();
            drop(place);
            let cooked = cooked.unwrap_or(Err(ThroughError::Failed(Failure {
                code: FailureCode::Interrupted,
                message: "the cook failed by a fault of larder's own; its log says more".to_owned(),
            })));
            let outcome = match &cooked {
                Ok(()) => Some(CookOutcome::Done { took: started.elapsed(), bytes: sink.written }),
                Err(ThroughError::Failed(failure)) => Some(CookOutcome::Failed(failure.code)),
                // Nothing was begun.
                Err(ThroughError::Busy | ThroughError::Order(_)) => None,
            };
            if let Some(outcome) = outcome {
                cooks.orders.metrics().cook_ended(&key, &outcome);
            }
            sink.end(key, cooked);
        });
        match first_bytes.await {
            Ok(Ok(())) => Ok(stream),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ThroughError::Busy),
        }
    }

    fn cook_into(&self, key: &BundleKey, control: &Control, sink: &mut Sink) -> Result<(), ThroughError> {
        self.orders.could_cook(key)?;
        // The store is not to be written, and its room is nobody's.
        let around = Surroundings {
            archive: self.orders.archive(),
            scratch: &std::env::temp_dir(),
            room: &|_| Ok(()),
            control,
            segments: None,
        };
        match self.make(key, &around, sink) {
            Ok(_) => Ok(()),
            Err(Unmade::Absent) => Err(OrderError::NotFound.into()),
            Err(Unmade::Catalogue(error)) => Err(OrderError::from(error).into()),
            Err(Unmade::Cook(error)) => Err(failed(&error)),
        }
    }

    fn take_place(&self) -> Option<Place> {
        let (most, taken) = (self.orders.limits().workers, &self.through);
        let entered = taken.try_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < most).then_some(n + 1));
        entered.ok().map(|_| Place(Arc::clone(taken)))
    }
}

/// Ends the cook when it takes too long, or nobody reads any more.
async fn watch(
    chunks: mpsc::Sender<io::Result<Bytes>>,
    control: Control,
    ended: Arc<Notify>,
    patience: std::time::Duration,
) {
    let reason = tokio::select! {
        () = chunks.closed() => Reason::Stop,
        () = tokio::time::sleep(patience) => Reason::Timeout,
    };
    control.cancel(reason);
    ended.notify_one();
}

fn failed(error: &CookError) -> ThroughError {
    tracing::debug!(%error, "cook failed");
    ThroughError::Failed(error.failure().unwrap_or_else(|| Failure {
        code: FailureCode::Interrupted,
        message: "nobody waited for it any more".to_owned(),
    }))
}

/// One of those that cook.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where a cook writes: chunks for whoever reads.
struct Sink {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    /// There until the first bytes are.
    begun: Option<oneshot::Sender<Result<(), ThroughError>>>,
    buffer: Vec<u8>,
    /// Bytes taken so far.
    written: u64,
    ended: Arc<Notify>,
    runtime: Handle,
}

impl Sink {
    /// Sends what was gathered, waiting for the reader as long as the cook may last.
    fn send(&mut self, chunk: io::Result<Bytes>) -> io::Result<()> {
        if let Some(begun) = self.begun.take() {
            let _ = begun.send(Ok(()));
        }
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.runtime.block_on(async {
            tokio::select! {
                sent = self.chunks.send(chunk) => sent.map_err(|_| gone()),
                () = self.ended.notified() => {
                    // For the next time, too.
                    self.ended.notify_one();
                    Err(gone())
                }
            }
        })
    }

    /// The last bytes, or the error in their place.
    fn end(mut self, key: BundleKey, cooked: Result<(), ThroughError>) {
        match (cooked, self.begun.take()) {
            (Ok(()), begun) => {
                self.begun = begun;
                let last = std::mem::take(&mut self.buffer);
                let _ = self.send(Ok(last.into()));
            }
            (Err(error), Some(begun)) => {
                let _ = begun.send(Err(error));
            }
            (Err(error), None) => {
                tracing::warn!(%key, %error, "a bundle broke off on its way to a client");
                // Dropping the channel alone would look like a good end: the error must arrive, or the
                // reader be gone.
                let _ = self.runtime.block_on(self.chunks.send(Err(io::Error::other("the cook failed"))));
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        if self.buffer.len() >= CHUNK {
            let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
            self.send(Ok(chunk.into()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
