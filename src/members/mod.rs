//! The processes that work on one data directory: who of them is alive ([`Members`]), and who is alone at something
//! ([`alone`]).
//!
//! Owns every `flock` of larder. The kernel gives up a lock when its holder dies, however it dies, so there is no clock
//! here, no lease, and nothing to clear up after a crash. It tells of the processes of one machine: whoever asks here
//! asks the same where several machines share a catalogue, and only the answer comes from elsewhere.
//!
//! Lies below all that has files, and knows none of it.

mod lock;
pub(crate) mod process;

pub(crate) use lock::Lock;
pub use lock::{Alone, Duty, alone};

use crate::dir;
use process::Process;
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// This process among those of a data directory.
#[derive(Debug)]
pub struct Members {
    /// `None` in one that only reads.
    me: Option<Arc<Process>>,
    /// The folder that `tmp` lies in, with a folder of each process, and its path.
    root: OwnedFd,
    path: PathBuf,
}

impl Members {
    /// Joins the processes that have their folders in `tmp`, which lies in `root`, which lies at `path`.
    pub(crate) fn join(root: OwnedFd, tmp: OwnedFd, path: &Path) -> io::Result<Self> {
        let me = Process::begin(root.try_clone()?, tmp, path)?;
        Ok(Self { me: Some(Arc::new(me)), ..Self::watch(root, path) })
    }

    /// Joins nobody, and can still tell who is alive.
    pub(crate) fn watch(root: OwnedFd, path: &Path) -> Self {
        Self { me: None, root, path: path.to_owned() }
    }

    /// The name of this process, by which it owns what it claims in the catalogue. Empty in one that only reads.
    #[must_use]
    pub fn me(&self) -> &str {
        self.me.as_ref().map_or("", |process| process.name())
    }

    /// Whether the process called so lives. A momentary `true` for one that has just died is possible: ask again later.
    ///
    /// # Errors
    /// When that cannot be told, which is no reason to take it for dead.
    pub fn is_alive(&self, process: &str) -> io::Result<bool> {
        if !process.is_empty() && process == self.me() {
            return Ok(true);
        }
        let at = self.path.join("tmp");
        match dir::open(&self.root, "tmp") {
            Ok(tmp) => process::is_alive(tmp, process).map_err(|e| dir::said("look at", &at.join(process), e)),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(dir::said("open", &at, error)),
        }
    }

    /// The folder of this process.
    pub(crate) fn process(&self) -> Option<&Arc<Process>> {
        self.me.as_ref()
    }
}
