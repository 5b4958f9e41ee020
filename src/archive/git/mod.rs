//! Git repositories as an archive: loose objects, packs, multi-pack indexes, alternates.
//!
//! Owns how git stores objects. Replace refs and grafts are not looked at, so an id always means
//! the bytes it is the hash of; what a shallow or partial clone has not got is absent.
//!
//! | file | what |
//! |---|---|
//! | `discover` | paths to `objects` directories |
//! | `shared` | what all readers share, and how it is kept up to date |
//! | `packs`, `pack` | an `objects/pack` as it was listed; one pack and its index |
//! | `reader` | one thread: finds the copies of an object, reads one that is good |
//! | `chain`, `cache`, `delta`, `inflate` | a packed object in memory |
//! | `large` | an object too large for that, through scratch files |
//! | `loose` | a loose object |
//! | `head` | what HEAD points to |
//! | `refs` | the repositories, and what their refs point to |
//! | `reftable`, `stack` | refs that are no files: one table; all tables of a repository |
//!
//! The indexes and packs are mapped by gitoxide, which also knows their layout; entries are decoded
//! here, for its own decoder allocates what a header claims and follows alternates wherever they
//! lead.

mod cache;
mod chain;
pub(crate) mod delta;
mod discover;
pub(crate) mod fault;
mod head;
pub(crate) mod inflate;
pub(crate) mod large;
mod loose;
mod pack;
mod packs;
mod reader;
mod refs;
pub mod reftable;
mod shared;
mod stack;

pub(crate) use pack::{EntryKind, Pack, parse_entry};
pub use refs::{RefTarget, Repository};

use super::{Archive, ArchiveError, Reader};
use crate::key::Sha1Git;
use large::Scratch;
use shared::Shared;
use std::path::PathBuf;
use std::sync::Arc;

/// Repositories, and folders that hold repositories at any depth. A clone is another handle of the
/// same archive.
#[derive(Clone)]
pub struct GitArchive {
    shared: Arc<Shared>,
    options: Arc<Options>,
}

#[derive(Clone)]
struct Options {
    max_blob: u64,
    scratch: PathBuf,
}

impl Options {
    fn scratch(&self) -> Scratch<'_> {
        Scratch { folder: &self.scratch, limit: self.max_blob }
    }
}

/// The largest blob that is streamed unless [`GitArchive::with_max_blob`] says otherwise: 1 TiB.
const MAX_BLOB: u64 = 1 << 40;

impl GitArchive {
    /// The archive of what is under `paths`. Nothing is looked for yet: see
    /// [`discover`](Self::discover).
    ///
    /// # Errors
    /// [`ArchiveError::Io`], naming the path, when one does not exist or cannot be reached.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self, ArchiveError> {
        let given = paths
            .into_iter()
            .map(|path| {
                path.canonicalize()
                    .map_err(|cause| ArchiveError::Io { action: format!("open archive {}", path.display()), cause })
            })
            .collect::<Result<_, _>>()?;
        let options = Options { max_blob: MAX_BLOB, scratch: std::env::temp_dir() };
        Ok(Self { shared: Arc::new(Shared::new(given)), options: Arc::new(options) })
    }

    /// Refuses to stream a blob of more bytes than this.
    #[must_use]
    pub fn with_max_blob(mut self, max_blob: u64) -> Self {
        Arc::make_mut(&mut self.options).max_blob = max_blob;
        self
    }

    /// Resolves large deltified blobs in files without a name in this folder, which takes up to
    /// twice their size for a while. The system's folder for temporary files otherwise, which
    /// may lie in memory.
    #[must_use]
    pub fn with_scratch(mut self, folder: PathBuf) -> Self {
        Arc::make_mut(&mut self.options).scratch = folder;
        self
    }

    /// Looks for repositories now, and gives how many there are.
    ///
    /// Not needed: the first object that is asked for does it too, and waits as long. Call it in a
    /// thread of its own when a server starts.
    #[must_use = "none may have been found"]
    pub fn discover(&self) -> usize {
        self.shared.scan()
    }

    /// The repositories known, looked for again if that was not done a moment ago.
    #[must_use]
    pub fn repositories(&self) -> Vec<Repository> {
        self.shared.scan_if_due();
        refs::repositories(self.shared.given(), &self.shared.set())
    }

    /// The newest revision of some repository here, as an example. It was not looked for in any
    /// object: only HEAD says so.
    #[must_use]
    pub fn example_revision(&self) -> Option<Sha1Git> {
        self.shared.set().iter().filter_map(|objects| objects.path.parent()).find_map(head::head)
    }
}

impl Archive for GitArchive {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(reader::GitReader::new(self.shared.clone(), self.options.clone()))
    }

    fn stamp(&self, id: &Sha1Git) -> u64 {
        self.shared.stamp(id.as_bytes()[0])
    }
}
