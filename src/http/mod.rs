//! HTTP.

pub mod conditional;
pub mod etag;
pub mod range;
