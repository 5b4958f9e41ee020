//! From an object to the bytes of a bundle: the same bytes on every machine, from any archive, with
//! any number of threads (`docs/format.md`).
//!
//! A cook goes [`root`] (which directory?), then [`cook`]: the walk (`flat`, `objects`, `remembered`) turns
//! the tree into members (`tarball`, `zip`), cuts them into units (`segment`, `batch`), asks whether others
//! have made some of these (`planner`, `segments`), and the pipeline (`pipeline`, `worker`) copies, or reads and
//! codes (`deflate` with `join`, `zstandard`), and writes the units in order (`ledger`). What
//! differs between formats is in `form`. A content ([`raw`]) is streamed as it is. Knows no store,
//! catalogue or clock: it writes to whatever it is given and looks at its [`Control`].

mod batch;
pub mod control;
mod copy;
pub mod deflate;
mod directory;
mod error;
mod flat;
mod form;
pub(crate) mod gzip;
pub mod history;
pub mod join;
mod ledger;
mod measure;
mod objects;
mod pipeline;
mod planner;
pub mod proof;
mod raw;
mod remembered;
mod root;
pub(crate) mod segment;
pub mod segments;
pub(crate) mod tarball;
mod threads;
mod worker;
pub(crate) mod zip;
pub(crate) mod zstandard;

pub use control::{Control, Progress, Reason, Unit};
pub use error::CookError;
pub(crate) use history::gitfast;
pub use raw::raw;
pub use remembered::Remembered;
pub use root::{Root, root};
pub use segments::{Place, Segments};

use crate::archive::Archive;
use crate::key::Flat;
use crate::segment::Written;
use std::io;
use std::path::Path;

/// What to cook, and within which bounds.
pub struct Order<'a> {
    /// Where the objects come from.
    pub archive: &'a dyn Archive,
    /// What becomes `source/`.
    pub root: Root,
    /// The form of the bundle. Its bytes do not depend on anything below.
    pub format: Flat,
    /// How many threads read and deflate, at least 1. One more walks, and the calling one writes.
    pub threads: usize,
    /// The most bytes that the tar stream may have; a zip, that of the same tree.
    pub max_size: u64,
    /// Where a file may be made and unlinked at once: the directory of a zip with very many members.
    pub scratch: &'a Path,
    /// To watch and to stop it.
    pub control: &'a Control,
    /// Where segments may be had that were made before. The bytes are the same without.
    pub segments: Option<&'a dyn Segments>,
    /// What the walks of other cooks, of the same archive, have seen.
    pub remembered: Option<&'a Remembered>,
}

/// What was cooked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cooked {
    /// Bytes of the tar stream, before it is compressed; of a zip, what its members have in a tar.
    pub tar_size: u64,
    /// Members: directories, files, symlinks and gitlinks, `source/` among them; of a history, its
    /// objects.
    pub members: u64,
    /// What the bundle leaves out or holds under another name, and why.
    pub notes: Vec<String>,
    /// Whether what it leaves out changes ids.
    pub lossy: bool,
    /// Where others may copy segments from it, in order; none unless the order names a source of segments.
    pub segments: Vec<Written>,
    /// How many segments that others may have were made of objects.
    pub made: u64,
    /// And how many were copied.
    pub copied: u64,
}

/// Writes the flat bundle of `order.root` to `out`, in order and in one pass.
///
/// Memory is bounded whatever the tree holds: about 48 MiB with two threads, and 9 MiB for each
/// further one, besides 80 bytes for each segment that others may copy, of which there are 65,536 at most. `out` is called from this thread only; all others have ended when this returns.
///
/// # Errors
/// What `out` was given is then worthless. Of several errors in what is read the first in the order
/// of the stream is returned; one that the walk meets ahead of it ends the cook at once.
pub fn cook(order: &Order<'_>, out: &mut dyn io::Write) -> Result<Cooked, CookError> {
    let cooked = pipeline::run(order, out);
    if let (Err(CookError::Corrupt { .. }), Some(remembered)) = (&cooked, order.remembered) {
        // What the archive said of its size may be what is wrong.
        remembered.forget();
    }
    cooked
}
