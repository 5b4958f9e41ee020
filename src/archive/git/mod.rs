//! Git repositories as an archive.
