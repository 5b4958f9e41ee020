//! Answers that are made in memory, and the look-ups that they are made of. Knows no endpoint.

use super::body::Body;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LINK};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut bytes = serde_json::to_vec(value).expect("because every key of it is a string");
    bytes.push(b'\n');
    plain(status, "application/json", bytes)
}

pub(super) fn text(text: &str) -> Response<Body> {
    plain(StatusCode::OK, "text/plain; charset=utf-8", text.to_owned().into_bytes())
}

pub(super) fn plain(status: StatusCode, media_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// With a `Link` to the next page, when there is one.
pub(super) fn linked(mut response: Response<Body>, next: Option<&str>) -> Response<Body> {
    let link = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    response.headers_mut().extend(link.map(|link| (LINK, link)));
    response
}

/// Look-ups at once: more would wait for the catalogue's readers, and each thread that runs takes from those that
/// serve connections.
static LOOK_UPS: Semaphore = Semaphore::const_new(16);

/// Parts of lists that are read at once, beside the look-ups: whoever asks for many long lists waits for his own.
static PARTS: Semaphore = Semaphore::const_new(4);

/// Runs what blocks where it may, when it is its turn.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    in_turn(&LOOK_UPS, work).await
}

/// The same for a part of a list.
pub(super) async fn reading<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    in_turn(&PARTS, work).await
}

/// Who has gone before its turn came is passed over; what has begun counts until it ends.
async fn in_turn<T: Send + 'static>(turns: &'static Semaphore, work: impl FnOnce() -> T + Send + 'static) -> T {
    let turn = turns.acquire().await.expect("because it is never closed");
    let work = move || {
        let _turn = turn;
        work()
    };
    crate::blocking::blocking(work).await
}
