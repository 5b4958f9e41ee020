//! The page of one bundle: how its cook goes, what came of it, and the lines to take along.

use super::layout::Page;
use super::lines::lines;
use super::look::Offer;
use super::offers::{State, download, order, state};
use super::place::Place;
use super::text;
use crate::bodies::Base;
use crate::bundle::{Bundle, Status};
use crate::cook::{Progress, Unit};
use crate::digest::hex;
use crate::limits::Mode;
use crate::time::Timestamp;
use maud::{Markup, html};
use std::time::Duration;

/// A SHA-256 follows this soon behind its bundle, or it is not waited for.
const DIGEST_PATIENCE: Duration = Duration::from_secs(20);

/// A bundle, and what its page says beside it.
pub(super) struct Shown<'a> {
    pub(super) place: &'a Place,
    /// What the object is called.
    pub(super) title: &'a str,
    pub(super) offer: &'a Offer,
    pub(super) progress: Option<Progress>,
    pub(super) now: Timestamp,
}

/// The page.
pub(super) fn bundle(base: &Base, mode: Mode, shown: &Shown<'_>) -> Markup {
    let (root, offer, place) = (base.path(), shown.offer, shown.place);
    let format = offer.key.format();
    let state = state(mode, offer);
    let digest_comes = offer.bundle.as_ref().is_some_and(|bundle| digest_comes(bundle, shown.now));
    let changes = matches!(state, State::Coming) || digest_comes;
    let main = html! {
        p.kind { (format.ext()) " of a " (place.swhid.kind.as_str()) }
        h1 { a href={ (root) (place.as_format(None).target()) } { bdi { (shown.title) } } }
        p.swhid { code data-copy="" { (place.swhid) } }
        @match &state {
            State::Ready(size) => {
                p.done role="status" { "It is ready." }
                p { (download(root, &offer.key, *size)) }
                (facts(offer))
                (lines(base, &offer.key, offer.bundle.as_ref().and_then(|bundle| bundle.sha256), digest_comes))
            }
            State::Coming => (coming(root, shown)),
            State::Failed => {
                p.missed role="alert" { "It could not be made. " (reason(offer)) }
                p.aside { "It can be tried again once a minute." }
                (order(root, mode, place, format))
            }
            State::Absent => {
                p role="status" { "This bundle has not been made yet." }
                (order(root, mode, place, format))
            }
        }
    };
    let words = match state {
        State::Ready(_) => "Ready",
        State::Coming => "Being made",
        State::Failed => "Failed",
        State::Absent => "Not made",
    };
    let title = format!("{words}: {} of {}", format.ext(), shown.title);
    Page { root, title, changes, searches: true }.around(&main)
}

/// Followed by script where there is one: what it needs is in the attributes of the section.
fn coming(root: &str, shown: &Shown<'_>) -> Markup {
    let key = &shown.offer.key;
    let waits = shown.offer.bundle.as_ref().is_none_or(|bundle| bundle.status == Status::New);
    let words = match shown.progress {
        Some(at) => progress_words(&at),
        None if waits => "Waiting for its turn\u{2026}".to_owned(),
        None => "Being made\u{2026}".to_owned(),
    };
    let known = shown.progress.and_then(|at| at.total.map(|total| (at.done, total))).filter(|(_, total)| *total > 0);
    html! {
        section.coming data-events={ (root) "/vault/" (key) "/status" } aria-label="Progress" {
            @match known {
                Some((done, total)) => progress max=(total) value=(done) aria-label="Progress" {},
                None => progress aria-label="Progress" {},
            }
            p role="status" data-words="" { (words) }
            p.aside { "You may leave this page: the bundle is made all the same." }
        }
    }
}

fn progress_words(at: &Progress) -> String {
    let amount = |number: u64| match at.unit {
        Unit::Bytes => text::size(number),
        Unit::Objects => format!("{number} objects"),
    };
    match at.total {
        Some(total) => format!("{}: {} of {}", at.message, amount(at.done), amount(total)),
        None => format!("{}: {}", at.message, amount(at.done)),
    }
}

fn reason(offer: &Offer) -> Markup {
    let failure = offer.bundle.as_ref().and_then(|bundle| bundle.failure.as_ref());
    html! {
        @if let Some(failure) = failure {
            bdi { (text::name(failure.message.as_bytes())) } " (" (failure.code.as_str()) ")"
        }
    }
}

/// Whether its SHA-256 is on its way.
fn digest_comes(bundle: &Bundle, now: Timestamp) -> bool {
    let is_new = bundle.done_at.is_some_and(|at| now.since(at) < DIGEST_PATIENCE);
    bundle.status == Status::Done && bundle.sha256.is_none() && is_new
}

fn facts(offer: &Offer) -> Markup {
    let Some(bundle) = &offer.bundle else { return html! {} };
    html! {
        dl.facts {
            @if let Some(size) = offer.size { dt { "Size" } dd { (size) " bytes" } }
            @if let Some(digest) = &bundle.sha256 { dt { "SHA-256" } dd { code data-copy="" { (hex(digest)) } } }
            @if let Some(file) = &bundle.file { dt { "BLAKE3" } dd { code data-copy="" { (hex(&file.blake3)) } } }
            dt { "Bytes" }
            dd { (if offer.key.format().is_immutable() { "the same for ever and everywhere" } else { "may change when the repository is packed anew; the content is the same" }) }
        }
        @if !bundle.remarks.notes.is_empty() {
            ul { @for note in &bundle.remarks.notes { li { bdi { (text::name(note.as_bytes())) } } } }
        }
    }
}
