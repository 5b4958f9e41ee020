//! The first page: a field to paste into, what came of it, and the repositories that are known.

use super::layout::Page;
use super::place::Place;
use super::text;
use crate::catalogue::{CatalogueError, Origin};
use crate::key::{ObjectKind, Swhid};
use crate::kitchen::Orders;
use maud::{Markup, html};

/// Repositories that are listed.
const LISTED: u32 = 12;

/// What was looked for and not found.
pub(super) struct Missed {
    /// What was pasted, and the branch or tag beside it.
    pub(super) asked: (String, String),
    /// Why not, in words for people.
    pub(super) why: String,
}

/// Some of the repositories that are known, and whether there are more. Blocking.
pub(super) fn some_origins(orders: &Orders) -> Result<(Vec<Origin>, bool), CatalogueError> {
    let mut origins = orders.bundles().catalogue().origins(None, LISTED + 1)?;
    let is_more = origins.len() > LISTED as usize;
    origins.truncate(LISTED as usize);
    Ok((origins, is_more))
}

/// The page.
pub(super) fn home(root: &str, missed: Option<&Missed>, (origins, is_more): &(Vec<Origin>, bool)) -> Markup {
    let (q, reference) = missed.map_or(("", ""), |missed| (missed.asked.0.as_str(), missed.asked.1.as_str()));
    let main = html! {
        h1 { "Source code as a file that anybody can check" }
        p.lead {
            "Name a commit, a tag or a folder. larder makes an archive of it from the original git objects, checks every \
             one of them, and keeps the file under the id of what is in it."
        }
        form.find role="search" method="get" action={ (root) "/" } {
            div.field {
                label for="q" { "SWHID, commit or URL" }
                input type="text" id="q" name="q" value=(q) required autocomplete="off" autocapitalize="off"
                    spellcheck="false" aria-describedby=[missed.map(|_| "missed")] aria-invalid=[missed.map(|_| "true")];
            }
            div.field.narrow {
                label for="ref" { "Branch or tag " span.aside { "(of a URL)" } }
                input type="text" id="ref" name="ref" value=(reference) autocomplete="off" autocapitalize="off"
                    spellcheck="false";
            }
            button { "Find" }
        }
        @if let Some(missed) = missed {
            p.missed id="missed" role="alert" { (missed.why) }
        }
        section aria-labelledby="understood" {
            h2 id="understood" { "What can be pasted" }
            dl.facts {
                dt { "A SWHID" }
                dd { code { "swh:1:rev:" wbr; "94a9ed024d3859793618152ea559a168bbcbb5e2" } }
                dt { "An id" }
                dd { "the forty digits of a commit, an annotated tag, a tree or a file: " code { "git rev-parse HEAD" } }
                dt { "A repository" }
                dd { "its URL, with a branch or a tag: " code { "https://example.org/" wbr; "project.git v1.0" } }
                dt { "A page of a forge" }
                dd { "of a commit, a tag, a folder or a file: " code { "https://example.org/" wbr; "team/project/commit/94a9\u{2026}" } }
            }
        }
        @if !origins.is_empty() {
            section aria-labelledby="known" {
                h2 id="known" { "Repositories known here" }
                ul.origins {
                    @for origin in origins { (listed(root, origin)) }
                }
                @if *is_more {
                    p { a href={ (root) "/origins" } { "All repositories, as JSON" } }
                }
            }
        }
    };
    let title = if missed.is_some() { "Not found" } else { "Source code as files" };
    Page { root, title: title.to_owned(), changes: false, searches: false }.around(&main)
}

fn listed(root: &str, origin: &Origin) -> Markup {
    let name = text::name(origin.url.as_bytes());
    let place = origin
        .snapshot
        .map(|id| Place { origin: Some(origin.url.clone()), ..Place::of(Swhid { kind: ObjectKind::Snapshot, id }) });
    html! {
        li {
            @if let Some(place) = place {
                a href={ (root) (place.target()) } { bdi { (name) } }
            } @else {
                bdi { (name) } " " span.aside { "(not visited yet)" }
            }
        }
    }
}
