//! The exchange that the Archiver's clients know, by curl, held against what they were once shown.

use super::Larder;
use super::hgweb::Hgweb;
use super::upstream::{Upstream, good, reply};
use std::process::Command;

/// What curl -i shows: status, headers in order of their names (lower case) without those of the server
/// and the moment, and the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Shown {
    pub(crate) fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}: {self:?}")).1
    }
}

pub(crate) fn curl(url: &str) -> Shown {
    let output = Command::new("curl").args(["-s", "-i", url]).output().expect("curl can be run");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| !matches!(name.as_str(), "server" | "date"))
        .collect();
    headers.sort();
    Shown { status, headers, body: body.to_owned() }
}

#[test]
fn the_redirect_keeps_the_name_and_the_type_of_the_file() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    let target = format!("/archiver/mozharness/{}?repo=projects/ash", hg.short());
    larder.archive(&target);
    let hit = larder.server.get(&target);
    let archive = larder.at(hit.header("location").unwrap());
    let name = format!("attachment; filename=\"ash-{}.tar.gz\"", hg.short());
    assert_eq!(archive.header("content-disposition"), Some(name.as_str()));
    assert_eq!(archive.header("content-type"), Some("application/x-gzip"), "as hgweb says");
    for (suffix, media_type) in [("zip", "application/zip"), ("tar.bz2", "application/x-bzip2")] {
        let target = format!("{target}&suffix={suffix}");
        larder.archive(&target);
        let location = larder.server.get(&target).header("location").unwrap().to_owned();
        assert_eq!(larder.at(&location).header("content-type"), Some(media_type));
    }
}

#[test]
fn every_packing_subdirectory_and_length_of_a_revision_is_an_archive_of_its_own() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    let upstream = |path: &str| {
        let url = format!("http://{}{path}", hg.address);
        Command::new("curl").args(["-s", "-f", &url]).output().expect("curl can be run").stdout
    };
    for rev in [hg.short(), hg.rev.as_str()] {
        for suffix in ["tar.gz", "tar.bz2", "zip"] {
            for subdir in ["", "/testing", "/testing/mozharness"] {
                let query = format!("suffix={suffix}&subdir={}", subdir.trim_start_matches('/'));
                let bytes = larder.archive(&format!("/archiver/hgmo/projects/ash/{rev}?{query}"));
                let original = upstream(&format!("/projects/ash/archive/{rev}.{suffix}{subdir}"));
                assert_eq!(original, bytes, "{rev} {suffix} {subdir}");
            }
        }
    }
}

#[test]
fn what_the_upstream_has_not_got_is_a_failure_with_its_status() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    let missing = "0123456789ab";
    let status = larder.fetch(&format!("/archiver/hgmo/projects/ash/{missing}"));
    let src = format!("http://{}/projects/ash/archive/{missing}.tar.gz", hg.address);
    assert_eq!((&status["state"], &status["src_url"]), (&"FAILURE".into(), &src.as_str().into()));
    let words = status["status"].as_str().unwrap();
    assert!(words.contains("404") && words.contains(&format!("Does {src} exist?")), "{words}");
    assert_eq!(status["s3_urls"], serde_json::json!({}));
    // A moment later it is remembered: the same task answers.
    let again = larder.server.get(&format!("/archiver/hgmo/projects/ash/{missing}"));
    assert_eq!(larder.ended(again.header("location").unwrap()), status);

    let old = Larder::start(&format!("[archiver]\nupstream_missing = \"success\"\n{}", hg.settings()));
    let status = old.fetch(&format!("/archiver/hgmo/projects/ash/{missing}"));
    let words = format!("Could not get a valid response from src_url. Does {src} exist?");
    assert_eq!((&status["state"], &status["status"]), (&"SUCCESS".into(), &words.as_str().into()));
    assert_eq!(status["s3_urls"], serde_json::json!({}));
}

#[test]
fn an_unknown_task_is_pending() {
    let larder = Larder::start("");
    let answer = larder.server.get("/archiver/status/no-such-task");
    let expected = "{\n  \"result\": {\n    \"s3_urls\": {},\n    \"src_url\": \"\",\n    \"state\": \"PENDING\",\n    \
                    \"status\": \"no status available at this point.\"\n  }\n}";
    assert_eq!((answer.status, String::from_utf8(answer.body).unwrap().as_str()), (200, expected));
}

#[test]
fn errors_have_the_archivers_own_shape() {
    let hg = Hgweb::start();
    let larder = Larder::start(&hg.settings());
    let rev = hg.short();
    for (method, target, code, name) in [
        ("GET", format!("/archiver/mozharness/{rev}?repo=mozilla-central&branch=x"), 400, "Bad Request"),
        ("GET", format!("/archiver/mozharness/{rev}?repo=mozilla-central&suffix=exe"), 400, "Bad Request"),
        ("GET", format!("/archiver/mozharness/{rev}"), 400, "Bad Request"),
        ("GET", format!("/archiver/hgmo/a/..%2f..%2fx/{rev}"), 400, "Bad Request"),
        ("GET", format!("/archiver/mozharness/{rev}?repo=private"), 403, "Forbidden"),
        ("GET", format!("/archiver/none/{rev}?repo=x"), 404, "Not Found"),
        ("GET", "/archiver/".to_owned(), 404, "Not Found"),
        ("POST", format!("/archiver/mozharness/{rev}?repo=mozilla-central"), 405, "Method Not Allowed"),
        ("HEAD", format!("/archiver/mozharness/{rev}?repo=mozilla-central"), 404, ""),
    ] {
        let answer = larder.server.send(method, &target, &[]);
        assert_eq!(answer.status, code, "{target}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{target}");
        if method == "HEAD" {
            continue;
        }
        let error = &answer.json()["error"];
        assert_eq!((error["code"].as_u64(), error["name"].as_str()), (Some(u64::from(code)), Some(name)), "{target}");
        assert!(error["description"].as_str().is_some_and(|text| !text.is_empty()), "{target}");
    }
}

#[test]
fn a_type_that_a_browser_would_show_is_not_passed_on() {
    let upstream = Upstream::start(|stream, _, head| {
        let media_type = if head.starts_with("GET /html/") { "text/html" } else { "Application/GZip; charset=binary" };
        reply(stream, "200 OK", &format!("Content-Type: {media_type}\r\n"), &good());
    });
    let larder = Larder::start(&upstream.settings(""));
    for (repo, media_type) in [("html", "application/octet-stream"), ("gzip", "application/gzip")] {
        let target = format!("/archiver/up/{repo}/3d11cb4f31b9");
        larder.archive(&target);
        let location = larder.server.get(&target).header("location").unwrap().to_owned();
        let archive = larder.at(&location);
        assert_eq!(archive.header("content-type"), Some(media_type), "{location}");
        assert!(archive.header("content-disposition").unwrap().starts_with("attachment"));
    }
}
