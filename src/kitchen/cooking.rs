//! One worker: claim, cook, publish. Owns what becomes of a claim; every way out of here finishes
//! it, fails it, hands it on or gives it back, and when the catalogue cannot be written that is
//! tried until it can.

use super::recipe::{Surroundings, Unmade};
use super::segments::Kept;
use super::{Orders, Sought};
use crate::archive::{Archive as _, Blocks as _, Met, NotingArchive};
use crate::bundle::{Failure, FailureCode, Remarks};
use crate::catalogue::{CatalogueError, Claim, Delegated, Failed, Finished, Finishing};
use crate::cook::{self, Control, CookError, Root, Segments};
use crate::key::{BundleKey, Family, Flat, ObjectKind, Sha1Git};
use crate::metrics::CookOutcome;
use crate::time::Timestamp;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

/// A cook whose objects are sought elsewhere looks for them so often, if it is not hastened.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How long to wait before the catalogue is tried again after it could not be written.
const PAUSE: Duration = Duration::from_secs(1);

/// What came of a claim, to be written into the catalogue.
enum Outcome {
    /// The catalogue knows already.
    Settled(CookOutcome),
    Failed(Failure),
    GivenBack,
    /// What it needs is sought elsewhere.
    PutOff,
}

impl Outcome {
    /// As it is counted.
    fn counted(&self) -> CookOutcome {
        match self {
            Self::Settled(outcome) => *outcome,
            Self::Failed(failure) => CookOutcome::Failed(failure.code),
            Self::GivenBack | Self::PutOff => CookOutcome::GivenBack,
        }
    }
}

/// Makes what was ordered. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Cooks {
    pub(super) orders: Orders,
    /// How many cooks go straight to a client.
    pub(super) through: Arc<AtomicUsize>,
}

impl Cooks {
    /// Cooks for these orders, who do nothing yet: see [`Cooks::start`].
    #[must_use]
    pub fn new(orders: Orders) -> Self {
        Self { orders, through: Arc::default() }
    }

    /// Takes the oldest place in the queue and cooks it. `false` when none is ready.
    pub(super) fn cook_next(&self) -> Result<bool, CatalogueError> {
        let claim = self.orders.0.catalogue.claim(self.orders.0.bundles.members().me(), Timestamp::now()).inspect_err(
            |error| {
                if error.is_storage_full()
                    && let Err(error) = self.orders.0.room.make_some()
                {
                    tracing::warn!(%error, "no room even to take a cook from the queue");
                }
            },
        )?;
        Ok(claim.map(|claim| self.cook_claim(&claim)).is_some())
    }

    /// Cooks one bundle in this thread, whatever else is in the queue; of a revision or a release
    /// first the directory that it is another name of. Blocking. `false` when there was nothing to
    /// do here, for another process is at it.
    pub fn cook_with_its_root(&self, key: &BundleKey) -> Result<bool, CatalogueError> {
        if self.cook_this(key)? {
            return Ok(true);
        }
        let Some(flat) = other_name(key) else { return Ok(false) };
        match cook::root(&mut *self.orders.0.archive.reader(), key.kind(), &key.id()) {
            Ok(Some(Root::Directory(id))) => self.cook_this(&BundleKey::of_directory(id, flat)),
            Ok(Some(Root::File(_)) | None) | Err(_) => Ok(false),
        }
    }

    fn cook_this(&self, key: &BundleKey) -> Result<bool, CatalogueError> {
        let claim = self.orders.0.catalogue.claim_this(key, self.orders.0.bundles.members().me(), Timestamp::now())?;
        Ok(claim.map(|claim| self.cook_claim(&claim)).is_some())
    }

    fn cook_claim(&self, claim: &Claim) {
        let key = claim.key;
        let _asked = self.orders.asker(&key).map(|asker| asker.span().entered());
        let outcome = match catch_unwind(AssertUnwindSafe(|| self.try_cook(claim))) {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failed(Failure {
                code: FailureCode::Interrupted,
                message: "the cook failed by a fault of larder's own; its log says more".to_owned(),
            }),
        };
        self.orders.0.underway.end(&key);
        self.orders.metrics().cook_ended(&key, &outcome.counted());
        self.settle(claim, &outcome);
        // Else it goes on later, for whoever asked first.
        if !matches!(outcome, Outcome::GivenBack | Outcome::PutOff) {
            self.orders.0.askers.forget(&key);
        }
        self.orders.0.waiters.ring(&key);
        for name in self.orders.0.underway.waited_for(&key) {
            self.orders.0.waiters.ring(&name);
        }
    }

    /// Writes what came of a claim. While the catalogue cannot be written, on a full disk perhaps,
    /// the claim stays this process's; when larder stops before it can, the next one takes it up.
    fn settle(&self, claim: &Claim, outcome: &Outcome) {
        let key = claim.key;
        let mut said = false;
        loop {
            let written = match outcome {
                Outcome::Settled(_) => return,
                Outcome::GivenBack => self.orders.0.catalogue.give_back(claim.clone()),
                Outcome::PutOff => self.orders.0.catalogue.put_off(claim.clone(), LOOK_AGAIN, Timestamp::now()),
                Outcome::Failed(failure) => {
                    self.orders.0.catalogue.fail(claim.clone(), failure.clone(), Timestamp::now()).map(|failed| {
                        match failed {
                            Failed::Retry(at) => tracing::warn!(%key, code = %failure.code, %at, "{}", failure.message),
                            Failed::Final => tracing::warn!(%key, code = %failure.code, "{}", failure.message),
                        }
                    })
                }
            };
            match written {
                Ok(()) => return,
                Err(error) if self.orders.is_stopping() => {
                    tracing::warn!(%key, %error, "left to the next process");
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::error!(%key, %error, "cannot write the catalogue; trying again");
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    fn try_cook(&self, claim: &Claim) -> Outcome {
        let key = claim.key;
        let control = Control::default();
        let deadline = Instant::now() + self.orders.limits().cook_timeout;
        self.orders.0.underway.begin(key, control.clone(), deadline);
        if let Err(error) = self.orders.0.blocks.reach(claim.block_epoch) {
            return not_written(key, &error);
        }
        if self.orders.0.blocks.is_blocked(&key.id()) {
            return cook_failed(key, &CookError::Blocked { id: key.id() });
        }
        if let Some(flat) = other_name(&key) {
            match cook::root(&mut *self.orders.0.archive.reader(), key.kind(), &key.id()) {
                Ok(Some(Root::Directory(id))) => return self.hand_on(claim, &BundleKey::of_directory(id, flat)),
                Ok(Some(Root::File(_))) => {}
                Ok(None) => return self.absent(key, &key.id()),
                Err(error) => return self.cook_failed(key, &error),
            }
        }
        self.cook_file(claim, &control)
    }

    /// No archive here has the object.
    fn absent(&self, key: BundleKey, missing: &Sha1Git) -> Outcome {
        let failed = |code, message| Outcome::Failed(Failure { code, message });
        match self.orders.remote().map(|remote| remote.seek(&key, missing)) {
            Some(Sought::Underway) => Outcome::PutOff,
            Some(Sought::Troubled(why)) => failed(FailureCode::Io, format!("an upstream could not be asked: {why}")),
            Some(Sought::Absent(why)) => {
                failed(FailureCode::MissingObject, format!("no archive has {}, and no upstream: {why}", key.swhid()))
            }
            None => failed(FailureCode::MissingObject, format!("no archive has {}", key.swhid())),
        }
    }

    fn cook_failed(&self, key: BundleKey, error: &CookError) -> Outcome {
        match error {
            CookError::Missing { id } if self.orders.remote().is_some() => self.absent(key, id),
            error => cook_failed(key, error),
        }
    }

    /// A flat bundle of a revision or a release is another name of its directory's.
    fn hand_on(&self, claim: &Claim, directory: &BundleKey) -> Outcome {
        match self.orders.0.bundles.hand_on(claim.clone(), directory, Timestamp::now()) {
            Ok(Delegated::Linked) => {
                tracing::info!(key = %claim.key, %directory, "linked");
                Outcome::Settled(CookOutcome::Linked)
            }
            Ok(Delegated::Waiting) => {
                self.orders.pass_asker_on(&claim.key, *directory);
                self.orders.0.underway.wait_for(claim.key, *directory);
                self.orders.0.work.notify_one();
                Outcome::Settled(CookOutcome::Linked)
            }
            Ok(Delegated::Outdated) => outdated(claim.key),
            Err(error) => not_written(claim.key, &error),
        }
    }

    /// Cooks into a draft, and publishes it.
    fn cook_file(&self, claim: &Claim, control: &Control) -> Outcome {
        let (key, shared) = (claim.key, &*self.orders.0);
        let start = Instant::now();
        let mut draft = match shared.bundles.draft() {
            Ok(draft) => draft,
            Err(error) => return cook_failed(key, &CookError::Output(error)),
        };
        // The reservation stands until the catalogue counts the file.
        let mut reservation = shared.room.reservation();
        // A pack is written twice: where it is checked, and into the draft.
        let scratch = RefCell::new(shared.room.reservation());
        let room = |bytes| scratch.borrow_mut().reach(bytes);
        // What is blocked while this cook runs concerns it only if it has met that.
        let met = Arc::new(Met::default());
        met.insert(&key.id());
        let archive = NotingArchive::new(&*shared.archive, Arc::clone(&met));
        let kept = Kept::new(&shared.bundles);
        let (scratch_folder, segments) = (shared.bundles.data(), Some(&kept as &dyn Segments));
        let around = Surroundings { archive: &archive, scratch: scratch_folder, room: &room, control, segments };
        let cooked = match self.make(&key, &around, &mut reservation.writing(&mut draft)) {
            Ok(cooked) => cooked,
            Err(Unmade::Absent) => return self.absent(key, &key.id()),
            Err(Unmade::Catalogue(error)) => return not_written(key, &error),
            Err(Unmade::Cook(error)) => return self.cook_failed(key, &error),
        };
        drop(scratch);
        drop(kept);
        let (copied, made) = (cooked.copied, cooked.made);
        let sealed = match draft.seal() {
            Ok(sealed) => sealed,
            Err(error) => return cook_failed(key, &CookError::Output(error)),
        };
        let facts = sealed.facts();
        let (remarks, segments) = (Remarks { notes: cooked.notes, lossy: cooked.lossy }, cooked.segments);
        let took = start.elapsed();
        let finishing = Finishing { facts, remarks: &remarks, took, met: &|id| met.may_hold(id), segments: &segments };
        match shared.bundles.publish(claim.clone(), sealed, &finishing, Timestamp::now()) {
            Ok((Finished::Done, names)) => {
                tracing::info!(%key, size = facts.size, tar_size = cooked.tar_size, copied, made, ?took, "cooked");
                shared.metrics.segments(copied, made);
                for name in &names {
                    self.orders.announce(name);
                }
                Outcome::Settled(CookOutcome::Done { took, bytes: facts.size })
            }
            Ok((Finished::Lost, _)) => {
                tracing::warn!(%key, "another process has taken this cook");
                Outcome::Settled(CookOutcome::Lost)
            }
            Ok((Finished::Outdated, _)) => outdated(key),
            Err(error) => not_written(key, &error),
        }
    }
}

/// Something was blocked that this cook may have met before.
fn outdated(key: BundleKey) -> Outcome {
    tracing::info!(%key, "something was blocked meanwhile; it is cooked anew");
    Outcome::GivenBack
}

/// The format of a bundle that is but another name of its directory's: a flat one of a revision or a release.
fn other_name(key: &BundleKey) -> Option<Flat> {
    match key.format().family() {
        Family::Flat(flat) => (key.kind() != ObjectKind::Directory).then_some(flat),
        Family::History(_) | Family::Raw => None,
    }
}

fn cook_failed(key: BundleKey, error: &CookError) -> Outcome {
    let Some(failure) = error.failure() else { return Outcome::GivenBack };
    // The whole error may name paths: it is for the log alone.
    tracing::debug!(%key, %error, "cook failed");
    Outcome::Failed(failure)
}

/// The catalogue, or the store in the middle of its transaction, refused: nothing was done, and it
/// may well be done later.
fn not_written(key: BundleKey, error: &CatalogueError) -> Outcome {
    tracing::error!(%key, %error, "cannot publish");
    let full = error.is_storage_full();
    Outcome::Failed(Failure {
        code: if full { FailureCode::NoSpace } else { FailureCode::Io },
        message: if full { "there was no room to publish the bundle" } else { "the bundle could not be published" }
            .to_owned(),
    })
}
