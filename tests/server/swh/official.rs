//! The client that Software Heritage gives out, as it is (`tests/install` puts it where the tests look).

use super::Archive;
use crate::common::process::Start as _;
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn the_official_client_finds_all_that_it_asks_for() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/swh/bin/python3");
    assert!(python.exists(), "tests/install puts the client into target/tools/swh");
    // It follows URLs that larder gives out, so that these lead to it.
    let archive = Archive::open_here(&[]);
    let mut client = Command::new(python);
    client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/swh/client.py"));
    client.arg(format!("http://{}", archive.server.address)).arg(archive.git.path().join("example.org/odd.git"));
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("PYTHONPATH");
    let output = client.start().unwrap().wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.ends_with("the official client is content\n"), "{said}");
}
