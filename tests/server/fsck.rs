//! `larder fsck` through the real binary: each kind of damage planted, reported, repaired and gone;
//! a row whose file was deleted; a server at work meanwhile; itself killed at random.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

#[path = "../library/history/by_hand.rs"]
#[expect(dead_code, reason = "tests of histories make more of it")]
#[allow(clippy::cast_possible_truncation, reason = "bytes are made by hand")]
mod by_hand;
mod damage;
mod larder;
mod lost;
mod meanwhile;
mod moved;
mod stray;
