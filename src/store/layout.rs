//! From keys to paths.
