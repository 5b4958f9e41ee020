//! Pages of which origins may read what is public: [`Cors`] and how it is written.

use anyhow::bail;
use serde::{Serialize, Serializer};

/// Origins (WHATWG HTML, "origin") whose pages a browser lets read answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// All.
    #[default]
    Any,
    /// These; none when there are none.
    These(Vec<String>),
}

impl Cors {
    pub(super) fn new(written: Option<Vec<String>>) -> anyhow::Result<Self> {
        let Some(written) = written else { return Ok(Self::Any) };
        // A flag or a variable says so that there are none.
        let origins: Vec<String> = written.into_iter().filter(|origin| !origin.is_empty()).collect();
        if origins == ["*"] {
            return Ok(Self::Any);
        }
        for origin in &origins {
            let is_one = url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            if !is_one {
                bail!("cors must be \"*\" alone, or origins like https://forge.example, not {origin:?}");
            }
        }
        Ok(Self::These(origins))
    }
}

impl Serialize for Cors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => ["*"].serialize(serializer),
            Self::These(origins) => origins.serialize(serializer),
        }
    }
}
