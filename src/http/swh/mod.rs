//! `/api/1`: the part of Software Heritage's web API that its clients use, so that they talk to larder as they are.
//! What each endpoint says was taken from exchanges with the real service, which the tests replay; where larder differs
//! is in docs/clients.md.
//!
//! `path` knows the paths, `accept` the forms of answers, `said` how they are made, `body` what requests bring.
//! `bundles` is the vault: the rows and the files of `/vault` under other names. `history`, `directory`, `content`,
//! `snapshot`, `origin` and `names` are what is behind it, read through `reading`, which has the bounds.

mod accept;
mod body;
mod bundles;
mod content;
mod directory;
mod history;
mod names;
mod object_path;
mod origin;
mod path;
mod reading;
mod said;
mod snapshot;
mod text;

use super::body::Body;
use super::cors;
use super::io::Peer;
use super::places::Client;
use super::vault::Vault;
use accept::Rendering;
use body::Sent;
use bundles::Spelling;
use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use object_path::ObjectPath;
use path::{Endpoint, Methods};
use percent_encoding::percent_decode_str;
use reading::Objects;
use said::{Wrong, found};
use serde_json::json;

/// A request, as the endpoints see it.
struct Call<'r> {
    method: &'r Method,
    query: Option<&'r str>,
    headers: &'r HeaderMap,
    version: Version,
    client: Client,
    body: &'r Bytes,
    /// The form in which the answer is wanted.
    rendering: Rendering,
}

/// Whether a path below larder's root is one of the API's.
pub(super) fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

impl Vault {
    /// Answers a request for `path` below larder's root.
    pub(super) async fn swh(&self, request: &Request<Bytes>, peer: Peer, path: &str) -> Response<Body> {
        let (method, headers) = (request.method(), request.headers());
        let mut response = match cors::preflight(method, headers) {
            Some(leave) => leave,
            None => self.swh_answer(request, peer, path).await,
        };
        cors::allow_any_origin(method, headers, &mut response);
        response
    }

    async fn swh_answer(&self, request: &Request<Bytes>, peer: Peer, path: &str) -> Response<Body> {
        let (method, headers) = (request.method(), request.headers());
        let query = request.uri().query();
        let wanted = Rendering::wanted(headers, query);
        let rendering = wanted.unwrap_or(Rendering::Json);
        let bytes: Vec<u8> = percent_decode_str(path).collect();
        let path = String::from_utf8_lossy(&bytes);
        let Some(endpoint) = Endpoint::of(&path, &bytes) else {
            let whole = percent_decode_str(request.uri().path()).decode_utf8_lossy();
            return Wrong::no_such_path(&whole).response(rendering);
        };
        let methods = endpoint.methods();
        if !methods.has(method) {
            return Wrong::method(method.as_str(), methods.allow()).response(rendering);
        }
        if wanted.is_none() && !endpoint.is_raw() {
            let reason = "Could not satisfy the request Accept header.";
            return Wrong::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", reason).response(Rendering::Json);
        }
        // A POST is answered where it is.
        if *method != Method::POST
            && let Some(lower) = endpoint.lower(&path)
        {
            return self.swh_elsewhere(&lower);
        }
        let client = Client::of(peer, headers);
        let call = Call { method, query, headers, version: request.version(), client, body: request.body(), rendering };
        let mut response = self.swh_endpoint(&call, &endpoint).await.unwrap_or_else(|wrong| wrong.response(rendering));
        if *method == Method::OPTIONS {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods.allow()));
        }
        response
    }

    /// What an endpoint says. OPTIONS of one that is only read is a GET, as the real service has it.
    async fn swh_endpoint(&self, call: &Call<'_>, endpoint: &Endpoint) -> Result<Response<Body>, Wrong> {
        if *call.method == Method::OPTIONS && endpoint.methods() != Methods::Read {
            return Ok(found(options(), None, call.rendering));
        }
        match endpoint {
            Endpoint::Root => Ok(found(json!({}), None, call.rendering)),
            Endpoint::Ping => Ok(found("pong", None, call.rendering)),
            Endpoint::Bundle(bundle, swhid) => Ok(self.swh_bundle(call, *bundle, swhid, Spelling::Swhid).await),
            Endpoint::OldBundle(bundle, id) => Ok(self.swh_bundle(call, *bundle, id, Spelling::Old).await),
            Endpoint::BundleRaw(bundle, swhid) => self.swh_bundle_raw(call, *bundle, swhid).await,
            Endpoint::OldBundleRaw(bundle, id) => self.swh_old_raw(*bundle, id),
            Endpoint::Object(object) => self.swh_object(call, object.clone()).await,
        }
    }

    /// What is behind the vault. Parameters are read first, and then, on another thread, objects.
    async fn swh_object(&self, call: &Call<'_>, object: ObjectPath) -> Result<Response<Body>, Wrong> {
        let query = call.query;
        match object {
            ObjectPath::Revision(id) => self.swh_read(call, move |objects| objects.revision(&id)).await,
            ObjectPath::RevisionLog(id) => {
                let limit = history::limit(query)?;
                self.swh_read(call, move |objects| objects.log(&id, limit)).await
            }
            ObjectPath::RevisionMessage(id) => self.swh_read(call, move |objects| objects.message(&id)).await,
            ObjectPath::RevisionDirectory(id, path) => {
                self.swh_read(call, move |objects| objects.revision_directory(&id, &path)).await
            }
            ObjectPath::Directory(id, path) => self.swh_read(call, move |objects| objects.directory(&id, &path)).await,
            ObjectPath::Release(id) => self.swh_read(call, move |objects| objects.release(&id)).await,
            ObjectPath::Snapshot(id) => {
                let wanted = snapshot::Wanted::read(query)?;
                self.swh_read(call, move |objects| objects.snapshot(&id, &wanted)).await
            }
            ObjectPath::Content(named) => self.swh_read(call, move |objects| objects.content(&named)).await,
            ObjectPath::ContentRaw(named) => {
                let query = query.map(str::to_owned);
                self.swh_read(call, move |objects| objects.content_raw(&named, query.as_deref())).await
            }
            ObjectPath::ContentKnown(list) => self.swh_read(call, move |objects| objects.contents_known(&list)).await,
            ObjectPath::Raw(swhid) => self.swh_read(call, move |objects| objects.raw(&swhid)).await,
            ObjectPath::Resolve(swhid) => self.swh_read(call, move |objects| objects.resolve(&swhid)).await,
            ObjectPath::Known => {
                let sent = match body::read(call.headers, call.body)? {
                    Sent::Nothing => json!([]),
                    Sent::Json(value) => value,
                    Sent::Form(names) => names.into(),
                };
                let asked = names::asked_about(&sent)?;
                self.swh_read(call, move |objects| objects.known(&asked)).await
            }
            ObjectPath::Origins => {
                let page = origin::Page::of_origins(query)?;
                self.swh_read(call, move |objects| objects.origins(&page)).await
            }
            ObjectPath::Search(words) => {
                let page = origin::Page::of_search(query)?;
                self.swh_read(call, move |objects| objects.search(&words, &page)).await
            }
            ObjectPath::Origin(url) => self.swh_read(call, move |objects| objects.origin(&url)).await,
            ObjectPath::Visits(url) => {
                let wanted = origin::Visits::read(query)?;
                self.swh_read(call, move |objects| objects.visits(&url, &wanted)).await
            }
            ObjectPath::LatestVisit(url) => {
                let wanted = origin::Latest::read(query)?;
                self.swh_read(call, move |objects| objects.latest_visit(&url, &wanted)).await
            }
            ObjectPath::Visit(url, number) => self.swh_read(call, move |objects| objects.visit(&url, number)).await,
            ObjectPath::Counters => self.swh_read(call, Objects::counters).await,
            ObjectPath::ExternalId(kind, value) => Err(names::external_id(&kind, &value)),
            ObjectPath::ExternalIdsOf(swhid) => Err(names::external_ids_of(&swhid)),
        }
    }
}

/// A number of a query.
fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// What can be sent to an endpoint and what comes of it.
fn options() -> serde_json::Value {
    json!({
        "renders": ["application/json", "application/yaml", "text/html"],
        "parses": ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
    })
}
