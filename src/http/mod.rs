//! Bundles and statuses over HTTP.
//!
//! `etag`, `conditional` and `range` are pure and decide; `static_file`, `answer` and `problem` make
//! answers; `body` reads files, `events` follows cooks, `prefer` reads how long a request may wait. `server`
//! takes connections, `io` is their sockets, `watch` says when one has to end, `exchange` is one request on it.

mod answer;
pub mod archiver;
pub mod body;
pub mod conditional;
pub mod digests;
pub mod etag;
mod events;
mod exchange;
mod hot;
mod io;
pub mod origins;
mod pass;
mod prefer;
pub mod problem;
pub mod range;
mod ready;
mod refused;
pub mod route;
pub mod server;
pub mod static_file;
pub mod status_body;
pub mod vault;
mod watch;

pub use io::{Listener, Peer};
pub use watch::Limits;
