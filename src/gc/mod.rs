//! Collection: which bundles go so that the store keeps its limits, and their going.
//!
//! [`plan()`] decides and touches nothing; [`run()`] does what was decided. The command `larder gc`
//! and the kitchen's admission use both. Knows no HTTP, reads no clock: every time here is the
//! catalogue's (`Catalogue::moment`).
//!
//! # Rules
//! - Names of one file go together, and a file counts once, in allocated blocks.
//! - A pin on one name holds the file. Nothing used within the grace is removed, whatever the
//!   limits: the grace is longer than a last access may be late, so what looks unused is unused.
//! - Planned removals count as freed; the disk is asked once a plan.
//! - What was used or pinned since the plan is passed over: [`run()`] looks again inside the
//!   transaction. So any number of collections may run at once and none removes what it should not;
//!   [`Duty::Collecting`](crate::members::Duty) only keeps them from doing the same work twice.
//!
//! # Crash order
//! A hundred files at a time: `BEGIN IMMEDIATE`; look again; rename into `tmp/`; delete the rows;
//! commit; unlink. Killed before the commit, rows stand without files: they read as absent and heal,
//! and the next collection removes them. Killed after it, files lie in the folder of a dead process,
//! which the next larder to start deletes. When there is no room to commit, what was renamed is
//! unlinked first, which makes room, and the rows go after.
//!
//! # At ten million bundles
//! A plan reads one covering index in order and stops where the limits hold: it costs what it
//! removes, not what there is. The policy `gdsf` reads a window of the least recently used besides
//! ([`WINDOW`]).

mod candidates;
mod plan;
mod run;
#[cfg(test)]
mod store_tests;
mod worth;

pub use candidates::{candidates, stock};
pub use plan::{Asked, Limits, Plan, Stock, Tally, holds, plan};
pub use run::{Removed, run, unlink_first};
pub use worth::WINDOW;
