//! What is asked of identifiers alone: which objects are known, what a SWHID means, external identifiers, and counts.

use super::content::unhex;
use super::path::{core_swhid, qualified_swhid};
use super::reading::{Fault, Objects, Reply};
use super::said::Wrong;
use super::snapshot::no_snapshot;
use crate::archive::ArchiveError;
use crate::digest::hex;
use crate::key::{ObjectKind, Sha1Git, Swhid};
use crate::kitchen::OrderError;
use hyper::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};

/// The most identifiers that are asked about at once.
const MOST_KNOWN: usize = 1000;

/// What of a value does not stand in a query as it is.
const ESCAPED: AsciiSet = CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'>');

/// The identifiers in the body of a request.
pub(super) fn asked_about(sent: &Value) -> Result<Vec<(String, ObjectKind, Sha1Git)>, Wrong> {
    let names: Vec<&str> = match sent {
        Value::Array(elements) => {
            let text = |element: &'_ Value| element.as_str().map(str::len).is_some();
            if let Some(other) = elements.iter().find(|element| !text(element)) {
                return Err(Wrong::bad_input(format!("Error when parsing identifier: {other} is not a text")));
            }
            elements.iter().filter_map(Value::as_str).collect()
        }
        // The real service takes what it can go through: the keys of an object, the whole of a text.
        Value::Object(members) => members.keys().map(String::as_str).collect(),
        Value::String(text) => vec![text.as_str()],
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            return Err(Wrong::bad_input("the body is a list of SWHIDs"));
        }
    };
    if names.len() > MOST_KNOWN {
        let reason = format!("The maximum number of SWHIDs this endpoint can receive is {MOST_KNOWN}");
        return Err(Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "LargePayloadExc", reason));
    }
    let read = |name: &str| core_swhid(name).map(|(kind, id)| (name.to_owned(), kind, id)).map_err(Wrong::bad_input);
    names.into_iter().map(read).collect()
}

/// `extid/<type>/<form>:<value>/`. Larder remembers no such identifier.
pub(super) fn external_id(kind: &str, value: &str) -> Wrong {
    let (form, digits) = value.split_once(':').unwrap_or((value, ""));
    let bytes = match form {
        "hex" => unhex(digits),
        "base64url" => from_base64url(digits),
        "raw" => Some(digits.as_bytes().to_vec()),
        _ => return Wrong::bad_input(format!("Invalid external identifier format: {form}")),
    };
    match bytes {
        Some(bytes) => Wrong::not_found(format!("ExtID of type {kind} and value {} not found.", hex(&bytes))),
        None => Wrong::bad_input(format!("Invalid external identifier: {value}")),
    }
}

/// `extid/target/<swhid>/`
pub(super) fn external_ids_of(swhid: &str) -> Wrong {
    match core_swhid(&swhid.to_ascii_lowercase()) {
        Ok((kind, id)) => Wrong::not_found(format!("ExtID targeting {} not found.", Swhid { kind, id })),
        Err(words) => Wrong::bad_input(words),
    }
}

impl Objects {
    /// `known/`: which of these objects are there.
    pub(super) fn known(&self, asked: &[(String, ObjectKind, Sha1Git)]) -> Result<Reply, Fault> {
        let mut reader = self.reader();
        let mut known = Map::new();
        for (name, kind, id) in asked {
            let is_known = match self.has(reader.as_mut(), *kind, id) {
                // What is blocked is not given out: for whoever asks it is not here.
                Err(Fault::Order(OrderError::Blocked { .. } | OrderError::Archive(ArchiveError::Blocked { .. }))) => {
                    false
                }
                has => has?,
            };
            known.insert(name.clone(), json!({"known": is_known}));
        }
        // Fields are those of the answer, which are these names.
        Ok(Reply::Value(Value::Object(known)))
    }

    /// `resolve/<swhid>/`: what a SWHID with its qualifiers means.
    pub(super) fn resolve(&self, text: &str) -> Result<Reply, Fault> {
        let (kind, id, qualifiers) = qualified_swhid(text).map_err(Wrong::bad_input)?;
        if !self.has(self.reader().as_mut(), kind, &id)? {
            return Err(no_object(kind, &id).into());
        }
        let metadata: Map<String, Value> =
            qualifiers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let name = if kind == ObjectKind::Content { format!("sha1_git:{id}") } else { id.to_string() };
        let url = self.base.url(&format!("/browse/{kind}/{name}/{}", browsed(&qualifiers)));
        Ok(Reply::Value(json!({
            "namespace": "swh",
            "scheme_version": 1,
            "object_type": kind.as_str(),
            "object_id": id.to_string(),
            "metadata": metadata,
            "browse_url": url,
        })))
    }

    /// `stat/counters/`: what can be counted without looking at all there is. Objects cannot.
    pub(super) fn counters(&self) -> Result<Reply, Fault> {
        let origins = self.orders.bundles().catalogue().number_of_origins()?;
        Ok(Reply::Value(json!({
            "origin": origins,
            "revision": 0,
            "content": 0,
            "directory": 0,
            "release": 0,
            "person": 0,
            "snapshot": 0,
            "skipped_content": 0,
            "origin_visit": 0,
        })))
    }
}

fn no_object(kind: ObjectKind, id: &Sha1Git) -> Wrong {
    let words = match kind {
        ObjectKind::Content => format!("Content with sha1_git checksum equals to {id} not found!"),
        ObjectKind::Directory => format!("Directory with sha1_git {id} not found"),
        ObjectKind::Revision => format!("Revision with sha1_git {id} not found."),
        ObjectKind::Release => format!("Release with sha1_git {id} not found."),
        ObjectKind::Snapshot => return no_snapshot(id),
    };
    Wrong::not_found(words)
}

/// The query and the fragment of the URL of a page that shows an object where its qualifiers say.
fn browsed(qualifiers: &[(String, String)]) -> String {
    let mut parameters = Vec::new();
    let mut fragment = String::new();
    let object = |value: &str| core_swhid(value).ok();
    for (name, value) in qualifiers {
        match name.as_str() {
            "origin" => parameters.push(format!("origin_url={}", escaped(value))),
            "path" => parameters.push(format!("path={}", escaped(value.trim_start_matches('/')))),
            "visit" => parameters.extend(object(value).map(|(_, id)| format!("snapshot={id}"))),
            "anchor" => parameters.extend(object(value).map(|(kind, id)| format!("{kind}={id}"))),
            "lines" => {
                let lines: Vec<String> = value.split('-').map(|line| format!("L{}", escaped(line))).collect();
                fragment = format!("#{}", lines.join("-"));
            }
            _ => {}
        }
    }
    parameters.sort();
    let query = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
    query + &fragment
}

fn escaped(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, &ESCAPED)
}

/// RFC 4648 section 5, with padding or without.
fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_that_of_rfc_4648_section_10() {
        for (text, bytes) in [("", ""), ("Zg", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(from_base64url(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(from_base64url("-_8"), Some(vec![0xfb, 0xff]));
        assert_eq!(from_base64url("+/8"), None);
    }

    #[test]
    fn what_is_asked_about_is_a_list_of_identifiers_of_no_more_than_may_be() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let swhid = format!("swh:1:dir:{id}");
        let read = |value: Value| asked_about(&value).map(|all| all.len());
        assert_eq!(read(json!([swhid, swhid])).unwrap(), 2);
        assert_eq!(read(json!({swhid.clone(): 1})).unwrap(), 1);
        assert_eq!(read(Value::from(vec![swhid.clone(); 1000])).unwrap(), 1000);
        for refused in [json!([swhid, 1]), json!(null), json!(["x"]), json!("x"), Value::from(vec![swhid; 1001])] {
            assert!(read(refused).is_err());
        }
    }
}
