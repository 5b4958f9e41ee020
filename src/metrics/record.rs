//! Recording: what each room may tell the [`Metrics`], and the labels under which it is counted.

use super::Metrics;
use crate::bundle::FailureCode;
use crate::key::BundleKey;
use crate::time::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Routed {
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Hit {
    pub(super) by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Cook {
    kind: &'static str,
    format: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Cooked {
    kind: &'static str,
    format: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Segments {
    how: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Fetch {
    source: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Source {
    source: String,
}

/// What came of a cook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookOutcome {
    /// A bundle was made, and published or, in pass-through mode, sent.
    Done {
        /// From the claim to the publishing.
        took: Duration,
        /// Of the file.
        bytes: u64,
    },
    /// It became another name of a file that is there, or waits for the cook of that file.
    Linked,
    /// It failed; a transient failure is tried again, and counted again.
    Failed(FailureCode),
    /// It went back into the queue, for larder stopped or something was blocked meanwhile.
    GivenBack,
    /// Another process has taken it.
    Lost,
}

impl CookOutcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Linked => "linked",
            Self::Failed(code) => code.as_str(),
            Self::GivenBack => "given-back",
            Self::Lost => "lost",
        }
    }
}

/// What came of a fetch of the Archiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// It brought an archive.
    Done {
        /// From the request to the publishing.
        took: Duration,
        /// Of the archive.
        bytes: u64,
    },
    /// It failed, with this word of the Archiver's fault codes.
    Failed(&'static str),
    /// It went back into the queue, for larder stopped.
    GivenBack,
}

impl Metrics {
    /// A request was answered; `took` is the time to the head of the answer.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.0.requests.get_or_create(&Request { route, status }).inc();
        self.0.request_seconds.get_or_create(&Routed { route }).observe(took.as_secs_f64());
    }

    /// A connection was opened; it counts as open until this is dropped.
    #[must_use]
    pub fn connection(&self) -> Open {
        self.0.connections.inc();
        Open(self.0.connections.clone())
    }

    /// A connection got no place.
    pub fn turned_away(&self) {
        self.0.turned_away.inc();
    }

    /// larder answered a fetch that counts as a use.
    pub fn hit(&self) {
        self.0.hits.get_or_create(&Hit { by: "larder" }).inc();
    }

    /// A cook of this process ended.
    pub fn cook_ended(&self, key: &BundleKey, outcome: &CookOutcome) {
        let (kind, format) = (key.kind().as_str(), key.format().ext());
        self.0.cooks.get_or_create(&Cook { kind, format, outcome: outcome.word() }).inc();
        if let CookOutcome::Done { took, bytes } = outcome {
            let made = Cooked { kind, format };
            self.0.cook_seconds.get_or_create(&made).observe(took.as_secs_f64());
            self.0.cooked_bytes.get_or_create(&made).inc_by(*bytes);
        }
    }

    /// A flat bundle was made, of so many segments of others and so many of its own.
    pub fn segments(&self, copied: u64, made: u64) {
        for (how, count) in [("copied", copied), ("made", made)] {
            self.0.segments.get_or_create(&Segments { how }).inc_by(count);
        }
    }

    /// There is such a source of the Archiver: what it has not done yet reads as zero.
    pub fn expect_source(&self, source: &str) {
        drop(self.0.fetches.get_or_create(&Fetch { source: source.to_owned(), outcome: "done" }));
        drop(self.0.fetch_seconds.get_or_create(&Source { source: source.to_owned() }));
        drop(self.0.fetched_bytes.get_or_create(&Source { source: source.to_owned() }));
    }

    /// A fetch of the Archiver ended. `source` is a name of the settings.
    pub fn fetch_ended(&self, source: &str, outcome: &FetchOutcome) {
        let source = source.to_owned();
        let word = match outcome {
            FetchOutcome::Done { .. } => "done",
            FetchOutcome::Failed(word) => word,
            FetchOutcome::GivenBack => "given-back",
        };
        self.0.fetches.get_or_create(&Fetch { source: source.clone(), outcome: word }).inc();
        if let FetchOutcome::Done { took, bytes } = outcome {
            let source = Source { source };
            self.0.fetch_seconds.get_or_create(&source).observe(took.as_secs_f64());
            self.0.fetched_bytes.get_or_create(&source).inc_by(*bytes);
        }
    }

    /// For an archive to count its reads.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.0.reads.clone()
    }

    /// For whoever follows the access log.
    #[must_use]
    pub fn log(&self) -> LogReading {
        self.0.log.clone()
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Read {
    outcome: &'static str,
}

/// Counts what an archive is asked for. Each count is one addition: objects are read by the hundred thousand.
#[derive(Clone, Debug)]
pub struct Reads {
    all: Family<Read, Counter>,
    /// The object was there.
    pub found: Counter,
    /// The archive has no such object.
    pub absent: Counter,
    /// Its bytes are not those of its id.
    pub corrupt: Counter,
    /// It is over a cap.
    pub too_large: Counter,
    /// The archive could not be read.
    pub failed: Counter,
}

impl Default for Reads {
    fn default() -> Self {
        let all = Family::<Read, Counter>::default();
        let of = |outcome| all.get_or_create_owned(&Read { outcome });
        let (found, absent) = (of("found"), of("absent"));
        let (corrupt, too_large, failed) = (of("corrupt"), of("too-large"), of("failed"));
        Self { all, found, absent, corrupt, too_large, failed }
    }
}

impl Reads {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("archive_reads", "Objects asked for in the archives, by what came of it", self.all.clone());
    }
}

/// What whoever follows the web server's access log tells: lines, hits, and when its end was last reached.
#[derive(Clone, Debug)]
pub struct LogReading {
    hits: Counter,
    lines: Counter,
    foreign: Counter,
    failures: Counter,
    /// When the last round that reached the end began, in milliseconds; zero before that.
    reached: Arc<AtomicI64>,
}

impl LogReading {
    pub(super) fn new(hits: Counter) -> Self {
        let (lines, foreign, failures) = Default::default();
        Self { hits, lines, foreign, failures, reached: Arc::default() }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("access_log_lines", "Lines read of the web server's access log", self.lines.clone());
        let help = "Lines of the web server's access log that are not of larder's format";
        registry.register("access_log_foreign_lines", help, self.foreign.clone());
        let help = "Rounds of reading the web server's access log that failed";
        registry.register("access_log_failures", help, self.failures.clone());
    }

    /// A round that began at `began` read all that stood in the log then.
    pub fn reached_end(&self, began: Timestamp) {
        self.reached.store(began.as_millis(), Relaxed);
    }

    /// So many lines were read and written down, with so many hits and so many of another form.
    pub fn read(&self, lines: u64, hits: u64, foreign: u64) {
        self.lines.inc_by(lines);
        self.hits.inc_by(hits);
        self.foreign.inc_by(foreign);
    }

    /// A round could not read or not write down what it read.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// How long the log has been written without being read to its end, when it was last written at `changed`.
    #[must_use]
    pub fn lag(&self, changed: Timestamp, now: Timestamp) -> Duration {
        let reached = Timestamp::from_millis(self.reached.load(Relaxed));
        if changed <= reached {
            return Duration::ZERO;
        }
        // Before the first round nothing is known of how long it has waited, but since its last line.
        now.since(if reached == Timestamp::default() { changed } else { reached })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_lags_while_it_was_written_after_its_end_was_last_reached() {
        let at = Timestamp::from_millis;
        let log = LogReading::new(Counter::default());
        assert_eq!(log.lag(at(5_000), at(7_000)), Duration::from_secs(2), "it was never read");
        log.reached_end(at(10_000));
        assert_eq!(log.lag(at(9_000), at(99_000)), Duration::ZERO, "nothing was written since, however long ago");
        assert_eq!(log.lag(at(11_000), at(14_000)), Duration::from_secs(4));
    }

    #[test]
    fn a_connection_counts_while_it_is_held() {
        let metrics = Metrics::default();
        let open = [metrics.connection(), metrics.connection()];
        assert_eq!(metrics.0.connections.get(), 2);
        drop(open);
        assert_eq!(metrics.0.connections.get(), 0);
    }
}
