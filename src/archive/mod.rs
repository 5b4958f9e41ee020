//! Where objects come from. Owns the [`Archive`] and [`Reader`] traits and their error; git
//! repositories are one ([`git::GitArchive`]), and so are several archives asked in turn ([`several`]).
//! Knows nothing of bundles, of the store or of HTTP.
//!
//! **Invariant: what a reader returns has been hashed.** [`Reader::find`] and [`Reader::stream`]
//! compare the object's SHA-1, with collision detection, with the id asked for; an archive need
//! not be trusted. [`Reader::peek`], [`Reader::peek_all`] and [`Reader::place`] do not: what comes of
//! them is hashed by who asked, before it is published.

mod blocked;
mod counted;
pub mod git;
mod met;
pub mod object;
pub mod packed;
pub mod several;
pub mod snapshot;

pub use blocked::{BlockedArchive, Blocks};
pub use counted::CountedArchive;
pub use met::{Met, NotingArchive};
pub use object::ObjectType;
pub use packed::{PackedEntry, Place};

use crate::key::Sha1Git;
use std::io;

/// An object's type and size in bytes, as the archive says: not verified, for nothing was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type.
    pub object_type: ObjectType,
    /// The length of the content in bytes.
    pub size: u64,
}

/// The largest object [`Reader::find`] gives whole, in bytes: 16 MiB. Larger blobs are streamed;
/// trees, commits and tags have [`MAX_STRUCTURE`].
pub const MAX_WHOLE_BLOB: u64 = 16 << 20;

/// The largest tree, commit or tag that is read at all, in bytes: 64 MiB.
pub const MAX_STRUCTURE: u64 = 64 << 20;

/// A place that holds objects. Shared by all threads; each thread reads through a [`Reader`].
pub trait Archive: Send + Sync {
    /// A handle for one thread. Cheap: what is expensive is shared behind it.
    fn reader(&self) -> Box<dyn Reader>;

    /// A number that changes when an object of this id may have appeared since, asked before an absence that is
    /// remembered is believed. It may block for as long as a few `stat`s or the look-up of one row take, and searches
    /// nothing. What cannot be told gives the number of an archive that has nothing yet.
    fn stamp(&self, id: &Sha1Git) -> u64;
}

/// One thread's handle of an archive.
pub trait Reader: Send {
    /// Type and size of an object, or `None` when the archive has not got it.
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError>;

    /// Reads a whole object into `buf` (cleared first, its capacity kept) and gives its type, or
    /// `None` when the archive has not got it.
    ///
    /// # Errors
    /// [`ArchiveError::TooLarge`] for a blob over [`MAX_WHOLE_BLOB`] or another object over
    /// [`MAX_STRUCTURE`], before anything of its size is allocated; [`ArchiveError::Corrupt`] when
    /// the bytes do not have the id.
    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError>;

    /// Writes a blob of any size to `sink` in pieces of at most 64 KiB, in bounded memory.
    ///
    /// The hash can be known only at the end: on an error what `sink` was given is worthless.
    ///
    /// # Errors
    /// [`ArchiveError::Sink`] carries an error of `sink` as it is. [`ArchiveError::Corrupt`] also
    /// when the object is not a blob.
    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError>;

    /// Counts the object as asked for though nothing of it is read, not even whether it is there: for who
    /// remembers what it needs of it.
    ///
    /// # Errors
    /// [`ArchiveError::Blocked`].
    fn note(&mut self, _id: &Sha1Git) -> Result<(), ArchiveError> {
        Ok(())
    }

    /// A hint that objects will be read in the order of a history rather than of one tree: the cache of bases of
    /// deltas may grow, to some 32 MiB. What comes back is the same.
    fn widen(&mut self) {}

    /// Where the object is, or `None` when the archive has not got it. Nothing of it is read.
    fn place(&mut self, id: &Sha1Git) -> Result<Option<Place>, ArchiveError> {
        Ok(self.header(id)?.map(|_| Place::Elsewhere))
    }

    /// As [`find`](Self::find), but an archive may leave out the hashing, and does not read a blob:
    /// `buf` is empty then. For who walks a history and compares every object with its id after.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    fn peek(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        match self.header(id)? {
            Some(Header { object_type: ObjectType::Blob, .. }) => {
                buf.clear();
                Ok(Some(ObjectType::Blob))
            }
            Some(_) => self.find(id, buf),
            None => Ok(None),
        }
    }

    /// As [`peek`](Self::peek), but reads blobs too, and no object of more than `most` bytes.
    ///
    /// # Errors
    /// As [`find`](Self::find); [`ArchiveError::TooLarge`] for one of more.
    fn peek_all(&mut self, id: &Sha1Git, most: u64, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        match self.header(id)? {
            Some(Header { size, .. }) if size > most => Err(ArchiveError::TooLarge { id: *id, size, limit: most }),
            Some(_) => self.find(id, buf),
            None => Ok(None),
        }
    }
}

/// Why an archive could not give an object. Absence is not among these: it is `Ok(None)`.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes stored are not those of the id, or are not an object at all.
    #[error("object {id} is corrupt: {reason}")]
    Corrupt {
        /// The object.
        id: Sha1Git,
        /// What is wrong, without any path.
        reason: String,
    },
    /// Over a cap.
    #[error("object {id} has {size} bytes, over the limit of {limit}")]
    TooLarge {
        /// The object.
        id: Sha1Git,
        /// Its size in bytes.
        size: u64,
        /// The cap in bytes.
        limit: u64,
    },
    /// The operator has blocked it: it is not given out, whoever asks.
    #[error("object {id} is blocked")]
    Blocked {
        /// The object.
        id: Sha1Git,
    },
    /// The archive could not be read. The message may hold a path: it is for the log, not for a
    /// client.
    #[error("{action}: {cause}")]
    Io {
        /// What was being done, and where.
        action: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// The sink of [`Reader::stream`] refused.
    #[error(transparent)]
    Sink(io::Error),
}
