//! How settings stand in the file: as the words people write, read and written by serde.

use super::{Listen, Span};
use crate::limits::{MinFree, Mode, Policy, Role};
use crate::origins::Transport;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

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
as_text! { from: Listen, MinFree, Mode, Policy, Role, Span, Transport; to: Listen, MinFree, Mode, Policy, Role, Transport }

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's serialize_with passes a reference to the field")]
pub(super) fn size<S: serde::Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bytes}B"))
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
pub(super) fn optional_size<S: serde::Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    size(&bytes.unwrap_or_default(), serializer)
}

pub(super) fn span<S: serde::Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*span))
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
pub(super) fn optional_span<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    span(&time.unwrap_or_default(), serializer)
}

/// Paths, or `true` for what is below any path and `false` for none.
pub(super) fn paths_or_any<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<PathBuf>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "it is true, false, or a list of paths")]
    enum Written {
        Any(bool),
        Paths(Vec<PathBuf>),
    }
    Ok(Some(match Written::deserialize(deserializer)? {
        Written::Any(true) => vec![PathBuf::from("/")],
        Written::Any(false) => Vec::new(),
        Written::Paths(paths) => paths,
    }))
}
