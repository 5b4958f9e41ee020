//! `/archive`: bundles by the names that people use, a repository and a branch, a tag or an id of it. The answer sends
//! the client on to the bundle of the id that the name has now, which stays what it is when the name moves on.
//!
//! What the name of a path means only what is known tells: where the repository ends and the branch begins, and, as
//! cgit writes it, which part of a file's name is the branch. Every reading is tried, the longest repository first.
//!
//! A GET orders nothing here either, unless the operator has said so (`cook_by_name`): then it orders the cook and
//! waits for it, as the archive of a forge makes what it is asked for.

use super::answer::{json, text};
use super::body::Body;
use super::origins::{find, no_such_origin};
use super::places::Client;
use super::problem::Problem;
use super::refused::{busy, is_blocked, not_opened};
use super::route::{NamedPath, Question, Wished};
use super::vault::Vault;
use crate::archive::snapshot::Manifest;
use crate::bundle::Status;
use crate::catalogue::Origin;
use crate::key::{BundleKey, Format, ParseError};
use crate::kitchen::{OrderError, Orders};
use crate::limits::Mode;
use crate::origins::{Resolved, resolve};
use hyper::header::{HeaderValue, LINK, LOCATION};
use hyper::{Method, Response, StatusCode};
use std::io;
use std::time::Duration;

/// How long a GET waits for the cook that it has ordered.
const PATIENCE: Duration = Duration::from_mins(10);

/// What `Retry-After` says when that was not enough, in seconds.
const STILL_COOKING_RETRY: u64 = 30;

/// What the names of `/archive` mean, and what a GET of one may do.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// What the URLs of repositories under `git` begin with: a path is appended to it.
    pub local_origins: String,
    /// Whether a GET orders what is not there.
    pub cook: bool,
}

/// What a name came to.
enum Meant {
    Bundle {
        key: BundleKey,
        /// Under which name it is to be saved.
        file: String,
    },
    /// No repository of this name is known.
    NoOrigin,
    /// It has nothing of this name.
    NoRef,
    /// There is that, and no such bundle of it.
    NoBundle(ParseError),
}

impl Vault {
    /// `GET, HEAD /archive?origin=&ref=&format=`
    pub(super) async fn named(&self, method: &Method, client: Client, wished: Wished) -> Response<Body> {
        let Wished { question: Question { origin, reference, .. }, format } = wished;
        self.meant(method, client, move |orders| {
            let Some(origin) = find(orders.bundles().catalogue(), &origin)? else { return Ok(Meant::NoOrigin) };
            let Some(resolved) = look_up(orders, &origin, &reference)? else { return Ok(Meant::NoRef) };
            Ok(bundle(&origin, &reference, &resolved, format))
        })
        .await
    }

    /// `GET, HEAD /archive/<path of the origin>/<ref>.<ext>`
    pub(super) async fn named_by_path(&self, method: &Method, client: Client, path: NamedPath) -> Response<Body> {
        let prefix = self.names.local_origins.clone();
        self.meant(method, client, move |orders| {
            let mut known = false;
            for (repository, reference) in path.readings() {
                let Some(origin) = at_path(orders, &prefix, &repository)? else { continue };
                known = true;
                for reference in references(&repository, &reference) {
                    if let Some(resolved) = look_up(orders, &origin, reference.as_bytes())? {
                        return Ok(bundle(&origin, reference.as_bytes(), &resolved, Some(path.format)));
                    }
                }
            }
            Ok(if known { Meant::NoRef } else { Meant::NoOrigin })
        })
        .await
    }

    async fn meant(
        &self,
        method: &Method,
        client: Client,
        look: impl FnOnce(&Orders) -> Result<Meant, OrderError> + Send + 'static,
    ) -> Response<Body> {
        let orders = self.orders.clone();
        match self.resolvers.make(move || look(&orders)).await {
            None => busy(),
            Some(Err(error)) => self.not_ordered(&error),
            Some(Ok(Meant::NoOrigin)) => no_such_origin(),
            Some(Ok(Meant::NoRef)) => {
                let detail = "the newest snapshot of this origin has no such branch, tag or object";
                Problem::new(StatusCode::NOT_FOUND, "no_such_ref", detail).response()
            }
            Some(Ok(Meant::NoBundle(error))) => {
                Problem::new(StatusCode::NOT_FOUND, "no_such_ref", error.to_string()).response()
            }
            Some(Ok(Meant::Bundle { key, file })) => self.sent_on(method, client, &key, &file).await,
        }
    }

    async fn sent_on(&self, method: &Method, client: Client, key: &BundleKey, file: &str) -> Response<Body> {
        if let Err(error) = self.orders.check_blocked(&key.id()) {
            return self.not_ordered(&error);
        }
        match self.is_there(key) {
            Ok(true) => return self.found(key, file),
            Ok(false) => {}
            Err(error) => return not_opened(&error),
        }
        let may_cook = self.names.cook && self.orders.mode() == Mode::Normal && *method == Method::GET;
        if may_cook {
            if let Err(error) = self.orders.request(*key).await {
                return self.not_ordered(&error);
            }
            // Who must not wait, for too many do, is told to come back.
            if let Some(place) = self.waiting.take_share(client) {
                tokio::select! {
                    _ = self.orders.wait(key, PATIENCE) => {}
                    () = place.is_lost() => {}
                }
            }
            match self.is_there(key) {
                Ok(true) => return self.found(key, file),
                Ok(false) => {}
                Err(error) => return not_opened(&error),
            }
        }
        match self.look_up(*key).await {
            Err(OrderError::Catalogue(_)) if self.orders.mode() == Mode::ReadOnly => {
                json(StatusCode::NOT_FOUND, &self.status_body(key, None))
            }
            Err(error) => self.not_ordered(&error),
            Ok(Some(bundle)) if is_blocked(&bundle) => self.not_ordered(&OrderError::Blocked { reason: None }),
            Ok(Some(bundle)) if may_cook => match (bundle.status, bundle.failure) {
                (Status::Failed, Some(failure)) => self.failed(&failure),
                _ => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "still_cooking", "the bundle is still being made")
                    .retry_after(STILL_COOKING_RETRY)
                    .response(),
            },
            Ok(bundle) => json(StatusCode::NOT_FOUND, &self.status_body(key, bundle.as_ref())),
        }
    }

    /// Whether a GET of the bundle gives it.
    fn is_there(&self, key: &BundleKey) -> io::Result<bool> {
        if self.orders.mode() == Mode::PassThrough {
            return Ok(true);
        }
        Ok(self.orders.bundles().open(key)?.is_some())
    }

    /// 302, for the name may mean something else tomorrow; what it means now stays, and the `Link` says so
    /// (<https://nix.dev/manual/nix/latest/protocols/tarball-fetcher>).
    fn found(&self, key: &BundleKey, file: &str) -> Response<Body> {
        let url = self.base.bundle(key);
        let mut response = text(&format!("{url}?filename={file}\n"));
        *response.status_mut() = StatusCode::FOUND;
        let fields = response.headers_mut();
        let location = HeaderValue::try_from(format!("{url}?filename={file}"));
        fields.extend(location.map(|location| (LOCATION, location)));
        fields.extend(HeaderValue::try_from(format!("<{url}>; rel=\"immutable\"")).map(|link| (LINK, link)));
        response
    }
}

/// What a name has in the newest snapshot of an origin.
fn look_up(orders: &Orders, origin: &Origin, reference: &[u8]) -> Result<Option<Resolved>, OrderError> {
    let Some(snapshot) = origin.snapshot else { return Ok(None) };
    let mut reader = orders.archive().reader();
    Ok(match orders.bundles().catalogue().branches(&snapshot)? {
        Some(branches) => resolve(&*branches, reader.as_mut(), reference)?,
        None => resolve(&Manifest::default(), reader.as_mut(), reference)?,
    })
}

/// The origin of a path: a repository that lies under `git`, or one that is mirrored from the host that the path
/// begins with.
fn at_path(orders: &Orders, prefix: &str, path: &str) -> Result<Option<Origin>, OrderError> {
    let bare = path.strip_suffix(".git").unwrap_or(path);
    for prefix in [prefix, "https://"] {
        for url in [format!("{prefix}{path}"), format!("{prefix}{bare}.git"), format!("{prefix}{bare}")] {
            if let Some(origin) = orders.bundles().catalogue().origin(&url)? {
                return Ok(Some(origin));
            }
        }
    }
    Ok(None)
}

/// What the name of a file may mean: a branch or a tag, or as cgit writes it `<repository>-<tag>`, where a `v` before
/// a number is left out.
fn references(repository: &str, name: &str) -> Vec<String> {
    let mut found = vec![name.to_owned()];
    let own = last_name(repository);
    let behind = name.strip_prefix(own).filter(|_| !own.is_empty());
    if let Some(behind) = behind.and_then(|behind| behind.strip_prefix(['-', '_'])).filter(|behind| !behind.is_empty())
    {
        found.extend([behind.to_owned(), format!("v{behind}"), format!("V{behind}")]);
    }
    found
}

fn bundle(origin: &Origin, reference: &[u8], resolved: &Resolved, format: Option<Format>) -> Meant {
    match resolved.bundle(format, false) {
        Ok(key) => Meant::Bundle { key, file: file_name(&origin.url, reference, key.format()) },
        Err(error) => Meant::NoBundle(error),
    }
}

/// `project-v1.0.tar.gz`: what a URL may ask for as the name of a download.
fn file_name(url: &str, reference: &[u8], format: Format) -> String {
    let reference = String::from_utf8_lossy(reference);
    let short = ["refs/tags/", "refs/heads/", "tags/", "heads/"];
    let short = short.iter().find_map(|prefix| reference.strip_prefix(prefix)).unwrap_or(&reference);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_+.-".contains(c) { c } else { '-' };
    let name: String = format!("{}-{short}", last_name(url)).chars().map(plain).collect();
    let name: String = name.trim_start_matches(['.', '-']).chars().take(180).collect();
    let name = if name.is_empty() { "archive" } else { &name };
    format!("{name}.{format}")
}

/// The last part of a URL or a path, without `.git`.
fn last_name(url: &str) -> &str {
    let last = url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or(url);
    last.strip_suffix(".git").unwrap_or(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::is_download_name;
    use proptest::prelude::*;

    #[test]
    fn a_download_is_called_by_its_repository_and_its_tag() {
        for (url, reference, name) in [
            ("https://example.org/team/project.git", "v1.0", "project-v1.0.tar.gz"),
            ("local:project", "refs/tags/v1.0", "project-v1.0.tar.gz"),
            ("https://example.org/a/", "feature/x", "a-feature-x.tar.gz"),
            ("https://example.org/.git", "\u{202e}", "archive.tar.gz"),
        ] {
            assert_eq!(file_name(url, reference.as_bytes(), Format::TarGz), name);
        }
    }

    #[test]
    fn names_of_files_are_read_as_cgit_writes_them() {
        assert_eq!(references("a/linux.git", "linux-6.0"), ["linux-6.0", "6.0", "v6.0", "V6.0"]);
        assert_eq!(references("a/linux", "v6.0"), ["v6.0"]);
        assert_eq!(references("a/linux", "linux-"), ["linux-"]);
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_its_file_has_one_that_a_url_may_ask_for(url in ".{0,40}", reference in proptest::collection::vec(any::<u8>(), 0..300)) {
            let name = file_name(&url, &reference, Format::TarZst);
            prop_assert!(is_download_name(&name), "{}", name);
        }
    }
}
