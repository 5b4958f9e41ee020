//! Upstreams: the vaults that are asked for what no archive here has. Owns what is asked for (one request for
//! one object, whoever wants it), how many at once and for how long, and what came of it; the objects themselves
//! go into a folder that is read as any repository is (`kept`).
//!
//! **The path of a cook that needs one.** An order for an object that nobody here has is taken when there are
//! upstreams. Its cook finds nothing, calls `Remote::seek`, and goes back into the queue for a while. A
//! task here asks the vaults in their order, has the objects kept, and hastens the cook, which finds them now.
//!
//! **Dying.** Nothing of this is in the catalogue: the cook is, and asks again. The vault goes on with its own
//! cook meanwhile, and a download goes on where it was.
//!
//! **Rings.** Two larders may be each other's upstream. Each has a name, which is in the `Via` of what it asks;
//! a larder that finds its own name in what it is asked for has nothing, unless it is there already.
//!
//! **Locks.** `jobs` is held for one look-up, and never while something is asked or written.

mod client;
mod jobs;
mod kept;
mod pack;
mod rebuild;
pub mod settings;
mod unpack;
mod vault;

pub use kept::FOLDER;
pub use vault::Room;

use crate::archive::{Archive, object};
use crate::blocking::blocking;
use crate::catalogue::Catalogue;
use crate::key::{BundleKey, ObjectKind, Swhid};
use crate::time::Timestamp;
use client::{Asking, Client, Trouble};
use jobs::{Ended, Job, Jobs, Needs};
use kept::Kept;
use settings::Upstream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use vault::Visit;

/// Tags of tags are followed so far.
const MAX_TAGS: u32 = 16;
/// How long the status of a bundle says that nobody has its object, and how many rows are forgotten at a time.
const REMEMBER_ABSENT: Duration = Duration::from_hours(1);
const FORGET_AT_ONCE: u32 = 500;
/// How often room is made in the folder.
const UPKEEP: Duration = Duration::from_mins(10);

/// What holds for all vaults.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most bytes of what is kept.
    pub max_size: u64,
    /// Longest time that one thing is asked and waited for.
    pub max_wait: Duration,
    /// Things asked for at once.
    pub at_once: usize,
    /// Most bytes of a bundle of a vault, and of what it unpacks to.
    pub max_bundle_size: u64,
}

/// A handle of the upstreams; cheap to clone.
#[derive(Clone)]
pub struct Upstreams(Arc<Shared>);

struct Shared {
    clients: Vec<Client>,
    kept: Kept,
    bounds: Bounds,
    /// What is here already.
    archive: Arc<dyn Archive>,
    catalogue: Catalogue,
    /// Gives each thing that is asked for room of its own.
    rooms: Box<dyn Fn() -> Room + Send + Sync>,
    /// This larder, as `Via` names it.
    name: String,
    jobs: Mutex<Jobs>,
    work: Notify,
    stopping: watch::Sender<bool>,
}

impl Upstreams {
    /// These vaults, in their order. What they give is kept in `folder`, which is there. `archive` is what is
    /// here already, that folder too; `rooms` makes what is told, for one thing that is
    /// asked for, how many bytes of it are about to lie on the disk.
    ///
    /// # Errors
    /// What is wrong with the folder, or with a vault's settings.
    pub fn new(
        vaults: Vec<Upstream>,
        folder: &Path,
        bounds: Bounds,
        archive: Arc<dyn Archive>,
        catalogue: Catalogue,
        rooms: impl Fn() -> Room + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("cannot use {}: {error}", folder.display());
        let kept = Kept::new(folder.to_owned(), bounds.max_size).map_err(cannot)?;
        let name = kept.name().map_err(cannot)?;
        let clients = vaults.into_iter().map(Client::new).collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Shared {
            clients,
            kept,
            bounds,
            archive,
            catalogue,
            rooms: Box::new(rooms),
            name,
            jobs: Mutex::new(Jobs::new()),
            work: Notify::new(),
            stopping: watch::Sender::new(false),
        })))
    }

    /// Sets those going who ask the vaults. They end when what this gives is stopped.
    #[must_use]
    pub fn start(&self) -> Asked {
        let mut tasks = JoinSet::new();
        for _ in 0..self.0.bounds.at_once {
            tasks.spawn(self.clone().work());
        }
        tasks.spawn(self.clone().begin());
        tasks.spawn(self.clone().look_after_folder());
        Asked { upstreams: self.clone(), tasks }
    }

    /// Has cooks look at once that a process before this one has put off.
    async fn begin(self) {
        let catalogue = self.0.catalogue.clone();
        if let Err(error) = blocking(move || catalogue.hasten_all(Timestamp::now())).await {
            tracing::warn!(%error, "cooks wait a little longer");
        }
    }

    async fn work(self) {
        loop {
            let bell = self.0.work.notified();
            let next = self.jobs().queue.pop_front();
            let Some(job) = next else {
                tokio::select! {
                    () = bell => continue,
                    () = self.stopped() => return,
                }
            };
            tokio::select! {
                ended = self.ask(job) => self.end(job, ended).await,
                () = self.stopped() => return,
            }
        }
    }

    async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Makes room in the folder, now and every so often.
    async fn look_after_folder(self) {
        loop {
            self.make_room().await;
            self.forget_absent().await;
            tokio::select! {
                () = tokio::time::sleep(UPKEEP) => {}
                () = self.stopped() => return,
            }
        }
    }

    /// Forgets in the catalogue what nobody has: anybody may ask for any id.
    async fn forget_absent(&self) {
        let catalogue = self.0.catalogue.clone();
        let forget = move || {
            while catalogue.forget_absent(REMEMBER_ABSENT, FORGET_AT_ONCE, Timestamp::now())? == FORGET_AT_ONCE as usize
            {
            }
            Ok::<_, crate::catalogue::CatalogueError>(())
        };
        if let Err(error) = blocking(forget).await {
            tracing::warn!(%error, "cannot forget what nobody has");
        }
    }

    async fn make_room(&self) {
        let kept = self.0.kept.clone();
        match blocking(move || kept.make_room(SystemTime::now())).await {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "made room among what upstreams gave"),
            Err(error) => tracing::warn!(%error, "cannot make room among what upstreams gave"),
        }
    }

    /// Asks the vaults in their order.
    async fn ask(&self, job: Job) -> Ended {
        let (swhid, needs) = job;
        let via = self.via(&job);
        let deadline = Instant::now() + self.0.bounds.max_wait;
        let tell = |said: String| {
            if let Some(open) = self.jobs().open.get_mut(&job) {
                open.said = said;
            }
        };
        let (mut absent, mut troubled, room) = (Vec::new(), Vec::new(), (self.0.rooms)());
        for client in &self.0.clients {
            let visit = Visit {
                client,
                kept: &self.0.kept,
                asking: Asking { via: &via, deadline },
                most: self.0.bounds.max_bundle_size,
                room: &room,
                tell: &tell,
            };
            tell(format!("asking {}", client.upstream.url));
            let outcome = match needs {
                Needs::Tree => self.tree(&visit, swhid, false).await,
                Needs::WholeTree => self.tree(&visit, swhid, true).await,
                Needs::History => self.history(&visit, swhid).await,
            };
            match outcome {
                Ok(()) => {
                    tracing::info!(%swhid, upstream = client.upstream.url, "came from an upstream");
                    return Ended::Came;
                }
                Err(Trouble::Absent(why)) => absent.push(why),
                Err(Trouble::Now(why)) => {
                    tracing::warn!(%swhid, upstream = client.upstream.url, "{why}");
                    troubled.push(why);
                }
            }
        }
        // One that could not be asked may have it.
        if troubled.is_empty() { Ended::Absent(absent.join("; ")) } else { Ended::Troubled(troubled.join("; ")) }
    }

    /// What a flat bundle needs: the objects down to the directory, and that.
    async fn tree(&self, visit: &Visit<'_>, mut swhid: Swhid, whole: bool) -> Result<(), Trouble> {
        for _ in 0..MAX_TAGS {
            let here = self.read(swhid).await?;
            let found = match (swhid.kind, here) {
                (ObjectKind::Content, Some(_)) => return Ok(()),
                (ObjectKind::Content, None) => return visit.content(&swhid.id).await,
                (ObjectKind::Directory, Some(_)) if !whole => return Ok(()),
                (ObjectKind::Directory, _) => return visit.directory(&swhid.id).await,
                (ObjectKind::Snapshot, _) => return self.history(visit, swhid).await,
                (ObjectKind::Revision | ObjectKind::Release, Some(found)) => Some(found),
                (ObjectKind::Revision, None) => or_whole(visit.revision(&swhid.id).await)?,
                (ObjectKind::Release, None) => or_whole(visit.release(&swhid.id).await)?,
            };
            // What cannot be made of its JSON comes with all its history.
            let Some(found) = found else { return visit.history(&swhid).await };
            let next = match swhid.kind {
                ObjectKind::Release => object::tag_target(&found).map(|(id, is)| Swhid { kind: is.kind(), id }),
                _ => object::commit_tree(&found).map(|id| Swhid { kind: ObjectKind::Directory, id }),
            };
            swhid = next.map_err(|error| Trouble::Absent(format!("{swhid}: {error}")))?;
        }
        Err(Trouble::Absent("too many tags of tags".to_owned()))
    }

    /// A commit or a tag that is here, or whether another object is.
    async fn read(&self, swhid: Swhid) -> Result<Option<Vec<u8>>, Trouble> {
        let archive = Arc::clone(&self.0.archive);
        let read = move || {
            let (mut reader, mut buf) = (archive.reader(), Vec::new());
            let found = match swhid.kind {
                ObjectKind::Revision | ObjectKind::Release => reader.find(&swhid.id, &mut buf)?.is_some(),
                _ => reader.header(&swhid.id)?.is_some(),
            };
            Ok::<_, crate::archive::ArchiveError>(found.then_some(buf))
        };
        blocking(read).await.map_err(|error| {
            tracing::warn!(%swhid, %error, "cannot look at what is here");
            Trouble::Now("what is here cannot be read".to_owned())
        })
    }

    async fn history(&self, visit: &Visit<'_>, swhid: Swhid) -> Result<(), Trouble> {
        if swhid.kind == ObjectKind::Content {
            return visit.content(&swhid.id).await;
        }
        let manifest = match swhid.kind {
            ObjectKind::Snapshot => Some(visit.manifest(&swhid.id).await?),
            _ => None,
        };
        visit.history(&swhid).await?;
        // After the objects that it names.
        let Some(manifest) = manifest else { return Ok(()) };
        let catalogue = self.0.catalogue.clone();
        let added = blocking(move || catalogue.add_snapshot(&manifest, None)).await;
        added.map(drop).map_err(|error| Trouble::Now(format!("its branches cannot be kept: {error}")))
    }

    /// Notes what came of a job, and hastens the cooks that wait for it.
    async fn end(&self, job: Job, ended: Ended) {
        let came = matches!(ended, Ended::Came);
        if let Ended::Absent(why) = &ended {
            tracing::info!(swhid = %job.0, "no upstream has it: {why}");
        }
        let open = {
            let mut jobs = self.jobs();
            jobs.ended.put(job, (ended, Instant::now()));
            jobs.open.remove(&job)
        };
        if let Some(open) = open {
            let catalogue = self.0.catalogue.clone();
            let hasten = move || open.wanted.iter().try_for_each(|key| catalogue.hasten(key, Timestamp::now()));
            if let Err(error) = blocking(hasten).await {
                // They look by themselves, later.
                tracing::warn!(%error, "cooks wait a little longer");
            }
        }
        if came {
            self.make_room().await;
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said of where a request comes through, with this larder behind the others.
    fn via(&self, job: &Job) -> String {
        let mut jobs = self.jobs();
        let wanted: Vec<BundleKey> =
            jobs.open.get(job).map(|open| open.wanted.iter().copied().collect()).unwrap_or_default();
        let before: Vec<String> = wanted.iter().filter_map(|key| jobs.via.get(key).cloned()).collect();
        before.into_iter().chain([format!("1.1 {}", self.0.name)]).collect::<Vec<_>>().join(", ")
    }
}

/// A larder that has to ask others itself has it when it is asked for all of it.
fn or_whole(found: Result<Option<Vec<u8>>, Trouble>) -> Result<Option<Vec<u8>>, Trouble> {
    match found {
        Err(Trouble::Absent(_)) => Ok(None),
        found => found,
    }
}

/// Those who ask the vaults.
pub struct Asked {
    upstreams: Upstreams,
    tasks: JoinSet<()>,
}

impl Asked {
    /// Ends them. What they wait for is asked for again by whoever wants it next.
    pub async fn stop(mut self) {
        self.upstreams.0.stopping.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
