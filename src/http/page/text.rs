//! Bytes of strangers as text that people read: bounded, and with nothing in it that is not seen. What has a meaning
//! in HTML the templates escape.

use crate::archive::object::Signature;
use crate::escaped::{Escaped, Lines};
use jiff::tz::Offset;

/// The most bytes of a name that are shown.
const MAX_NAME: usize = 1000;

/// How far into a file is looked for what text does not hold, as git does.
const LOOKED_AT: usize = 8000;

/// A name, of a file, a branch or a person: one line.
pub(super) fn name(bytes: &[u8]) -> String {
    let (begin, is_cut) = first(bytes, MAX_NAME);
    let end = if is_cut { "\u{2026}" } else { "" };
    format!("{}{end}", Escaped(String::from_utf8_lossy(begin)))
}

/// At most `max` bytes of a text of lines, and whether there are more.
pub(super) fn lines(bytes: &[u8], max: usize) -> (String, bool) {
    let (begin, is_cut) = first(bytes, max);
    let text = String::from_utf8_lossy(begin).replace("\r\n", "\n");
    (Lines(text).to_string(), is_cut)
}

/// What a message says first, for a heading.
pub(super) fn subject(message: &[u8]) -> String {
    let line = message.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let (begin, is_cut) = first(line.trim_ascii(), 200);
    let end = if is_cut { "\u{2026}" } else { "" };
    format!("{}{end}", Escaped(String::from_utf8_lossy(begin)))
}

/// Whether these bytes are text: git says so of what has no NUL at its beginning.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    !bytes[..bytes.len().min(LOOKED_AT)].contains(&0)
}

/// The beginning, not cut within a character.
fn first(bytes: &[u8], max: usize) -> (&[u8], bool) {
    if bytes.len() <= max {
        return (bytes, false);
    }
    let is_begin = |at: &usize| bytes[*at] & 0xc0 != 0x80;
    let end = (max.saturating_sub(3)..=max).rev().find(is_begin).unwrap_or(max);
    (&bytes[..end], true)
}

/// When something was done, by the clock there, and the same for programs (RFC 3339).
pub(super) fn when(signature: &Signature<'_>) -> Option<(String, String)> {
    let at = jiff::Timestamp::from_second(signature.seconds?).ok()?;
    let offset = Offset::from_seconds(signature.zone.checked_mul(60)?).ok()?;
    let local = offset.to_datetime(at);
    let (hours, minutes) = (signature.zone.abs() / 60, signature.zone.abs() % 60);
    let sign = if signature.zone < 0 { '-' } else { '+' };
    let date = format!("{:04}-{:02}-{:02}", local.year(), local.month(), local.day());
    let words = format!("{date} {:02}:{:02} {sign}{hours:02}{minutes:02}", local.hour(), local.minute());
    Some((words, at.to_string()))
}

/// A number of bytes for people: with a decimal where it says something.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = bytes;
    let mut tenths = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        tenths = scaled % 1024 * 10 / 1024;
        scaled /= 1024;
        unit += 1;
    }
    match (unit, scaled) {
        (0, 1) => "1 byte".to_owned(),
        (0, _) => format!("{scaled} bytes"),
        (_, 0..10) => format!("{scaled}.{tenths} {}", UNITS[unit]),
        _ => format!("{scaled} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unseen_is_left_and_no_character_is_cut() {
        assert_eq!(name(b"a\xff\x1b[2J\n"), "a\u{fffd}\\u{1b}[2J\\n");
        assert_eq!(name("\u{202e}gpj.exe".as_bytes()), "\\u{202e}gpj.exe");
        assert_eq!(lines("a\r\nb\rc\td\u{2066}".as_bytes(), 99), ("a\nb\\rc\td\\u{2066}".to_owned(), false));
        assert_eq!(lines("aé€".as_bytes(), 4), ("aé".to_owned(), true));
        assert_eq!(lines(&[0x80; 9], 4).0.chars().count(), 4, "no character at all");
        assert!(name(&[b'x'; 2000]).len() < 1010);
        assert_eq!(subject(b"\n\n one \n\ntwo"), "one");
    }

    #[test]
    fn times_are_those_of_the_place() {
        let at = |seconds, zone| when(&Signature { seconds: Some(seconds), zone, ..Signature::default() });
        let words = |seconds, zone| at(seconds, zone).map(|(words, _)| words);
        assert_eq!(words(1_112_354_055, 120).as_deref(), Some("2005-04-01 13:14 +0200"));
        assert_eq!(words(0, -90).as_deref(), Some("1969-12-31 22:30 -0130"));
        assert_eq!(at(1_112_354_055, 120).unwrap().1, "2005-04-01T11:14:15Z");
        assert_eq!(words(i64::MAX, 0), None);
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (649_216, "634 KiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
