//! One request and its answer: what is refused before any route sees it, the reading of a request's
//! body, and what is put right on every answer. Knows no socket.
//!
//! hyper refuses what it cannot parse; this adds what RFC 9112 leaves to the server: `Host`, the
//! length of the target, the size of the body. A request's body is read before its route is called,
//! so the next request on the connection is always where it should be.

use super::body::Body;
use super::io::{Peer, Pulse};
use super::problem::Problem;
use super::watch::Limits;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, StatusCode, Version};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use tracing::Level;

/// Answers `request` with `service`, or refuses it.
pub(super) async fn exchange<S, F>(
    request: Request<Incoming>,
    peer: Peer,
    service: &S,
    limits: &Limits,
    pulse: Arc<Pulse>,
) -> Response<Sending>
where
    S: Fn(Request<Bytes>, Peer) -> F,
    F: Future<Output = Response<Body>>,
{
    let version = request.version();
    pulse.http2.store(version == Version::HTTP_2, Relaxed);
    let under_way = UnderWay::begin(pulse);
    let is_head = request.method() == Method::HEAD;
    let asked = tracing::enabled!(Level::DEBUG).then(|| (request.method().clone(), request.uri().clone()));
    // RFC 9112 section 6.1: with a Transfer-Encoding the connection ends here, for there may have been
    // a Content-Length too (hyper takes it away) that somebody in between believed.
    let mut close = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut response = match receive(request, limits).await {
        Ok(request) => call(service, request, peer).await,
        Err(refusal) => {
            close |= refusal.close;
            refusal.problem.response()
        }
    };
    if close && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_head {
        remove_body(&mut response);
    }
    if let Some((method, target)) = asked {
        tracing::debug!(%method, %target, status = response.status().as_u16(), "answered");
    }
    response.map(|body| Sending::new(body, under_way))
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

async fn receive(request: Request<Incoming>, limits: &Limits) -> Result<Request<Bytes>, Refusal> {
    check_target(&request, limits)?;
    check_host(&request)?;
    let (parts, mut body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(parts, Bytes::new()));
    }
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(Refusal::too_large(limits));
    }
    let Ok(read) = tokio::time::timeout(limits.body, read_body(&mut body, limits)).await else {
        let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not come in time");
        return Err(Refusal { problem, close: true });
    };
    Ok(Request::from_parts(parts, read?))
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

async fn read_body(body: &mut Incoming, limits: &Limits) -> Result<Bytes, Refusal> {
    let mut all = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let Ok(frame) = frame else { return Err(Refusal::bad("body", "the body is malformed or cut short")) };
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > limits.body_bytes {
            return Err(Refusal::too_large(limits));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
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
        pulse.requests.fetch_add(1, Relaxed);
        pulse.in_flight.fetch_add(1, Relaxed);
        Self { pulse, is_sending: false }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.pulse.in_flight.fetch_sub(1, Relaxed);
        if self.is_sending {
            self.pulse.sending.fetch_sub(1, Relaxed);
        }
    }
}

/// A body on its way. hyper drops it when it has taken all of it.
pub(super) struct Sending {
    body: Body,
    _under_way: UnderWay,
}

impl Sending {
    fn new(body: Body, mut under_way: UnderWay) -> Self {
        if body.size() > 0 {
            under_way.is_sending = true;
            under_way.pulse.sending.fetch_add(1, Relaxed);
        }
        if let Body::Events(events) = &body {
            events.goes_over(&under_way.pulse);
        }
        Self { body, _under_way: under_way }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
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
