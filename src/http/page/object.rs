//! The page of an object: what it is, its bundles, and what is in it.

use super::layout::Page;
use super::look::{Absent, Entry, ON_A_PAGE, Object, What};
use super::offers::offers;
use super::place::Place;
use super::text;
use crate::archive::object::{EntryKind, Signature};
use crate::archive::snapshot::Target;
use crate::key::{ObjectKind, Sha1Git, Swhid};
use crate::limits::Mode;
use maud::{Markup, html};

/// The most bytes of a message that are shown.
const MAX_MESSAGE: usize = 64 << 10;

/// The most bytes of a file that are shown.
const MAX_TEXT: usize = 256 << 10;

/// The longest path that links go on from.
const MAX_PATH: usize = 1000;

/// The page of an object.
pub(super) fn object(root: &str, mode: Mode, place: &Place, object: &Object) -> Markup {
    let title = title(place, &object.what);
    let main = html! {
        p.kind { (place.swhid.kind.as_str()) }
        h1 { bdi { (title) } }
        p.swhid { code data-copy="" { (place.swhid) } }
        dl.facts { (facts(root, place, object)) }
        (message(&object.what, &title))
        (offers(root, mode, place, &object.offers))
        (inside(root, place, &object.what))
    };
    Page { root, title, changes: false, searches: true }.around(&main)
}

/// The page of an id that is not there, or is that of something else.
pub(super) fn absent(root: &str, place: &Place, absent: &Absent) -> Markup {
    let main = html! {
        @match absent {
            Absent::Nowhere => {
                h1 { "Not found" }
                p.lead { "No archive of this larder has the " (place.swhid.kind.as_str()) }
                p.swhid { code { (place.swhid) } }
            }
            Absent::Other(kind) => {
                h1 { "Not a " (place.swhid.kind.as_str()) }
                p.lead {
                    "This is the id of a " (kind.as_str()) ": "
                    a href={ (root) (place.to(*kind, place.swhid.id).target()) } {
                        code { (Swhid { kind: *kind, id: place.swhid.id }) }
                    }
                }
            }
        }
    };
    Page { root, title: "Not found".to_owned(), changes: false, searches: true }.around(&main)
}

/// What the object is called: by its message, its name or its path, or else by its id.
pub(super) fn title(place: &Place, what: &What) -> String {
    let last = place.path.as_deref().and_then(|path| path.rsplit('/').find(|name| !name.is_empty()));
    let own = match what {
        What::Revision { .. } => what.described().map(|described| text::subject(described.message)),
        What::Release { .. } => what.described().and_then(|described| described.value("tag")).map(text::name),
        What::Content { .. } | What::Directory { .. } => last.map(|name| text::name(name.as_bytes())),
        What::Elsewhere => None,
        What::Snapshot { .. } => place.origin.as_deref().map(|origin| text::name(origin.as_bytes())),
    };
    own.filter(|own| !own.is_empty()).unwrap_or_else(|| place.swhid.id.to_string()[..12].to_owned())
}

fn facts(root: &str, place: &Place, object: &Object) -> Markup {
    let described = object.what.described();
    let link = |kind, id| self::link(root, &place.to(kind, id));
    html! {
        @if let Some(described) = described {
            @for (words, key) in [("Author", "author"), ("Committer", "committer"), ("Tagger", "tagger")] {
                @if let Some(signature) = described.signature(key) {
                    dt { (words) }
                    dd { (person(&signature)) }
                }
            }
        }
        @match &object.what {
            What::Revision { directory, parents, .. } => {
                @if let Some(id) = directory {
                    dt { "Files" }
                    dd { (self::link(root, &below_root(place, *id))) }
                }
                @if !parents.is_empty() {
                    dt { @if parents.len() == 1 { "Parent" } @else { "Parents" } }
                    dd { @for id in parents { (link(ObjectKind::Revision, *id)) " " } }
                }
            }
            What::Release { target: Some(target), .. } => {
                dt { "Tags" }
                dd { (link(target.kind, target.id)) }
            }
            What::Release { target: None, .. } | What::Elsewhere => {}
            What::Content { size, .. } => {
                dt { "Size" }
                dd { (text::size(*size)) }
            }
            What::Directory { count, .. } => {
                dt { "Entries" }
                dd { (count) }
            }
            What::Snapshot { count, .. } => {
                dt { "Branches and tags" }
                dd { (count) }
            }
        }
        @if let Some(path) = &place.path {
            dt { "Path" }
            dd { bdi { (text::name(path.as_bytes())) } @if let Some(anchor) = place.anchor {
                " in " (link(anchor.kind, anchor.id))
            } }
        }
        @if matches!(object.what, What::Elsewhere) {
            dt { "Known from" }
            dd { "no repository here; other vaults are asked when a file is ordered" }
        } @else {
            (known_from(place, object))
        }
    }
}

/// Where larder knows it from. What a link says and larder has not looked up is told apart.
fn known_from(place: &Place, object: &Object) -> Markup {
    html! {
        dt { "Known from" }
        dd {
            @if object.branches.is_empty() {
                "the archives of this larder"
                @if let Some(origin) = &place.origin {
                    "; by the link that was followed, " bdi { (text::name(origin.as_bytes())) }
                }
            } @else {
                ul.plain {
                    @for branch in &object.branches {
                        li {
                            bdi { (text::name(branch.origin.as_bytes())) }
                            @if !branch.name.is_empty() { ", " bdi { code { (text::name(&branch.name)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn person(signature: &Signature<'_>) -> Markup {
    html! {
        bdi { (text::name(signature.name)) }
        @if !signature.email.is_empty() { " " span.aside { "<" bdi { (text::name(signature.email)) } ">" } }
        @if let Some((words, at)) = text::when(signature) {
            br;
            time datetime=(at) { (words) }
        }
    }
}

/// What the heading does not say yet.
fn message(what: &What, title: &str) -> Markup {
    let Some(described) = what.described() else { return html! {} };
    let (shown, is_cut) = text::lines(described.message.trim_ascii(), MAX_MESSAGE);
    if shown.is_empty() || shown == title {
        return html! {};
    }
    html! {
        section aria-label="Message" {
            pre.message dir="auto" { (shown) }
            @if is_cut {
                p.aside { "The message goes on: it has " (text::size(described.message.len() as u64)) "." }
            }
        }
    }
}

/// A link to an object by the beginning of its id.
fn link(root: &str, place: &Place) -> Markup {
    let id = place.swhid.id.to_string();
    html! { a href={ (root) (place.target()) } { (place.swhid.kind.as_str()) " " code { (&id[..12]) } } }
}

/// The directory of a commit, as the top of a path.
fn below_root(place: &Place, id: Sha1Git) -> Place {
    Place { anchor: Some(place.swhid), path: Some("/".to_owned()), ..place.to(ObjectKind::Directory, id) }
}

fn inside(root: &str, place: &Place, what: &What) -> Markup {
    match what {
        What::Content { bytes, size } => content(*size, bytes.as_deref()),
        What::Directory { entries, count, is_cut } => html! {
            section aria-labelledby="inside" {
                h2 id="inside" { "Files" }
                @if entries.is_empty() { p { "There is nothing in this directory." } }
                ul.entries { @for entry in entries { (self::entry(root, place, entry)) } }
                @if *is_cut { p.missed { "The rest of this directory cannot be read." } }
                (pager(root, place, *count))
            }
        },
        What::Snapshot { branches, count } => html! {
            section aria-labelledby="inside" {
                h2 id="inside" { "Branches and tags" }
                @if branches.is_empty() { p { "There are none." } }
                ul.entries { @for (name, target) in branches { (branch(root, place, name, target)) } }
                (pager(root, place, *count))
            }
        },
        What::Revision { .. } | What::Release { .. } | What::Elsewhere => html! {},
    }
}

fn content(size: u64, bytes: Option<&[u8]>) -> Markup {
    html! {
        section aria-labelledby="inside" {
            h2 id="inside" { "Content" }
            @match bytes {
                None => p { "It is too large to be shown here." },
                Some([]) => p { "It is empty." },
                Some(bytes) if !text::is_text(bytes) => p { "These " (text::size(size)) " are not text." },
                Some(bytes) => {
                    @let (shown, is_cut) = text::lines(bytes, MAX_TEXT);
                    pre.content dir="auto" { (shown) }
                    @if is_cut { p.aside { "This is the beginning of " (text::size(size)) "." } }
                }
            }
        }
    }
}

fn entry(root: &str, place: &Place, entry: &Entry) -> Markup {
    let name = text::name(&entry.name);
    let kind = entry.kind.leads_to().map(|_| match entry.kind {
        EntryKind::Directory => ObjectKind::Directory,
        EntryKind::File { .. } | EntryKind::Symlink | EntryKind::Gitlink => ObjectKind::Content,
    });
    let there = kind.map(|kind| Place {
        anchor: place.anchor,
        path: path_below(place, &entry.name),
        ..place.to(kind, entry.id)
    });
    let what = match entry.kind {
        EntryKind::Directory => "directory",
        EntryKind::File { executable: false } => "",
        EntryKind::File { executable: true } => "executable",
        EntryKind::Symlink => "link",
        EntryKind::Gitlink => "commit of another repository",
    };
    html! {
        li {
            @if let Some(there) = there {
                a href={ (root) (there.target()) } {
                    bdi { (name) }
                    @if entry.kind == EntryKind::Directory { "/" }
                }
            } @else {
                span { bdi { (name) } " " code { (&entry.id.to_string()[..12]) } }
            }
            span.aside {
                @if !matches!(entry.kind, EntryKind::Directory) { (what) }
                @if let Some(size) = entry.size { " " (text::size(size)) }
            }
        }
    }
}

/// The path of an entry, as far as a link can say it.
fn path_below(place: &Place, name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?;
    let path = format!("{}/{name}", place.path.as_deref().unwrap_or_default().trim_end_matches('/'));
    (path.len() <= MAX_PATH).then_some(path)
}

fn branch(root: &str, place: &Place, name: &[u8], target: &Target) -> Markup {
    let shown = text::name(name);
    html! {
        li {
            @match target {
                Target::Object(kind, id) => {
                    a href={ (root) (place.to(*kind, *id).target()) } { bdi { (shown) } }
                    span.aside { (kind.as_str()) " " code { (&id.to_string()[..12]) } }
                }
                Target::Alias(other) => {
                    span { bdi { (shown) } }
                    span.aside { "is " bdi { (text::name(other)) } }
                }
                Target::Dangling => {
                    span { bdi { (shown) } }
                    span.aside { "leads to nothing" }
                }
            }
        }
    }
}

fn pager(root: &str, place: &Place, count: usize) -> Markup {
    let (first, next) = (place.from, place.from.saturating_add(ON_A_PAGE));
    html! {
        @if first > 0 || next < count {
            @if first >= count && count > 0 { p { "There are no more." } }
            nav.pager aria-label="Pages" {
                @if first > 0 {
                    a rel="prev" href={ (root) (place.from_number(first.saturating_sub(ON_A_PAGE)).target()) } { "Previous" }
                }
                @if first < count { span { (first + 1) " to " (next.min(count)) " of " (count) } }
                @if next < count {
                    a rel="next" href={ (root) (place.from_number(next).target()) } { "Next" }
                }
            }
        }
    }
}
