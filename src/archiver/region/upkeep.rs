//! Work in the regions, beside the requests: archives are put when they are fetched, and later where that
//! failed; looked after now and then; deleted when the store has collected them.
//!
//! **Crash order.** Before anything is sent to a region there is a row that says so, owned by the process
//! that sends. Whoever takes the row up when that is gone aborts its multipart upload and begins anew, or
//! deletes what nobody wants: a row whose content is no bundle was of a fetch that came to nothing.
//! The row says that an upload is about to begin before the region is asked for one, so that none begins
//! unknown: where it stands and no name does, the uploads of the key are listed. As a row has one owner,
//! none of those is of a living worker of this larder.
//!
//! **Two larders with one bucket** and one prefix, against what is documented: as keys are made of the
//! contents' ids, what one puts serves the other. One whose own try was cut short may abort an upload of
//! the other's; the next try of that finds the object there and has nothing to do.

use super::super::{Archiver, sink};
use super::bucket::{Noting, Trouble};
use super::{Region, Regions};
use crate::blocking::blocking;
use crate::catalogue::{Placed, PlacementEnd, PlacementJob, PlacementState};
use crate::chance::jittered;
use crate::kitchen::Orders;
use crate::limits::Mode;
use crate::time::Timestamp;
use bytes::Bytes;
use futures_util::StreamExt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How long to sleep when nothing is due.
const IDLE: Duration = Duration::from_secs(1);
/// The time before the second try at a placement; doubled before each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Times that it is doubled: the longest wait is then some ten minutes.
const DOUBLINGS: u32 = 7;
/// Tries at a placement that fail because uploads cannot be listed just now; later ones go on without.
const LIST_TRIES: u32 = 4;
/// Pieces of an object in flight between a region and the disk.
const IN_FLIGHT: usize = 16;

/// Puts an archive that was just fetched into every region that is up, all at once. What fails is tried
/// again later, beside the requests: it keeps no task from ending.
pub(in crate::archiver) async fn put_everywhere(regions: &Regions, orders: &Orders, placed: &Placed, file: File) {
    let (mut putting, file) = (JoinSet::new(), Arc::new(file));
    for region in regions.all().filter(|region| region.is_up()).cloned() {
        let (orders, placed, file) = (orders.clone(), placed.clone(), Arc::clone(&file));
        putting.spawn(async move {
            let (catalogue, owner) = (orders.bundles().catalogue().clone(), orders.bundles().members().me().to_owned());
            let (wanted, name) = (placed.clone(), region.settings.name.clone());
            let claimed = blocking(move || catalogue.claim_placement(&wanted, &name, &owner, Timestamp::now())).await;
            let job = match claimed {
                Ok(Some(job)) => job,
                // Somebody is at it, and sees what is wanted when they are done.
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, "cannot note where an archive is put"),
            };
            let work = Work { region: &region, orders: &orders, job: &job };
            let done = tokio::select! {
                done = work.put_unless_there(file) => done,
                () = region.failed() => Err(Trouble::Down("it went down meanwhile".to_owned())),
            };
            work.end(done.map(|()| PlacementEnd::There(region.settings.check))).await;
        });
    }
    while putting.join_next().await.is_some() {}
}

/// Looks again and again whether a region is up.
pub(in crate::archiver) async fn watch_over(archiver: Archiver, region: Arc<Region>) {
    let may_write = archiver.0.orders.mode() == Mode::Normal;
    while !archiver.is_stopping() {
        let was_up = region.is_up();
        match region.bucket.probe(may_write).await {
            Ok(()) => {
                region.set_down(None);
                if !was_up && may_write {
                    let (catalogue, name) = (archiver.0.catalogue.clone(), region.settings.name.clone());
                    let hurried = blocking(move || catalogue.hurry_placements(&name, Timestamp::now())).await;
                    hurried.unwrap_or_else(|error| tracing::warn!(%error, "cannot hurry what failed in a region"));
                }
            }
            Err(trouble) => region.set_down(Some(trouble.to_string())),
        }
        tokio::select! {
            () = tokio::time::sleep(region.settings.probe) => {}
            () = archiver.stopped() => {}
            () = region.doubt.notified() => {
                // Many failures at once are one doubt.
                tokio::time::sleep(Duration::from_millis(200).min(region.settings.probe)).await;
            }
        }
    }
}

/// Does what is due in a region, as long as it is up.
pub(in crate::archiver) async fn work_at(archiver: Archiver, region: Arc<Region>) {
    let mut jobs = JoinSet::new();
    while !archiver.is_stopping() {
        if jobs.len() < region.settings.at_once
            && region.is_up()
            && let Some(job) = next(&archiver, &region).await
        {
            jobs.spawn(work(archiver.clone(), Arc::clone(&region), job));
            continue;
        }
        tokio::select! {
            Some(_) = jobs.join_next() => {}
            () = tokio::time::sleep(IDLE) => {}
            () = archiver.stopped() => {}
        }
    }
    while jobs.join_next().await.is_some() {}
}

async fn next(archiver: &Archiver, region: &Region) -> Option<PlacementJob> {
    let (bundles, name) = (archiver.0.bundles.clone(), region.settings.name.clone());
    let claim = move || bundles.catalogue().next_placement(&name, bundles.members().me(), Timestamp::now());
    blocking(claim).await.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot look what is due in a region");
        None
    })
}

async fn work(archiver: Archiver, region: Arc<Region>, job: PlacementJob) {
    let work = Work { region: &region, orders: &archiver.0.orders, job: &job };
    let done = tokio::select! {
        done = work.run(archiver.0.placement.regions()) => done,
        () = archiver.halted() => Ok(PlacementEnd::GivenBack),
    };
    work.end(done).await;
}

/// One placement being worked at.
struct Work<'a> {
    region: &'a Region,
    orders: &'a Orders,
    job: &'a PlacementJob,
}

impl Work<'_> {
    fn placed(&self) -> &Placed {
        &self.job.placement.placed
    }

    /// Does what is due.
    async fn run(&self, regions: &Regions) -> Result<PlacementEnd, Trouble> {
        let state = self.job.placement.state;
        if state == PlacementState::Unwanted {
            self.abort().await?;
            self.region.bucket.delete(&self.placed().content).await?;
            return Ok(PlacementEnd::Deleted);
        }
        if !self.job.is_kept {
            return Ok(PlacementEnd::Orphaned);
        }
        if state == PlacementState::There && !self.region.bucket.has(self.placed()).await? {
            tracing::warn!(region = self.region.settings.name, key = %self.placed().content, "is not there any more");
            return Ok(PlacementEnd::Lost);
        }
        let file = match self.file().await? {
            Some(file) => file,
            None => match self.bring_back(regions).await? {
                Some(file) => file,
                None if state == PlacementState::There => return Ok(self.there()),
                None => return Err(Trouble::Here("there is no copy that it could be filled from".to_owned())),
            },
        };
        if state == PlacementState::Wanted {
            self.put(Arc::new(file)).await?;
        }
        Ok(self.there())
    }

    fn there(&self) -> PlacementEnd {
        PlacementEnd::There(self.region.settings.check)
    }

    async fn put_unless_there(&self, file: Arc<File>) -> Result<(), Trouble> {
        let is_there = self.job.placement.state == PlacementState::There;
        if is_there && self.region.bucket.has(self.placed()).await? { Ok(()) } else { self.put(file).await }
    }

    async fn put(&self, file: Arc<File>) -> Result<(), Trouble> {
        let was_begun = self.job.upload.is_some();
        self.abort().await?;
        // The try that was cut short, or another larder, may have come to its end after all.
        if was_begun && self.region.bucket.has(self.placed()).await? {
            return Ok(());
        }
        let started = Instant::now();
        self.region.bucket.put(self.placed(), file, |upload| self.note_upload(upload)).await?;
        if was_begun {
            // What was still on its way to the region when the first list was made.
            self.abort_unnamed().await?;
        }
        let (region, key, size) = (&self.region.settings.name, self.placed().content, self.placed().size);
        tracing::info!(region, %key, size, took = ?started.elapsed(), "put into a region");
        Ok(())
    }

    /// Aborts what an earlier try has left: the upload that it noted, and those that it had no time to.
    async fn abort(&self) -> Result<(), Trouble> {
        let Some(upload) = &self.job.upload else { return Ok(()) };
        if !upload.is_empty() {
            self.region.bucket.abort(&self.placed().content, upload).await?;
        }
        self.abort_unnamed().await
    }

    /// Aborts every upload of the object that there is; none is at work, for this is whose it would be.
    async fn abort_unnamed(&self) -> Result<(), Trouble> {
        let (bucket, content) = (&self.region.bucket, &self.placed().content);
        let uploads = match bucket.uploads(content).await {
            Ok(uploads) => uploads.unwrap_or_default(),
            Err(trouble) if self.job.placement.attempts < LIST_TRIES => return Err(trouble),
            Err(_) => return Ok(()),
        };
        for upload in uploads {
            tracing::info!(region = self.region.settings.name, key = %content, "aborting an upload that was cut short");
            bucket.abort(content, &upload).await?;
        }
        Ok(())
    }

    fn note_upload(&self, upload: String) -> Noting {
        let (catalogue, job) = (self.orders.bundles().catalogue().clone(), self.job.clone());
        let note = move || catalogue.note_upload(&job, &upload);
        Box::pin(async { blocking(note).await.map_err(|error| here(&error)) })
    }

    /// The archive's file in the store.
    async fn file(&self) -> Result<Option<File>, Trouble> {
        let (bundles, content) = (self.orders.bundles().clone(), self.placed().content);
        let found = blocking(move || bundles.open(&content)).await.map_err(|error| here(&error))?;
        Ok(found.map(|found| found.file))
    }

    /// Brings the archive's file back into the store from a region that has it.
    async fn bring_back(&self, regions: &Regions) -> Result<Option<File>, Trouble> {
        let (catalogue, content) = (self.orders.bundles().catalogue().clone(), self.placed().content);
        let known = blocking(move || catalogue.placements(&content)).await.map_err(|error| here(&error))?;
        for source in known.iter().filter(|other| other.state == PlacementState::There) {
            let Some(region) = regions.get(&source.region).filter(|region| region.is_up()) else { continue };
            match self.bring_back_from(region).await {
                Ok(true) => return self.file().await,
                Ok(false) => return Ok(None),
                Err(trouble @ Trouble::Here(_)) => return Err(trouble),
                Err(trouble) => region.note(&trouble),
            }
        }
        Ok(None)
    }

    async fn bring_back_from(&self, region: &Region) -> Result<bool, Trouble> {
        let mut stream = region.bucket.get(&self.placed().content).await?;
        let (pieces, incoming) = mpsc::channel(IN_FLIGHT);
        let (orders, placed) = (self.orders.clone(), self.placed().clone());
        let taken = tokio::task::spawn_blocking(move || take_back(&orders, &placed, incoming));
        let mut sent = Ok(());
        while let Some(piece) = stream.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(trouble) => {
                    sent = Err(trouble);
                    break;
                }
            };
            if pieces.send(piece).await.is_err() {
                break;
            }
        }
        drop(pieces);
        let taken = taken.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        sent?;
        let back = taken.map_err(|error| here(&error))?;
        tracing::info!(region = region.settings.name, key = %self.placed().content, back, "brought back");
        Ok(back)
    }

    /// Writes how it ended.
    async fn end(&self, done: Result<PlacementEnd, Trouble>) {
        let end = done.unwrap_or_else(|trouble| {
            self.region.note(&trouble);
            let (region, key) = (&self.region.settings.name, self.placed().content);
            tracing::warn!(region, %key, attempt = self.job.placement.attempts + 1, "not done: {trouble}");
            PlacementEnd::Failed(trouble.to_string(), wait(self.job.placement.attempts))
        });
        let (catalogue, job) = (self.orders.bundles().catalogue().clone(), self.job.clone());
        let ended = blocking(move || catalogue.end_placement(&job, &end, Timestamp::now())).await;
        ended.unwrap_or_else(|error| tracing::error!(%error, "cannot note where an archive is"));
    }
}

/// Writes what comes into a draft and, if it is the content, gives it its place in the store. `false`
/// when the content is not kept any more.
fn take_back(orders: &Orders, placed: &Placed, mut pieces: mpsc::Receiver<Bytes>) -> io::Result<bool> {
    let started = Instant::now();
    let mut reservation = orders.reservation();
    let mut draft = orders.bundles().draft()?;
    {
        let mut out = reservation.writing(&mut draft);
        let mut left = placed.size;
        while let Some(piece) = pieces.blocking_recv() {
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| io::Error::other("it is longer than it was"))?;
            out.write_all(&piece)?;
        }
        if left > 0 {
            return Err(io::Error::other("it is shorter than it was"));
        }
    }
    let sealed = draft.seal()?;
    let id = sink::blob_id(sealed.open()?, placed.size).map_err(|error| io::Error::other(error.to_string()))?;
    if id != placed.content.id() {
        return Err(io::Error::other("it is not what it was"));
    }
    let restored = orders.bundles().restore(&placed.content, sealed, started.elapsed(), Timestamp::now());
    restored.map_err(io::Error::other)
}

fn here(error: &dyn std::fmt::Display) -> Trouble {
    tracing::debug!(%error, "work in a region failed here");
    Trouble::Here(format!("it failed here: {error}"))
}

/// How long to wait before the next try: longer each time, and not all alike.
fn wait(attempts: u32) -> Duration {
    jittered(FIRST_WAIT * (1 << attempts.min(DOUBLINGS)), 80..120)
}
