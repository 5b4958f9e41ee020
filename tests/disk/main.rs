//! The tests of full disks and of collection; some mount file systems, and need root for it.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "../common/mod.rs"]
mod common;

mod full;
mod gc;
mod no_room;
