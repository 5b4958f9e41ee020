//! Bundles and statuses over HTTP.
//!
//! `etag`, `conditional` and `range` are pure and decide; `static_file`, `pages`, `answer` and `problem` make
//! answers; `body` and `file_body` are what is sent, `events` follows cooks, `prefer` reads how long a request may
//! wait; `swh` is the API of Software Heritage, and `cors` lets pages of other origins read it. `server` takes connections, `io` is their sockets, `watch` says when one has to end, `exchange` is one request
//! on it.
//!
//! `named` finds bundles by what people call them. `page` is what a person with a browser sees; it is the only room that makes HTML.
//!
//! What clients can make the server hold is bounded here: connections at the `gate`, bytes by `held`, files by
//! `descriptors`, streams, waiting requests and large answers by `places` and `large`; `give_back` is for after.

mod accept;
mod answer;
pub mod archiver;
pub mod body;
pub mod conditional;
pub mod cors;
mod cross_site;
pub mod descriptors;
pub mod digests;
mod dispatch;
pub mod etag;
mod events;
mod exchange;
mod file_body;
mod gate;
mod give_back;
mod held;
mod help;
mod hot;
mod io;
mod large;
mod list;
mod named;
pub mod origins;
pub mod page;
mod pages;
mod pass;
mod places;
mod prefer;
pub mod problem;
mod process;
mod query;
pub mod range;
mod ready;
mod refused;
mod ring;
pub mod route;
pub mod scrape;
pub mod server;
mod spelled;
pub mod static_file;
mod swh;
pub mod vault;
mod watch;

pub use held::HeldLimits;
pub use io::{Listener, Peer};
pub use named::Names;
pub use watch::Limits;
