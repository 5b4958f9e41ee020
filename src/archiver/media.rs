//! The media types under which archives are given out as their upstreams gave them. Pure.
//!
//! A list, and not whatever an upstream or a client says: what a browser would show or run is not on it.
//! `nginx/` repeats it, and a test holds the two together.

/// Types of archives, as forges and web servers say them.
pub const MEDIA_TYPES: [&str; 20] = [
    "application/bzip2",
    "application/gzip",
    "application/octet-stream",
    "application/x-bzip",
    "application/x-bzip2",
    "application/x-compressed",
    "application/x-compressed-tar",
    "application/x-gtar",
    "application/x-gzip",
    "application/x-lzip",
    "application/x-lzma",
    "application/x-tar",
    "application/x-tgz",
    "application/x-xz",
    "application/x-zip",
    "application/x-zip-compressed",
    "application/x-zstd",
    "application/xz",
    "application/zip",
    "application/zstd",
];

/// The type of the list that a `Content-Type` says; what stands behind a semicolon does not matter.
#[must_use]
pub fn known(content_type: &str) -> Option<&'static str> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    MEDIA_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(essence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_an_archive_is_known() {
        for (said, found) in [
            ("application/x-gzip", Some("application/x-gzip")),
            ("Application/Zip; charset=binary", Some("application/zip")),
            ("text/html", None),
            ("application/javascript", None),
            ("", None),
        ] {
            assert_eq!(known(said), found, "{said}");
        }
    }
}
