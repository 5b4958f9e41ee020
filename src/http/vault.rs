//! The `/vault` endpoints: what each answers. All it knows of cooking is the handle of the orders.
//!
//! A hit goes `route -> Bundles::open -> static_file` and asks SQLite nothing; a GET never cooks.

use super::accept;
use super::answer::{blocking, json};
use super::archiver::Endpoints;
use super::body::Body;
use super::cors;
use super::descriptors::Reopen;
use super::digests::{Digests, FileId};
use super::etag::Validator;
use super::events;
use super::large::{Makers, Spool};
use super::named::Names;
use super::places::{Client, Places};
use super::prefer::{say_waited, wanted_wait};
use super::refused::{is_blocked, not_opened, not_ordered};
use super::route::SavedAs;
use super::scrape::Scrape;
use super::static_file::{self, Meta};
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
use hyper::header::{HeaderMap, HeaderValue, LINK, LOCATION, RETRY_AFTER};
use hyper::{Method, Response, StatusCode, Version};
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
    pub(super) root_path: String,
    pub(super) digests: Digests,
    /// Who blocks what is blocked, as a URL.
    pub(super) blocker: Option<String>,
    pub(super) streams: events::Streams,
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
    pub(super) archiver: Option<Endpoints>,
    pub(super) names: Names,
    pub(super) metrics: Option<Scrape>,
    pub(super) role: Role,
    /// Whose pages may read what is public.
    pub(super) pages: cors::Pages,
}

/// Who asks, how, and for what beside the bundle itself.
pub(super) struct Asked<'r> {
    pub(super) method: &'r Method,
    pub(super) headers: &'r HeaderMap,
    pub(super) version: Version,
    pub(super) client: Client,
    /// How a bundle is to be saved.
    pub(super) saved: SavedAs,
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

    /// `GET, HEAD /vault/:kind/:id[.:ext]` where what is not there is cooked for the request.
    pub(super) async fn bundle_or_pass(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
        match self.if_there(&asked, key).await {
            Some(response) => response,
            None => self.pass(asked.method, asked.version, key, asked.saved.name).await,
        }
    }

    /// `POST /vault/:kind/:id[.:ext]` where it is cooked when it is fetched.
    pub(super) async fn promise(&self, key: BundleKey) -> Response<Body> {
        let orders = self.orders.clone();
        match blocking(move || orders.could_cook(&key)).await {
            Ok(()) => self.created(&key, None),
            Err(error) => self.not_ordered(&error),
        }
    }

    /// `GET, HEAD /vault/:kind/:id[.:ext]`
    pub(super) async fn bundle(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
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
    pub(super) async fn cook(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
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
    pub(super) async fn status(&self, asked: Asked<'_>, key: BundleKey) -> Response<Body> {
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
