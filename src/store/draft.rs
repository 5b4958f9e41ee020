//! A file that is not yet a bundle.
