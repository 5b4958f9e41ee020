//! What larder counts of its own work, and how that reads in Prometheus' formats.
//!
//! Owns the names, labels and buckets of all metrics. Rooms that do the work record into the [`Metrics`] that they are
//! given (`record.rs`); [`Metrics::render`] writes all of it, with [`Figures`] that are looked up at that moment. Pure:
//! reads no clock, no file and no catalogue, and knows no HTTP.
//!
//! **Bounded labels.** A label's value is a word of larder's own or a name of the settings (a source, a region): never
//! an address, an id, a path or anything else that a client sends. So there are at most a few thousand series,
//! whatever clients do.

mod figures;
mod record;

pub use figures::{Figures, Holdings, Process, Region};
pub use record::{CookOutcome, FetchOutcome, LogReading, Open, Reads};

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use record::{Cook, Cooked, Fetch, Hit, Request, Routed, Segments, Source};
use std::sync::Arc;

/// Upper bounds for the time of a request, in seconds. One that waits for a cook takes up to a minute.
const REQUEST_SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// Upper bounds for the time of a cook or a fetch, in seconds: up to the default of `cook_timeout`.
const WORK_SECONDS: [f64; 11] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0];

type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

/// The counters of one server; cheap to clone, and every clone counts the same.
#[derive(Clone)]
pub struct Metrics(Arc<Counted>);

struct Counted {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Histograms<Routed>,
    connections: Gauge,
    turned_away: Counter,
    hits: Family<Hit, Counter>,
    cooks: Family<Cook, Counter>,
    cook_seconds: Histograms<Cooked>,
    cooked_bytes: Family<Cooked, Counter>,
    segments: Family<Segments, Counter>,
    reads: Reads,
    log: LogReading,
    fetches: Family<Fetch, Counter>,
    fetch_seconds: Histograms<Source>,
    fetched_bytes: Family<Source, Counter>,
}

/// The form in which metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format, version 0.0.4: what everything reads.
    Text,
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
}

impl Form {
    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let hits = Family::<Hit, Counter>::default();
        // What there is none of yet is a zero and not nothing, so that a rule can compare it.
        drop(hits.get_or_create(&Hit { by: "larder" }));
        let mut counted = Counted {
            log: LogReading::new(hits.get_or_create_owned(&Hit { by: "nginx" })),
            hits,
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
            connections: Gauge::default(),
            turned_away: Counter::default(),
            cooks: Family::default(),
            cook_seconds: Family::new_with_constructor(|| Histogram::new(WORK_SECONDS)),
            cooked_bytes: Family::default(),
            segments: Family::default(),
            reads: Reads::default(),
            fetches: Family::default(),
            fetch_seconds: Family::new_with_constructor(|| Histogram::new(WORK_SECONDS)),
            fetched_bytes: Family::default(),
            registry: Registry::with_prefix("larder"),
        };
        counted.register();
        Self(Arc::new(counted))
    }
}

impl Counted {
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("http_requests", "Requests answered, by route and status", self.requests.clone());
        all.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its answer; sending the body is not in it",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        all.register("http_connections", "Connections that are open", self.connections.clone());
        let help = "Connections that got no place, for all who had one were at something";
        all.register("http_turned_away", help, self.turned_away.clone());
        all.register(
            "hits",
            "Fetches that count as uses of a bundle, by who answered; those of nginx as its access log is read",
            self.hits.clone(),
        );
        all.register("cooks", "Cooks of this process that ended, by what came of them", self.cooks.clone());
        all.register_with_unit(
            "cook_duration",
            "Time of the cooks that made a bundle",
            Unit::Seconds,
            self.cook_seconds.clone(),
        );
        all.register_with_unit("cooked", "Size of the bundles made", Unit::Bytes, self.cooked_bytes.clone());
        let help = "Segments of the flat bundles made: copied from other bundles, or made of objects";
        all.register("cooked_segments", help, self.segments.clone());
        self.reads.register(all);
        self.log.register(all);
        all.register("archiver_fetches", "Fetches of the Archiver that ended, by source", self.fetches.clone());
        all.register_with_unit(
            "archiver_fetch_duration",
            "Time of the fetches that brought an archive",
            Unit::Seconds,
            self.fetch_seconds.clone(),
        );
        all.register_with_unit(
            "archiver_fetched",
            "Size of the archives fetched",
            Unit::Bytes,
            self.fetched_bytes.clone(),
        );
    }
}

impl Metrics {
    /// All that was counted, and `figures`.
    #[must_use]
    pub fn render(&self, figures: &Figures, form: Form) -> String {
        let (held, process) = (figures.registry(), figures.process_registry());
        let all = [&self.0.registry, &held, &process];
        let mut out = String::with_capacity(64 << 10);
        let written = match form {
            Form::Text => all.iter().try_for_each(|registry| prometheus_text::encode(&mut out, registry)),
            Form::OpenMetrics => all
                .iter()
                .try_for_each(|registry| text::encode_registry(&mut out, registry))
                .and_then(|()| text::encode_eof(&mut out)),
        };
        debug_assert!(written.is_ok(), "a string takes whatever is written to it");
        out
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::FailureCode;
    use crate::key::BundleKey;
    use std::time::Duration;

    #[test]
    fn what_is_recorded_is_read_in_both_forms() {
        let metrics = Metrics::default();
        let key: BundleKey = "directory/4b825dc642cb6eb9a060e54bf8d69288fbee4904.tar".parse().unwrap();
        metrics.answered("bundle", 206, Duration::from_millis(3));
        metrics.cook_ended(&key, &CookOutcome::Done { took: Duration::from_secs(2), bytes: 4096 });
        metrics.cook_ended(&key, &CookOutcome::Failed(FailureCode::HostileTree));
        metrics.hit();
        metrics.fetch_ended("hgmo", &FetchOutcome::Failed("missing"));
        let text = metrics.render(&Figures::default(), Form::Text);
        for line in [
            "# TYPE larder_http_requests_total counter",
            "larder_http_requests_total{route=\"bundle\",status=\"206\"} 1",
            "larder_http_request_duration_seconds_bucket{route=\"bundle\",le=\"0.0025\"} 0",
            "larder_http_request_duration_seconds_bucket{route=\"bundle\",le=\"0.005\"} 1",
            "larder_cooks_total{kind=\"directory\",format=\"tar\",outcome=\"done\"} 1",
            "larder_cooks_total{kind=\"directory\",format=\"tar\",outcome=\"hostile-tree\"} 1",
            "larder_cooked_bytes_total{kind=\"directory\",format=\"tar\"} 4096",
            "larder_hits_total{by=\"larder\"} 1",
            "larder_hits_total{by=\"nginx\"} 0",
            "larder_archiver_fetches_total{source=\"hgmo\",outcome=\"missing\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        let open = metrics.render(&Figures::default(), Form::OpenMetrics);
        assert!(open.contains("# TYPE larder_http_requests counter\n") && open.ends_with("# EOF\n"), "{open}");
        assert_eq!(open.matches("# EOF").count(), 1);
    }
}
