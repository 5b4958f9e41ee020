//! The `/vault` endpoints: what each route answers. All it knows of cooking is the kitchen's handle.
//!
//! A hit goes `route -> store.get -> static_file` and asks SQLite nothing; a GET never cooks.

use super::answer::{blocking, json, linked, text};
use super::archiver::Endpoints;
use super::body::Body;
use super::digests::{Digests, FileId};
use super::etag::Validator;
use super::events;
use super::pass;
use super::prefer::{say_waited, wanted_wait};
use super::ready::ready;
use super::refused::{is_blocked, not_opened, not_ordered, not_routed, unavailable};
use super::route::{self, Page, Route, RouteError};
use super::static_file::{self, Meta};
use super::status_body::{Base, StatusBody, status_body};
use crate::bundle::{Bundle, Status};
use crate::key::{BundleKey, Format, ObjectKind};
use crate::kitchen::{Kitchen, OrderError, Ordered, RETRY_FAILED_AFTER};
use crate::limits::Mode;
use crate::store::Found;
use crate::time::Timestamp;
use hyper::header::{HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use std::num::NonZeroUsize;

/// How many files on disk have their SHA-256 remembered, each in about a hundred bytes.
const DIGESTS: NonZeroUsize = NonZeroUsize::new(65_536).expect("because 65,536 is not zero");

/// The answers below larder's root.
pub struct Vault {
    pub(super) kitchen: Kitchen,
    pub(super) base: Base,
    root_path: String,
    digests: Digests,
    /// Who blocks what is blocked, as a URL.
    blocker: Option<String>,
    streams: events::Streams,
    archiver: Option<Endpoints>,
}

impl Vault {
    /// The endpoints below `root_path` (empty, or `/like/this`), whose absolute URLs begin with
    /// `base`.
    #[must_use]
    pub fn new(kitchen: Kitchen, base: Base, root_path: String) -> Self {
        Self {
            kitchen,
            base,
            root_path,
            digests: Digests::new(DIGESTS),
            blocker: None,
            streams: events::Streams::default(),
            archiver: None,
        }
    }

    /// With the URL that stands for whoever runs this larder, for answers about what is blocked.
    #[must_use]
    pub fn run_by(mut self, url: Option<String>) -> Self {
        self.blocker = url;
        self
    }

    /// With the Archiver's endpoints too.
    #[must_use]
    pub fn with_archiver(self, archiver: Endpoints) -> Self {
        Self { archiver: Some(archiver), ..self }
    }

    /// Answers a request. Its body is not read: no endpoint has a use for one yet.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let mode = self.kitchen.mode();
        match route::route(method, uri.path(), uri.query(), &self.root_path) {
            Ok(Route::Bundle(key)) if mode == Mode::PassThrough => self.bundle_or_pass(&request, key).await,
            Ok(Route::Bundle(key)) => self.bundle(method, headers, key, uri.query()).await,
            Ok(Route::Cook(_)) if mode == Mode::ReadOnly => pass::read_only(),
            Ok(Route::Cook(key)) if mode == Mode::PassThrough => self.promise(key).await,
            Ok(Route::Cook(key)) => self.cook(headers, key).await,
            Ok(Route::Status(key)) => self.status(headers, key).await,
            Ok(Route::List(page)) => self.list(page).await,
            Ok(Route::Proof(kind, id)) => self.proof(kind, id).await,
            Ok(Route::Resolve(question)) => self.resolve(question).await,
            Ok(Route::Origins(page)) => self.origins(page).await,
            Ok(Route::Visits(page)) => self.visits(page).await,
            Ok(Route::Task(id)) => match &self.archiver {
                Some(archiver) => archiver.status(method, &id).await,
                None => not_routed(&RouteError::NotFound),
            },
            Ok(Route::Archive(path)) => match &self.archiver {
                Some(archiver) => archiver.ask(method, &path, uri.query()).await,
                None => not_routed(&RouteError::NotFound),
            },
            Ok(Route::Index) => self.index(),
            Ok(Route::Health) => text("ok\n"),
            Ok(Route::Ready) => ready(&self.kitchen).await,
            Ok(Route::Robots) => text("User-agent: *\nDisallow: /\n"),
            Err(error) => not_routed(&error),
        }
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]` where what is not there is cooked for the request.
    async fn bundle_or_pass<B>(&self, request: &Request<B>, key: BundleKey) -> Response<Body> {
        match self.kitchen.store().get(&key) {
            Ok(Some(_)) => self.bundle(request.method(), request.headers(), key, request.uri().query()).await,
            Ok(None) => self.pass(request.method(), request.version(), key).await,
            Err(error) => not_opened(&error),
        }
    }

    /// `POST /vault/:kind/:id[.:ext]` where it is cooked when it is fetched.
    async fn promise(&self, key: BundleKey) -> Response<Body> {
        let kitchen = self.kitchen.clone();
        match blocking(move || kitchen.could_cook(&key)).await {
            Ok(()) => self.created(&key, None),
            Err(error) => self.not_ordered(&error),
        }
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]`
    async fn bundle(
        &self,
        method: &Method,
        headers: &HeaderMap,
        key: BundleKey,
        query: Option<&str>,
    ) -> Response<Body> {
        if let Err(error) = self.kitchen.check_blocked(&key.id()) {
            return self.not_ordered(&error);
        }
        match self.kitchen.store().get(&key) {
            Ok(Some(found)) => return self.hit(method, headers, key, found, query).await,
            Ok(None) => {}
            Err(error) => return not_opened(&error),
        }
        let waited = match wanted_wait(headers) {
            Some(patience) if self.kitchen.wait(&key, patience).await => Some(patience),
            _ => None,
        };
        let mut response = match self.kitchen.store().get(&key) {
            Ok(Some(found)) => self.hit(method, headers, key, found, query).await,
            Ok(None) => match self.look_up(key).await {
                Ok(Some(bundle)) if is_blocked(&bundle) => self.not_ordered(&OrderError::Blocked { reason: None }),
                Ok(bundle) => json(StatusCode::NOT_FOUND, &self.status_body(&key, bundle.as_ref())),
                // Files are all that such a larder may be able to see.
                Err(OrderError::Catalogue(_)) if self.kitchen.mode() == Mode::ReadOnly => {
                    json(StatusCode::NOT_FOUND, &self.status_body(&key, None))
                }
                Err(error) => self.not_ordered(&error),
            },
            Err(error) => not_opened(&error),
        };
        say_waited(&mut response, waited);
        response
    }

    async fn hit(
        &self,
        method: &Method,
        headers: &HeaderMap,
        key: BundleKey,
        found: Found,
        query: Option<&str>,
    ) -> Response<Body> {
        let file_id = FileId { dev: found.dev, ino: found.ino, size: found.size, mtime: found.mtime };
        let sha256 = if let Some(remembered) = self.digests.get(&file_id, Timestamp::now()) {
            remembered
        } else {
            let known = self.look_up(key).await.ok().flatten().and_then(|bundle| bundle.sha256);
            self.digests.put(file_id, known, Timestamp::now());
            known
        };
        let validator = Validator { mtime: found.mtime, size: found.size };
        let mut meta = Meta::of(&key, sha256).kept(file_id);
        if key.format() == Format::Raw
            && let Some(name) = route::file_name(query)
        {
            name.clone_into(&mut meta.file_name);
        }
        if key.format() == Format::Raw
            && let Some(media_type) = route::media_type(query)
        {
            meta.media_type = media_type;
        }
        let served = static_file::respond(method, headers, found.file, &validator, &meta);
        if served.counts {
            self.kitchen.touch(&key);
        }
        served.response
    }

    /// `POST /vault/:kind/:id[.:ext]`
    async fn cook(&self, headers: &HeaderMap, key: BundleKey) -> Response<Body> {
        let ordered = match self.kitchen.request(key).await {
            Ok(ordered) => ordered,
            Err(error) => return self.not_ordered(&error),
        };
        let waited = match wanted_wait(headers) {
            Some(patience) if self.kitchen.wait(&key, patience).await => Some(patience),
            _ => None,
        };
        match self.look_up(key).await {
            Ok(Some(bundle)) if is_blocked(&bundle) => self.not_ordered(&OrderError::Blocked { reason: None }),
            Ok(bundle) => {
                let mut response = self.created(&key, bundle.as_ref());
                if ordered == Ordered::Already(Status::Failed) {
                    response.headers_mut().insert(RETRY_AFTER, RETRY_FAILED_AFTER.as_secs().into());
                }
                say_waited(&mut response, waited);
                response
            }
            Err(error) => self.not_ordered(&error),
        }
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]/status`
    async fn status(&self, headers: &HeaderMap, key: BundleKey) -> Response<Body> {
        if let Err(error) = self.kitchen.check_blocked(&key.id()) {
            return self.not_ordered(&error);
        }
        let as_events = events::are_wanted(headers);
        let waited = match wanted_wait(headers).filter(|_| !as_events) {
            Some(patience) if self.kitchen.wait(&key, patience).await => Some(patience),
            _ => None,
        };
        let mut response = match self.look_up(key).await {
            Ok(Some(bundle)) if as_events => {
                return events::respond(&self.streams, headers, &self.kitchen, &self.base, (key, bundle.status));
            }
            Ok(Some(bundle)) => json(StatusCode::OK, &self.status_body(&key, Some(&bundle))),
            Ok(None) => json(StatusCode::NOT_FOUND, &self.status_body(&key, None)),
            Err(error) => self.not_ordered(&error),
        };
        say_waited(&mut response, waited);
        response
    }

    /// `GET, HEAD /vault/:kind?limit=&cursor=`
    async fn list(&self, page: Page) -> Response<Body> {
        let kitchen = self.kitchen.clone();
        // One more than asked for, to know whether there is a next page.
        let listed = blocking(move || kitchen.catalogue().list(page.kind, page.after, page.limit + 1)).await;
        let mut bundles = match listed {
            Ok(bundles) => bundles,
            Err(error) => return unavailable(&error),
        };
        let more = bundles.len() > page.limit as usize;
        bundles.truncate(page.limit as usize);
        let next = bundles.last().filter(|_| more).map(|last| {
            let cursor = route::cursor(&last.key);
            self.base.url(&format!("/vault/{}?limit={}&cursor={cursor}", page.kind, page.limit))
        });
        let body = ListBody {
            bundles: bundles.iter().map(|bundle| self.status_body(&bundle.key, Some(bundle))).collect(),
            links: ListLinks { next: next.as_deref() },
        };
        linked(json(StatusCode::OK, &body), next.as_deref())
    }

    /// `GET, HEAD /`
    fn index(&self) -> Response<Body> {
        let of = |kind| {
            let of: Vec<_> = Format::ALL.into_iter().filter(|format| format.is_of(kind)).map(Format::ext).collect();
            format!("  {kind:<10} {}\n", of.join(" "))
        };
        let formats = ObjectKind::ALL.map(of).concat();
        text(&format!(
            "larder {}: bundles of source code, cooked once and kept as files.\n\n\
             cook     curl -X POST {base}/vault/KIND/ID.FORMAT\n\
             fetch    curl -f -OJ {base}/vault/KIND/ID.FORMAT\n\
             ask      curl {base}/vault/KIND/ID.FORMAT/status\n\
             list     curl {base}/vault/KIND\n\
             resolve  curl '{base}/vault/resolve?origin=URL&ref=BRANCH'\n\
             origins  curl {base}/origins\n\n\
             ID is the sha1git of an object, KIND what it is. The FORMATs of each, the first meant when none is given:\n\n\
             {formats}\n\
             With -H 'Prefer: wait=30' a request waits for its cook.\n",
            env!("CARGO_PKG_VERSION"),
            base = self.base.url("")
        ))
    }

    /// 201, and where the bundle is or will be.
    fn created(&self, key: &BundleKey, bundle: Option<&Bundle>) -> Response<Body> {
        let mut response = json(StatusCode::CREATED, &self.status_body(key, bundle));
        let location = HeaderValue::try_from(self.base.bundle(key));
        response.headers_mut().extend(location.map(|location| (LOCATION, location)));
        response
    }

    pub(super) fn kitchen(&self) -> &Kitchen {
        &self.kitchen
    }

    /// What is said of blocked objects names who blocks them (RFC 7725 section 4).
    pub(super) fn not_ordered(&self, error: &OrderError) -> Response<Body> {
        let mut response = not_ordered(error);
        if response.status() == StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
            && let Some(blocker) = &self.blocker
            && let Ok(link) = HeaderValue::try_from(format!("<{blocker}>; rel=\"blocked-by\""))
        {
            response.headers_mut().insert(LINK, link);
        }
        response
    }

    async fn look_up(&self, key: BundleKey) -> Result<Option<Bundle>, OrderError> {
        let kitchen = self.kitchen.clone();
        blocking(move || kitchen.status(&key)).await
    }

    fn status_body<'a>(&self, key: &BundleKey, bundle: Option<&'a Bundle>) -> StatusBody<'a> {
        let progress =
            bundle.filter(|bundle| bundle.status == Status::Pending).and_then(|_| self.kitchen.progress(key));
        status_body(key, bundle, progress, &self.base)
    }
}

#[derive(Serialize)]
struct ListBody<'a> {
    bundles: Vec<StatusBody<'a>>,
    links: ListLinks<'a>,
}

#[derive(Serialize)]
pub(super) struct ListLinks<'a> {
    pub(super) next: Option<&'a str>,
}
