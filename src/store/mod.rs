//! Bundles as files.

pub mod draft;
pub mod layout;
