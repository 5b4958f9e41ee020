//! Archives in two real regions: signed URLs, regions that fail and come back, and what goes.

use super::Larder;
use super::common::kitchenware::Random;
use super::hgweb::Hgweb;
use super::seaweed::{Seaweed, get, narrow};
use super::uploads::id;
use super::upstream::{Upstream, good, reply, tar};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

const REV: &str = "3d11cb4f31b9";
const TARGET: &str = "/archiver/up/r/3d11cb4f31b9";

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never comes to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Where a request for what is there leads.
pub(crate) fn location(larder: &Larder, target: &str) -> String {
    let hit = larder.server.get(target);
    assert_eq!(hit.status, 302, "{}", String::from_utf8_lossy(&hit.body));
    hit.header("location").unwrap().to_owned()
}

/// What is said of the regions that have the archive of `/archiver/<request>`.
fn regions(larder: &Larder, request: &str) -> Vec<(String, String)> {
    let (code, output) = larder.run(&["archiver", "status", "--json", request]);
    assert_eq!(code, 0);
    let status: Value = serde_json::from_str(&output).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    status["regions"].as_array().unwrap().iter().map(|row| (text(&row["region"]), text(&row["state"]))).collect()
}

fn both_there() -> Vec<(String, String)> {
    ["us-east-1", "us-west-2"].map(|name| (name.to_owned(), "there".to_owned())).to_vec()
}

fn plain_upstream() -> Upstream {
    Upstream::start(|stream, _, _| {
        reply(stream, "200 OK", "Content-Type: application/x-gzip\r\n", &good());
    })
}

/// The bundle's file in the store.
fn file(larder: &Larder, id: &str) -> std::path::PathBuf {
    larder.data.path().join(format!("bundles/v0/content/{}/{}/{id}.raw", &id[..2], &id[2..4]))
}

#[test]
fn a_redirect_leads_any_client_to_the_archive_for_a_while() {
    let (east, west, hg) = (Seaweed::start(), Seaweed::start(), Hgweb::start());
    let settings = format!(
        "[archiver]\nsigned_url_ttl = \"3s\"\n{}{}{}",
        hg.settings(),
        east.settings("us-east-1", ""),
        west.settings("us-west-2", "")
    );
    let larder = Larder::start(&settings);
    let rev = hg.short();
    let target = format!("/archiver/mozharness/{rev}?repo=mozilla-central&region=us-east-1");
    assert_eq!(larder.fetch(&target)["state"], "SUCCESS");
    let signed = location(&larder, &target);

    // It is the archive, as the upstream has it, for any client.
    let (status, head, archive) = get(&signed);
    let original = get(&format!("http://{}/mozilla-central/archive/{rev}.tar.gz/testing/mozharness", hg.address));
    assert_eq!((status, archive.len()), (200, original.2.len()));
    assert!(archive == original.2);
    let id = signed.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
    for line in [
        "content-type: application/x-gzip".to_owned(),
        format!("content-disposition: attachment; filename=\"mozilla-central-{rev}.tar.gz\""),
        format!("x-amz-meta-sha1git: {id}"),
        format!("x-amz-meta-blake3: {}", blake3::hash(&archive).to_hex()),
    ] {
        assert!(head.contains(&line), "{line} is missing:\n{head}");
    }
    // The same bytes under another name come under that.
    larder.fetch(&format!("/archiver/mozharness/{rev}?repo=projects/ash"));
    let other = location(&larder, &format!("/archiver/mozharness/{rev}?repo=projects/ash"));
    assert!(get(&other).1.contains(&format!("filename=\"ash-{rev}.tar.gz\"")));

    // Who prefers a region gets it, also by the word of the second generation; one that is not known is none.
    let prefer = |name: &str| location(&larder, &format!("/archiver/mozharness/{rev}?&repo=mozilla-central{name}"));
    assert!(prefer("&region=us-west-2").starts_with(&west.endpoint()));
    assert!(prefer("&preferred_region=us-west-2").starts_with(&west.endpoint()));
    for other in ["", "&region=us-east-1", "&region=mars"] {
        assert!(prefer(other).starts_with(&east.endpoint()), "{other}");
    }

    // Altered, and late.
    let url = prefer("");
    assert_eq!(get(&url.replace(&id, &"0".repeat(40))).0, 403);
    assert_eq!(get(&url.replace("X-Amz-Expires=3", "X-Amz-Expires=300")).0, 403);
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(get(&url).0, 403);
    assert_eq!(get(&prefer("")).0, 200);
    assert!(!larder.run(&["config"]).1.contains("a-secret"));
}

#[test]
fn a_region_that_is_down_is_passed_over_and_filled_when_it_is_back_and_loses_what_is_removed_here() {
    let (east, mut west, upstream) = (Seaweed::start(), Seaweed::start(), plain_upstream());
    let one = format!("{}{}", upstream.settings(""), east.settings("us-east-1", ""));
    let both = format!("{one}{}", west.settings("us-west-2", "check = \"1s\"\nconnect_timeout = \"1s\""));

    // A region that there was not yet is filled from the other, though the file here is lost.
    let larder = Larder::start(&one);
    larder.fetch(TARGET);
    let id = east.keys().pop().unwrap();
    fs::remove_file(file(&larder, &id)).unwrap();
    let larder = larder.again_with(&both);
    let request = format!("up/r/{REV}");
    until("it leads to the one that has it", || location(&larder, TARGET).starts_with(&east.endpoint()));
    until("both have it", || regions(&larder, &request) == both_there());
    let west_target = format!("{TARGET}?region=us-west-2");
    assert_eq!(get(&location(&larder, &west_target)).2, good());
    assert_eq!(upstream.requests(), 1);
    assert_eq!(fs::read(file(&larder, &id)).unwrap(), good(), "it was brought back");

    // What somebody deleted there is put there again.
    assert_eq!(west.signed("DELETE", &format!("/{id}")).0, 204);
    until("it is noticed and mended", || west.keys() == [id.as_str()]);
    assert_eq!(upstream.requests(), 1);

    // Down: hits go on, fetches too, and what was missed follows.
    west.down();
    until("it is passed over", || location(&larder, &west_target).starts_with(&east.endpoint()));
    let status = larder.fetch(&format!("/archiver/up/other/{REV}"));
    assert_eq!(status["state"], "SUCCESS");
    assert_eq!(status["s3_urls"].as_object().unwrap().keys().collect::<Vec<_>>(), ["us-east-1"]);
    let removed = format!("content/{id}.raw");
    assert_eq!(larder.run(&["remove", &removed]).0, 0);
    until("it is gone where that is possible", || east.keys().is_empty());
    assert_eq!(larder.server.get(TARGET).status, 202, "it would have to be fetched");
    let tasks: Vec<_> = [TARGET.to_owned(), format!("/archiver/up/other/{REV}")]
        .iter()
        .map(|target| larder.server.get(target).header("location").unwrap().to_owned())
        .collect();
    for task in tasks.iter().filter(|task| task.contains("/status/")) {
        assert_eq!(larder.ended(task)["state"], "SUCCESS");
    }
    west.up();
    until("both have it again", || regions(&larder, &request) == both_there());
    assert_eq!(get(&location(&larder, &west_target)).2, good());

    // And collected, with one region down meanwhile.
    west.down();
    let (code, output) = larder.run(&["gc", "--max-size", "1KiB", "--grace", "0s"]);
    assert_eq!(code, 0, "{output}");
    until("it is gone from one", || east.keys().is_empty());
    let larder = larder.again();
    west.up();
    until("and from the other", || west.keys().is_empty());
    assert_eq!(larder.server.send("HEAD", TARGET, &[]).status, 404);
}

#[test]
fn what_was_deleted_by_hand_is_missed_when_clients_are_sent_there() {
    let (east, upstream) = (Seaweed::start(), plain_upstream());
    // It would be looked at by itself tomorrow.
    let settings = format!("{}{}", upstream.settings(""), east.settings("us-east-1", "recheck = \"2s\""));
    let larder = Larder::start(&settings);
    larder.fetch(TARGET);
    until("it is there", || location(&larder, TARGET).starts_with(&east.endpoint()));
    let (id, signed) = (east.keys().pop().unwrap(), location(&larder, TARGET));
    assert_eq!(get(&signed).2, good());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(east.signed("DELETE", &format!("/{id}")).0, 204);
    assert_eq!(get(&signed).0, 404);
    // One client is sent into the void; that is what is noticed.
    location(&larder, TARGET);
    until("nobody else is", || {
        let next = location(&larder, TARGET);
        let next = next.replace(&format!("http://{}", larder.server.address), "");
        let bytes = if next.starts_with('/') { larder.server.get(&next).body } else { get(&next).2 };
        bytes == good()
    });
    until("it is put there again", || east.keys() == [id.as_str()]);
    assert_eq!(get(&location(&larder, TARGET)).2, good());
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn a_retry_that_could_not_do_it_does_not_say_success() {
    let (mut east, upstream) = (Seaweed::start(), plain_upstream());
    let lines = "retries = 0\ntimeout = \"2s\"\nconnect_timeout = \"1s\"";
    let larder = Larder::start(&format!("{}{}", upstream.settings(""), east.settings("us-east-1", lines)));
    larder.fetch(TARGET);
    until("it is there", || location(&larder, TARGET).starts_with(&east.endpoint()));
    let id = east.keys().pop().unwrap();
    let request = format!("up/r/{REV}");
    let retry = || {
        let (code, said) = larder.run(&["archiver", "retry", "--json", &request]);
        let said: Value = serde_json::from_str(&said).unwrap();
        (code, said["state"].as_str().unwrap().to_owned(), said["regions"][0]["state"].as_str().unwrap().to_owned())
    };
    let done = (0, "SUCCESS".to_owned(), "there".to_owned());
    assert_eq!(retry(), done);
    // It looks, and puts what somebody deleted.
    assert_eq!(east.signed("DELETE", &format!("/{id}")).0, 204);
    assert_eq!(retry(), done);
    assert_eq!(east.keys(), [id.as_str()]);

    east.down();
    let (code, state, _) = retry();
    assert_eq!((code, state.as_str()), (1, "INCOMPLETE"), "whatever is known of it, it was not seen");
    let (code, said) = larder.run(&["archiver", "retry", &request]);
    assert!(code == 1 && said.contains("INCOMPLETE") && !said.contains("SUCCESS"), "{said}");
    east.up();
    assert_eq!(retry(), done);
}

#[test]
fn regions_that_refuse_or_fail_keep_nothing_from_the_others() {
    let (east, upstream) = (Seaweed::start(), plain_upstream());
    let failing = Upstream::start(|stream, _, _| reply(stream, "503 Slow Down", "", b""));
    let stalling = Upstream::start(|_, _, _| std::thread::sleep(Duration::from_mins(2)));
    let quick = "retries = 0\ntimeout = \"1s\"\nconnect_timeout = \"1s\"";
    let elsewhere = |name: &str, upstream: &Upstream| {
        east.settings(name, quick).replace(&east.endpoint(), &format!("http://{}", upstream.address))
    };
    let bad = [
        east.settings_with("a-secret", "archives", "wrong", quick),
        east.settings_with("a-bucket", "no-such-bucket", "secret", quick).replace("/id\"", "/limited\""),
        east.settings_with("a-key", "archives", "no-such-file", quick),
        elsewhere("a-failing", &failing),
        elsewhere("a-stalling", &stalling),
    ]
    .concat();
    let larder = Larder::start(&format!("{}{bad}{}", upstream.settings(""), east.settings("us-east-1", "")));
    let status = larder.fetch(TARGET);
    assert_eq!(status["state"], "SUCCESS");
    assert_eq!(status["s3_urls"].as_object().unwrap().keys().collect::<Vec<_>>(), ["us-east-1"]);
    for region in ["a-secret", "a-bucket", "a-key", "a-failing", "a-stalling", "us-east-1"] {
        let url = location(&larder, &format!("{TARGET}?region={region}"));
        assert_eq!(get(&url).2, good(), "{region}");
        assert!(!url.contains("no-such-bucket"));
    }
    let (_, shown) = larder.run(&["archiver", "status", &format!("up/r/{REV}")]);
    assert!(shown.contains("in us-east-1 there") && shown.contains("in a-bucket"), "{shown}");
    assert_eq!(upstream.requests(), 1);

    // Where no region has it, larder itself does.
    let larder = Larder::start(&format!("{}{bad}", upstream.settings("")));
    let status = larder.fetch(TARGET);
    assert_eq!(status["s3_urls"].as_object().unwrap().keys().collect::<Vec<_>>(), ["local"]);
    assert_eq!(larder.at(&location(&larder, TARGET)).body, good());
}

/// An archive of two parts, unlike any of another name.
pub(crate) fn large(name: &str) -> Vec<u8> {
    let noise: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    tar(&[(&format!("t/{name}"), &noise)])
}

#[test]
fn killed_while_putting_every_task_ends_and_nothing_is_partial() {
    let rounds = if std::env::var_os("LARDER_TEST_LONG").is_some() { 30 } else { 4 };
    let east = Seaweed::start();
    let upstream = Upstream::start(move |stream, _, head| {
        reply(stream, "200 OK", "", &large(head.split('/').nth(1).unwrap()));
    });
    let way = narrow(&east.endpoint());
    let region = east.settings("us-east-1", "").replace(&east.endpoint(), &way);
    let mut larder = Larder::start(&format!("{}{region}", upstream.settings("")));
    let seed = Random::seed();
    let (mut random, mut tasks) = (Random::new(seed), Vec::new());
    for round in 0..rounds {
        let target = format!("/archiver/up/r{round}/{REV}?suffix=tar");
        let task = larder.server.get(&target).header("location").unwrap().rsplit('/').next().unwrap().to_owned();
        tasks.push((target, task));
        // Half of them in the midst of an upload, the others anywhere.
        let in_upload = round % 2 == 0;
        let ends = Instant::now() + Duration::from_millis(if in_upload { 60_000 } else { random.below(2500) });
        // Of this archive: what an earlier round has left may end at any moment.
        let object = in_upload.then(|| id(&large(&format!("r{round}"))));
        let is_begun = || object.as_ref().is_some_and(|object| east.uploads_of(object) > 0);
        let mut begun = false;
        while Instant::now() < ends && !begun {
            std::thread::sleep(Duration::from_millis(5));
            begun = is_begun();
        }
        assert_eq!(begun, in_upload, "seed {seed}: no upload to be cut short");
        if in_upload {
            std::thread::sleep(Duration::from_millis(50 + random.below(300)));
        }
        larder = larder.again();
        for (round, (target, _)) in tasks.iter().enumerate() {
            let hit = larder.server.get(target);
            if hit.status == 302 && hit.header("location").unwrap().starts_with(&way) {
                let (_, _, bytes) = get(hit.header("location").unwrap());
                assert!(bytes == large(&format!("r{round}")), "seed {seed}: {target} is partial");
            }
        }
    }
    for (round, (target, id)) in tasks.iter().enumerate() {
        let task = format!("http://{}/archiver/status/{id}", larder.server.address);
        assert_eq!(larder.ended(&task)["state"], "SUCCESS", "seed {seed}: {target}");
        until("it is in the region", || location(&larder, target).starts_with(&way));
        assert!(get(&location(&larder, target)).2 == large(&format!("r{round}")), "seed {seed}: {target}");
    }
    // Not even one that was killed between the answer that names an upload and the note of it.
    until("the uploads have ended", || east.uploads() == 0);
    assert_eq!(east.keys().len(), rounds, "seed {seed}: nothing else is there");
}
