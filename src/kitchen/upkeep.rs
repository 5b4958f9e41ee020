//! What runs beside the cooks: time limits, cooks of dead processes, touches, the access log, snapshots, SHA-256.
//! Each is one task that ends when the kitchen stops; the touches are written once more then.

use super::Kitchen;
use crate::access::log::{self, Bell, Log};
use crate::cook::Reason;
use crate::key::BundleKey;
use crate::origins::Locals;
use crate::time::Timestamp;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the time limits of running cooks are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How often the list of what is blocked is looked at.
const LOOK_AT_BLOCKS: Duration = Duration::from_millis(500);

/// How often dead processes are looked for, in ticks.
const TICKS_BETWEEN_RECOVERIES: u32 = 10;

/// How long touches wait at most.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// How often files without a SHA-256 are looked for when none was announced.
const DIGEST_EVERY: Duration = Duration::from_mins(1);

/// How many files are digested between two looks into the catalogue.
const DIGEST_BATCH: u32 = 32;

/// How often the catalogue's file is looked after.
const LOOK_AT_FILE: Duration = Duration::from_secs(1);

/// Looks whether the catalogue's file is still the one that was opened, and says so when it is not, or is
/// again.
pub(super) async fn look_after_catalogue(kitchen: Kitchen) {
    let mut lost = false;
    while !kitchen.is_stopping() {
        let look = kitchen.clone();
        match tokio::task::spawn_blocking(move || look.0.catalogue.look_after_file()).await {
            Ok(Err(error)) if !lost => {
                tracing::error!("{error}");
                lost = true;
                let rescue = kitchen.clone();
                match tokio::task::spawn_blocking(move || rescue.0.catalogue.rescue_log()).await {
                    Ok(Ok(true)) => tracing::warn!("what was in the catalogue's log is in the catalogue"),
                    Ok(Err(error)) => tracing::error!("{error}"),
                    _ => {}
                }
            }
            Ok(Ok(())) if lost => {
                tracing::warn!("the catalogue is where it was again, and is used again");
                lost = false;
            }
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AT_FILE) => {}
            () = kitchen.stopped() => {}
        }
    }
}

/// Follows what other processes block.
pub(super) async fn watch_blocks(kitchen: Kitchen) {
    let mut told = false;
    while !kitchen.is_stopping() {
        let look = kitchen.clone();
        match tokio::task::spawn_blocking(move || look.0.blocks.refresh()).await {
            Ok(Err(error)) if !told => {
                tracing::warn!(%error, "cannot look at what is blocked");
                told = true;
            }
            Ok(Ok(())) => told = false,
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AT_BLOCKS) => {}
            () = kitchen.stopped() => {}
        }
    }
}

/// Ends cooks that take too long, and takes up those of dead processes.
pub(super) async fn watch_cooks(kitchen: Kitchen) {
    let mut ticks = 0_u32;
    while !kitchen.is_stopping() {
        if ticks.is_multiple_of(TICKS_BETWEEN_RECOVERIES) {
            let kitchen = kitchen.clone();
            let _ = tokio::task::spawn_blocking(move || kitchen.recover()).await;
        }
        ticks = ticks.wrapping_add(1);
        tokio::select! {
            () = tokio::time::sleep(TICK) => kitchen.end_overdue(),
            () = kitchen.stopped() => {}
        }
    }
}

/// Writes the touches that wait, every few seconds and when larder stops.
pub(super) async fn flush_touches(kitchen: Kitchen) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FLUSH_EVERY) => {}
            () = kitchen.0.touched.notified() => {}
            () = kitchen.stopped() => {}
        }
        let flush = kitchen.clone();
        let flushed = tokio::task::spawn_blocking(move || flush.0.touches.flush(&flush.0.catalogue)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "last accesses wait, for the catalogue cannot be written");
        }
        if kitchen.is_stopping() {
            return;
        }
    }
}

/// Follows the access log of the web server in front, on a thread of its own.
pub(super) async fn follow_log(kitchen: Kitchen, access_log: Log) {
    let bell = Arc::new(Bell::default());
    let (catalogue, follower) = (kitchen.0.catalogue.clone(), Arc::clone(&bell));
    let reading = kitchen.0.metrics.log();
    let mut thread = tokio::task::spawn_blocking(move || {
        log::follow(&access_log, &catalogue, &follower, &reading, &Timestamp::now);
    });
    tokio::select! {
        _ = &mut thread => tracing::error!("the access log is no longer followed"),
        () = kitchen.stopped() => {
            bell.stop();
            let _ = thread.await;
        }
    }
}

/// A look for refs that have changed may have this part of the time.
const LOOK_SHARE: u32 = 20;

/// Takes snapshots of what is in the archive whose refs have changed.
pub(super) async fn take_snapshots(kitchen: Kitchen, mut locals: Locals, interval: Duration) {
    while !kitchen.is_stopping() {
        let (began, stop) = (Instant::now(), kitchen.clone());
        let look = move || {
            let looked = locals.look(&Timestamp::now, &|| stop.is_stopping());
            (locals, looked)
        };
        let Ok((back, looked)) = tokio::task::spawn_blocking(look).await else {
            tracing::error!("snapshots are no longer taken");
            return;
        };
        locals = back;
        match looked {
            Ok(0) => {}
            Ok(taken) => tracing::debug!(taken, "snapshots of repositories were taken"),
            Err(error) => tracing::warn!(%error, "no snapshots were taken"),
        }
        tokio::select! {
            () = tokio::time::sleep(interval.max(began.elapsed() * LOOK_SHARE)) => {}
            () = kitchen.stopped() => {}
        }
    }
}

/// Computes the SHA-256 of what was published; it is slower than all the rest of a small cook, so
/// it follows behind.
pub(super) async fn digest_files(kitchen: Kitchen) {
    while !kitchen.is_stopping() {
        let digest = kitchen.clone();
        let full_batch = tokio::task::spawn_blocking(move || digest.digest_batch()).await;
        if matches!(full_batch, Ok(Ok(true))) {
            continue;
        }
        if let Ok(Err(error)) = full_batch {
            tracing::warn!(%error, "cannot record digests");
        }
        tokio::select! {
            () = tokio::time::sleep(DIGEST_EVERY) => {}
            () = kitchen.0.published.notified() => {}
            () = kitchen.stopped() => {}
        }
    }
}

impl Kitchen {
    fn end_overdue(&self) {
        let now = Instant::now();
        for running in self.running().values().filter(|running| running.deadline <= now) {
            running.control.cancel(Reason::Timeout);
        }
    }

    /// Takes up the cooks of dead processes: see [`crate::bundles::Bundles::take_from_the_dead`].
    pub fn recover(&self) {
        match self.0.bundles.take_from_the_dead(Timestamp::now()) {
            Ok(0) => {}
            Ok(cooks) => {
                tracing::info!(cooks, "took up the cooks of processes that are gone");
                self.0.work.notify_waiters();
            }
            Err(error) => tracing::warn!(%error, "cannot look after dead processes"),
        }
    }

    /// Digests a batch of files; whether there may be more.
    fn digest_batch(&self) -> Result<bool, crate::catalogue::CatalogueError> {
        let shared = &*self.0;
        let batch = shared.catalogue.without_sha256(DIGEST_BATCH)?;
        let mut recorded = 0;
        for (key, blake3) in &batch {
            if self.is_stopping() {
                return Ok(false);
            }
            match self.sha256(key) {
                Ok(Some(sha256)) => {
                    shared.catalogue.set_sha256(key, blake3, sha256)?;
                    recorded += 1;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%key, %error, "cannot digest"),
            }
        }
        // Files that are gone or cannot be read come again in the next batch: not at once.
        Ok(recorded > 0 && batch.len() == DIGEST_BATCH as usize)
    }

    /// SHA-256 of a bundle's file; `None` when it is gone, or larder stops.
    fn sha256(&self, key: &BundleKey) -> std::io::Result<Option<[u8; 32]>> {
        let Some(mut found) = self.0.bundles.open(key)? else { return Ok(None) };
        let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
        loop {
            let n = found.file.read(&mut buffer)?;
            if n == 0 {
                return Ok(Some(hasher.finalize().into()));
            }
            if self.is_stopping() {
                return Ok(None);
            }
            hasher.update(&buffer[..n]);
        }
    }
}
