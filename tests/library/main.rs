//! The tests that go through larder's public types, and those that read its sources.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]
#![allow(clippy::disallowed_methods, reason = "the rooms below are tested by themselves")]

#[path = "../common/mod.rs"]
mod common;

mod archive_faults;
mod archive_git;
mod archive_hostile;
mod catalogue;
mod catalogue_model;
mod errors;
mod fixtures;
mod format;
mod fuzz;
mod gitfast;
mod history;
mod http_server;
mod layers;
mod store;
