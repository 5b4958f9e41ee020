//! Exchanges that were recorded with the real service (swh.web 0.17.13, swh.vault 2.1.0), sent to larder over the same
//! repositories: equal in status, in the headers that clients go by and in JSON, but for what `differences` lists.

use super::differences::{DIFFERENCES, Difference};
use super::{Archive, BASE};
use crate::common::client::{Answer, request_with_body};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashSet};

/// An exchange as it was recorded.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Recorded {
    pub(super) case: String,
    pub(super) method: String,
    pub(super) path: String,
    #[serde(default)]
    pub(super) request_headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) request_body: Option<String>,
    pub(super) status: u16,
    /// Those that are compared, in lower case.
    pub(super) headers: BTreeMap<String, String>,
    /// The body, where that was JSON.
    #[serde(default)]
    pub(super) json: Option<Value>,
    /// The first elements of a body that was too long to be kept.
    #[serde(default)]
    pub(super) begins: Option<Vec<Value>>,
    /// The body, where that was a short text.
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) body_sha256: Option<String>,
}

#[test]
fn larder_answers_as_the_real_service_did_but_for_what_is_listed() {
    let archive = Archive::open(&[]);
    let queue = archive.catalogue();
    // A cook begins when an exchange was recorded after its end, and not before.
    queue
        .execute_batch(
            "CREATE TRIGGER held AFTER INSERT ON cook
             BEGIN UPDATE cook SET ready_at = 9000000000000 WHERE seq = NEW.seq; END",
        )
        .unwrap();
    let (mut used, mut wrong) = (HashSet::new(), Vec::new());
    let exchanges: Vec<Recorded> =
        include_str!("exchanges.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for recorded in exchanges {
        bring_about(&archive, &queue, &recorded);
        let answer = send(&archive, &recorded);
        let difference = DIFFERENCES.iter().position(|difference| (difference.is)(&recorded));
        let fault = match difference {
            Some(at) => {
                used.insert(at);
                let Difference { why, holds, .. } = &DIFFERENCES[at];
                (!holds(&archive, &recorded, &answer)).then(|| format!("not even as listed: {why}"))
            }
            None => compare(&recorded, &answer),
        };
        if let Some(fault) = fault {
            let body: String = String::from_utf8_lossy(&answer.body).chars().take(600).collect();
            let Recorded { case, method, path, status, json, .. } = &recorded;
            wrong.push(format!(
                "[{case}] {method} {path}\n  {fault}\n  theirs {status} {json:?}\n  ours   {} {body}",
                answer.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of them differ:\n{}", wrong.len(), wrong.join("\n"));
    let unused: Vec<_> = (0..DIFFERENCES.len()).filter(|at| !used.contains(at)).map(|at| DIFFERENCES[at].why).collect();
    assert!(unused.is_empty(), "listed, and nothing differs so: {unused:?}");
}

pub(super) fn send(archive: &Archive, recorded: &Recorded) -> Answer {
    send_to(archive, recorded, &recorded.path)
}

/// The same request to another path.
pub(super) fn send_to(archive: &Archive, recorded: &Recorded, path: &str) -> Answer {
    let headers: Vec<_> =
        recorded.request_headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = match recorded.request_body.as_deref() {
        Some("[1000 SWHIDs]") => swhids(1000),
        Some("[1001 SWHIDs]") => swhids(1001),
        body => body.unwrap_or_default().to_owned(),
    };
    request_with_body(&archive.server.address, &recorded.method, path, &headers, body.as_bytes())
        .unwrap_or_else(|error| panic!("{} {path}: {error}", recorded.method))
}

fn swhids(count: u32) -> String {
    let all: Vec<_> = (0..count).map(|n| format!("swh:1:rev:{n:040x}")).collect();
    serde_json::to_string(&all).unwrap()
}

/// Brings larder into the state in which the exchange was recorded: a cook done, failed, its bundle gone.
fn bring_about(archive: &Archive, queue: &rusqlite::Connection, recorded: &Recorded) {
    let Some(body) = recorded.json.as_ref() else { return };
    let (Some(swhid), Some(url)) = (body["swhid"].as_str(), body["fetch_url"].as_str()) else { return };
    let hex = swhid.rsplit(':').next().unwrap();
    let status = url.trim_start_matches(BASE).trim_end_matches("raw/");
    if recorded.case.ends_with("evicted") {
        for file in archive
            .data
            .path()
            .join("bundles/v0")
            .join("directory")
            .join(&hex[..2])
            .join(&hex[2..4])
            .read_dir()
            .unwrap()
        {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        return;
    }
    match body["status"].as_str() {
        Some("done") => {
            let sql = format!("UPDATE cook SET ready_at = 0 WHERE sha1git = x'{hex}'");
            queue.execute(&sql, []).unwrap();
            archive.wait_for(status, "done");
        }
        Some("failed") => {
            // Long ago: it may be asked for again.
            let sql = format!(
                "BEGIN IMMEDIATE; DELETE FROM cook WHERE sha1git = x'{hex}';
                 UPDATE bundle SET status = 3, failed_at = 1, failure = 'io', message = 'the disk is on fire'
                 WHERE sha1git = x'{hex}'; COMMIT"
            );
            queue.execute_batch(&sql).unwrap();
        }
        _ => {}
    }
}

/// What is not as it was recorded.
pub(super) fn compare(recorded: &Recorded, answer: &Answer) -> Option<String> {
    if answer.status != recorded.status {
        return Some(format!("the status is {}", answer.status));
    }
    compare_headers(recorded, answer).or_else(|| compare_bodies(recorded, answer))
}

pub(super) fn compare_headers(recorded: &Recorded, answer: &Answer) -> Option<String> {
    for (name, expected) in &recorded.headers {
        let ours = answer.header(name);
        let equal = match name.as_str() {
            // Of no use where a method was taken.
            "allow" if recorded.status != 405 && recorded.method != "OPTIONS" => true,
            "allow" | "access-control-allow-methods" => {
                let ours: Vec<_> = ours.unwrap_or_default().split(", ").collect();
                // Nothing here is deleted or put.
                let unheard = ["DELETE", "PATCH", "PUT"];
                expected.split(", ").all(|method| ours.contains(&method) || unheard.contains(&method))
            }
            "access-control-allow-headers" => {
                let ours: Vec<_> = ours.unwrap_or_default().split(", ").collect();
                // No browser need be asked about the first, and there is no cookie that the others would guard.
                let unheard = ["user-agent", "x-csrftoken", "x-requested-with"];
                expected.split(", ").all(|header| ours.contains(&header) || unheard.contains(&header))
            }
            // An answer without a body has none.
            "content-type" if recorded.json.is_none() && recorded.text.is_none() && answer.body.is_empty() => {
                ours.is_none() || essence(ours.unwrap()) == essence(expected)
            }
            "content-type" => ours.is_some_and(|ours| essence(ours) == essence(expected)),
            // The real service makes it relative here and there; larder's begins with its `public_url`.
            "location" => ours.is_some_and(|ours| ours.trim_start_matches(BASE) == expected),
            _ => ours == Some(expected),
        };
        if !equal {
            return Some(format!("{name} is {ours:?}, not {expected:?}"));
        }
    }
    None
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap()
}

fn compare_bodies(recorded: &Recorded, answer: &Answer) -> Option<String> {
    if let Some(expected) = &recorded.json {
        if answer.body.contains(&b'\n') {
            return Some("it is not on one line".to_owned());
        }
        let (mut expected, mut ours) = (expected.clone(), answer.json());
        level(&mut expected);
        level(&mut ours);
        level_people(&expected, &mut ours);
        return (expected != ours).then(|| "the JSON differs".to_owned());
    }
    if let Some(expected) = &recorded.begins {
        let (mut expected, mut ours) = (Value::from(expected.clone()), answer.json());
        level(&mut expected);
        level(&mut ours);
        let (expected, ours) = (expected.as_array().unwrap(), ours.as_array().unwrap());
        return (!ours.starts_with(expected)).then(|| "it begins otherwise".to_owned());
    }
    if let Some(digest) = recorded.body_sha256.as_ref().filter(|_| !recorded.path.contains("/vault/")) {
        let ours = larder::digest::hex(&Sha256::digest(&answer.body));
        return (*digest != ours).then(|| "the bytes differ".to_owned());
    }
    if let Some(text) = &recorded.text
        && answer.body != text.as_bytes()
    {
        return Some("the text differs".to_owned());
    }
    None
}

/// Takes out what depends on when something was done, and in which order.
fn level(value: &mut Value) {
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(level),
        Value::Object(members) => {
            if members.contains_key("fetch_url") || members.contains_key("status") {
                members.retain(|name, value| name != "id" || !value.is_number());
            }
            if let Some(date) = members.get_mut("date").filter(|date| date.as_str().is_some_and(is_moment)) {
                *date = "a moment".into();
            }
            members.values_mut().for_each(level);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `2026-11-27T01:51:48.678509+00:00`
fn is_moment(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000+00:00"
}

/// The names of ripgrep's authors were taken out of the exchanges: whoever is named there stands for anybody.
fn level_people(expected: &Value, ours: &mut Value) {
    match (expected, ours) {
        (Value::Array(expected), Value::Array(ours)) => {
            expected.iter().zip(ours).for_each(|(expected, ours)| level_people(expected, ours));
        }
        (Value::Object(expected), ours @ Value::Object(_)) if expected.contains_key("fullname") => {
            let named = ["fullname", "name", "email"].map(|name| ours[name].as_str().unwrap_or("").to_owned());
            if expected["name"] == "A Person" && named[0] == format!("{} <{}>", named[1], named[2]) {
                *ours = Value::Object(expected.clone());
            }
        }
        (Value::Object(expected), Value::Object(ours)) => {
            for (name, value) in expected {
                if let Some(ours) = ours.get_mut(name) {
                    level_people(value, ours);
                }
            }
        }
        _ => {}
    }
}
