//! The regions: buckets in which archives are kept for clients, beside the store.

pub mod settings;
