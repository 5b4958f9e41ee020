//! `/metrics`: that the figures are those of what was done, whoever reads them, and that no client makes them grow.

#![expect(clippy::float_cmp, reason = "counts are whole numbers, which are exact")]

use crate::common::client::request;
use crate::common::fixtures::fixture;
use crate::common::scrape::{Scraped, check_with_promtool, scrape};
use crate::common::server::Server;
use std::process::{Command, Stdio};

const NOBODY: &str = "00000000000000000000000000000000000000aa";

#[test]
fn figures_are_those_of_what_was_done() {
    let (plain, hostile, data) = (fixture("plain"), fixture("hostile/trees"), tempfile::tempdir().unwrap());
    let server = Server::start(data.path(), &[&plain.path, &hostile.path], &["--max-size", "1GiB"]);
    let of = |kind: &str| plain.cookable().find(|id| id.kind.to_string() == kind).unwrap().id;
    let bad = hostile.ids.iter().find(|id| id.expect.as_deref() == Some("hostile-tree")).unwrap();
    let directory = format!("directory/{}", of("directory"));
    assert_eq!(server.cook(&format!("{directory}.tar"))["status"], "done");
    let revision = server.cook(&format!("revision/{}.tar", of("revision")));
    assert_eq!(revision["status"], "done");
    assert_eq!(server.cook(&format!("{}/{}.tar", bad.kind, bad.id))["status"], "failed");
    let target = format!("/vault/{directory}.tar");
    let whole = server.get(&target);
    assert_eq!(whole.status, 200);
    let etag = whole.header("etag").unwrap();
    assert_eq!(server.send("GET", &target, &[("If-None-Match", etag)]).status, 304);
    assert_eq!(server.send("GET", &target, &[("Range", "bytes=5-9")]).status, 206);
    assert_eq!(server.send("HEAD", &target, &[]).status, 200);
    assert_eq!(server.post(&format!("/vault/directory/{NOBODY}")).status, 404);
    assert_eq!(server.get("/vault/directory/x").status, 400);

    let found = scrape(&server.address);
    let requests = |route, status| found.get("larder_http_requests_total", &[("route", route), ("status", status)]);
    assert_eq!(requests("cook", "201"), 3.0);
    assert_eq!(requests("cook", "404"), 1.0);
    assert_eq!((requests("bundle", "200"), requests("bundle", "304"), requests("bundle", "206")), (2.0, 1.0, 1.0));
    assert_eq!(requests("none", "400"), 1.0);
    assert_eq!(found.get("larder_http_request_duration_seconds_count", &[("route", "bundle")]), 4.0);
    assert_eq!(found.get("larder_hits_total", &[("by", "larder")]), 2.0, "one whole, and one that was known");
    assert_eq!(found.get("larder_hits_total", &[("by", "nginx")]), 0.0);
    let cooks =
        |kind, outcome| found.get("larder_cooks_total", &[("kind", kind), ("format", "tar"), ("outcome", outcome)]);
    // That of the revision is another name of its directory's, which is cooked for it unless it is there.
    assert_eq!(cooks("revision", "linked"), 1.0);
    assert_eq!(cooks(bad.kind.as_str(), "hostile-tree"), 1.0);
    let made = [("kind", "directory"), ("format", "tar")];
    assert_eq!(cooks("directory", "done"), found.get("larder_cook_duration_seconds_count", &made));
    let stored: f64 = found.get("larder_store_files", &[]);
    assert_eq!(cooks("directory", "done"), stored);
    assert!(found.get("larder_cooked_bytes_total", &made) >= stored * 10_240.0, "a tar has that at least");
    assert!(found.get("larder_store_size_bytes", &[]) >= found.get("larder_cooked_bytes_total", &made));
    assert_eq!(found.get("larder_store_max_size_bytes", &[]), f64::from(1 << 30));
    assert!(found.get("larder_store_free_bytes", &[]) < found.get("larder_store_disk_bytes", &[]));
    for state in ["queued", "running"] {
        assert_eq!(found.get("larder_queue_cooks", &[("state", state)]), 0.0);
    }
    assert_eq!(found.get("larder_queue_oldest_seconds", &[]), 0.0);
    assert!(found.get("larder_archive_reads_total", &[("outcome", "found")]) > 4.0);
    assert!(found.get("larder_archive_reads_total", &[("outcome", "absent")]) >= 1.0);
    assert_eq!(found.get("larder_archive_reads_total", &[("outcome", "failed")]), 0.0);
    assert_eq!((found.get("larder_ready", &[]), found.get("larder_figures_up", &[])), (1.0, 1.0));
    assert_eq!(found.get("larder_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert!(found.get("process_resident_memory_bytes", &[]) > 1e6);
    assert_eq!(found.get("larder_http_connections", &[]), 1.0, "that of the scrape");
    assert!(!found.text.contains(&of("directory").to_string()) && !found.text.contains("127.0.0.1"), "{}", found.text);
    check_with_promtool(&found);
}

#[test]
fn a_cook_that_waits_shows_in_the_queue_and_its_age_grows() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let id = plain.cookable().find(|id| id.kind.to_string() == "directory").unwrap().id;
    drop(Server::start(data.path(), &[], &[]));
    let catalogue =
        larder::catalogue::Catalogue::open(&data.path().join("catalogue.db"), larder::catalogue::Access::Write)
            .unwrap();
    let hour_ago = larder::time::Timestamp::from_millis(larder::time::Timestamp::now().as_millis() - 3_600_000);
    let key = format!("directory/{id}.zip").parse().unwrap();
    catalogue.order(&key, hour_ago, 9, std::time::Duration::ZERO).unwrap();
    // Nobody cooks here.
    let server = Server::start(data.path(), &[], &["--mode", "read-only"]);
    let found = scrape(&server.address);
    assert_eq!(found.get("larder_queue_cooks", &[("state", "queued")]), 1.0);
    let age = found.get("larder_queue_oldest_seconds", &[]);
    assert!((3600.0..7200.0).contains(&age), "{age}");
}

#[test]
fn what_another_process_collected_is_counted_with_its_age() {
    let (plain, data) = (fixture("plain"), tempfile::tempdir().unwrap());
    let server = Server::start(data.path(), &[&plain.path], &[]);
    let ids: Vec<_> = plain.cookable().filter(|id| id.kind.to_string() == "directory").take(2).collect();
    for id in &ids {
        assert_eq!(server.cook(&format!("directory/{}.zip", id.id))["status"], "done");
    }
    assert_eq!(scrape(&server.address).get("larder_evicted_files_total", &[]), 0.0);
    let sql = rusqlite::Connection::open(data.path().join("catalogue.db")).unwrap();
    sql.execute("UPDATE file SET last_access = last_access - 7200000", []).unwrap();
    let size = scrape(&server.address).get("larder_store_size_bytes", &[]);
    let mut gc = Command::new(env!("CARGO_BIN_EXE_larder"));
    gc.args(["gc", "--max-size", "0B", "--force"]).arg("--data").arg(data.path()).env_remove("LARDER_CONFIG");
    let done = gc.stdin(Stdio::null()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found = scrape(&server.address);
    assert_eq!(found.get("larder_evicted_files_total", &[]), 2.0);
    assert_eq!(found.get("larder_evicted_bytes_total", &[]), size);
    let unused = found.get("larder_evicted_unused_seconds_total", &[]);
    assert!((14_400.0..15_000.0).contains(&unused), "two hours each: {unused}");
    assert_eq!(found.get("larder_store_files", &[]), 0.0);
}

#[test]
fn whatever_clients_send_makes_no_further_series() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[], &[]);
    let storm = |from: u32| {
        for number in from..from + 40 {
            let (id, method) = (format!("{number:040x}"), format!("M{number}"));
            server.get(&format!("/vault/directory/{id}.tar"));
            server.get(&format!("/vault/{id}"));
            server.get(&format!("/{id}?{id}"));
            server.send(&method, &format!("/vault/directory/{id}.zip"), &[]);
            server.send("GET", "/healthz", &[("X-Request-Id", &id), ("Host", &id), ("X-Forwarded-For", "192.0.2.1")]);
        }
    };
    storm(0);
    scrape(&server.address);
    let before = scrape(&server.address);
    storm(1_000);
    let after = scrape(&server.address);
    assert_eq!(before.names(), after.names());
    let answered = |found: &Scraped| found.sum("larder_http_requests_total");
    assert!(answered(&after) >= answered(&before) + 200.0, "they are counted");
}

#[test]
fn figures_are_for_this_machine_or_on_an_address_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[], &[]);
    assert_eq!(server.get("/metrics").status, 200);
    for (name, value) in [("X-Forwarded-For", "192.0.2.1"), ("X-Real-IP", "192.0.2.1"), ("Via", "1.1 proxy")] {
        assert_eq!(server.send("GET", "/metrics", &[(name, value)]).status, 404, "{name}");
    }
    let open = server.send("GET", "/metrics", &[("Accept", "application/openmetrics-text;version=1.0.0,*/*;q=0.1")]);
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.body.ends_with(b"# EOF\n"));
    assert_eq!((open.header("cache-control"), open.header("vary")), (Some("no-store"), Some("accept")));
    drop(server);

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let server = Server::start(data.path(), &[], &["--metrics-listen", &free]);
    assert_eq!(server.get("/metrics").status, 404);
    let own = |method, target| request(&free, method, target, &[("X-Forwarded-For", "192.0.2.1")]).unwrap();
    assert_eq!(own("GET", "/metrics").status, 200);
    assert_eq!((own("HEAD", "/metrics").status, own("HEAD", "/metrics").body.len()), (200, 0));
    assert_eq!((own("POST", "/metrics").status, own("GET", "/").status, own("GET", "/readyz").status), (405, 404, 404));
    assert_eq!(scrape(&free).get("larder_http_requests_total", &[("route", "metrics"), ("status", "404")]), 1.0);
}

#[test]
fn a_catalogue_that_is_gone_leaves_a_scrape_that_says_so() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(data.path(), &[], &[]);
    assert_eq!(scrape(&server.address).get("larder_ready", &[]), 1.0);
    std::fs::remove_file(data.path().join("catalogue.db")).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let found = loop {
        let found = scrape(&server.address);
        if found.get("larder_ready", &[]) == 0.0 {
            break found;
        }
        assert!(std::time::Instant::now() < deadline, "{}", found.text);
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(found.get("larder_trouble", &[("code", "catalogue_lost")]), 1.0);
    assert!(found.get("larder_http_requests_total", &[("route", "metrics"), ("status", "200")]) >= 1.0);
}
