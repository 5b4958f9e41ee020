//! Errors as RFC 9457 `application/problem+json`. Owns their shape; knows nothing of what went
//! wrong, and is never given a path, SQL or a backtrace.

use super::body::Body;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// An error as a client sees it. `type` is left out, which means `about:blank`: the status says
/// what kind of problem it is, and `code` says which, in a word that never changes.
///
/// ```
/// use larder::http::problem::Problem;
/// use hyper::StatusCode;
/// let response = Problem::new(StatusCode::BAD_REQUEST, "malformed_id", "an id is 40 digits").response();
/// assert_eq!(response.status(), 400);
/// assert_eq!(response.headers()["content-type"], "application/problem+json");
/// ```
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// The problem `code`, with words for whoever reads them.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let members = Map::from_iter([
            ("status".to_owned(), Value::from(status.as_u16())),
            ("title".to_owned(), Value::from(title)),
            ("code".to_owned(), Value::from(code)),
            ("detail".to_owned(), Value::from(detail.into())),
        ]);
        Self { status, members, headers: Vec::new() }
    }

    /// With one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// With one more header field.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With `Retry-After`.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// 405, which must say what is allowed (RFC 9110 section 15.5.6).
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", format!("allowed here: {allow}"))
            .header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// The whole answer. It has its body for a HEAD too; the server takes it away.
    #[must_use]
    pub fn response(self) -> Response<Body> {
        let body = format!("{}\n", Value::Object(self.members));
        let mut response = Response::new(Body::from(body.into_bytes()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_with_its_status_code_and_members() {
        let response = Problem::new(StatusCode::NOT_FOUND, "absent", "not \"here\"").with("links", 7).response();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let Body::Full(body) = response.into_body() else { panic!("a problem has bytes") };
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = serde_json::json!({
            "status": 404, "title": "Not Found", "code": "absent", "detail": "not \"here\"", "links": 7,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn not_allowed_says_what_is() {
        let response = Problem::method_not_allowed("GET, HEAD").response();
        assert_eq!(
            (response.status(), &response.headers()[header::ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
        );
    }
}
