//! `/origins`, `/vault/resolve` and `/vault/:kind/:id/proof`: from the URL of a repository to ids, and
//! from ids to what proves them. Owns these answers' JSON; none of them changes anything.

use super::answer::{blocking, json, linked, plain};
use super::body::Body;
use super::problem::Problem;
use super::refused::{not_ordered, unavailable};
use super::route;
use super::status_body::Base;
use super::vault::{ListLinks, Vault};
use crate::catalogue::{Origin, Outcome, Visit};
use crate::cook::{CookError, proof};
use crate::key::{BundleKey, ObjectKind, Sha1Git, Swhid};
use crate::kitchen::OrderError;
use crate::origins::{Remote, Resolved, resolve};
use hyper::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

/// The media type of a proof.
const PROOF: &str = "application/x-larder-proof";

/// An object, and where there is more of it.
#[derive(Debug, Serialize)]
pub struct ObjectBody {
    kind: &'static str,
    id: String,
    swhid: String,
    links: ObjectLinks,
}

#[derive(Debug, Serialize)]
struct ObjectLinks {
    /// Of the default format.
    bundle: String,
    proof: Option<String>,
}

/// An origin, as `/origins` and `larder origin list --json` show it.
#[derive(Debug, Serialize)]
pub struct OriginBody<'a> {
    url: &'a str,
    local: bool,
    added_at: String,
    visited_at: Option<String>,
    snapshot: Option<ObjectBody>,
    links: OriginLinks,
}

#[derive(Debug, Serialize)]
struct OriginLinks {
    visits: String,
    resolve: String,
}

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
struct OriginsPage<'a> {
    origins: Vec<OriginBody<'a>>,
    links: ListLinks<'a>,
}

#[derive(Serialize)]
struct VisitsPage<'a> {
    origin: OriginBody<'a>,
    visits: Vec<VisitBody<'a>>,
    links: ListLinks<'a>,
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

/// What is said of an origin.
#[must_use]
pub fn origin_body<'a>(origin: &'a Origin, base: &Base) -> OriginBody<'a> {
    let url = escaped(&origin.url);
    OriginBody {
        url: &origin.url,
        local: origin.local,
        added_at: origin.added_at.to_string(),
        visited_at: origin.visited_at.map(|at| at.to_string()),
        snapshot: origin.snapshot.map(|id| object_body(ObjectKind::Snapshot, id, base)),
        links: OriginLinks {
            visits: base.url(&format!("/origins?url={url}")),
            resolve: base.url(&format!("/vault/resolve?origin={url}&ref=HEAD")),
        },
    }
}

fn object_body(kind: ObjectKind, id: Sha1Git, base: &Base) -> ObjectBody {
    let has_proof = matches!(kind, ObjectKind::Revision | ObjectKind::Release | ObjectKind::Snapshot);
    let links = ObjectLinks {
        bundle: base.bundle(&BundleKey::with_default_format(kind, id)),
        proof: has_proof.then(|| base.url(&format!("/vault/{kind}/{id}/proof"))),
    };
    ObjectBody { kind: kind.as_str(), id: id.to_string(), swhid: Swhid { kind, id }.to_string(), links }
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
        let kitchen = self.kitchen.clone();
        let limit = page.limit;
        let listed = blocking(move || kitchen.catalogue().origins(page.after.as_deref(), limit + 1)).await;
        let mut origins = match listed {
            Ok(origins) => origins,
            Err(error) => return unavailable(&error),
        };
        let more = origins.len() > limit as usize;
        origins.truncate(limit as usize);
        let last = origins.last().filter(|_| more);
        let next = last.map(|last| self.base.url(&format!("/origins?limit={limit}&cursor={}", escaped(&last.url))));
        let body = OriginsPage {
            origins: origins.iter().map(|origin| origin_body(origin, &self.base)).collect(),
            links: ListLinks { next: next.as_deref() },
        };
        linked(json(StatusCode::OK, &body), next.as_deref())
    }

    /// `GET, HEAD /origins?url=&limit=&cursor=`
    pub(super) async fn visits(&self, page: route::Visits) -> Response<Body> {
        let (kitchen, limit) = (self.kitchen.clone(), page.limit);
        let found = blocking(move || {
            let catalogue = kitchen.catalogue();
            let Some(origin) = find(&kitchen, &page.url)? else { return Ok(None) };
            let visits = catalogue.visits(&origin.url, page.before, limit + 1)?;
            Ok(Some((origin, visits)))
        })
        .await;
        let (origin, mut visits) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return no_such_origin(),
            Err(error) => return unavailable(&error),
        };
        let more = visits.len() > limit as usize;
        visits.truncate(limit as usize);
        let next = visits.last().filter(|_| more).map(|last| {
            self.base.url(&format!("/origins?url={}&limit={limit}&cursor={}", escaped(&origin.url), last.number))
        });
        let body = VisitsPage {
            origin: origin_body(&origin, &self.base),
            visits: visits.iter().map(|visit| visit_body(visit, &self.base)).collect(),
            links: ListLinks { next: next.as_deref() },
        };
        linked(json(StatusCode::OK, &body), next.as_deref())
    }

    /// `GET, HEAD /vault/resolve?origin=&ref=&path=`
    pub(super) async fn resolve(&self, question: route::Question) -> Response<Body> {
        let kitchen = self.kitchen.clone();
        let found = blocking(move || {
            let Some(origin) = find(&kitchen, &question.origin)? else { return Ok(None) };
            let Some(snapshot) = origin.snapshot else { return Ok(Some((origin, None))) };
            let manifest = kitchen.catalogue().snapshot(&snapshot)?.unwrap_or_default();
            let mut reader = kitchen.archive().reader();
            let mut resolved = resolve(&manifest, reader.as_mut(), &question.reference)?;
            if let (Some(found), Some(path)) = (&mut resolved, &question.path)
                && !found.descend(reader.as_mut(), path)?
            {
                resolved = None;
            }
            Ok::<_, OrderError>(Some((origin, resolved.map(|resolved| (snapshot, resolved)))))
        })
        .await;
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
    pub(super) async fn proof(&self, kind: ObjectKind, id: Sha1Git) -> Response<Body> {
        let kitchen = self.kitchen.clone();
        let proven = blocking(move || match kind {
            ObjectKind::Snapshot => {
                Ok(kitchen.catalogue().snapshot(&id)?.map(|manifest| Ok(proof::of_snapshot(&manifest))))
            }
            _ => Ok(proof::proof(kitchen.archive().reader().as_mut(), kind, &id).transpose()),
        })
        .await;
        match proven {
            Ok(Some(Ok(bytes))) => plain(StatusCode::OK, PROOF, bytes),
            Ok(Some(Err(error))) => not_proven(&error),
            Ok(None) => not_ordered(&OrderError::NotFound),
            Err(error) => unavailable(&error),
        }
    }
}

/// An origin by its URL, however it is written.
fn find(kitchen: &crate::kitchen::Kitchen, url: &str) -> Result<Option<Origin>, crate::catalogue::CatalogueError> {
    match (kitchen.catalogue().origin(url)?, Remote::parse(url)) {
        (None, Ok(remote)) if remote.as_str() != url => kitchen.catalogue().origin(remote.as_str()),
        (found, _) => Ok(found),
    }
}

fn no_such_origin() -> Response<Body> {
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
        | CookError::NotHistory { .. }
        | CookError::NotRepresentable { .. }
        | CookError::Hostile { .. }
        | CookError::Output(_)
        | CookError::Cancelled(_)
        | CookError::Panicked => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "corrupt_object", failure.message),
    }
    .response()
}

fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
