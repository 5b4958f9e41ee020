//! The raw bundles of Software Heritage's API come from nginx as those of the vault do.

use super::{SITES, any, described};
use crate::common::contents::{Contents, repository};
use crate::common::site::Site;
use larder::access::log::line::{self, Line};

#[test]
fn a_raw_bundle_of_the_api_comes_from_nginx_and_is_the_one_of_the_vault() {
    for name in SITES {
        let mut revision = String::new();
        let site = Site::open(name, &[], |git| revision = repository(git, "one.git", (2, 100), Contents::Letters).0);
        for (bundle, kind, ext) in [
            ("flat", "directory", "tar.gz"),
            ("gitfast", "revision", "gitfast.gz"),
            ("git-bare", "directory", "git.tar"),
            ("git-bare", "revision", "git.tar"),
            ("git-bare", "release", "git.tar"),
        ] {
            let key = if bundle == "gitfast" { format!("revision/{revision}") } else { any(kind) };
            let (_, id) = key.split_once('/').unwrap();
            let swhid = format!("swh:1:{}:{id}", &kind.replace("directory", "dir")[..3]);
            let path = format!("/api/1/vault/{bundle}/{swhid}");
            let missed = site.get(&format!("{path}/raw/"));
            let reason = format!("Cooked archive for {swhid} not found.");
            assert_eq!((missed.status, &missed.json()["reason"]), (404, &reason.into()), "{path}");
            let vault = site.cook(&format!("{key}.{ext}"));
            let asked = site.asked_of_larder();
            let whole = site.get(&vault);
            for raw in [format!("{path}/raw/"), format!("{path}/raw"), format!("{}/raw/?x=y", path.replace(':', "%3A"))]
            {
                let same = site.get(&raw);
                assert_eq!((same.status, described(&same)), (200, described(&whole)), "{raw}");
                assert!(same.body == whole.body, "{raw}");
                assert_eq!(same.header("access-control-allow-origin"), None);
                let part = site.send("GET", &raw, &[("Range", "bytes=2-5"), ("Origin", "https://client.example")]);
                assert_eq!((part.status, &part.body[..]), (206, &whole.body[2..6]), "{raw}");
                assert_eq!(part.header("access-control-allow-origin"), Some("*"));
                let fresh = site.send("GET", &raw, &[("If-None-Match", whole.header("etag").unwrap())]);
                assert_eq!(fresh.status, 304, "{raw}");
            }
            assert_eq!(site.asked_of_larder(), asked, "{path} came from nginx");
            if name.contains("unix") {
                continue;
            }
            for (method, headers, status) in [
                ("GET", &[("Origin", "https://client.example")][..], 200),
                ("HEAD", &[], 200),
                ("GET", &[("Range", "bytes=-7")], 206),
            ] {
                let raw = format!("{path}/raw/");
                let (one, other) = (site.send(method, &raw, headers), site.larder().send(method, &raw, headers));
                assert_eq!((one.status, described(&one)), (status, described(&other)), "{method} {raw} {headers:?}");
                for header in ["access-control-allow-origin", "access-control-expose-headers", "vary"] {
                    assert_eq!(one.header(header), other.header(header), "{header} of {method} {raw}");
                }
                assert_eq!(one.body, other.body);
            }
        }
        let hits = site.hits_logged();
        let counted = |line: &String| matches!(line::read(line.as_bytes(), ""), Line::Hit { .. });
        assert!(hits.iter().filter(|line| line.contains("GET\t200")).all(counted), "each for its file: {hits:?}");
    }
}

#[test]
fn what_is_no_bundle_of_the_api_reaches_larder_and_no_file() {
    let site = Site::open("larder.conf", &[], |_| {});
    let key = any("directory");
    site.cook(&key);
    site.cook(&format!("{key}.git.tar"));
    let (_, id) = key.split_once('/').unwrap();
    for (path, method, status) in [
        (format!("gitfast/swh:1:dir:{id}/raw/"), "GET", 400),
        (format!("flat/swh:1:rev:{id}/raw/"), "GET", 400),
        (format!("flat/SWH:1:DIR:{}/raw/", id.to_uppercase()), "GET", 200),
        (format!("flat/swh:1:dir:{id};path=/x/raw/"), "GET", 400),
        (format!("flat/swh:1:dir:{id}/raw//"), "GET", 404),
        (format!("flat/swh:1:dir:{id}/raw%0A"), "GET", 404),
        (format!("flat/swh:1:dir:{id}/raw/"), "POST", 405),
        (format!("flat/swh:1:dir:{id}/raw/"), "OPTIONS", 200),
        (format!("flat/swh:1:dir:{id}/"), "GET", 200),
        (format!("flat/swh:1:dir:{id}"), "POST", 200),
    ] {
        let asked = site.asked_of_larder();
        let answer = site.send(method, &format!("/api/1/vault/{path}"), &[]);
        assert_eq!(answer.status, status, "{method} {path}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(site.asked_of_larder(), asked + 1, "{method} {path}");
    }
}
