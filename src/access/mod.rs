//! Touches, gathered.
