//! The one validator.
