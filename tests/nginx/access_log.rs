//! The access log of the web server in front, followed: what is counted is what was logged, once,
//! whatever rotation, copies, packing, junk and kill signals do meanwhile.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod desk;
mod followed;
mod nginx;
mod rotation;
