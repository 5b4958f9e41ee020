//! The pages for people: what they say, and that a browser does with them what they promise.

mod answers;
mod browser;
mod hostile;
mod looks;
mod way;

use crate::common::server::Server;
use std::time::{Duration, Instant};

/// Waits until the first page lists a repository: then its snapshot is known.
pub(crate) fn wait_for_origin(server: &Server, url: &str) {
    let deadline = Instant::now() + Duration::from_mins(2);
    let listed = || server.get(&format!("/origins?url={url}"));
    while listed().status != 200 || listed().json()["origin"]["snapshot"].is_null() {
        assert!(Instant::now() < deadline, "{url} was never seen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A page, as a browser asks for it.
fn page(server: &Server, target: &str) -> (u16, String) {
    let answer = server.send("GET", target, &[("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]);
    (answer.status, String::from_utf8(answer.body).expect("a page is UTF-8"))
}
