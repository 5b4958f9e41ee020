//! The id of a request, from nginx to the end of the cook that it ordered; and what nginx says to pages of other
//! origins.

use crate::common::fixtures::fixture;
use crate::common::site::Site;

#[test]
fn nginx_names_a_request_and_the_log_of_its_cook_has_the_name() {
    for name in ["larder.conf", "larder-unix.conf"] {
        let site = Site::open(name, &[], |_| {});
        let id = fixture("plain").cookable().find(|id| id.kind.to_string() == "directory").unwrap().id;
        let target = format!("/vault/directory/{id}.tar");
        let ordered = site.send("POST", &target, &[("Prefer", "wait=60"), ("X-Request-Id", "forged")]);
        assert_eq!((ordered.status, &ordered.json()["status"]), (201, &"done".into()));
        let given = ordered.header("x-request-id").unwrap();
        assert!(given.len() == 32 && given.bytes().all(|b| b.is_ascii_hexdigit()), "{given}");
        let log = site.larder_log();
        let cooked = log.lines().find(|line| line.contains("cooked")).unwrap();
        assert!(cooked.contains(&format!("request{{request_id={given}}}")), "{name}: {cooked}");
        assert!(!log.contains("forged"), "{name}: {log}");

        let asks = [("Origin", "https://forge.example"), ("Access-Control-Request-Method", "GET")];
        assert_eq!(site.send("OPTIONS", &target, &asks).header("access-control-allow-origin"), Some("*"), "{name}");
        for (target, status) in [(target.clone(), 200), (format!("{target}.x"), 400)] {
            let read = site.send("GET", &target, &asks[..1]);
            assert_eq!(
                (read.status, read.header("access-control-allow-origin")),
                (status, Some("*")),
                "{name}: {target}"
            );
        }
    }
}
