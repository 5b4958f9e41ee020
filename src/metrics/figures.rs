//! What is looked up when somebody asks: how much there is now of what nobody counts as it happens.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How things stand at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Of the store, the queue and the log; `None` when the disk or the catalogue does not answer.
    pub holdings: Option<Holdings>,
    /// The words of `/readyz` for what hinders larder.
    pub troubles: Vec<&'static str>,
    /// The Archiver's regions.
    pub regions: Vec<Region>,
    /// Of the process; `None` where the system does not say.
    pub process: Option<Process>,
}

/// What the store and the catalogue hold. Sizes are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holdings {
    /// Cooks that wait.
    pub queued: u64,
    /// Cooks that a process has claimed.
    pub running: u64,
    /// How long the oldest cook that could begin has waited.
    pub oldest_wait: Duration,
    /// Files in the store.
    pub files: u64,
    /// Bytes on disk that they take.
    pub allocated: u64,
    /// Bytes reserved for drafts.
    pub reserved: u64,
    /// The setting `max_size`.
    pub max_size: Option<u64>,
    /// Bytes that are left on the disk.
    pub free: u64,
    /// Bytes of the disk in all.
    pub disk: u64,
    /// Bytes that `min_free` keeps free.
    pub min_free: u64,
    /// Inodes that are left; `None` on a file system that sets no limit.
    pub free_inodes: Option<u64>,
    /// Files collected since the catalogue was made, by whichever process.
    pub evicted: u64,
    /// Bytes on disk that they took.
    pub evicted_bytes: u64,
    /// For how long they had not been used, in seconds, all together.
    pub evicted_unused: u64,
    /// How long the access log has been waiting to be read; `None` when none is followed.
    pub log_lag: Option<Duration>,
}

/// A region of the Archiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its name in the settings.
    pub name: String,
    /// Whether clients are sent there.
    pub is_up: bool,
}

/// What the system says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Memory that it has, in bytes.
    pub resident: u64,
    /// Address space, in bytes.
    pub virtual_size: u64,
    /// Time on all processors.
    pub cpu: Duration,
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// Threads.
    pub threads: u64,
    /// Files that it has open.
    pub open_files: u64,
    /// Files that it may have open.
    pub max_files: u64,
}

type Count = Gauge<u64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    region: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Figures {
    pub(super) fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("larder");
        let build = Family::<Build, Count>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        all.register("build_info", "The version that runs", build);
        all.register("ready", "Whether larder can do its work, as /readyz says", gauge(self.troubles.is_empty()));
        let troubles = Family::<Code, Count>::default();
        for &code in &self.troubles {
            troubles.get_or_create(&Code { code }).set(1);
        }
        all.register("trouble", "What hinders larder, in the words of /readyz", troubles);
        let regions = Family::<Named, Count>::default();
        for region in &self.regions {
            regions.get_or_create(&Named { region: region.name.clone() }).set(region.is_up.into());
        }
        all.register("archiver_region_up", "Whether clients are sent to a region", regions);
        let help = "Whether the store and the catalogue answered, which the figures of both come from";
        all.register("figures_up", help, gauge(self.holdings.is_some()));
        if let Some(holdings) = &self.holdings {
            holdings.register(&mut all);
        }
        all
    }

    /// Prometheus' own names for what every process has: without a prefix.
    pub(super) fn process_registry(&self) -> Registry {
        let mut all = Registry::with_prefix("process");
        if let Some(process) = &self.process {
            process.register(&mut all);
        }
        all
    }
}

impl Holdings {
    fn register(&self, all: &mut Registry) {
        let queue = Family::<State, Count>::default();
        queue.get_or_create(&State { state: "queued" }).set(self.queued);
        queue.get_or_create(&State { state: "running" }).set(self.running);
        all.register("queue_cooks", "Cooks in the queue: those that wait and those that a process has taken", queue);
        seconds(all, "queue_oldest", "How long the oldest cook that could begin has waited", self.oldest_wait);
        all.register("store_files", "Files in the store, each once however many names it has", gauge(self.files));
        bytes(all, "store_size", "Bytes on disk that the bundles take", self.allocated);
        bytes(all, "store_reserved", "Bytes reserved for bundles that are being made", self.reserved);
        if let Some(max_size) = self.max_size {
            bytes(all, "store_max_size", "The setting max_size", max_size);
        }
        bytes(all, "store_free", "Bytes left on the disk of the store", self.free);
        bytes(all, "store_disk", "Size of the disk of the store", self.disk);
        bytes(all, "store_min_free", "Bytes that min_free keeps free", self.min_free);
        if let Some(inodes) = self.free_inodes {
            all.register("store_free_inodes", "Inodes left on the disk of the store", gauge(inodes));
        }
        let help = "Files that collections removed, of all processes since the catalogue was made";
        all.register("evicted_files", help, ConstCounter::new(self.evicted));
        let help = "Bytes on disk that collections freed";
        all.register_with_unit("evicted", help, Unit::Bytes, ConstCounter::new(self.evicted_bytes));
        let help = "For how long the files removed had not been used, summed up: by the files, their mean age";
        all.register_with_unit("evicted_unused", help, Unit::Seconds, ConstCounter::new(self.evicted_unused));
        if let Some(lag) = self.log_lag {
            let help = "How long the web server's access log has been written without being read to its end";
            seconds(all, "access_log_lag", help, lag);
        }
    }
}

impl Process {
    fn register(&self, all: &mut Registry) {
        bytes(all, "resident_memory", "Memory that the process has", self.resident);
        bytes(all, "virtual_memory", "Address space of the process", self.virtual_size);
        let help = "Time on all processors";
        all.register_with_unit("cpu", help, Unit::Seconds, ConstCounter::new(self.cpu.as_secs_f64()));
        let help = "When the process began, since 1970";
        all.register_with_unit("start_time", help, Unit::Seconds, ConstGauge::new(self.started));
        all.register("threads", "Threads of the process", gauge(self.threads));
        all.register("open_fds", "Files that the process has open", gauge(self.open_files));
        all.register("max_fds", "Files that the process may have open", gauge(self.max_files));
    }
}

fn gauge(value: impl Into<u64>) -> ConstGauge<u64> {
    ConstGauge::new(value.into())
}

fn bytes(all: &mut Registry, name: &str, help: &str, value: u64) {
    all.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(value));
}

fn seconds(all: &mut Registry, name: &str, help: &str, value: Duration) {
    all.register_with_unit(name, help, Unit::Seconds, ConstGauge::new(value.as_secs_f64()));
}
