//! What was cooked and when it was last used.
