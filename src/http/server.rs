//! The accept loops and the life of a connection, HTTP/1.1 or HTTP/2 as its first bytes say.
//!
//! Owns who gets in, how a connection ends and how the server stops; knows no route. A connection is
//! one task: hyper's future, a look by the watch now and then, and the word to stop. When it is over
//! the socket is closed in two steps (RFC 9112 section 9.6), or the client might lose the answer
//! that said why.
//!
//! A permit is held as long as a connection lives; all permits back means that the server is empty.

use super::body::Body;
use super::exchange::exchange;
use super::io::{Listener, Peer, Pulse, Socket, Stream};
use super::watch::{Limits, Seen, Verdict, Watch};
use bytes::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they took longer than `Limits::drain`.
    pub cut: usize,
}

/// Serves `listeners` with `service` until `shutdown` is done; then accepts no more, closes idle
/// connections, and gives answers under way `limits.drain` to finish.
///
/// A request comes with its body read, and a `Host` that names a host. A `service` that panics makes
/// a 500. To an answer to HEAD the body is given too and taken away here.
pub async fn run<S, F>(
    listeners: Vec<Listener>,
    service: S,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    S: Fn(Request<Bytes>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (phase, _) = watch::channel(Phase::Serving);
    let drain = limits.drain;
    let server = Arc::new(Server::new(service, limits));
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(accept(listener, Arc::clone(&server), phase.subscribe()));
    }
    shutdown.await;
    phase.send_replace(Phase::Draining);
    doors.join_all().await;
    let in_time = timeout(drain, server.gate.emptied()).await.is_ok();
    let cut = if in_time { 0 } else { server.gate.inside() };
    phase.send_replace(Phase::Ended);
    Drained { cut }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    Ended,
}

/// What all connections share.
struct Server<S> {
    service: S,
    limits: Limits,
    hyper: auto::Builder<TokioExecutor>,
    gate: Arc<Gate>,
}

impl<S> Server<S> {
    fn new(service: S, limits: Limits) -> Self {
        let mut hyper = auto::Builder::new(TokioExecutor::new());
        // hyper's own limit on heads counts idle time as well; ours tells the two apart. A body is
        // handed over a buffer at a time, so this bounds what a connection holds.
        hyper
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .half_close(true)
            .max_buf_size(limits.head_bytes.max(8192));
        hyper
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(128 * 1024)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128);
        let gate = Arc::new(Gate::new(&limits));
        Self { service, limits, hyper, gate }
    }
}

async fn accept<S, F>(listener: Listener, server: Arc<Server<S>>, mut phase: watch::Receiver<Phase>)
where
    S: Fn(Request<Bytes>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut pause = Pause::default();
    loop {
        let accepted = tokio::select! {
            _ = phase.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = Pause::default();
                match server.gate.enter(peer) {
                    Some(admission) => {
                        tokio::spawn(serve(socket, peer, Arc::clone(&server), admission, phase.clone()));
                    }
                    None => server.gate.refuse(socket),
                }
            }
            Err(error) => pause.after(&error).await,
        }
    }
}

/// How long to wait when no connection can be accepted, longer each time: out of descriptors, the
/// listener stays readable and a loop without it would spin.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Pause {
    async fn after(&mut self, error: &io::Error) {
        // These are about the one connection, which is gone.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            return;
        }
        tracing::warn!("cannot accept a connection: {error}");
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With an answer, or the client left.
    Done,
    /// Nothing was under way.
    Idle,
    /// Against the client.
    Dropped,
}

async fn serve<S, F>(
    socket: Socket,
    peer: Peer,
    server: Arc<Server<S>>,
    admission: Admission,
    mut phase: watch::Receiver<Phase>,
) where
    S: Fn(Request<Bytes>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let _admission = admission;
    let socket = Arc::new(socket);
    let pulse = Arc::new(Pulse::default());
    let mut ended = phase.clone();
    let life = async {
        let end = converse(Arc::clone(&socket), peer, &server, &pulse, &mut phase).await;
        match end {
            End::Done if !pulse.ended.load(Relaxed) => linger(&socket).await,
            // What a client does not take is not kept for it.
            End::Dropped if pulse.blocked.load(Relaxed) => socket.abandon(),
            End::Done | End::Idle | End::Dropped => {}
        }
    };
    tokio::select! {
        () = life => {}
        _ = ended.wait_for(|phase| *phase == Phase::Ended) => socket.abandon(),
    }
}

/// Serves requests until hyper, the watch or the client ends it.
async fn converse<S, F>(
    socket: Arc<Socket>,
    peer: Peer,
    server: &Arc<Server<S>>,
    pulse: &Arc<Pulse>,
    phase: &mut watch::Receiver<Phase>,
) -> End
where
    S: Fn(Request<Bytes>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(|request| {
        let (server, pulse) = (Arc::clone(server), Arc::clone(pulse));
        async move { Ok::<_, Infallible>(exchange(request, peer, &server.service, &server.limits, pulse).await) }
    });
    let stream = TokioIo::new(Stream { socket, pulse: Arc::clone(pulse) });
    let mut connection = pin!(server.hyper.serve_connection(stream, service));
    let mut watch = Watch::new(Instant::now());
    let mut ticks = interval(server.limits.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing: Option<Instant> = None;
    let mut end = End::Done;
    loop {
        let close = tokio::select! {
            biased;
            _ = connection.as_mut() => return end,
            _ = ticks.tick() => {
                let (now, seen) = (Instant::now(), Seen::now(pulse));
                let overdue = closing.is_some_and(|since| now - since >= server.limits.head);
                match watch.look(now, &seen, &server.limits) {
                    Verdict::Drop => return End::Dropped,
                    _ if overdue && seen.is_idle() => return End::Dropped,
                    verdict => verdict == Verdict::Close,
                }
            }
            changed = phase.changed(), if closing.is_none() => {
                if changed.is_err() {
                    return End::Dropped;
                }
                true
            }
        };
        if close && closing.is_none() {
            closing = Some(Instant::now());
            if Seen::now(pulse).is_idle() {
                end = End::Idle;
            }
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Closes our direction and reads what the client still sends for a while: closing with bytes unread
/// would reset the connection, and take the answer away from under the client.
async fn linger(socket: &Socket) {
    const MOST: usize = 4 << 20;
    socket.finish();
    // Too late is as good as done: the client has had its time.
    let _ = timeout(Duration::from_secs(2), socket.discard(MOST)).await;
}

/// Counts who is inside.
struct Gate {
    permits: Arc<Semaphore>,
    all: usize,
    per_address: usize,
    /// Connections by address. No other lock is taken while it is held.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    /// Room for telling those who do not get in.
    refusals: Arc<Semaphore>,
}

impl Gate {
    fn new(limits: &Limits) -> Self {
        let all = limits.connections.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            permits: Arc::new(Semaphore::new(all)),
            all,
            per_address: limits.connections_per_address,
            addresses: Mutex::new(HashMap::new()),
            refusals: Arc::new(Semaphore::new(64)),
        }
    }

    fn enter(self: &Arc<Self>, peer: Peer) -> Option<Admission> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let address = counted(peer);
        if let Some(address) = address {
            let mut addresses = self.addresses.lock().expect("because nothing panics while holding it");
            let inside = addresses.entry(address).or_insert(0);
            if *inside >= self.per_address {
                return None;
            }
            *inside += 1;
        }
        Some(Admission { gate: Arc::clone(self), address, _permit: permit })
    }

    /// Tells a client that there is no room, without waiting for it; of many only some are told.
    fn refuse(&self, socket: Socket) {
        const ANSWER: &[u8] =
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _permit = permit;
            socket.send_now(ANSWER);
            linger(&socket).await;
        });
    }

    async fn emptied(&self) {
        let all = u32::try_from(self.all).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }

    fn inside(&self) -> usize {
        self.all - self.permits.available_permits()
    }
}

/// One connection's place inside.
struct Admission {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let Ok(mut addresses) = self.gate.addresses.lock() else { return };
        if let Some(inside) = addresses.get_mut(&address) {
            *inside -= 1;
            if *inside == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// What a client is counted by: an IPv6 user commonly has a whole /64.
fn counted(peer: Peer) -> Option<IpAddr> {
    let Peer::Tcp(address) = peer else { return None };
    let ip = address.ip().to_canonical();
    match ip {
        _ if ip.is_loopback() => None,
        IpAddr::V4(_) => Some(ip),
        IpAddr::V6(ip) => Some(IpAddr::V6((u128::from(ip) >> 64 << 64).into())),
    }
}
