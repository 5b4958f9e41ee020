//! Settings: flags over `LARDER_*` over `larder.toml` over the defaults, validated once.
//!
//! Owns [`Settings`], which holds plain values and no live handle, and the three places they come
//! from. An unknown key in the file is an error that names it. `larder config` prints what is in
//! force in the form of the file.

use crate::limits::{MinFree, Policy};
use anyhow::{Context, bail};
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

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
    #[arg(long, env = "LARDER_GIT", global = true, value_name = "DIR", value_delimiter = ':')]
    #[serde(default)]
    pub git: Vec<PathBuf>,
    /// Address to listen on: HOST:PORT, or unix:PATH
    #[arg(long, env = "LARDER_LISTEN", global = true, hide_short_help = true, value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// URL under which clients reach larder; required when it listens beyond loopback
    #[arg(long, env = "LARDER_PUBLIC_URL", global = true, hide_short_help = true, value_name = "URL")]
    pub public_url: Option<String>,
    /// Path below which everything is served
    #[arg(long, env = "LARDER_ROOT_PATH", global = true, hide_short_help = true, value_name = "PATH")]
    pub root_path: Option<String>,
    /// Cooks at once
    #[arg(long, env = "LARDER_WORKERS", global = true, hide_short_help = true, value_name = "N")]
    pub workers: Option<usize>,
    /// Threads of one cook
    #[arg(long, env = "LARDER_COOK_THREADS", global = true, hide_short_help = true, value_name = "N")]
    pub cook_threads: Option<usize>,
    /// Cooks that may wait; more are refused with 503
    #[arg(long, env = "LARDER_MAX_QUEUE", global = true, hide_short_help = true, value_name = "N")]
    pub max_queue: Option<u64>,
    /// Largest bundle, counted as the tar stream before it is deflated
    #[arg(long, env = "LARDER_MAX_BUNDLE_SIZE", global = true, hide_short_help = true, value_name = "SIZE")]
    pub max_bundle_size: Option<ByteSize>,
    /// Longest time of one cook
    #[arg(long, env = "LARDER_COOK_TIMEOUT", global = true, hide_short_help = true, value_name = "TIME")]
    pub cook_timeout: Option<Span>,
    /// How long running cooks and downloads may go on when larder is told to stop
    #[arg(long, env = "LARDER_STOP_GRACE", global = true, hide_short_help = true, value_name = "TIME")]
    pub stop_grace: Option<Span>,
    /// Most bytes on disk that all bundles may take; none unless set
    #[arg(long, env = "LARDER_MAX_SIZE", global = true, hide_short_help = true, value_name = "SIZE")]
    pub max_size: Option<ByteSize>,
    /// Space that stays free on the disk, in bytes or as a share of it
    #[arg(long, env = "LARDER_MIN_FREE", global = true, hide_short_help = true, value_name = "SIZE|PERCENT")]
    pub min_free: Option<MinFree>,
    /// Collect what was not used for longer; never unless set
    #[arg(long, env = "LARDER_MAX_IDLE", global = true, hide_short_help = true, value_name = "TIME")]
    pub max_idle: Option<Span>,
    /// Never collect what was used less than this ago
    #[arg(long, env = "LARDER_GRACE", global = true, hide_short_help = true, value_name = "TIME")]
    pub grace: Option<Span>,
    /// What is collected first: lru, or gdsf, which weighs size and cooking time too
    #[arg(long, env = "LARDER_POLICY", global = true, hide_short_help = true, value_name = "POLICY")]
    pub policy: Option<Policy>,
    /// Access log of the web server in front, in larder's format; its hits are counted
    #[arg(long, env = "LARDER_ACCESS_LOG", global = true, hide_short_help = true, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// Connections at once, in all
    #[arg(long, env = "LARDER_MAX_CONNECTIONS", global = true, hide_short_help = true, value_name = "N")]
    pub max_connections: Option<usize>,
    /// Connections at once from one address
    #[arg(long, env = "LARDER_MAX_CONNECTIONS_PER_ADDRESS", global = true, hide_short_help = true, value_name = "N")]
    pub max_connections_per_address: Option<usize>,
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
            listen: self.listen.or(below.listen),
            public_url: self.public_url.or(below.public_url),
            root_path: self.root_path.or(below.root_path),
            workers: self.workers.or(below.workers),
            cook_threads: self.cook_threads.or(below.cook_threads),
            max_queue: self.max_queue.or(below.max_queue),
            max_bundle_size: self.max_bundle_size.or(below.max_bundle_size),
            cook_timeout: self.cook_timeout.or(below.cook_timeout),
            stop_grace: self.stop_grace.or(below.stop_grace),
            max_size: self.max_size.or(below.max_size),
            min_free: self.min_free.or(below.min_free),
            max_idle: self.max_idle.or(below.max_idle),
            grace: self.grace.or(below.grace),
            policy: self.policy.or(below.policy),
            access_log: self.access_log.or(below.access_log),
            max_connections: self.max_connections.or(below.max_connections),
            max_connections_per_address: self.max_connections_per_address.or(below.max_connections_per_address),
        }
    }
}

/// Settings in force. Serializes as a `larder.toml` that says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Folder of the store and the catalogue.
    pub data: PathBuf,
    /// Repositories, and folders of repositories.
    pub git: Vec<PathBuf>,
    /// Where to listen.
    pub listen: Listen,
    /// The URL of larder's root without a trailing slash; known at start-up when it was not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Empty, or a path that begins with a slash and does not end with one.
    pub root_path: String,
    /// Cooks at once.
    pub workers: usize,
    /// Threads of one cook.
    pub cook_threads: usize,
    /// Cooks that may wait.
    pub max_queue: u64,
    /// Largest tar stream, in bytes.
    #[serde(serialize_with = "size")]
    pub max_bundle_size: u64,
    /// Longest time of one cook.
    #[serde(serialize_with = "span")]
    pub cook_timeout: Duration,
    /// How long a stop waits for what is running.
    #[serde(serialize_with = "span")]
    pub stop_grace: Duration,
    /// Most bytes on disk of all bundles together.
    #[serde(serialize_with = "optional_size", skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// Space that stays free.
    pub min_free: MinFree,
    /// What was not used for longer is collected.
    #[serde(serialize_with = "optional_span", skip_serializing_if = "Option::is_none")]
    pub max_idle: Option<Duration>,
    /// What was used less than this ago is never collected.
    #[serde(serialize_with = "span")]
    pub grace: Duration,
    /// What is collected first.
    pub policy: Policy,
    /// The access log of the web server in front.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<PathBuf>,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address.
    pub max_connections_per_address: usize,
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
            listen: raw.listen.unwrap_or_default(),
            public_url: raw.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            root_path: root_path(raw.root_path.as_deref().unwrap_or_default())?,
            workers: raw.workers.unwrap_or(cores),
            cook_threads: raw.cook_threads.unwrap_or(cores),
            max_queue: raw.max_queue.unwrap_or(10_000),
            max_bundle_size: raw.max_bundle_size.unwrap_or(ByteSize::gib(16)).as_u64(),
            cook_timeout: raw.cook_timeout.map_or(Duration::from_hours(1), |span| span.0),
            stop_grace: raw.stop_grace.map_or(Duration::from_secs(30), |span| span.0),
            max_size: raw.max_size.map(|size| size.as_u64()),
            min_free: raw.min_free.unwrap_or(MinFree::Percent(5)),
            max_idle: raw.max_idle.map(|span| span.0),
            grace: raw.grace.map_or(Duration::from_mins(6), |span| span.0),
            policy: raw.policy.unwrap_or_default(),
            access_log: raw.access_log.map(|log| access_log(&log)).transpose()?,
            max_connections: raw.max_connections.unwrap_or(1024),
            max_connections_per_address: raw.max_connections_per_address.unwrap_or(256),
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("workers", self.workers),
            ("cook_threads", self.cook_threads),
            ("max_connections", self.max_connections),
            ("max_connections_per_address", self.max_connections_per_address),
        ] {
            if value == 0 {
                bail!("{name} must be at least 1");
            }
        }
        if self.cook_threads > 256 || self.workers > 1024 {
            bail!("at most 1024 workers and 256 cook_threads");
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

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/larder/larder.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix stream socket.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can reach it. A Unix socket is meant for a proxy, which others can.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.ip().is_loopback())
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 8417)))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text.strip_prefix("unix:") {
            Some("") => bail!("a path is missing after unix:"),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None => text
                .replace("localhost:", "127.0.0.1:")
                .parse()
                .map(Self::Tcp)
                .with_context(|| format!("{text:?} is neither ADDRESS:PORT nor unix:PATH")),
        }
    }
}

/// A length of time as people write it: `30s`, `6m`, `1h 30m`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

/// `Deserialize` by `FromStr`, `Serialize` by `Display`.
macro_rules! as_text {
    (from: $($from:ty),*; to: $($to:ty),*) => {
        $(impl<'de> Deserialize<'de> for $from {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        })*
        $(impl Serialize for $to {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        })*
    };
}
as_text! { from: Listen, MinFree, Policy, Span; to: Listen, MinFree, Policy }

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's serialize_with passes a reference to the field")]
fn size<S: serde::Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bytes}B"))
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
fn optional_size<S: serde::Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    size(&bytes.unwrap_or_default(), serializer)
}

fn span<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*span))
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
fn optional_span<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    span(&time.unwrap_or_default(), serializer)
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
            listen = "[::1]:99"
            root_path = "/vault/"
            max_size = "200GiB"
            min_free = "12%"
            max_idle = "90d"
            grace = "10m"
            policy = "gdsf"
            access_log = "/var/log/larder/access.log"
            cook_timeout = "1h 30m"
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
    fn values_that_cannot_be_used_name_their_setting() {
        for (text, name) in [
            ("workers = 0", "workers"),
            ("listen = \"0.0.0.0:80\"", "public_url"),
            ("public_url = \"ftp://x\"", "public_url"),
            ("root_path = \"/a/../b\"", "root_path"),
        ] {
            let error = format!("{:#}", Settings::new(raw(&format!("{text}\ndata = \"/d\""))).unwrap_err());
            assert!(error.contains(name), "{text}: {error}");
        }
        for text in ["min_free = \"100%\"", "min_free = \"lots\"", "cook_timeout = \"soon\"", "listen = \"here\""] {
            assert!(toml::from_str::<Raw>(text).is_err(), "{text}");
        }
    }
}
