//! One request and its answer: what is refused before any route sees it, the reading of a request's
//! body, and what is put right on every answer. Knows no socket.
//!
//! hyper refuses what it cannot parse; this adds what RFC 9112 leaves to the server: `Host`, the
//! length of the target, the size of the body. A request's body is read before its route is called,
//! so the next request on the connection is always where it should be.

use super::body::Body;
use super::held::{Held, LEAST, Purse, REQUEST};
use super::io::{Peer, Pulse};
use super::problem::Problem;
use super::scrape::Routed;
use super::watch::Limits;
use crate::kitchen::RequestId;
use crate::metrics::Metrics;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;
use tracing::Level;

/// Answers `request` with `service`, or refuses it.
pub(super) async fn exchange<S, F>(
    request: Request<Incoming>,
    peer: Peer,
    service: &S,
    (limits, metrics): (&Limits, &Metrics),
    (pulse, account): (Arc<Pulse>, Arc<Purse>),
) -> Response<Sending>
where
    S: Fn(Request<Bytes>, Peer) -> F,
    F: Future<Output = Response<Body>>,
{
    let (version, began) = (request.version(), Instant::now());
    pulse.http2.store(version == Version::HTTP_2, Relaxed);
    let under_way = UnderWay::begin(pulse);
    let is_head = request.method() == Method::HEAD;
    let id = request_id(&request);
    let asked = tracing::enabled!(Level::DEBUG).then(|| (request.method().clone(), request.uri().clone()));
    // RFC 9112 section 6.1: with a Transfer-Encoding the connection ends here, for there may have been
    // a Content-Length too (hyper takes it away) that somebody in between believed.
    let mut close = request.headers().contains_key(header::TRANSFER_ENCODING);
    // What hyper holds of a request and of its answer, and the head for as long as it is looked at.
    let (place, head) = (account.hold(REQUEST), account.hold(head_size(&request)));
    let received = match (&place, &head) {
        (Some(_), Some(_)) => receive(request, limits, &account).await,
        _ => Err(Refusal { problem: too_much(), close: false }),
    };
    let mut response = match received {
        // In a box: the rest of a request lives for as long as its answer is sent, and this is the largest of it.
        Ok((request, _held)) => match id.clone() {
            Some(id) => Box::pin(id.within(call(service, request, peer))).await,
            None => Box::pin(call(service, request, peer)).await,
        },
        Err(refusal) => {
            close |= refusal.close;
            refusal.problem.response()
        }
    };
    drop(head);
    if is_head {
        remove_body(&mut response);
    }
    let full = charge(&mut response, &account);
    if close && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let route = response.extensions_mut().remove::<Routed>().map_or("refused", |routed| routed.0);
    metrics.answered(route, response.status().as_u16(), began.elapsed());
    if let Some(value) = id.as_ref().and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some((method, target)) = asked {
        let _within = id.as_ref().map(|id| id.span().entered());
        tracing::debug!(%method, %target, status = response.status().as_u16(), "answered");
    }
    response.map(|body| Sending::new(body, under_way, account, [place, full]))
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id that the web server gave a request; one of larder's own for what leaves lines in the log that are to be
/// found together: orders, and everything where everything is logged.
fn request_id<B>(request: &Request<B>) -> Option<RequestId> {
    let given = request.headers().get(REQUEST_ID).and_then(|id| RequestId::parse(id.to_str().ok()?));
    let is_followed = || *request.method() == Method::POST || tracing::enabled!(Level::DEBUG);
    given.or_else(|| is_followed().then(RequestId::random))
}

/// About what the head of a request takes in memory.
fn head_size<B>(request: &Request<B>) -> usize {
    const FIELD: usize = 96;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    request.headers().iter().fold(target, |size, (name, value)| size + FIELD + name.as_str().len() + value.len())
}

/// Charges an answer that is whole in memory, or puts a refusal in its place.
fn charge(response: &mut Response<Body>, purse: &Arc<Purse>) -> Option<Held> {
    let Body::Full(bytes) = response.body() else { return None };
    if bytes.len() <= LEAST {
        return None;
    }
    let held = purse.hold(bytes.len());
    if held.is_none() {
        *response = too_much().response();
    }
    held
}

/// More is held for this client than may be.
fn too_much() -> Problem {
    let detail = "too much waits to be taken by clients at the moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(1)
}

/// Why a request goes to no route.
struct Refusal {
    problem: Problem,
    /// Whether what follows on the connection can no longer be told from the request's body.
    close: bool,
}

impl Refusal {
    fn bad(code: &'static str, detail: &'static str) -> Self {
        Self { problem: Problem::new(StatusCode::BAD_REQUEST, code, detail), close: true }
    }

    fn too_large(limits: &Limits) -> Self {
        let detail = format!("a body has at most {} bytes", limits.body_bytes);
        Self { problem: Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail), close: true }
    }
}

/// The request with its body read, and what is held for that.
async fn receive(
    request: Request<Incoming>,
    limits: &Limits,
    purse: &Arc<Purse>,
) -> Result<(Request<Bytes>, Vec<Held>), Refusal> {
    check_target(&request, limits)?;
    check_host(&request)?;
    let (parts, mut body) = request.into_parts();
    if body.is_end_stream() {
        return Ok((Request::from_parts(parts, Bytes::new()), Vec::new()));
    }
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(Refusal::too_large(limits));
    }
    let Ok(read) = tokio::time::timeout(limits.body, read_body(&mut body, limits, purse)).await else {
        let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not come in time");
        return Err(Refusal { problem, close: true });
    };
    let (bytes, held) = read?;
    Ok((Request::from_parts(parts, bytes), held))
}

fn check_target<B>(request: &Request<B>, limits: &Limits) -> Result<(), Refusal> {
    if request.method() == Method::CONNECT {
        return Err(Refusal { problem: Problem::method_not_allowed("GET, HEAD, POST"), close: true });
    }
    let size = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if size > limits.target_bytes {
        let detail = format!("a request target has at most {} bytes", limits.target_bytes);
        let problem = Problem::new(StatusCode::URI_TOO_LONG, "target_too_long", detail);
        return Err(Refusal { problem, close: false });
    }
    Ok(())
}

/// RFC 9112 section 3.2: HTTP/1.1 has exactly one `Host`, HTTP/1.0 at most one, and it names a host.
/// RFC 9113 section 8.3.1: beside `:authority` it says the same.
fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut lines = request.headers().get_all(header::HOST).into_iter();
    let (host, another) = (lines.next(), lines.next());
    if another.is_some() {
        return Err(Refusal::bad("host", "there is more than one Host"));
    }
    let Some(host) = host else {
        let is_needed = match request.version() {
            Version::HTTP_11 => true,
            Version::HTTP_2 => request.uri().authority().is_none(),
            _ => false,
        };
        return if is_needed { Err(Refusal::bad("host", "there is no Host")) } else { Ok(()) };
    };
    let named = Authority::try_from(host.as_bytes()).ok().filter(|named| !named.as_str().contains('@'));
    let Some(named) = named.filter(|named| !named.host().is_empty()) else {
        return Err(Refusal::bad("host", "Host names no host"));
    };
    if request.version() == Version::HTTP_2 && request.uri().authority().is_some_and(|target| *target != named) {
        return Err(Refusal::bad("host", "Host and :authority differ"));
    }
    Ok(())
}

async fn read_body(body: &mut Incoming, limits: &Limits, purse: &Arc<Purse>) -> Result<(Bytes, Vec<Held>), Refusal> {
    let (mut all, mut held) = (BytesMut::new(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return Err(Refusal::bad("body", "the body is malformed or cut short")) };
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > limits.body_bytes {
            return Err(Refusal::too_large(limits));
        }
        if data.is_empty() {
            continue;
        }
        // Twice, for the bytes grow by copying.
        held.push(purse.hold(2 * data.len()).ok_or_else(|| Refusal { problem: too_much(), close: true })?);
        all.extend_from_slice(&data);
    }
    Ok((all.freeze(), held))
}

/// The route's answer; a 500 when it panics, for one bug must not end the other requests of a
/// connection.
async fn call<S, F>(service: &S, request: Request<Bytes>, peer: Peer) -> Response<Body>
where
    S: Fn(Request<Bytes>, Peer) -> F,
    F: Future<Output = Response<Body>>,
{
    let mut answer = pin!(async { service(request, peer).await });
    let polled = std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Some),
        Err(_) => Poll::Ready(None),
    });
    polled.await.unwrap_or_else(|| {
        tracing::error!("a request's handler panicked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed to answer").response()
    })
}

/// RFC 9110 section 9.3.2: the headers are those of the GET, its length too.
fn remove_body(response: &mut Response<Body>) {
    // hyper sends none of it, and no length.
    if !response.body().has_size() {
        return;
    }
    let size = std::mem::take(response.body_mut()).size();
    let has_length = !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_length {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| size.into());
    }
}

/// Counts a request as under way for as long as it lives.
struct UnderWay {
    pulse: Arc<Pulse>,
    is_sending: bool,
}

impl UnderWay {
    fn begin(pulse: Arc<Pulse>) -> Self {
        pulse.begin();
        Self { pulse, is_sending: false }
    }

    /// Whether there is something that the client has not taken.
    fn sends(&mut self, is_sending: bool) {
        match (self.is_sending, is_sending) {
            (false, true) => drop(self.pulse.sending.fetch_add(1, Relaxed)),
            (true, false) => drop(self.pulse.sending.fetch_sub(1, Relaxed)),
            _ => {}
        }
        self.is_sending = is_sending;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.sends(false);
        self.pulse.end();
    }
}

/// A body on its way. hyper drops it when it has taken all of it, and looks at it only when the client has taken what
/// was handed over before: until then, and from the beginning, there is something to take. That is what the watch
/// goes by; it does not while the bytes themselves are long in coming, as events are.
pub(super) struct Sending {
    body: Body,
    under_way: UnderWay,
    purse: Arc<Purse>,
    _held: [Option<Held>; 2],
}

impl Sending {
    fn new(body: Body, mut under_way: UnderWay, purse: Arc<Purse>, held: [Option<Held>; 2]) -> Self {
        under_way.sends(!body.is_over());
        Self { body, under_way, purse, _held: held }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        let polled = this.body.poll_chunk(cx, Some(&this.purse));
        this.under_way.sends(polled.is_ready());
        polled.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(version: Version, target: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        check_host(&request.body(()).unwrap()).is_err()
    }

    #[test]
    fn a_request_names_its_host_once() {
        let cases: &[(Version, &str, &[&str], bool)] = &[
            (Version::HTTP_11, "/", &["a.example"], false),
            (Version::HTTP_11, "/", &["a.example:8080"], false),
            (Version::HTTP_11, "/", &["[::1]:8080"], false),
            (Version::HTTP_11, "/", &[], true),
            (Version::HTTP_11, "http://a.example/", &[], true),
            (Version::HTTP_11, "http://a.example/", &["b.example"], false),
            (Version::HTTP_11, "/", &["a.example", "a.example"], true),
            (Version::HTTP_11, "/", &[""], true),
            (Version::HTTP_11, "/", &["a b"], true),
            (Version::HTTP_11, "/", &["a/b"], true),
            (Version::HTTP_11, "/", &["user@a.example"], true),
            (Version::HTTP_11, "/", &[":80"], true),
            (Version::HTTP_10, "/", &[], false),
            (Version::HTTP_10, "/", &["a", "b"], true),
            (Version::HTTP_2, "http://a.example/", &[], false),
            (Version::HTTP_2, "http://a.example/", &["A.example"], false),
            (Version::HTTP_2, "http://a.example/", &["b.example"], true),
            (Version::HTTP_2, "/", &[], true),
        ];
        for (version, target, hosts, refused) in cases {
            assert_eq!(is_refused(*version, target, hosts), *refused, "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn an_answer_to_head_keeps_its_length_and_loses_its_body() {
        let mut response = Problem::new(StatusCode::NOT_FOUND, "absent", "not here").response();
        let size = response.body().size();
        remove_body(&mut response);
        assert_eq!((response.body().size(), &response.headers()[header::CONTENT_LENGTH]), (0, &size.into()));
        let mut response = Response::builder().status(304).body(Body::Empty).unwrap();
        remove_body(&mut response);
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
    }
}
