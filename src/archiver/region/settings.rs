//! A region: a bucket of an S3-compatible store, as the settings describe it, validated. Pure data; the
//! keys are named here (files, variables) and read only when the region is first reached.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A region as it is written: `[archiver.regions.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRegion {
    endpoint: Option<String>,
    bucket: Option<String>,
    signing_region: Option<String>,
    prefix: Option<String>,
    access_key_file: Option<PathBuf>,
    access_key_env: Option<String>,
    secret_key_file: Option<PathBuf>,
    secret_key_env: Option<String>,
    path_style: Option<bool>,
    #[serde(default)]
    allow_http: bool,
    ca_file: Option<PathBuf>,
    connect_timeout: Option<String>,
    timeout: Option<String>,
    retries: Option<usize>,
    probe: Option<String>,
    check: Option<String>,
    recheck: Option<String>,
    at_once: Option<usize>,
}

/// A region in force. Serializes as a [`RawRegion`] that says the same; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Its name, as it stands in requests.
    #[serde(skip)]
    pub name: String,
    /// The URL of the store, without the bucket and without a trailing slash.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// What the store calls the region in signatures.
    pub signing_region: String,
    /// What every key in the bucket begins with: empty, or words with slashes, the last one a slash.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Where the id of the key is.
    #[serde(flatten, serialize_with = "access_key")]
    pub access_key: Secret,
    /// Where the key's secret is.
    #[serde(flatten, serialize_with = "secret_key")]
    pub secret_key: Secret,
    /// Whether the bucket stands in the path of URLs, and not in their host.
    pub path_style: bool,
    /// Whether the store may be asked without TLS.
    pub allow_http: bool,
    /// Certificates of authorities that are trusted besides the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Longest time to connect.
    #[serde(serialize_with = "span")]
    pub connect_timeout: Duration,
    /// Longest time without an answer, be it to a part of 8 MiB.
    #[serde(serialize_with = "span")]
    pub timeout: Duration,
    /// How often a request of an upload is tried again at once.
    pub retries: usize,
    /// How often it is looked whether the region is up.
    #[serde(serialize_with = "span")]
    pub probe: Duration,
    /// How often it is looked whether an object is still there.
    #[serde(serialize_with = "span")]
    pub check: Duration,
    /// After how long without a look an object is looked at when clients are sent to it.
    #[serde(serialize_with = "span")]
    pub recheck: Duration,
    /// Objects at once that are put, checked or deleted.
    pub at_once: usize,
}

/// Where a secret is, read when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In this file, alone.
    File(PathBuf),
    /// In this variable.
    Variable(String),
}

impl Region {
    /// Validates what was written of the region `name`.
    ///
    /// # Errors
    /// Which key cannot be used, and why.
    pub fn new(name: &str, raw: RawRegion) -> Result<Self, RegionError> {
        let fault = |what: String| RegionError { name: name.to_owned(), what };
        if !is_word(name) || name == "local" {
            return Err(fault("a region's name is made of letters, digits and ._- and is not local".to_owned()));
        }
        let bucket =
            raw.bucket.filter(|bucket| is_word(bucket)).ok_or_else(|| fault("bucket is missing".to_owned()))?;
        let signing_region = raw.signing_region.unwrap_or_else(|| name.to_owned());
        let amazon = format!("https://s3.{signing_region}.amazonaws.com");
        let path_style = raw.path_style.unwrap_or(raw.endpoint.is_some());
        let time = |key: &str, text: Option<String>, default| time(key, text, default).map_err(fault);
        let region = Self {
            name: name.to_owned(),
            endpoint: raw.endpoint.unwrap_or(amazon).trim_end_matches('/').to_owned(),
            bucket,
            signing_region,
            prefix: prefix(raw.prefix.as_deref().unwrap_or_default()).map_err(fault)?,
            access_key: secret("access_key", raw.access_key_file, raw.access_key_env).map_err(fault)?,
            secret_key: secret("secret_key", raw.secret_key_file, raw.secret_key_env).map_err(fault)?,
            path_style,
            allow_http: raw.allow_http,
            ca_file: raw.ca_file,
            connect_timeout: time("connect_timeout", raw.connect_timeout, Duration::from_secs(5))?,
            timeout: time("timeout", raw.timeout, Duration::from_mins(1))?,
            retries: raw.retries.unwrap_or(2),
            probe: time("probe", raw.probe, Duration::from_secs(5))?,
            check: time("check", raw.check, Duration::from_hours(24))?,
            recheck: time("recheck", raw.recheck, Duration::from_mins(5))?,
            at_once: raw.at_once.unwrap_or(4),
        };
        region.check_values().map_err(fault)?;
        Ok(region)
    }

    fn check_values(&self) -> Result<(), String> {
        let url = Url::parse(&self.endpoint).map_err(|error| format!("endpoint: {error}"))?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() || !plain || url.password().is_some() {
            return Err("endpoint is the URL of the store, https://s3.example.org".to_owned());
        }
        if url.scheme() == "http" && !self.allow_http {
            return Err(
                "endpoint is not https: signed URLs would be readable on the way; allow_http = true says that \
                        this is meant"
                    .to_owned(),
            );
        }
        if !is_word(&self.signing_region) {
            return Err("signing_region is made of letters, digits and ._-".to_owned());
        }
        if self.at_once == 0 || self.at_once > 64 {
            return Err("at_once is a number from 1 to 64".to_owned());
        }
        Ok(())
    }
}

/// Settings of a region that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("archiver.regions.{name}: {what}")]
pub struct RegionError {
    name: String,
    what: String,
}

fn secret(key: &str, file: Option<PathBuf>, variable: Option<String>) -> Result<Secret, String> {
    match (file, variable) {
        (Some(file), None) => Ok(Secret::File(file)),
        (None, Some(variable)) => Ok(Secret::Variable(variable)),
        _ => Err(format!("say with either {key}_file or {key}_env where it is")),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    if path.is_empty() {
        Ok(String::new())
    } else if path.split('/').all(is_word) {
        Ok(format!("{path}/"))
    } else {
        Err("prefix is made of letters, digits, ._- and slashes".to_owned())
    }
}

fn is_word(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !matches!(text, "" | "." | "..") && text.len() <= 100 && text.bytes().all(legal)
}

fn time(key: &str, text: Option<String>, default: Duration) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(default) };
    match humantime::parse_duration(&text) {
        Ok(time) if time.is_zero() => Err(format!("{key} is more than nothing")),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{key}: {error}")),
    }
}

fn span<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*span))
}

fn access_key<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    named("access_key_file", "access_key_env", secret, serializer)
}

fn secret_key<S: serde::Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    named("secret_key_file", "secret_key_env", secret, serializer)
}

fn named<S: serde::Serializer>(
    file: &'static str,
    variable: &'static str,
    secret: &Secret,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(Some(1))?;
    match secret {
        Secret::File(path) => map.serialize_entry(file, path)?,
        Secret::Variable(name) => map.serialize_entry(variable, name)?,
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(text: &str) -> Result<Region, String> {
        let keys = "access_key_env = \"ID\"\nsecret_key_file = \"/etc/larder/secret\"";
        Region::new("us-west-2", toml::from_str(&format!("{text}\n{keys}")).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_region() {
        let text = "endpoint = \"http://127.0.0.1:9/\"\nbucket = \"b\"\nallow_http = true\nprefix = \"/a/b\"\nprobe = \"1s\"\n\
             ca_file = \"/etc/ca.pem\"";
        let region = region(text).unwrap();
        assert_eq!((region.endpoint.as_str(), region.prefix.as_str()), ("http://127.0.0.1:9", "a/b/"));
        assert!(region.path_style);
        let printed = toml::to_string(&region).unwrap();
        assert_eq!(Region::new("us-west-2", toml::from_str(&printed).unwrap()).unwrap(), region, "{printed}");
    }

    #[test]
    fn without_an_endpoint_it_is_amazons() {
        let region = region("bucket = \"b\"").unwrap();
        assert_eq!(region.endpoint, "https://s3.us-west-2.amazonaws.com");
        assert!(!region.path_style);
    }

    #[test]
    fn values_that_cannot_be_used_name_their_key() {
        for (text, key) in [
            ("", "bucket"),
            ("bucket = \"a/b\"", "bucket"),
            ("bucket = \"b\"\nendpoint = \"http://h\"", "allow_http"),
            ("bucket = \"b\"\nendpoint = \"s3.example.org\"", "endpoint"),
            ("bucket = \"b\"\nprefix = \"a/../b\"", "prefix"),
            ("bucket = \"b\"\nprobe = \"0s\"", "probe"),
            ("bucket = \"b\"\nrecheck = \"soon\"", "recheck"),
            ("bucket = \"b\"\nat_once = 0", "at_once"),
            ("bucket = \"b\"\naccess_key_file = \"x\"", "access_key_file"),
        ] {
            let error = region(text).unwrap_err();
            assert!(error.contains("archiver.regions.us-west-2") && error.contains(key), "{text}: {error}");
        }
    }
}
