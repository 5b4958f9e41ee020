//! The log: its forms, and the id by which a request is found in it.

use crate::common::fixtures::{Fixture, fixture};
use crate::common::server::Server;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// A server that logs into the file `log` beside its data.
fn start(data: &Path, plain: &Fixture, log: &str) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--log", log]).arg("--data").arg(data);
    command.arg("--git").arg(&plain.path).env_remove("LARDER_CONFIG").env_remove("LARDER_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(data.join("log")).unwrap());
    Server::spawn(command)
}

/// Orders a bundle of a revision, as the request `id`; gives the id that the answer says.
fn order(server: &Server, plain: &Fixture, format: &str, id: &str) -> String {
    let revision = plain.cookable().find(|id| id.kind.to_string() == "revision").unwrap().id;
    let key = format!("revision/{revision}.{format}");
    let ordered = server.send("POST", &format!("/vault/{key}"), &[("X-Request-Id", id)]);
    assert_eq!(ordered.status, 201);
    assert_eq!(server.settled(&key)["status"], "done");
    ordered.header("x-request-id").unwrap().to_owned()
}

#[test]
fn a_requests_id_is_in_the_lines_of_the_cook_that_it_ordered() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let server = start(data.path(), &plain, "json");
    assert_eq!(order(&server, &plain, "tar", "req-1.a_b"), "req-1.a_b");
    assert!(server.terminate().success());
    let log = fs::read_to_string(data.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |message: &str| -> Vec<&Value> { lines.iter().filter(|line| line["message"] == message).collect() };
    assert_eq!(of("ordered").len(), 1, "{log}");
    // Of the revision its directory is cooked, by another claim.
    let cooked = of("cooked");
    assert_eq!(cooked.len(), 1, "{log}");
    assert!(cooked[0]["key"].as_str().unwrap().starts_with("directory/"), "{log}");
    for line in [of("ordered")[0], cooked[0]] {
        assert_eq!(line["span"]["request_id"], "req-1.a_b", "{log}");
        assert_eq!((&line["level"], &line["target"].as_str().unwrap()[..6]), (&Value::from("INFO"), "larder"));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn an_id_that_is_none_is_replaced_and_never_logged() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let server = start(data.path(), &plain, "debug,json");
    let overlong = "x".repeat(65);
    for (hostile, format) in
        [(r#"a","level":"b"#, "zip"), ("a b", "tar"), (overlong.as_str(), "tar.gz"), ("a;b=$(c)", "tar.zst")]
    {
        let said = order(&server, &plain, format, hostile);
        assert!(said.len() == 32 && said.bytes().all(|b| b.is_ascii_hexdigit()), "{said}");
    }
    assert!(server.terminate().success());
    let log = fs::read_to_string(data.path().join("log")).unwrap();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(id) = line["span"]["request_id"].as_str() {
            assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
        }
    }
    assert!(log.contains("\"answered\"") && !log.contains(&overlong) && !log.contains("$(c)"), "{log}");
}

#[test]
fn lines_for_people_have_the_id_too() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let server = start(data.path(), &plain, "warn,larder=info");
    order(&server, &plain, "zip", "req-7");
    assert!(server.terminate().success());
    let log = fs::read_to_string(data.path().join("log")).unwrap();
    let cooked = log.lines().find(|line| line.contains("cooked")).unwrap();
    assert!(cooked.contains("request{request_id=req-7}:") && cooked.contains("key=directory/"), "{cooked}");
}
