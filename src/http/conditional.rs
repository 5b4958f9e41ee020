//! Which answer a conditional request gets: RFC 9110 section 13.2.2, its steps in its order. Pure.
//!
//! A date that is not one, or that comes twice, is as if it had not been sent (sections 13.1.3 and
//! 13.1.4). A file's time and size are taken from its bytes' digest, so `Last-Modified` is a strong
//! validator in the sense of section 8.8.2.2, whatever the clock says.

use super::etag::{self, Comparison, Validator};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method};
use std::time::SystemTime;

/// What the preconditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The method is performed; a `Range` is looked at only if `ranges` (it is false for every
    /// method but GET, and when an `If-Range` does not hold).
    Perform {
        /// Whether a `Range` of this request counts.
        ranges: bool,
    },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Decides for a representation that exists and has `validator`.
#[must_use]
pub fn evaluate(method: &Method, headers: &HeaderMap, validator: &Validator) -> Decision {
    let is_read = method == Method::GET || method == Method::HEAD;
    let etag = validator.etag();
    let modified = validator.modified();

    // 1. If-Match: true goes on to step 3, false is a 412.
    if headers.contains_key(header::IF_MATCH) {
        if !etag::list_has(lines(headers, &header::IF_MATCH), &etag, Comparison::Strong) {
            return Decision::PreconditionFailed;
        }
    // 2. Without it, If-Unmodified-Since: true goes on to step 3, false is a 412.
    } else if let (Some(since), Some(modified)) = (date(headers, &header::IF_UNMODIFIED_SINCE), modified)
        && modified > since
    {
        return Decision::PreconditionFailed;
    }

    // 3. If-None-Match: true goes on to step 5, false is a 304 for GET and HEAD, else a 412.
    if headers.contains_key(header::IF_NONE_MATCH) {
        if etag::list_has(lines(headers, &header::IF_NONE_MATCH), &etag, Comparison::Weak) {
            return if is_read { Decision::NotModified } else { Decision::PreconditionFailed };
        }
    // 4. Without it, If-Modified-Since of a GET or HEAD: true goes on to step 5, false is a 304.
    } else if is_read
        && let (Some(since), Some(modified)) = (date(headers, &header::IF_MODIFIED_SINCE), modified)
        && modified <= since
    {
        return Decision::NotModified;
    }

    // 5. Range and If-Range of a GET: the Range counts if the condition is true. 6. Otherwise the
    // method is performed.
    Decision::Perform { ranges: method == Method::GET && if_range_holds(headers, &etag, modified) }
}

/// Section 13.1.5: a strong tag, or the very date of `Last-Modified`. What is neither does not hold.
fn if_range_holds(headers: &HeaderMap, etag: &str, modified: Option<SystemTime>) -> bool {
    if !headers.contains_key(header::IF_RANGE) {
        return true;
    }
    let Some(field) = only(headers, &header::IF_RANGE) else { return false };
    etag::is_strongly(field, etag).unwrap_or_else(|| modified.is_some() && parse_date(field) == modified)
}

fn lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).into_iter().map(HeaderValue::as_bytes)
}

/// The field's value if it came once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = lines(headers, name);
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    only(headers, name).and_then(parse_date)
}

/// Any of the three formats of section 5.6.7.
fn parse_date(field: &[u8]) -> Option<SystemTime> {
    std::str::from_utf8(field).ok().and_then(|text| httpdate::parse_http_date(text.trim()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: Validator = Validator { mtime: 1_700_000_000, size: 0x123 };
    const TAG: &str = "\"6553f100-123\"";
    const AT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const AFTER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";
    const AT_850: &str = "Tuesday, 14-Nov-23 22:13:20 GMT";
    const AT_ASCTIME: &str = "Tue Nov 14 22:13:20 2023";

    const FULL: Decision = Decision::Perform { ranges: true };
    const NO_RANGES: Decision = Decision::Perform { ranges: false };

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).expect("because the table holds legal values"));
        }
        map
    }

    #[test]
    fn each_precondition_alone() {
        let cases: &[(&'static str, &str, Decision)] = &[
            ("if-match", "*", FULL),
            ("if-match", TAG, FULL),
            ("if-match", "\"x\"", Decision::PreconditionFailed),
            ("if-match", "W/\"6553f100-123\"", Decision::PreconditionFailed),
            ("if-match", "", Decision::PreconditionFailed),
            ("if-none-match", "*", Decision::NotModified),
            ("if-none-match", TAG, Decision::NotModified),
            ("if-none-match", "W/\"6553f100-123\"", Decision::NotModified),
            ("if-none-match", "\"x\"", FULL),
            ("if-modified-since", AT, Decision::NotModified),
            ("if-modified-since", AT_850, Decision::NotModified),
            ("if-modified-since", AT_ASCTIME, Decision::NotModified),
            ("if-modified-since", AFTER, Decision::NotModified),
            ("if-modified-since", BEFORE, FULL),
            ("if-modified-since", "yesterday", FULL),
            ("if-unmodified-since", AT, FULL),
            ("if-unmodified-since", AFTER, FULL),
            ("if-unmodified-since", BEFORE, Decision::PreconditionFailed),
            ("if-unmodified-since", "yesterday", FULL),
            ("if-range", TAG, FULL),
            ("if-range", "W/\"6553f100-123\"", NO_RANGES),
            ("if-range", "\"x\"", NO_RANGES),
            ("if-range", "*", NO_RANGES),
            ("if-range", AT, FULL),
            ("if-range", AT_850, FULL),
            ("if-range", AFTER, NO_RANGES),
            ("if-range", BEFORE, NO_RANGES),
            ("if-range", "yesterday", NO_RANGES),
        ];
        for (name, value, expected) in cases {
            assert_eq!(evaluate(&Method::GET, &headers(&[(name, value)]), &FILE), *expected, "{name}: {value}");
        }
    }

    #[test]
    fn earlier_steps_win() {
        let cases: &[(&[(&'static str, &str)], Decision)] = &[
            (&[("if-match", "\"x\""), ("if-none-match", TAG)], Decision::PreconditionFailed),
            (&[("if-match", TAG), ("if-unmodified-since", BEFORE)], FULL),
            (&[("if-match", TAG), ("if-none-match", TAG)], Decision::NotModified),
            (&[("if-none-match", "\"x\""), ("if-modified-since", AT)], FULL),
            (&[("if-none-match", TAG), ("if-modified-since", BEFORE)], Decision::NotModified),
            (&[("if-unmodified-since", BEFORE), ("if-modified-since", AT)], Decision::PreconditionFailed),
            (&[("if-unmodified-since", AT), ("if-modified-since", AT)], Decision::NotModified),
            (&[("if-none-match", TAG), ("if-range", "\"x\"")], Decision::NotModified),
        ];
        for (fields, expected) in cases {
            assert_eq!(evaluate(&Method::GET, &headers(fields), &FILE), *expected, "{fields:?}");
        }
    }

    #[test]
    fn other_methods_get_412_for_a_match_and_no_range() {
        let post = |fields| evaluate(&Method::POST, &headers(fields), &FILE);
        assert_eq!(post(&[("if-none-match", TAG)]), Decision::PreconditionFailed);
        assert_eq!(post(&[("if-modified-since", AT)]), NO_RANGES);
        assert_eq!(post(&[]), NO_RANGES);
        assert_eq!(evaluate(&Method::HEAD, &headers(&[]), &FILE), NO_RANGES);
        assert_eq!(evaluate(&Method::HEAD, &headers(&[("if-none-match", TAG)]), &FILE), Decision::NotModified);
    }

    #[test]
    fn a_date_sent_twice_is_no_date() {
        let twice = headers(&[("if-modified-since", AT), ("if-modified-since", AT)]);
        assert_eq!(evaluate(&Method::GET, &twice, &FILE), FULL);
        assert_eq!(evaluate(&Method::GET, &headers(&[("if-range", TAG), ("if-range", TAG)]), &FILE), NO_RANGES);
    }

    #[test]
    fn a_file_without_a_date_fails_no_date_condition() {
        let timeless = Validator { mtime: -1, size: 1 };
        for name in ["if-modified-since", "if-unmodified-since"] {
            assert_eq!(evaluate(&Method::GET, &headers(&[(name, BEFORE)]), &timeless), FULL, "{name}");
        }
        assert_eq!(evaluate(&Method::GET, &headers(&[("if-range", "junk")]), &timeless), NO_RANGES);
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(name in 0..5_usize, value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let name = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"][name];
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let map: HeaderMap = [(HeaderName::from_static(name), value)].into_iter().collect();
                let _ = evaluate(&Method::GET, &map, &FILE);
            }
        }

        #[test]
        fn dates_order_as_their_seconds(mtime in 0_i64..4_000_000_000, asked in 0_i64..4_000_000_000) {
            let file = Validator { mtime, size: 1 };
            let date = Validator { mtime: asked, size: 1 }.last_modified().unwrap();
            let get = |name| evaluate(&Method::GET, &headers(&[(name, &date)]), &file);
            prop_assert_eq!(get("if-modified-since") == Decision::NotModified, mtime <= asked);
            prop_assert_eq!(get("if-unmodified-since") == Decision::PreconditionFailed, mtime > asked);
            prop_assert_eq!(get("if-range") == FULL, mtime == asked);
        }
    }
}
