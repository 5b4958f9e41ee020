//! The queue and its cooks.
