//! Lists as answers: rows of the catalogue in JSON, read as the client takes them, so that none is ever whole in
//! memory, however many are asked for and left unread. Owns the form of a list; what a row is, [`Rows`] knows.
//!
//! Where a page ends is fixed before it begins, for its headers name the next one: rows that appear meanwhile and lie
//! within it are in it.

use super::answer::{linked, plain, reading};
use super::body::Body;
use super::held::{Held, Purse};
use crate::catalogue::CatalogueError;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;

/// A page of at most so many bytes is sent in one piece, with its length.
const WHOLE: usize = 32 << 10;

/// What is read at once of a longer one, in bytes of JSON.
const PART: usize = 32 << 10;

/// What a row is taken to need before any is known, and at least.
const ROW: usize = 1024;

/// The rows of a page, one after the other.
trait Rows: Send + 'static {
    /// Further rows, each in JSON, at most `count`; none when the page is over. Blocking.
    fn next(&mut self, count: usize) -> Result<Vec<Vec<u8>>, CatalogueError>;

    /// Begins again.
    fn rewind(&mut self);
}

/// The rows of one page of a list, of which `read` gives those behind a cursor, at most so many, each with its own
/// cursor. Cursors stand in the order of the list.
struct Page<C, R> {
    begin: Option<C>,
    at: Option<C>,
    /// That of the page's last row. A page without was not full, and holds no more than `limit`.
    end: Option<C>,
    left: u32,
    limit: u32,
    read: R,
}

/// A row in JSON, and its cursor.
pub(super) type Row<C> = (C, Vec<u8>);

impl<C, R> Rows for Page<C, R>
where
    C: Clone + Ord + Send + 'static,
    R: Fn(Option<&C>, u32) -> Result<Vec<Row<C>>, CatalogueError> + Send + 'static,
{
    fn next(&mut self, count: usize) -> Result<Vec<Vec<u8>>, CatalogueError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let count = if self.end.is_some() { count } else { count.min(self.left) };
        let mut rows = (self.read)(self.at.as_ref(), count)?;
        if let Some(end) = &self.end {
            rows.retain(|(at, _)| at <= end);
        }
        self.left = self.left.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        self.at = rows.last().map(|(at, _)| at.clone()).or(self.at.take());
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn rewind(&mut self) {
        (self.at, self.left) = (self.begin.clone(), self.limit);
    }
}

/// A row as it is sent.
pub(super) fn row(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("because every key of it is a string")
}

/// A page as it is to be sent.
pub(super) struct Listing {
    /// What stands before the rows: `{"bundles":[`.
    head: String,
    rows: Box<dyn Rows>,
    /// The URL of the next page.
    next: Option<String>,
}

impl Listing {
    /// The page of at most `limit` rows behind `begin`. `end` is the cursor of its last row, if it is full, and whether
    /// there are more; `next` makes the URL of the next page of it.
    pub(super) fn new<C: Clone + Ord + Send + 'static>(
        head: String,
        (begin, limit): (Option<C>, u32),
        end: Option<(C, bool)>,
        next: impl FnOnce(&C) -> String,
        read: impl Fn(Option<&C>, u32) -> Result<Vec<Row<C>>, CatalogueError> + Send + 'static,
    ) -> Self {
        let next = end.as_ref().filter(|(_, more)| *more).map(|(last, _)| next(last));
        let end = end.map(|(last, _)| last);
        Self { head, rows: Box::new(Page { at: begin.clone(), begin, end, left: limit, limit, read }), next }
    }

    /// The answer.
    pub(super) async fn respond(mut self) -> Result<Response<Body>, CatalogueError> {
        let next = self.next.clone();
        let (page, first) = reading(move || {
            let first = self.whole();
            (self, first)
        })
        .await;
        let response = match first? {
            Some(whole) => plain(StatusCode::OK, "application/json", whole),
            None => streamed(page),
        };
        Ok(linked(response, next.as_deref()))
    }

    /// All of the page, when it is small.
    fn whole(&mut self) -> Result<Option<Vec<u8>>, CatalogueError> {
        let mut writer = Writer::default();
        let part = writer.part(self, WHOLE)?;
        self.rows.rewind();
        Ok(part.filter(|_| writer.is_over))
    }
}

fn streamed(listing: Listing) -> Response<Body> {
    let pages = Pages { at: Some(Box::new((listing, Writer::default()))), reading: None };
    let mut response = Response::new(Body::Pages(pages));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// How far the writing of a list is.
#[derive(Default)]
struct Writer {
    /// What the last rows needed each.
    row: usize,
    has_begun: bool,
    has_rows: bool,
    is_over: bool,
}

impl Writer {
    /// The next bytes, about `room` of them; `None` behind the last.
    fn part(&mut self, listing: &mut Listing, room: usize) -> Result<Option<Vec<u8>>, CatalogueError> {
        if self.is_over {
            return Ok(None);
        }
        let count = (room / self.row.max(ROW)).max(1);
        let rows = listing.rows.next(count)?;
        let mut bytes = Vec::with_capacity(room);
        if !std::mem::replace(&mut self.has_begun, true) {
            bytes.extend_from_slice(listing.head.as_bytes());
        }
        self.is_over = rows.len() < count;
        self.row = rows.iter().map(Vec::len).sum::<usize>() / rows.len().max(1);
        for row in rows {
            if std::mem::replace(&mut self.has_rows, true) {
                bytes.push(b',');
            }
            bytes.extend_from_slice(&row);
        }
        if self.is_over {
            let next = serde_json::to_string(&listing.next).expect("because a text is JSON");
            bytes.extend_from_slice(format!("],\"links\":{{\"next\":{next}}}}}\n").as_bytes());
        }
        Ok(Some(bytes))
    }
}

/// The rest of a list, as a body. Between two parts it holds where it is and no row.
pub struct Pages {
    /// `None` while a part is read, and after an error.
    at: Option<Box<(Listing, Writer)>>,
    reading: Option<JoinHandle<Read>>,
}

type Read = (Box<(Listing, Writer)>, Result<Option<Bytes>, CatalogueError>);

impl Pages {
    pub(super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        purse: Option<&Arc<Purse>>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if self.reading.is_none() {
            let Some(mut at) = self.at.take() else { return Poll::Ready(None) };
            let held = purse.map(|purse| purse.hold_some(PART));
            self.reading = Some(tokio::spawn(reading(move || {
                let room = held.as_ref().map_or(PART, |held| held.size);
                let (listing, writer) = &mut *at;
                let part = writer.part(listing, room);
                let part = part.map(|part| part.map(|bytes| Bytes::from_owner(Part { bytes, _held: held })));
                (at, part)
            })));
        }
        let reading = self.reading.as_mut().expect("because it was set above when there was none");
        let read = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        Poll::Ready(match read {
            Ok((at, Ok(part))) => {
                self.at = Some(at);
                part.map(Ok)
            }
            Ok((_, Err(error))) => {
                tracing::error!(%error, "a list was broken off");
                Some(Err(io::Error::other("the catalogue cannot be used at the moment")))
            }
            Err(stopped) => Some(Err(io::Error::other(stopped))),
        })
    }
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pages")
    }
}

/// Rows on their way.
struct Part {
    bytes: Vec<u8>,
    _held: Option<Held>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::tests::collect;
    use super::super::held::{Budget, HeldLimits};
    use super::*;

    struct Numbers {
        at: usize,
        end: usize,
    }

    impl Rows for Numbers {
        fn next(&mut self, count: usize) -> Result<Vec<Vec<u8>>, CatalogueError> {
            let from = self.at;
            self.at = self.end.min(from + count);
            Ok((from..self.at).map(|number| format!("\"{number:0>900}\"").into_bytes()).collect())
        }

        fn rewind(&mut self) {
            self.at = 0;
        }
    }

    fn listing(end: usize) -> Listing {
        let rows = Box::new(Numbers { at: 0, end });
        Listing { head: "{\"numbers\":[".to_owned(), rows, next: Some("http://x/?\"".to_owned()) }
    }

    #[tokio::test]
    async fn a_list_is_the_same_json_in_one_piece_and_in_many() {
        for count in [0, 1, 31, 32, 33, 500] {
            let response = listing(count).respond().await.unwrap();
            assert_eq!(response.headers()["link"], "<http://x/?\">; rel=\"next\"");
            assert_eq!(response.body().has_size(), count < 32, "{count}");
            let (bytes, failed) = collect(response.into_body()).await;
            assert!(failed.is_none() && bytes.ends_with(b"}\n"));
            let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let numbers = body["numbers"].as_array().unwrap();
            assert_eq!(numbers.len(), count);
            assert!(numbers.iter().enumerate().all(|(at, number)| *number == format!("{at:0>900}")));
            assert_eq!(body["links"]["next"], "http://x/?\"");
        }
    }

    #[tokio::test]
    async fn what_is_not_taken_is_not_read() {
        let purse = Arc::new(Purse::new(Arc::new(Budget::new(HeldLimits { in_all: 0, share: 8 << 10, most: 0 }))));
        let Body::Pages(mut pages) = listing(500).respond().await.unwrap().into_body() else { panic!("it is long") };
        let mut parts = Vec::new();
        while let Some(part) = std::future::poll_fn(|cx| pages.poll_chunk(cx, Some(&purse))).await {
            parts.push(part.unwrap());
        }
        assert!(parts.iter().all(|part| part.len() <= 9 << 10), "no more than the connection may hold");
        let all: usize = parts.iter().map(Bytes::len).sum();
        assert!(all > 500 * 900);
    }
}
