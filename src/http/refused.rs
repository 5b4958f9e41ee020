//! From errors to answers: the one match that turns what went wrong into a status. No answer holds a
//! path; what the operator must know goes to the log.

use super::body::Body;
use super::problem::Problem;
use super::route::RouteError;
use crate::archive::ArchiveError;
use crate::bundle::{Bundle, FailureCode};
use crate::catalogue::CatalogueError;
use crate::kitchen::OrderError;
use hyper::{Response, StatusCode};

/// What `Retry-After` says when the queue is full, in seconds.
const QUEUE_FULL_RETRY: u64 = 30;

/// What `Retry-After` says when others are to be done first, in seconds.
const BUSY_RETRY: u64 = 5;

/// What `Retry-After` says when the archive or the catalogue cannot be read, in seconds.
const UNAVAILABLE_RETRY: u64 = 10;

pub(super) fn not_routed(error: &RouteError) -> Response<Body> {
    match error {
        RouteError::NotFound => Problem::new(StatusCode::NOT_FOUND, "no_such_resource", error.to_string()).response(),
        RouteError::MethodNotAllowed { allow } => Problem::method_not_allowed(allow).response(),
        RouteError::Key(_) => Problem::new(StatusCode::BAD_REQUEST, "malformed_key", error.to_string()).response(),
        RouteError::Query(_) => Problem::new(StatusCode::BAD_REQUEST, "malformed_query", error.to_string()).response(),
    }
}

pub(super) fn not_ordered(error: &OrderError) -> Response<Body> {
    match error {
        OrderError::NotFound => Problem::new(StatusCode::NOT_FOUND, "no_such_object", error.to_string()).response(),
        OrderError::OtherKind { is, .. } => Problem::new(StatusCode::NOT_FOUND, "no_such_object", error.to_string())
            .with("kind", is.as_str())
            .response(),
        OrderError::QueueFull => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", error.to_string())
            .retry_after(QUEUE_FULL_RETRY)
            .response(),
        OrderError::Busy => writing(),
        OrderError::NoRoom(_) => {
            tracing::warn!(%error, "an order was refused");
            no_room()
        }
        OrderError::Archive(ArchiveError::Corrupt { .. }) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "corrupt_object", error.to_string()).response()
        }
        OrderError::Archive(ArchiveError::TooLarge { .. }) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large", error.to_string()).response()
        }
        OrderError::Blocked { .. } | OrderError::Archive(ArchiveError::Blocked { .. }) => {
            Problem::new(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, "blocked", error.to_string()).response()
        }
        OrderError::Archive(ArchiveError::Io { .. } | ArchiveError::Sink(_)) => {
            tracing::error!(%error, "the archive cannot be read");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "archive_unavailable", "the archive cannot be read")
                .retry_after(UNAVAILABLE_RETRY)
                .response()
        }
        OrderError::Catalogue(error) => unavailable(error),
        OrderError::Store(error) => not_opened(error),
    }
}

/// Whether it was not cooked because of something in it.
pub(super) fn is_blocked(bundle: &Bundle) -> bool {
    bundle.failure.as_ref().is_some_and(|failure| failure.code == FailureCode::Blocked)
}

fn no_room() -> Response<Body> {
    let detail = "there is no room for another bundle";
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "no_room", detail).response()
}

/// Not the client's fault, nor worth a line of the log for each: `/readyz` says it.
fn writing() -> Response<Body> {
    tracing::debug!("others write the catalogue");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "catalogue_busy", OrderError::Busy.to_string())
        .retry_after(BUSY_RETRY)
        .response()
}

pub(super) fn unavailable(error: &CatalogueError) -> Response<Body> {
    if error.is_busy() {
        return writing();
    }
    if matches!(error, CatalogueError::Lost { .. }) {
        // The orders has said it once, and what to do.
        tracing::debug!(%error, "the catalogue cannot be used");
    } else {
        tracing::error!(%error, "the catalogue cannot be used");
    }
    if error.is_storage_full() {
        return no_room();
    }
    let detail = "the catalogue cannot be used at the moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "catalogue_unavailable", detail)
        .retry_after(UNAVAILABLE_RETRY)
        .response()
}

pub(super) fn not_opened(error: &std::io::Error) -> Response<Body> {
    tracing::error!(%error, "a bundle cannot be opened");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store_unavailable", "the bundle cannot be read").response()
}

/// As many make or hold large answers as may.
pub(super) fn busy() -> Response<Body> {
    let detail = "too many large answers are being made or sent at the moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(BUSY_RETRY).response()
}
