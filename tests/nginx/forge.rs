//! A forge's archives from larder, by the one location of `nginx/forge-archive.conf` in the forge's own site.

use crate::common::client::request;
use crate::common::site::Site;
use crate::common::{git, git_line};
use std::time::{Duration, Instant};

#[test]
fn a_forge_hands_its_archives_over_by_one_location() {
    let mut ids = Vec::new();
    let flags = ["--local-origins", "https://git.example.org/", "--cook-by-name", "--snapshot-interval", "100ms"];
    for name in ["larder.conf", "larder-unix.conf"] {
        let site = Site::open(name, &flags, |folder| {
            std::fs::create_dir(folder.join("team")).unwrap();
            git(&["clone", "-q", "--bare", "repo", "team/project.git"], folder);
            git(&["-C", "team/project.git", "branch", "feature/a+b", "v1^{commit}"], folder);
            ids = vec![git_line(&["-C", "repo", "rev-parse", "v1^{tree}"], folder)];
        });
        let deadline = Instant::now() + Duration::from_mins(2);
        while site.get("/origins").json()["origins"].as_array().unwrap().len() < 2 {
            assert!(Instant::now() < deadline, "{name}: the repositories were never seen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let forge = |method: &str, target: &str| request(&site.forge, method, target, &[]).unwrap();
        for (target, file) in [
            // Gitea's, and with the parameters that some of its links have.
            ("/team/project/archive/v1.tar.gz", "project-v1.tar.gz"),
            ("/team/project/archive/v1.tar.gz?path[]=x", "project-v1.tar.gz"),
            ("/team/project/archive/feature/a+b.zip", "project-feature-a+b.zip"),
            ("/team/project/archive/feature%2Fa%2Bb.zip", "project-feature-a+b.zip"),
            ("/team/project/archive/refs/tags/v1.zip", "project-v1.zip"),
            // cgit's.
            ("/team/project.git/snapshot/project-1.tar.gz", "project-v1.tar.gz"),
            ("/repo/snapshot/repo-v1.tar.gz", "repo-v1.tar.gz"),
        ] {
            let answer = forge("GET", target);
            assert_eq!(answer.status, 302, "{name} {target}: {}", String::from_utf8_lossy(&answer.body));
            let there = answer.header("location").unwrap().strip_prefix(&format!("http://{}", site.address)).unwrap();
            assert!(there.contains(&ids[0]), "{name} {target}: {there}");
            let bundle = site.get(there);
            let named = format!("attachment; filename=\"{file}\"");
            assert_eq!((bundle.status, bundle.header("content-disposition")), (200, Some(&*named)), "{name} {target}");
        }
        assert_eq!(forge("GET", "/team/project/archive/v9.tar.gz").status, 404);
        // What is no archive is the forge's.
        for target in ["/", "/team/project", "/team/project/archives/v1.tar.gz", "/archive/x"] {
            assert_eq!(forge("GET", target).body, b"forge", "{name} {target}");
        }
    }
}
