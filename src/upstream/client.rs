//! One vault over HTTP: JSON asked for, and files downloaded, within bounds. Owns how often it is asked: its
//! `Retry-After` and `X-RateLimit-*` put off whatever is to be asked next. Knows nothing of what the answers
//! mean.
//!
//! A request says by `Via` (RFC 9110, section 7.6.3) which larders it comes through, so that none is asked for
//! what it is itself asking for.

use super::settings::Upstream;
use crate::address::is_public;
use crate::archiver::{Guarded, certificates};
use crate::blocking::blocking;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE, RETRY_AFTER, VIA};
use reqwest::{Certificate, Method, Response, StatusCode, Url, redirect};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use url::Host;

/// Longest time without an answer, or without a byte of one.
const STALL: Duration = Duration::from_mins(1);
/// The largest answer that is not a file, in bytes.
const MAX_JSON: usize = 32 << 20;
/// The largest file of a token or of certificates, in bytes.
const MAX_SECRET: u64 = 16 << 10;
/// The longest that a vault may put off what is asked next.
const MAX_WAIT: Duration = Duration::from_hours(1);
/// How long it is put off when a vault asks for that without saying for how long.
const WAIT: Duration = Duration::from_mins(1);
/// How often a download that breaks off is taken up.
const RESUMES: u32 = 8;
/// Redirects that are followed.
const REDIRECTS: usize = 5;

/// Why a vault gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It has no such object, or cannot make this of it; why.
    Absent(String),
    /// It cannot say now; what is the matter.
    Now(String),
}

/// A vault, as it is asked.
pub(super) struct Client {
    pub(super) upstream: Upstream,
    http: reqwest::Client,
    /// Nothing is asked before. Held for one look.
    not_before: Mutex<Instant>,
}

/// What a request carries besides its path.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// The value of `Via`.
    pub(super) via: &'a str,
    /// When whoever waits gives up.
    pub(super) deadline: Instant,
}

impl Client {
    /// Reads the file of authorities, where there is one.
    pub(super) fn new(upstream: Upstream) -> Result<Self, String> {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut trusted = Vec::new();
        if let Some(path) = &upstream.ca_file {
            let read =
                certificates(path).and_then(|text| Certificate::from_pem_bundle(&text).map_err(io::Error::other));
            trusted = read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        }
        let private = upstream.private_addresses;
        let follow = redirect::Policy::custom(move |attempt| {
            let (from, to) = (attempt.previous().last(), attempt.url());
            let downgrade = from.is_some_and(|from| from.scheme() == "https") && to.scheme() != "https";
            if attempt.previous().len() > REDIRECTS || downgrade || !(private || is_public_literal(to)) {
                return attempt.error("it redirects where it may not");
            }
            attempt.follow()
        });
        let http = reqwest::Client::builder()
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(follow)
            .connect_timeout(STALL / 2)
            .read_timeout(STALL)
            .dns_resolver(Arc::new(Guarded::new(private)))
            .tls_certs_merge(trusted)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { upstream, http, not_before: Mutex::new(Instant::now()) })
    }

    /// The body of the answer to a request, which is 200 or [`Trouble`]. A vault that says that it is asked too
    /// often is asked again when it wants to be.
    pub(super) async fn json(&self, method: Method, path: &str, asking: Asking<'_>) -> Result<Vec<u8>, Trouble> {
        loop {
            let mut response = self.send(method.clone(), path, HeaderMap::new(), asking).await?;
            let status = response.status();
            if status == StatusCode::TOO_MANY_REQUESTS {
                continue;
            }
            let mut body = Vec::new();
            while let Some(piece) = response.chunk().await.map_err(|error| Trouble::Now(words(&error)))? {
                if body.len() + piece.len() > MAX_JSON {
                    return Err(Trouble::Now(format!("{} answers with too much", self.upstream.url)));
                }
                body.extend_from_slice(&piece);
            }
            return match status {
                StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => Ok(body),
                _ => Err(self.trouble(status, &body)),
            };
        }
    }

    /// Downloads to `file`, which goes on where it ends when it was begun before and is still the same there.
    pub(super) async fn download(
        &self,
        path: &str,
        file: &Path,
        most: u64,
        asking: Asking<'_>,
        came: &(dyn Fn(u64) -> io::Result<()> + Sync),
    ) -> Result<(), Trouble> {
        let mut left = RESUMES;
        loop {
            let before = length(file);
            match self.piece(path, file, most, asking, came).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Now(why)) if left > 0 && Instant::now() < asking.deadline => {
                    tracing::debug!(path, why, "a download broke off");
                    // What brings bytes may go on for as long as it does.
                    left = if length(file) > before { RESUMES } else { left - 1 };
                    tokio::time::sleep(Duration::from_secs(1 << (RESUMES - left).min(5))).await;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn piece(
        &self,
        path: &str,
        file: &Path,
        most: u64,
        asking: Asking<'_>,
        came: &(dyn Fn(u64) -> io::Result<()> + Sync),
    ) -> Result<(), Trouble> {
        let tag = file.with_extension("etag");
        let (begun, known) =
            (length(file), std::fs::read(&tag).ok().and_then(|tag| HeaderValue::from_bytes(&tag).ok()));
        let mut headers = HeaderMap::new();
        if let Some(known) = known.filter(|_| begun > 0) {
            headers.insert(IF_RANGE, known);
            let range =
                HeaderValue::from_str(&format!("bytes={begun}-")).map_err(|error| Trouble::Now(error.to_string()))?;
            headers.insert(RANGE, range);
        }
        let mut response = self.send(Method::GET, path, headers, asking).await?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => begun,
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let _ = std::fs::remove_file(&tag);
                return Err(Trouble::Now("its file has changed".to_owned()));
            }
            status => return Err(self.trouble(status, b"")),
        };
        let size = response.headers().get(CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse::<u64>().ok());
        let too_large = || Trouble::Absent(format!("what {} gives has more than {most} bytes", self.upstream.url));
        if size.is_some_and(|size| start.saturating_add(size) > most) {
            return Err(too_large());
        }
        // A strong validator alone says that bytes are the same (RFC 9110, section 13.1.5).
        match response.headers().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
            Some(strong) => std::fs::write(&tag, strong.as_bytes()).map_err(here)?,
            None => drop(std::fs::remove_file(&tag)),
        }
        let mut out = OpenOptions::new().create(true).write(true).truncate(false).open(file).map_err(here)?;
        out.set_len(start).map_err(here)?;
        out.seek(SeekFrom::Start(start)).map_err(here)?;
        let mut at = start;
        while let Some(bytes) = response.chunk().await.map_err(|error| Trouble::Now(words(&error)))? {
            at += bytes.len() as u64;
            if at > most {
                return Err(too_large());
            }
            came(at).map_err(here)?;
            out.write_all(&bytes).map_err(here)?;
        }
        match size {
            Some(size) if at - start != size => Err(Trouble::Now("its file broke off".to_owned())),
            _ => Ok(()),
        }
    }

    /// Waits until the vault may be asked, asks, and notes when it may be asked next.
    async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        asking: Asking<'_>,
    ) -> Result<Response, Trouble> {
        let turn = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if turn > asking.deadline {
            return Err(Trouble::Now(format!("{} is asked too often", self.upstream.url)));
        }
        tokio::time::sleep_until(turn.into()).await;
        let url = Url::parse(&format!("{}/api/1/{path}", self.upstream.url))
            .map_err(|error| Trouble::Now(error.to_string()))?;
        if !(self.upstream.private_addresses || is_public_literal(&url)) {
            return Err(Trouble::Now(format!("{} has an address that is not public", self.upstream.url)));
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*;q=0.5"));
        if let Ok(via) = HeaderValue::from_str(asking.via) {
            headers.insert(VIA, via);
        }
        let mut request = self.http.request(method, url).headers(headers);
        if let Some(token) = self.token().await.map_err(Trouble::Now)? {
            request = request.bearer_auth(token);
        }
        let response = match tokio::time::timeout(STALL, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                return Err(Trouble::Now(format!("{} cannot be asked: {}", self.upstream.url, words(&error))));
            }
            Err(_) => return Err(Trouble::Now(format!("{} does not answer", self.upstream.url))),
        };
        if let Some(wait) = wait(response.status(), response.headers(), SystemTime::now()) {
            tracing::debug!(upstream = self.upstream.url, ?wait, "asks for time");
            *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + wait;
        }
        Ok(response)
    }

    /// What an answer that is no success comes to, with the vault's own words where it has some.
    fn trouble(&self, status: StatusCode, body: &[u8]) -> Trouble {
        #[derive(serde::Deserialize)]
        struct Said {
            reason: Option<String>,
            error: Option<String>,
        }
        let said = serde_json::from_slice::<Said>(body).ok().and_then(|said| said.reason.or(said.error));
        let said: String = said.unwrap_or_else(|| status.to_string()).chars().take(300).collect();
        let words = format!("{}: {said}", self.upstream.url);
        match status.as_u16() {
            // 403: an object that it does not give out; 451: a blocked one.
            400 | 403..=405 | 410 | 451 => Trouble::Absent(words),
            _ => Trouble::Now(words),
        }
    }

    /// Read anew each time, so that one that was renewed is used.
    async fn token(&self) -> Result<Option<String>, String> {
        if let Some(name) = &self.upstream.token_env {
            return std::env::var(name).map(Some).map_err(|_| format!("there is no variable {name}"));
        }
        let Some(path) = self.upstream.token_file.clone() else { return Ok(None) };
        let read = move || {
            let mut token = String::new();
            File::open(&path)?.take(MAX_SECRET).read_to_string(&mut token)?;
            Ok::<_, io::Error>(token.trim().to_owned())
        };
        blocking(read).await.map(Some).map_err(|error| {
            tracing::error!(upstream = self.upstream.url, %error, "cannot read the token");
            "its token cannot be read".to_owned()
        })
    }
}

/// How long a vault wants to be left alone.
fn wait(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let said = text(RETRY_AFTER.as_str()).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    });
    // Seconds since 1970 on the vault's clock, which may differ from this one's: an hour at most is believed.
    let reset = || {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(text("x-ratelimit-reset")?.parse().ok()?))?;
        Some(at.duration_since(now).unwrap_or_default())
    };
    let waits = match status {
        StatusCode::TOO_MANY_REQUESTS => Some(said.or_else(reset).unwrap_or(WAIT).max(Duration::from_secs(1))),
        StatusCode::SERVICE_UNAVAILABLE => said,
        _ if text("x-ratelimit-remaining") == Some("0") => Some(reset().unwrap_or(WAIT)),
        _ => None,
    };
    waits.map(|wait| wait.min(MAX_WAIT))
}

/// An address in a URL is never looked up: it is checked here.
fn is_public_literal(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    }
}

fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn here(error: io::Error) -> Trouble {
    Trouble::Now(format!("what comes cannot be written here: {}", error.kind()))
}

/// The innermost cause of an error, which says most.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_says_when_it_is_to_be_asked_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let wait = |status: u16, headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (reqwest::header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            });
            wait(StatusCode::from_u16(status).unwrap(), &headers.collect(), now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait(200, &[]), None);
        assert_eq!(wait(200, &[("x-ratelimit-remaining", "3")]), None);
        assert_eq!(wait(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1000040")]), Some(40));
        assert_eq!(wait(200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")]), Some(0));
        assert_eq!(wait(429, &[]), Some(60));
        assert_eq!(wait(429, &[("retry-after", "0")]), Some(1));
        assert_eq!(wait(429, &[("retry-after", "58")]), Some(58));
        assert_eq!(wait(429, &[("retry-after", "Mon, 12 Jan 1970 13:47:10 GMT")]), Some(30));
        assert_eq!(wait(429, &[("retry-after", "99999999999")]), Some(3600));
        assert_eq!(wait(429, &[("x-ratelimit-reset", "1000007")]), Some(7));
        assert_eq!(wait(503, &[("retry-after", "5")]), Some(5));
        assert_eq!(wait(503, &[]), None);
    }
}
