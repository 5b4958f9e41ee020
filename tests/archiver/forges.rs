//! One tree is one directory bundle, whatever forge it came from and however it was packed.

use super::common::{git, git_line};
use super::hgweb::{Hgweb, fill};
use super::upstream::{Upstream, reply};
use super::{Larder, common};
use serde_json::Value;
use tempfile::TempDir;

/// The directory that a request's archive holds.
fn directory(larder: &Larder, request: &str) -> String {
    let (code, said) = larder.run(&["archiver", "status", request, "--json"]);
    assert_eq!(code, 0);
    let said: Value = serde_json::from_str(&said).unwrap();
    let id = said["fetched"]["directory"].as_str().unwrap_or_else(|| panic!("{said}"));
    id.strip_prefix("swh:1:dir:").unwrap().to_owned()
}

#[test]
fn the_same_tree_from_hgweb_and_from_git_is_one_bundle() {
    let hg = Hgweb::start();
    let folder = TempDir::new().unwrap();
    let repository = folder.path().join("r");
    std::fs::create_dir(&repository).unwrap();
    git(&["init", "-q"], &repository);
    fill(&repository, 0);
    git(&["add", "."], &repository);
    git(&["commit", "-q", "-m", "a tree"], &repository);
    let tree = git_line(&["rev-parse", "HEAD^{tree}"], &repository);
    let rev = git_line(&["rev-parse", "HEAD"], &repository);
    let archived = repository.clone();
    let upstream = Upstream::start(move |stream, _, head| {
        let suffix = head.split(' ').nth(1).unwrap().split_once('.').unwrap().1;
        let format = format!("--format={suffix}");
        reply(stream, "200 OK", "", &git(&["archive", &format, "--prefix=r-1/", "HEAD"], &archived));
    });
    let larder = Larder::start(&format!("{}{}", hg.settings(), upstream.settings("")));
    let mut requests = Vec::new();
    for suffix in ["tar.gz", "tar.bz2", "zip"] {
        requests.push(format!("mozharness/projects/ash/{}?suffix={suffix}", hg.short()));
    }
    for suffix in ["tar.gz", "tar", "zip"] {
        requests.push(format!("up/r/{rev}?suffix={suffix}"));
    }
    for request in &requests {
        larder.archive(&format!("/archiver/{request}"));
        assert_eq!(directory(&larder, request), tree, "{request}");
        let canonical = larder.server.get(&format!("/archiver/{request}&canonical=1"));
        let bundle = format!("http://{}/vault/directory/{tree}.tar.gz", larder.server.address);
        assert_eq!((canonical.status, canonical.header("location")), (302, Some(bundle.as_str())), "{request}");
    }
    let listed = larder.server.get("/vault/directory").json();
    assert_eq!(listed["bundles"].as_array().unwrap().len(), 1, "it was cooked once: {listed}");
    let cooked = larder.server.get(&format!("/vault/directory/{tree}.tar.gz")).body;
    assert_eq!(larder::verify::flat_tar_gz(&cooked[..]).unwrap().to_string(), tree);

    // The same bytes that a repository would have given.
    let data = TempDir::new().unwrap();
    let of_git = common::server::Server::start(data.path(), &[&repository], &[]);
    of_git.cook(&format!("directory/{tree}"));
    assert_eq!(of_git.get(&format!("/vault/directory/{tree}.tar.gz")).body, cooked);
}

#[test]
fn a_large_archive_is_cooked_from_too() {
    let hg = Hgweb::with(24 << 20);
    let larder = Larder::start(&hg.settings());
    let request = format!("mozharness/projects/ash/{}", hg.short());
    larder.archive(&format!("/archiver/{request}"));
    let id = directory(&larder, &request);
    let status = larder.server.cook(&format!("directory/{id}"));
    assert_eq!(status["status"], "done", "{status}");
    let cooked = larder.server.get(&format!("/vault/directory/{id}.tar.gz")).body;
    assert_eq!(larder::verify::flat_tar_gz(&cooked[..]).unwrap().to_string(), id);
}

#[test]
fn a_tag_changes_a_whole_archive_and_the_first_stays() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    let request = format!("hgmo/projects/ash/{}", hg.rev);
    let first = larder.archive(&format!("/archiver/{request}"));
    hg.tag();
    let (code, said) = larder.run(&["archiver", "retry", &request]);
    assert!(code == 0 && said.contains("drift        1 times"), "{said}");
    let hit = larder.server.get(&format!("/archiver/{request}"));
    assert_eq!(larder.at(hit.header("location").unwrap()).body, first);
}
