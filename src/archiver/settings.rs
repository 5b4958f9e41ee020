//! `[archiver]` of the settings: the sources, the regions, and what holds for all of them. Plain values, validated.

use super::region::settings::{RawRegion, Region, RegionError};
use super::source::{RawSource, Source, SourceError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest that a signature of version 4 holds.
const MAX_TTL: Duration = Duration::from_hours(7 * 24);

/// `[archiver]` as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawArchiver {
    #[serde(default)]
    sources: BTreeMap<String, RawSource>,
    #[serde(default)]
    regions: BTreeMap<String, RawRegion>,
    signed_url_ttl: Option<String>,
    upstream_missing: Option<Missing>,
    fetches: Option<usize>,
    max_waiting: Option<u64>,
    remember_failures: Option<String>,
    keep_tasks: Option<String>,
}

impl RawArchiver {
    /// These settings, and `below`'s where nothing was said; a source or a region is taken
    /// whole.
    #[must_use]
    pub fn over(mut self, below: Self) -> Self {
        for (name, source) in below.sources {
            self.sources.entry(name).or_insert(source);
        }
        for (name, region) in below.regions {
            self.regions.entry(name).or_insert(region);
        }
        Self {
            sources: self.sources,
            regions: self.regions,
            signed_url_ttl: self.signed_url_ttl.or(below.signed_url_ttl),
            upstream_missing: self.upstream_missing.or(below.upstream_missing),
            fetches: self.fetches.or(below.fetches),
            max_waiting: self.max_waiting.or(below.max_waiting),
            remember_failures: self.remember_failures.or(below.remember_failures),
            keep_tasks: self.keep_tasks.or(below.keep_tasks),
        }
    }
}

/// What a task says whose upstream has no such archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// FAILURE, with the upstream's status.
    #[default]
    Failure,
    /// SUCCESS without URLs, as clients of old expect.
    Success,
}

/// `[archiver]` in force. Serializes as one that says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archiver {
    /// What a task says whose upstream has no such archive.
    pub upstream_missing: Missing,
    /// Fetches at once, from all upstreams.
    pub fetches: usize,
    /// Tasks that may wait; more are refused with 503.
    pub max_waiting: u64,
    /// A failed fetch is not tried again for so long, whoever asks.
    #[serde(serialize_with = "span")]
    pub remember_failures: Duration,
    /// How long a task that has ended can be asked for.
    #[serde(serialize_with = "span")]
    pub keep_tasks: Duration,
    /// How long a signed URL of a region can be used.
    #[serde(serialize_with = "span")]
    pub signed_url_ttl: Duration,
    /// The sources by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Source>,
    /// The regions by name; without any, clients are sent to larder itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub regions: BTreeMap<String, Region>,
}

impl Archiver {
    /// Validates `raw` and fills in the defaults.
    ///
    /// # Errors
    /// A value that cannot be used; the message names the key.
    pub fn new(raw: RawArchiver) -> Result<Self, SettingsError> {
        let sources = raw.sources.into_iter().map(|(name, source)| Ok((name.clone(), Source::new(&name, source)?)));
        let regions = raw.regions.into_iter().map(|(name, region)| Ok((name.clone(), Region::new(&name, region)?)));
        let settings = Self {
            upstream_missing: raw.upstream_missing.unwrap_or_default(),
            fetches: raw.fetches.unwrap_or(8),
            max_waiting: raw.max_waiting.unwrap_or(1000),
            remember_failures: time("remember_failures", raw.remember_failures, Duration::from_mins(1))?,
            keep_tasks: time("keep_tasks", raw.keep_tasks, Duration::from_hours(24))?,
            signed_url_ttl: time("signed_url_ttl", raw.signed_url_ttl, Duration::from_mins(5))?,
            sources: sources.collect::<Result<_, SourceError>>()?,
            regions: regions.collect::<Result<_, RegionError>>()?,
        };
        if settings.fetches == 0 || settings.fetches > 256 {
            return Err(SettingsError::Value { key: "fetches", what: "is a number from 1 to 256".to_owned() });
        }
        if settings.signed_url_ttl < Duration::from_secs(1) || settings.signed_url_ttl > MAX_TTL {
            return Err(SettingsError::Value { key: "signed_url_ttl", what: "is from 1s to 7d".to_owned() });
        }
        Ok(settings)
    }

    /// How many fetches at once each upstream's host takes: the least that a source of it says.
    #[must_use]
    pub fn at_once(&self) -> BTreeMap<String, usize> {
        let mut hosts = BTreeMap::new();
        for source in self.sources.values() {
            let most = hosts.entry(source.host().to_owned()).or_insert(source.at_once);
            *most = source.at_once.min(*most);
        }
        hosts
    }
}

/// Settings of the Archiver that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A source's.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A region's.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// One for all sources.
    #[error("archiver.{key}: {what}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        what: String,
    },
}

fn time(key: &'static str, text: Option<String>, default: Duration) -> Result<Duration, SettingsError> {
    let Some(text) = text else { return Ok(default) };
    humantime::parse_duration(&text).map_err(|error| SettingsError::Value { key, what: error.to_string() })
}

fn span<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_same_settings() {
        let text = r#"
            upstream_missing = "success"
            fetches = 3
            [sources.hgmo]
            preset = "hgweb"
            base = "https://hg.mozilla.org"
            repos = ["mozilla-central", "integration/*"]
            max_size = "1GiB"
            timeout = "10m"
            token_env = "HG_TOKEN"
            ca_file = "/etc/larder/company-ca.pem"
            revision_digits = 12
            moving_expiry = "1m"
            top_directory = "keep"
            headers = { X-Asked-By = "larder" }
            [sources.hgmo.defaults]
            subdir = "testing/mozharness"
            [regions.us-east-1]
            bucket = "archives"
            access_key_env = "AWS_ACCESS_KEY_ID"
            secret_key_file = "/etc/larder/secret"
        "#;
        let settings = Archiver::new(toml::from_str(text).unwrap()).unwrap();
        assert_eq!(settings.sources["hgmo"].max_size, 1 << 30);
        let printed = toml::to_string(&settings).unwrap();
        assert_eq!(Archiver::new(toml::from_str(&printed).unwrap()).unwrap(), settings, "{printed}");
    }

    #[test]
    fn a_signed_url_holds_seven_days_at_most() {
        let ttl = |text: &str| Archiver::new(toml::from_str(&format!("signed_url_ttl = \"{text}\"")).unwrap());
        assert_eq!(ttl("7d").unwrap().signed_url_ttl, MAX_TTL);
        assert!(ttl("7d 1s").unwrap_err().to_string().contains("signed_url_ttl"));
        assert!(ttl("0s").is_err());
    }

    #[test]
    fn a_host_is_asked_as_seldom_as_its_most_careful_source_says() {
        let text = "[sources.a]\nurl = \"http://h:1/{rev}\"\nat_once = 2\n[sources.b]\nurl = \"http://h:1/x/{rev}\"";
        let settings = Archiver::new(toml::from_str(text).unwrap()).unwrap();
        assert_eq!(settings.at_once(), BTreeMap::from([("h:1".to_owned(), 2)]));
    }
}
