//! Pure decoding of git objects.
