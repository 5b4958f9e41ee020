//! The tests with a real nginx: as the oracle of HTTP, in front of larder, and as the writer of the log.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "../common/mod.rs"]
mod common;

mod access_log;
mod ends;
mod forge;
mod logs;
mod metrics;
mod oracle;
mod site;
