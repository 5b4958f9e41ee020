//! The Archiver's endpoints: its requests, its tasks, and its own shape of errors. The bodies are those
//! that its clients have always read, to the byte: JSON indented by two with its keys in order, and
//! no header more than they had.

use super::body::Body;
use crate::archiver::request::{Ask, AskError};
use crate::archiver::{Answer, AnswerError, Archiver, Report};
use crate::bodies::Base;
use crate::key::BundleKey;
use crate::kitchen::{OrderError, Orders};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a request for a canonical bundle waits for its cook.
const WAIT: Duration = Duration::from_secs(20);

/// What `Retry-After` says when larder cannot answer at the moment, in seconds.
const RETRY: u64 = 10;

/// The endpoints below `/archiver/`.
pub struct Endpoints {
    archiver: Archiver,
    orders: Orders,
    base: Base,
}

impl Endpoints {
    /// The endpoints of an archiver whose absolute URLs begin with `base`.
    #[must_use]
    pub fn new(archiver: Archiver, orders: Orders, base: Base) -> Self {
        Self { archiver, orders, base }
    }

    /// `GET, HEAD /archiver/:source/:rev` and `/archiver/:source/:repo.../:rev`. A HEAD gets what a GET
    /// would and starts nothing.
    pub(super) async fn ask(&self, method: &Method, path: &[String], query: Option<&str>) -> Response<Body> {
        if let Some(refusal) = wrong_method(method) {
            return refusal;
        }
        let ask = match self.archiver.read(path, query) {
            Ok(ask) => ask,
            Err(error) => return not_asked(&error),
        };
        self.answer(&ask, *method == Method::GET).await
    }

    async fn answer(&self, ask: &Ask, fetch: bool) -> Response<Body> {
        match self.archiver.ask(ask, fetch).await {
            Ok(Answer::There(location)) => found(&location),
            Ok(Answer::Task(id)) => accepted(&self.base.url(&format!("/archiver/status/{id}"))),
            Ok(Answer::Canonical(key)) => self.canonical(key, fetch).await,
            Ok(Answer::Absent) => error(StatusCode::NOT_FOUND, "this archive was not fetched yet: ask with GET"),
            Ok(Answer::Blocked) => error(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, "the archive is blocked here"),
            Ok(Answer::NoDirectory(reason)) => {
                error(StatusCode::UNPROCESSABLE_ENTITY, &format!("the archive holds no directory: {reason}"))
            }
            Err(failure) => not_answered(&failure),
        }
    }

    /// `GET, HEAD /archiver/status/:task`
    pub(super) async fn status(&self, method: &Method, id: &str) -> Response<Body> {
        if let Some(refusal) = wrong_method(method) {
            return refusal;
        }
        match self.archiver.report(id).await {
            Ok(report) => json(StatusCode::OK, &Result { result: TaskBody::of(report) }),
            Err(failure) => not_answered(&failure),
        }
    }

    /// Has the bundle of a directory cooked, and sends the client there once it is; to its status when
    /// that takes longer.
    async fn canonical(&self, key: BundleKey, cook: bool) -> Response<Body> {
        let url = self.base.bundle(&key);
        let there = || matches!(self.orders.bundles().open(&key), Ok(Some(_)));
        if cook && !there() {
            match self.orders.request(key).await {
                Ok(_) => drop(self.orders.wait(&key, WAIT).await),
                Err(refusal) => return not_cooked(&refusal),
            }
        }
        if there() { found(&url) } else { accepted(&format!("{url}/status")) }
    }
}

#[derive(Serialize)]
struct Result<T> {
    result: T,
}

/// In order of the keys.
#[derive(Serialize)]
struct TaskBody {
    s3_urls: BTreeMap<String, String>,
    src_url: String,
    state: &'static str,
    status: String,
}

impl TaskBody {
    fn of(report: Report) -> Self {
        let Report { state, status, src_url, s3_urls } = report;
        Self { s3_urls, src_url, state: state.as_str(), status }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: Error<'a>,
}

/// In order of the keys.
#[derive(Serialize)]
struct Error<'a> {
    code: u16,
    description: &'a str,
    name: &'static str,
}

/// 302, with a page for whoever does not follow it.
fn found(location: &str) -> Response<Body> {
    let shown = escaped(location);
    let page = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<title>Redirecting...</title>\n\
         <h1>Redirecting...</h1>\n<p>You should be redirected automatically to target URL: \
         <a href=\"{shown}\">{shown}</a>.  If not click the link."
    );
    let mut response = answer(StatusCode::FOUND, "text/html; charset=utf-8", page.into_bytes());
    locate(&mut response, location);
    response
}

/// 202, and where to wait.
fn accepted(location: &str) -> Response<Body> {
    let mut response = json(StatusCode::ACCEPTED, &Result { result: BTreeMap::<String, String>::new() });
    locate(&mut response, location);
    response
}

fn locate(response: &mut Response<Body>, location: &str) {
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}

fn error(status: StatusCode, description: &str) -> Response<Body> {
    let name = status.canonical_reason().unwrap_or("Error");
    json(status, &ErrorBody { error: Error { code: status.as_u16(), description, name } })
}

fn wrong_method(method: &Method) -> Option<Response<Body>> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "allowed here: GET, HEAD");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}

fn not_asked(failure: &AskError) -> Response<Body> {
    let status = match failure {
        AskError::NoSource(_) => StatusCode::NOT_FOUND,
        AskError::Malformed(_) => StatusCode::BAD_REQUEST,
        AskError::Forbidden { .. } => StatusCode::FORBIDDEN,
    };
    error(status, &failure.to_string())
}

fn not_answered(failure: &AnswerError) -> Response<Body> {
    match failure {
        AnswerError::QueueFull | AnswerError::ReadOnly | AnswerError::Busy => {}
        AnswerError::Catalogue(_) | AnswerError::Store(_) => tracing::error!(error = %failure, "cannot answer"),
    }
    let full = matches!(failure, AnswerError::Catalogue(error) if error.is_storage_full());
    if full {
        return error(StatusCode::INSUFFICIENT_STORAGE, "there is no room for another archive");
    }
    let description = match failure {
        AnswerError::QueueFull => "too many archives wait to be fetched",
        AnswerError::ReadOnly => "nothing is fetched here",
        AnswerError::Busy => "too much is being written; try again in a moment",
        AnswerError::Catalogue(_) | AnswerError::Store(_) => "archives cannot be looked up at the moment",
    };
    unavailable(description)
}

fn not_cooked(refusal: &OrderError) -> Response<Body> {
    match refusal {
        OrderError::NotFound | OrderError::OtherKind { .. } => {
            error(StatusCode::NOT_FOUND, "the archive was collected: ask for it anew")
        }
        OrderError::Blocked { .. } => {
            error(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, "the directory, or something in it, is blocked here")
        }
        OrderError::QueueFull => unavailable("too many cooks are waiting"),
        OrderError::Busy => unavailable("too much is being written; try again in a moment"),
        OrderError::NoRoom(_) => error(StatusCode::INSUFFICIENT_STORAGE, "there is no room for another bundle"),
        OrderError::Archive(_) | OrderError::Catalogue(_) | OrderError::Store(_) => {
            tracing::error!(error = %refusal, "cannot cook the directory of an archive");
            unavailable("the bundle cannot be cooked at the moment")
        }
    }
}

fn unavailable(description: &str) -> Response<Body> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, description);
    response.headers_mut().insert(RETRY_AFTER, RETRY.into());
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let bytes = serde_json::to_vec_pretty(value).expect("because every key of it is a string");
    answer(status, "application/json", bytes)
}

fn answer(status: StatusCode, media_type: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::State;

    fn bytes(response: Response<Body>) -> Vec<u8> {
        let Body::Full(bytes) = response.into_body() else { panic!("it has a body in memory") };
        bytes.to_vec()
    }

    #[test]
    fn bodies_have_the_lengths_that_clients_know() {
        assert_eq!(bytes(accepted("http://x/")).len(), 18);
        // A signed URL of 188 characters, two of them ampersands.
        let url = format!("https://h/{}&{}&{}", "a".repeat(100), "b".repeat(40), "c".repeat(36));
        let page = bytes(found(&url));
        assert_eq!((url.len(), page.len()), (188, 599));
    }

    #[test]
    fn a_status_has_its_four_fields_in_order_indented_by_two() {
        let report = Report {
            state: State::Success,
            status: "s".to_owned(),
            src_url: "u".to_owned(),
            s3_urls: BTreeMap::from([("local".to_owned(), "l".to_owned())]),
        };
        let body = bytes(json(StatusCode::OK, &Result { result: TaskBody::of(report) }));
        let expected = "{\n  \"result\": {\n    \"s3_urls\": {\n      \"local\": \"l\"\n    },\n    \"src_url\": \"u\",\n    \
                        \"state\": \"SUCCESS\",\n    \"status\": \"s\"\n  }\n}";
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
}
