//! A bundle as an answer: what a request for a file that is there gets, and the headers it carries.
//!
//! First [`resolve`] decides, from the request and the file's size and time alone; then [`respond`]
//! makes the answer. Knows neither the store nor the catalogue: it is given an open file, so the
//! bytes sent are those of that file even when its name is removed meanwhile.

use super::body::{Body, FileBody, Piece};
use super::conditional::{self, Decision};
use super::digests::FileId;
use super::etag::Validator;
use super::problem::Problem;
use super::range::{self, ByteRange, Selection};
use crate::digest::repr_digest;
use crate::key::BundleKey;
use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use std::fs::File;

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// What is said of a file beside its size and time.
#[derive(Clone, Debug)]
pub struct Meta {
    /// Media type.
    pub media_type: &'static str,
    /// The name it is saved under; made of letters, digits, `_`, `.` and `-` only.
    pub file_name: String,
    /// Whether the bytes under this name never change.
    pub immutable: bool,
    /// SHA-256 of the whole file, where it is known.
    pub sha256: Option<[u8; 32]>,
    /// Which file it is, if its bytes may be kept in memory: only where they never change in place.
    pub file: Option<FileId>,
}

impl Meta {
    /// What is said of the bundle `key`.
    #[must_use]
    pub fn of(key: &BundleKey, sha256: Option<[u8; 32]>) -> Self {
        let format = key.format();
        Self {
            media_type: format.media_type(),
            file_name: key.file_name(),
            immutable: format.is_immutable(),
            sha256,
            file: None,
        }
    }

    /// With the file it is, so that a small one is kept in memory.
    #[must_use]
    pub fn kept(self, file: FileId) -> Self {
        Self { file: Some(file), ..self }
    }
}

/// What a request for a file that is there comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 with the whole file.
    Whole,
    /// 200 to a HEAD.
    Head,
    /// 206 with these bytes.
    Part(ByteRange),
    /// 206 with several parts.
    Parts(Vec<ByteRange>),
    /// 304.
    NotModified,
    /// 405.
    MethodNotAllowed,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

/// An answer, and whether it counts as a use of the bundle.
#[derive(Debug)]
pub struct Served {
    /// The answer.
    pub response: Response<Body>,
    /// True for a GET that gets the first byte, or that says its copy is still good.
    pub counts: bool,
}

/// Decides, without touching the file. HEAD ignores `Range`, as RFC 9110 section 14.2 says of every
/// method that does not define it.
#[must_use]
pub fn resolve(method: &Method, headers: &HeaderMap, validator: &Validator) -> Outcome {
    if method != Method::GET && method != Method::HEAD {
        return Outcome::MethodNotAllowed;
    }
    let ranges = match conditional::evaluate(method, headers, validator) {
        Decision::PreconditionFailed => return Outcome::PreconditionFailed,
        Decision::NotModified => return Outcome::NotModified,
        Decision::Perform { ranges } => ranges,
    };
    if method == Method::HEAD {
        return Outcome::Head;
    }
    let Some(field) = conditional::only(headers, &header::RANGE).filter(|_| ranges) else { return Outcome::Whole };
    match range::select(field, validator.size) {
        Selection::Whole => Outcome::Whole,
        Selection::Unsatisfiable => Outcome::Unsatisfiable,
        Selection::Parts(parts) => match parts[..] {
            [part] => Outcome::Part(part),
            _ => Outcome::Parts(parts),
        },
    }
}

/// Answers a request for `file`, whose size and time are `validator`.
#[must_use]
pub fn respond(method: &Method, headers: &HeaderMap, file: File, validator: &Validator, meta: &Meta) -> Served {
    let outcome = resolve(method, headers, validator);
    let counts = match &outcome {
        Outcome::Whole => true,
        Outcome::NotModified => method == Method::GET,
        Outcome::Part(part) => part.start == 0,
        Outcome::Parts(parts) => parts.iter().any(|part| part.start == 0),
        Outcome::Head | Outcome::MethodNotAllowed | Outcome::PreconditionFailed | Outcome::Unsatisfiable => false,
    };
    let response = match outcome {
        Outcome::Whole => whole(file, validator, meta),
        Outcome::Head => described(StatusCode::OK, Body::Empty, validator.size, validator, meta),
        Outcome::Part(part) => single(file, part, validator, meta),
        Outcome::Parts(parts) => multipart(file, &parts, validator, meta),
        Outcome::NotModified => not_modified(validator, meta),
        Outcome::MethodNotAllowed => Problem::method_not_allowed("GET, HEAD").response(),
        Outcome::PreconditionFailed => {
            let detail = "the bundle is not the one that the request's conditions name";
            Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail).response()
        }
        Outcome::Unsatisfiable => {
            let detail = format!("no byte asked for is among the {} there are", validator.size);
            Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail)
                .header(header::CONTENT_RANGE, value(&range::unsatisfied(validator.size)))
                .response()
        }
    };
    Served { response, counts }
}

fn whole(file: File, validator: &Validator, meta: &Meta) -> Response<Body> {
    let body = match validator.size {
        0 => Body::Empty,
        end => match meta.file.filter(|id| id.size == end) {
            Some(id) => Body::File(FileBody::whole(file, id)),
            None => Body::File(FileBody::single(file, ByteRange { start: 0, end })),
        },
    };
    described(StatusCode::OK, body, validator.size, validator, meta)
}

fn single(file: File, part: ByteRange, validator: &Validator, meta: &Meta) -> Response<Body> {
    let body = Body::File(FileBody::single(file, part));
    let mut response = described(StatusCode::PARTIAL_CONTENT, body, part.size(), validator, meta);
    response.headers_mut().insert(header::CONTENT_RANGE, value(&part.content_range(validator.size)));
    response
}

/// RFC 9110 section 14.6. The boundary is random, so that no file can hold it on purpose.
fn multipart(file: File, parts: &[ByteRange], validator: &Validator, meta: &Meta) -> Response<Body> {
    let boundary = boundary();
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let content_range = part.content_range(validator.size);
        let head =
            format!("\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {content_range}\r\n\r\n", meta.media_type);
        pieces.extend([Piece::Text(head.into()), Piece::File(*part)]);
    }
    pieces.push(Piece::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    let body = Body::File(FileBody::pieces(file, pieces));
    let size = body.size();
    let mut response = described(StatusCode::PARTIAL_CONTENT, body, size, validator, meta);
    let media_type = value(&format!("multipart/byteranges; boundary={boundary}"));
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

/// An answer with the bytes of a bundle as they are made: of unknown length, in one piece, and with
/// nothing to know it by again. The body of one to a HEAD is never begun.
#[must_use]
pub fn streamed(body: Body, meta: &Meta) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
    describe(headers, meta);
    response
}

/// What is said of a bundle whatever became of it.
fn describe(headers: &mut HeaderMap, meta: &Meta) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(meta.media_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, value(&format!("attachment; filename=\"{}\"", meta.file_name)));
    headers.insert(header::CACHE_CONTROL, cache_control(meta));
}

/// The validator and the caching rule alone: the client has the rest (RFC 9110 section 15.4.5).
fn not_modified(validator: &Validator, meta: &Meta) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, value(&validator.etag()));
    headers.insert(header::CACHE_CONTROL, cache_control(meta));
    response
}

/// An answer with `length` bytes of the file (or of none, to a HEAD) and all that is said of it.
fn described(status: StatusCode, body: Body, length: u64, validator: &Validator, meta: &Meta) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(10);
    describe(headers, meta);
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ETAG, value(&validator.etag()));
    if let Some(modified) = validator.last_modified() {
        headers.insert(header::LAST_MODIFIED, value(&modified));
    }
    if status == StatusCode::OK {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Some(sha256) = &meta.sha256 {
        headers.insert(REPR_DIGEST, value(&repr_digest(sha256)));
    }
    response
}

fn cache_control(meta: &Meta) -> HeaderValue {
    HeaderValue::from_static(if meta.immutable { "public, max-age=31536000, immutable" } else { "public, no-cache" })
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("because it is made of printable ASCII")
}

/// Twenty digits, as long as nginx's: then the two send bodies of one length.
fn boundary() -> String {
    let mut random = [0_u8; 16];
    // Without randomness the boundary is one a hostile file could hold, but Content-Range still
    // tells a careful client where each part ends.
    let _ = getrandom::fill(&mut random);
    format!("{:020x}", u128::from_be_bytes(random) >> 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Validator = Validator { mtime: 1_700_000_000, size: 100 };

    type Fields = [(&'static str, &'static str)];

    fn meta() -> Meta {
        let key = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
        Meta::of(&key, Some([0xab; 32]))
    }

    fn request(method: &Method, fields: &Fields) -> Served {
        let headers = fields.iter().map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        respond(method, &headers.collect(), tempfile::tempfile().unwrap(), &FILE, &meta())
    }

    #[test]
    fn a_whole_bundle_says_all_there_is_to_say() {
        let served = request(&Method::GET, &[]);
        assert!(served.counts);
        assert_eq!((served.response.status(), served.response.body().size()), (StatusCode::OK, 100));
        let expected = [
            ("content-type", "application/gzip"),
            ("content-length", "100"),
            ("etag", "\"6553f100-64\""),
            ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
            (
                "content-disposition",
                "attachment; filename=\"swh_1_dir_4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar.gz\"",
            ),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("repr-digest", "sha-256=:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=:"),
        ];
        for (name, text) in expected {
            assert_eq!(served.response.headers()[name], text, "{name}");
        }
    }

    #[test]
    fn a_hit_is_what_gets_the_first_byte_or_has_it() {
        let cases: &[(&Method, &Fields, u16, bool)] = &[
            (&Method::GET, &[], 200, true),
            (&Method::HEAD, &[], 200, false),
            (&Method::HEAD, &[("range", "bytes=0-1")], 200, false),
            (&Method::GET, &[("range", "bytes=0-1")], 206, true),
            (&Method::GET, &[("range", "bytes=1-2")], 206, false),
            (&Method::GET, &[("range", "bytes=9-10,0-1")], 206, true),
            (&Method::GET, &[("range", "bytes=9-10,5-6")], 206, false),
            (&Method::GET, &[("range", "bytes=100-")], 416, false),
            (&Method::GET, &[("if-none-match", "*")], 304, true),
            (&Method::HEAD, &[("if-none-match", "*")], 304, false),
            (&Method::GET, &[("if-match", "\"x\"")], 412, false),
            (&Method::POST, &[], 405, false),
        ];
        for (method, fields, status, counts) in cases {
            let served = request(method, fields);
            assert_eq!((served.response.status().as_u16(), served.counts), (*status, *counts), "{method} {fields:?}");
        }
    }

    #[test]
    fn a_304_describes_nothing_the_client_already_has() {
        let response = request(&Method::GET, &[("if-none-match", "*")]).response;
        let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "etag"]);
    }

    #[test]
    fn a_416_says_how_long_the_file_is() {
        let response = request(&Method::GET, &[("range", "bytes=100-")]).response;
        assert_eq!(response.headers()[header::CONTENT_RANGE], "bytes */100");
    }

    #[test]
    fn the_length_of_several_parts_is_that_of_the_body() {
        let response = request(&Method::GET, &[("range", "bytes=0-1,50-60,-1")]).response;
        assert_eq!(response.headers()[header::CONTENT_LENGTH], response.body().size().to_string());
        assert_ne!(boundary(), boundary());
    }
}
