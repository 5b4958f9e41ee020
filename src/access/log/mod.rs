//! Last access as the web server before larder saw it: follows nginx's access log. Owns what counts
//! ([`mod@line`]) and in which order things happen; how far the log was read is in the catalogue.
//!
//! **Position.** Nothing that was read is kept in memory: a batch of lines is counted and written
//! together with the position behind them, in one transaction. What is killed at any moment goes on
//! from where the last transaction ended, so no line is counted twice and none is passed over.
//!
//! **Rotation.** Every file of the log has a position of its own, under the digest of its first line,
//! so it does not matter in which order files are read, what they are called, or that two of them
//! are copies of each other. A file that was truncated is another file from then on: what is read
//! counts only if the first line was still the same *after* reading. A file that was renamed out of
//! the folder is read on for a while through the handle that is still open.
//!
//! **Who.** One process of a data directory follows, the one that holds `access-log.lock`; others
//! wait for it. Reads no clock: it is given one.

mod bell;
mod file;
mod follow;
pub mod line;
mod lines;

pub use bell::Bell;
pub use follow::follow;

use crate::catalogue::{Catalogue, CatalogueError, LogPosition, Touch};
use crate::key::BundleKey;
use crate::members::{Alone, Duty, alone};
use crate::time::Timestamp;
use file::{Found, Opened};
use line::Line;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines of one transaction.
const BATCH_LINES: usize = 10_000;
/// How long a file that left the folder is read on for after it last grew.
const AFTER_LEAVING: Duration = Duration::from_mins(1);
/// Files that left the folder and are read on at once.
const LEFT_AT_ONCE: usize = 8;
/// How often it is noted that files are still there.
const SEE_EVERY: Duration = Duration::from_hours(24);
/// Positions of files that were not there for so long are forgotten.
const FORGET_AFTER: Duration = Duration::from_hours(24 * 30);

/// A web server's access log, and the larder whose bundles it names.
#[derive(Clone, Debug)]
pub struct Log {
    /// The file that the server writes to.
    pub path: PathBuf,
    /// The path below which bundles are served: empty, or with a leading and without a trailing slash.
    pub root_path: String,
    /// The data directory, of whose processes one reads the log.
    pub data: PathBuf,
    /// How often at most the log is looked at while it is followed.
    pub interval: Duration,
}

impl Log {
    /// The log at `path` for the larder that keeps its data in `data` and serves it below `root_path`.
    #[must_use]
    pub fn new(path: &Path, root_path: &str, data: &Path) -> Self {
        Self {
            path: path.to_owned(),
            root_path: root_path.to_owned(),
            data: data.to_owned(),
            interval: Duration::from_secs(10),
        }
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lines.
    pub lines: u64,
    /// Those that count as a fetch.
    pub hits: u64,
    /// Those that were too long or not of the format.
    pub foreign: u64,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or folder could not be opened, read or locked.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// What was read could not be written down; it is read again.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// Reads all that stands in the log now, once. `None` when another process follows it. `now` is the
/// time that no line is later than.
pub fn catch_up(log: &Log, catalogue: &Catalogue, now: Timestamp) -> Result<Option<Progress>, LogError> {
    let Some(mut follower) = Follower::try_new(log, catalogue)? else { return Ok(None) };
    let mut sum = Progress::default();
    // Once more after a round that found something: files are renamed while they are listed.
    loop {
        let progress = follower.round(&|| now, &mut || true)?;
        sum.add(&progress);
        if progress.lines == 0 {
            return Ok(Some(sum));
        }
    }
}

/// The one that reads the log, and what it remembers in order not to read what did not change.
#[derive(Debug)]
struct Follower {
    log: Log,
    catalogue: Catalogue,
    _alone: Alone,
    /// The files as they were when last listed; empty when the last round did not end well.
    listed: Vec<Found>,
    /// Files that were read to their end, as they were before that, by device and inode.
    ended: HashMap<(u64, u64), (Found, [u8; 32])>,
    /// The log itself, held open in case that it leaves, and files that left the folder.
    held: Vec<Held>,
    /// Files that could not be read, by device and inode.
    complained: HashSet<(u64, u64)>,
    seen_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Held {
    id: (u64, u64),
    opened: Opened,
    /// When it was first missing, or last grew after that.
    left_at: Option<Timestamp>,
}

impl Follower {
    /// `None` when another process holds the lock.
    fn try_new(log: &Log, catalogue: &Catalogue) -> Result<Option<Self>, LogError> {
        let alone = alone(&log.data, Duty::Following);
        let alone = alone.map_err(|cause| LogError::Io { action: "begin to read", path: log.path.clone(), cause })?;
        let Some(alone) = alone else { return Ok(None) };
        Ok(Some(Self {
            log: log.clone(),
            catalogue: catalogue.clone(),
            _alone: alone,
            listed: Vec::new(),
            ended: HashMap::new(),
            held: Vec::new(),
            complained: HashSet::new(),
            seen_at: None,
        }))
    }

    /// Reads what was added to all files. Asks `more` after each batch whether to go on.
    fn round(&mut self, clock: &dyn Fn() -> Timestamp, more: &mut dyn FnMut() -> bool) -> Result<Progress, LogError> {
        let there = file::list(&self.log.path)?;
        self.listed.clear();
        self.ended.retain(|id, _| there.iter().any(|found| found.id == *id));
        self.complained.retain(|id| there.iter().any(|found| found.id == *id));
        let mut progress = Progress::default();
        for found in &there {
            if self.ended.get(&found.id).is_some_and(|(before, _)| before.is_unchanged(found)) {
                continue;
            }
            let opened = match Opened::open(found) {
                Ok(Some(opened)) => opened,
                Ok(None) => continue,
                Err(error) => {
                    self.complain(found, &error);
                    continue;
                }
            };
            match self.read(&opened, clock, more, &mut progress) {
                Ok(true) => {}
                Ok(false) => return Ok(progress),
                Err(error @ LogError::Io { .. }) => {
                    self.complain(found, &error);
                    continue;
                }
                Err(error @ LogError::Catalogue(_)) => return Err(error),
            }
            self.ended.insert(found.id, (found.clone(), *opened.digest()));
            if found.path == self.log.path {
                // Opened anew it may be another file: it was truncated.
                self.held.retain(|held| held.id != found.id);
                self.held.push(Held { id: found.id, opened, left_at: None });
            }
        }
        if !self.read_on(&there, clock, more, &mut progress)? {
            return Ok(progress);
        }
        self.see(clock())?;
        self.listed = there;
        Ok(progress)
    }

    /// Reads the files that left the folder on, and lets go those that no longer grow or that stand
    /// in the folder under another name. `false` when it was told to stop.
    fn read_on(
        &mut self,
        there: &[Found],
        clock: &dyn Fn() -> Timestamp,
        more: &mut dyn FnMut() -> bool,
        progress: &mut Progress,
    ) -> Result<bool, LogError> {
        let mut kept = Vec::new();
        let mut held = std::mem::take(&mut self.held);
        // The newest are at the end.
        held.drain(..held.len().saturating_sub(LEFT_AT_ONCE));
        for mut held in held {
            if let Some(found) = there.iter().find(|found| found.id == held.id) {
                if found.path == self.log.path {
                    kept.push(held);
                }
                continue;
            }
            let before = progress.lines;
            if !self.read(&held.opened, clock, more, progress)? {
                return Ok(false);
            }
            let now = clock();
            let left_at = held.left_at.filter(|_| progress.lines == before).unwrap_or(now);
            held.left_at = Some(left_at);
            if now.since(left_at) < AFTER_LEAVING {
                kept.push(held);
            }
        }
        self.held = kept;
        Ok(true)
    }

    /// Reads a file from its position to its end, in batches. `false` when it was told to stop.
    fn read(
        &self,
        opened: &Opened,
        clock: &dyn Fn() -> Timestamp,
        more: &mut dyn FnMut() -> bool,
        progress: &mut Progress,
    ) -> Result<bool, LogError> {
        let start = LogPosition { file: *opened.digest(), offset: 0, whole: false };
        let mut position = self.catalogue.log_position(opened.digest())?.unwrap_or(start);
        if position.whole && opened.is_packed() {
            return Ok(true);
        }
        let mut lines = match opened.lines(position.offset) {
            Ok(lines) => lines,
            Err(LogError::Io { cause, .. }) if opened.is_packed() && file::is_cut_short(&cause) => return Ok(true),
            Err(error) => return Err(error),
        };
        loop {
            let mut batch = Batch::new(clock());
            let end = batch.fill(&mut lines, opened, &self.log.root_path)?;
            let whole = opened.is_packed() && end == End::Clean;
            let to = LogPosition { offset: lines.offset(), whole, ..position };
            if to == position || !opened.is_still_itself()? {
                return Ok(true);
            }
            let touches: Vec<Touch> = batch.touches.into_values().collect();
            if !self.catalogue.touch_from_log(&touches, position.offset, &to, batch.now)? {
                tracing::warn!(log = %opened.path().display(), "another process reads the access log too");
                return Ok(true);
            }
            progress.add(&batch.progress);
            position = to;
            if end != End::Full {
                return Ok(true);
            }
            if !more() {
                return Ok(false);
            }
            super::rest();
        }
    }

    /// One file that cannot be read does not keep the others from it; it is tried again, but what is
    /// wrong is said once.
    fn complain(&mut self, found: &Found, error: &LogError) {
        if self.complained.insert(found.id) {
            tracing::warn!(%error, "a file of the access log waits");
        }
    }

    /// Notes once a day which files are there.
    fn see(&mut self, now: Timestamp) -> Result<(), LogError> {
        if self.seen_at.is_none_or(|seen_at| now.since(seen_at) >= SEE_EVERY) {
            let files: Vec<[u8; 32]> = self.ended.values().map(|(_, digest)| *digest).collect();
            self.catalogue.see_log_files(&files, now, FORGET_AFTER)?;
            self.seen_at = Some(now);
        }
        Ok(())
    }
}

/// Why a batch has no more lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is full.
    Full,
    /// There are no more.
    Clean,
    /// Packing the file is not finished, or cannot be undone from here.
    CutShort,
}

/// The hits of the lines that are written in one transaction.
struct Batch {
    now: Timestamp,
    touches: HashMap<BundleKey, Touch>,
    progress: Progress,
}

impl Batch {
    fn new(now: Timestamp) -> Self {
        Self { now, touches: HashMap::new(), progress: Progress::default() }
    }

    fn fill<R: io::Read>(
        &mut self,
        lines: &mut lines::Lines<R>,
        opened: &Opened,
        root_path: &str,
    ) -> Result<End, LogError> {
        for _ in 0..BATCH_LINES {
            match lines.next() {
                Ok(Some(text)) => self.add(line::read(text, root_path)),
                Ok(None) => return Ok(End::Clean),
                Err(error) if opened.is_packed() && file::is_cut_short(&error) => return Ok(End::CutShort),
                Err(error) => return Err(opened.fault(error)),
            }
            if self.touches.len() >= super::BATCH {
                break;
            }
        }
        Ok(End::Full)
    }

    fn add(&mut self, line: Line) {
        self.progress.lines += 1;
        match line {
            Line::Hit { key, at } => {
                self.progress.hits += 1;
                // A line is not to be believed when it says that it was written later than now.
                let at = at.min(self.now);
                let touch = self.touches.entry(key).or_insert(Touch { key, at, hits: 0 });
                touch.at = touch.at.max(at);
                touch.hits += 1;
            }
            Line::Other => {}
            Line::Foreign => self.progress.foreign += 1,
        }
    }
}

impl Progress {
    fn add(&mut self, more: &Self) {
        self.lines += more.lines;
        self.hits += more.hits;
        self.foreign += more.foreign;
    }
}
