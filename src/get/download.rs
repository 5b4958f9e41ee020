//! The download of one bundle, however often its connection is lost. Owns what is asked for again and
//! what of an answer is believed: a piece is put behind another only when the server says that both
//! are of one representation (RFC 9110 section 14), and no more is taken than it said there is.
//!
//! Chunks are written where they come in, in the thread that waits for them: nothing else waits there.

use super::client::{Client, Fault, Retries, fault, problem};
use super::part::Part;
use super::{GetError, Step, Tell, again};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, RANGE,
};
use reqwest::{Response, StatusCode};
use std::time::{Duration, Instant};

/// What one attempt must gain for the failures before it to be forgotten.
const GAIN: u64 = 64 << 10;

/// A connection that brings less than [`GAIN`] in this time is given up.
const WINDOW: Duration = Duration::from_mins(1);

/// What came of a download.
pub(super) enum Downloaded {
    /// All of it is in the part.
    Whole {
        /// The server's `Repr-Digest`, as it stands.
        digest: Option<String>,
    },
    /// The server has not got it now.
    Absent,
}

/// Downloads what `url` names into `part`.
pub(super) async fn download(
    client: &Client,
    url: &str,
    part: &mut Part,
    tell: &Tell<'_>,
) -> Result<Downloaded, GetError> {
    let mut retries = Retries::new(&client.patience);
    loop {
        let before = part.size();
        let failed = match attempt(client, url, part, tell).await {
            Ok(downloaded) => return Ok(downloaded),
            Err(fault) => fault,
        };
        if part.size() >= before.saturating_add(GAIN) {
            retries.progressed();
        }
        again(&mut retries, failed, tell).await?;
    }
}

async fn attempt(client: &Client, url: &str, part: &mut Part, tell: &Tell<'_>) -> Result<Downloaded, Fault> {
    let mut request = client.http.get(url).header(ACCEPT_ENCODING, "identity");
    if let Some(etag) = part.etag() {
        request = request.header(RANGE, format!("bytes={}-", part.size())).header(IF_RANGE, etag);
    }
    let response = client.send(request).await?;
    let headers = response.headers();
    let digest = text(headers, HeaderName::from_static("repr-digest")).map(str::to_owned);
    let total = match response.status() {
        StatusCode::OK => {
            let total = text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
            let etag = text(headers, ETAG).map(str::to_owned);
            part.restart(etag.as_deref()).map_err(Fault::Final)?;
            total
        }
        StatusCode::PARTIAL_CONTENT => match continued(headers, part) {
            Some(total) => {
                part.resume().map_err(Fault::Final)?;
                Some(total)
            }
            None => return Err(start_anew(part, "the server sent another piece than was asked for")),
        },
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let all: Option<u64> =
                text(headers, CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */")?.parse().ok());
            return match all {
                Some(size) if size == part.size() && size > 0 => Ok(Downloaded::Whole { digest }),
                _ => Err(start_anew(part, "the server has fewer bytes than are here")),
            };
        }
        StatusCode::NOT_FOUND => return Ok(Downloaded::Absent),
        _ => return Err(Fault::Final(refused(response).await)),
    };
    if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Fault::Final(GetError::Network("the bundle was encoded on its way".to_owned())));
    }
    if total.is_some_and(|total| total > client.patience.max_size) {
        return Err(Fault::Final(GetError::Refused(format!("the bundle has over {} bytes", client.patience.max_size))));
    }
    receive(response, total, client.patience.max_size, part, tell).await?;
    Ok(Downloaded::Whole { digest })
}

/// Whether a 206 goes on where the part ends; gives the size of all.
fn continued(headers: &HeaderMap, part: &Part) -> Option<u64> {
    if text(headers, ETAG) != part.etag() {
        return None;
    }
    let (range, total) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) = (first.parse().ok()?, last.parse().ok()?, total.parse().ok()?);
    (first == part.size() && last.checked_add(1)? == total).then_some(total)
}

fn start_anew(part: &mut Part, why: &str) -> Fault {
    part.restart(None).map_or_else(Fault::Final, |()| Fault::passing(why))
}

/// Takes the body of an answer, up to `total` bytes in all.
async fn receive(
    mut response: Response,
    total: Option<u64>,
    max: u64,
    part: &mut Part,
    tell: &Tell<'_>,
) -> Result<(), Fault> {
    let (mut window, mut at) = (Instant::now(), part.size());
    tell(&Step::Downloading { done: part.size(), total });
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if part.size() + chunk.len() as u64 > total.unwrap_or(max) {
            return Err(Fault::Final(GetError::Network("the server sends more than it said there is".to_owned())));
        }
        part.write(&chunk).map_err(Fault::Final)?;
        tell(&Step::Downloading { done: part.size(), total });
        if window.elapsed() >= WINDOW {
            if part.size() - at < GAIN {
                return Err(Fault::passing("the server sends hardly anything"));
            }
            (window, at) = (Instant::now(), part.size());
        }
    }
    match total {
        Some(total) if part.size() < total => Err(Fault::passing("the download broke off")),
        _ => Ok(()),
    }
}

/// What a server that will not says.
pub(super) async fn refused(response: Response) -> GetError {
    let status = response.status();
    let words = problem(response).await;
    match status {
        StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => GetError::Blocked(words),
        _ => GetError::Refused(words),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
