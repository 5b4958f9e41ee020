//! Fetches as they run: claimed, asked for, taken in, published. Owns what becomes of a claim: every
//! way out of here ends it, puts it off or gives it back, and what cannot be written is left to the
//! next process.

use super::fetch::{self, Refusal};
use super::sink::{self, Expected, Piece};
use super::source::Source;
use super::structure::Packing;
use super::{Archiver, PENDING_TOO_LONG, region};
use crate::blocking::blocking;
use crate::catalogue::Job;
use crate::chance::jittered;
use crate::limits::{Mode, Role};
use crate::metrics::FetchOutcome;
use crate::task::{Fault, FaultCode};
use crate::time::Timestamp;
use reqwest::Response;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long to sleep when nothing is ready: another process may have ordered something.
const IDLE: Duration = Duration::from_secs(1);
/// How often dead processes and old tasks are looked for.
const UPKEEP: Duration = Duration::from_secs(5);
/// Pieces of a body in flight between the network and the disk.
const IN_FLIGHT: usize = 16;
/// Fetches at once from a host that no source names any more.
const AT_ONCE: usize = 4;
/// The longest media type and name that are kept, in bytes.
const MAX_FIELD: usize = 200;

/// Those who fetch, and look after regions.
pub struct Workers {
    archiver: Archiver,
    tasks: JoinSet<()>,
}

impl Workers {
    /// Begins no further fetch, gives those that run `grace` to end, then puts them back into the
    /// queue.
    pub async fn stop(mut self, grace: Duration) {
        self.archiver.0.stopping.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::pin!(ended);
        if tokio::time::timeout(grace, &mut ended).await.is_err() {
            self.archiver.0.halting.send_replace(true);
            ended.await;
        }
    }
}

impl Archiver {
    /// Sets going what a role does: any looks whether regions are up; one that cooks fetches, and does what is
    /// due in regions, where anything may be written. They end after [`Workers::stop`].
    #[must_use]
    pub fn start(&self, role: Role) -> Workers {
        let mut tasks = JoinSet::new();
        for region in self.0.placement.regions().all() {
            tasks.spawn(region::watch_over(self.clone(), Arc::clone(region)));
        }
        let writes = self.0.orders.mode() == Mode::Normal;
        for region in self.0.placement.regions().all().filter(|_| writes && role.answers()) {
            tasks.spawn(region::look_at(self.clone(), Arc::clone(region)));
        }
        if writes && role.cooks() {
            tasks.spawn(dispatch(self.clone()));
            tasks.spawn(keep_up(self.clone()));
            for region in self.0.placement.regions().all() {
                tasks.spawn(region::work_at(self.clone(), Arc::clone(region)));
            }
        }
        Workers { archiver: self.clone(), tasks }
    }

    /// Takes up the fetches of dead processes, has those wait anew that waited too long, and forgets
    /// old tasks. Blocking.
    pub fn recover(&self) {
        let (shared, catalogue) = (&*self.0, &self.0.catalogue);
        let recover = || -> Result<(), Box<dyn std::error::Error>> {
            for owner in catalogue.fetch_owners()? {
                if !shared.bundles.members().is_alive(&owner)? {
                    let fetches = catalogue.release_fetches(&owner, Timestamp::now())?;
                    tracing::info!(fetches, "took up the fetches of a process that is gone");
                    shared.work.notify_one();
                }
            }
            for owner in catalogue.placement_owners()? {
                if !shared.bundles.members().is_alive(&owner)? {
                    let placements = catalogue.release_placements(&owner, Timestamp::now())?;
                    tracing::info!(placements, "took up what a process that is gone did in regions");
                }
            }
            catalogue.expire_fetches(PENDING_TOO_LONG, Timestamp::now())?;
            while catalogue.clean_tasks(shared.settings.keep_tasks, Timestamp::now())? {}
            Ok(())
        };
        if let Err(error) = recover() {
            tracing::warn!(%error, "cannot look after fetches");
        }
    }

    /// Fetches what waits now, until nothing is ready. For a command.
    pub async fn fetch_ready(&self) {
        while let Some(job) = self.claim().await {
            work(self.clone(), job).await;
        }
    }

    async fn claim(&self) -> Option<Job> {
        let archiver = self.clone();
        let claimed = blocking(move || {
            let shared = &*archiver.0;
            let at_once = |host: &str| shared.at_once.get(host).copied().unwrap_or(AT_ONCE);
            shared.catalogue.claim_fetch(shared.bundles.members().me(), at_once, Timestamp::now())
        });
        claimed.await.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot take a fetch from the queue");
            None
        })
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    pub(super) async fn stopped(&self) {
        let mut stopping = self.0.stopping.subscribe();
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    pub(super) async fn halted(&self) {
        let mut halting = self.0.halting.subscribe();
        let _ = halting.wait_for(|halting| *halting).await;
    }
}

/// Claims what is ready, as long as fewer are at it than may be.
async fn dispatch(archiver: Archiver) {
    let mut fetches = JoinSet::new();
    while !archiver.is_stopping() {
        let bell = archiver.0.work.notified();
        if fetches.len() < archiver.0.settings.fetches
            && let Some(job) = archiver.claim().await
        {
            fetches.spawn(work(archiver.clone(), job));
            continue;
        }
        tokio::select! {
            () = bell => {}
            Some(_) = fetches.join_next() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = archiver.stopped() => {}
        }
    }
    while fetches.join_next().await.is_some() {}
}

async fn keep_up(archiver: Archiver) {
    while !archiver.is_stopping() {
        let recover = archiver.clone();
        blocking(move || recover.recover()).await;
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => {}
            () = archiver.stopped() => {}
        }
    }
}

/// What came of a job.
enum Outcome {
    /// The catalogue knows already.
    Settled,
    Failed(Refusal),
}

/// Does one job, whatever comes of it.
async fn work(archiver: Archiver, job: Job) {
    let counter = Arc::new(AtomicU64::new(0));
    archiver.running().insert(job.id.clone(), Arc::clone(&counter));
    let outcome = tokio::select! {
        outcome = fetch(&archiver, &job, &counter) => Some(outcome),
        () = archiver.halted() => None,
    };
    archiver.running().remove(&job.id);
    let metrics = archiver.0.orders.metrics();
    match &outcome {
        // Counted where it was published.
        Some(Outcome::Settled) => {}
        Some(Outcome::Failed(refusal)) => {
            metrics.fetch_ended(&job.alias.wanted.source, &FetchOutcome::Failed(refusal.fault.code.as_str()));
        }
        None => metrics.fetch_ended(&job.alias.wanted.source, &FetchOutcome::GivenBack),
    }
    let settle = archiver.clone();
    blocking(move || settle.settle(&job, outcome)).await;
}

/// Fetches an archive and publishes it.
async fn fetch(archiver: &Archiver, job: &Job, counter: &Arc<AtomicU64>) -> Outcome {
    let wanted = &job.alias.wanted;
    let (Some(source), Some(packing)) = (archiver.0.settings.sources.get(&wanted.source), Packing::of(&wanted.suffix))
    else {
        return Outcome::Failed(Fault::new(FaultCode::Source, "The source is no longer configured.").into());
    };
    tracing::info!(task = job.id, url = wanted.url, attempt = job.attempts + 1, "fetching");
    let started = Instant::now();
    let fetched = async {
        let (here, its) = (archiver.clone(), source.clone());
        let client = blocking(move || here.0.clients.get(&its)).await?;
        let response = fetch::open(&client, source, &wanted.url).await?;
        if response.content_length().is_some_and(|length| length > source.max_size) {
            return Err(sink::too_large().into());
        }
        let (moves, head) = (source.moves(&wanted.rev), Head::of(&response, job));
        let landing = Incoming { job: job.clone(), immutable: source.immutable, moves, started, head };
        let expected = Expected {
            packing,
            top: source.top_directory,
            max_size: source.max_size,
            max_unpacked: source.max_unpacked,
            is_framed: fetch::is_framed(&response),
        };
        let (pieces, sink) = mpsc::channel(IN_FLIGHT);
        let (here, counter) = (archiver.clone(), Arc::clone(counter));
        let taken = tokio::task::spawn_blocking(move || here.take_in(&landing, &expected, sink, counter));
        let sent = send(response, source, pieces).await;
        match (taken.await, sent) {
            (Ok(Err(fault)), _) | (Ok(Ok(_)), Err(fault)) => Err(fault.into()),
            (Ok(Ok(true)), Ok(())) => Ok(()),
            (Ok(Ok(false)), Ok(())) => Err(Fault::new(FaultCode::Io, "The archive could not be kept.").into()),
            (Err(failed), _) => std::panic::resume_unwind(failed.into_panic()),
        }
    };
    match tokio::time::timeout(source.timeout, fetched).await {
        Ok(Ok(())) => Outcome::Settled,
        Ok(Err(refusal)) => Outcome::Failed(refusal),
        Err(_) => Outcome::Failed(Fault::new(FaultCode::Timeout, "The archive took too long to come.").into()),
    }
}

/// Passes a body on. Who takes it may stop early, and says why then.
async fn send(mut response: Response, source: &Source, pieces: mpsc::Sender<Piece>) -> Result<(), Fault> {
    loop {
        let piece = fetch::piece(&mut response, source).await?;
        let ended = piece.is_none();
        if pieces.send(piece.map_or(Piece::End, Piece::Bytes)).await.is_err() || ended {
            return Ok(());
        }
    }
}

/// A body on its way.
pub(super) struct Incoming {
    pub(super) job: Job,
    pub(super) immutable: bool,
    pub(super) moves: bool,
    pub(super) started: Instant,
    pub(super) head: Head,
}

/// What an answer says of its body.
pub(super) struct Head {
    pub(super) media_type: String,
    pub(super) file_name: String,
}

impl Head {
    fn of(response: &Response, job: &Job) -> Self {
        let headers = response.headers();
        let media_type = field(headers, &CONTENT_TYPE).filter(|text| text.len() <= MAX_FIELD);
        let file_name = field(headers, &CONTENT_DISPOSITION).and_then(file_name);
        Self {
            media_type: media_type.unwrap_or("application/octet-stream").to_owned(),
            file_name: file_name.unwrap_or_else(|| job.alias.wanted.file_name()),
        }
    }
}

fn field<'h>(headers: &'h HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// The `filename` of a Content-Disposition, if it is one that can be passed on as it is.
fn file_name(disposition: &str) -> Option<String> {
    let (_, rest) = disposition.split_once("filename=")?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(';').next()?.trim(),
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let fits = !name.is_empty() && name.len() <= MAX_FIELD && !name.starts_with('.') && name.bytes().all(legal);
    fits.then(|| name.to_owned())
}

impl Archiver {
    /// Writes what came of a job.
    fn settle(&self, job: &Job, outcome: Option<Outcome>) {
        let catalogue = &self.0.catalogue;
        let written = match outcome {
            Some(Outcome::Settled) => return,
            None => catalogue.give_back_fetch(job),
            Some(Outcome::Failed(refusal)) => {
                let again = self.again(job, &refusal);
                tracing::warn!(task = job.id, code = %refusal.fault.code, ?again, "{}", refusal.fault.message);
                catalogue.drop_fetch(job, &refusal.fault, again, Timestamp::now()).map(drop)
            }
        };
        if let Err(error) = written {
            tracing::error!(task = job.id, %error, "cannot write what became of a fetch");
        }
    }

    /// When a fetch is tried again: not at all, or a time that differs from one to the next, so that
    /// many that failed together do not come back together.
    fn again(&self, job: &Job, refusal: &Refusal) -> Option<Duration> {
        let source = self.0.settings.sources.get(&job.alias.wanted.source)?;
        if !refusal.fault.code.is_transient() || job.attempts >= source.retries {
            return None;
        }
        let wait = jittered(source.retry_wait.saturating_mul(5_u32.saturating_pow(job.attempts)), 80..140);
        Some(wait.max(refusal.retry_after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_passed_on_only_when_it_is_plain() {
        let cases = [
            ("attachment; filename=ash-3d11cb4f31b9.tar.gz", Some("ash-3d11cb4f31b9.tar.gz")),
            ("attachment; filename=\"a b.zip\"", None),
            ("attachment; filename=\"ab.zip\"; x=y", Some("ab.zip")),
            ("attachment; filename=\"../x\"", None),
            ("attachment; filename=.htaccess", None),
            ("inline", None),
        ];
        for (disposition, name) in cases {
            assert_eq!(file_name(disposition).as_deref(), name, "{disposition}");
        }
    }
}
