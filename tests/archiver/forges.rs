//! One tree is one directory bundle, whatever forge it came from and however it was packed.

use super::common::{git, git_line};
use super::hgweb::{Hgweb, fill};
use super::upstream::{Upstream, gz, packed, reply, tar};
use super::{Larder, common};
use larder::archiver::structure::SUFFIXES;
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
        let suffix = head.split(' ').nth(1).unwrap().split_once('.').unwrap().1.to_owned();
        let suffix = suffix.as_str();
        let format = if suffix == "zip" { "--format=zip" } else { "--format=tar" };
        // gitiles has no directory of its own in its archives.
        let prefix = if head.starts_with("GET /flat/") { "--prefix=" } else { "--prefix=r-1/" };
        let archive = git(&["archive", format, prefix, "HEAD"], &archived);
        let archive = if suffix == "zip" { archive } else { packed(suffix, &archive) };
        reply(stream, "200 OK", "", &archive);
    });
    // Its one directory beside nothing looks like one of the archive's own: the source has to say that it is not.
    let flat = upstream.settings("top_directory = \"keep\"").replace("sources.up]", "sources.gitiles]");
    let larder = Larder::start(&format!("{}{}{flat}", hg.settings(), upstream.settings("")));
    let mut requests = Vec::new();
    for suffix in ["tar.gz", "tar.bz2", "zip"] {
        requests.push(format!("mozharness/projects/ash/{}?suffix={suffix}", hg.short()));
    }
    for suffix in SUFFIXES {
        requests.push(format!("up/r/{rev}?suffix={suffix}"));
        requests.push(format!("gitiles/flat/{rev}?suffix={suffix}"));
    }
    for request in &requests {
        larder.archive(&format!("/archiver/{request}"));
        assert_eq!(directory(&larder, request), tree, "{request}");
        // Cooked from this one: the bundle that another was cooked to is taken away.
        larder.run(&["remove", &format!("directory/{tree}.tar.gz")]);
        let canonical = larder.server.get(&format!("/archiver/{request}&canonical=1"));
        let bundle = format!("http://{}/vault/directory/{tree}.tar.gz", larder.server.address);
        assert_eq!((canonical.status, canonical.header("location")), (302, Some(bundle.as_str())), "{request}");
    }
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

#[test]
fn every_packing_is_cooked_from_alone() {
    let large = vec![7; 300_000];
    // With a directory of its own, and without.
    let shapes: [[(&str, &[u8]); 2]; 2] =
        [[("p/a", b"hello\n"), ("p/d/b", &large)], [("a", b"hello\n"), ("d/b", &large)]];
    for suffix in SUFFIXES.into_iter().filter(|suffix| *suffix != "zip") {
        let ids = shapes.map(|members| {
            let archive = packed(suffix, &tar(&members));
            let upstream = Upstream::start(move |stream, _, _| reply(stream, "200 OK", "", &archive));
            let larder = Larder::start(&upstream.settings(""));
            let request = format!("up/r/3d11cb4f31b9?suffix={suffix}");
            larder.archive(&format!("/archiver/{request}"));
            let id = directory(&larder, &request);
            assert_eq!(larder.server.cook(&format!("directory/{id}"))["status"], "done", "{suffix}");
            let cooked = larder.server.get(&format!("/vault/directory/{id}.tar.gz")).body;
            assert_eq!(larder::verify::flat_tar_gz(&cooked[..]).unwrap().to_string(), id, "{suffix}");
            id
        });
        assert_eq!(ids[0], ids[1], "{suffix}");
    }
}

#[test]
fn a_source_says_whether_the_one_directory_of_an_archive_is_its_own() {
    // What gitiles sends of a repository that has one directory and nothing beside.
    let archive = gz(&tar(&[("src/a", b"hello\n"), ("src/b", b"")]));
    let upstream = Upstream::start(move |stream, _, _| reply(stream, "200 OK", "", &archive));
    let request = "up/r/3d11cb4f31b9";
    let of = |lines: &str| {
        let larder = Larder::start(&upstream.settings(lines));
        larder.archive(&format!("/archiver/{request}"));
        let id = directory(&larder, request);
        assert_eq!(larder.server.cook(&format!("directory/{id}"))["status"], "done", "it is cooked from the archive");
        let members = larder.server.get(&format!("/vault/directory/{id}.tar.gz")).body;
        (id, members)
    };
    let (kept, bytes) = of("top_directory = \"keep\"");
    let (stripped, _) = of("");
    assert_ne!(kept, stripped);
    let names = |bytes: &[u8]| -> Vec<String> {
        let mut tar = tar::Archive::new(flate2::read::MultiGzDecoder::new(bytes));
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
    };
    assert!(names(&bytes).iter().any(|name| name.ends_with("source/src/a")), "{:?}", names(&bytes));
}
