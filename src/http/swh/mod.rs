//! `/api/1`: the part of Software Heritage's web API that its clients use, so that they talk to larder as they are.
//! What each endpoint says was taken from exchanges with the real service, which the tests replay; where larder differs
//! is in docs/clients.md.
//!
//! `path` knows the paths, `accept` the forms of answers, `said` how they are made, `body` what requests bring.
//! `bundles` is the vault: the rows and the files of `/vault` under other names.

mod accept;
mod body;
mod bundles;
mod path;
mod said;

use super::body::Body;
use super::cors;
use super::io::Peer;
use super::places::Client;
use super::vault::Vault;
use accept::Rendering;
use bundles::Spelling;
use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use path::{Endpoint, Methods};
use percent_encoding::percent_decode_str;
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
        let path = percent_decode_str(path).decode_utf8_lossy();
        let Some(endpoint) = Endpoint::of(&path) else {
            let whole = percent_decode_str(request.uri().path()).decode_utf8_lossy();
            return Wrong::no_such_path(&whole).response(rendering);
        };
        let methods = endpoint.methods();
        if !methods.has(method) {
            return Wrong::method(method.as_str(), methods.allow()).response(rendering);
        }
        let is_raw = matches!(endpoint, Endpoint::BundleRaw(..) | Endpoint::OldBundleRaw(..));
        if wanted.is_none() && !is_raw {
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
        }
    }
}

/// What can be sent to an endpoint and what comes of it.
fn options() -> serde_json::Value {
    json!({
        "renders": ["application/json", "application/yaml", "text/html"],
        "parses": ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"],
    })
}
