//! Branches and tags, which move, beside hashes, which do not; and hashes as people write them.

use super::Larder;
use super::hgweb::Hgweb;
use super::regions::until;
use super::upstream::{Upstream, gz, reply, tar};
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FULL: &str = "3d11cb4f31b93d11cb4f31b93d11cb4f31b93d11";

/// Another archive at each request.
fn changing() -> Upstream {
    Upstream::start(|stream, n, _| reply(stream, "200 OK", "", &numbered(n)))
}

fn numbered(n: usize) -> Vec<u8> {
    gz(&tar(&[("t/a", format!("{n}\n").as_bytes())]))
}

/// What the redirect of a request leads to.
fn there(larder: &Larder, target: &str) -> Option<Vec<u8>> {
    let hit = larder.server.get(target);
    (hit.status == 302).then(|| larder.at(hit.header("location").unwrap()).body)
}

#[test]
fn what_moves_is_asked_for_again_when_its_time_is_over_and_what_does_not_never() {
    let upstream = changing();
    let lines = "revisions = [\"hash\", \"main\", \"release/*\"]\nmoving_expiry = \"3s\"\nimmutable = true";
    let larder = Larder::start(&upstream.settings(lines));
    let (branch, fixed) = ("/archiver/up/r/main", format!("/archiver/up/r/{FULL}"));
    assert_eq!(larder.archive(&fixed), numbered(0));
    let asked = Instant::now();
    assert_eq!(larder.archive(branch), numbered(1));
    let again = there(&larder, branch);
    if asked.elapsed() < Duration::from_secs(3) {
        assert_eq!(again, Some(numbered(1)), "it was asked for just now");
        assert_eq!(upstream.requests(), 2);
    }
    until("its time is over", || larder.server.send("HEAD", branch, &[]).status == 404);
    assert_eq!(upstream.requests(), 2, "a HEAD fetches nothing");
    assert_eq!(larder.archive(branch), numbered(2), "the branch has moved");
    assert_eq!(there(&larder, &fixed), Some(numbered(0)), "the first bytes of what is fixed stay");
    assert_eq!(upstream.requests(), 3);
    let (_, said) = larder.run(&["archiver", "status", "up/r/main"]);
    assert!(!said.contains("drift"), "what moves does not drift: {said}");
    assert_eq!(larder.server.get("/archiver/up/r/other").status, 400);

    // Where nothing is fetched, what is there is given for as long as it is there.
    let writer = larder.data.path().to_owned();
    let config = writer.join("larder.toml");
    larder.server.kill();
    let flags = ["--config", config.to_str().unwrap(), "--mode", "read-only"];
    let reader = super::common::server::Server::start(&writer, &[], &flags);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(reader.get(branch).status, 302);
    reader.kill();
}

#[test]
fn the_tip_of_a_real_repository_moves() {
    let hg = Hgweb::start();
    let settings = format!(
        "[archiver.sources.hg]\npreset = \"hgweb\"\nbase = \"http://{}\"\nrepos = [\"**\"]\nprivate_addresses = true\n\
         revisions = [\"hash\", \"tip\"]\nmoving_expiry = \"1s\"\nrevision_digits = 12\n",
        hg.address
    );
    let larder = Larder::start(&settings);
    let (tip, fixed) =
        ("/archiver/hg/projects/ash/tip", format!("/archiver/hg/projects/ash/{}", hg.rev.to_uppercase()));
    let first = larder.archive(tip);
    // In full and in upper case, it is the archive of its twelve digits.
    let of_revision = larder.archive(&fixed);
    assert_eq!(there(&larder, &format!("/archiver/hg/projects/ash/{}", hg.short())), Some(of_revision.clone()));
    let name = format!("filename=ash-{}.tar.gz", hg.short());
    assert!(larder.server.get(&fixed).header("location").unwrap().contains(&name));
    hg.tag();
    std::thread::sleep(Duration::from_millis(1100));
    assert_ne!(larder.archive(tip), first, "there is a newer revision");
    assert_eq!(there(&larder, &fixed), Some(of_revision));
}

#[test]
fn a_hash_is_asked_for_in_lower_case_and_in_as_many_digits_as_its_source_says() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let upstream = Upstream::start(move |stream, n, head| {
        heard.lock().unwrap().push(head.split(' ').nth(1).unwrap().to_owned());
        reply(stream, "200 OK", "", &numbered(n));
    });
    let larder = Larder::start(&upstream.settings("revision_digits = 12"));
    for rev in [FULL.to_uppercase(), FULL.to_owned(), FULL[..12].to_uppercase(), FULL[..20].to_owned()] {
        let target = format!("/archiver/up/r/{rev}");
        let bytes = there(&larder, &target).unwrap_or_else(|| larder.archive(&target));
        assert_eq!(bytes, numbered(0), "{rev} is the same archive");
    }
    assert_eq!(*seen.lock().unwrap(), ["/r/3d11cb4f31b9.tar.gz"]);
    let (code, said) = larder.run(&["archiver", "status", &format!("up/r/{}", FULL.to_uppercase())]);
    assert!(code == 0 && said.contains("SUCCESS"), "{said}");
}

#[test]
fn an_upstream_that_closes_connections_without_a_word_fails_no_fetch() {
    let upstream = Upstream::start(|stream, _, _| {
        // No `Connection: close`: who asked may think that the connection can be used again.
        let good = numbered(1);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", good.len());
        let _ = stream.write_all(&good);
    });
    let larder = Larder::start(&upstream.settings("retries = 0\nat_once = 8"));
    let targets: Vec<String> = (0..60).map(|n| format!("/archiver/up/r{n}/{FULL}")).collect();
    let tasks: Vec<String> =
        targets.iter().map(|target| larder.server.get(target).header("location").unwrap().to_owned()).collect();
    for task in tasks {
        let ended = larder.ended(&task);
        assert_eq!(ended["state"], "SUCCESS", "{ended}");
    }
}
