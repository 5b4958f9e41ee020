//! The bundles of an object: which there are, which could be made, and the form that orders one.

use super::look::Offer;
use super::place::Place;
use super::text;
use crate::bundle::Status;
use crate::key::{BundleKey, Format};
use crate::limits::Mode;
use maud::{Markup, html};

/// What becomes of a bundle next.
pub(super) enum State {
    /// It can be fetched; its size, where it is known before.
    Ready(Option<u64>),
    /// Its cook waits or is under way.
    Coming,
    /// It could not be made.
    Failed,
    /// It was not asked for.
    Absent,
}

/// What can be said of a bundle where orders end as this mode says.
pub(super) fn state(mode: Mode, offer: &Offer) -> State {
    match (offer.size, offer.bundle.as_ref().map(|bundle| bundle.status)) {
        (Some(size), _) => State::Ready(Some(size)),
        (None, _) if mode == Mode::PassThrough => State::Ready(None),
        (None, Some(Status::New | Status::Pending)) => State::Coming,
        (None, Some(Status::Failed)) => State::Failed,
        (None, Some(Status::Done) | None) => State::Absent,
    }
}

/// The list of them.
pub(super) fn offers(root: &str, mode: Mode, place: &Place, offers: &[Offer]) -> Markup {
    html! {
        section aria-labelledby="bundles" {
            h2 id="bundles" { "As a file" }
            ul.offers { @for offer in offers { (row(root, mode, place, offer)) } }
        }
    }
}

fn row(root: &str, mode: Mode, place: &Place, offer: &Offer) -> Markup {
    let format = offer.key.format();
    let own = place.as_format(Some(format)).target();
    html! {
        li {
            div.what {
                a href={ (root) (own) } { (format.ext()) }
                p.aside { (words(format)) }
            }
            @match state(mode, offer) {
                State::Ready(size) => (download(root, &offer.key, size)),
                State::Coming => a.button.quiet href={ (root) (own) } {
                    "Being made" span.hidden { ": " (format.ext()) }
                },
                State::Failed => a.button.quiet href={ (root) (own) } {
                    "It failed" span.hidden { ": " (format.ext()) }
                },
                State::Absent => (order(root, mode, place, format)),
            }
        }
    }
}

/// The link to the file.
pub(super) fn download(root: &str, key: &BundleKey, size: Option<u64>) -> Markup {
    html! {
        a.button href={ (root) "/vault/" (key) } download=(key.file_name()) {
            "Download" span.hidden { " " (key.format().ext()) }
            @if let Some(size) = size { " " span.size { (text::size(size)) } }
        }
    }
}

/// The form that orders it: nothing is cooked by following a link.
pub(super) fn order(root: &str, mode: Mode, place: &Place, format: Format) -> Markup {
    html! {
        @if mode == Mode::ReadOnly {
            span.aside { "not made here" }
        } @else {
            form method="post" action={ (root) (place.as_format(Some(format)).target()) } {
                button.quiet { "Cook" span.hidden { " " (format.ext()) } }
            }
        }
    }
}

/// What a format is good for.
fn words(format: Format) -> &'static str {
    match format {
        Format::TarGz => "the files, as most programs take them",
        Format::Tar => "the files, not compressed",
        Format::TarZst => "the files, quicker to make and to unpack",
        Format::Zip => "the files, for every system",
        Format::GitTar => "a bare git repository with the history",
        Format::Bundle => "a git bundle with the history, to clone from",
        Format::Gitfast => "the history as a stream for git fast-import",
        Format::Raw => "the file itself",
    }
}
