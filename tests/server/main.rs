//! The tests that go through a larder that runs: over TCP, or by the command line.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "../common/mod.rs"]
mod common;

mod backup;
mod block;
mod campaign;
mod cli;
mod cors;
mod crowd;
mod dead;
mod events;
mod fsck;
mod get;
mod golden;
mod hostile;
mod limits;
mod logs;
mod metrics;
mod modes;
mod monitoring;
mod named;
mod openapi;
mod origins;
mod page;
mod readers;
mod reload;
mod roles;
mod segments;
mod swh;
mod systemd;
mod together;
mod trouble;
mod untrusted;
mod vault;
mod verify_cli;
mod words;
