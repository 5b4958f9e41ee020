//! The one validator of a bundle, as `ETag` and `Last-Modified`, and the lists of entity tags that
//! clients send back (RFC 9110 section 8.8). Pure: knows no file and no response.
//!
//! The tag is nginx's own, `"<mtime in hex>-<size in hex>"`, so that a bundle has one tag whoever
//! serves it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second an HTTP date can hold: the end of the year 9999.
const LAST_DATE: i64 = 253_402_300_799;

/// What tells one content of a file from another: seconds since the epoch, and bytes.
///
/// ```
/// use larder::http::etag::Validator;
/// let validator = Validator { mtime: 1_700_000_000, size: 291 };
/// assert_eq!(validator.etag(), "\"6553f100-123\"");
/// assert_eq!(validator.last_modified().as_deref(), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validator {
    /// Modification time of the file, in seconds since 1970.
    pub mtime: i64,
    /// Size of the file, in bytes.
    pub size: u64,
}

impl Validator {
    /// The strong entity tag, with its quotes.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.mtime, self.size)
    }

    /// The modification time, or `None` where an HTTP date cannot say it.
    #[must_use]
    pub fn modified(&self) -> Option<SystemTime> {
        let after = u64::try_from(self.mtime).ok().filter(|_| self.mtime <= LAST_DATE)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(after))
    }

    /// The modification time as an IMF-fixdate.
    #[must_use]
    pub fn last_modified(&self) -> Option<String> {
        self.modified().map(httpdate::fmt_http_date)
    }
}

/// How two tags are compared (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal, and neither of them weak: for `If-Match` and `If-Range`.
    Strong,
    /// Equal, weak or not: for `If-None-Match`.
    Weak,
}

/// Whether `etag`, which is strong, is among the tags of a field whose lines are `lines`. A field
/// that is `*` and nothing else has every tag.
///
/// An element that is no tag is passed over up to the next comma: it matches nothing, and hides
/// none of the others.
pub fn list_has<'a>(lines: impl IntoIterator<Item = &'a [u8]>, etag: &str, comparison: Comparison) -> bool {
    let mut lines = lines.into_iter();
    let (Some(first), second) = (lines.next(), lines.next()) else { return false };
    if second.is_none() && first.trim_ascii() == b"*" {
        return true;
    }
    std::iter::once(first).chain(second).chain(lines).any(|line| line_has(line, etag, comparison))
}

/// Whether `field` is one tag, and equal to `etag` in the strong comparison; `None` when it is not
/// a tag at all (an `If-Range` may also hold a date).
#[must_use]
pub fn is_strongly(field: &[u8], etag: &str) -> Option<bool> {
    let (tag, rest) = Tag::read(field.trim_ascii())?;
    Some(rest.is_empty() && tag.matches(etag, Comparison::Strong))
}

fn line_has(line: &[u8], etag: &str, comparison: Comparison) -> bool {
    let mut rest = line;
    loop {
        rest = skip(rest, |byte| matches!(byte, b' ' | b'\t' | b','));
        if rest.is_empty() {
            return false;
        }
        if let Some((tag, after)) = Tag::read(rest) {
            let after = skip(after, |byte| matches!(byte, b' ' | b'\t'));
            if matches!(after.first(), None | Some(b',')) {
                if tag.matches(etag, comparison) {
                    return true;
                }
                rest = after;
                continue;
            }
        }
        rest = skip(rest, |byte| byte != b',');
    }
}

struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag that `text` begins with, and what follows it.
    fn read(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, text) = match text.strip_prefix(b"W/") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let inside = text.strip_prefix(b"\"")?;
        let end = inside.iter().position(|&byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
        if inside[end] != b'"' {
            return None;
        }
        let (opaque, rest) = text.split_at(end + 2);
        Some((Self { weak, opaque }, rest))
    }

    fn matches(&self, etag: &str, comparison: Comparison) -> bool {
        (comparison == Comparison::Weak || !self.weak) && self.opaque == etag.as_bytes()
    }
}

fn skip(text: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|&byte| !is_skipped(byte)).unwrap_or(text.len());
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: &str = "\"6553f100-123\"";

    fn has(line: &str, comparison: Comparison) -> bool {
        list_has([line.as_bytes()], OURS, comparison)
    }

    #[test]
    fn lists_are_read_as_rfc_9110_writes_them() {
        // (field, weak comparison, strong comparison)
        let cases = [
            ("*", true, true),
            (" * ", true, true),
            ("\"6553f100-123\"", true, true),
            ("W/\"6553f100-123\"", true, false),
            ("w/\"6553f100-123\"", false, false),
            ("\"a\", \"6553f100-123\"", true, true),
            ("\"a\",\"6553f100-123\",\"b\"", true, true),
            (",, ,\"6553f100-123\" ,", true, true),
            ("\"a,b\", \"6553f100-123\"", true, true),
            ("\"\"", false, false),
            ("", false, false),
            ("\"a\", *", false, false),
            ("6553f100-123", false, false),
            ("\"6553f100-123", false, false),
            ("\"6553f100-123\"x", false, false),
            ("W/ \"6553f100-123\"", false, false),
            ("\"6553F100-123\"", false, false),
            ("junk, \"6553f100-123\"", true, true),
            ("\"open, \"6553f100-123\"", true, true),
        ];
        for (field, weak, strong) in cases {
            assert_eq!(has(field, Comparison::Weak), weak, "{field} weakly");
            assert_eq!(has(field, Comparison::Strong), strong, "{field} strongly");
        }
    }

    #[test]
    fn several_lines_are_one_list_in_which_a_star_means_nothing() {
        let lines = [b"\"a\"".as_slice(), b"W/\"6553f100-123\""];
        assert!(list_has(lines, OURS, Comparison::Weak));
        assert!(!list_has([b"\"a\"".as_slice(), b"*"], OURS, Comparison::Weak));
        assert!(!list_has(std::iter::empty::<&[u8]>(), OURS, Comparison::Weak));
    }

    #[test]
    fn one_tag_is_told_from_a_date() {
        assert_eq!(is_strongly(OURS.as_bytes(), OURS), Some(true));
        assert_eq!(is_strongly(b"W/\"6553f100-123\"", OURS), Some(false));
        assert_eq!(is_strongly(b"\"6553f100-123\", \"b\"", OURS), Some(false));
        assert_eq!(is_strongly(b"Tue, 14 Nov 2023 22:13:20 GMT", OURS), None);
    }

    #[test]
    fn times_no_http_date_can_say_have_none() {
        for mtime in [-1, i64::MIN, LAST_DATE + 1, i64::MAX] {
            assert_eq!(Validator { mtime, size: 0 }.last_modified(), None, "{mtime}");
        }
        let last = Validator { mtime: LAST_DATE, size: 0 };
        assert_eq!(last.last_modified().as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
    }

    proptest! {
        #[test]
        fn every_validator_finds_its_own_tag(mtime in any::<i64>(), size in any::<u64>(), other in "[!#-~]{0,20}") {
            let etag = Validator { mtime, size }.etag();
            let field = format!("\"{other}\", W/{etag}");
            prop_assert!(list_has([field.as_bytes()], &etag, Comparison::Weak));
            prop_assert_eq!(list_has([field.as_bytes()], &etag, Comparison::Strong), format!("\"{other}\"") == etag);
        }

        #[test]
        fn no_field_makes_the_reader_panic(field in proptest::collection::vec(any::<u8>(), 0..200)) {
            list_has([field.as_slice()], OURS, Comparison::Weak);
            let _ = is_strongly(&field, OURS);
        }

        #[test]
        fn a_field_without_the_tag_never_matches(field in "[ -~]{0,60}") {
            prop_assume!(!field.contains(OURS) && field.trim() != "*");
            prop_assert!(!has(&field, Comparison::Weak));
        }
    }
}
