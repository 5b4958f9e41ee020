//! The bodies of requests: JSON, or a form, whatever is in it. Pure.

use super::said::Wrong;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;
use serde_json::Value;

/// A body that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Nothing,
    Json(Value),
    /// A form: the names of its fields, as far as they stand in it plainly.
    Form(Vec<String>),
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
        "application/x-www-form-urlencoded" => {
            let names = body.split(|byte| *byte == b'&').filter(|field| !field.is_empty());
            let name = |field: &[u8]| {
                let name = field.split(|byte| *byte == b'=').next().unwrap_or(field);
                percent_decode(name).decode_utf8_lossy().into_owned()
            };
            Ok(Sent::Form(names.map(name).collect()))
        }
        "multipart/form-data" => Ok(Sent::Form(Vec::new())),
        _ => Err(Wrong::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            format!("Unsupported media type \"{media_type}\" in request."),
        )),
    }
}
