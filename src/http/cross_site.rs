//! Whether an order by a form comes from larder's own page. There are no sessions and no cookies, so another site
//! gains nothing by a visitor's rights; but its page could have every visitor order cooks, from as many addresses.
//!
//! Browsers say where a request comes from: `Sec-Fetch-Site` (W3C Fetch Metadata) where the connection is secure or
//! to this machine, and `Origin` with every POST. What sends neither is no browser, and nobody's page makes it send
//! anything.

use crate::bodies::Base;
use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Whether a POST comes from a page of this larder, or from no page.
pub(super) fn is_own(headers: &HeaderMap, base: &Base) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    // The page may be reached under a name that `public_url` does not say, as `localhost`. A browser writes `Host`
    // itself: no page chooses it.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let is_host = |origin: &str| origin.split_once("://").map(|(_, named)| named) == host;
    origin == base.origin() || origin.to_str().is_ok_and(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn a_form_of_another_site_is_told_from_ones_own() {
        let base = Base::new("https://bundles.example.org", "/root");
        let own = |fields: &[(&'static str, &'static str)]| {
            let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            is_own(&fields.iter().map(field).collect(), &base)
        };
        for (fields, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://bundles.example.org")], false),
            (&[("origin", "https://bundles.example.org")], true),
            (&[("origin", "http://bundles.example.org")], false),
            (&[("origin", "https://bundles.example.org.evil.example")], false),
            (&[("origin", "https://bundles.example.org:8443")], false),
            (&[("origin", "null"), ("host", "localhost:8417")], false),
            (&[("origin", "http://localhost:8417"), ("host", "localhost:8417")], true),
            (&[("origin", "http://evil.example"), ("host", "localhost:8417")], false),
            (&[("origin", "localhost:8417"), ("host", "localhost:8417")], false),
        ] {
            assert_eq!(own(fields), expected, "{fields:?}");
        }
    }
}
