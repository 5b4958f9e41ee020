//! Following the log as long as larder serves: when to read, and how to wait.
//!
//! A busy log is read once in an interval, whatever happens to it in between; an idle one is
//! watched, so that nobody wakes for nothing. Where it cannot be watched it is looked at.

use super::{Bell, Follower, Log, LogError, Progress, file};
use crate::catalogue::Catalogue;
use crate::metrics::LogReading;
use crate::time::Timestamp;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often a log that is watched is looked at all the same.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Batches of the last round: what is left then is left to whoever follows next.
const LAST_BATCHES: u32 = 80;

/// Follows the log until `bell` is stopped, then reads what was added until then, and tells `reading` of each round.
/// Blocks. While another process follows it waits for that one to end.
pub fn follow(log: &Log, catalogue: &Catalogue, bell: &Arc<Bell>, reading: &LogReading, clock: &dyn Fn() -> Timestamp) {
    let Some(mut follower) = take_turn(log, catalogue, bell) else { return };
    while !bell.is_stopped() {
        let began = clock();
        let round = follower.round(clock, &mut || !bell.is_stopped());
        note(reading, began, &round, follower.complained.is_empty());
        report(log, round);
        bell.pause(log.interval);
        follower.wait_for_change(bell);
    }
    let mut left = LAST_BATCHES;
    let mut more = || {
        left -= 1;
        left > 0
    };
    let began = clock();
    let round = follower.round(clock, &mut more);
    note(reading, began, &round, follower.complained.is_empty());
    report(log, round);
}

/// The end was reached where every file could be read.
fn note(reading: &LogReading, began: Timestamp, round: &Result<Progress, LogError>, is_all: bool) {
    match round {
        Ok(Progress { lines, hits, foreign }) => {
            reading.read(*lines, *hits, *foreign);
            if is_all { reading.reached_end(began) } else { reading.failed() }
        }
        Err(_) => reading.failed(),
    }
}

/// Waits until nobody else follows, and looks once at least: what was added before larder was told to
/// stop is read even when it was told so at once. `None` when it is to stop.
fn take_turn(log: &Log, catalogue: &Catalogue, bell: &Bell) -> Option<Follower> {
    let mut said = false;
    loop {
        match Follower::try_new(log, catalogue) {
            Ok(Some(follower)) => return Some(follower),
            Ok(None) if said => {}
            Ok(None) => tracing::info!("another process follows the access log"),
            Err(error) => tracing::warn!(%error, "cannot follow the access log"),
        }
        if bell.is_stopped() {
            return None;
        }
        said = true;
        bell.pause(log.interval);
    }
}

fn report(log: &Log, round: Result<Progress, LogError>) {
    match round {
        Ok(Progress { lines, foreign, .. }) if foreign > 0 => tracing::warn!(
            log = %log.path.display(), lines, foreign,
            "lines of the access log are not of the format that larder reads: see docs/access-log.md"
        ),
        Ok(Progress { lines, hits, .. }) => tracing::debug!(lines, hits, "read the access log"),
        Err(error) => tracing::warn!(%error, "the access log waits"),
    }
}

impl Follower {
    fn wait_for_change(&self, bell: &Arc<Bell>) {
        // What left the folder grows unseen.
        if self.is_changed() || self.held.iter().any(|held| held.left_at.is_some()) {
            return;
        }
        let watcher = watch(&self.log.path, bell);
        let longest = if watcher.is_some() { LOOK_EVERY } else { self.log.interval };
        while !bell.is_stopped() && !self.is_changed() {
            bell.wait(longest);
        }
    }

    fn is_changed(&self) -> bool {
        file::list(&self.log.path).map_or(true, |there| there != self.listed)
    }
}

/// Rings when something happens to a file of the log; `None` where that cannot be watched, as in a
/// folder that is not there yet.
fn watch(path: &Path, bell: &Arc<Bell>) -> Option<RecommendedWatcher> {
    let name = path.file_name()?.to_owned();
    let bell = Arc::clone(bell);
    let concerns = move |event: &notify::Event| {
        let named = |path: &std::path::PathBuf| {
            let file = path.file_name().unwrap_or_default();
            file.as_encoded_bytes().starts_with(name.as_encoded_bytes())
        };
        // What was lost on the way may have been anything.
        event.need_rescan() || !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(named)
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, &concerns) {
            bell.ring();
        }
    })
    .ok()?;
    watcher.watch(file::folder(path), RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}
