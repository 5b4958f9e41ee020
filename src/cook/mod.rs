//! From an object to the bytes of a bundle: the same bytes on every machine, from any archive, with
//! any number of threads (`docs/format.md`).
//!
//! A cook goes [`root`] (which directory?), then [`cook`]: the walk (`flat`) turns the tree into
//! members (`tarball`), cuts them into units (`segment`), and the pipeline (`pipeline`, `worker`)
//! reads, deflates (`gzip`) and writes the units in order. Knows no store, catalogue or clock: it
//! writes to whatever it is given and looks at its [`Control`].

pub mod control;
mod error;
mod flat;
pub(crate) mod gzip;
pub mod history;
mod measure;
mod pipeline;
pub mod proof;
mod root;
mod segment;
pub(crate) mod tarball;
mod worker;

pub use control::{Control, Progress, Reason};
pub use error::CookError;
pub use root::{Root, root};

use crate::archive::Archive;
use crate::key::Format;
use std::io;

/// What to cook, and within which bounds.
pub struct Order<'a> {
    /// Where the objects come from.
    pub archive: &'a dyn Archive,
    /// What becomes `source/`.
    pub root: Root,
    /// The form of the bundle. Its bytes do not depend on anything below.
    pub format: Format,
    /// How many threads read and deflate, at least 1. One more walks, and the calling one writes.
    pub threads: usize,
    /// The most bytes that the tar stream may have.
    pub max_size: u64,
    /// To watch and to stop it.
    pub control: &'a Control,
}

/// What was cooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooked {
    /// Bytes of the tar stream, before it is deflated.
    pub tar_size: u64,
    /// Members: directories, files, symlinks and gitlinks, `source/` among them.
    pub members: u64,
}

/// Writes the flat bundle of `order.root` to `out`, in order and in one pass.
///
/// Memory is bounded whatever the tree holds: about 48 MiB with two threads, and 9 MiB for each
/// further one. `out` is called from this thread only; all others have ended when this returns.
///
/// # Errors
/// What `out` was given is then worthless. Of several errors in what is read the first in the order
/// of the stream is returned; one that the walk meets ahead of it ends the cook at once.
pub fn cook(order: &Order<'_>, out: &mut dyn io::Write) -> Result<Cooked, CookError> {
    pipeline::run(order, out)
}
