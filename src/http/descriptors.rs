//! Files that bodies have open. A connection of HTTP/1.1 sends one body at a time and so has one file open; one of
//! HTTP/2 has as many as it likes. Of those only so many are open at once: when there are more, the one that was not
//! read for longest is closed, and opened again by its name should its client come to take the rest. Its bytes must
//! then be those of the same file still; else the body fails, and the client sees a cut transfer.

use super::digests::FileId;
use lru::LruCache;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

/// The most files that bodies of HTTP/2 have open, where the process may open that many.
const MOST: usize = 1024;

/// What larder asks the kernel for at its start: connections, a file for each, and what it reads.
const WANTED: u64 = 16_384;

/// Opens a file again by its name; `None` when there is none any more.
#[derive(Clone)]
pub struct Reopen(Arc<dyn Fn() -> io::Result<Option<File>> + Send + Sync>);

impl Reopen {
    /// By calling `open`, which may block.
    pub fn by(open: impl Fn() -> io::Result<Option<File>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }
}

impl std::fmt::Debug for Reopen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reopen")
    }
}

/// Lets the process have as many files open as it may, up to what it can need; says how many.
///
/// # Errors
/// The kernel does not let it.
pub fn allow_many() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let now = current.unwrap_or(u64::MAX);
    let wanted = maximum.map_or(WANTED, |most| most.min(WANTED));
    if wanted > now {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(now.max(wanted))
}

/// A file that is open, or was.
pub(super) struct Lent {
    number: u64,
    id: FileId,
    reopen: Reopen,
    /// Held while nothing else is, and for no longer than opening takes.
    file: Mutex<Option<Arc<File>>>,
}

impl Lent {
    pub(super) fn new(file: File, id: FileId, reopen: Reopen) -> Arc<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Relaxed);
        let lent = Arc::new(Self { number, id, reopen, file: Mutex::new(Some(Arc::new(file))) });
        lent.note();
        lent
    }

    /// The file, if it is open still.
    pub(super) fn open(self: &Arc<Self>) -> Option<Arc<File>> {
        let file = lock(&self.file).clone()?;
        self.note();
        Some(file)
    }

    /// The file, opened again if it has been closed. Blocking.
    pub(super) fn reopened(self: &Arc<Self>) -> io::Result<Arc<File>> {
        let file = {
            let mut file = lock(&self.file);
            match &*file {
                Some(file) => Arc::clone(file),
                None => Arc::clone(file.insert(Arc::new(self.again()?))),
            }
        };
        self.note();
        Ok(file)
    }

    fn again(&self) -> io::Result<File> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the file was removed while it waited to be sent");
        let file = (self.reopen.0)()?.ok_or_else(gone)?;
        let metadata = file.metadata()?;
        let (dev, ino) = (metadata.dev(), metadata.ino());
        let id = FileId { dev, ino, size: metadata.len(), mtime: metadata.mtime() };
        if id == self.id { Ok(file) } else { Err(gone()) }
    }

    /// Notes that it was used now, and closes those that were not for longest.
    fn note(self: &Arc<Self>) {
        let mut closing = Vec::new();
        {
            let mut open = lock(&OPEN.files);
            open.put(self.number, Arc::downgrade(self));
            while open.len() > OPEN.most {
                closing.extend(open.pop_lru());
            }
        }
        // Outside the lock: the last holder of one may be here, and it locks the list when it ends.
        for lent in closing.into_iter().filter_map(|(_, lent)| lent.upgrade()) {
            lock(&lent.file).take();
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        lock(&OPEN.files).pop(&self.number);
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lent").field(&self.id).finish()
    }
}

struct Open {
    most: usize,
    /// By number, the last used last. No other lock is taken while it is held.
    files: Mutex<LruCache<u64, Weak<Lent>>>,
}

static OPEN: LazyLock<Open> = LazyLock::new(|| {
    let may = getrlimit(Resource::Nofile).current.and_then(|may| usize::try_from(may).ok());
    let most = may.map_or(MOST, |may| (may / 4).clamp(16, MOST));
    Open { most, files: Mutex::new(LruCache::unbounded()) }
});

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    fn lend(path: &Path) -> Arc<Lent> {
        let file = File::open(path).unwrap();
        let metadata = file.metadata().unwrap();
        let (dev, ino) = (metadata.dev(), metadata.ino());
        let id = FileId { dev, ino, size: metadata.len(), mtime: metadata.mtime() };
        let path = path.to_owned();
        Lent::new(file, id, Reopen::by(move || File::open(&path).map(Some)))
    }

    #[test]
    fn only_so_many_are_open_and_what_was_closed_is_the_same_file_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "first").unwrap();
        let lent: Vec<_> = (0..OPEN.most + 9).map(|_| lend(&path)).collect();
        let open = || lent.iter().filter(|lent| lock(&lent.file).is_some()).count();
        assert!(open() <= OPEN.most, "{} of {}", open(), OPEN.most);
        assert!(lent[0].open().is_none(), "the one that was not used for longest");
        let mut bytes = [0; 5];
        lent[0].reopened().unwrap().read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"first");
        assert!(lent[0].open().is_some() && open() <= OPEN.most);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "other, longer").unwrap();
        assert!(lent[2].reopened().is_err(), "another file has the name now");
        drop(lent);
    }
}
