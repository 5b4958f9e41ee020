//! A source: a named upstream of archives, as the settings describe it, validated. Pure data; knows
//! presets, templates and allow-lists, and neither the network nor a clock. The token of a source
//! is named here (a file, a variable) and read only when something is fetched.

use super::pattern::fits;
use super::structure::SUFFIXES;
use super::template::{Preset, Template, authority, check_template};
use super::tree::Top;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// What may stand in a URL as it is; all else of a parameter is escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The shortest time after which what moves is asked for again: it is at least once the newest for whoever
/// had it fetched.
const LEAST_EXPIRY: Duration = Duration::from_secs(1);

/// A source as it is written: `[archiver.sources.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    preset: Option<Preset>,
    base: Option<String>,
    url: Option<String>,
    suffixes: Option<Vec<String>>,
    #[serde(default)]
    repos: Vec<String>,
    revisions: Option<Vec<String>>,
    revision_digits: Option<usize>,
    moving_expiry: Option<String>,
    top_directory: Option<Top>,
    #[serde(default)]
    defaults: Defaults,
    max_size: Option<bytesize::ByteSize>,
    max_unpacked: Option<bytesize::ByteSize>,
    timeout: Option<String>,
    stall_timeout: Option<String>,
    retries: Option<u32>,
    retry_wait: Option<String>,
    at_once: Option<usize>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    token_header: Option<String>,
    token_prefix: Option<String>,
    redirects: Option<Vec<String>>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    private_addresses: bool,
    #[serde(default)]
    immutable: bool,
}

/// What stands for a parameter that a request leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// The repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The suffix; without one the first of `suffixes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// The subdirectory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdir: Option<String>,
    /// The region that is preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A source in force. Serializes as a [`RawSource`] that says the same; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its name, as it stands in URLs.
    #[serde(skip)]
    pub name: String,
    /// The template of its URLs.
    pub url: String,
    /// Suffixes that may be asked for, of those that larder can read through: no others are fetched.
    pub suffixes: Vec<String>,
    /// Patterns of the repositories that may be asked for.
    pub repos: Vec<String>,
    /// What a revision looks like: `hash`, `full-hash`, or patterns of names.
    pub revisions: Vec<String>,
    /// To how many digits a hash is shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_digits: Option<usize>,
    /// After how long a revision that is a name, and may move, is asked for again.
    #[serde(serialize_with = "span")]
    pub moving_expiry: Duration,
    /// Whether the tree of an archive is what is in its top directory.
    pub top_directory: Top,
    /// What stands for a parameter that a request leaves out.
    pub defaults: Defaults,
    /// Largest archive, in bytes.
    #[serde(serialize_with = "size")]
    pub max_size: u64,
    /// Most bytes that an archive may unpack to.
    #[serde(serialize_with = "size")]
    pub max_unpacked: u64,
    /// Longest time of one try.
    #[serde(serialize_with = "span")]
    pub timeout: Duration,
    /// Longest time without a byte.
    #[serde(serialize_with = "span")]
    pub stall_timeout: Duration,
    /// How often a fetch is tried again.
    pub retries: u32,
    /// About how long to wait before the first retry; five times as long before each further one.
    #[serde(serialize_with = "span")]
    pub retry_wait: Duration,
    /// Fetches at once from this upstream's host.
    pub at_once: usize,
    /// Headers sent along; no secrets.
    pub headers: BTreeMap<String, String>,
    /// File that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Variable that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// The header that the token is sent in.
    pub token_header: String,
    /// What stands before the token there.
    pub token_prefix: String,
    /// Patterns of hosts that redirects may lead to, besides the upstream's own.
    pub redirects: Vec<String>,
    /// File with the certificates of authorities that are trusted besides the system's, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether the upstream may have an address that is not public.
    pub private_addresses: bool,
    /// Whether other bytes at a later fetch are a fault, and refused.
    pub immutable: bool,
}

impl Source {
    /// Validates what was written of the source `name`.
    ///
    /// # Errors
    /// Which key cannot be used, and why.
    pub fn new(name: &str, raw: RawSource) -> Result<Self, SourceError> {
        let fault = |what: String| SourceError { name: name.to_owned(), what };
        let Template { url, suffixes, redirects, top } = template(&raw).map_err(fault)?;
        let token_header = raw.token_header.unwrap_or_else(|| "Authorization".to_owned());
        let bearer = if token_header.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
        let time = |key: &str, text: Option<String>, default| time(key, text, default).map_err(fault);
        let source = Self {
            name: name.to_owned(),
            url,
            suffixes: raw.suffixes.unwrap_or(suffixes),
            repos: raw.repos,
            revisions: raw.revisions.unwrap_or_else(|| vec!["hash".to_owned()]),
            revision_digits: raw.revision_digits,
            moving_expiry: time("moving_expiry", raw.moving_expiry, Duration::from_mins(10))?,
            top_directory: raw.top_directory.unwrap_or(top),
            defaults: raw.defaults,
            max_size: raw.max_size.map_or(4 << 30, |size| size.as_u64()),
            max_unpacked: raw.max_unpacked.map_or(32 << 30, |size| size.as_u64()),
            timeout: time("timeout", raw.timeout, Duration::from_mins(30))?,
            stall_timeout: time("stall_timeout", raw.stall_timeout, Duration::from_mins(1))?,
            retries: raw.retries.unwrap_or(3),
            retry_wait: time("retry_wait", raw.retry_wait, Duration::from_secs(5))?,
            at_once: raw.at_once.unwrap_or(4),
            headers: raw.headers,
            token_file: raw.token_file,
            token_env: raw.token_env,
            token_prefix: raw.token_prefix.unwrap_or_else(|| bearer.to_owned()),
            token_header,
            redirects: raw.redirects.unwrap_or(redirects),
            ca_file: raw.ca_file,
            private_addresses: raw.private_addresses,
            immutable: raw.immutable,
        };
        source.check().map_err(fault)?;
        Ok(source)
    }

    fn check(&self) -> Result<(), String> {
        if self.name == "status" || !is_word(&self.name) {
            return Err("a source's name is made of letters, digits, - and _, and is not `status`".to_owned());
        }
        check_template(&self.url)?;
        if self.suffixes.is_empty() {
            return Err("suffixes must name one at least".to_owned());
        }
        if let Some(unknown) = self.suffixes.iter().find(|suffix| !SUFFIXES.contains(&suffix.as_str())) {
            return Err(format!("suffixes: {unknown:?} is none of {}", SUFFIXES.join(", ")));
        }
        if self.defaults.suffix.as_ref().is_some_and(|suffix| !self.suffixes.contains(suffix)) {
            return Err("defaults.suffix is none of suffixes".to_owned());
        }
        if self.takes("repo") && self.repos.is_empty() {
            return Err("repos must say which repositories may be asked for: [\"**\"] is all".to_owned());
        }
        if self.at_once == 0 || self.max_size == 0 || self.retries > 10 {
            return Err("at_once and max_size are at least 1, retries at most 10".to_owned());
        }
        if self.revision_digits.is_some_and(|digits| !(7..=64).contains(&digits)) {
            return Err("revision_digits is a number from 7 to 64".to_owned());
        }
        if self.moving_expiry < LEAST_EXPIRY {
            return Err("moving_expiry is at least 1s".to_owned());
        }
        if self.token_file.is_some() && self.token_env.is_some() {
            return Err("the token comes from token_file or from token_env, not both".to_owned());
        }
        for (header, value) in &self.headers {
            let secret = ["authorization", "cookie", "token", "secret", "key"];
            if secret.iter().any(|word| header.to_ascii_lowercase().contains(word)) {
                return Err(format!("headers.{header}: a secret is not for this file: name a token_file or token_env"));
            }
            if !is_word(header) || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                return Err(format!("headers.{header} is no header"));
            }
        }
        Ok(())
    }

    /// Whether the template has this placeholder.
    #[must_use]
    pub fn takes(&self, placeholder: &str) -> bool {
        self.url.contains(&format!("{{{placeholder}}}"))
    }

    /// Whether this repository may be asked for.
    #[must_use]
    pub fn allows(&self, repo: &str) -> bool {
        self.repos.iter().any(|pattern| fits(pattern, repo))
    }

    /// A revision as the upstream is asked for it, if this looks like one of the source: hashes in lower case
    /// and, with `revision_digits`, no longer than that.
    #[must_use]
    pub fn revision(&self, rev: &str) -> Option<String> {
        if !self.is_hash(rev) {
            return self.names().any(|pattern| fits(pattern, rev)).then(|| rev.to_owned());
        }
        let mut hash = rev.to_ascii_lowercase();
        hash.truncate(self.revision_digits.unwrap_or(hash.len()));
        Some(hash)
    }

    /// Whether a revision of the source, as [`Self::revision`] gives it, may stand for something else later.
    #[must_use]
    pub fn moves(&self, rev: &str) -> bool {
        let is_shortened = self.revision_digits == Some(rev.len()) && self.names().count() < self.revisions.len();
        !(self.is_hash(rev) || is_shortened && is_hex(rev))
    }

    /// What looks like a hash is one, though a name might look so too.
    fn is_hash(&self, rev: &str) -> bool {
        is_hex(rev)
            && self.revisions.iter().any(|pattern| match pattern.as_str() {
                "hash" => (7..=64).contains(&rev.len()),
                "full-hash" => matches!(rev.len(), 40 | 64),
                _ => false,
            })
    }

    /// The patterns of names.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.revisions.iter().map(String::as_str).filter(|pattern| !matches!(*pattern, "hash" | "full-hash"))
    }

    /// The URL of an archive. The parameters are legal already.
    #[must_use]
    pub fn archive_url(&self, repo: &str, rev: &str, suffix: &str, subdir: &str) -> String {
        let name = repo.rsplit('/').next().unwrap_or(repo);
        let name = name.strip_suffix(".git").unwrap_or(name);
        let mut url = self.url.clone();
        for (placeholder, value) in
            [("repo", repo), ("name", name), ("rev", rev), ("suffix", suffix), ("subdir", subdir)]
        {
            // No value holds a brace once it is escaped, so none is taken for a placeholder.
            url = url.replace(&format!("{{{placeholder}}}"), &utf8_percent_encode(value, ESCAPED).to_string());
        }
        url.truncate(url.trim_end_matches('/').len());
        url
    }

    /// The host of the upstream, with its port where one is named: what fetches are counted by.
    #[must_use]
    pub fn host(&self) -> &str {
        authority(&self.url).unwrap_or_default()
    }
}

/// A source that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("archiver.sources.{name}: {what}")]
pub struct SourceError {
    name: String,
    what: String,
}

/// The template, the suffixes and the hosts of redirects that go without saying.
fn template(raw: &RawSource) -> Result<Template, String> {
    match (raw.preset, &raw.url) {
        (Some(_), Some(_)) => Err("a source has a preset or a url, not both".to_owned()),
        (Some(preset), None) => preset.at(raw.base.as_deref()),
        (None, Some(url)) => Ok(Template { url: url.clone(), ..Template::default() }),
        (None, None) => Err("a source has a preset or a url".to_owned()),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

fn time(key: &str, text: Option<String>, default: Duration) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(default) };
    humantime::parse_duration(&text).map_err(|error| format!("{key}: {error}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's serialize_with passes a reference to the field")]
fn size<S: serde::Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bytes}B"))
}

fn span<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*span))
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
