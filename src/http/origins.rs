//! `/origins`, `/vault/resolve` and `/vault/:kind/:id/proof`: from the URL of a repository to ids, and
//! from ids to what proves them. Owns these answers' JSON; none of them changes anything.

use super::answer::{blocking, json, plain, reading};
use super::body::Body;
use super::pages::{Listing, row};
use super::places::Client;
use super::problem::Problem;
use super::refused::{busy, not_opened, not_ordered, unavailable};
use super::route;
use super::vault::Vault;
use crate::archive::snapshot::Manifest;
use crate::bodies::{Base, ObjectBody, escaped, object_body, origin_body};
use crate::catalogue::{Catalogue, CatalogueError, Origin, Outcome, Visit};
use crate::cook::{CookError, proof};
use crate::key::{BundleKey, ObjectKind, Sha1Git};
use crate::kitchen::OrderError;
use crate::origins::{Remote, Resolved, resolve};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::cmp::Reverse;

/// The media type of a proof.
const PROOF: &str = "application/x-larder-proof";

#[derive(Debug, Serialize)]
struct VisitBody<'a> {
    number: u64,
    status: &'static str,
    first_at: String,
    last_at: String,
    times: u64,
    snapshot: Option<ObjectBody>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct ResolveBody<'a> {
    origin: &'a str,
    visited_at: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    snapshot: ObjectBody,
    release: Option<ObjectBody>,
    revision: Option<ObjectBody>,
    directory: Option<ObjectBody>,
    content: Option<ObjectBody>,
}

fn visit_body<'a>(visit: &'a Visit, base: &Base) -> VisitBody<'a> {
    let (status, snapshot, error) = match &visit.outcome {
        Outcome::Full(id) => ("full", Some(object_body(ObjectKind::Snapshot, *id, base)), None),
        Outcome::Failed(words) => ("failed", None, Some(words.as_str())),
    };
    VisitBody {
        number: visit.number,
        status,
        first_at: visit.first_at.to_string(),
        last_at: visit.last_at.to_string(),
        times: visit.times,
        snapshot,
        error,
    }
}

impl Vault {
    /// `GET, HEAD /origins?limit=&cursor=`
    pub(super) async fn origins(&self, page: route::Origins) -> Response<Body> {
        let (catalogue, limit, after) = (self.catalogue.clone(), page.limit, page.after.clone());
        let end = match reading(move || catalogue.origins_end(after.as_deref(), limit)).await {
            Ok(end) => end,
            Err(error) => return unavailable(&error),
        };
        let next = |last: &String| self.base.url(&format!("/origins?limit={limit}&cursor={}", escaped(last)));
        let (catalogue, base) = (self.catalogue.clone(), self.base.clone());
        let read = move |after: Option<&String>, count| {
            let origins = catalogue.origins(after.map(String::as_str), count)?;
            Ok(origins.iter().map(|origin| (origin.url.clone(), row(&origin_body(origin, &base)))).collect())
        };
        let listing = Listing::new("{\"origins\":[".to_owned(), (page.after, limit), end, next, read);
        listing.respond().await.unwrap_or_else(|error| unavailable(&error))
    }

    /// `GET, HEAD /origins?url=&limit=&cursor=`
    pub(super) async fn visits(&self, page: route::Visits) -> Response<Body> {
        let (catalogue, limit, before) = (self.catalogue.clone(), page.limit, page.before);
        let found = reading(move || {
            let Some(origin) = find(&catalogue, &page.url)? else { return Ok(None) };
            let end = catalogue.visits_end(&origin.url, before, limit)?;
            Ok(Some((origin, end)))
        })
        .await;
        let (origin, end) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return no_such_origin(),
            Err(error) => return unavailable(&error),
        };
        // The newest comes first.
        let (before, end) = (before.map(Reverse), end.map(|(last, more)| (Reverse(last), more)));
        let next = |Reverse(last): &_| {
            self.base.url(&format!("/origins?url={}&limit={limit}&cursor={last}", escaped(&origin.url)))
        };
        let head =
            format!("{{\"origin\":{},\"visits\":[", String::from_utf8_lossy(&row(&origin_body(&origin, &self.base))));
        let (catalogue, base, url) = (self.catalogue.clone(), self.base.clone(), origin.url.clone());
        let read = move |before: Option<&Reverse<u64>>, count| {
            let visits = catalogue.visits(&url, before.map(|before| before.0), count)?;
            Ok(visits.iter().map(|visit| (Reverse(visit.number), row(&visit_body(visit, &base)))).collect())
        };
        let listing = Listing::new(head, (before, limit), end, next, read);
        listing.respond().await.unwrap_or_else(|error| unavailable(&error))
    }

    /// `GET, HEAD /vault/resolve?origin=&ref=&path=`
    pub(super) async fn resolve(&self, question: route::Question) -> Response<Body> {
        let (orders, catalogue) = (self.orders.clone(), self.catalogue.clone());
        let found = self.resolvers.make(move || {
            let Some(origin) = find(&catalogue, &question.origin)? else { return Ok(None) };
            let Some(snapshot) = origin.snapshot else { return Ok(Some((origin, None))) };
            let mut reader = orders.archive().reader();
            let mut resolved = match catalogue.branches(&snapshot)? {
                Some(branches) => resolve(&*branches, reader.as_mut(), &question.reference)?,
                None => resolve(&Manifest::default(), reader.as_mut(), &question.reference)?,
            };
            if let (Some(found), Some(path)) = (&mut resolved, &question.path)
                && !found.descend(reader.as_mut(), path)?
            {
                resolved = None;
            }
            Ok::<_, OrderError>(Some((origin, resolved.map(|resolved| (snapshot, resolved)))))
        });
        let Some(found) = found.await else { return busy() };
        match found {
            Ok(Some((origin, Some((snapshot, resolved))))) => self.resolved(&origin, snapshot, &resolved),
            Ok(Some((_, None))) => {
                let detail = "the newest snapshot of this origin has no such branch, tag or object, or nothing at this path of it";
                Problem::new(StatusCode::NOT_FOUND, "no_such_ref", detail).response()
            }
            Ok(None) => no_such_origin(),
            Err(error) => not_ordered(&error),
        }
    }

    fn resolved(&self, origin: &Origin, snapshot: Sha1Git, resolved: &Resolved) -> Response<Body> {
        let object = |kind, id: Option<Sha1Git>| id.map(|id| object_body(kind, id, &self.base));
        let body = ResolveBody {
            origin: &origin.url,
            visited_at: origin.visited_at.map(|at| at.to_string()),
            reference: resolved.branch.as_deref().map(|name| String::from_utf8_lossy(name).into_owned()),
            snapshot: object_body(ObjectKind::Snapshot, snapshot, &self.base),
            release: object(ObjectKind::Release, resolved.release),
            revision: object(ObjectKind::Revision, resolved.revision),
            directory: object(ObjectKind::Directory, resolved.directory),
            content: object(ObjectKind::Content, resolved.content),
        };
        json(StatusCode::OK, &body)
    }

    /// `GET, HEAD /vault/:kind/:id/proof`
    pub(super) async fn proof(&self, client: Client, kind: ObjectKind, id: Sha1Git) -> Response<Body> {
        let (orders, catalogue) = (self.orders.clone(), self.catalogue.clone());
        let (bundles, spool) = (self.bundles.clone(), self.spool.clone());
        let made = self.provers.make(move || {
            let folder = bundles.data();
            if kind == ObjectKind::Snapshot {
                let Some(manifest) = catalogue.branches(&id)? else { return Ok(Proven::Absent) };
                let head = format!("snapshot {}\0", manifest.bytes().len());
                return Ok(Proven::Made(spool.body(client, &[head.as_bytes(), manifest.bytes()], folder)));
            }
            Ok(match proof::proof(orders.archive().reader().as_mut(), kind, &id) {
                Ok(Some(bytes)) => Proven::Made(spool.body(client, &[&bytes], folder)),
                Ok(None) => Proven::Absent,
                Err(error) => Proven::Not(error),
            })
        });
        match made.await {
            None | Some(Ok(Proven::Made(Ok(None)))) => busy(),
            Some(Ok(Proven::Made(Ok(Some(body))))) => {
                let mut response = plain(StatusCode::OK, PROOF, Vec::new());
                *response.body_mut() = body;
                response
            }
            Some(Ok(Proven::Made(Err(error)))) => not_opened(&error),
            Some(Ok(Proven::Not(error))) => not_proven(&error),
            Some(Ok(Proven::Absent)) => self.not_there(kind, id).await,
            Some(Err(error)) => unavailable(&error),
        }
    }

    /// 404, and what the object is if it is of another kind.
    async fn not_there(&self, kind: ObjectKind, id: Sha1Git) -> Response<Body> {
        let (orders, key) = (self.orders.clone(), BundleKey::with_default_format(kind, id));
        let why = blocking(move || orders.could_cook(&key)).await.err();
        self.not_ordered(&why.unwrap_or(OrderError::NotFound))
    }
}

/// What came of a proof.
enum Proven {
    /// Its body, if there is room for it.
    Made(std::io::Result<Option<Body>>),
    Absent,
    Not(CookError),
}

/// An origin by its URL, however it is written.
pub(super) fn find(catalogue: &Catalogue, url: &str) -> Result<Option<Origin>, CatalogueError> {
    match (catalogue.origin(url)?, Remote::parse(url)) {
        (None, Ok(remote)) if remote.as_str() != url => catalogue.origin(remote.as_str()),
        (found, _) => Ok(found),
    }
}

pub(super) fn no_such_origin() -> Response<Body> {
    Problem::new(StatusCode::NOT_FOUND, "no_such_origin", "no repository of this URL is known").response()
}

fn not_proven(error: &CookError) -> Response<Body> {
    let Some(failure) = error.failure() else { return not_ordered(&OrderError::NotFound) };
    tracing::debug!(%error, "there is no proof");
    match error {
        CookError::Archive { .. } | CookError::NoThread(_) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "archive_unavailable", failure.message).retry_after(10)
        }
        CookError::Blocked { .. } => {
            Problem::new(StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS, "blocked", failure.message)
        }
        CookError::Missing { .. } => Problem::new(StatusCode::NOT_FOUND, "no_such_object", failure.message),
        CookError::TooLarge { .. } => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too_large", failure.message),
        CookError::Corrupt { .. }
        | CookError::NotRepresentable { .. }
        | CookError::Hostile { .. }
        | CookError::Output(_)
        | CookError::Cancelled(_)
        | CookError::Miscoded(_)
        | CookError::Panicked => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "corrupt_object", failure.message),
    }
    .response()
}
