//! Settings: flags over `LARDER_*` over `larder.toml` over the defaults, validated once.
//!
//! Owns [`Settings`], which holds plain values and no live handle, and the three places they come
//! from. An unknown key in the file is an error that names it. `larder config` prints what is in
//! force in the form of the file.

mod cors;
mod listen;
mod raw;
mod span;
mod text;

pub use cors::Cors;
pub use listen::Listen;
pub use raw::Raw;
pub use span::Span;

use crate::archiver::settings::Archiver;
use crate::limits::{MinFree, Mode, Policy, Role};
use crate::origins::Transport;
use crate::upstream::settings::Upstream;
use anyhow::{Context, bail};
use bytesize::ByteSize;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is logged unless something else is said.
pub const DEFAULT_LOG: &str = "warn,larder=info";

/// Settings in force. Serializes as a `larder.toml` that says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Folder of the store and the catalogue.
    pub data: PathBuf,
    /// Repositories, and folders of repositories.
    pub git: Vec<PathBuf>,
    /// Repositories below these are served where a link under `git` leads to them.
    pub follow_links: Vec<PathBuf>,
    /// Where to listen.
    pub listen: Listen,
    /// Where `/metrics` is, when not with everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics_listen: Option<Listen>,
    /// The URL of larder's root without a trailing slash; known at start-up when it was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Empty, or a path that begins with a slash and does not end with one.
    pub root_path: String,
    /// What becomes of orders, and what is written.
    pub mode: Mode,
    /// What this process does of it.
    pub role: Role,
    /// What is logged, and in which form.
    pub log: String,
    /// Pages of which origins may read what is public.
    pub cors: Cors,
    /// Cooks at once.
    pub workers: usize,
    /// Threads of one cook.
    pub cook_threads: usize,
    /// Cooks that may wait.
    pub max_queue: u64,
    /// Largest tar stream, in bytes.
    #[serde(serialize_with = "text::size")]
    pub max_bundle_size: u64,
    /// Longest time of one cook.
    #[serde(serialize_with = "text::span")]
    pub cook_timeout: Duration,
    /// Whether `gitfast.gz` may be made without what fast-import has no word for.
    pub gitfast_lossy: bool,
    /// How long a stop waits for what is running.
    #[serde(serialize_with = "text::span")]
    pub stop_grace: Duration,
    /// Most bytes on disk of all bundles together.
    #[serde(serialize_with = "text::optional_size", skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Space that stays free.
    pub min_free: MinFree,
    /// What was not used for longer is collected.
    #[serde(serialize_with = "text::optional_span", skip_serializing_if = "Option::is_none")]
    pub max_idle: Option<Duration>,
    /// What was used less than this ago is never collected.
    #[serde(serialize_with = "text::span")]
    pub grace: Duration,
    /// What is collected first.
    pub policy: Policy,
    /// How git may reach the origins it mirrors.
    pub origin_transports: Vec<Transport>,
    /// Whether the host of an origin may be inside the network.
    pub origin_private: bool,
    /// Longest time of a visit to an origin.
    #[serde(serialize_with = "text::span")]
    pub origin_timeout: Duration,
    /// Most bytes on disk of the mirror of an origin.
    #[serde(serialize_with = "text::size")]
    pub origin_max_size: u64,
    /// What the URLs of repositories under `git` begin with.
    pub local_origins: String,
    /// Whether a GET of `/archive` orders what is not there.
    pub cook_by_name: bool,
    /// How often those are looked at; zero for never.
    #[serde(serialize_with = "text::span")]
    pub snapshot_interval: Duration,
    /// Most bytes on disk of what upstreams gave.
    #[serde(serialize_with = "text::size")]
    pub upstream_max_size: u64,
    /// How long an upstream is waited for.
    #[serde(serialize_with = "text::span")]
    pub upstream_timeout: Duration,
    /// Things asked of upstreams at once.
    pub upstream_at_once: usize,
    /// The access log of the web server in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<PathBuf>,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
    /// The server that `larder get` asks for a SWHID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Vaults that are asked for what no archive here has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Upstream>,
    /// Upstreams of archives.
    pub archiver: Archiver,
}

impl Settings {
    /// Validates `raw` and fills in the defaults.
    ///
    /// # Errors
    /// A value that cannot be used; the message names the setting.
    pub fn new(raw: Raw) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = Self {
            data: match raw.data {
                Some(data) => std::path::absolute(&data).with_context(|| format!("data = {}", data.display()))?,
                None => default_data()?,
            },
            git: raw.git,
            follow_links: raw.follow_links.unwrap_or_default(),
            listen: raw.listen.unwrap_or_default(),
            metrics_listen: raw.metrics_listen,
            public_url: raw.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            root_path: root_path(raw.root_path.as_deref().unwrap_or_default())?,
            mode: raw.mode.unwrap_or_default(),
            role: raw.role.unwrap_or_default(),
            log: raw.log.unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            cors: Cors::new(raw.cors)?,
            workers: raw.workers.unwrap_or(cores),
            cook_threads: raw.cook_threads.unwrap_or(cores),
            max_queue: raw.max_queue.unwrap_or(10_000),
            max_bundle_size: raw.max_bundle_size.unwrap_or(ByteSize::gib(16)).as_u64(),
            cook_timeout: raw.cook_timeout.map_or(Duration::from_hours(1), |span| span.0),
            gitfast_lossy: raw.gitfast_lossy.unwrap_or(false),
            stop_grace: raw.stop_grace.map_or(Duration::from_secs(30), |span| span.0),
            max_size: raw.max_size.map(|size| size.as_u64()),
            min_free: raw.min_free.unwrap_or(MinFree::Percent(5)),
            max_idle: raw.max_idle.map(|span| span.0),
            grace: raw.grace.map_or(Duration::from_mins(6), |span| span.0),
            policy: raw.policy.unwrap_or_default(),
            origin_transports: raw.origin_transports.unwrap_or_else(|| vec![Transport::Https]),
            origin_private: raw.origin_private.unwrap_or(false),
            origin_timeout: raw.origin_timeout.map_or(Duration::from_hours(1), |span| span.0),
            origin_max_size: raw.origin_max_size.unwrap_or(ByteSize::gib(16)).as_u64(),
            local_origins: local_origins(raw.local_origins.as_deref())?,
            cook_by_name: raw.cook_by_name.unwrap_or(false),
            snapshot_interval: raw.snapshot_interval.map_or(Duration::from_secs(2), |span| span.0),
            upstream: Upstream::all(raw.upstream)?,
            upstream_max_size: raw.upstream_max_size.unwrap_or(ByteSize::gib(16)).as_u64(),
            upstream_timeout: raw.upstream_timeout.map_or(Duration::from_hours(24), |span| span.0),
            upstream_at_once: raw.upstream_at_once.unwrap_or(4),
            access_log: raw.access_log.map(|log| access_log(&log)).transpose()?,
            max_connections: raw.max_connections.unwrap_or(1024),
            max_connections_per_address: raw.max_connections_per_address.unwrap_or(256),
            server: raw.server,
            archiver: Archiver::new(raw.archiver)?,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("workers", self.workers),
            ("cook_threads", self.cook_threads),
            ("upstream_at_once", self.upstream_at_once),
            ("max_connections", self.max_connections),
            ("max_connections_per_address", self.max_connections_per_address),
        ] {
            if value == 0 {
                bail!("{name} must be at least 1");
            }
        }
        if self.upstream_at_once > 64 {
            bail!("upstream_at_once must be at most 64");
        }
        if self.cook_threads > 256 || self.workers > 1024 {
            bail!("at most 1024 workers and 256 cook_threads");
        }
        if self.mode != Mode::Normal && self.role != Role::All {
            bail!("role = {} is of mode normal: in mode {} nothing is left to others", self.role, self.mode);
        }
        if let Some(url) = &self.public_url
            && (!(url.starts_with("http://") || url.starts_with("https://"))
                || !url.bytes().all(|b| b.is_ascii_graphic()))
        {
            bail!("public_url must be an http:// or https:// URL, not {url:?}");
        }
        if self.public_url.is_none() && !self.listen.is_loopback() {
            bail!(
                "public_url is required when larder listens on {}: absolute URLs come from it, for a Host header is \
                 not to be believed",
                self.listen
            );
        }
        Ok(())
    }

    /// The settings as a `larder.toml`.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        toml::to_string(self).context("cannot write the settings as TOML")
    }
}

fn default_data() -> anyhow::Result<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/larder"));
    }
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("larder"))
        .context("say with --data where to keep the bundles: there is no HOME")
}

fn access_log(path: &Path) -> anyhow::Result<PathBuf> {
    if path.file_name().is_none() {
        bail!("access_log must be a file, not {}", path.display());
    }
    std::path::absolute(path).with_context(|| format!("access_log = {}", path.display()))
}

fn local_origins(text: Option<&str>) -> anyhow::Result<String> {
    let prefix = text.unwrap_or("local:");
    if prefix == "local:" || prefix.contains("://") && prefix.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(prefix.to_owned())
    } else {
        bail!("local_origins must be a URL that paths are appended to, like https://git.example.org/, not {prefix:?}")
    }
}

fn root_path(text: &str) -> anyhow::Result<String> {
    let path = text.trim_matches('/');
    let legal = |segment: &str| {
        !segment.is_empty()
            && !matches!(segment, "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    if path.is_empty() {
        Ok(String::new())
    } else if path.split('/').all(legal) {
        Ok(format!("/{path}"))
    } else {
        bail!("root_path must be a path of letters, digits and -._~, not {text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Raw>("max_sise = \"1GiB\"").unwrap_err().to_string();
        assert!(error.contains("max_sise"), "{error}");
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_settings() {
        let written = raw(r#"
            data = "/srv/larder"
            git = ["/srv/git", "/srv/mirrors"]
            follow_links = ["/srv/repositories"]
            listen = "[::1]:99"
            root_path = "/vault/"
            max_size = "200GiB"
            min_free = "12%"
            max_idle = "90d"
            grace = "10m"
            origin_transports = ["https", "ssh"]
            local_origins = "https://git.example.org/"
            policy = "gdsf"
            access_log = "/var/log/larder/access.log"
            cook_timeout = "1h 30m"
            cors = ["https://forge.example", "http://localhost:8080"]
        "#);
        let settings = Settings::new(written).unwrap();
        assert_eq!(settings.max_size, Some(200 << 30));
        assert_eq!(settings.root_path, "/vault");
        assert_eq!(Settings::new(raw(&settings.to_toml().unwrap())).unwrap(), settings);
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = raw("workers = 3\nmax_queue = 7\ngit = [\"/a\"]\ndata = \"/d\"");
        let merged = Settings::new(raw("workers = 5").over(file)).unwrap();
        assert_eq!((merged.workers, merged.max_queue, merged.git), (5, 7, vec![PathBuf::from("/a")]));
    }

    #[test]
    fn links_are_followed_nowhere_anywhere_or_below_some_paths() {
        let read = |text: &str| Settings::new(raw(&format!("{text}\ndata = \"/d\""))).unwrap().follow_links;
        assert_eq!(read(""), Vec::<PathBuf>::new());
        assert_eq!(read("follow_links = false"), Vec::<PathBuf>::new());
        assert_eq!(read("follow_links = true"), [PathBuf::from("/")]);
        assert_eq!(read("follow_links = [\"/a:b\", \"/c\"]"), [PathBuf::from("/a:b"), PathBuf::from("/c")]);
        assert!(toml::from_str::<Raw>("follow_links = 7").is_err());
    }

    #[test]
    fn values_that_cannot_be_used_name_their_setting() {
        for (text, name) in [
            ("workers = 0", "workers"),
            ("listen = \"0.0.0.0:80\"", "public_url"),
            ("public_url = \"ftp://x\"", "public_url"),
            ("root_path = \"/a/../b\"", "root_path"),
            ("local_origins = \"here there\"", "local_origins"),
            ("cors = [\"https://a.example/path\"]", "cors"),
            ("cors = [\"a.example\"]", "cors"),
            ("cors = [\"*\", \"https://a.example\"]", "cors"),
        ] {
            let error = format!("{:#}", Settings::new(raw(&format!("{text}\ndata = \"/d\""))).unwrap_err());
            assert!(error.contains(name), "{text}: {error}");
        }
        for text in ["min_free = \"100%\"", "min_free = \"lots\"", "cook_timeout = \"soon\"", "listen = \"here\""] {
            assert!(toml::from_str::<Raw>(text).is_err(), "{text}");
        }
    }
}
