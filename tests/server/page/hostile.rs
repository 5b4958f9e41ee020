//! What strangers write in names, messages and files is text on the pages, and nothing else: a real browser is shown
//! it, and has then run no script, made no element and turned no line round.

use super::browser::Browser;
use super::{page, wait_for_origin};
use crate::common::process::Start as _;
use crate::common::server::Server;
use crate::common::{git, git_command, git_line};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use thirtyfour::prelude::*;

const SCRIPT: &str = "<script>window.hacked=1</script>";
const IMAGE: &str = "\"'><img src=x onerror=window.hacked=1>";
const TURNED: &str = "\u{202e}\u{2066}gpj.exe";

/// Adds an object and gives its id.
fn add(kind: &str, content: &[u8], repository: &Path) -> String {
    let mut child = git_command(repository)
        .args(["hash-object", "-w", "--literally", "-t", kind, "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .start()
        .unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn entry(mode: &str, name: &[u8], id: &str) -> Vec<u8> {
    let id = (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap());
    [mode.as_bytes(), b" ", name, b"\0", &id.collect::<Vec<_>>()].concat()
}

/// A repository `x.git` whose every word is hostile; the ids of a file, a tree, a commit and a tag.
fn repository(folder: &Path) -> [String; 4] {
    git(&["init", "-q", "--bare", "x.git"], folder);
    let at = folder.join("x.git");
    let file = add("blob", format!("{SCRIPT}\n{IMAGE}\n{TURNED}\n\x1b[31m\n").as_bytes(), &at);
    let mut names: Vec<Vec<u8>> = [SCRIPT.replace('/', "\\"), IMAGE.to_owned(), TURNED.to_owned(), "a\nb".to_owned()]
        .into_iter()
        .map(String::into_bytes)
        .collect();
    names.extend([b"bad \xff utf-8".to_vec(), vec![b'x'; 3000], b"..".to_vec()]);
    names.sort();
    let tree: Vec<u8> = names.iter().flat_map(|name| entry("100644", name, &file)).collect();
    let tree = add("tree", &tree, &at);
    let big = "all work and no play </pre><h1>big</h1> ".repeat(10 << 20 >> 5);
    let head =
        format!("tree {tree}\nauthor {SCRIPT} <{IMAGE}> 1 +0000\ncommitter {TURNED} <c> 99999999999999 +0000\n\n");
    let message = [format!("{head}{SCRIPT}{TURNED}\n\n").as_bytes(), b"\xff\xfe\x00 ", big.as_bytes()].concat();
    let commit = add("commit", &message, &at);
    let tag = format!("object {commit}\ntype commit\ntag {SCRIPT}\ntagger {IMAGE} <t> 1 +0000\n\n{IMAGE}\n");
    let tag = add("tag", tag.as_bytes(), &at);
    git(&["update-ref", &format!("refs/heads/{}", "<img>\"'&lt;"), &commit], &at);
    git(&["update-ref", "refs/heads/main", &commit], &at);
    git(&["update-ref", &format!("refs/tags/{}", "\u{202e}<b>"), &tag], &at);
    [file, tree, commit, tag]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_repository_holds_is_shown_as_text() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let [file, tree, commit, tag] = repository(folder.path());
    let server = Server::start(data.path(), &[folder.path()], &["--snapshot-interval", "100ms"]);
    wait_for_origin(&server, "local:x.git");
    let snapshot = server.get("/origins?url=local:x.git").json()["origin"]["snapshot"]["swhid"].clone();
    let asked = "/?q=%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E&ref=%22%3E%3Cimg+src%3Dx%3E";
    // The text of what is typed into a field is none of the page's.
    let pages = [
        (
            format!("/browse/swh:1:cnt:{file};path=/%3Cb%3E%E2%80%AE"),
            &[SCRIPT, IMAGE, "\\u{202e}\\u{2066}gpj.exe", "\\u{1b}[31m"][..],
        ),
        (
            format!("/browse/swh:1:dir:{tree}"),
            &[IMAGE, "a\\nb", "bad \u{fffd} utf-8", "\\u{202e}\\u{2066}gpj.exe", "../", ""],
        ),
        (
            format!("/browse/swh:1:rev:{commit};origin=%3Cscript%3Ex%3C%2Fscript%3E"),
            &[SCRIPT, IMAGE, "</pre><h1>big</h1>", "The message goes on", "<script>x</script>"],
        ),
        (format!("/browse/swh:1:rel:{tag}"), &[SCRIPT, IMAGE]),
        (format!("/browse/{}", snapshot.as_str().unwrap()), &["refs/heads/<img>\"'&lt;", "refs/tags/\\u{202e}<b>"]),
        (format!("/browse/swh:1:rev:{commit}?format=zip"), &[SCRIPT]),
        (asked.to_owned(), &["neither a SWHID"]),
        ("/browse/%3Cscript%3Ewindow.hacked=1%3C%2Fscript%3E".to_owned(), &["Bad Request"]),
    ];
    let browser = Browser::open().await;
    for (target, words) in pages {
        let (_, html) = page(&server, &target);
        assert!(html.len() < 600 << 10, "{target}: {} bytes", html.len());
        browser.driver.goto(format!("http://{}{target}", server.address)).await.unwrap();
        let text = browser.text().await;
        for words in words.iter().filter(|words| **words != "../") {
            assert!(text.contains(words), "{target}: {words}\n{text:.3000}");
        }
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{1b}']), "{target}: {text:?}");
        let foreign =
            browser.driver.find_all(By::Css("img, b, h1 h1, h1 ~ h1, pre *, script:not([defer])")).await.unwrap();
        assert!(foreign.is_empty(), "{target}: elements that larder did not make");
        let title = browser.driver.title().await.unwrap();
        assert!(title.ends_with("larder") && !title.contains('\u{202e}'), "{target}: {title}");
        assert_eq!(browser.ask("return window.hacked ?? null").await, serde_json::Value::Null, "{target}");
    }
    // Told by the browser itself, were there any: a script that the policy has stopped, or an image.
    let said: Vec<_> = browser.driver.browser_log().await.unwrap().into_iter().map(|entry| entry.message).collect();
    assert!(said.iter().all(|said| said.contains("status of 40")), "{said:#?}");
    assert_eq!(git_line(&["cat-file", "-t", &commit], &folder.path().join("x.git")), "commit");
}
