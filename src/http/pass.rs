//! Bundles that are cooked for one request and kept nowhere: the one exception to "a GET never cooks".
//!
//! The length is not known when the headers are sent, so there is no Content-Length, no Range and no
//! ETag. What fails before the first bytes has its status; what fails later breaks the connection, so
//! that no client takes it for whole.

use super::answer::blocking;
use super::body::Body;
use super::problem::Problem;
use super::static_file::{self, Meta};
use super::vault::Vault;
use crate::bundle::{Failure, FailureCode};
use crate::key::BundleKey;
use crate::kitchen::{OrderError, ThroughError};
use hyper::{Method, Response, StatusCode, Version};

/// What `Retry-After` says when as many cook as may, in seconds.
const BUSY_RETRY: u64 = 5;

impl Vault {
    /// The answer to a GET or HEAD of a bundle that is not there.
    pub(super) async fn pass(
        &self,
        method: &Method,
        version: Version,
        key: BundleKey,
        name: Option<String>,
    ) -> Response<Body> {
        let mut meta = Meta::of(&key, None);
        if let Some(name) = name {
            meta.file_name = name;
        }
        if *method == Method::HEAD {
            let orders = self.orders.clone();
            return match blocking(move || orders.could_cook(&key)).await {
                // A body of no bytes yet, which is never sent: it stands for one of unknown length.
                Ok(()) => static_file::streamed(Body::Stream(tokio::sync::mpsc::channel(1).1), &meta),
                Err(error) => self.not_ordered(&error),
            };
        }
        // Its bodies of unknown length end with the connection, so a cut one looks whole.
        if version < Version::HTTP_11 {
            let detail = "bundles are cooked while they are sent here, which takes HTTP/1.1";
            return Problem::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "http_version", detail).response();
        }
        match self.cooks.cook_through(key).await {
            Ok(stream) => static_file::streamed(Body::Stream(stream), &meta),
            Err(error) => self.not_passed(&error),
        }
    }

    fn not_passed(&self, error: &ThroughError) -> Response<Body> {
        match error {
            ThroughError::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", error.to_string())
                .retry_after(BUSY_RETRY)
                .response(),
            ThroughError::Order(error) => self.not_ordered(error),
            ThroughError::Failed(failure) => self.failed(failure),
        }
    }

    /// Why there is no bundle, to who has waited for it.
    pub(super) fn failed(&self, failure: &Failure) -> Response<Body> {
        let status = match failure.code {
            FailureCode::Blocked => return self.not_ordered(&OrderError::Blocked { reason: None }),
            FailureCode::HostileTree
            | FailureCode::TooLarge
            | FailureCode::CorruptObject
            | FailureCode::NotRepresentable => StatusCode::UNPROCESSABLE_ENTITY,
            FailureCode::MissingObject => StatusCode::NOT_FOUND,
            FailureCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FailureCode::NoSpace | FailureCode::Io | FailureCode::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Problem::new(status, failure.code.as_str(), failure.message.clone()).response()
    }
}

/// The answer to an order where nothing is cooked.
pub(super) fn read_only() -> Response<Body> {
    let detail = "this larder serves what it has and cooks nothing";
    Problem::method_not_allowed("GET, HEAD").with("code", "read_only").with("detail", detail).response()
}
