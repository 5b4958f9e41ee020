//! The HTTP client: how servers are spoken to, which failures are tried again, and when. A server may
//! be hostile: what is read of it is capped, and what it says is cleaned before anybody sees it.

use super::GetError;
use crate::chance::jittered;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How patient a client is, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Failures one after the other, with hardly a byte between them, before it gives up.
    pub attempts: u32,
    /// What it waits after the first of them; twice as long after each further one, up to half a
    /// minute, and by chance half of that more or less.
    pub pause: Duration,
    /// The longest time without a byte.
    pub read: Duration,
    /// The longest time for a connection to be made.
    pub connect: Duration,
    /// The longest time for the bundle to be cooked.
    pub cook: Duration,
    /// The most bytes of a bundle.
    pub max_size: u64,
    /// File with certificates of authorities that are trusted besides the system's, PEM.
    pub cacert: Option<PathBuf>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 8,
            pause: Duration::from_millis(500),
            read: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            cook: Duration::from_hours(24),
            max_size: 1 << 40,
            cacert: None,
        }
    }
}

/// The longest pause of our own, and the longest that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;

/// The most bytes of an answer that is not a bundle.
const MAX_BODY: usize = 1 << 20;

/// The most characters of a server's words that are shown.
const MAX_WORDS: usize = 300;

/// Looks names up as the system does, and says of a failure that it is one of that.
struct Names;

/// A name that leads nowhere: mistyped, mostly.
#[derive(Debug, thiserror::Error)]
#[error("no such host: {0}")]
struct NoSuchHost(std::io::Error);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            Ok(Box::new(found.map_err(NoSuchHost)?.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// What went wrong with one request.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may well go better a moment later.
    Passing { why: String, after: Option<Duration> },
    /// It will not.
    Final(GetError),
}

impl Fault {
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self::Passing { why: why.into(), after: None }
    }
}

/// A client of one server.
pub(super) struct Client {
    pub(super) http: reqwest::Client,
    pub(super) patience: Patience,
}

impl Client {
    pub(super) fn new(patience: Patience) -> Result<Self, GetError> {
        // Whoever was first in this process has chosen; there is but one provider to choose.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .read_timeout(patience.read)
            .dns_resolver(Names)
            .tls_certs_merge(patience.cacert.as_deref().map(authorities).transpose()?.unwrap_or_default())
            .redirect(Policy::custom(|attempt| {
                if attempt.previous().len() > MAX_REDIRECTS {
                    return attempt.error("too many redirects");
                }
                let from = attempt.previous().last().map_or("", |url| url.scheme());
                if from == attempt.url().scheme() || (from, attempt.url().scheme()) == ("http", "https") {
                    attempt.follow()
                } else {
                    attempt.error("a redirect leads away from https")
                }
            }))
            .build()
            .map_err(|error| GetError::Network(format!("no HTTP client can be made: {}", causes(&error))))?;
        Ok(Self { http, patience })
    }

    /// Sends a request; an answer that says "later" is a fault.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let response = request.send().await.map_err(|error| fault(&error))?;
        let status = response.status();
        let may_pass = status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
        if !may_pass {
            return Ok(response);
        }
        let after = retry_after(response.headers(), SystemTime::now());
        let why = problem(response).await;
        Err(Fault::Passing { why, after })
    }
}

/// The certificates in a file; one without any is not what was meant.
fn authorities(path: &Path) -> Result<Vec<Certificate>, GetError> {
    let read = std::fs::read(path).and_then(|text| match Certificate::from_pem_bundle(&text) {
        Ok(found) if found.is_empty() => Err(io::Error::other("there is no PEM certificate in it")),
        found => found.map_err(io::Error::other),
    });
    read.map_err(super::local("trust", path))
}

/// What a client does between failures.
pub(super) struct Retries<'a> {
    patience: &'a Patience,
    failures: u32,
}

impl<'a> Retries<'a> {
    pub(super) fn new(patience: &'a Patience) -> Self {
        Self { patience, failures: 0 }
    }

    /// Something was gained: what failed before does not count.
    pub(super) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt, having told how long; an error when there is to be none.
    pub(super) async fn pause(&mut self, fault: Fault, tell: impl FnOnce(&str, Duration)) -> Result<(), GetError> {
        let (why, after) = match fault {
            Fault::Final(error) => return Err(error),
            Fault::Passing { why, after } => (why, after),
        };
        self.failures += 1;
        if self.failures >= self.patience.attempts {
            return Err(GetError::Network(why));
        }
        let doubled = self.patience.pause.saturating_mul(1 << (self.failures - 1).min(16)).min(MAX_PAUSE);
        let pause = jittered(doubled, 50..150).max(after.unwrap_or_default().min(MAX_RETRY_AFTER));
        tell(&why, pause);
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// What failed in sending a request or reading its answer.
pub(super) fn fault(error: &reqwest::Error) -> Fault {
    let why = causes(error);
    if error.is_builder() || error.is_redirect() || is_tls(error) || is_mistyped(error) {
        return Fault::Final(GetError::Network(why));
    }
    Fault::passing(why)
}

/// Whether the host has no address at all. A name server that did not answer is not one that said no; of the
/// two only the words tell (`EAI_AGAIN` of `getaddrinfo`, in glibc's and in musl's).
fn is_mistyped(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(one) = cause {
        if let Some(NoSuchHost(said)) = one.downcast_ref() {
            let said = said.to_string();
            return !(said.contains("Temporary failure") || said.contains("Try again"));
        }
        cause = one.source();
    }
    false
}

/// Whether TLS itself refused, a certificate mostly: trying again changes nothing.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(one) = cause {
        if matches!(one.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // An I/O error is not the source of what it holds, but stands for it.
        cause = match one.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => one.source(),
        };
    }
    false
}

/// An error and what caused it, in one line.
fn causes(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(one) = cause {
        words = format!("{words}: {one}");
        cause = one.source();
    }
    clean(&words)
}

/// Words of a server as they may be shown on a terminal.
pub(super) fn clean(words: &str) -> String {
    words.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).take(MAX_WORDS).collect()
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).ok(),
    }
}

/// What an answer that is no success says: its status, and its problem's detail if it has one.
pub(super) async fn problem(response: Response) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let status = response.status();
    match json::<Problem>(response).await {
        Ok(problem) => format!("the server answers {status}: {}", clean(&problem.detail)),
        Err(_) => format!("the server answers {status}"),
    }
}

/// The JSON of an answer.
pub(super) async fn json<T: for<'de> Deserialize<'de>>(response: Response) -> Result<T, Fault> {
    let bytes = body(response, MAX_BODY).await?;
    serde_json::from_slice(&bytes).map_err(|_| Fault::passing("the server's answer is not what larder answers"))
}

/// The body of an answer, of at most so many bytes.
pub(super) async fn body(mut response: Response, max: usize) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if all.len() + chunk.len() > max {
            return Err(Fault::Final(GetError::Network(format!("an answer has more than {max} bytes"))));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_or_a_date() {
        let at = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, SystemTime::UNIX_EPOCH)
        };
        assert_eq!(at("7"), Some(Duration::from_secs(7)));
        assert_eq!(at("Thu, 01 Jan 1970 00:01:00 GMT"), Some(Duration::from_mins(1)));
        assert_eq!((at("soon"), at("-1")), (None, None));
    }

    #[test]
    fn a_servers_words_move_no_cursor() {
        assert_eq!(clean("a\u{1b}[2Jb\r\nc"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(clean(&"x".repeat(1000)).len(), MAX_WORDS);
    }
}
