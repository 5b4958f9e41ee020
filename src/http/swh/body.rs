//! The bodies of requests: JSON, or a form, whatever is in it. Pure.

use super::said::Wrong;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;

/// A body that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    Json(Value),
    /// A form; its fields are not looked at.
    Form,
}

/// Reads the body of a POST.
pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Sent, Wrong> {
    if body.is_empty() {
        return Ok(Sent::Nothing);
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => serde_json::from_slice(body)
            .map(Sent::Json)
            .map_err(|error| Wrong::new(StatusCode::BAD_REQUEST, "ParseError", format!("JSON parse error - {error}"))),
        "application/x-www-form-urlencoded" | "multipart/form-data" => Ok(Sent::Form),
        _ => Err(Wrong::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("Unsupported media type \"{media_type}\" in request."),
        )),
    }
}
