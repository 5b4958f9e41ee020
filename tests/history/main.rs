//! History bundles: what git makes of them, what larder refuses, and that a changed byte is found.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "../common/mod.rs"]
mod common;
mod git;
mod hostile;
mod kit;
mod packs;
mod same;
