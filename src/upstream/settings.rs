//! `upstream` of the settings: the vaults that are asked for what no archive here has. Plain values,
//! validated; a token is named here (a file, a variable) and read only when a request is made.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The most vaults.
const MAX_VAULTS: usize = 16;

/// A vault as it is written: its URL alone, or a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum RawUpstream {
    /// `"https://archive.softwareheritage.org"`
    Url(String),
    /// `[[upstream]]`
    Table(RawTable),
}

impl std::str::FromStr for RawUpstream {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::Url(text.to_owned()))
    }
}

/// `[[upstream]]` as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    url: String,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    private_addresses: bool,
}

/// A vault in force: Software Heritage's, or another larder. Serializes as a [`RawTable`] that says the
/// same; holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// The URL below which `/api/1/` lies, without a slash at its end.
    pub url: String,
    /// A file with the token that is sent, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A variable of the environment that holds it, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_env: Option<String>,
    /// PEM certificates of authorities that are trusted besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether its host may be inside the network.
    pub private_addresses: bool,
}

/// Vaults that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Not a URL of a vault.
    #[error("upstream: {url:?} is not an http:// or https:// URL without a query")]
    Url {
        /// What was written.
        url: String,
    },
    /// A password in a URL would stand in logs.
    #[error("upstream: write no user or password into a URL; name a token_file")]
    Password,
    /// Two places for one token.
    #[error("upstream {url}: token_file or token_env, not both")]
    TwoTokens {
        /// Its URL.
        url: String,
    },
    /// Over `MAX_VAULTS`.
    #[error("upstream: at most {MAX_VAULTS} vaults")]
    TooMany,
}

impl Upstream {
    /// Validates all of them.
    ///
    /// # Errors
    /// [`UpstreamError`] for the first that cannot be used.
    pub fn all(raw: Vec<RawUpstream>) -> Result<Vec<Self>, UpstreamError> {
        if raw.len() > MAX_VAULTS {
            return Err(UpstreamError::TooMany);
        }
        raw.into_iter().map(Self::new).collect()
    }

    fn new(raw: RawUpstream) -> Result<Self, UpstreamError> {
        let table = match raw {
            RawUpstream::Url(url) => RawTable { url, ..RawTable::default() },
            RawUpstream::Table(table) => table,
        };
        let unusable = || UpstreamError::Url { url: table.url.clone() };
        let url = url::Url::parse(&table.url).map_err(|_| unusable())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UpstreamError::Password);
        }
        let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
        if !plain || url.host().is_none() {
            return Err(unusable());
        }
        let text = url.as_str().trim_end_matches('/');
        // As people copy it.
        let text = text.strip_suffix("/api/1").unwrap_or(text).to_owned();
        if table.token_file.is_some() && table.token_env.is_some() {
            return Err(UpstreamError::TwoTokens { url: text });
        }
        Ok(Self {
            url: text,
            token_file: table.token_file,
            token_env: table.token_env,
            ca_file: table.ca_file,
            private_addresses: table.private_addresses,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Printed<'a> {
        upstream: &'a [Upstream],
    }

    #[derive(Deserialize)]
    struct File {
        upstream: Vec<RawUpstream>,
    }

    fn read(text: &str) -> Result<Vec<Upstream>, UpstreamError> {
        Upstream::all(toml::from_str::<File>(text).unwrap().upstream)
    }

    #[test]
    fn a_vault_is_a_url_or_a_table() {
        let plain = read("upstream = [\"https://archive.example.org/api/1/\"]").unwrap();
        assert_eq!(plain[0].url, "https://archive.example.org");
        let text =
            "[[upstream]]\nurl = \"http://b.example.org/larder/\"\ntoken_file = \"/t\"\nprivate_addresses = true";
        let table = read(text).unwrap();
        assert_eq!((table[0].url.as_str(), table[0].private_addresses), ("http://b.example.org/larder", true));
        let printed = toml::to_string(&Printed { upstream: &table }).unwrap();
        assert_eq!(read(&printed).unwrap(), table, "{printed}");
    }

    #[test]
    fn what_is_no_vault_is_refused() {
        for (url, word) in [
            ("ftp://example.org", "http"),
            ("example.org", "http"),
            ("https://example.org/?a", "query"),
            ("https://user:pw@example.org", "token_file"),
        ] {
            let error = read(&format!("upstream = [{url:?}]")).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
            assert!(!error.contains("pw"), "{error}");
        }
        let two = "[[upstream]]\nurl = \"https://e.org\"\ntoken_file = \"/t\"\ntoken_env = \"T\"";
        assert!(read(two).unwrap_err().to_string().contains("not both"));
    }
}
