//! The kitchen: [`Orders`] is what asks for bundles, looks them up and waits for them; [`Cooks`] makes them.
//! A process that only asks (`serve --role front`) has no cooks. The lowest layer that knows tokio; all
//! it calls blocks and runs on the blocking pool.
//!
//! **The path of a cook.** [`Orders::order`] makes the bundle's row and its place in the queue in
//! one transaction, so two that ask at once get one cook. A worker claims the oldest place, cooks
//! into a draft, and `Bundles::publish` publishes it inside the transaction that says `done`.
//!
//! **Who owns what.** A cook belongs to a process, by the name of the folder that the process holds
//! locked, and never to a lease of time. When the folder's lock can be had the process is gone:
//! its cooks go back to the queue and its drafts are deleted, at start-up and every few seconds.
//!
//! **Locks.** The maps of running cooks, of names, of waiters and of absences are each held for one lookup
//! and never together; `crate::admission` says what is held while room is made.

mod absence;
mod asked;
mod blocks;
mod cooking;
mod figures;
mod health;
#[cfg(test)]
mod kit;
mod ordering;
mod orders;
mod recipe;
mod remote;
mod segments;
mod through;
mod underway;
mod waiting;
mod workers;

pub use asked::RequestId;
pub use cooking::Cooks;
pub use health::Trouble;
pub use ordering::{OrderError, RETRY_FAILED_AFTER};
pub use orders::Orders;
pub use remote::{Remote, Sought};
pub use through::{Stream, ThroughError};
pub use waiting::{Following, Standing};
pub use workers::Workers;

use crate::limits::RoomLimits;
use std::time::Duration;

/// The bounds that the kitchen keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Cooks at once.
    pub workers: usize,
    /// Threads of one cook.
    pub cook_threads: usize,
    /// Cooks that may wait.
    pub max_queue: u64,
    /// Largest tar stream, in bytes.
    pub max_bundle_size: u64,
    /// Longest time of one cook.
    pub cook_timeout: Duration,
    /// Whether `gitfast.gz` may be made without what fast-import has no word for.
    pub gitfast_lossy: bool,
    /// What the store may take of the disk.
    pub room: RoomLimits,
}
