//! What a task is to fetch, and the key that tells it from all else.

use crate::digest::hex;
use std::fmt;

/// An archive that a source may be asked for: every parameter that its bytes depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name of the source.
    pub source: String,
    /// The repository; empty where the source has one only.
    pub repo: String,
    /// The revision, as the upstream is asked for it.
    pub rev: String,
    /// The suffix, without its first dot.
    pub suffix: String,
    /// The subdirectory; empty for the whole.
    pub subdir: String,
    /// Where it is fetched from.
    pub url: String,
}

impl Wanted {
    /// What tells this archive from every other.
    #[must_use]
    pub fn key(&self) -> AliasKey {
        let mut hasher = blake3::Hasher::new();
        for part in [&self.source, &self.repo, &self.rev, &self.suffix, &self.subdir, &self.url] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        AliasKey(*hasher.finalize().as_bytes())
    }

    /// The name of its file, where the upstream does not say another.
    #[must_use]
    pub fn file_name(&self) -> String {
        let name = self.repo.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&self.source);
        format!("{name}-{}.{}", self.rev.replace('/', "-"), self.suffix)
    }
}

/// The key of an alias: a digest of all parameters of a request, each with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AliasKey(pub [u8; 32]);

impl fmt::Display for AliasKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}
