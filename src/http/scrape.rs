//! `GET, HEAD /metrics`: the figures of this larder, for Prometheus and whoever reads its formats.
//!
//! They are for the operator. Where no address of their own is set they are answered to clients on this machine alone;
//! `serve` answers whoever reaches the address that is.

use super::answer::plain;
use super::body::Body;
use super::process;
use super::refused::not_routed;
use super::route::RouteError;
use crate::archiver::Archiver;
use crate::kitchen::{Orders, Trouble};
use crate::metrics::{Figures, Form};
use hyper::header::{ACCEPT, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

/// Under which route a request is counted: put into the answer by who made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed(pub(super) &'static str);

/// What is asked for the figures.
#[derive(Clone)]
pub struct Scrape {
    orders: Orders,
    archiver: Archiver,
}

impl Scrape {
    /// The figures of these two, and of the process.
    #[must_use]
    pub fn new(orders: Orders, archiver: Archiver) -> Self {
        Self { orders, archiver }
    }

    /// Answers a request to the address that is the figures' own.
    pub async fn serve<B>(&self, request: Request<B>) -> Response<Body> {
        let mut response = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => self.answer(request.headers()).await,
            (_, "/metrics") => not_routed(&RouteError::MethodNotAllowed { allow: "GET, HEAD" }),
            _ => not_routed(&RouteError::NotFound),
        };
        let route = if request.uri().path() == "/metrics" { "metrics" } else { "none" };
        response.extensions_mut().insert(Routed(route));
        response
    }

    /// 200 and the figures, in the form that is accepted. What does not answer in time is left out.
    pub(super) async fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let (holdings, troubles) = tokio::join!(self.orders.holdings(), self.orders.health());
        let figures = Figures {
            holdings,
            troubles: troubles.into_iter().map(Trouble::code).collect(),
            regions: self.archiver.regions_up(),
            process: process::look(),
        };
        let form = accepted(headers);
        let text = self.orders.metrics().render(&figures, form);
        let mut response = plain(StatusCode::OK, form.media_type(), text.into_bytes());
        response.headers_mut().insert(VARY, ACCEPT.into());
        response
    }
}

/// OpenMetrics for who names it, as Prometheus does.
fn accepted(headers: &HeaderMap) -> Form {
    let names = |value: &hyper::header::HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value
                .split(',')
                .any(|one| one.split(';').next().is_some_and(|name| name.trim() == "application/openmetrics-text"))
        })
    };
    if headers.get_all(ACCEPT).iter().any(names) { Form::OpenMetrics } else { Form::Text }
}
