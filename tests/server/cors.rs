//! Pages of other origins: what a browser is told of who may read an answer.

use crate::common::fixtures::fixture;
use crate::common::server::Server;

const PAGE: (&str, &str) = ("Origin", "https://forge.example");
const ASKS: [(&str, &str); 3] =
    [PAGE, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "prefer")];

#[test]
fn a_page_of_another_origin_orders_follows_and_fetches() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let server = Server::start(data.path(), &[&plain.path], &[]);
    let id = plain.cookable().find(|id| id.kind.to_string() == "directory").unwrap().id;
    let target = format!("/vault/directory/{id}.tar");
    let leave = server.send("OPTIONS", &target, &ASKS);
    assert_eq!((leave.status, leave.header("access-control-allow-origin")), (200, Some("*")));
    assert!(leave.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(leave.header("access-control-allow-headers").unwrap().contains("prefer"));
    let ordered = server.send("POST", &target, &[PAGE, ("Prefer", "wait=60")]);
    assert_eq!((ordered.status, ordered.header("access-control-allow-origin")), (201, Some("*")));
    assert!(ordered.header("access-control-expose-headers").unwrap().contains("location"));
    for target in
        [&target, &format!("{target}/status"), "/origins", "/vault/directory", "/vault/nothing", "/vault/release"]
    {
        let read = server.send("GET", target, &[PAGE]);
        assert_eq!(read.header("access-control-allow-origin"), Some("*"), "{target}: {}", read.status);
        assert_eq!(read.header("access-control-allow-credentials"), None, "{target}");
    }
    for target in ["/", "/healthz", "/readyz", "/metrics", "/archiver/x"] {
        let read = server.send("GET", target, &[PAGE]);
        assert_eq!(read.header("access-control-allow-origin"), None, "{target}: {}", read.status);
        assert_ne!(server.send("OPTIONS", target, &ASKS).status, 200, "{target}");
    }
}

#[test]
fn only_the_origins_that_are_named_may_read_and_none_when_none_is() {
    let data = tempfile::tempdir().unwrap();
    let allowed = |flags: &[&str], origin: &str| {
        let server = Server::start(data.path(), &[], flags);
        let read = server.send("GET", "/origins", &[("Origin", origin)]);
        read.header("access-control-allow-origin").map(str::to_owned)
    };
    let named = ["--cors", "https://forge.example,https://other.example"];
    assert_eq!(allowed(&named, "https://forge.example").as_deref(), Some("https://forge.example"));
    assert_eq!(allowed(&named, "https://evil.example"), None);
    let server = Server::start(data.path(), &[], &["--cors="]);
    assert_eq!(server.send("OPTIONS", "/origins", &ASKS).status, 405);
    assert_eq!(server.send("GET", "/origins", &[PAGE]).header("access-control-allow-origin"), None);
}
