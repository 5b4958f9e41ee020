//! larder cooks bundles of source code from git objects once, keeps them as static files keyed by
//! sha1git, and serves them with ETag and Range.
//!
//! This file is the map. Imports point down only; `tests/library/layers.rs` keeps it so.
//!
//! | layer | rooms | rule |
//! |---|---|---|
//! | 0 | `address` `chance` `digest` `time` `key` `bundle` `segment` `task` `limits` `escaped` | plain data |
//! | 1 | `metrics` `archive::{object, snapshot}` `archive::git::reftable` `archiver::{media, pattern, region::settings, request, settings, source, structure, template, tree}` `cook::{deflate, gzip, join, tarball, zip, zstandard}` `store::layout` `upstream::settings` `http::{etag, conditional, range}` | pure: no I/O |
//! | 1 | `dir` `members` | files for all above: folders by handle; who is alive, who is alone |
//! | 2 | `archive` `store` `catalogue` `checksums` | blocking I/O; each ignorant of the others |
//! | 3 | `bundles` `admission` `cook` `verify` `access` `gc` `fsck` `origins` `sweep` `bodies` | the work, and what is said of it; still blocking |
//! | 4 | `blocking` `kitchen` `archiver` `upstream` `housekeeping` `get` | tokio from here up |
//! | 5 | `http` | statuses, headers, answers; of commands only `serve` knows it |
//! | 6 | `cli` `config` `main` | wiring |
//!
//! # Invariants
//! - **Nothing unverified is published.** Every object is hashed on its way into a draft.
//! - **Nothing half-made is visible.** A file gets its name by a rename, after its fsync, inside the
//!   transaction that says it is done.
//! - **A GET never cooks** (but in pass-through mode, where nothing is kept), and a hit asks SQLite
//!   nothing.
//! - **Equal objects are equal bytes**, on every machine and with any number of threads
//!   (`docs/format.md`).

pub mod access;
pub mod address;
pub mod admission;
pub mod archive;
pub mod archiver;
mod blocking;
pub mod bodies;
pub mod bundle;
pub mod bundles;
pub mod catalogue;
mod chance;
pub mod checksums;
pub mod cli;
pub mod config;
pub mod cook;
pub mod digest;
mod dir;
pub mod escaped;
pub mod fsck;
pub mod gc;
pub mod get;
pub mod housekeeping;
pub mod http;
pub mod key;
pub mod kitchen;
pub mod limits;
pub mod members;
pub mod metrics;
pub mod origins;
pub mod segment;
pub mod store;
pub mod sweep;
pub mod task;
pub mod time;
pub mod upstream;
pub mod verify;
