//! Pages for people with a browser: find an object, see what it is, order a bundle of it, watch the cook, download.
//!
//! Owns the HTML, and the URLs `/`, `/browse/...` and `/static/...` beyond their syntax. What pages say is read from
//! the archives and the catalogue at each request, blocking and bounded (`look`, `found`); the templates are given
//! plain data. They work without a script; `static/page.js` makes them better.
//!
//! **Whatever repositories hold is text.** maud escapes all that it is given, what is not seen is written as its number
//! (`text`), and the policy of the pages (`layout`) lets a browser run nothing but larder's own script.
//!
//! **A GET orders nothing.** The order is a form of its own, which no page of another site can send
//! (`http::cross_site`).

mod assets;
mod bundle;
mod forge;
mod found;
mod home;
mod layout;
mod lines;
mod look;
mod object;
mod offers;
mod place;
mod text;
mod wanted;

pub(super) use assets::respond as asset;
pub(super) use layout::apology;
pub use place::Place;

use super::answer::text as plain_text;
use super::body::Body;
use super::help::help;
use super::places::Client;
use super::problem::Problem;
use super::refused::{busy, not_opened};
use super::vault::Vault;
use super::{accept, cross_site, pass};
use crate::kitchen::OrderError;
use crate::limits::Mode;
use crate::time::Timestamp;
use bundle::Shown;
use found::Found;
use home::Missed;
use hyper::header::{HeaderMap, HeaderValue, LOCATION, VARY};
use hyper::{Response, StatusCode};
use look::Absent;
use maud::Markup;

/// What somebody looks for: what was pasted, and a branch or tag beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// A SWHID, an id or a URL.
    pub text: String,
    /// A branch or a tag, or nothing.
    pub reference: String,
}

/// What a page came to.
enum Made {
    Page(StatusCode, Markup),
    /// It is elsewhere: a path below larder's root.
    Elsewhere(String),
}

impl Vault {
    /// `GET, HEAD /`: the first page for a browser, a few lines of help for everybody else.
    pub(super) async fn index(&self, headers: &HeaderMap, client: Client, search: Option<Search>) -> Response<Body> {
        if search.is_none() && !accept::names(headers, "text/html") {
            let mut response = plain_text(&help(&self.base));
            response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
            return response;
        }
        let (orders, root) = (self.orders.clone(), self.base.path().to_owned());
        self.page(client, move || {
            let found = search.as_ref().map(|search| {
                let found = found::find(&orders, wanted::read(&search.text, &search.reference))?;
                Ok::<_, OrderError>((search, found))
            });
            let missed = match found.transpose()? {
                Some((_, Found::At(place))) => return Ok(Made::Elsewhere(place.target())),
                Some((search, Found::Not(why))) => {
                    Some(Missed { asked: (search.text.clone(), search.reference.clone()), why })
                }
                None => None,
            };
            // A larder that only reads may not see its catalogue, and has its pages all the same.
            let origins = match home::some_origins(&orders) {
                Err(_) if orders.mode() == Mode::ReadOnly => (Vec::new(), false),
                origins => origins?,
            };
            let status = if missed.is_some() { StatusCode::NOT_FOUND } else { StatusCode::OK };
            Ok(Made::Page(status, home::home(&root, missed.as_ref(), &origins)))
        })
        .await
    }

    /// `GET, HEAD /browse/:swhid?format=&from=`
    pub(super) async fn browse(&self, client: Client, place: Place) -> Response<Body> {
        let (orders, base) = (self.orders.clone(), self.base.clone());
        self.page(client, move || {
            let (root, mode) = (base.path(), orders.mode());
            let object = match look::object(&orders, &place)? {
                Ok(object) => object,
                Err(absent @ (Absent::Nowhere | Absent::Other(_))) => {
                    return Ok(Made::Page(StatusCode::NOT_FOUND, object::absent(root, &place, &absent)));
                }
            };
            let offer = object.offers.iter().find(|offer| Some(offer.key.format()) == place.format);
            let page = match offer {
                Some(offer) => {
                    let progress = orders.progress(&offer.key);
                    let title = object::title(&place, &object.what);
                    let now = Timestamp::now();
                    bundle::bundle(&base, mode, &Shown { place: &place, title: &title, offer, progress, now })
                }
                None => object::object(root, mode, &place, &object),
            };
            Ok(Made::Page(StatusCode::OK, page))
        })
        .await
    }

    /// `POST /browse/:swhid?format=`: orders a bundle by a form, and sends the browser on to its page.
    pub(super) async fn order_by_form(&self, headers: &HeaderMap, place: Place) -> Response<Body> {
        let root = self.base.path();
        if !cross_site::is_own(headers, &self.base) {
            let detail = "this order comes from a page of another site";
            return apology(root, Problem::new(StatusCode::FORBIDDEN, "cross_site", detail).response());
        }
        let key = match place.key() {
            Ok(key) => key,
            Err(error) => {
                let problem = Problem::new(StatusCode::BAD_REQUEST, "malformed_key", error.to_string());
                return apology(root, problem.response());
            }
        };
        match self.orders.mode() {
            Mode::ReadOnly => return apology(root, pass::read_only()),
            // It is cooked when it is fetched.
            Mode::PassThrough => {}
            Mode::Normal => {
                if let Err(error) = self.orders.request(key).await {
                    return apology(root, self.not_ordered(&error));
                }
            }
        }
        self.see_other(&place.as_format(Some(key.format())).target())
    }

    /// Makes a page when it is its turn.
    async fn page(
        &self,
        client: Client,
        make: impl FnOnce() -> Result<Made, OrderError> + Send + 'static,
    ) -> Response<Body> {
        let (spool, folder) = (self.spool.clone(), self.orders.bundles().data().to_owned());
        let page = self.browsers.make(move || {
            Ok::<_, OrderError>(match make()? {
                Made::Elsewhere(path) => Err(path),
                Made::Page(status, html) => Ok((status, spool.body(client, &[html.into_string().as_bytes()], &folder))),
            })
        });
        let root = self.base.path();
        match page.await {
            Some(Ok(Ok((status, Ok(Some(body)))))) => {
                let mut response = Response::new(body);
                *response.status_mut() = status;
                layout::add_headers(response.headers_mut());
                response
            }
            Some(Ok(Ok((_, Err(error))))) => apology(root, not_opened(&error)),
            Some(Ok(Err(path))) => self.see_other(&path),
            Some(Err(error)) => apology(root, self.not_ordered(&error)),
            None | Some(Ok(Ok((_, Ok(None))))) => apology(root, busy()),
        }
    }

    /// 303, to a path of this larder under whichever name the browser reached it.
    fn see_other(&self, path: &str) -> Response<Body> {
        let path = format!("{}{path}", self.base.path());
        let mut response = plain_text(&format!("{path}\n"));
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().extend(HeaderValue::try_from(path).map(|path| (LOCATION, path)));
        response
    }
}
