//! One bucket of an S3-compatible store: put, look, fetch, delete, sign. Knows the store's errors and what
//! they mean for a region; knows neither the catalogue nor other regions.
//!
//! **Nothing partial is ever visible.** An object appears when its one PUT, or the completion of its
//! multipart upload, is answered; its length is compared afterwards. What an upload leaves behind when
//! it is cut short is aborted before the next try: by its name, which whoever puts has noted, and where
//! there was no time for that by the list of what was begun under the same key.
//!
//! **Memory.** Parts are read from the file as they are sent, [`PARTS_AT_ONCE`] at once.
//!
//! **Locks.** `clients` is held while they are looked up or made.

use super::super::tls;
use super::settings::{Region, Secret};
use super::uploads::{Unlisted, Uploads};
use crate::catalogue::Placed;
use crate::key::BundleKey;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{
    Attribute, Attributes, BackoffConfig, Certificate, ClientOptions, Error, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, RetryConfig,
};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Bytes of a part, and of the largest object that is put in one piece.
const PART: u64 = 8 << 20;
/// Parts that a store takes of one object, less a margin.
const MAX_PARTS: u64 = 9_000;
/// Parts of one object on their way at once.
const PARTS_AT_ONCE: usize = 2;
/// The longest secret, in bytes.
const MAX_SECRET: u64 = 4 << 10;
/// The object that tells whether a region is up.
const PROBE: &str = "larder-probe";

/// Why a bucket did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The object is not there.
    #[error("the object is not there")]
    Missing,
    /// The region cannot be reached, or fails.
    #[error("the region is down: {0}")]
    Down(String),
    /// The region refuses: the key, the bucket or what it may do.
    #[error("the region refuses: {0}")]
    Refused(String),
    /// It is no fault of the region's.
    #[error("{0}")]
    Here(String),
}

/// A note being written down.
pub(super) type Noting = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>>;

/// The bucket of a region.
pub(super) struct Bucket {
    settings: Region,
    clients: Mutex<Option<Clients>>,
    /// Whether it was said that uploads cannot be listed.
    is_said: AtomicBool,
}

/// What reaches the bucket, each for its purpose.
#[derive(Clone)]
struct Clients {
    /// For what may take long.
    patient: AmazonS3,
    /// For what is known at once, or not at all.
    quick: AmazonS3,
    uploads: Arc<Uploads>,
}

impl Bucket {
    pub(super) fn new(settings: Region) -> Self {
        Self { settings, clients: Mutex::new(None), is_said: AtomicBool::new(false) }
    }

    /// Puts an object from its file, and compares what is there then. `began` is told that a multipart
    /// upload is about to begin, with a name that is empty, and its name before the first part is sent.
    pub(super) async fn put(
        &self,
        placed: &Placed,
        file: Arc<File>,
        began: impl Fn(String) -> Noting,
    ) -> Result<(), Trouble> {
        let (path, attributes) = (self.path(&placed.content), attributes(placed));
        let store = self.clients()?.patient;
        if placed.size <= PART {
            let bytes = read_at(file, 0, placed.size).await?;
            let options = PutOptions { attributes, ..PutOptions::default() };
            store.put_opts(&path, bytes.into(), options).await.map_err(|error| self.trouble(&error))?;
        } else {
            let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
            began(String::new()).await?;
            // Asked for once: a retry whose first answer was lost would begin a second one unseen.
            let upload = self.clients()?.quick.create_multipart_opts(&path, options).await;
            let upload = upload.map_err(|error| self.trouble(&error))?;
            began(upload.clone()).await?;
            let parts = self.put_parts(&store, &path, &upload, placed.size, file).await?;
            let completed = store.complete_multipart(&path, &upload, parts).await;
            completed.map_err(|error| self.trouble(&error))?;
        }
        if self.has(placed).await? { Ok(()) } else { Err(Trouble::Down("what was put is not there".to_owned())) }
    }

    async fn put_parts(
        &self,
        store: &AmazonS3,
        path: &Path,
        upload: &str,
        size: u64,
        file: Arc<File>,
    ) -> Result<Vec<PartId>, Trouble> {
        let part = PART.max(size.div_ceil(MAX_PARTS));
        let mut waiting = (0..size.div_ceil(part)).map(|n| (n, part.min(size - n * part)));
        let (mut sending, mut parts) = (JoinSet::new(), Vec::new());
        loop {
            while sending.len() < PARTS_AT_ONCE
                && let Some((n, length)) = waiting.next()
            {
                let (store, path, upload, file) = (store.clone(), path.clone(), upload.to_owned(), Arc::clone(&file));
                sending.spawn(async move {
                    let bytes = read_at(file, n * part, length).await.map_err(Failed::Here)?;
                    let index = usize::try_from(n).expect("because there are fewer than MAX_PARTS");
                    let sent = store.put_part(&path, &upload, index, bytes.into()).await;
                    sent.map(|id| (n, id)).map_err(Failed::There)
                });
            }
            match sending.join_next().await {
                None => break,
                Some(Ok(Ok(part))) => parts.push(part),
                Some(Ok(Err(Failed::Here(trouble)))) => return Err(trouble),
                Some(Ok(Err(Failed::There(error)))) => return Err(self.trouble(&error)),
                Some(Err(failed)) => std::panic::resume_unwind(failed.into_panic()),
            }
        }
        parts.sort_by_key(|(n, _)| *n);
        Ok(parts.into_iter().map(|(_, id)| id).collect())
    }

    /// Forgets a multipart upload that was cut short. One that ended since is no fault.
    pub(super) async fn abort(&self, content: &BundleKey, upload: &str) -> Result<(), Trouble> {
        let aborted = self.clients()?.quick.abort_multipart(&self.path(content), &upload.to_owned()).await;
        match aborted.map_err(|error| self.trouble(&error)) {
            Err(Trouble::Missing) => Ok(()),
            aborted => aborted,
        }
    }

    /// The uploads of the object that were begun and not ended, whoever began them; `None` when the
    /// region does not tell, which is said once.
    pub(super) async fn uploads(&self, content: &BundleKey) -> Result<Option<Vec<String>>, Trouble> {
        match self.clients()?.uploads.of(self.path(content).as_ref()).await {
            Ok(names) => Ok(Some(names)),
            Err(Unlisted::Trouble(trouble)) => Err(trouble),
            Err(Unlisted::Unable(why)) => {
                if !self.is_said.swap(true, Ordering::Relaxed) {
                    let region = &self.settings.name;
                    tracing::warn!(region, "uploads cannot be listed: one that a crash cut short may stay: {why}");
                }
                Ok(None)
            }
        }
    }

    /// Whether the object is there, with the length that it has.
    pub(super) async fn has(&self, placed: &Placed) -> Result<bool, Trouble> {
        match self.clients()?.quick.head(&self.path(&placed.content)).await {
            Ok(found) => Ok(found.size == placed.size),
            Err(error) => match self.trouble(&error) {
                Trouble::Missing => Ok(false),
                trouble => Err(trouble),
            },
        }
    }

    /// The object's bytes, as they come.
    pub(super) async fn get(
        &self,
        content: &BundleKey,
    ) -> Result<impl Stream<Item = Result<Bytes, Trouble>> + Unpin + Send + 'static, Trouble> {
        let found = self.clients()?.patient.get(&self.path(content)).await;
        let stream = found.map_err(|error| self.trouble(&error))?.into_stream();
        Ok(stream.map(|piece| piece.map_err(|error| trouble(&error))))
    }

    /// Deletes the object, if it is there.
    pub(super) async fn delete(&self, content: &BundleKey) -> Result<(), Trouble> {
        match self.clients()?.quick.delete(&self.path(content)).await.map_err(|error| self.trouble(&error)) {
            Err(Trouble::Missing) => Ok(()),
            deleted => deleted,
        }
    }

    /// A URL that anybody can get the object from for a while. Asks nobody. The object's own type and
    /// name are overruled by `media_type` and `file_name`.
    pub(super) async fn sign(
        &self,
        content: &BundleKey,
        overruled: Option<(&str, &str)>,
        ttl: Duration,
    ) -> Result<String, Trouble> {
        let mut options = SignedUrlOptions::new();
        if let Some((media_type, file_name)) = overruled {
            options = options.with_query([
                ("response-content-type", media_type.to_owned()),
                ("response-content-disposition", disposition(file_name)),
            ]);
        }
        let store = self.clients()?.patient;
        let signed = store.signed_url_opts(hyper::Method::GET, &self.path(content), ttl, &options).await;
        signed.map(String::from).map_err(|error| self.trouble(&error))
    }

    /// Looks whether the region is up: whether a small object can be read, which is put where it cannot
    /// and `may_put`.
    pub(super) async fn probe(&self, may_put: bool) -> Result<(), Trouble> {
        let store = self.clients()?.quick;
        let path = Path::from(format!("{}{PROBE}", self.settings.prefix));
        match store.get(&path).await.map_err(|error| self.trouble(&error)) {
            // Some stores refuse to say that an object is missing.
            Err(Trouble::Missing | Trouble::Refused(_)) if may_put => {}
            Err(Trouble::Missing) => return Ok(()),
            probed => return probed.map(drop),
        }
        let put = self.clients()?.quick.put(&path, PutPayload::from_static(b"larder\n")).await;
        put.map(drop).map_err(|error| self.trouble(&error))
    }

    /// The key of an object: made of the content's id alone, all of one length, so that none is the
    /// beginning of another and no name from outside is in it.
    fn path(&self, content: &BundleKey) -> Path {
        Path::from(format!("{}{}", self.settings.prefix, content.id()))
    }

    fn clients(&self) -> Result<Clients, Trouble> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = &*clients {
            return Ok(clients.clone());
        }
        Ok(clients.insert(Clients::new(&self.settings)?).clone())
    }

    /// What an error means. After a refusal the key is read anew: it may have been renewed.
    fn trouble(&self, error: &Error) -> Trouble {
        let trouble = trouble(error);
        if let Trouble::Refused(_) = trouble {
            *self.clients.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        trouble
    }
}

/// Where a part failed.
enum Failed {
    Here(Trouble),
    There(Error),
}

impl Clients {
    fn new(settings: &Region) -> Result<Self, Trouble> {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (id, secret) = (read_secret(&settings.access_key)?, read_secret(&settings.secret_key)?);
        let trusted = authority(settings)?;
        let make = |mut options: ClientOptions, retries, most| {
            for certificate in Certificate::from_pem_bundle(&trusted).map_err(|error| unusable(&error))? {
                options = options.with_root_certificate(certificate);
            }
            let backoff = BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            };
            AmazonS3Builder::new()
                .with_endpoint(endpoint(settings))
                .with_region(&settings.signing_region)
                .with_bucket_name(&settings.bucket)
                .with_virtual_hosted_style_request(!settings.path_style)
                .with_access_key_id(&id)
                .with_secret_access_key(&secret)
                .with_allow_http(settings.allow_http)
                .with_client_options(
                    options.with_allow_http(settings.allow_http).with_connect_timeout(settings.connect_timeout),
                )
                .with_retry(RetryConfig { backoff, max_retries: retries, retry_timeout: most })
                .build()
                .map_err(|error| unusable(&error))
        };
        let patient = ClientOptions::new().with_timeout_disabled().with_read_timeout(settings.timeout);
        let quick = ClientOptions::new().with_timeout(settings.timeout.min(settings.connect_timeout * 2));
        let most = settings.timeout.saturating_mul(2);
        let (patient, quick) = (make(patient, settings.retries, most)?, make(quick, 0, most)?);
        let uploads = Arc::new(Uploads::new(settings, &trusted, id, secret)?);
        Ok(Self { patient, quick, uploads })
    }
}

/// The region's own authority, as PEM; empty where it has none.
fn authority(settings: &Region) -> Result<Vec<u8>, Trouble> {
    let Some(path) = &settings.ca_file else { return Ok(Vec::new()) };
    tls::read(path).map_err(|error| Trouble::Here(format!("cannot read {}: {error}", path.display())))
}

pub(super) fn unusable(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::Here(cut(&format!("the region cannot be used: {error}")))
}

/// The URL that the bucket is below, or at.
pub(super) fn endpoint(settings: &Region) -> String {
    match settings.endpoint.split_once("://") {
        Some((scheme, host)) if !settings.path_style => format!("{scheme}://{}.{host}", settings.bucket),
        _ => settings.endpoint.clone(),
    }
}

fn read_secret(secret: &Secret) -> Result<String, Trouble> {
    let text = match secret {
        Secret::Variable(name) => {
            std::env::var(name).map_err(|_| Trouble::Here(format!("the variable {name} is not set")))?
        }
        Secret::File(path) => {
            let mut text = String::new();
            let read = File::open(path).and_then(|file| file.take(MAX_SECRET).read_to_string(&mut text));
            read.map_err(|error| Trouble::Here(format!("cannot read {}: {error}", path.display())))?;
            text
        }
    };
    Ok(text.trim().to_owned())
}

fn attributes(placed: &Placed) -> Attributes {
    let blake3 = blake3::Hash::from_bytes(placed.blake3).to_hex().to_string();
    Attributes::from_iter([
        (Attribute::ContentType, placed.media_type.clone()),
        (Attribute::ContentDisposition, disposition(&placed.file_name)),
        (Attribute::CacheControl, "public, max-age=31536000, immutable".to_owned()),
        (Attribute::Metadata("sha1git".into()), placed.content.id().to_string()),
        (Attribute::Metadata("blake3".into()), blake3),
    ])
}

fn disposition(file_name: &str) -> String {
    format!("attachment; filename=\"{file_name}\"")
}

/// A piece of a file; less than all of it is an error.
async fn read_at(file: Arc<File>, offset: u64, length: u64) -> Result<Bytes, Trouble> {
    let read = move || {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        Ok::<_, io::Error>(Bytes::from(bytes))
    };
    super::super::blocking(read).await.map_err(|error| Trouble::Here(format!("cannot read the archive: {error}")))
}

fn trouble(error: &Error) -> Trouble {
    let text = error.to_string();
    match error {
        Error::NotFound { .. } if text.contains("NoSuchBucket") => {
            Trouble::Refused("the bucket does not exist".to_owned())
        }
        Error::NotFound { .. } => Trouble::Missing,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Trouble::Refused(cut(&refusal(&text))),
        // What was asked for stands before.
        _ => Trouble::Down(cut(text.rsplit_once(" - ").map_or(text.as_str(), |(_, what)| what))),
    }
}

/// What of a refusal is for people: the store's own code, if it says one.
fn refusal(text: &str) -> String {
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map_or_else(|| text.to_owned(), |(code, _)| code.to_owned())
}

/// Few enough words for a line.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(300)].replace(['\n', '\r'], " ")
}
