//! The whole way, from what somebody pastes to a bundle that is verified, with scripts and without.

use super::browser::Browser;
use super::wait_for_origin;
use crate::common::fixtures::fixture;
use crate::common::server::Server;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use thirtyfour::prelude::*;

/// Runs lines of a page as somebody does who pastes them into a shell, in `folder`.
fn paste(lines: &str, folder: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_larder")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-ec", lines]).current_dir(folder).env("PATH", path).env_remove("LARDER_CONFIG");
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{lines}\n{}\n{said}", output.status);
    said
}

/// The lines below a heading.
async fn lines(browser: &Browser, tool: &str) -> String {
    let path = format!("//h3[.='{tool}']/following-sibling::pre[1]");
    browser.driver.find(By::XPath(path)).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_commit_becomes_a_bundle_that_verifies() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &["--snapshot-interval", "100ms"]);
    wait_for_origin(&server, "local:repo");
    let id = fixture.id("head").id.to_string();
    let browser = Browser::open().await;
    browser.driver.goto(format!("http://{}/", server.address)).await.unwrap();
    browser.driver.find(By::Id("q")).await.unwrap().send_keys(&id).await.unwrap();
    browser.click("Find").await;
    browser.reads("Third revision").await;
    let text = browser.text().await;
    for words in
        [&format!("swh:1:rev:{id}"), "Fixture Author", "2005-04-01 13:14 +0200", "refs/heads/main", "local:repo"]
    {
        assert!(text.contains(words), "{words}\n{text}");
    }
    // The screen reader's words are part of the button's name.
    browser.click("Cook tar.gz").await;
    browser.reads("It is ready.").await;
    browser.reads("fetchurl {").await;
    let name = format!("swh_1_rev_{id}.tar.gz");
    browser.driver.find(By::Css("a.button[download]")).await.unwrap().click().await.unwrap();
    let file = browser.downloaded(&name).await;
    browser.has_no_complaint().await;

    let said = paste(&lines(&browser, "Verify a file that you have").await, &browser.downloads());
    assert!(said.contains(&id), "{said}");
    // One that is not whole is no bundle of it.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    let mut verify = Command::new(env!("CARGO_BIN_EXE_larder"));
    verify.arg("verify").arg(&file).arg(format!("swh:1:rev:{id}")).env_remove("LARDER_CONFIG");
    assert_ne!(verify.output().unwrap().status.code(), Some(0));
    for tool in ["curl", "larder, verified"] {
        let folder = TempDir::new().unwrap();
        paste(&lines(&browser, tool).await, folder.path());
        assert_eq!(std::fs::read(folder.path().join(&name)).unwrap(), bytes, "{tool}");
    }
    let nix = lines(&browser, "Nix").await;
    let digest = server.get(&format!("/vault/revision/{id}")).header("repr-digest").unwrap().to_owned();
    let digest = digest.trim_start_matches("sha-256=:").trim_end_matches(':');
    assert!(nix.contains(&format!("hash = \"sha256-{digest}\"")), "{nix}");
    assert!(lines(&browser, "Bazel").await.contains(&format!("integrity = \"sha256-{digest}\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_takes_no_script_and_no_mouse() {
    let (fixture, data) = (fixture("plain"), TempDir::new().unwrap());
    let server = Server::start(data.path(), &[&fixture.path], &["--snapshot-interval", "100ms"]);
    wait_for_origin(&server, "local:repo");
    let browser = Browser::open().await;
    browser.without_scripts().await;
    browser.driver.goto(format!("http://{}/", server.address)).await.unwrap();
    browser.tab_to("input q").await;
    browser.press("local:repo").await;
    browser.tab_to("input ref").await;
    browser.press("v1\u{e007}").await;
    browser.reads("Release one").await;
    assert_eq!(browser.driver.find_all(By::Css("button.copy")).await.unwrap().len(), 0, "no script ran");
    browser.tab_to("button Cook zip").await;
    browser.press("\u{e007}").await;
    browser.reads("It is ready.").await;
    // Known a moment later: the page is loaded again by itself.
    browser.reads("fetchurl {").await;
    let name = format!("swh_1_rel_{}.zip", fixture.id("v1").id);
    let download = browser.driver.find(By::Css("a.button[download]")).await.unwrap().text().await.unwrap();
    browser.tab_to(&format!("a {}", download.split_whitespace().collect::<Vec<_>>().join(" "))).await;
    browser.press("\u{e007}").await;
    browser.downloaded(&name).await;
    paste(&lines(&browser, "Verify a file that you have").await, &browser.downloads());
    browser.has_no_complaint().await;
}
