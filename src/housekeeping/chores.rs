//! The chores that take a few lines each. Each is one task that ends when larder stops; the touches are
//! written once more then.

use crate::access::log::{self, Bell, Log};
use crate::kitchen::Orders;
use crate::origins::Locals;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the list of what is blocked is looked at.
const LOOK_AT_BLOCKS: Duration = Duration::from_millis(500);

/// How often dead processes are looked for.
const RECOVER_EVERY: Duration = Duration::from_secs(5);

/// How long touches wait at most.
const FLUSH_EVERY: Duration = Duration::from_secs(10);

/// How often the catalogue's file is looked after.
const LOOK_AT_FILE: Duration = Duration::from_secs(1);

/// Looks whether the catalogue's file is still the one that was opened, and says so when it is not, or is
/// again.
pub(super) async fn look_after_catalogue(orders: Orders) {
    let mut lost = false;
    while !orders.is_stopping() {
        let look = orders.clone();
        match tokio::task::spawn_blocking(move || look.bundles().catalogue().look_after_file()).await {
            Ok(Err(error)) if !lost => {
                tracing::error!("{error}");
                lost = true;
                let rescue = orders.clone();
                match tokio::task::spawn_blocking(move || rescue.bundles().catalogue().rescue_log()).await {
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
            () = orders.stopped() => {}
        }
    }
}

/// Follows what other processes block.
pub(super) async fn watch_blocks(orders: Orders) {
    let mut said = false;
    while !orders.is_stopping() {
        let look = orders.clone();
        match tokio::task::spawn_blocking(move || look.look_at_blocks()).await {
            Ok(Err(error)) if !said => {
                tracing::warn!(%error, "cannot look at what is blocked");
                said = true;
            }
            Ok(Ok(())) => said = false,
            _ => {}
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AT_BLOCKS) => {}
            () = orders.stopped() => {}
        }
    }
}

/// Takes up the cooks of dead processes.
pub(super) async fn recover(orders: Orders) {
    while !orders.is_stopping() {
        let recover = orders.clone();
        let _ = tokio::task::spawn_blocking(move || recover.recover()).await;
        tokio::select! {
            () = tokio::time::sleep(RECOVER_EVERY) => {}
            () = orders.stopped() => {}
        }
    }
}

/// Writes the touches that wait, every few seconds and when larder stops.
pub(super) async fn flush_touches(orders: Orders) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(FLUSH_EVERY) => {}
            () = orders.touched() => {}
            () = orders.stopped() => {}
        }
        let flush = orders.clone();
        let flushed = tokio::task::spawn_blocking(move || flush.flush_touches()).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "last accesses wait, for the catalogue cannot be written");
        }
        if orders.is_stopping() {
            return;
        }
    }
}

/// Follows the access log of the web server in front, on a thread of its own.
pub(super) async fn follow_log(orders: Orders, access_log: Log) {
    let bell = Arc::new(Bell::default());
    let (catalogue, follower) = (orders.bundles().catalogue().clone(), Arc::clone(&bell));
    let reading = orders.metrics().log();
    let mut thread = tokio::task::spawn_blocking(move || {
        log::follow(&access_log, &catalogue, &follower, &reading, &Timestamp::now);
    });
    tokio::select! {
        _ = &mut thread => tracing::error!("the access log is no longer followed"),
        () = orders.stopped() => {
            bell.stop();
            let _ = thread.await;
        }
    }
}

/// A look for refs that have changed may have this part of the time.
const LOOK_SHARE: u32 = 20;

/// Takes snapshots of what is in the archive whose refs have changed.
pub(super) async fn take_snapshots(orders: Orders, mut locals: Locals, interval: Duration) {
    while !orders.is_stopping() {
        let (began, stop) = (Instant::now(), orders.clone());
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
            () = orders.stopped() => {}
        }
    }
}
