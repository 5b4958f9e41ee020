//! The bounds that the kitchen keeps: queue, size, time, room.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::fixture;
use crate::common::kitchenware::menu;
use crate::common::server::Server;
use tempfile::TempDir;

#[test]
fn a_full_queue_is_503_with_retry_after_and_loses_nothing() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 12, 1_500_000);
    let flags = ["--workers", "1", "--cook-threads", "1", "--max-queue", "2"];
    let server = Server::start(data.path(), &[folder.path()], &flags);
    let (mut taken, mut refused) = (Vec::new(), 0);
    for key in menu.keys() {
        let answer = server.post(&format!("/vault/{key}"));
        match answer.status {
            201 => taken.push(key),
            503 => {
                refused += 1;
                assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
                assert_eq!(answer.json()["code"], "queue_full");
            }
            status => panic!("{key}: {status}"),
        }
    }
    assert!(refused > 0, "one worker cannot have kept up");
    for key in taken {
        assert_eq!(server.settled(key)["status"], "done");
    }
}

#[test]
fn a_bundle_over_max_bundle_size_fails_with_that_reason() {
    let (fixture, data) = (fixture("sizes"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &["--max-bundle-size", "64KiB"]);
    let id = fixture.id("root");
    let status = server.cook(&format!("{}/{}", id.kind, id.id));
    assert_eq!((status["status"].as_str(), status["error"]["code"].as_str()), (Some("failed"), Some("too-large")));
    let again = server.post(&format!("/vault/{}/{}", id.kind, id.id));
    assert_eq!((again.status, again.header("retry-after")), (201, Some("60")), "not at once again");
}

#[test]
fn a_cook_over_its_time_fails_with_that_reason() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 1, 40_000_000);
    let flags = ["--cook-timeout", "1ms", "--cook-threads", "1"];
    let server = Server::start(data.path(), &[folder.path()], &flags);
    let status = server.cook(menu.keys().next().unwrap());
    assert_eq!((status["status"].as_str(), status["error"]["code"].as_str()), (Some("failed"), Some("timeout")));
}

#[test]
fn no_room_is_507_and_room_is_found_again() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let menu = menu(folder.path(), 2, 400_000);
    let keys: Vec<_> = menu.keys().collect();
    let start = |max_size: &str| Server::start(data.path(), &[folder.path()], &["--max-size", max_size]);
    let server = start("300KiB");
    assert_eq!(server.cook(keys[0])["status"], "done");
    server.terminate();
    let server = start("10KiB");
    let refused = server.post(&format!("/vault/{}", keys[1]));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (507, Some("no_room")));
    assert_eq!(server.get(&format!("/vault/{}", keys[0])).status, 200, "what is there is served");
    server.terminate();
    let server = start("10MiB");
    assert_eq!(server.cook(keys[1])["status"], "done");
}
