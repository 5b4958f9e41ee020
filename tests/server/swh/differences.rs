//! Where larder does not answer as the real service did, on purpose, and what it answers instead. Each is of use: one
//! that no exchange needs fails the test. docs/clients.md tells users the same.

use super::replay::{Recorded, compare, compare_headers, send_to};
use super::{Archive, BASE};
use crate::common::client::Answer;
use larder::key::ObjectKind;
use std::collections::BTreeSet;

/// A difference: which exchanges have it, why, and whether an answer is what larder gives instead.
pub(super) struct Difference {
    pub(super) why: &'static str,
    pub(super) is: fn(&Recorded) -> bool,
    pub(super) holds: fn(&Archive, &Recorded, &Answer) -> bool,
}

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "no slash is missing: most clients lose a POST that is redirected, and a GET costs a round trip",
        is: |recorded| recorded.status == 301,
        holds: |archive, recorded, answer| {
            let with_slash = send_to(archive, recorded, &format!("{}/", recorded.path));
            answer.status == with_slash.status && !matches!(answer.status, 301 | 308) && answer.body == with_slash.body
        },
    },
    Difference {
        why: "a HEAD of a status has the headers of the GET, as everywhere (RFC 9110 section 9.3.2)",
        is: |recorded| recorded.method == "HEAD" && recorded.status == 405,
        holds: |archive, recorded, answer| {
            answer.status == archive.get(&recorded.path).status && answer.body.is_empty()
        },
    },
    Difference {
        why: "YAML is written as JSON, which it is",
        is: |recorded| recorded.headers.get("content-type").is_some_and(|value| value == "application/yaml"),
        holds: |archive, recorded, answer| {
            let path = recorded.path.replace("format=yaml", "format=json");
            compare_headers(recorded, answer).is_none() && answer.body == archive.get(&path).body
        },
    },
    Difference {
        why: "a page shows the JSON and nothing else",
        is: |recorded| {
            recorded.headers.get("content-type").is_some_and(|value| value.starts_with("text/html"))
                && recorded.request_headers.get("Accept").is_some_and(|value| value.contains("text/html"))
        },
        holds: |_, recorded, answer| compare(recorded, answer).is_none() && answer.body.starts_with(b"<!DOCTYPE html>"),
    },
    Difference {
        why: "larder's documentation is elsewhere",
        is: |recorded| recorded.path == "/api/1/" || recorded.path.ends_with("/doc/"),
        holds: |_, recorded, answer| {
            if recorded.path == "/api/1/" { answer.body == b"{}" } else { answer.status == 404 }
        },
    },
    Difference {
        why: "parts of a bundle, and one that the client has already, are not sent whole",
        is: |recorded| {
            recorded.body_sha256.is_some()
                && ["Range", "If-None-Match"].iter().any(|name| recorded.request_headers.contains_key(*name))
        },
        holds: |_, recorded, answer| match recorded.request_headers.get("Range") {
            Some(_) => answer.status == 206 && answer.body.len() == 10,
            None => answer.status == 304 && answer.header("etag").is_some(),
        },
    },
    Difference {
        why: "equal objects are equal bytes, which those of the real service are not",
        is: |recorded| recorded.body_sha256.is_some() && recorded.path.contains("/vault/"),
        holds: |archive, recorded, answer| {
            let same = archive.get(&at_vault(recorded));
            let alike = |name: &str| answer.header(name) == same.header(name) && answer.header(name).is_some();
            compare(recorded, answer).is_none()
                && (recorded.method == "HEAD" || answer.body == same.body)
                && ["etag", "content-length", "content-disposition", "cache-control"].into_iter().all(alike)
        },
    },
    Difference {
        why: "what is wrong with JSON is said in the words of another parser",
        is: |recorded| recorded.json.as_ref().is_some_and(|body| body["exception"] == "ParseError"),
        holds: |_, _, answer| {
            let body = answer.json();
            answer.status == 400
                && body["exception"] == "ParseError"
                && body["reason"].as_str().unwrap().starts_with("JSON parse error - ")
        },
    },
    Difference {
        why: "a status is one of new and pending while no worker has come to it yet",
        is: |recorded| recorded.json.as_ref().is_some_and(|body| body["status"] == "pending"),
        holds: |_, _, answer| answer.status == 200 && answer.json()["status"] == "new",
    },
    Difference {
        why: "a failure says why",
        is: |recorded| recorded.json.as_ref().is_some_and(|body| body["status"] == "failed"),
        holds: |_, _, answer| {
            answer.json()["status"] == "failed" && answer.json()["progress_message"] == "the disk is on fire"
        },
    },
    Difference {
        why: "a bundle that was collected reads as never requested, so that clients ask for it again",
        is: |recorded| recorded.case == "flat GET done but evicted",
        holds: |_, _, answer| {
            let said = answer.json();
            answer.status == 404 && said["reason"].as_str().unwrap().ends_with(" was never requested.")
        },
    },
    Difference {
        why: "capitals in a POST are read where they stand",
        is: |recorded| recorded.status == 403 && recorded.case == "legacy directory upper POST",
        holds: |_, _, answer| answer.status == 200 && answer.json()["status"] == "done",
    },
    Difference {
        why: "what a client got wrong is no fault of the server's",
        is: |recorded| recorded.status == 500,
        holds: |_, _, answer| answer.status == 400 && answer.json()["exception"] == "BadInputExc",
    },
    Difference {
        why: "a name that is no text is found too",
        is: |recorded| recorded.path.ends_with("/caf%E9/"),
        holds: |_, _, answer| {
            answer.status == 200 && answer.json()["target"] == "c1b0730e0133447badcfd47fd144e254807b06e1"
        },
    },
    Difference {
        why: "the visits of a URL with one slash are those of the origin that it is understood as",
        is: |recorded| recorded.case == "origin visits one slash",
        holds: |archive, recorded, answer| {
            answer.json().as_array().unwrap().len() == 2
                && answer.body == archive.get(&recorded.path.replace("https:/", "https://")).body
        },
    },
    Difference {
        why: "lists of origins say what kind of origin each is",
        is: |recorded| recorded.case == "origins",
        holds: |_, recorded, answer| {
            let mut expected = recorded.json.clone().unwrap();
            for origin in expected.as_array_mut().unwrap() {
                origin["visit_types"] = serde_json::json!(["git"]);
            }
            answer.json() == expected
        },
    },
    Difference {
        why: "a page of origins goes on behind a URL, and not at a number",
        is: |recorded| recorded.case == "origins page",
        holds: |archive, _, answer| {
            let next = answer.header("link").unwrap().trim_start_matches('<').split('>').next().unwrap();
            let rest = archive.get(next.trim_start_matches(BASE)).json();
            let urls = [answer.json()[0]["url"].clone(), rest[0]["url"].clone()];
            urls == ["https://example.org/odd.git", "https://github.com/BurntSushi/ripgrep"]
        },
    },
    Difference {
        why: "what is found is in order of URL, with what is known of its visits",
        is: |recorded| recorded.case.starts_with("origin search") && recorded.case != "origin search none",
        holds: |archive, recorded, answer| {
            let found = answer.json();
            let first = &found[0];
            let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
            let moment = |name: &str| first[name].as_str().unwrap().ends_with("+00:00");
            let more = answer.header("link").is_none_or(|link| {
                let next = link.trim_start_matches('<').split('>').next().unwrap();
                archive.get(next.trim_start_matches(BASE)).json()[0]["url"] != first["url"]
            });
            keys(first) == keys(&recorded.json.as_ref().unwrap()[0])
                && answer.header("link").is_some() == recorded.headers.contains_key("link")
                && first["snapshot_id"].as_str().unwrap().len() == 40
                && moment("last_visit_date")
                && moment("last_eventful_visit_date")
                && more
        },
    },
    Difference {
        why: "objects are not counted, for that would take looking at all of them",
        is: |recorded| recorded.case == "counters",
        holds: |_, recorded, answer| {
            let (ours, theirs) = (answer.json(), recorded.json.clone().unwrap());
            theirs.as_object().unwrap().keys().all(|name| ours[name].is_number())
                && (&ours["origin"], &ours["content"]) == (&2.into(), &0.into())
        },
    },
    Difference {
        why: "no external identifier was put in by hand here",
        is: |recorded| recorded.case.starts_with("extid") && recorded.status == 200,
        holds: |_, _, answer| answer.status == 404 && answer.json()["exception"] == "NotFoundExc",
    },
    Difference {
        why: "nobody is asked to save an origin: larder origin add is for that",
        is: |recorded| recorded.path.contains("/origin/save/"),
        holds: |_, _, answer| answer.status == 404 && answer.json()["error"] == "Resource not found",
    },
];

/// Where larder has the same bundle under a name of its own.
fn at_vault(recorded: &Recorded) -> String {
    let swhid = recorded.path.split('/').find(|part| part.starts_with("swh:")).unwrap();
    let (word, id) = swhid.trim_start_matches("swh:1:").split_once(':').unwrap();
    let kind = ObjectKind::from_spelling(word).unwrap();
    let bundle = recorded.path.split('/').nth(4).unwrap();
    let ext = match bundle {
        "flat" => "tar.gz",
        "gitfast" => "gitfast.gz",
        _ => "git.tar",
    };
    format!("/vault/{kind}/{id}.{ext}")
}
