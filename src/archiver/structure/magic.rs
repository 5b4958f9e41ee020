//! What a file seems to be by its first bytes: to say so of what is no archive.

pub(super) const GZIP: &[u8] = &[0x1f, 0x8b, 8];
pub(super) const BZIP2: &[u8] = b"BZh";
pub(super) const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
pub(super) const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
pub(super) const LZIP: &[u8] = b"LZIP";
pub(super) const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// As many bytes as every magic of a packing has, and more.
pub(super) const LONGEST: usize = 16;
/// As many as tell all that [`name`] knows.
pub(super) const ENOUGH: usize = 512;

/// A frame of zstd's that holds nothing to unpack (RFC 8878 section 3.1.2).
pub(super) fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// What begins so, if it is something that is known.
pub(super) fn name(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    Some(match bytes {
        _ if bytes.starts_with(GZIP) => "a gzip",
        _ if bytes.starts_with(BZIP2) => "a bzip2",
        _ if bytes.starts_with(XZ) => "an xz",
        _ if bytes.starts_with(ZSTD) || is_skippable(bytes) => "a zstd",
        _ if bytes.starts_with(LZIP) => "a lzip",
        _ if ZIP.iter().any(|magic| bytes.starts_with(magic)) => "a zip",
        _ if bytes.get(257..262) == Some(b"ustar") => "a tar",
        _ => match text {
            [b'<', b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z', ..] => "a page of HTML or XML",
            [b'{', b'"' | b' ' | b'\n' | b'}', ..] => "a page of JSON",
            _ => return None,
        },
    })
}
