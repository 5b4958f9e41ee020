//! Answers of Software Heritage's API: JSON values, cut down to the fields that were asked for, and what went wrong in
//! its form, `{"exception": ..., "reason": ...}`. Owns these forms; knows no endpoint.

use super::super::body::Body;
use super::super::query;
use super::accept::Rendering;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LINK, RETRY_AFTER, VARY};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

/// What is refused, and why.
#[derive(Debug)]
pub(super) struct Wrong {
    status: StatusCode,
    body: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Wrong {
    pub(super) fn new(status: StatusCode, exception: &str, reason: impl Into<Value>) -> Self {
        let body = json!({"exception": exception, "reason": reason.into()});
        Self { status, body, headers: Vec::new() }
    }

    /// 400: an identifier or a parameter that makes no sense.
    pub(super) fn bad_input(reason: impl Into<Value>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadInputExc", reason)
    }

    /// 400: a parameter of a query that is none.
    pub(super) fn validation(parameter: &str, words: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", json!({parameter: [words]}))
    }

    /// 404: nothing of that name is here. Clients go by the end of `reason`.
    pub(super) fn not_found(reason: String) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFoundExc", reason)
    }

    /// 404: no such path.
    pub(super) fn no_such_path(path: &str) -> Self {
        let reason = format!("The resource {path} could not be found on the server.");
        let body = json!({"error": "Resource not found", "reason": reason});
        Self { status: StatusCode::NOT_FOUND, body, headers: Vec::new() }
    }

    /// 405.
    pub(super) fn method(method: &str, allow: &'static str) -> Self {
        let reason = format!("Method \"{method}\" not allowed.");
        let wrong = Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", reason);
        wrong.with(ALLOW, HeaderValue::from_static(allow))
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What larder says elsewhere in the form of RFC 9457, with the same status and reason.
    pub(super) fn of_problem(problem: Response<Body>) -> Self {
        let (head, body) = problem.into_parts();
        let members: Value = match body {
            Body::Full(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Body::Empty | Body::File(_) | Body::Stream(_) | Body::Pages(_) | Body::Events(_) => Value::Null,
        };
        let exception = match head.status {
            StatusCode::NOT_FOUND => "NotFoundExc",
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => "UnavailableForLegalReasons",
            StatusCode::UNPROCESSABLE_ENTITY => "UnprocessableObject",
            StatusCode::INSUFFICIENT_STORAGE => "InsufficientStorage",
            _ => "ServiceUnavailable",
        };
        let headers = [RETRY_AFTER, LINK, ALLOW];
        let kept = headers.into_iter().filter_map(|name| Some((name.clone(), head.headers.get(name)?.clone())));
        Self { headers: kept.collect(), ..Self::new(head.status, exception, members["detail"].clone()) }
    }

    pub(super) fn response(self, rendering: Rendering) -> Response<Body> {
        let mut response = rendered(self.status, &self.body, rendering);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// 200 with a value, of whose fields, or of those of its elements, `?fields=` may want only some.
pub(super) fn found(value: impl Serialize, query: Option<&str>, rendering: Rendering) -> Response<Body> {
    let value = serde_json::to_value(value).expect("because every key of it is a string");
    rendered(StatusCode::OK, &Fields::wanted(query).cut(value), rendering)
}

/// The fields that an answer is to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Option<Vec<String>>);

impl Fields {
    /// Those of `?fields=a,b`; all when it is not there or empty.
    pub(super) fn wanted(query: Option<&str>) -> Self {
        let names = query::value(query, "fields").filter(|names| !names.is_empty());
        Self(names.map(|names| String::from_utf8_lossy(&names).split(',').map(str::to_owned).collect()))
    }

    /// Whether an answer is to have this one.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one == name))
    }

    pub(super) fn cut(&self, value: Value) -> Value {
        let Some(wanted) = &self.0 else { return value };
        let cut = |value: Value| match value {
            Value::Object(members) => {
                Value::Object(members.into_iter().filter(|(name, _)| wanted.contains(name)).collect())
            }
            other => other,
        };
        match value {
            Value::Array(elements) => Value::Array(elements.into_iter().map(cut).collect()),
            other => cut(other),
        }
    }
}

fn rendered(status: StatusCode, value: &Value, rendering: Rendering) -> Response<Body> {
    let text = value.to_string();
    let text = match rendering {
        Rendering::Json | Rendering::Yaml => text,
        Rendering::Html => page(&text),
    };
    let mut response = Response::new(Body::from(text.into_bytes()));
    *response.status_mut() = status;
    described(&mut response, rendering);
    response
}

/// The headers of every answer that is rendered.
pub(super) fn described(response: &mut Response<Body>, rendering: Rendering) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(rendering.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if rendering == Rendering::Html {
        headers.insert("content-security-policy", HeaderValue::from_static("default-src 'none'; sandbox"));
    }
}

/// JSON as a page: names in it may be anything.
fn page(json: &str) -> String {
    let escaped = json.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>larder</title></head>\
         <body><pre>{escaped}</pre></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::problem::Problem;
    use super::*;

    fn text(response: Response<Body>) -> String {
        let Body::Full(bytes) = response.into_body() else { panic!("it has bytes") };
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn json_is_one_line_without_a_space_and_fields_are_those_asked_for() {
        let value = json!([{"id": 1, "status": "done", "x": null}, {"id": 2}, 3]);
        for (query, expected) in [
            (None, r#"[{"id":1,"status":"done","x":null},{"id":2},3]"#),
            (Some("fields="), r#"[{"id":1,"status":"done","x":null},{"id":2},3]"#),
            (Some("fields=status,id"), r#"[{"id":1,"status":"done"},{"id":2},3]"#),
            (Some("a=b&fields=nothing"), "[{},{},3]"),
        ] {
            assert_eq!(text(found(&value, query, Rendering::Json)), expected, "{query:?}");
        }
    }

    #[test]
    fn a_page_shows_what_it_has_as_text() {
        let page = found(json!({"name": "</pre><script>&amp;"}), None, Rendering::Html);
        assert_eq!(page.headers()["content-security-policy"], "default-src 'none'; sandbox");
        assert!(text(page).contains("&lt;/pre&gt;&lt;script&gt;&amp;amp;"));
    }

    #[test]
    fn a_problem_keeps_its_status_its_reason_and_when_to_come_back() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", "full").retry_after(30).response();
        let said = Wrong::of_problem(problem).response(Rendering::Json);
        assert_eq!((said.status().as_u16(), &said.headers()[RETRY_AFTER]), (503, &HeaderValue::from_static("30")));
        assert_eq!(text(said), r#"{"exception":"ServiceUnavailable","reason":"full"}"#);
    }
}
