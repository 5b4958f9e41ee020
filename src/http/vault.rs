//! The `/vault` endpoints: what each route answers. All it knows of cooking is the orders's handle.
//!
//! A hit goes `route -> Bundles::open -> static_file` and asks SQLite nothing; a GET never cooks.

use super::accept;
use super::answer::{blocking, json, text};
use super::archiver::Endpoints;
use super::body::Body;
use super::cors;
use super::descriptors::Reopen;
use super::digests::{Digests, FileId};
use super::etag::Validator;
use super::events;
use super::help;
use super::io::Peer;
use super::large::{Makers, Spool};
use super::named::Names;
use super::page;
use super::pass;
use super::places::{Client, Places, is_local};
use super::prefer::{say_waited, wanted_wait};
use super::ready::ready;
use super::refused::{is_blocked, not_opened, not_ordered, not_routed};
use super::route::{self, Route, RouteError, SavedAs};
use super::scrape::{Routed, Scrape};
use super::static_file::{self, Meta};
use super::swh;
use crate::bodies::{Base, StatusBody, status_body};
use crate::bundle::{Bundle, Status};
use crate::bundles::Bundles;
use crate::catalogue::Catalogue;
use crate::checksums::Remembered;
use crate::key::BundleKey;
use crate::kitchen::{Cooks, OrderError, Orders, RETRY_FAILED_AFTER};
use crate::limits::{Mode, Role};
use crate::store::Found;
use crate::time::Timestamp;
use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::num::NonZeroUsize;
use std::time::Duration;

/// How many files on disk have their SHA-256 remembered, each in about a hundred bytes.
const DIGESTS: NonZeroUsize = NonZeroUsize::new(65_536).expect("because 65,536 is not zero");

/// How many requests wait for a cook at once.
const WAITING: usize = 1024;

/// The answers below larder's root.
pub struct Vault {
    pub(super) orders: Orders,
    /// For what is cooked while it is sent.
    pub(super) cooks: Cooks,
    pub(super) bundles: Bundles,
    /// For lists, and for origins.
    pub(super) catalogue: Catalogue,
    pub(super) base: Base,
    root_path: String,
    digests: Digests,
    /// Who blocks what is blocked, as a URL.
    blocker: Option<String>,
    streams: events::Streams,
    /// Who waits for a cook.
    pub(super) waiting: Places,
    /// Who looks into a manifest, and who makes a proof.
    pub(super) resolvers: Makers,
    pub(super) provers: Makers,
    /// Who makes a page.
    pub(super) browsers: Makers,
    pub(super) spool: Spool,
    /// Who reads objects for Software Heritage's API.
    pub(super) readers: Makers,
    pub(super) checksums: Remembered,
    archiver: Option<Endpoints>,
    pub(super) names: Names,
    metrics: Option<Scrape>,
    role: Role,
    /// Whose pages may read what is public.
    pages: cors::Pages,
}

/// Who asks, how, and for what beside the bundle itself.
pub(super) struct Asked<'r> {
    method: &'r Method,
    headers: &'r HeaderMap,
    version: Version,
    client: Client,
    /// How a bundle is to be saved.
    saved: SavedAs,
}

impl<'r> Asked<'r> {
    /// For a bundle that is saved under its own name.
    pub(super) fn plain(method: &'r Method, headers: &'r HeaderMap, version: Version, client: Client) -> Self {
        Self { method, headers, version, client, saved: SavedAs::default() }
    }
}

impl Vault {
    /// The endpoints below `root_path` (empty, or `/like/this`), whose absolute URLs begin with
    /// `base`.
    #[must_use]
    pub fn new(orders: Orders, cooks: Cooks, base: Base, root_path: String, checksums: Remembered) -> Self {
        Self {
            bundles: orders.bundles().clone(),
            catalogue: orders.bundles().catalogue().clone(),
            orders,
            cooks,
            base,
            root_path,
            digests: Digests::new(DIGESTS),
            blocker: None,
            streams: events::Streams::default(),
            waiting: Places::new(WAITING, WAITING),
            resolvers: Makers::new(8, 512),
            provers: Makers::new(2, 128),
            browsers: Makers::new(2, 128),
            spool: Spool::default(),
            readers: Makers::new(4, 512),
            checksums,
            archiver: None,
            names: Names::default(),
            metrics: None,
            role: Role::All,
            pages: cors::Pages::default(),
        }
    }

    /// With the URL that stands for whoever runs this larder, for answers about what is blocked.
    #[must_use]
    pub fn run_by(mut self, url: Option<String>) -> Self {
        self.blocker = url;
        self
    }

    /// With what the names of `/archive` mean.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        Self { names, ..self }
    }

    /// With the Archiver's endpoints too.
    #[must_use]
    pub fn with_archiver(self, archiver: Endpoints) -> Self {
        Self { archiver: Some(archiver), ..self }
    }

    /// With `/metrics` too, for clients on this machine.
    #[must_use]
    pub fn with_metrics(self, metrics: Scrape) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Of a process of this role: one that only cooks says how it is, and nothing else.
    #[must_use]
    pub fn of_role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// Read by pages of these origins too, where it is public.
    #[must_use]
    pub fn read_by(self, pages: cors::Pages) -> Self {
        Self { pages, ..self }
    }

    /// Answers a request of `peer`.
    pub async fn answer(&self, request: Request<Bytes>, peer: Peer) -> Response<Body> {
        let says_how_it_is = |path| {
            let route = route::route(request.method(), path, None, &self.root_path);
            matches!(route, Ok(Route::Health | Route::Ready | Route::Metrics))
        };
        if !self.role.answers() && !says_how_it_is(request.uri().path()) {
            return not_routed(&RouteError::NotFound);
        }
        let below = route::below(request.uri().path(), &self.root_path);
        if let Some(path) = below.filter(|path| swh::is_api(path)) {
            let mut response = self.swh(&request, peer, path).await;
            response.extensions_mut().insert(Routed("api-1"));
            return response;
        }
        let (method, headers) = (request.method(), request.headers());
        let pages = Some(&self.pages).filter(|_| below.is_some_and(cors::is_shared));
        let mut response = match pages.and_then(|pages| pages.preflight(method, headers)) {
            Some(mut leave) => {
                leave.extensions_mut().insert(Routed("preflight"));
                leave
            }
            None => self.answer_route(&request, peer).await,
        };
        if let Some(pages) = pages {
            pages.allow(method, headers, &mut response);
        }
        response
    }

    async fn answer_route(&self, request: &Request<Bytes>, peer: Peer) -> Response<Body> {
        let (method, uri, headers, version) = (request.method(), request.uri(), request.headers(), request.version());
        let mode = self.orders.mode();
        let asked = |saved| Asked { method, headers, version, client: Client::of(peer, headers), saved };
        let route = route::route(method, uri.path(), uri.query(), &self.root_path);
        let routed = Routed(route.as_ref().map_or("none", Route::name));
        let mut response = match route {
            Ok(Route::Bundle(key, saved)) if mode == Mode::PassThrough => self.bundle_or_pass(asked(saved), key).await,
            Ok(Route::Bundle(key, saved)) => self.bundle(asked(saved), key).await,
            Ok(Route::Cook(_)) if mode == Mode::ReadOnly => pass::read_only(),
            Ok(Route::Cook(key)) if mode == Mode::PassThrough => self.promise(key).await,
            Ok(Route::Cook(key)) => self.cook(asked(SavedAs::default()), key).await,
            Ok(Route::Status(key)) => self.status(asked(SavedAs::default()), key).await,
            Ok(Route::List(page)) => self.list(page).await,
            Ok(Route::Proof(kind, id)) => self.proof(Client::of(peer, headers), kind, id).await,
            Ok(Route::Resolve(question)) => self.resolve(question).await,
            Ok(Route::Origins(page)) => self.origins(page).await,
            Ok(Route::Visits(page)) => self.visits(page).await,
            Ok(Route::Named(wished)) => self.named(method, Client::of(peer, headers), wished).await,
            Ok(Route::NamedPath(path)) => self.named_by_path(method, Client::of(peer, headers), path).await,
            Ok(Route::Task(id)) => match &self.archiver {
                Some(archiver) => archiver.status(method, &id).await,
                None => not_routed(&RouteError::NotFound),
            },
            Ok(Route::Archive(path)) => match &self.archiver {
                Some(archiver) => archiver.ask(method, &path, uri.query()).await,
                None => not_routed(&RouteError::NotFound),
            },
            Ok(Route::Elsewhere(path)) => self.elsewhere(&path, uri.query()),
            Ok(Route::Index(search)) => self.index(headers, Client::of(peer, headers), search).await,
            Ok(Route::Browse(place)) => self.browse(Client::of(peer, headers), *place).await,
            Ok(Route::Order(place)) => self.order_by_form(headers, *place).await,
            Ok(Route::Asset(version, name)) => page::asset(headers, &version, &name),
            Ok(Route::Health) => text("ok\n"),
            Ok(Route::Ready) => ready(&self.orders).await,
            Ok(Route::Metrics) => match &self.metrics {
                Some(metrics) if is_local(peer, headers) => metrics.answer(headers).await,
                _ => not_routed(&RouteError::NotFound),
            },
            Ok(Route::OpenApi) => help::openapi(),
            Ok(Route::Robots) => text("User-agent: *\nDisallow: /\n"),
            Err(error) if self.is_for_people(uri.path()) => page::apology(self.base.path(), not_routed(&error)),
            Err(error) => not_routed(&error),
        };
        response.extensions_mut().insert(routed);
        response
    }

    /// Whether nobody but a person with a browser looks there.
    fn is_for_people(&self, path: &str) -> bool {
        path.strip_prefix(&self.root_path).is_some_and(|path| path.starts_with("/browse/"))
    }

    /// 308, so that a POST stays one.
    fn elsewhere(&self, path: &str, query: Option<&str>) -> Response<Body> {
        let query = query.filter(|query| !query.is_empty()).map_or(String::new(), |query| format!("?{query}"));
        let url = self.base.url(&format!("{path}{query}"));
        let mut response = text(&format!("{url}\n"));
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().extend(HeaderValue::try_from(url).map(|url| (LOCATION, url)));
        response
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]` where what is not there is cooked for the request.
    async fn bundle_or_pass(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
        match self.if_there(&asked, key).await {
            Some(response) => response,
            None => self.pass(asked.method, asked.version, key, asked.saved.name).await,
        }
    }

    /// `POST /vault/:kind/:id[.:ext]` where it is cooked when it is fetched.
    async fn promise(&self, key: BundleKey) -> Response<Body> {
        let orders = self.orders.clone();
        match blocking(move || orders.could_cook(&key)).await {
            Ok(()) => self.created(&key, None),
            Err(error) => self.not_ordered(&error),
        }
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]`
    async fn bundle(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
        match self.if_there(&asked, key).await {
            Some(response) => response,
            None => self.after_a_wait(&asked, &key, self.missed(&asked, key)).await,
        }
    }

    /// The answer where there is a file, or where it is blocked whether there is one.
    async fn if_there(&self, asked: &Asked<'_>, key: BundleKey) -> Option<Response<Body>> {
        if let Err(error) = self.orders.check_blocked(&key.id()) {
            return Some(self.not_ordered(&error));
        }
        match self.bundles.open(&key) {
            Ok(Some(found)) => Some(self.hit(asked, key, found).await),
            Ok(None) => None,
            Err(error) => Some(not_opened(&error)),
        }
    }

    /// The answer where there was no file. Only when the catalogue says that there is one by now it is opened.
    async fn missed(&self, asked: &Asked<'_>, key: BundleKey) -> Response<Body> {
        let bundle = match self.look_up(key).await {
            Ok(Some(bundle)) if is_blocked(&bundle) => {
                return self.not_ordered(&OrderError::Blocked { reason: None });
            }
            Ok(bundle) => bundle,
            // Files are all that such a larder may be able to see.
            Err(OrderError::Catalogue(_)) if self.orders.mode() == Mode::ReadOnly => None,
            Err(error) => return self.not_ordered(&error),
        };
        if bundle.as_ref().is_some_and(|bundle| bundle.status == Status::Done)
            && let Some(response) = self.if_there(asked, key).await
        {
            return response;
        }
        json(StatusCode::NOT_FOUND, &self.status_body(&key, bundle.as_ref()))
    }

    /// An answer that is made when the request has waited for a cook, as far as it would, and says so.
    async fn after_a_wait(
        &self,
        asked: &Asked<'_>,
        key: &BundleKey,
        answer: impl Future<Output = Response<Body>>,
    ) -> Response<Body> {
        let waited = self.wait(asked, key).await;
        let mut response = answer.await;
        say_waited(&mut response, waited);
        response
    }

    /// Waits for a cook, when the request would; how long it would have. One that must not wait is answered at once:
    /// of too many, those of the client that has the most.
    async fn wait(&self, asked: &Asked<'_>, key: &BundleKey) -> Option<Duration> {
        let patience = wanted_wait(asked.headers)?;
        let place = self.waiting.take_share(asked.client)?;
        tokio::select! {
            waited = self.orders.wait(key, patience) => waited.then_some(patience),
            () = place.is_lost() => None,
        }
    }

    pub(super) async fn hit(&self, asked: &Asked<'_>, key: BundleKey, found: Found) -> Response<Body> {
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
        if let Some(name) = &asked.saved.name {
            meta.file_name.clone_from(name);
        }
        if let Some(media_type) = asked.saved.media_type {
            meta.media_type = media_type;
        }
        let served = static_file::respond(asked.method, asked.headers, found.file, &validator, &meta);
        if served.counts {
            self.orders.touch(&key);
        }
        if asked.version != Version::HTTP_2 {
            return served.response;
        }
        // A connection of HTTP/2 may be sent many at once: their files are not all held open.
        let bundles = self.bundles.clone();
        let reopen = Reopen::by(move || Ok(bundles.open(&key)?.map(|found| found.file)));
        served.response.map(|body| body.reopened(file_id, reopen))
    }

    /// `POST /vault/:kind/:id[.:ext]`
    async fn cook(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
        if self.goes_in_a_ring(asked.headers, &key) {
            return self.not_ordered(&OrderError::NotFound);
        }
        let ordered = match self.orders.request(key).await {
            Ok(ordered) => ordered,
            Err(error) => return self.not_ordered(&error),
        };
        let was_failed = ordered.status == Status::Failed;
        let answer = async {
            // What was ordered is known, unless the request has waited since.
            let waits = wanted_wait(asked.headers).is_some();
            match if waits { self.look_up(key).await } else { Ok(Some(ordered)) } {
                Ok(Some(bundle)) if is_blocked(&bundle) => self.not_ordered(&OrderError::Blocked { reason: None }),
                Ok(bundle) => {
                    let mut response = self.created(&key, bundle.as_ref());
                    if was_failed {
                        response.headers_mut().insert(RETRY_AFTER, RETRY_FAILED_AFTER.as_secs().into());
                    }
                    response
                }
                Err(error) => self.not_ordered(&error),
            }
        };
        self.after_a_wait(&asked, &key, answer).await
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]/status`
    async fn status(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
        if let Err(error) = self.orders.check_blocked(&key.id()) {
            return self.not_ordered(&error);
        }
        if self.goes_in_a_ring(asked.headers, &key) {
            return self.not_ordered(&OrderError::NotFound);
        }
        let as_events = accept::names(asked.headers, "text/event-stream");
        let answer = async {
            match self.look_up(key).await {
                Ok(Some(bundle)) if as_events => {
                    let who = (asked.client, asked.headers);
                    events::respond(&self.streams, who, &self.orders, &self.base, (key, bundle.status))
                }
                Ok(Some(bundle)) => json(StatusCode::OK, &self.status_body(&key, Some(&bundle))),
                Ok(None) => json(StatusCode::NOT_FOUND, &self.status_body(&key, None)),
                Err(error) => self.not_ordered(&error),
            }
        };
        if as_events { answer.await } else { self.after_a_wait(&asked, &key, answer).await }
    }

    /// 201, and where the bundle is or will be.
    fn created(&self, key: &BundleKey, bundle: Option<&Bundle>) -> Response<Body> {
        let mut response = json(StatusCode::CREATED, &self.status_body(key, bundle));
        let location = HeaderValue::try_from(self.base.bundle(key));
        response.headers_mut().extend(location.map(|location| (LOCATION, location)));
        response
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

    pub(super) async fn look_up(&self, key: BundleKey) -> Result<Option<Bundle>, OrderError> {
        let orders = self.orders.clone();
        blocking(move || orders.look_up_and_heal(&key)).await
    }

    pub(super) fn status_body<'a>(&self, key: &BundleKey, bundle: Option<&'a Bundle>) -> StatusBody<'a> {
        let progress = bundle.filter(|bundle| bundle.status == Status::Pending).and_then(|_| self.orders.progress(key));
        let waits = bundle.is_some_and(|bundle| bundle.status == Status::New);
        let said = if waits { self.orders.remote().and_then(|remote| remote.said(key)) } else { None };
        status_body(key, bundle, progress, &self.base).saying(said)
    }
}
