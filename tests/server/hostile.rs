//! Every hostile object ends in a clear refusal or in a failed cook with its reason, and what lies
//! beside it still cooks.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::{FixtureId, HOSTILE, fixture};
use crate::common::server::Server;
use larder::key::ObjectKind;
use tempfile::TempDir;

#[test]
fn every_hostile_object_is_refused_with_its_reason() {
    let mut wrong = Vec::new();
    for name in HOSTILE {
        let (fixture, data) = (fixture(name), TempDir::new().unwrap());
        // A git bomb is to end by its size, not by its time.
        let server = Server::start(data.path(), &[&fixture.path], &["--max-bundle-size", "256MiB"]);
        let keys = |object: &FixtureId| {
            // Of the formats of one tree the walk is the same: one of a tar and the zip stand for all.
            let exts: &[&str] = if object.kind == ObjectKind::Content { &[""] } else { &["", ".zip"] };
            exts.iter().map(|ext| format!("{}/{}{ext}", object.kind, object.id)).collect::<Vec<_>>()
        };
        // All are ordered before one is looked at: what is tried again waits, and may do so together.
        let all = fixture.ids.iter().flat_map(|object| keys(object).into_iter().map(move |key| (object, key)));
        let ordered: Vec<_> = all.map(|(object, key)| (object, server.post(&format!("/vault/{key}")), key)).collect();
        for (object, answer, key) in ordered {
            let what = format!("{name}: {} ({key})", object.name);
            let Some(code) = &object.expect else {
                assert_eq!(server.cook(&key)["status"], "done", "{what}");
                continue;
            };
            if (400..500).contains(&answer.status) {
                assert!(answer.json()["detail"].is_string(), "{what}: {}", answer.json());
                continue;
            }
            assert_eq!(answer.status, 201, "{what}");
            let status = server.settled(&key);
            if status["status"] != "failed" || status["error"]["code"] != code.as_str() {
                wrong.push(format!("{what}: {code} expected, not {}: {}", status["status"], status["error"]));
                continue;
            }
            let message = status["error"]["message"].as_str().unwrap();
            assert!(!message.is_empty() && !message.contains(fixture.path.to_str().unwrap()), "{what}: {message}");
            assert_eq!(server.get(&format!("/vault/{key}")).status, 404, "{what}");
        }
        let drafts = std::fs::read_dir(data.path().join("bundles/v0/tmp")).unwrap();
        for process in drafts {
            let left = std::fs::read_dir(process.unwrap().path()).unwrap().count();
            assert_eq!(left, 0, "{name}: a draft is left");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
