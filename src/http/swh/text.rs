//! What of git's objects is shown as text: bytes that may be no UTF-8, people, dates. Pure.

use crate::archive::object::Signature;
use jiff::tz::Offset;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Bytes as text, and whether some of them were none: these are written `\xe9`.
pub(super) fn text(bytes: &[u8]) -> (String, bool) {
    let (mut text, mut failed) = (String::with_capacity(bytes.len()), false);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            failed = true;
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    (text, failed)
}

/// Fields of an object, with the list of those that are no text as the real service has it.
#[derive(Default)]
pub(super) struct Members {
    members: serde_json::Map<String, Value>,
    failures: Vec<&'static str>,
}

impl Members {
    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.members.insert(name.to_owned(), value.into());
    }

    /// A field of bytes that should be text; `true` when they are none.
    pub(super) fn set_text(&mut self, name: &'static str, bytes: Option<&[u8]>) -> bool {
        let Some(bytes) = bytes else {
            self.set(name, Value::Null);
            return false;
        };
        let (text, failed) = text(bytes);
        self.set(name, text);
        if failed {
            self.failures.push(name);
        }
        failed
    }

    /// The object that has these fields.
    pub(super) fn done(mut self) -> Value {
        if !self.failures.is_empty() {
            self.members.insert("decoding_failures".to_owned(), self.failures.into());
        }
        Value::Object(self.members)
    }
}

/// A person; null where nobody is named.
pub(super) fn person(signature: Option<Signature<'_>>) -> Value {
    let Some(Signature { full, name, email, .. }) = signature else { return Value::Null };
    let mut members = Members::default();
    members.set_text("fullname", Some(full));
    members.set_text("name", Some(name).filter(|name| !name.is_empty()));
    members.set_text("email", full.contains(&b'<').then_some(email));
    members.done()
}

/// `2016-07-20T10:03:20+02:30`; null for what no calendar has.
pub(super) fn date(signature: Option<Signature<'_>>) -> Value {
    let date = signature.and_then(|signature| shown(signature.seconds?, signature.zone));
    date.map_or(Value::Null, Value::from)
}

fn shown(seconds: i64, zone: i32) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    let local = Offset::from_seconds(zone.checked_mul(60)?).ok()?.to_datetime(at);
    let (sign, minutes) = (if zone < 0 { '-' } else { '+' }, zone.abs());
    (local.year() > 0).then(|| {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second(),
            minutes / 60,
            minutes % 60
        )
    })
}

/// A moment of larder's, as the real service writes those of visits: `2026-11-27T01:51:48.678000+00:00`.
pub(super) fn moment(at: crate::time::Timestamp) -> String {
    let text = at.to_string();
    text.strip_suffix('Z').map_or(text.clone(), |text| format!("{text}000+00:00"))
}

/// A list of texts from names and values.
pub(super) fn pairs(headers: &[(&[u8], Vec<u8>)]) -> Value {
    headers.iter().map(|(name, value)| json!([text(name).0, text(value).0])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_escaped_and_said_to_be() {
        assert_eq!(text("café\n".as_bytes()), ("café\n".to_owned(), false));
        assert_eq!(text(b"caf\xe9 \\ \xff\xfe"), ("caf\\xe9 \\ \\xff\\xfe".to_owned(), true));
        let mut members = Members::default();
        members.set_text("name", Some(b"a"));
        assert!(members.set_text("message", Some(b"\xe9")));
        assert_eq!(members.done(), json!({"name": "a", "message": "\\xe9", "decoding_failures": ["message"]}));
    }

    #[test]
    fn a_date_is_written_in_its_own_zone_and_none_that_no_calendar_has() {
        for (seconds, offset, expected) in [
            (1_416_258_578, 60, Some("2014-11-17T22:09:38+01:00")),
            (1_416_295_778, -450, Some("2014-11-17T23:59:38-07:30")),
            (0, 0, Some("1970-01-01T00:00:00+00:00")),
            (-1, 0, Some("1969-12-31T23:59:59+00:00")),
            (-62_135_596_800, 0, Some("0001-01-01T00:00:00+00:00")),
            (-62_135_596_801, 0, None),
            (i64::MAX, 0, None),
            (0, i32::MAX, None),
        ] {
            assert_eq!(shown(seconds, offset).as_deref(), expected, "{seconds} {offset}");
        }
        assert_eq!(moment(crate::time::Timestamp::from_millis(1_795_744_308_678)), "2026-11-27T01:51:48.678000+00:00");
    }
}
