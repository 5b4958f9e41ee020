//! What all pages have around them: the head, the field to search with, and the headers that keep a browser from
//! executing anything that larder did not write. Everything that templates are given is escaped by maud.

use super::super::body::Body;
use super::assets;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use maud::{DOCTYPE, Markup, html};

/// Nothing is loaded, sent or framed but from and to larder itself, and nothing in a page is style or script.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self'; script-src 'self'; style-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page without its surroundings.
pub(super) struct Page<'a> {
    /// The path of larder's root.
    pub(super) root: &'a str,
    /// What stands before larder's name in the title.
    pub(super) title: String,
    /// Whether it is to be loaded again every few seconds where there is no script.
    pub(super) changes: bool,
    /// Whether the field to search with stands at its head.
    pub(super) searches: bool,
}

impl Page<'_> {
    /// The whole page.
    pub(super) fn around(&self, main: &Markup) -> Markup {
        let root = self.root;
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " \u{b7} larder" }
                    link rel="icon" type="image/svg+xml" href={ (root) (assets::path("icon.svg")) };
                    link rel="stylesheet" href={ (root) (assets::path("page.css")) };
                    script src={ (root) (assets::path("page.js")) } defer {}
                    @if self.changes {
                        noscript { meta http-equiv="refresh" content="2"; }
                    }
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header.top {
                        a.home href={ (root) "/" } { "larder" }
                        @if self.searches {
                            form.search role="search" method="get" action={ (root) "/" } {
                                input type="search" name="q" aria-label="SWHID, commit or URL" required
                                    placeholder="SWHID, commit or URL" autocomplete="off" spellcheck="false";
                                button { "Find" }
                            }
                        }
                    }
                    main id="main" tabindex="-1" { (main) }
                    footer {
                        p { "larder " (env!("CARGO_PKG_VERSION")) ": bundles of source code, each verified against its id." }
                    }
                }
            }
        }
    }
}

/// What every page says in its headers.
pub(super) fn add_headers(fields: &mut HeaderMap) {
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        // Not none: a form would have no `Origin` then.
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(VARY, HeaderValue::from_static("accept"));
}

/// The page that stands for a problem, with its status and its headers.
pub(in super::super) fn apology(root: &str, problem: Response<Body>) -> Response<Body> {
    let (mut parts, body) = problem.into_parts();
    let said: serde_json::Value = match &body {
        Body::Full(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
        Body::Empty | Body::File(_) | Body::Stream(_) | Body::Pages(_) | Body::Events(_) => serde_json::Value::Null,
    };
    let title = parts.status.canonical_reason().unwrap_or("Error").to_owned();
    let detail = said["detail"].as_str().unwrap_or_default();
    let main = html! {
        h1 { (title) }
        p.lead { (detail) "." }
        p { a href={ (root) "/" } { "Look for something else" } }
    };
    let page = Page { root, title, changes: false, searches: true }.around(&main).into_string();
    add_headers(&mut parts.headers);
    Response::from_parts(parts, Body::from(page.into_bytes()))
}
