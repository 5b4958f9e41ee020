//! The pages as answers of HTTP: what is in their headers, what they find, and that only a form of their own orders.

use super::{page, wait_for_origin};
use crate::common::fixtures::{Fixture, fixture};
use crate::common::git_line;
use crate::common::server::Server;
use std::process::Command;
use tempfile::TempDir;

const BROWSER: (&str, &str) = ("Accept", "text/html,*/*;q=0.8");

fn larder(flags: &[&str]) -> (Server, Fixture, TempDir) {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &[&["--snapshot-interval", "100ms"], flags].concat());
    (server, fixture, data)
}

#[test]
fn the_first_page_is_for_those_who_name_html_and_what_pages_need_is_kept_for_ever() {
    let (server, _fixture, _data) = larder(&[]);
    for accept in ["*/*", "text/plain", "application/json"] {
        let answer = server.send("GET", "/", &[("Accept", accept)]);
        assert_eq!(
            (answer.header("content-type"), answer.header("vary")),
            (Some("text/plain; charset=utf-8"), Some("accept"))
        );
    }
    let answer = server.send("GET", "/", &[BROWSER]);
    assert_eq!((answer.status, answer.header("vary")), (200, Some("accept")));
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(answer.body).unwrap();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("onclick"), "{html}");
    let assets: Vec<_> = html.split('"').filter(|part| part.starts_with("/static/")).collect();
    assert_eq!(assets.len(), 3, "{html}");
    for asset in assets {
        let whole = server.get(asset);
        assert_eq!((whole.status, whole.header("x-content-type-options")), (200, Some("nosniff")), "{asset}");
        assert!(whole.header("cache-control").unwrap().contains("immutable"));
        let etag = whole.header("etag").unwrap();
        let again = server.send("GET", asset, &[("If-None-Match", etag)]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{asset}");
        let another = asset.replace("/static/", "/static/0");
        assert_eq!(server.get(&another).status, 404, "another version");
    }
    assert_eq!(server.send("HEAD", "/", &[BROWSER]).body, b"");
}

#[test]
fn what_is_pasted_is_found_in_every_form() {
    let (server, fixture, _data) = larder(&["--local-origins", "https://git.example.org/"]);
    wait_for_origin(&server, "https://git.example.org/repo");
    let repository = fixture.repositories().remove(0);
    let id = |name: &str| git_line(&["rev-parse", name], &repository);
    let origin = "https:%2F%2Fgit.example.org%2Frepo";
    let find = |q: &str, reference: &str| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", q).append_pair("ref", reference);
        server.send("GET", &format!("/?{}", query.finish()), &[BROWSER])
    };
    let (main, tree) = (id("main"), id("main^{tree}"));
    for (q, reference, there) in [
        (main.to_uppercase(), "", format!("swh:1:rev:{main}")),
        (tree.clone(), "", format!("swh:1:dir:{tree}")),
        (id("v1"), "", format!("swh:1:rel:{}", id("v1"))),
        (id("main:README"), "", format!("swh:1:cnt:{}", id("main:README"))),
        (
            format!("swh:1:rev:{main};origin=https://x.example/%3B"),
            "",
            format!("swh:1:rev:{main};origin=https:%2F%2Fx.example%2F%253B"),
        ),
        (format!("commit/{main}.zip"), "", format!("swh:1:rev:{main}?format=zip")),
        ("https://git.example.org/repo".to_owned(), "v1", format!("swh:1:rel:{};origin={origin}", id("v1"))),
        ("https://git.example.org/repo.git main".to_owned(), "", format!("swh:1:rev:{main};origin={origin}")),
        (format!("https://git.example.org/repo/commit/{main}"), "", format!("swh:1:rev:{main};origin={origin}")),
        (format!("https://git.example.org/repo/commit/?id={main}"), "", format!("swh:1:rev:{main};origin={origin}")),
        (
            "https://git.example.org/repo/src/branch/main/src/nested".to_owned(),
            "",
            format!("swh:1:dir:{};origin={origin};anchor=swh:1:rev:{main};path=%2Fsrc%2Fnested", id("main:src/nested")),
        ),
        // Not known here, but the commit is.
        (format!("https://github.com/o/r/commit/{main}"), "", format!("swh:1:rev:{main}")),
    ] {
        let answer = find(&q, reference);
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, Some(&*format!("/browse/{there}"))),
            "{q} {reference}"
        );
        let (status, html) = page(&server, answer.header("location").unwrap());
        assert_eq!(status, 200, "{q}: {html}");
    }
    for (q, reference, words) in [
        ("https://git.example.org/other", "", "No repository of this URL"),
        ("https://git.example.org/repo", "v9", "no such branch"),
        ("1111111111111111111111111111111111111111", "", "No archive"),
        ("4b825dc", "", "forty digits"),
        ("hello", "", "neither a SWHID"),
    ] {
        let answer = find(q, reference);
        let html = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == 404 && html.contains(words), "{q}: {html}");
    }
    let (status, html) = page(&server, &format!("/browse/swh:1:dir:{main}"));
    assert!(status == 404 && html.contains(&format!("/browse/swh:1:rev:{main}\"")), "the kind that it is: {html}");
    for malformed in [
        format!("/browse/{main}"),
        format!("/browse/swh:1:rev:{main}?format=raw"),
        format!("/browse/swh:1:rev:{main}?x=1"),
    ] {
        let (status, html) = page(&server, &malformed);
        assert!(status == 400 && html.contains("<h1>Bad Request</h1>"), "{malformed}: {html}");
    }
}

#[test]
fn only_a_form_of_larders_own_pages_orders_and_no_get_does() {
    let (server, fixture, _data) = larder(&[]);
    let id = fixture.id("head").id;
    let target = format!("/browse/swh:1:rev:{id}?format=zip");
    let own = format!("http://{}", server.address);
    let status = || server.get(&format!("/vault/revision/{id}.zip/status")).status;
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", &*own)],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
    ] {
        let refused = server.send("POST", &target, headers);
        assert_eq!((refused.status, refused.header("location")), (403, None), "{headers:?}");
        assert!(refused.header("content-type").unwrap().starts_with("text/html"));
    }
    for method in ["GET", "HEAD"] {
        assert_eq!(server.send(method, &target, &[BROWSER]).status, 200);
    }
    assert_eq!(status(), 404, "nothing was ordered");
    assert_eq!(server.send("DELETE", &target, &[]).status, 405);
    let ordered = server.send("POST", &target, &[("Origin", &*own)]);
    assert_eq!((ordered.status, ordered.header("location")), (303, Some(&*target)));
    assert_eq!(status(), 200);
    let absent = server.send("POST", &format!("/browse/swh:1:dir:{}", "1".repeat(40)), &[]);
    assert_eq!(absent.status, 404);
}

#[test]
fn what_is_blocked_is_not_shown_and_the_modes_offer_what_they_do() {
    let (server, fixture, data) = larder(&[]);
    let head = fixture.id("head").id;
    server.cook(&format!("revision/{head}.zip"));
    let sub = fixture.id("sub").id;
    let mut block = Command::new(env!("CARGO_BIN_EXE_larder"));
    block.args(["block", &format!("swh:1:dir:{sub}"), "--data"]).arg(data.path()).env_remove("LARDER_CONFIG");
    assert!(block.output().unwrap().status.success());
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while page(&server, &format!("/browse/swh:1:dir:{sub}")).0 != 451 {
        assert!(std::time::Instant::now() < deadline, "what is blocked is shown");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(server);

    let target = format!("/browse/swh:1:rev:{head}");
    let server = Server::start(data.path(), &[&fixture.path], &["--mode", "read-only"]);
    let (status, html) = page(&server, &target);
    assert!(status == 200 && !html.contains("<form method=\"post\"") && html.contains("not made here"), "{html}");
    assert_eq!(server.post(&format!("{target}?format=tar")).status, 405);
    drop(server);

    let server = Server::start(data.path(), &[&fixture.path], &["--mode", "pass-through"]);
    let (_, html) = page(&server, &target);
    assert!(
        !html.contains("<form method=\"post\"") && html.contains(&format!("/vault/revision/{head}.tar\"")),
        "{html}"
    );
}

#[test]
fn below_a_path_of_a_proxy_every_link_is_below_it_too() {
    let (server, fixture, _data) = larder(&["--public-url", "https://example.org/a", "--root-path", "/b"]);
    let html = server.send("GET", &format!("/b/browse/swh:1:rev:{}", fixture.id("head").id), &[BROWSER]);
    let html = String::from_utf8(html.body).unwrap();
    for attribute in ["href=\"", "src=\"", "action=\""] {
        for link in html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(link.starts_with("/a/b/") || link == "#main", "{link}");
        }
    }
}
