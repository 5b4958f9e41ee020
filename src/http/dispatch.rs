//! From a request to the endpoint that answers it, by its route, this process's role and its mode. Owns the order in
//! which these are asked, and what stands around every answer: CORS, and the name by which it is counted.

use super::answer::text;
use super::body::Body;
use super::cors;
use super::help;
use super::io::Peer;
use super::page;
use super::pass;
use super::places::{Client, is_local};
use super::ready::ready;
use super::refused::not_routed;
use super::route::{self, Route, RouteError, SavedAs};
use super::scrape::Routed;
use super::swh;
use super::vault::{Asked, Vault};
use crate::limits::Mode;
use bytes::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, Response, StatusCode};

impl Vault {
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
}
