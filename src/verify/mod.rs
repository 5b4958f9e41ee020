//! From a bundle's bytes to the id of what it holds.
