//! tar headers.
