//! What the kitchen asks of those who fetch objects from elsewhere ([`crate::upstream`]): whether they may be
//! asked at all, and what has become of it. Owns the words, and no connection.

use crate::key::{BundleKey, Sha1Git};

/// What became of an object that is sought elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sought {
    /// It may come: the cook is to look again in a while, or when it is hastened.
    Underway,
    /// Nobody has it; why.
    Absent(String),
    /// Nobody can say now; why.
    Troubled(String),
}

/// Where objects are sought that no archive here has. Answers from memory alone.
pub trait Remote: Send + Sync {
    /// Whether what a bundle needs may be sought: `Some(false)` when too much is already, `None` when it is
    /// known that nobody has it.
    fn accepts(&self, key: &BundleKey) -> Option<bool>;

    /// Seeks what a bundle needs, unless that is being done. `missing` is what its cook has not found: its own
    /// object, or one below it.
    fn seek(&self, key: &BundleKey, missing: &Sha1Git) -> Sought;

    /// What is being done, in a few words for people; `None` when nothing is.
    fn said(&self, key: &BundleKey) -> Option<String>;

    /// Notes through whom a request for a bundle came (`Via`, RFC 9110 section 7.6.3). `false` when that is
    /// this larder itself, or too many: then nothing is to be sought for it.
    fn comes_through(&self, key: &BundleKey, via: &str) -> bool;
}
