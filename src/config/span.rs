//! Lengths of time: [`Span`] and how it is written.

use std::str::FromStr;
use std::time::Duration;

/// A length of time as people write it: `30s`, `6m`, `1h 30m`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}
