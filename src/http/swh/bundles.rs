//! `vault/...` of Software Heritage's API: the bundles of `/vault` under other names, the same rows and the same files.
//! Owns the status body of that API and the words that its clients go by; of cooking it knows the orders's handle.

use super::super::answer::blocking;
use super::super::vault::{Asked, Vault};
use super::Call;
use super::body;
use super::path::{BundleType, core_swhid};
use super::said::{Wrong, found};
use crate::bundle::{Bundle, Status};
use crate::http::body::Body;
use crate::key::{BundleKey, Format, ObjectKind};
use crate::kitchen::{OrderError, RETRY_FAILED_AFTER};
use crate::limits::Mode;
use hyper::header::{CACHE_CONTROL, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Response, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;

/// What the real service says of every status, whose clients poll.
const NO_CACHE: &str = "max-age=0, no-cache, no-store, must-revalidate, private";

/// What of a path does not stand in a URL as it is.
const ESCAPED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?');

static HEAD: Method = Method::HEAD;

/// The status body, its fields in the order of the real service.
#[derive(Serialize)]
struct StatusBody {
    fetch_url: String,
    progress_message: Option<String>,
    id: u64,
    status: &'static str,
    swhid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    obj_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    obj_id: Option<String>,
}

/// How a bundle is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// By a SWHID.
    Swhid,
    /// By an id alone: the URLs of before, whose status has two fields more.
    Old,
}

/// A bundle by the name that the API has for it.
#[derive(Clone, Copy, Debug)]
struct Named {
    bundle: BundleType,
    key: BundleKey,
    spelling: Spelling,
}

impl Vault {
    /// `GET, POST vault/<type>/<swhid>/`, and the same by an id.
    pub(super) async fn swh_bundle(
        &self,
        call: &Call<'_>,
        bundle: BundleType,
        id: &str,
        spelling: Spelling,
    ) -> Response<Body> {
        let answered = match named(bundle, id, spelling) {
            Ok(named) if *call.method == Method::POST => self.swh_order(call, named).await,
            Ok(named) => self.swh_status(call, named).await,
            Err(wrong) => Err(wrong),
        };
        let mut response = answered.unwrap_or_else(|wrong| wrong.response(call.rendering));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(NO_CACHE));
        response
    }

    async fn swh_status(&self, call: &Call<'_>, named: Named) -> Result<Response<Body>, Wrong> {
        let key = named.key;
        self.orders.check_blocked(&key.id()).map_err(|error| self.swh_wrong(&error))?;
        let bundle = if self.goes_in_a_ring(call.headers, &key) {
            None
        } else {
            self.look_up(key).await.map_err(|error| self.swh_wrong(&error))?
        };
        if bundle.is_none() && self.orders.mode() == Mode::PassThrough && self.swh_could_cook(key).await? {
            return Ok(self.swh_said(call, named, None));
        }
        match &bundle {
            Some(bundle) => Ok(self.swh_said(call, named, Some(bundle))),
            None => Err(Wrong::not_found(format!("Cooking of {} was never requested.", key.swhid()))),
        }
    }

    async fn swh_order(&self, call: &Call<'_>, named: Named) -> Result<Response<Body>, Wrong> {
        // Whom to tell when it is done stands in it; larder tells nobody.
        body::read(call.headers, call.body)?;
        let key = named.key;
        match self.orders.mode() {
            Mode::Normal => {}
            Mode::ReadOnly => return self.swh_status(call, named).await,
            Mode::PassThrough if self.swh_could_cook(key).await? => return Ok(self.swh_said(call, named, None)),
            Mode::PassThrough => return Err(not_found(&key)),
        }
        if self.goes_in_a_ring(call.headers, &key) {
            return Err(not_found(&key));
        }
        let ordered = match self.orders.request(key).await {
            Ok(ordered) => ordered,
            Err(OrderError::NotFound | OrderError::OtherKind { .. }) => return Err(not_found(&key)),
            Err(error) => return Err(self.swh_wrong(&error)),
        };
        let mut response = self.swh_said(call, named, Some(&ordered));
        if ordered.status == Status::Failed {
            response.headers_mut().insert(RETRY_AFTER, RETRY_FAILED_AFTER.as_secs().into());
        }
        Ok(response)
    }

    /// Whether a bundle can be had where it is cooked when it is fetched.
    async fn swh_could_cook(&self, key: BundleKey) -> Result<bool, Wrong> {
        let orders = self.orders.clone();
        match blocking(move || orders.could_cook(&key)).await {
            Ok(()) => Ok(true),
            Err(OrderError::NotFound | OrderError::OtherKind { .. }) => Ok(false),
            Err(error) => Err(self.swh_wrong(&error)),
        }
    }

    /// The status body. Without a row the bundle is one that is cooked when it is fetched.
    fn swh_said(&self, call: &Call<'_>, named: Named, bundle: Option<&Bundle>) -> Response<Body> {
        let Named { bundle: bundle_type, key, spelling } = named;
        let old = spelling == Spelling::Old;
        let message = bundle.and_then(|bundle| match bundle.status {
            Status::Pending => self.orders.progress(&key).map(|at| match at.total {
                Some(total) => format!("{}: {} of {total} {}", at.message, at.done, at.unit.as_str()),
                None => format!("{}: {} {}", at.message, at.done, at.unit.as_str()),
            }),
            Status::Failed => bundle.failure.as_ref().map(|failure| failure.message.clone()),
            Status::New | Status::Done => None,
        });
        let body = StatusBody {
            fetch_url: self.base.url(&raw_path(bundle_type, &key)),
            progress_message: message,
            id: number(&key),
            status: bundle.map_or(Status::Done, |bundle| bundle.status).as_str(),
            swhid: key.swhid().to_string(),
            obj_type: old.then(|| key.kind().as_str()),
            obj_id: old.then(|| key.id().to_string()),
        };
        found(body, call.query, call.rendering)
    }

    /// `GET, HEAD vault/<type>/<swhid>/raw/`: larder's file.
    pub(super) async fn swh_bundle_raw(
        &self,
        call: &Call<'_>,
        bundle: BundleType,
        id: &str,
    ) -> Result<Response<Body>, Wrong> {
        let key = named(bundle, id, Spelling::Swhid)?.key;
        self.orders.check_blocked(&key.id()).map_err(|error| self.swh_wrong(&error))?;
        match self.bundles.open(&key) {
            Ok(Some(there)) => {
                // Who asks what it takes is told without its bytes.
                let method = if *call.method == Method::OPTIONS { &HEAD } else { call.method };
                let asked = Asked::plain(method, call.headers, call.version, call.client);
                Ok(self.hit(&asked, key, there).await)
            }
            Ok(None) if self.orders.mode() == Mode::PassThrough => {
                let response = self.pass(call.method, call.version, key, None).await;
                if response.status() == StatusCode::OK { Ok(response) } else { Err(Wrong::of_problem(response)) }
            }
            Ok(None) => Err(Wrong::not_found(format!("Cooked archive for {} not found.", key.swhid()))),
            Err(error) => Err(self.swh_wrong(&OrderError::Store(error))),
        }
    }

    /// `GET, HEAD` of a bundle by an id alone: 302 and its URL of today.
    pub(super) fn swh_old_raw(&self, bundle: BundleType, id: &str) -> Result<Response<Body>, Wrong> {
        let key = named(bundle, id, Spelling::Old)?.key;
        Ok(self.swh_elsewhere(&raw_path(bundle, &key)))
    }

    /// 302, as the real service has it.
    pub(super) fn swh_elsewhere(&self, path: &str) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::FOUND;
        let url = HeaderValue::try_from(self.base.url(&utf8_percent_encode(path, &ESCAPED).to_string()));
        response.headers_mut().extend(url.map(|url| (LOCATION, url)));
        response
    }

    /// What an order, or a look at an object, failed of.
    pub(super) fn swh_wrong(&self, error: &OrderError) -> Wrong {
        Wrong::of_problem(self.not_ordered(error))
    }
}

fn raw_path(bundle: BundleType, key: &BundleKey) -> String {
    format!("/api/1/vault/{}/{}/raw/", bundle.as_str(), key.swhid())
}

/// Clients go by the end of this.
fn not_found(key: &BundleKey) -> Wrong {
    Wrong::not_found(format!("{} not found.", key.swhid()))
}

/// The number that stands for a bundle. The real one counts requests; here it is made of the bundle's name, below 2^53,
/// which every reader of JSON holds: the same on every machine, for as long as there is such a bundle.
fn number(key: &BundleKey) -> u64 {
    let digest = blake3::hash(key.to_string().as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) >> 11
}

/// The bundle that a type and an identifier name.
fn named(bundle: BundleType, id: &str, spelling: Spelling) -> Result<Named, Wrong> {
    let (kind, id) = match (spelling, bundle) {
        (Spelling::Swhid, _) => core_swhid(id).map_err(Wrong::bad_input)?,
        (Spelling::Old, BundleType::Flat) => (ObjectKind::Directory, old_id(id)?),
        (Spelling::Old, BundleType::Gitfast | BundleType::GitBare) => (ObjectKind::Revision, old_id(id)?),
    };
    let format = format(bundle, kind).map_err(Wrong::bad_input)?;
    let key = BundleKey::new(kind, id, format).map_err(|error| Wrong::bad_input(error.to_string()))?;
    Ok(Named { bundle, key, spelling })
}

/// Forty digits, in either case.
pub(super) fn old_id(id: &str) -> Result<crate::key::Sha1Git, Wrong> {
    let lower = id.to_ascii_lowercase();
    lower.parse().map_err(|_| Wrong::bad_input(format!("Invalid checksum query string {id}")))
}

/// The format of larder's that a type of the API is, where the API has it of such objects.
fn format(bundle: BundleType, kind: ObjectKind) -> Result<Format, &'static str> {
    use ObjectKind::{Content, Directory, Release, Revision, Snapshot};
    const CONTENT: &str = "Content objects do not need to be cooked, use `/api/1/content/raw/` instead.";
    match (bundle, kind) {
        (BundleType::Flat, Directory) => Ok(Format::TarGz),
        (BundleType::Flat, Revision) => Err("Only directories can be cooked as 'flat' bundles. Use \
                                             `/api/1/vault/gitfast/` to cook revisions, as gitfast bundles."),
        (BundleType::Flat, Release | Snapshot) => Err("Only directories can be cooked as 'flat' bundles."),
        (BundleType::Gitfast, Revision) => Ok(Format::Gitfast),
        (BundleType::Gitfast, Directory) => Err("Only revisions can be cooked as 'gitfast' bundles. Use \
                                                 `/api/1/vault/flat/` to cook directories, as flat bundles."),
        (BundleType::Gitfast, Release | Snapshot) => Err("Only revisions can be cooked as 'gitfast' bundles."),
        (BundleType::Flat | BundleType::Gitfast, Content) => Err(CONTENT),
        (BundleType::GitBare, Content) => Err("Object type CONTENT cannot be cooked as 'git-bare' bundle."),
        (BundleType::GitBare, Directory | Revision | Release | Snapshot) => Ok(Format::GitTar),
    }
}
