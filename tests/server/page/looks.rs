//! How the pages look: axe-core finds nothing to object to, in either theme and on a small screen, and nothing is wider
//! than the screen. With `LARDER_TEST_PICTURES=DIR` the pictures of `docs/` are taken.

use super::browser::Browser;
use super::wait_for_origin;
use crate::common::fixtures::fixture;
use crate::common::server::Server;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// Where tests/install puts it.
const AXE: &str = "target/tools/axe/axe_playwright_python/axe.min.js";

const SCREENS: [(u32, u32); 2] = [(1000, 900), (360, 740)];

async fn objections(browser: &Browser) -> Vec<String> {
    let found = browser
        .ask(
            "return axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(
                one => one.id + ': ' + one.help + ': ' + one.nodes.map(node => node.html).slice(0, 3).join(' | ')))",
        )
        .await;
    found.as_array().unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_objects_to_nothing_in_both_themes_and_on_a_small_screen() {
    let axe = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE));
    let axe = axe.expect("axe-core is there: tests/install installs it");
    let (plain, hostile, data) = (fixture("plain"), fixture("hostile/missing"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&plain.path, &hostile.path], &["--snapshot-interval", "100ms"]);
    wait_for_origin(&server, "local:repo");
    let swhid = |name: &str| format!("{}:{}", plain.id(name).kind.swhid_type(), plain.id(name).id);
    server.cook(&format!("revision/{}.zip", plain.id("head").id));
    server.cook(&format!("revision/{}.bundle", plain.id("head").id));
    let broken =
        hostile.ids.iter().find(|id| id.expect.as_deref() == Some("missing-object") && id.kind.as_str() == "directory");
    let broken = broken.expect("the fixture has one").id;
    let failed = server.post(&format!("/vault/directory/{broken}"));
    assert_eq!(failed.status, 201);
    assert_eq!(server.settled(&format!("directory/{broken}.tar.gz"))["status"], "failed");
    let resolved = server.get("/vault/resolve?origin=local:repo").json();
    let snapshot = resolved["snapshot"]["swhid"].as_str().unwrap();
    let found = |what: &str| server.get(&format!("/vault/resolve?origin=local:repo&path={what}")).json();
    let file = found("README")["content"]["swhid"].as_str().unwrap().to_owned();
    let binary = found("src/data.bin")["content"]["swhid"].as_str().unwrap().to_owned();
    let pages = [
        ("/".to_owned(), "Source code as a file"),
        ("/?q=nothing".to_owned(), "neither a SWHID"),
        (format!("/browse/swh:1:{};origin=local:repo", swhid("head")), "Third revision"),
        (format!("/browse/swh:1:{}", swhid("v1")), "Release one"),
        (format!("/browse/swh:1:{}", swhid("root")), "Files"),
        (format!("/browse/swh:1:{}", swhid("empty")), "nothing in this directory"),
        (format!("/browse/{snapshot};origin=local:repo"), "Branches and tags"),
        (format!("/browse/{file}"), "hello again"),
        (format!("/browse/{binary}"), "not text"),
        (format!("/browse/swh:1:{}?format=zip", swhid("head")), "It is ready."),
        (format!("/browse/swh:1:{}?format=bundle", swhid("head")), "git clone"),
        (format!("/browse/swh:1:{}?format=tar", swhid("head")), "not been made yet"),
        (format!("/browse/swh:1:dir:{broken}?format=tar.gz"), "could not be made"),
        (format!("/browse/swh:1:dir:{}", "1".repeat(40)), "No archive"),
        ("/browse/nothing".to_owned(), "Bad Request"),
    ];
    let browser = Browser::open().await;
    let mut wrong = Vec::new();
    for (target, words) in &pages {
        for screen in SCREENS {
            for theme in ["light", "dark"] {
                browser.look(screen, theme).await;
                browser.driver.goto(format!("http://{}{target}", server.address)).await.unwrap();
                browser.reads(words).await;
                browser.ask(&axe).await;
                let objections = objections(&browser).await;
                wrong.extend(objections.into_iter().map(|what| format!("{target} {screen:?} {theme}: {what}")));
                let widths = browser
                    .ask("const page = document.documentElement; return [page.scrollWidth, page.clientWidth]")
                    .await;
                let [Value::Number(wide), Value::Number(screen_wide)] = &widths.as_array().unwrap()[..] else {
                    panic!("{widths}")
                };
                if wide.as_u64() > screen_wide.as_u64() {
                    wrong.push(format!("{target} {screen:?}: {wide} pixels wide"));
                }
                let name = match (*words, theme, screen.0) {
                    ("Third revision", "light", 1000) => "page-commit.png",
                    ("Source code as a file", "light", 1000) => "page-first.png",
                    ("It is ready.", "dark", 360) => "page-bundle-small.png",
                    ("Files", "dark", 1000) => "page-folder-dark.png",
                    _ => continue,
                };
                browser.picture(name).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
