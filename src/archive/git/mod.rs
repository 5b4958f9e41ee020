//! Git repositories as an archive: loose objects, packs, multi-pack indexes, alternates.
//!
//! Owns how git stores objects. Replace refs and grafts are not looked at, so an id always means
//! the bytes it is the hash of; what a shallow or partial clone has not got is absent.
//!
//! | file | what |
//! |---|---|
//! | `open`, `map` | the one way to any file of a repository |
//! | `served` | the folders that may be read, and the log of what is passed over |
//! | `discover`, `layout` | paths to `objects` directories; what makes a folder a repository |
//! | `shared` | what all readers share, and how it is kept up to date |
//! | `scans`, `newcomers`, `watch` | who waits for a scan; what makes one due; a folder that does not answer |
//! | `packs`, `pack` | an `objects/pack` as it was listed; one pack and its index |
//! | `reader` | one thread: finds the copies of an object, reads one that is good |
//! | `chain`, `cache`, `delta`, `inflate` | a packed object in memory |
//! | `large` | an object too large for that, through scratch files |
//! | `loose` | a loose object |
//! | `head` | what HEAD points to |
//! | `refs`, `ref_files` | the repositories, and what their refs point to |
//! | `reftable`, `stack` | refs that are no files: one table; all tables of a repository |
//!
//! gitoxide knows the layout of indexes and packs, whose bytes are mapped here. Entries are decoded here too: its decoder
//! holds an object, its bases and their deltas in memory, so a bound on that refuses an object which here goes through
//! scratch files; and histories and `verify` resolve packs that are no files of a repository with the same parts.
//! Alternates are followed here, for a repository may name any folder of the machine.

mod cache;
mod chain;
pub(crate) mod delta;
mod discover;
pub(crate) mod fault;
mod head;
pub(crate) mod inflate;
pub(crate) mod large;
mod layout;
mod loose;
mod map;
mod newcomers;
mod open;
mod pack;
mod packs;
mod reader;
mod ref_files;
mod refs;
pub mod reftable;
mod scans;
mod served;
mod shared;
mod stack;
mod watch;

pub(crate) use pack::parse_entry;
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
    /// [`ArchiveError::Io`], naming the path, when one is not a folder that can be listed.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self, ArchiveError> {
        Self::with_links(paths, Vec::new())
    }

    /// [`GitArchive::new`], with repositories below the paths `links` that a link under `paths` leads to.
    ///
    /// # Errors
    /// As [`GitArchive::new`].
    pub fn with_links(paths: Vec<PathBuf>, links: Vec<PathBuf>) -> Result<Self, ArchiveError> {
        let given = real_folders(paths, "open archive")?;
        let links = real_folders(links, "follow links into")?;
        let options = Options { max_blob: MAX_BLOB, scratch: std::env::temp_dir() };
        Ok(Self { shared: Arc::new(Shared::new(given, links)), options: Arc::new(options) })
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

    /// Sees at once what comes into `folder`, one of the paths, whose entries are repositories; what comes
    /// elsewhere is seen within a second. On a disk that answers.
    #[must_use]
    pub fn with_mirrors(self, folder: PathBuf) -> Self {
        self.shared.newcomers().watch(folder);
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

    /// Lets whoever asks for an object wait for a scan as long as that takes, instead of being told soon
    /// that it has not ended. For a program that has nothing else to do.
    pub fn wait_for_scans(&self) {
        self.shared.wait_for_scans();
    }

    /// The repositories known, looked for again if that was not done a moment ago.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] when it cannot be said which there are.
    pub fn repositories(&self) -> Result<Vec<Repository>, ArchiveError> {
        self.shared.scan_if_due().map_err(unreadable)?;
        Ok(refs::repositories(self.shared.given(), &self.shared.set()))
    }

    /// The newest revision of some repository here, as an example. It was not looked for in any
    /// object: only HEAD says so.
    #[must_use]
    pub fn example_revision(&self) -> Option<Sha1Git> {
        let served = self.shared.served();
        self.shared.set().iter().filter_map(|objects| objects.path.parent()).find_map(|dir| head::head(dir, served))
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

/// The canonical names of folders that can be listed.
fn real_folders(paths: Vec<PathBuf>, what: &str) -> Result<Vec<PathBuf>, ArchiveError> {
    let real = |path: PathBuf| {
        let listed = path.canonicalize().and_then(|real| real.read_dir().map(|_| real));
        listed.map_err(|cause| ArchiveError::Io { action: format!("{what} {}", path.display()), cause })
    };
    paths.into_iter().map(real).collect()
}

/// That the archive as a whole cannot be looked at.
fn unreadable(fault: fault::Fault) -> ArchiveError {
    match fault {
        fault::Fault::Io { action, cause } => ArchiveError::Io { action, cause },
        other => other.trouble().fault().of(Sha1Git::NULL),
    }
}
