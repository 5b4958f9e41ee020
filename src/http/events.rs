//! The progress of a cook as it goes: server-sent events (WHATWG HTML, section 9.2), each with the
//! status body. Owns their form, how many streams there may be, and when one ends.
//!
//! A stream is a task that follows the bundle and a body that hyper takes the events from. The task
//! ends when the bundle is done or failed, when larder stops, when the client is gone, when it has
//! taken nothing for [`PATIENCE`], and when all places are taken and a client with fewer comes; its place
//! among the streams is free again then, whatever becomes of the connection.

use super::body::Body;
use super::places::{Client, Places};
use super::problem::Problem;
use crate::bodies::{Base, status_body};
use crate::bundle::Status;
use crate::key::BundleKey;
use crate::kitchen::{Following, Orders};
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The most streams at once.
const MAX_STREAMS: usize = 256;

/// What `Retry-After` says when there are so many, in seconds.
const TOO_MANY_RETRY: u64 = 5;

/// A stream that says nothing for so long says that it is there. A client that has gone is noticed
/// by this at the latest.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long a client may leave what it is sent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Events on their way to one client.
const QUEUE: usize = 4;

/// What precedes the first event: when to come back if the stream breaks, in milliseconds.
const RETRY: &[u8] = b"retry: 2000\n\n";

/// The places of all streams.
pub(super) struct Streams(Places);

impl Default for Streams {
    fn default() -> Self {
        Self(Places::new(MAX_STREAMS, MAX_STREAMS))
    }
}

/// The stream of a bundle that was asked for.
///
/// A client that comes back after the last event, which it says with its id, gets 204: that ends it
/// (an `EventSource` would come back for ever).
pub(super) fn respond(
    streams: &Streams,
    (client, headers): (Client, &HeaderMap),
    orders: &Orders,
    base: &Base,
    (key, status): (BundleKey, Status),
) -> Response<Body> {
    if is_settled(status) && headers.get("last-event-id").is_some_and(|id| id == status.as_str()) {
        return with_headers(Response::builder().status(StatusCode::NO_CONTENT), Body::Empty);
    }
    let (Some(place), Some(following)) = (streams.0.take_share(client), orders.follow(key)) else {
        let detail = "too many follow a cook at the moment";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_streams", detail)
            .retry_after(TOO_MANY_RETRY)
            .response();
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    let feed = Feed { sender, key, base: base.clone() };
    tokio::spawn(async move {
        tokio::select! {
            () = feed.run(following) => {}
            // Another client has none: this one comes back, and waits for its turn.
            () = place.is_lost() => {}
        }
    });
    let body = Body::Events(Events { receiver });
    let response = Response::builder().header(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    with_headers(response, body)
}

fn with_headers(builder: hyper::http::response::Builder, body: Body) -> Response<Body> {
    builder
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header("x-content-type-options", HeaderValue::from_static("nosniff"))
        // nginx passes it on as it comes, wherever this stands in its files.
        .header("x-accel-buffering", HeaderValue::from_static("no"))
        .body(body)
        .expect("because every header of it is legal")
}

const fn is_settled(status: Status) -> bool {
    matches!(status, Status::Done | Status::Failed)
}

/// What hyper takes the events from.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Bytes>,
}

impl Events {
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.receiver.poll_recv(cx)
    }
}

struct Feed {
    sender: mpsc::Sender<Bytes>,
    key: BundleKey,
    base: Base,
}

impl Feed {
    async fn run(self, mut following: Following) {
        let mut last = Vec::new();
        let mut said = Instant::now();
        let mut number = 0_u64;
        if !self.say(Bytes::from_static(RETRY)).await {
            return;
        }
        loop {
            let standing = tokio::select! {
                standing = following.next() => standing,
                () = self.sender.closed() => return,
            };
            let standing = match standing {
                Ok(Some(standing)) => standing,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "a cook cannot be followed");
                    return;
                }
            };
            let bundle = standing.bundle.as_ref();
            let progress = standing.progress.filter(|_| bundle.is_some_and(|one| one.status == Status::Pending));
            let body = serde_json::to_vec(&status_body(&self.key, bundle, progress, &self.base))
                .expect("because every key of it is a string");
            let settled = bundle.map(|one| one.status).filter(|status| is_settled(*status));
            if body != last {
                number += 1;
                let id = settled.map_or_else(|| number.to_string(), |status| status.to_string());
                // JSON in one line has neither CR nor LF.
                let event = [b"id: ", id.as_bytes(), b"\ndata: ", &body, b"\n\n"].concat();
                if !self.say(event.into()).await {
                    return;
                }
                (last, said) = (body, Instant::now());
            } else if said.elapsed() >= HEARTBEAT {
                if !self.say(Bytes::from_static(b":\n\n")).await {
                    return;
                }
                said = Instant::now();
            }
            if settled.is_some() || bundle.is_none() {
                return;
            }
        }
    }

    /// Hands over an event; `false` when the client is gone or does not take it. hyper may never look again then, as
    /// over HTTP/2 without a window: the watch ends such a connection, as one whose client leaves a body.
    async fn say(&self, event: Bytes) -> bool {
        self.sender.send_timeout(event, PATIENCE).await.is_ok()
    }
}
