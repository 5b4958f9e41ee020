//! `/metrics` behind the sites of `nginx/`: hits that nginx answered are in it, and who forwards is not taken for the
//! machine itself.

#![expect(clippy::float_cmp, reason = "counts are whole numbers, which are exact")]

use crate::common::fixtures::fixture;
use crate::common::scrape::scrape;
use crate::common::site::Site;
use std::time::{Duration, Instant};

#[test]
fn hits_of_nginx_are_counted_as_its_log_is_read() {
    for name in ["larder.conf", "larder-unix.conf"] {
        let site = Site::open(name, &["--access-log", "@log"], |_| {});
        let id = fixture("plain").cookable().find(|id| id.kind.to_string() == "directory").unwrap().id;
        let target = site.cook(&format!("directory/{id}.tar"));
        for _ in 0..3 {
            assert_eq!(site.get(&target).status, 200);
        }
        assert_eq!(site.hits_logged().len(), 3);
        let deadline = Instant::now() + Duration::from_mins(2);
        let found = loop {
            let found = scrape(&site.address);
            if found.get("larder_access_log_lines_total", &[]) == 3.0 {
                break found;
            }
            assert!(Instant::now() < deadline, "{}", found.text);
            std::thread::sleep(Duration::from_millis(200));
        };
        assert_eq!(found.get("larder_hits_total", &[("by", "nginx")]), 3.0);
        assert_eq!(found.get("larder_hits_total", &[("by", "larder")]), 0.0, "larder was not asked");
        assert_eq!(found.get("larder_access_log_lag_seconds", &[]), 0.0, "its end was reached");
        assert_eq!(found.get("larder_access_log_foreign_lines_total", &[]), 0.0);
    }
}
