//! Getting a bundle from a server that is not trusted: ask for it, wait for its cook, download it,
//! verify it, name or extract it. Owns the order of these steps and what becomes of the files.
//!
//! **Files.** What is downloaded lies in `FILE.part`, which one process holds locked, with its ETag
//! beside it in `FILE.part.etag`: a later run goes on from there. FILE gets its name by a rename after
//! its bytes were verified and fsynced, so what has the name is right. What fails to verify is kept as
//! `FILE.bad`. A folder is extracted beside its place and renamed as well.
//!
//! **Trust.** The ids are recomputed from the bytes that lie on this disk, through the descriptor they
//! were written by. All that a server says is capped, and cleaned before it is shown.

mod check;
mod client;
mod download;
mod events;
mod extract;
mod part;
mod resolve;
mod target;
mod wait;

pub use client::Patience;
pub use resolve::{Question, resolve};
pub use target::{NO_SERVER, Target, check_server};

use crate::blocking::blocking;
use crate::key::ObjectKind;
use crate::verify::{MAX_PROOF, Proof};
use client::{Client, Fault, Retries};
use download::Downloaded;
use part::Part;
use reqwest::StatusCode;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often a bundle that was there a moment ago, and is gone, is asked for again.
const ROUNDS: u32 = 3;

/// How often a check is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What to get, and what to make of it.
#[derive(Clone, Debug)]
pub struct Order {
    /// What and from where.
    pub target: Target,
    /// The file to keep it in; `None` where only what is in it is wanted.
    pub file: Option<PathBuf>,
    /// The folder to extract it into: one that is not there, or is empty.
    pub folder: Option<PathBuf>,
    /// Whether the ids are recomputed.
    pub verify: bool,
    /// How much is put up with.
    pub patience: Patience,
}

/// What was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    /// Bytes of the bundle.
    pub size: u64,
    /// Bytes that an earlier run had left.
    pub resumed_from: u64,
}

/// What is being done.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// The server cooks it, or will.
    Cooking {
        /// The server's words.
        message: &'a str,
        /// Bytes or objects cooked.
        done: u64,
        /// How many there will be, once that is known.
        total: Option<u64>,
        /// Whether objects are counted, and not bytes.
        objects: bool,
    },
    /// It comes in.
    Downloading {
        /// Bytes that are here.
        done: u64,
        /// Bytes that there will be, as far as the server says.
        total: Option<u64>,
    },
    /// Its ids are recomputed.
    Verifying {
        /// Bytes looked through.
        done: u64,
        /// Bytes of the bundle; `None` where it is not read from the first byte to the last.
        total: Option<u64>,
    },
    /// It is extracted.
    Extracting,
    /// Something failed, and is tried again.
    Again {
        /// What failed.
        why: &'a str,
        /// How long it waits.
        after: Duration,
    },
}

/// Who is told of the steps.
pub type Tell<'a> = dyn Fn(&Step<'_>) + Sync + 'a;

/// Why a bundle was not got.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// The server has no such object.
    #[error("the server has no such object")]
    NoSuchObject,
    /// The object is blocked there (RFC 7725).
    #[error("the object is blocked on this server: {0}")]
    Blocked(String),
    /// The cook failed.
    #[error("the cook failed: {0}")]
    Cook(String),
    /// The server will not.
    #[error("{0}")]
    Refused(String),
    /// What came is not what was asked for.
    #[error("verification failed: {why}; what came is kept in {}", kept.display())]
    Verify {
        /// What is wrong.
        why: String,
        /// Where the bytes are.
        kept: PathBuf,
    },
    /// The server cannot be reached, or says nothing of use.
    #[error("{0}")]
    Network(String),
    /// A file or folder here.
    #[error("cannot {action} {}: {cause}", path.display())]
    Local {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
}

/// Gets a bundle.
///
/// # Errors
/// [`GetError`]. Nothing has the name of the file or the folder then that had not before; what was
/// downloaded stays for the next time, but after [`GetError::Verify`].
pub async fn get(order: &Order, tell: &Tell<'_>) -> Result<Got, GetError> {
    let client = Client::new(order.patience.clone())?;
    if let Some(folder) = &order.folder {
        extract::check(folder, order.target.key().format())?;
    }
    let file = order.file.clone().unwrap_or_else(|| beside(order));
    let mut part = Part::open(&file)?;
    let resumed_from = part.size();
    loop {
        let digest = obtain(&client, &order.target, &mut part, tell).await?;
        let proof = if order.verify { proof(&client, &order.target, tell).await? } else { None };
        let check = check::Check {
            file: part.file()?,
            key: order.target.key(),
            proof,
            digest,
            ids: order.verify,
            read: Arc::default(),
        };
        match checked(check, part.size(), tell).await {
            Ok(()) => break,
            // An earlier part may have been of other bytes, whatever the server says: all anew, once.
            Err(_) if part.is_patched() => part.restart(None)?,
            Err(why) => return Err(GetError::Verify { why, kept: part.put_aside()? }),
        }
    }
    let size = part.size();
    if let Some(folder) = &order.folder {
        tell(&Step::Extracting);
        let (bundle, format, folder) = (part.file()?, order.target.key().format(), folder.clone());
        blocking(move || extract::extract(bundle, format, &folder)).await?;
    }
    match order.file {
        Some(_) => part.finish()?,
        None => part.remove()?,
    }
    Ok(Got { size, resumed_from: if resumed_from <= size { resumed_from } else { 0 } })
}

/// Runs a check, and tells how far it is.
async fn checked(check: check::Check, size: u64, tell: &Tell<'_>) -> Result<(), String> {
    let (read, total) = (Arc::clone(&check.read), check.is_read_in_order().then_some(size));
    let running = blocking(move || check.run());
    tokio::pin!(running);
    loop {
        tell(&Step::Verifying { done: read.load(Ordering::Relaxed), total });
        tokio::select! {
            result = &mut running => return result,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The file for a bundle of which only the folder is wanted, `DIR.tar.gz`.
fn beside(order: &Order) -> PathBuf {
    let key = order.target.key();
    match order.folder.as_deref().map(|folder| (folder, folder.file_name())) {
        Some((folder, Some(_))) => folder.with_added_extension(key.format().ext()),
        _ => PathBuf::from(key.file_name()),
    }
}

/// Downloads it, asking for it and waiting for it where it is not there. Gives the server's digest.
async fn obtain(
    client: &Client,
    target: &Target,
    part: &mut Part,
    tell: &Tell<'_>,
) -> Result<Option<String>, GetError> {
    for _ in 0..ROUNDS {
        if let Downloaded::Whole { digest } = download::download(client, &target.bundle(), part, tell).await? {
            return Ok(digest);
        }
        let waiting = async {
            if !wait::ask(client, target, tell).await? {
                wait::wait(client, target, tell).await?;
            }
            Ok(())
        };
        let too_long = |_| Err(GetError::Network("the cook did not end in time".to_owned()));
        tokio::time::timeout(client.patience.cook, waiting).await.unwrap_or_else(too_long)?;
    }
    Err(GetError::Network("the bundle is gone whenever it is cooked".to_owned()))
}

/// The proof of what cannot be told from the bundle alone. It is checked with the bundle.
async fn proof(client: &Client, target: &Target, tell: &Tell<'_>) -> Result<Option<Proof>, GetError> {
    let key = target.key();
    let is_needed = match key.kind() {
        ObjectKind::Revision | ObjectKind::Release => key.format().is_flat(),
        ObjectKind::Snapshot => true,
        ObjectKind::Directory | ObjectKind::Content => false,
    };
    if !is_needed {
        return Ok(None);
    }
    let mut retries = Retries::new(&client.patience);
    loop {
        let attempt = async {
            let response = client.send(client.http.get(target.proof())).await?;
            match response.status() {
                StatusCode::OK => client::body(response, MAX_PROOF).await.map(Some),
                // A snapshot's bundle may have its manifest in it; of others it is said that it takes a proof.
                _ => Ok(None),
            }
        };
        match attempt.await {
            Ok(bytes) => return Ok(bytes.and_then(|bytes| Proof::decode(&bytes).ok())),
            Err(fault) => again(&mut retries, fault, tell).await?,
        }
    }
}

async fn again(retries: &mut Retries<'_>, fault: Fault, tell: &Tell<'_>) -> Result<(), GetError> {
    retries.pause(fault, |why, after| tell(&Step::Again { why, after })).await
}

fn local(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GetError {
    let path = path.to_owned();
    move |cause| GetError::Local { action, path, cause }
}
