//! Tasks: one fetch however many ask, bounds by host, waiting too long, ends, and going.

use super::Larder;
use super::upstream::{Upstream, good, gz, reply, tar};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const REV: &str = "3d11cb4f31b9";

#[test]
fn many_that_ask_at_once_get_one_task_and_one_fetch() {
    let upstream = Upstream::start(|stream, _, _| {
        std::thread::sleep(Duration::from_millis(300));
        reply(stream, "200 OK", "", &good());
    });
    let larder = Larder::start(&upstream.settings(""));
    let targets = [format!("/archiver/up/a/r/{REV}"), format!("/archiver/up/{REV}?repo=a/r&region=x")];
    let locations: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|n| {
                let (larder, target) = (&larder, &targets[n % 2]);
                scope.spawn(move || larder.server.get(target).header("location").unwrap().to_owned())
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(locations.iter().all(|location| *location == locations[0]), "{locations:?}");
    assert_eq!(larder.ended(&locations[0])["state"], "SUCCESS");
    assert_eq!(upstream.requests(), 1);
}

#[test]
fn tasks_of_one_revision_in_two_repositories_differ() {
    let upstream = Upstream::start(|stream, _, _| reply(stream, "200 OK", "", &good()));
    let larder = Larder::start(&upstream.settings(""));
    let one = larder.server.get(&format!("/archiver/up/a/{REV}"));
    let other = larder.server.get(&format!("/archiver/up/b/{REV}"));
    assert_ne!(one.header("location"), other.header("location"));
    for answer in [&one, &other] {
        assert_eq!(larder.ended(answer.header("location").unwrap())["state"], "SUCCESS");
    }
    let listed = larder.server.get("/vault/content").json();
    assert_eq!(listed["bundles"].as_array().unwrap().len(), 1, "the same bytes are one file: {listed}");
}

#[test]
fn a_host_is_fetched_from_as_often_at_once_as_its_source_says() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (here, peak) = (now, most.clone());
    let upstream = Upstream::start(move |stream, _, _| {
        peak.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(150));
        here.fetch_sub(1, Ordering::SeqCst);
        reply(stream, "200 OK", "", &good());
    });
    let larder = Larder::start(&upstream.settings("at_once = 2"));
    let asked: Vec<_> = (0..6).map(|n| larder.server.get(&format!("/archiver/up/r{n}/{REV}"))).collect();
    for answer in asked {
        assert_eq!(larder.ended(answer.header("location").unwrap())["state"], "SUCCESS");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[test]
fn a_running_task_says_so_and_too_many_waiting_are_refused() {
    let upstream = Upstream::start(|stream, _, _| {
        std::thread::sleep(Duration::from_millis(1500));
        reply(stream, "200 OK", "", &good());
    });
    let larder = Larder::start(&format!("[archiver]\nmax_waiting = 1\n{}", upstream.settings("at_once = 1")));
    let running = larder.server.get(&format!("/archiver/up/a/{REV}"));
    let location = running.header("location").unwrap();
    while larder.at(location).json()["result"]["state"] != "STARTED" {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(larder.server.get(&format!("/archiver/up/b/{REV}")).status, 202);
    let refused = larder.server.get(&format!("/archiver/up/c/{REV}"));
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some() && refused.json()["error"]["code"] == 503);
    let (_, listed) = larder.run(&["archiver", "status"]);
    assert!(listed.contains("STARTED") && listed.contains("PENDING"), "{listed}");
    assert_eq!(larder.ended(location)["state"], "SUCCESS");
}

#[test]
fn what_was_collected_is_fetched_anew_and_what_is_forgotten_is_not_known() {
    let upstream = Upstream::start(|stream, _, _| reply(stream, "200 OK", "", &good()));
    let larder = Larder::start(&upstream.settings(""));
    let target = format!("/archiver/up/r/{REV}");
    larder.archive(&target);
    let (_, said) = larder.run(&["archiver", "status", &format!("up/r/{REV}"), "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let content = said["fetched"]["content"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    assert_eq!(larder.run(&["remove", &format!("content/{content}.raw")]).0, 0);
    let first = said["task"].as_str().unwrap();
    let gone = larder.server.get(&format!("/archiver/status/{first}")).json();
    assert_eq!(gone["result"]["s3_urls"], serde_json::json!({}), "{gone}");
    assert_eq!(larder.archive(&target), good());
    assert_eq!(upstream.requests(), 2);

    assert_eq!(larder.run(&["archiver", "forget", &format!("up/r/{REV}")]).0, 0);
    assert_eq!(larder.run(&["archiver", "forget", &format!("up/r/{REV}")]).0, 3);
    assert_eq!(larder.run(&["archiver", "status", first]).0, 3);
    assert_eq!(larder.server.get(&format!("/archiver/status/{first}")).json()["result"]["state"], "PENDING");
    assert_eq!(larder.server.get(&format!("/vault/content/{content}.raw")).status, 200, "the bundle stays");
}

#[test]
fn what_waits_for_over_a_minute_says_retry_and_waits_anew() {
    let (upstream, location) = held_up();
    let larder = Larder::start(&upstream.settings("at_once = 1"));
    let waiting = location(&larder);
    let database = rusqlite::Connection::open(larder.data.path().join("catalogue.db")).unwrap();
    let waits_since = || -> i64 {
        let sql = "SELECT waits_since FROM archiver_task ORDER BY seq DESC LIMIT 1";
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let earlier = |millis: i64| {
        let sql = "UPDATE archiver_task SET waits_since = waits_since - ?1 WHERE state = 0";
        assert_eq!(database.execute(sql, [millis]).unwrap(), 1);
    };
    let src = format!("http://{}/b/{REV}.tar.gz", upstream.address);
    let said = |state: &str, status: &str| serde_json::json!({"s3_urls": {}, "src_url": src, "state": state, "status": status});
    assert_eq!(larder.at(&waiting).json()["result"], said("PENDING", "no status available at this point."));
    earlier(20_000);
    assert_eq!(larder.at(&waiting).json()["result"], said("PENDING", "no status available at this point."));
    earlier(61_000);
    let before = waits_since();
    let words = "Task has expired from pending for too long. Re-creating task.";
    assert_eq!(larder.at(&waiting).json()["result"], said("RETRY", words));
    assert!(waits_since() > before + 60_000, "it has a new expiry");
}

#[test]
fn a_task_whose_archive_is_gone_is_followed_by_one_that_waits() {
    let (upstream, location) = held_up();
    let larder = Larder::start(&upstream.settings("at_once = 1"));
    let target = format!("/archiver/up/gone/{REV}");
    larder.archive(&target);
    let (_, said) = larder.run(&["archiver", "status", &format!("up/gone/{REV}"), "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let content = said["fetched"]["content"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    assert_eq!(larder.run(&["remove", &format!("content/{content}.raw")]).0, 0);
    location(&larder);
    let asked = larder.server.get(&target);
    assert_eq!(asked.status, 202);
    let task = asked.header("location").unwrap();
    assert!(!task.ends_with(said["task"].as_str().unwrap()), "it is another task");
    assert_eq!(larder.at(task).json()["result"]["state"], "PENDING");
}

/// An upstream that never answers for `a`; and what asks for that, then for `b`, and gives the task of
/// the latter, which waits.
fn held_up() -> (Upstream, impl Fn(&Larder) -> String) {
    let upstream = Upstream::start(|stream, _, head| {
        if head.starts_with("GET /a/") {
            std::thread::sleep(Duration::from_mins(5));
        }
        reply(stream, "200 OK", "", &good());
    });
    let ask = |larder: &Larder| {
        let task = |repo: &str| {
            let asked = larder.server.get(&format!("/archiver/up/{repo}/{REV}"));
            asked.header("location").unwrap().to_owned()
        };
        let first = task("a");
        while larder.at(&first).json()["result"]["state"] != "STARTED" {
            std::thread::sleep(Duration::from_millis(10));
        }
        task("b")
    };
    (upstream, ask)
}

#[test]
fn what_is_unpacked_to_be_cooked_from_counts_as_taken_of_the_disk() {
    let archive = gz(&tar(&[("t/zeros", &vec![0; 32 << 20])]));
    let upstream = Upstream::start(move |stream, _, _| reply(stream, "200 OK", "", &archive));
    let start = |max_size: &str| Larder::start(&format!("max_size = \"{max_size}\"\n{}", upstream.settings("")));
    let target = format!("/archiver/up/r/{REV}");
    let cooked = |larder: &Larder| {
        assert_eq!(larder.fetch(&target)["state"], "SUCCESS");
        let (_, said) = larder.run(&["archiver", "status", &format!("up/r/{REV}"), "--json"]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let id = said["fetched"]["directory"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        assert_eq!(larder.server.post(&format!("/vault/directory/{id}")).status, 201);
        let deadline = Instant::now() + Duration::from_mins(5);
        loop {
            let status = larder.server.get(&format!("/vault/directory/{id}/status")).json();
            if status["status"] == "done" || !status["error"].is_null() {
                return status;
            }
            assert!(Instant::now() < deadline, "{status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let refused = cooked(&start("8MiB"));
    assert_eq!(refused["error"]["code"], "no-space", "{refused}");
    assert_eq!(cooked(&start("64MiB"))["status"], "done");
}

#[test]
fn sources_are_listed_and_a_wrong_one_is_named() {
    let upstream = Upstream::start(|_, _, _| {});
    let larder = Larder::start(&upstream.settings(""));
    let (code, listed) = larder.run(&["archiver", "sources"]);
    assert!(code == 0 && listed.starts_with("up  http://"), "{listed}");
    let (_, listed) = larder.run(&["archiver", "sources", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&listed).unwrap()["name"], "up");
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "[archiver.sources.up]\nurl = \"https://x.org/{rev}\"\nrepo = \"x\"\n").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["archiver", "sources", "--config", wrong.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("`repo`"));
}

#[test]
fn a_blocked_archive_is_451_in_the_archivers_own_shape() {
    let upstream = Upstream::start(|stream, _, _| reply(stream, "200 OK", "", &good()));
    let larder = Larder::start(&upstream.settings(""));
    let target = format!("/archiver/up/r/{REV}");
    larder.archive(&target);
    let (_, said) = larder.run(&["archiver", "status", &format!("up/r/{REV}"), "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(larder.run(&["block", said["fetched"]["content"].as_str().unwrap()]).0, 0);
    let deadline = Instant::now() + Duration::from_mins(5);
    while larder.server.get(&target).status != 451 {
        assert!(Instant::now() < deadline, "it is not refused");
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = larder.server.get(&target);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    let error = &refused.json()["error"];
    assert_eq!((&error["code"], &error["name"]), (&451.into(), &"Unavailable For Legal Reasons".into()));
    assert_eq!(larder.server.send("HEAD", &target, &[]).status, 451);
    assert_eq!(upstream.requests(), 1, "it is not fetched anew");
    let task = larder.server.get(&format!("/archiver/status/{}", said["task"].as_str().unwrap())).json();
    assert_eq!(task["result"]["s3_urls"], serde_json::json!({}), "{task}");
    assert!(task["result"]["status"].as_str().unwrap().contains("blocked"), "{task}");

    // The same bytes under a name of which nothing was known: they are fetched, and no file of them appears.
    let other = format!("/archiver/up/r/{}", "e".repeat(40));
    assert_eq!(larder.server.get(&other).status, 202);
    let said = loop {
        let (_, said) = larder.run(&["archiver", "status", &format!("up/r/{}", "e".repeat(40)), "--json"]);
        if said.contains("FAILURE") || Instant::now() > deadline {
            break said;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(said.contains("blocked") && upstream.requests() == 2, "{said}");
    assert!(larder.server.get("/vault/content").json()["bundles"].as_array().unwrap().is_empty());
}
