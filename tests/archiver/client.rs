//! A client as those of old were: it asks, polls the Location it was given, stops at SUCCESS alone, takes
//! the region's URL, and extracts the subdirectory.

use super::Larder;
use super::hgweb::Hgweb;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Gets `<source>/<repo>/<rev>` in the way of the protocol; gives the bytes of the archive.
fn get(larder: &Larder, source: &str, repo: &str, rev: &str, subdir: &str, region: &str) -> Vec<u8> {
    let target = format!("/archiver/{source}/{repo}/{rev}?&preferred_region={region}&suffix=tar.gz&subdir={subdir}");
    let answer = larder.server.get(&target);
    if answer.status == 302 {
        return whole(larder, answer.header("location").unwrap());
    }
    assert_eq!(answer.status, 202);
    let location = answer.header("location").unwrap().to_owned();
    let mut patience = Duration::from_millis(50);
    for _ in 0..10 {
        let task = larder.at(&location).json()["result"].clone();
        if task["state"] == "SUCCESS" {
            let urls = task["s3_urls"].as_object().unwrap();
            let url = urls.get(region).or_else(|| urls.values().next()).unwrap();
            return whole(larder, url.as_str().unwrap());
        }
        std::thread::sleep(patience);
        patience = patience.mul_f32(1.5);
    }
    panic!("{location} did not succeed in time");
}

fn whole(larder: &Larder, url: &str) -> Vec<u8> {
    let answer = larder.at(url);
    assert_eq!(answer.status, 200);
    answer.body
}

/// Extracts the members below `<name>-<rev>/<subdir>/` with tar itself.
fn extract(archive: &[u8], prefix: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("a.tar.gz"), archive).unwrap();
    let tar = Command::new("tar")
        .args(["-xzf", "a.tar.gz", "--strip-components=3", prefix])
        .current_dir(folder.path())
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(tar.success());
    folder
}

#[test]
fn a_client_of_old_gets_the_archive_and_extracts_the_subdirectory() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    for repo in ["mozilla-central", "projects/ash"] {
        let archive = get(&larder, "hgmo", repo, hg.short(), "testing/mozharness", "us-west-2");
        let name = repo.rsplit('/').next().unwrap();
        let folder = extract(&archive, &format!("{name}-{}/testing/mozharness", hg.short()));
        let read = |path: &str| std::fs::read_to_string(folder.path().join(Path::new(path)));
        assert_eq!(read("setup.py").unwrap(), "print('hello')\n");
        assert_eq!(std::fs::read_link(folder.path().join("configs/link")).unwrap(), Path::new("../setup.py"));
        assert_eq!(get(&larder, "hgmo", repo, hg.short(), "testing/mozharness", ""), archive, "a hit is the same");
    }
}
