//! `Prefer: wait` (RFC 7240 section 4.3): how long a request is ready to wait, and saying that it did.

use super::body::Body;
use hyper::Response;
use hyper::header::{HeaderMap, HeaderValue};
use std::time::Duration;

/// The longest `Prefer: wait` that is granted.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The `wait` of `Prefer` (RFC 7240 section 4.3), at most a minute.
pub(super) fn wanted_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT))
        .filter(|patience| !patience.is_zero())
}

pub(super) fn say_waited(response: &mut Response<Body>, waited: Option<Duration>) {
    if let Some(patience) = waited
        && let Ok(applied) = HeaderValue::try_from(format!("wait={}", patience.as_secs()))
    {
        response.headers_mut().insert("preference-applied", applied);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefer_wait_is_read_among_other_preferences_and_capped() {
        let wait = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(value));
            wanted_wait(&headers).map(|patience| patience.as_secs())
        };
        for (value, seconds) in [
            ("wait=30", Some(30)),
            ("respond-async, wait=5", Some(5)),
            ("Wait = \"7\"; foo", Some(7)),
            ("wait=999999999", Some(60)),
            ("wait=0", None),
            ("wait=-1", None),
            ("wait", None),
            ("return=minimal", None),
        ] {
            assert_eq!(wait(value), seconds, "{value}");
        }
    }
}
