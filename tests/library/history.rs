//! History bundles: what git makes of them, what larder refuses, and that a changed byte is found.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]
#![allow(clippy::cast_possible_truncation, reason = "bytes are made by hand")]

mod by_hand;
mod git;
mod hostile;
mod incomplete;
mod kit;
mod packs;
mod part;
mod same;
mod served;
