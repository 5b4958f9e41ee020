//! `kill -9` while archives are fetched: every task ends, and nothing partial is ever served.

use super::Larder;
use super::common::kitchenware::Random;
use super::upstream::{Upstream, good};
use std::io::Write;
use std::time::Duration;

const REV: &str = "3d11cb4f31b9";

#[test]
fn killed_while_fetching_every_task_ends_and_nothing_is_partial() {
    let rounds = if std::env::var_os("LARDER_TEST_LONG").is_some() { 30 } else { 6 };
    let upstream = Upstream::start(|stream, _, _| {
        let good = good();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", good.len());
        for piece in good.chunks(8 << 10) {
            if stream.write_all(piece).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let mut larder = Larder::start(&upstream.settings(""));
    let seed = Random::seed();
    let (mut random, mut tasks) = (Random::new(seed), Vec::new());
    for round in 0..rounds {
        for n in 0..3 {
            let target = format!("/archiver/up/r{round}-{n}/{REV}");
            let location = larder.server.get(&target).header("location").unwrap().to_owned();
            tasks.push((target, location.rsplit('/').next().unwrap().to_owned()));
        }
        std::thread::sleep(Duration::from_millis(random.below(250)));
        larder = larder.again();
        for (target, _) in &tasks {
            let hit = larder.server.get(target);
            if hit.status == 302 {
                assert!(larder.at(hit.header("location").unwrap()).body == good(), "seed {seed}: {target} is partial");
            }
        }
    }
    for (target, id) in &tasks {
        let location = format!("http://{}/archiver/status/{id}", larder.server.address);
        assert_eq!(larder.ended(&location)["state"], "SUCCESS", "seed {seed}: {target}");
    }
    let listed = larder.server.get("/vault/content").json();
    assert_eq!(listed["bundles"].as_array().unwrap().len(), 1, "all are the same bytes");
    // Whoever died left nothing behind.
    std::thread::sleep(Duration::from_secs(1));
    let left: Vec<_> = std::fs::read_dir(larder.data.path().join("bundles/v0/tmp")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_graceful_stop_gives_a_fetch_back_and_the_next_ends_it() {
    let upstream = Upstream::start(|stream, n, _| {
        if n == 0 {
            std::thread::sleep(Duration::from_secs(30));
        }
        super::upstream::reply(stream, "200 OK", "", &good());
    });
    let settings = format!("stop_grace = \"200ms\"\n{}", upstream.settings(""));
    let larder = Larder::start(&settings);
    let answer = larder.server.get(&format!("/archiver/up/r/{REV}"));
    let location = answer.header("location").unwrap().to_owned();
    // A fetch that was given back before it asked would be none.
    while larder.at(&location).json()["result"]["state"] != "STARTED" || upstream.requests() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let Larder { server, data, settings } = larder;
    assert!(server.terminate().success());
    let server = Larder::serve(data.path(), &settings, &[]);
    let larder = Larder { server, data, settings };
    let id = location.rsplit('/').next().unwrap();
    let location = format!("http://{}/archiver/status/{id}", larder.server.address);
    assert_eq!(larder.ended(&location)["state"], "SUCCESS");
    assert_eq!(upstream.requests(), 2);
}
