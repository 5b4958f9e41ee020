//! From an object to the bytes of a bundle.

pub mod flat;
pub mod segment;
pub mod tarball;
