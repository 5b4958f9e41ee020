//! What is served: the folders below which files may be read, and the log of what is passed over, each
//! with its reason and once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

/// So many paths that were passed over are remembered, so that none is logged twice.
const TOLD: usize = 10_000;

/// The folders that are served. Shared by the scan and by all that open files.
#[derive(Debug)]
pub(super) struct Served {
    /// Canonical. Held for a look, never while a file is touched.
    roots: RwLock<Vec<PathBuf>>,
    /// Held for a look-up.
    told: Mutex<HashSet<PathBuf>>,
}

impl Served {
    /// Those below `roots`, which are canonical.
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots: RwLock::new(roots), told: Mutex::default() }
    }

    /// Whether a canonical path lies below a folder that is served.
    pub(super) fn contains(&self, path: &Path) -> bool {
        self.roots.read().unwrap_or_else(PoisonError::into_inner).iter().any(|root| path.starts_with(root))
    }

    /// Serves what lies below another folder too.
    pub(super) fn add(&self, root: PathBuf) {
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }

    /// Serves from now on what lies below these, and nothing else.
    pub(super) fn replace(&self, roots: Vec<PathBuf>) {
        *self.roots.write().unwrap_or_else(PoisonError::into_inner) = roots;
    }

    /// Logs, once, that something is passed over.
    pub(super) fn skip(&self, path: &Path, reason: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD && !told.contains(path) {
            told.insert(path.to_owned());
            drop(told);
            tracing::warn!(path = %path.display(), "skipped: {reason}");
        }
    }
}
