//! Whether a client asks for a media type by its name (RFC 9110 section 12.5.1). What is not for everybody, as a page
//! for people or events that go on, is given to those alone: `*/*` is not enough.

use hyper::HeaderMap;

/// Whether `Accept` names this media type and does not weigh it nothing.
pub(super) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    let accept = headers.get_all("accept").iter().filter_map(|value| value.to_str().ok());
    accept.flat_map(|value| value.split(',')).any(|range| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        let is_nothing = |parameter: &str| {
            let weight = parameter.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('='));
            weight.and_then(|weight| weight.parse::<f32>().ok()) == Some(0.0)
        };
        name.trim().eq_ignore_ascii_case(media_type) && !parameters.split(';').any(is_nothing)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn events_are_for_those_who_name_them() {
        for (accept, wanted) in [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.5", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream; Q=0.000", false),
            ("*/*", false),
            ("text/*", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(hyper::header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(names(&headers, "text/event-stream"), wanted, "{accept}");
        }
    }
}
