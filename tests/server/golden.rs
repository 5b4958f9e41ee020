//! Golden digests: the bytes of a bundle never change within a layout version. Whoever changes one
//! on purpose makes a new version; `LARDER_GOLDEN=write cargo test --test server golden` writes the file.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::fixtures::{WELL_FORMED, fixture};
use crate::common::server::Server;
use larder::key::ObjectKind;
use std::fmt::Write;
use tempfile::TempDir;

#[test]
fn the_bundles_of_the_fixtures_have_their_golden_digests() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/golden.blake3");
    let mut actual = String::new();
    for name in WELL_FORMED {
        let (fixture, data) = (fixture(name), TempDir::new().unwrap());
        let server = Server::start(data.path(), &[&fixture.path], &[]);
        for object in fixture.cookable() {
            for format in ["tar.gz", "tar", "tar.zst", "zip", "gitfast.gz"] {
                if format == "gitfast.gz" && object.kind == ObjectKind::Directory {
                    continue;
                }
                let key = format!("{}/{}.{format}", object.kind, object.id);
                let status = server.cook(&key);
                // What fast-import has no word for is pinned too: it must neither grow nor shrink unseen.
                if status["error"]["code"] == "not-representable" {
                    writeln!(actual, "not-representable {name} {} {key}", object.name).unwrap();
                    continue;
                }
                assert_eq!(status["status"], "done", "{name} {key}: {}", status["error"]);
                let digest = status["blake3"].as_str().unwrap();
                writeln!(actual, "{digest} {name} {} {key}", object.name).unwrap();
            }
        }
    }
    if std::env::var("LARDER_GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::write(path, &actual).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    let differing: Vec<_> = actual.lines().zip(golden.lines()).filter(|(a, g)| a != g).collect();
    assert!(differing.is_empty(), "{} differ, the first: {:?}", differing.len(), differing[0]);
    assert_eq!(actual.lines().count(), golden.lines().count());
}
