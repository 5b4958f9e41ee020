//! The form in which an answer is wanted: JSON, unless a client names another. Pure.

use super::super::query;
use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// A form that answers are given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rendering {
    /// Compact and on one line: clients match it as text, or read its last line.
    Json,
    /// The same text, which is YAML too (YAML 1.2, section 1.3).
    Yaml,
    /// The same on a page, for who looks at it in a browser.
    Html,
}

impl Rendering {
    /// The media type.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Html => "text/html; charset=utf-8",
        }
    }

    /// What `?format=` or `Accept` asks for; `None` when that is nothing there is. A page is given only to who asks for
    /// one: most programs send `*/*`.
    pub(super) fn wanted(headers: &HeaderMap, query: Option<&str>) -> Option<Self> {
        match query::value(query, "format").as_deref() {
            Some(b"json") => return Some(Self::Json),
            Some(b"yaml") => return Some(Self::Yaml),
            Some(_) | None => {}
        }
        let fields = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok());
        let ranges: Vec<String> = fields
            .flat_map(|field| field.split(','))
            .filter(|range| !is_refusal(range))
            .map(|range| range.split(';').next().unwrap_or(range).trim().to_ascii_lowercase())
            .filter(|range| !range.is_empty())
            .collect();
        let has = |range: &str| ranges.iter().any(|one| one == range);
        if ranges.is_empty() || has("application/json") {
            Some(Self::Json)
        } else if has("application/yaml") {
            Some(Self::Yaml)
        } else if has("text/html") {
            Some(Self::Html)
        } else if has("*/*") || has("application/*") {
            Some(Self::Json)
        } else {
            None
        }
    }
}

/// Whether a media range has the weight zero: "not acceptable" (RFC 9110 section 12.4.2).
fn is_refusal(range: &str) -> bool {
    let weight = range.split(';').skip(1).find_map(|parameter| parameter.trim().strip_prefix("q="));
    weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_given_unless_another_form_is_asked_for_by_name() {
        const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, query, wanted) in [
            ("", None, Some(Rendering::Json)),
            ("*/*", None, Some(Rendering::Json)),
            ("text/html, application/json", None, Some(Rendering::Json)),
            ("application/yaml", None, Some(Rendering::Yaml)),
            ("*/*", Some("x=1&format=yaml"), Some(Rendering::Yaml)),
            (BROWSER, None, Some(Rendering::Html)),
            (BROWSER, Some("format=json"), Some(Rendering::Json)),
            ("text/html;q=0, */*", None, Some(Rendering::Json)),
            ("application/xml", None, None),
            ("text/*", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Rendering::wanted(&headers, query), wanted, "{accept} {query:?}");
        }
    }
}
