//! What the user wrote, before it is validated: one list of names for flags, variables and the file.

use super::{Listen, Span, text};
use crate::archiver::settings::RawArchiver;
use crate::limits::{MinFree, Mode, Policy, Role};
use crate::origins::Transport;
use crate::upstream::settings::RawUpstream;
use anyhow::Context;
use bytesize::ByteSize;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What the user wrote, in one place: a field is `None` where nothing was said.
///
/// The same names serve as flags (`--max-size`), variables (`LARDER_MAX_SIZE`) and keys of the file
/// (`max_size`).
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Folder of the store and the catalogue
    #[arg(long, env = "LARDER_DATA", global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Git repository, or folder of repositories at any depth; may be given several times
    // A variable has one a line: every other byte may be part of a path.
    #[arg(long, env = "LARDER_GIT", global = true, value_name = "DIR", value_delimiter = '\n')]
    #[serde(default)]
    pub git: Vec<PathBuf>,
    /// Serve repositories elsewhere that a link under --git leads to: those below DIR; without DIR, any
    /// [default: none]
    #[arg(
        long,
        env = "LARDER_FOLLOW_LINKS",
        global = true,
        value_name = "DIR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/",
        value_delimiter = '\n'
    )]
    #[serde(default, deserialize_with = "text::paths_or_any")]
    pub follow_links: Option<Vec<PathBuf>>,
    /// Address to listen on: HOST:PORT, or unix:PATH [default: 127.0.0.1:8417]
    #[arg(long, env = "LARDER_LISTEN", global = true, value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// Address of its own for /metrics: HOST:PORT, or unix:PATH; else it is answered to this machine alone
    #[arg(long, env = "LARDER_METRICS_LISTEN", global = true, value_name = "ADDR")]
    pub metrics_listen: Option<Listen>,
    /// URL under which clients reach larder; required when it listens beyond loopback [default: http://LISTEN]
    #[arg(long, env = "LARDER_PUBLIC_URL", global = true, value_name = "URL")]
    pub public_url: Option<String>,
    /// Path below which everything is served [default: none]
    #[arg(long, env = "LARDER_ROOT_PATH", global = true, value_name = "PATH")]
    pub root_path: Option<String>,
    /// normal; read-only, which cooks and writes nothing; or pass-through, which cooks and keeps nothing
    /// [default: normal]
    #[arg(long, env = "LARDER_MODE", global = true, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// all; front, which answers requests and leaves cooking and fetching to other processes on the same data; or
    /// cook, which does that for them [default: all]
    #[arg(long, env = "LARDER_ROLE", global = true, value_name = "ROLE")]
    pub role: Option<Role>,
    /// What is logged: warn, info, debug, larder::kitchen=debug; json among it for JSON [default: warn,larder=info]
    #[arg(long, env = "LARDER_LOG", global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Pages of which origins may read what is public: `https://forge.example`, or * for all [default: *]
    #[arg(long, env = "LARDER_CORS", global = true, value_name = "ORIGINS", value_delimiter = ',')]
    pub cors: Option<Vec<String>>,
    /// Cooks at once [default: number of cores]
    #[arg(long, env = "LARDER_WORKERS", global = true, value_name = "N")]
    pub workers: Option<usize>,
    /// Threads of one cook [default: number of cores]
    #[arg(long, env = "LARDER_COOK_THREADS", global = true, value_name = "N")]
    pub cook_threads: Option<usize>,
    /// Cooks that may wait; more are refused with 503 [default: 10000]
    #[arg(long, env = "LARDER_MAX_QUEUE", global = true, value_name = "N")]
    pub max_queue: Option<u64>,
    /// Largest bundle: of a tree its tar stream, of a history its pack or fast-import stream, before compression
    /// [default: 16GiB]
    #[arg(long, env = "LARDER_MAX_BUNDLE_SIZE", global = true, value_name = "SIZE")]
    pub max_bundle_size: Option<ByteSize>,
    /// Longest time of one cook [default: 1h]
    #[arg(long, env = "LARDER_COOK_TIMEOUT", global = true, value_name = "TIME")]
    pub cook_timeout: Option<Span>,
    /// Leave out of gitfast.gz what fast-import has no word for (mergetag), and mark the bundle lossy [default: false]
    #[arg(
        long,
        env = "LARDER_GITFAST_LOSSY",
        global = true,

        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub gitfast_lossy: Option<bool>,
    /// How long running cooks and downloads may go on when larder is told to stop [default: 30s]
    #[arg(long, env = "LARDER_STOP_GRACE", global = true, value_name = "TIME")]
    pub stop_grace: Option<Span>,
    /// Most bytes on disk that all bundles may take; none unless set
    #[arg(long, env = "LARDER_MAX_SIZE", global = true, value_name = "SIZE")]
    pub max_size: Option<ByteSize>,
    /// Space that stays free on the disk, in bytes or as a share of it [default: 5%]
    #[arg(long, env = "LARDER_MIN_FREE", global = true, value_name = "SIZE|PERCENT")]
    pub min_free: Option<MinFree>,
    /// Collect what was not used for longer; never unless set
    #[arg(long, env = "LARDER_MAX_IDLE", global = true, value_name = "TIME")]
    pub max_idle: Option<Span>,
    /// Never collect what was used less than this ago [default: 6m]
    #[arg(long, env = "LARDER_GRACE", global = true, value_name = "TIME")]
    pub grace: Option<Span>,
    /// What is collected first: lru, or gdsf, which weighs size and cooking time too [default: lru]
    #[arg(long, env = "LARDER_POLICY", global = true, value_name = "POLICY")]
    pub policy: Option<Policy>,
    /// How git may reach the origins it mirrors: https, http, git, ssh, file [default: https]
    #[arg(long, env = "LARDER_ORIGIN_TRANSPORTS", global = true, value_name = "LIST", value_delimiter = ',')]
    pub origin_transports: Option<Vec<Transport>>,
    /// Whether the host of an origin may be inside the network [default: false]
    #[arg(long, env = "LARDER_ORIGIN_PRIVATE", global = true, value_name = "BOOL")]
    pub origin_private: Option<bool>,
    /// Longest time of a visit to an origin [default: 1h]
    #[arg(long, env = "LARDER_ORIGIN_TIMEOUT", global = true, value_name = "TIME")]
    pub origin_timeout: Option<Span>,
    /// Most bytes on disk of the mirror of an origin [default: 16GiB]
    #[arg(long, env = "LARDER_ORIGIN_MAX_SIZE", global = true, value_name = "SIZE")]
    pub origin_max_size: Option<ByteSize>,
    /// What the URLs of repositories under --git begin with [default: local:]
    #[arg(long, env = "LARDER_LOCAL_ORIGINS", global = true, value_name = "URL")]
    pub local_origins: Option<String>,
    /// A GET of /archive orders what is not there, and waits for it, as the archive of a forge does [default: false]
    #[arg(
        long,
        env = "LARDER_COOK_BY_NAME",
        global = true,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub cook_by_name: Option<bool>,
    /// How often repositories under --git are looked at for a new snapshot; 0s for never [default: 2s]
    #[arg(long, env = "LARDER_SNAPSHOT_INTERVAL", global = true, value_name = "TIME")]
    pub snapshot_interval: Option<Span>,
    /// Vault that is asked for what no repository here has (`https://archive.softwareheritage.org`, or another
    /// larder); may be given several times [default: none]
    #[arg(long, env = "LARDER_UPSTREAM", global = true, value_name = "URL", value_delimiter = ',')]
    #[serde(default)]
    pub upstream: Vec<RawUpstream>,
    /// Most bytes on disk of what those vaults gave [default: 16GiB]
    #[arg(long, env = "LARDER_UPSTREAM_MAX_SIZE", global = true, value_name = "SIZE")]
    pub upstream_max_size: Option<ByteSize>,
    /// How long a vault is waited for [default: 1day]
    #[arg(long, env = "LARDER_UPSTREAM_TIMEOUT", global = true, value_name = "TIME")]
    pub upstream_timeout: Option<Span>,
    /// Things asked of those vaults at once [default: 4]
    #[arg(long, env = "LARDER_UPSTREAM_AT_ONCE", global = true, value_name = "N")]
    pub upstream_at_once: Option<usize>,
    /// Access log of the web server in front, in larder's format; its hits are counted
    #[arg(long, env = "LARDER_ACCESS_LOG", global = true, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// Connections at once, in all [default: 1024]
    #[arg(long, env = "LARDER_MAX_CONNECTIONS", global = true, value_name = "N")]
    pub max_connections: Option<usize>,
    /// Connections at once from one address [default: 256]
    #[arg(long, env = "LARDER_MAX_CONNECTIONS_PER_ADDRESS", global = true, value_name = "N")]
    pub max_connections_per_address: Option<usize>,
    /// URL of the server that `larder get` asks for a SWHID: `LARDER_SERVER`; its flag is that command's own
    #[arg(skip = std::env::var("LARDER_SERVER").ok())]
    pub server: Option<String>,
    /// Upstreams of archives: a table of the file only
    #[arg(skip)]
    #[serde(default)]
    pub archiver: RawArchiver,
}

impl Raw {
    /// Reads a file of settings.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    /// These settings, and `below`'s where nothing was said.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            data: self.data.or(below.data),
            git: if self.git.is_empty() { below.git } else { self.git },
            follow_links: self.follow_links.or(below.follow_links),
            listen: self.listen.or(below.listen),
            metrics_listen: self.metrics_listen.or(below.metrics_listen),
            public_url: self.public_url.or(below.public_url),
            root_path: self.root_path.or(below.root_path),
            mode: self.mode.or(below.mode),
            role: self.role.or(below.role),
            log: self.log.or(below.log),
            cors: self.cors.or(below.cors),
            workers: self.workers.or(below.workers),
            cook_threads: self.cook_threads.or(below.cook_threads),
            max_queue: self.max_queue.or(below.max_queue),
            max_bundle_size: self.max_bundle_size.or(below.max_bundle_size),
            cook_timeout: self.cook_timeout.or(below.cook_timeout),
            gitfast_lossy: self.gitfast_lossy.or(below.gitfast_lossy),
            stop_grace: self.stop_grace.or(below.stop_grace),
            max_size: self.max_size.or(below.max_size),
            min_free: self.min_free.or(below.min_free),
            max_idle: self.max_idle.or(below.max_idle),
            grace: self.grace.or(below.grace),
            policy: self.policy.or(below.policy),
            origin_transports: self.origin_transports.or(below.origin_transports),
            origin_private: self.origin_private.or(below.origin_private),
            origin_timeout: self.origin_timeout.or(below.origin_timeout),
            origin_max_size: self.origin_max_size.or(below.origin_max_size),
            local_origins: self.local_origins.or(below.local_origins),
            cook_by_name: self.cook_by_name.or(below.cook_by_name),
            snapshot_interval: self.snapshot_interval.or(below.snapshot_interval),
            upstream: if self.upstream.is_empty() { below.upstream } else { self.upstream },
            upstream_max_size: self.upstream_max_size.or(below.upstream_max_size),
            upstream_timeout: self.upstream_timeout.or(below.upstream_timeout),
            upstream_at_once: self.upstream_at_once.or(below.upstream_at_once),
            access_log: self.access_log.or(below.access_log),
            max_connections: self.max_connections.or(below.max_connections),
            max_connections_per_address: self.max_connections_per_address.or(below.max_connections_per_address),
            server: self.server.or(below.server),
            archiver: self.archiver.over(below.archiver),
        }
    }
}
