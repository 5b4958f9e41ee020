//! Bundles and statuses over HTTP: `server` takes connections, `static_file` answers with a file.
//!
//! `etag`, `conditional` and `range` are pure and decide; `static_file` and `problem` make answers;
//! `body` reads files; `server` alone knows sockets.

pub mod body;
pub mod conditional;
pub mod digests;
pub mod etag;
pub mod problem;
pub mod range;
pub mod static_file;
