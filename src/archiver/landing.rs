//! From a body that comes in to an archive that is there: checked, put into regions, and published in
//! the transaction in which its task succeeds.

use super::sink::{self, Expected, Piece, TakenIn};
use super::worker::Incoming;
use super::{AnswerError, Archiver, blocking};
use crate::catalogue::{Landed, Landing};
use crate::key::{BundleKey, ObjectKind};
use crate::metrics::FetchOutcome;
use crate::task::{Fault, FaultCode, Fetched};
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

impl Archiver {
    /// Takes a body in and lands it. `false` when the download gave up.
    pub(super) fn take_in(
        &self,
        incoming: &Incoming,
        expected: &Expected,
        pieces: mpsc::Receiver<Piece>,
        counter: Arc<AtomicU64>,
    ) -> Result<bool, Fault> {
        // Stands until the catalogue counts the file.
        let mut reservation = self.0.orders.reservation();
        match sink::take_in(&self.0.bundles, &mut reservation, expected, pieces, counter)? {
            None => Ok(false),
            Some(taken) => self.land(incoming, taken).map(|()| true),
        }
    }

    fn land(&self, incoming: &Incoming, taken: TakenIn) -> Result<(), Fault> {
        let Incoming { job, immutable, moves, started, head } = incoming;
        let facts = taken.sealed.facts();
        let content = BundleKey::with_default_format(ObjectKind::Content, taken.content);
        let fetched = Fetched {
            content,
            size: facts.size,
            media_type: head.media_type.clone(),
            file_name: head.file_name.clone(),
            directory: taken.directory,
        };
        let kept = |error: &dyn std::fmt::Display| {
            tracing::error!(task = job.id, %error, "cannot publish");
            Fault::new(FaultCode::Io, "The archive could not be kept.")
        };
        let blocked = || Fault::new(FaultCode::Blocked, "The archive, or the directory in it, is blocked here.");
        let directory = fetched.directory.as_ref().ok().map(|directory| directory.id);
        if [Some(content.id()), directory].iter().flatten().any(|id| self.0.orders.check_blocked(id).is_err()) {
            return Err(blocked());
        }
        let file = taken.sealed.open().map_err(|error| kept(&error))?;
        // What a stop cuts short the next process finishes.
        Handle::current().block_on(async {
            tokio::select! {
                () = self.0.placement.put(&fetched, &facts, file) => {}
                () = self.halted() => {}
            }
        });
        let regions = self.0.placement.regions().names();
        let (took, immutable, moves) = (started.elapsed(), *immutable, *moves);
        let landing = Landing { fetched, facts, took, immutable, moves, regions };
        let landed = self.0.bundles.land(job, &landing, taken.sealed, Timestamp::now());
        if !matches!(landed, Ok(Landed::Published)) {
            self.0.placement.give_up(&content);
        }
        let landed = landed.map_err(|error| kept(&error))?;
        if matches!(landed, Landed::Published | Landed::Drifted) {
            let done = FetchOutcome::Done { took: landing.took, bytes: facts.size };
            self.0.orders.metrics().fetch_ended(&job.alias.wanted.source, &done);
        }
        match landed {
            Landed::Published => {
                tracing::info!(task = job.id, key = %content, size = facts.size, took = ?landing.took, "fetched");
                self.0.orders.announce(&content);
            }
            Landed::Drifted => {
                tracing::warn!(task = job.id, url = job.alias.wanted.url, now = %content, "the bytes of an archive changed; the first stay");
            }
            Landed::Blocked => return Err(blocked()),
            Landed::Lost => tracing::warn!(task = job.id, "another process has taken this fetch"),
            Landed::Refused => {
                return Err(Fault::new(FaultCode::Changed, "The upstream's bytes are not those of the first fetch."));
            }
        }
        Ok(())
    }

    /// Looks whether an archive that is in the store is in every region too, and puts it where it is not. For
    /// the operator.
    pub async fn put_again(&self, fetched: &Fetched) -> Result<(), AnswerError> {
        let (bundles, content) = (self.0.bundles.clone(), fetched.content);
        let look = move || -> Result<_, AnswerError> {
            let facts = bundles.catalogue().bundle(&content)?.and_then(|bundle| bundle.file);
            Ok(facts.zip(bundles.open(&content)?.map(|found| found.file)))
        };
        if let Some((facts, file)) = blocking(look).await? {
            self.0.placement.put(fetched, &facts, file).await;
        }
        Ok(())
    }

    /// The names of the regions.
    #[must_use]
    pub fn regions(&self) -> Vec<String> {
        self.0.placement.regions().names()
    }
}
