//! The Archiver: archives named by a URL, fetched once from their upstream, read through, kept by the
//! id of their bytes, and found again under every request that led to them.
//!
//! **The path of a fetch.** [`Archiver::ask`] finds the alias of a request, or orders its fetch: a task
//! in the catalogue, one an alias however many ask. A worker claims it (`worker.rs`), asks the upstream
//! (`fetch.rs`), and passes the body through `sink.rs`, which writes it into a draft of the store while
//! it reads the archive to its end (`structure`) and hashes the tree in it (`tree`). Only what came
//! whole, and is the archive that its suffix says, is published, in the transaction in which the task
//! ends.
//!
//! **Who owns what.** As with cooks: a fetch belongs to a process by the folder that it holds
//! locked, and is taken up by another when that is gone.
//!
//! **Locks.** The map of running fetches is held for one lookup.

mod fetch;
mod fetched;
mod landing;
pub mod media;
pub mod pattern;
mod placement;
pub mod region;
pub mod request;
mod resolve;
pub mod settings;
mod sink;
pub mod source;
pub mod structure;
mod template;
mod tls;
pub mod tree;
mod worker;

pub use fetched::FetchedArchive;
pub(crate) use resolve::Guarded;
pub(crate) use tls::read as certificates;
pub use worker::Workers;

use crate::blocking::blocking;
use crate::bundles::Bundles;
use crate::catalogue::{Catalogue, CatalogueError, TaskOrder};
use crate::chance::random;
use crate::key::{BundleKey, Flat, Sha1Git};
use crate::kitchen::Orders;
use crate::limits::Mode;
use crate::task::{Alias, Fault, FaultCode, Fetched, State, Task, Wanted, task_id};
use crate::time::Timestamp;
use placement::{Placement, Places};
use request::{Ask, AskError};
use settings::Missing;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What waits for longer than this waits anew, and says RETRY.
pub const PENDING_TOO_LONG: Duration = Duration::from_mins(1);

/// How long a request waits for its turn to note that.
const EXPIRING_PATIENCE: Duration = Duration::from_millis(100);

/// A handle of the Archiver; cheap to clone.
#[derive(Clone)]
pub struct Archiver(Arc<Shared>);

struct Shared {
    settings: settings::Archiver,
    at_once: BTreeMap<String, usize>,
    orders: Orders,
    bundles: Bundles,
    /// For aliases, tasks and placements.
    catalogue: Catalogue,
    /// Held for a clone, never while another lock is taken.
    placement: Placement,
    /// Bytes that the running fetches have brought, by the name of the task.
    running: Mutex<HashMap<String, Arc<AtomicU64>>>,
    clients: fetch::Clients,
    /// Rung when a fetch may be ready.
    work: Notify,
    /// Turns true once, when no further fetch is to begin.
    stopping: watch::Sender<bool>,
    /// Turns true once, when those that run are to be given back.
    halting: watch::Sender<bool>,
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The archive is at this URL.
    There(String),
    /// The task of this name is to fetch it.
    Task(String),
    /// Nobody fetches it, and the request does not ask for that.
    Absent,
    /// The canonical bundle of the archive's directory.
    Canonical(BundleKey),
    /// The archive has no directory, for this reason.
    NoDirectory(String),
    /// The operator has blocked the archive, or its directory.
    Blocked,
}

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// Too many tasks wait.
    #[error("too many archives wait to be fetched")]
    QueueFull,
    /// This larder writes nothing.
    #[error("nothing is fetched here")]
    ReadOnly,
    /// Others write the catalogue, and did not stop for as long as a request can wait.
    #[error("the catalogue is being written by others")]
    Busy,
    /// The catalogue could not be asked.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The store could not be asked.
    #[error("cannot look into the store: {0}")]
    Store(io::Error),
}

impl From<io::Error> for AnswerError {
    fn from(error: io::Error) -> Self {
        Self::Store(error)
    }
}

/// What is said of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its state.
    pub state: State,
    /// The state in words.
    pub status: String,
    /// Where it fetches from; empty when the task is not known.
    pub src_url: String,
    /// Where the archive is, by region.
    pub s3_urls: BTreeMap<String, String>,
}

impl Archiver {
    /// An archiver that nobody works for yet, whose absolute URLs begin with `base`.
    #[must_use]
    pub fn new(settings: settings::Archiver, orders: Orders, base: &str) -> Self {
        for source in settings.sources.keys() {
            orders.metrics().expect_source(source);
        }
        Self(Arc::new(Shared {
            at_once: settings.at_once(),
            placement: Placement::new(&settings, orders.clone(), base),
            settings,
            bundles: orders.bundles().clone(),
            catalogue: orders.bundles().catalogue().clone(),
            orders,
            running: Mutex::default(),
            work: Notify::new(),
            clients: fetch::Clients::default(),
            stopping: watch::Sender::new(false),
            halting: watch::Sender::new(false),
        }))
    }

    /// The regions, and whether each is up.
    #[must_use]
    pub fn regions_up(&self) -> Vec<crate::metrics::Region> {
        self.0.placement.regions().all().map(|region| region.state()).collect()
    }

    /// Reads a request: the path below `/archiver/`, cut at its slashes, and the query.
    pub fn read(&self, path: &[String], query: Option<&str>) -> Result<Ask, AskError> {
        request::read(path, query, &self.0.settings)
    }

    /// Answers a request; where nothing is there yet, and `fetch` says so, a fetch is ordered.
    pub async fn ask(&self, ask: &Ask, fetch: bool) -> Result<Answer, AnswerError> {
        let (archiver, wanted, canonical) = (self.clone(), ask.wanted.clone(), ask.canonical);
        let found = blocking(move || archiver.find(&wanted, canonical, fetch)).await?;
        match found {
            Found::There(fetched, places) => {
                let location = self.0.placement.location(&fetched, &places, ask.region.as_deref()).await;
                Ok(location.map_or(Answer::Absent, Answer::There))
            }
            Found::Answer(answer) => Ok(answer),
            Found::Absent => self.order_soon(ask.wanted.clone()).await,
        }
    }

    /// Orders a fetch for a request, which does not wait for long.
    async fn order_soon(&self, wanted: Wanted) -> Result<Answer, AnswerError> {
        let place = self.0.orders.place_to_write().await.ok_or(AnswerError::Busy)?;
        let archiver = self.clone();
        let ordered = blocking(move || {
            let catalogue = archiver.0.catalogue.hurried(place.left());
            archiver.expire()?;
            archiver.order(&catalogue, &wanted, archiver.0.settings.remember_failures)
        });
        match ordered.await {
            Ok(TaskOrder::Queued(id) | TaskOrder::Already(id)) => Ok(Answer::Task(id)),
            Ok(TaskOrder::QueueFull) => Err(AnswerError::QueueFull),
            Err(error) if error.is_busy() => Err(AnswerError::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Has tasks that waited for too long wait anew; when others write, the next request does it.
    fn expire(&self) -> Result<(), CatalogueError> {
        let catalogue = self.0.catalogue.hurried(EXPIRING_PATIENCE);
        match catalogue.expire_fetches(PENDING_TOO_LONG, Timestamp::now()) {
            Err(error) if !error.is_busy() => Err(error),
            _ => Ok(()),
        }
    }

    /// Says where a task stands. One that is not known is PENDING, as it always was.
    pub async fn report(&self, id: &str) -> Result<Report, AnswerError> {
        let (archiver, name) = (self.clone(), id.to_owned());
        let known = blocking(move || archiver.look_up(&name)).await?;
        let Some(Known { task, alias, places, is_blocked }) = known else {
            return Ok(Report {
                state: State::Pending,
                status: NO_STATUS.to_owned(),
                src_url: String::new(),
                s3_urls: BTreeMap::new(),
            });
        };
        let mut s3_urls = BTreeMap::new();
        if let (Some(places), Some(fetched)) = (places, &alias.fetched) {
            s3_urls = self.0.placement.urls(fetched, &places).await;
        }
        let (state, status) = match task.state {
            State::Success if is_blocked => (State::Success, BLOCKED.to_owned()),
            _ => self.words(&task, &alias, !s3_urls.is_empty()),
        };
        Ok(Report { state, status, src_url: alias.wanted.url, s3_urls })
    }

    /// Orders a fetch whether or not something is there, and though the last one failed a moment ago.
    /// Blocking. For the operator.
    pub fn refetch(&self, wanted: &Wanted) -> Result<TaskOrder, CatalogueError> {
        self.order(&self.0.catalogue, wanted, Duration::ZERO)
    }

    fn find(&self, wanted: &Wanted, canonical: bool, fetch: bool) -> Result<Found, AnswerError> {
        let (shared, catalogue) = (&*self.0, &self.0.catalogue);
        shared.orders.look_at_blocks()?;
        let alias = catalogue.alias(&wanted.key())?;
        if let Some(alias) = &alias
            && let Some(fetched) = &alias.fetched
            && !self.is_expired(alias)?
        {
            let directory = fetched.directory.as_ref().ok().filter(|_| canonical);
            let blocked = |id: Sha1Git| shared.orders.check_blocked(&id).is_err();
            // A fetch would bring the same, and be refused.
            if blocked(fetched.content.id()) || directory.is_some_and(|directory| blocked(directory.id)) {
                return Ok(Found::Answer(Answer::Blocked));
            }
            if canonical {
                match &fetched.directory {
                    Err(reason) => return Ok(Found::Answer(Answer::NoDirectory(reason.clone()))),
                    Ok(directory) => {
                        let key = BundleKey::of_directory(directory.id, Flat::TarGz);
                        // Of no use without the archive, unless it was cooked before.
                        if shared.bundles.open(&key)?.is_some() || shared.bundles.open(&fetched.content)?.is_some() {
                            return Ok(Found::Answer(Answer::Canonical(key)));
                        }
                    }
                }
            } else if let Some(places) = shared.placement.places(fetched)? {
                return Ok(Found::There(Box::new(fetched.clone()), places));
            }
        }
        if !fetch {
            let under_way = alias.map(|alias| catalogue.newest_task(&alias)).transpose()?.flatten();
            let under_way = under_way.filter(|task| !task.state.is_ended());
            return Ok(Found::Answer(under_way.map_or(Answer::Absent, |task| Answer::Task(task.id))));
        }
        if shared.orders.mode() != Mode::Normal {
            return Err(AnswerError::ReadOnly);
        }
        Ok(Found::Absent)
    }

    /// Whether what was fetched may be another by now, and can be asked for again.
    fn is_expired(&self, alias: &Alias) -> Result<bool, CatalogueError> {
        let (shared, wanted) = (&*self.0, &alias.wanted);
        let source = shared.settings.sources.get(&wanted.source).filter(|source| source.moves(&wanted.rev));
        let (Some(source), Some(at), Mode::Normal) = (source, alias.fetched_at, shared.orders.mode()) else {
            return Ok(false);
        };
        shared.catalogue.has_passed(source.moving_expiry, at, Timestamp::now())
    }

    fn order(&self, catalogue: &Catalogue, wanted: &Wanted, remember: Duration) -> Result<TaskOrder, CatalogueError> {
        let shared = &*self.0;
        let host = shared.settings.sources.get(&wanted.source).map(source::Source::host).unwrap_or_default();
        let id = task_id(&wanted.rev, random());
        let now = Timestamp::now();
        let order = catalogue.order_fetch(wanted, host, &id, shared.settings.max_waiting, remember, now)?;
        if let TaskOrder::Queued(_) = order {
            shared.work.notify_one();
        }
        Ok(order)
    }

    /// What is known of a task.
    fn look_up(&self, id: &str) -> Result<Option<Known>, AnswerError> {
        let (shared, catalogue) = (&*self.0, &self.0.catalogue);
        if shared.orders.mode() == Mode::Normal {
            self.expire()?;
        }
        let Some((task, alias)) = catalogue.task(id)? else { return Ok(None) };
        shared.orders.look_at_blocks()?;
        let content = alias.fetched.as_ref().map(|fetched| fetched.content.id());
        let is_blocked = content.is_some_and(|id| shared.orders.check_blocked(&id).is_err());
        let places = match &alias.fetched {
            Some(fetched) if task.state == State::Success && !is_blocked => shared.placement.places(fetched)?,
            _ => None,
        };
        Ok(Some(Known { task, alias, places, is_blocked }))
    }

    /// What clients read of a task.
    fn words(&self, task: &Task, alias: &Alias, there: bool) -> (State, String) {
        let url = &alias.wanted.url;
        match (task.state, &task.fault) {
            (State::Success, _) if there => {
                (State::Success, "Task completed! Check 's3_urls' for upload locations.".to_owned())
            }
            (State::Success, _) => {
                (State::Success, "Task completed, but the archive was collected since: ask for it again.".to_owned())
            }
            (State::Failure, Some(Fault { code: FaultCode::Missing, .. }))
                if self.0.settings.upstream_missing == Missing::Success =>
            {
                (State::Success, format!("Could not get a valid response from src_url. Does {url} exist?"))
            }
            (State::Failure, Some(fault)) => (State::Failure, format!("{} ({})", fault.message, fault.code)),
            (State::Failure, None) => (State::Failure, NO_STATUS.to_owned()),
            (State::Started, _) => {
                let bytes = self.progress(&task.id).unwrap_or(0);
                (State::Started, format!("Task is running: {bytes} bytes came from src_url so far."))
            }
            (State::Retry, Some(fault)) => (
                State::Retry,
                format!(
                    "Try {} failed: {} ({}) Trying again after {}.",
                    task.attempts, fault.message, fault.code, task.ready_at
                ),
            ),
            (State::Retry, None) => {
                (State::Retry, "Task has expired from pending for too long. Re-creating task.".to_owned())
            }
            (State::Pending, _) => (State::Pending, NO_STATUS.to_owned()),
        }
    }

    /// How many bytes a fetch of this process has brought so far.
    #[must_use]
    pub fn progress(&self, task: &str) -> Option<u64> {
        self.running().get(task).map(|bytes| bytes.load(Ordering::Relaxed))
    }

    /// Absolute URLs begin with `base` from now on.
    pub fn set_base(&self, base: &str) {
        self.0.placement.set_base(base);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<AtomicU64>>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NO_STATUS: &str = "no status available at this point.";
const BLOCKED: &str = "Task completed, but the archive is blocked here since.";

/// What is known of a task.
struct Known {
    task: Task,
    alias: Alias,
    /// Where the archive is, once the task has brought it.
    places: Option<Places>,
    is_blocked: bool,
}

/// What the catalogue and the store say of a request.
enum Found {
    There(Box<Fetched>, Places),
    Answer(Answer),
    /// Nothing: it is to be fetched.
    Absent,
}
