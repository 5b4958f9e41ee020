//! Asking an upstream: one request and the redirects that its source allows, up to the head of the
//! answer; then its body, piece by piece. Knows nothing of what the body is for.
//!
//! No proxy of the environment is used, for it would look names up by itself, and not as `resolve` does.

use super::pattern::fits;
use super::resolve::{Guarded, PrivateAddress};
use super::source::Source;
use super::tls;
use crate::address::is_public;
use crate::task::{Fault, FaultCode};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, TRANSFER_ENCODING,
};
use reqwest::{Certificate, Client, Response, StatusCode, Url, Version, redirect};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use url::Host;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// The longest that an upstream may put off the next try.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);
/// The largest token, in bytes.
const MAX_TOKEN: u64 = 16 << 10;

/// Why an upstream gave nothing.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) fault: Fault,
    /// When the upstream wants to be asked again.
    pub(super) retry_after: Option<Duration>,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, retry_after: None }
    }
}

/// Clients, each made when its source is first fetched from.
#[derive(Default)]
pub(super) struct Clients {
    /// Held while a client is looked up or made.
    by_source: Mutex<HashMap<String, Client>>,
}

impl Clients {
    /// Reads the file of the source's own authorities, where it names one.
    pub(super) fn get(&self, source: &Source) -> Result<Client, Fault> {
        let mut clients = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&source.name) {
            return Ok(client.clone());
        }
        let client = client(source, Guarded::new(source.private_addresses))?;
        clients.insert(source.name.clone(), client.clone());
        Ok(client)
    }
}

fn client(source: &Source, resolver: Guarded) -> Result<Client, Fault> {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut trusted = Vec::new();
    if let Some(path) = &source.ca_file {
        let read = tls::read(path).and_then(|text| Certificate::from_pem_bundle(&text).map_err(io::Error::other));
        trusted = read.map_err(|error| {
            tracing::error!(source = source.name, "cannot read {}: {error}", path.display());
            Fault::new(FaultCode::Source, "The authority that the source trusts cannot be read.")
        })?;
    }
    let client = Client::builder()
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(redirect::Policy::none())
        // A connection that the upstream is just closing would be taken for one to be used again, and the fetch
        // fail for it. An archive is large enough for one of its own.
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(30).min(source.stall_timeout))
        .dns_resolver(Arc::new(resolver))
        .tls_certs_merge(trusted)
        .build();
    client.map_err(|error| {
        tracing::error!(source = source.name, ?error, "cannot make a client");
        Fault::new(FaultCode::Source, "larder has no working TLS")
    })
}

/// Asks for `url` and gives the answer once it is 200.
pub(super) async fn open(client: &Client, source: &Source, url: &str) -> Result<Response, Refusal> {
    let home = parse(&source.url.replace(['{', '}'], "_"))?;
    let mut url = parse(url)?;
    for _ in 0..=MAX_REDIRECTS {
        check_literal(&url, source)?;
        let request = client.get(url.clone()).headers(headers(source, &home, &url).await?);
        let response = match tokio::time::timeout(source.stall_timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(not_sent(&error).into()),
            Err(_) => return Err(Fault::new(FaultCode::Timeout, "The upstream does not answer.").into()),
        };
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(refused(&response));
        }
        url = follow(&response, &home, source)?;
    }
    Err(Fault::new(FaultCode::Redirect, "The upstream redirects again and again.").into())
}

/// Whether an answer tells where its body ends otherwise than by closing the connection (RFC 9112
/// section 6.3): only then is a body that came to its end known to be all of it.
pub(super) fn is_framed(response: &Response) -> bool {
    let headers = response.headers();
    response.version() >= Version::HTTP_2
        || headers.contains_key(CONTENT_LENGTH)
        || headers.contains_key(TRANSFER_ENCODING)
}

/// The next piece of a body; `None` when it has ended as it should.
pub(super) async fn piece(response: &mut Response, source: &Source) -> Result<Option<bytes::Bytes>, Fault> {
    match tokio::time::timeout(source.stall_timeout, response.chunk()).await {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a body broke off");
            Err(Fault::new(FaultCode::CutShort, "The archive broke off before its end."))
        }
        Err(_) => Err(Fault::new(FaultCode::Timeout, "The upstream stalled.")),
    }
}

fn parse(url: &str) -> Result<Url, Fault> {
    Url::parse(url).map_err(|_| Fault::new(FaultCode::Source, "The source makes no legal URL of this request."))
}

/// Where a redirect leads, if that is allowed.
fn follow(response: &Response, home: &Url, source: &Source) -> Result<Url, Fault> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let target = location.and_then(|location| response.url().join(location).ok());
    let Some(target) = target else {
        return Err(Fault::new(FaultCode::Redirect, "The upstream redirects to nowhere."));
    };
    let refuse = |what: &str| Err(Fault::new(FaultCode::Redirect, format!("The upstream redirects {what}.")));
    if !matches!(target.scheme(), "http" | "https") || !target.username().is_empty() || target.password().is_some() {
        return refuse("to something other than an archive");
    }
    if response.url().scheme() == "https" && target.scheme() != "https" {
        return refuse("from https to http");
    }
    let host = authority(&target);
    if host != authority(home) && !source.redirects.iter().any(|pattern| fits(pattern, &host)) {
        return refuse(&format!("to {host}, which its source does not allow"));
    }
    Ok(target)
}

/// A host, with its port where that is not the usual one.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An address in a URL is never looked up: it is checked here.
fn check_literal(url: &Url, source: &Source) -> Result<(), Fault> {
    let public = match url.host() {
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
        Some(Host::Domain(_)) => true,
        None => false,
    };
    if public || source.private_addresses { Ok(()) } else { Err(private()) }
}

fn private() -> Fault {
    Fault::new(FaultCode::PrivateAddress, "The upstream has an address that is not public.")
}

/// The headers of the source; its token only where it belongs, never to where a redirect leads.
async fn headers(source: &Source, home: &Url, url: &Url) -> Result<HeaderMap, Fault> {
    let illegal = || Fault::new(FaultCode::Source, "The source has a header that cannot be sent.");
    let mut headers = HeaderMap::new();
    // The bytes are kept as they are: an encoding on top would be none of the archive's.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for (name, value) in &source.headers {
        let name = HeaderName::try_from(name).map_err(|_| illegal())?;
        headers.insert(name, HeaderValue::try_from(value).map_err(|_| illegal())?);
    }
    if url.origin() == home.origin()
        && let Some(token) = token(source).await?
    {
        let name = HeaderName::try_from(&source.token_header).map_err(|_| illegal())?;
        let mut value = HeaderValue::try_from(format!("{}{token}", source.token_prefix)).map_err(|_| illegal())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The token, read anew each time, so that one that was renewed is used.
async fn token(source: &Source) -> Result<Option<String>, Fault> {
    let unreadable = || Fault::new(FaultCode::Source, "The token of the source cannot be read.");
    if let Some(name) = &source.token_env {
        return std::env::var(name).map(Some).map_err(|_| unreadable());
    }
    let Some(path) = source.token_file.clone() else { return Ok(None) };
    let read = move || {
        use std::io::Read;
        let mut token = String::new();
        std::fs::File::open(&path)?.take(MAX_TOKEN).read_to_string(&mut token)?;
        Ok::<_, std::io::Error>(token.trim().to_owned())
    };
    match super::blocking(read).await {
        Ok(token) => Ok(Some(token)),
        Err(error) => {
            tracing::error!(source = source.name, %error, "cannot read the token");
            Err(unreadable())
        }
    }
}

/// What an answer that is neither 200 nor a redirect comes to.
fn refused(response: &Response) -> Refusal {
    let status = response.status();
    let code = match status.as_u16() {
        404 | 410 => FaultCode::Missing,
        // 202: it is being made.
        202 | 408 | 425 | 429 | 500..=599 => FaultCode::Upstream,
        _ => FaultCode::Refused,
    };
    let url = response.url();
    let message = match code {
        FaultCode::Missing => format!("Could not get a valid response from src_url: {status}. Does {url} exist?"),
        _ => format!("The upstream answered {status}."),
    };
    Refusal { fault: Fault::new(code, message), retry_after: retry_after(response.headers()) }
}

/// RFC 9110 section 10.2.3: seconds or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Why a request got no answer at all.
fn not_sent(error: &reqwest::Error) -> Fault {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<PrivateAddress>() {
            return private();
        }
        cause = inner.source();
    }
    tracing::debug!(error = ?error, "an upstream cannot be asked");
    if let Some(why) = tls::refusal(error) {
        return Fault::new(FaultCode::Untrusted, format!("The upstream's certificate is refused: {why}."));
    }
    if error.is_timeout() {
        return Fault::new(FaultCode::Timeout, "The upstream cannot be reached in time.");
    }
    let what = if error.is_connect() { "cannot be reached" } else { "gives no answer that is HTTP" };
    Fault::new(FaultCode::Unreachable, format!("The upstream {what}."))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
