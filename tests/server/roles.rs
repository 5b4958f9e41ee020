//! `--role front` and `--role cook`: two processes on one data folder that do together what one does.

use crate::common::fixtures::fixture;
use crate::common::kitchenware::all_is_well;
use crate::common::process::Start as _;
use crate::common::server::Server;
use std::process::Command;
use tempfile::TempDir;

/// How many cooks a process has ended, by its own figures.
fn cooks(server: &Server) -> u64 {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    assert!(text.contains("larder_queue"), "{text}");
    let counts = text.lines().filter(|line| line.starts_with("larder_cooks_total{"));
    counts.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn a_front_leaves_cooks_to_a_cook_which_answers_nothing_but_how_it_is() {
    let (plain, data) = (fixture("sizes"), TempDir::new().unwrap());
    let start = |role| Server::start(data.path(), &[&plain.path], &["--role", role]);
    let front = start("front");
    let keys: Vec<String> = plain
        .cookable()
        .filter(|id| id.kind.as_str() == "directory")
        .take(3)
        .map(|id| format!("directory/{}", id.id))
        .collect();
    assert!(!keys.is_empty());
    for key in &keys {
        let ordered = front.post(&format!("/vault/{key}"));
        assert_eq!((ordered.status, ordered.json()["status"].as_str()), (201, Some("new")));
    }
    let cook = start("cook");
    for key in &keys {
        // Nothing is announced to the front: it looks.
        assert_eq!(front.cook(key)["status"], "done");
        let bundle = front.get(&format!("/vault/{key}"));
        assert_eq!((bundle.status, bundle.header("etag").is_some()), (200, true));
        assert_eq!(cook.get(&format!("/vault/{key}")).status, 404);
        assert_eq!(cook.post(&format!("/vault/{key}")).status, 404);
    }
    assert_eq!(cook.get("/api/1/").status, 404);
    for server in [&front, &cook] {
        assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 200));
    }
    assert_eq!(cooks(&front), 0);
    assert!(cooks(&cook) >= keys.len() as u64);
    // What a cook that is killed was at, another one takes up.
    cook.kill();
    let key = format!("{}.zip", keys[0]);
    assert_eq!(front.post(&format!("/vault/{key}")).json()["status"], "new");
    let cook = start("cook");
    assert_eq!(front.settled(&key)["status"], "done");
    assert!(front.terminate().success() && cook.terminate().success());
    all_is_well(data.path());
}

#[test]
fn a_role_is_refused_where_nothing_is_left_to_others() {
    let data = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--mode", "read-only", "--role", "front", "--data"])
        .arg(data.path());
    let output = command
        .env_remove("LARDER_CONFIG")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .start()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("role = front is of mode normal"), "{said}");
}
