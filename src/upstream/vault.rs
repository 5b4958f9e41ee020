//! What is asked of a vault for one object, in which order: the protocol of Software Heritage's API, which
//! another larder speaks too. Gives objects to [`Kept`] and nothing to anybody else.
//!
//! - A content comes alone (`content/.../raw/`), as do a revision and a release (their JSON, from which their
//!   bytes are made again and compared with the id).
//! - A directory comes as the vault's `flat` bundle; where that cannot show it (a submodule, an odd mode), as
//!   its `git-bare` bundle.
//! - A history is its `git-bare` bundle, and of a snapshot its branches.

use super::client::{Asking, Client, Trouble};
use super::kept::Kept;
use super::rebuild;
use super::unpack::{self, Bounds, Unusable};
use crate::archive::object::{self, Hasher};
use crate::archive::snapshot::Manifest;
use crate::archive::{ObjectType, object as objects};
use crate::blocking::blocking;
use crate::key::{ObjectKind, Sha1Git, Swhid};
use reqwest::Method;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait before a cook is looked at again: at first, and at most.
const POLL: Duration = Duration::from_secs(1);
const MAX_POLL: Duration = Duration::from_secs(30);
/// A cook that failed, or whose bundle was gone, is ordered so often.
const ORDERS: u32 = 2;
/// The most pages of a snapshot's branches.
const MAX_PAGES: usize = 2_000;
/// The most bytes of a branch's name in a URL.
const ESCAPED: &percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC;

/// Told how many bytes are about to lie on the disk.
pub type Room = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// One vault that is asked for one thing.
pub(super) struct Visit<'a> {
    pub(super) client: &'a Client,
    pub(super) kept: &'a Kept,
    pub(super) asking: Asking<'a>,
    /// Most bytes of a bundle, and of what it unpacks to.
    pub(super) most: u64,
    pub(super) room: &'a Room,
    /// Told what is going on, for people.
    pub(super) tell: &'a (dyn Fn(String) + Sync),
}

#[derive(Deserialize)]
struct Status {
    status: String,
    progress_message: Option<String>,
}

impl Visit<'_> {
    /// Has the content kept.
    pub(super) async fn content(&self, id: &Sha1Git) -> Result<(), Trouble> {
        let swhid = Swhid { kind: ObjectKind::Content, id: *id };
        let path = self.download(&format!("content/sha1_git:{id}/raw/"), &swhid, "raw").await?;
        let (kept, id, from) = (self.kept.clone(), *id, self.client.upstream.url.clone());
        let keep = move || -> Result<(), Trouble> {
            let mut file = File::open(&path).map_err(unwritten)?;
            let size = file.metadata().map_err(unwritten)?.len();
            let found = hash(&mut file, size).map_err(unwritten)?;
            let kept = if found == Some(id) {
                let kept = file.rewind().and_then(|()| kept.keep_object(ObjectType::Blob, &id, size, &mut file));
                kept.map_err(unwritten)
            } else {
                Err(Trouble::Absent(format!("{from} gave other bytes than those of {id}")))
            };
            forget(&path);
            kept
        };
        blocking(keep).await
    }

    /// Has the commit of a revision kept, and gives it; `None` when only its history shows it.
    pub(super) async fn revision(&self, id: &Sha1Git) -> Result<Option<Vec<u8>>, Trouble> {
        let json = self.client.json(Method::GET, &format!("revision/{id}/"), self.asking).await?;
        self.keep(ObjectType::Commit, id, rebuild::revision(id, &json)).await
    }

    /// As [`revision`](Self::revision), of a release's tag.
    pub(super) async fn release(&self, id: &Sha1Git) -> Result<Option<Vec<u8>>, Trouble> {
        let json = self.client.json(Method::GET, &format!("release/{id}/"), self.asking).await?;
        self.keep(ObjectType::Tag, id, rebuild::release(id, &json)).await
    }

    async fn keep(
        &self,
        object_type: ObjectType,
        id: &Sha1Git,
        object: Option<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(object) = object else { return Ok(None) };
        let (kept, id) = (self.kept.clone(), *id);
        let keep = move || kept.keep_object(object_type, &id, object.len() as u64, &mut &object[..]).map(|()| object);
        blocking(keep).await.map(Some).map_err(unwritten)
    }

    /// Has a directory kept, with all that is in it.
    pub(super) async fn directory(&self, id: &Sha1Git) -> Result<(), Trouble> {
        let swhid = Swhid { kind: ObjectKind::Directory, id: *id };
        match self.bundle("flat", &swhid).await {
            Err(Trouble::Absent(why)) => {
                tracing::debug!(%swhid, why, "its flat bundle is of no use");
                self.bundle("git-bare", &swhid).await
            }
            outcome => outcome,
        }
    }

    /// Has an object kept, with all that can be reached from it.
    pub(super) async fn history(&self, swhid: &Swhid) -> Result<(), Trouble> {
        self.bundle("git-bare", swhid).await
    }

    /// The branches of a snapshot.
    pub(super) async fn manifest(&self, id: &Sha1Git) -> Result<Manifest, Trouble> {
        let (mut manifest, mut from) = (Manifest::default(), String::new());
        for _ in 0..MAX_PAGES {
            let from_here = percent_encoding::utf8_percent_encode(&from, ESCAPED);
            let path = format!("snapshot/{id}/?branches_count=1000&branches_from={from_here}");
            let page = self.client.json(Method::GET, &path, self.asking).await?;
            let next = rebuild::snapshot_page(&mut manifest, &page)
                .map_err(|why| Trouble::Absent(format!("{}: {why}", self.client.upstream.url)))?;
            match next {
                // Only forwards, so that it ends.
                Some(next) if next > from => from = next,
                _ => break,
            }
        }
        if manifest.id() == *id {
            return Ok(manifest);
        }
        Err(Trouble::Absent(format!(
            "the branches that {} gives are those of another snapshot",
            self.client.upstream.url
        )))
    }

    /// Has a bundle cooked there, waits for it, fetches it, and has its objects kept.
    async fn bundle(&self, form: &str, swhid: &Swhid) -> Result<(), Trouble> {
        let cook = format!("vault/{form}/{swhid}/");
        let path = self.cooked(&cook, form, swhid).await?;
        (self.tell)(format!("unpacking what {} gave", self.client.upstream.url));
        let (kept, swhid, room, most) = (self.kept.clone(), *swhid, Arc::clone(self.room), self.most);
        let (flat, what) = (form == "flat", if form == "flat" { "flat" } else { "bare" });
        let unpacked = blocking(move || -> Result<(), Unusable> {
            let draft = tempfile::tempdir_in(kept.tmp())?;
            let (into, file) = (draft.path().join("repository"), File::open(&path)?);
            let size = file.metadata()?.len();
            let room = |bytes: u64| room(size.saturating_add(bytes));
            let bounds = Bounds { most, room: &room };
            let made =
                if flat { unpack::flat(file, &swhid.id, &into, bounds) } else { unpack::git_bare(file, &into, bounds) };
            let made = made.and_then(|()| Ok(kept.keep_repository(&into, &swhid, what)?));
            // Whatever came of it: the same bytes would come to the same.
            if !matches!(made, Err(Unusable::Io(_))) {
                forget(&path);
            }
            made
        });
        unpacked.await.map_err(|error| match error {
            Unusable::Wrong(why) => Trouble::Absent(format!("{}: {why}", self.client.upstream.url)),
            Unusable::Io(error) => unwritten(error),
        })
    }

    /// The bundle of a vault's cook, downloaded.
    async fn cooked(&self, cook: &str, form: &str, swhid: &Swhid) -> Result<PathBuf, Trouble> {
        let mut orders = 0;
        loop {
            self.wait_for(cook, &mut orders).await?;
            match self.download(&format!("{cook}raw/"), swhid, form).await {
                // It was collected there since: its status may go on to say that it is done.
                Err(Trouble::Absent(_)) if orders < ORDERS => {
                    orders += 1;
                    self.client.json(Method::POST, cook, self.asking).await?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits for a cook, which is ordered where it is not under way.
    async fn wait_for(&self, cook: &str, orders: &mut u32) -> Result<(), Trouble> {
        let (mut method, mut pause) = (Method::GET, POLL);
        loop {
            let status = match self.client.json(method.clone(), cook, self.asking).await {
                Err(Trouble::Absent(_)) if method == Method::GET && *orders < ORDERS => {
                    *orders += 1;
                    method = Method::POST;
                    continue;
                }
                answer => answer?,
            };
            let status: Status = serde_json::from_slice(&status).map_err(|error| {
                Trouble::Now(format!("{} says nothing of its cook: {error}", self.client.upstream.url))
            })?;
            let said: String = status.progress_message.unwrap_or_default().chars().take(200).collect();
            match status.status.as_str() {
                "done" => return Ok(()),
                "failed" if *orders < ORDERS && method == Method::GET => {
                    *orders += 1;
                    method = Method::POST;
                    continue;
                }
                "failed" => {
                    return Err(Trouble::Absent(format!("{} could not cook it: {said}", self.client.upstream.url)));
                }
                word => (self.tell)(format!("{} cooks it ({word}) {said}", self.client.upstream.url)),
            }
            method = Method::GET;
            if Instant::now() + pause > self.asking.deadline {
                return Err(Trouble::Now(format!("{} has not cooked it in time", self.client.upstream.url)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(MAX_POLL);
        }
    }

    async fn download(&self, path: &str, swhid: &Swhid, form: &str) -> Result<PathBuf, Trouble> {
        // Of one vault: the bytes of another's may differ.
        let from = Hasher::new(ObjectType::Blob, self.client.upstream.url.len() as u64);
        let from = named(from, self.client.upstream.url.as_bytes());
        let name = format!("swh_1_{}_{}.{form}.{from}.part", swhid.kind.swhid_type(), swhid.id);
        let file = self.kept.tmp().join(name);
        let came = |bytes: u64| {
            (self.tell)(format!("{} gives it: {bytes} bytes so far", self.client.upstream.url));
            (self.room)(bytes)
        };
        self.client.download(path, &file, self.most, self.asking, &came).await.map(|()| file)
    }
}

/// Eight digits for a text.
fn named(mut hasher: Hasher, text: &[u8]) -> String {
    hasher.update(text);
    hasher.finish().map_or_else(|_| "0".repeat(8), |id| id.to_string()[..8].to_owned())
}

fn hash(file: &mut File, size: u64) -> io::Result<Option<Sha1Git>> {
    let (mut hasher, mut piece) = (object::Hasher::new(objects::ObjectType::Blob, size), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finish().ok()),
            n => hasher.update(&piece[..n]),
        }
    }
}

/// A download that is of no further use.
fn forget(path: &std::path::Path) {
    let _ = std::fs::remove_file(path);
    let _ = std::fs::remove_file(path.with_extension("etag"));
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn unwritten(error: io::Error) -> Trouble {
    Trouble::Now(format!("what came cannot be kept here: {}", error.kind()))
}
