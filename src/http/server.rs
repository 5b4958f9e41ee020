//! The accept loops and the life of a connection, HTTP/1.1 or HTTP/2 as its first bytes say.
//!
//! Owns how a connection ends and how the server stops; knows no route. A connection is
//! one task: hyper's future, a look by the watch now and then, and the word to stop. When it is over
//! the socket is closed in two steps (RFC 9112 section 9.6), or the client might lose the answer
//! that said why. Who gets in at all is decided at the `gate`.

use super::body::Body;
use super::exchange::exchange;
use super::gate::{Admission, Gate};
use super::give_back::keep_giving_back;
use super::held::{Budget, Purse};
use super::io::{Listener, Peer, Socket, Stream};
use super::watch::{Limits, Seen, Verdict, Watch};
use crate::metrics::Metrics;
use bytes::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::watch;
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
/// a 500. To an answer to HEAD the body is given too and taken away here. Connections and answers are counted in
/// `metrics`.
pub async fn run<S, F>(
    listeners: Vec<Listener>,
    service: S,
    limits: Limits,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) -> Drained
where
    S: Fn(Request<Bytes>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (phase, _) = watch::channel(Phase::Serving);
    let drain = limits.drain;
    let server = Arc::new(Server::new(service, limits, metrics));
    let upkeep = tokio::spawn(keep_giving_back());
    let mut doors = JoinSet::new();
    for listener in listeners {
        doors.spawn(accept(listener, Arc::clone(&server), phase.subscribe()));
    }
    shutdown.await;
    phase.send_replace(Phase::Draining);
    doors.join_all().await;
    let in_time = timeout(drain, server.gate.emptied()).await.is_ok();
    let cut = if in_time { 0 } else { server.gate.count() };
    phase.send_replace(Phase::Ended);
    upkeep.abort();
    Drained { cut }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    Draining,
    Ended,
}

/// Bytes of requests' bodies that an HTTP/2 client may send before they are looked at.
const WINDOW: u32 = 65_535;

/// With fewer bytes of a stream unsent, its next ones are asked for.
const SEND_BUFFER: usize = 16 << 10;

/// How long a connection that makes room for another may take to say so.
const FAREWELL: Duration = Duration::from_millis(50);

/// What all connections share.
struct Server<S> {
    service: S,
    limits: Limits,
    metrics: Metrics,
    hyper: auto::Builder<TokioExecutor>,
    gate: Arc<Gate>,
    budget: Arc<Budget>,
}

impl<S> Server<S> {
    fn new(service: S, limits: Limits, metrics: Metrics) -> Self {
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
            // Of what requests bring, and of what is handed over and not sent, so much waits for each stream.
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128);
        let gate = Arc::new(Gate::new(&limits));
        let budget = Arc::new(Budget::new(limits.held));
        Self { service, limits, metrics, hyper, gate, budget }
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
                let (server, phase) = (Arc::clone(&server), phase.clone());
                match server.gate.enter(peer) {
                    Some(admission) => drop(tokio::spawn(serve(socket, peer, server, admission, phase))),
                    None => drop(tokio::spawn(async move {
                        if let Some(admission) = server.gate.enter_for_another(peer).await {
                            serve(socket, peer, server, admission, phase).await;
                        } else {
                            server.metrics.turned_away();
                            server.gate.refuse(socket);
                        }
                    })),
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
    let socket = Arc::new(socket);
    let _open = server.metrics.connection();
    let mut ended = phase.clone();
    let life = async {
        let end = converse(Arc::clone(&socket), peer, &server, &admission, &mut phase).await;
        match end {
            End::Done if !admission.pulse.ended.load(Relaxed) => socket.linger().await,
            // What a client does not take is not kept for it.
            End::Dropped if admission.pulse.blocked.load(Relaxed) => socket.abandon(),
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
    admission: &Admission,
    phase: &mut watch::Receiver<Phase>,
) -> End
where
    S: Fn(Request<Bytes>, Peer) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let pulse = &admission.pulse;
    let account = Arc::new(Purse::new(Arc::clone(&server.budget)));
    let service = service_fn(|request| {
        let (server, held) = (Arc::clone(server), (Arc::clone(pulse), Arc::clone(&account)));
        async move {
            let about = (&server.limits, &server.metrics);
            Ok::<_, Infallible>(exchange(request, peer, &server.service, about, held).await)
        }
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
            () = admission.leave.wished() => {
                if !Seen::now(pulse).is_idle() {
                    admission.leave.decline();
                    continue;
                }
                // Told, where that can be said; an idle client of HTTP/1.1 is used to it.
                connection.as_mut().graceful_shutdown();
                let _ = timeout(FAREWELL, connection.as_mut()).await;
                return End::Idle;
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
