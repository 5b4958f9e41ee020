//! Small files that are asked for again and again, kept whole in memory: of a hit of 100 KiB, the
//! copy out of the page cache is a quarter. Knows no header; `body` fills it, `static_file` asks it.
//!
//! A file is known by device, inode, size and time, and a bundle's time is a digest of its bytes, so
//! what is kept cannot be taken for another content. It is only ever asked with the facts of a file
//! that has just been opened, so a bundle that is gone is not served from here.

use super::digests::FileId;
use bytes::Bytes;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{LazyLock, Mutex};

/// The largest file kept, in bytes.
pub(super) const LARGEST: u64 = 128 * 1024;

/// How many are kept: 16 MiB of them at most.
const FILES: NonZeroUsize = NonZeroUsize::new(128).expect("because 128 is not zero");

/// Guards nothing else; no lock is taken while it is held.
static KEPT: LazyLock<Mutex<LruCache<FileId, Bytes>>> = LazyLock::new(|| Mutex::new(LruCache::new(FILES)));

/// The bytes of `file`, if they are kept.
pub(super) fn get(file: &FileId) -> Option<Bytes> {
    if file.size > LARGEST {
        return None;
    }
    KEPT.lock().expect("because nothing panics while holding it").get(file).cloned()
}

/// Keeps `bytes`, which are all of `file`.
pub(super) fn put(file: FileId, bytes: &[u8]) {
    if file.size <= LARGEST && bytes.len() as u64 == file.size {
        // A copy of its own size: the reader's buffer is larger and is wanted back.
        let bytes = Bytes::copy_from_slice(bytes);
        KEPT.lock().expect("because nothing panics while holding it").put(file, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_whole_file_is_kept_and_a_part_or_a_large_one_is_not() {
        let id = |ino, size| FileId { dev: u64::MAX, ino, size, mtime: 1 };
        put(id(1, 3), b"abc");
        put(id(2, 4), b"abc");
        put(id(3, LARGEST + 1), &vec![0; 128 * 1024 + 1]);
        assert_eq!(get(&id(1, 3)).as_deref(), Some(b"abc".as_slice()));
        assert_eq!((get(&id(2, 4)), get(&id(3, LARGEST + 1)), get(&id(1, 2))), (None, None, None));
    }
}
