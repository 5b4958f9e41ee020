//! Segments and units.
