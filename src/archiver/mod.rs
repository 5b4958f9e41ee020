//! The Archiver: archives named by a URL, fetched once from their upstream, read through, kept by the
//! id of their bytes, and found again under every request that led to them.

pub mod pattern;
pub mod request;
pub mod settings;
pub mod source;
pub mod structure;
pub mod task;
pub mod tree;
