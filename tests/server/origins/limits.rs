//! What is refused, and what ends a visit: settings, servers that stall or never end, SIGKILL.

use super::remote::{GitHttp, Stalling};
use super::{HERE, by_python, command, commit, file_url, mirror, ok, origin, refused, repository, snapshot};
use crate::common::git;
use crate::common::process::Start as _;
use std::process::Stdio;
use tempfile::TempDir;

#[test]
fn what_the_settings_do_not_allow_is_refused() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let url = file_url(&repository);
    let plain = |args: &[&str]| command(data.path(), args).output().unwrap();
    let words = refused(&plain(&["add", &url]));
    assert!(words.contains("origin_transports"), "{words}");
    for url in ["ext::sh -c true", "https://me:secret@example.org/x", "-x", "/srv/x.git", "ssh://-oProxyCommand=x/y"] {
        let output = plain(&["add", "--", url]);
        let words = refused(&output);
        assert!(!words.contains("secret"), "{words}");
    }
    // Allowed once, and no longer.
    ok(&origin(data.path(), &["add", &url]));
    assert!(refused(&plain(&["visit", &url])).contains("origin_transports"));
    for private in ["https://127.0.0.1:1/x.git", "https://localhost:1/x.git", "https://[::ffff:10.0.0.1]/x.git"] {
        let words = refused(&plain(&["add", private]));
        assert!(words.contains("origin_private"), "{words}");
        // Allowed once, and no longer.
        ok(&origin(data.path(), &["add", private, "--origin-transports", "https"]));
        let words = refused(&plain(&["visit", private]));
        assert!(words.contains("origin_private"), "{words}");
    }
}

#[test]
fn a_server_that_stalls_is_left_after_the_timeout_and_nothing_goes_on() {
    let data = TempDir::new().unwrap();
    let server = Stalling::start();
    let url = format!("http://127.0.0.1:{}/r.git", server.port);
    ok(&origin(data.path(), &["add", &url]));
    let words = refused(&command(data.path(), &["visit", &url, "--origin-timeout", "1s"]).args(HERE).output().unwrap());
    assert!(words.contains("origin_timeout"), "{words}");
    assert!(server.is_left(), "git goes on");
}

#[test]
fn branches_without_end_are_given_up_on() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let http = GitHttp::start(folder.path());
    let url = format!("http://127.0.0.1:{}/endless/r.git", http.port);
    ok(&origin(data.path(), &["add", &url]));
    let words = refused(&command(data.path(), &["visit", &url, "--origin-timeout", "3s"]).args(HERE).output().unwrap());
    assert!(words.contains("failed"), "{words}");
    assert!(ok(&origin(data.path(), &["list"])).contains("no snapshot"));
}

#[test]
fn a_mirror_that_grows_too_large_is_stopped_and_the_next_visit_works() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let noise: String = (0..200_000_u32).map(|n| blake3::hash(&n.to_le_bytes()).to_hex().to_string()).collect();
    commit(&repository, "large", &noise);
    let url = file_url(&repository);
    ok(&origin(data.path(), &["add", &url]));
    let small = command(data.path(), &["visit", &url, "--origin-max-size", "1MiB"]).args(HERE).output().unwrap();
    let words = refused(&small);
    assert!(words.contains("origin_max_size"), "{words}");
    let visited = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&visited), by_python(&repository));
}

#[test]
fn a_visit_that_was_killed_is_made_good_by_the_next() {
    let (folder, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let repository = repository(folder.path());
    let http = GitHttp::start(folder.path());
    let url = format!("http://127.0.0.1:{}/slow/r.git", http.port);
    ok(&origin(data.path(), &["add", &url]));
    let mut visit = command(data.path(), &["visit", &url]).args(HERE).stdout(Stdio::null()).start().unwrap();
    // Its git is in the midst of an answer.
    http.wait_for_slow();
    assert!(ok(&origin(data.path(), &["visit", &url])).contains("already"), "one visit at a time");
    visit.kill().unwrap();
    visit.wait().unwrap();
    let mirror = mirror(data.path());
    http.hurry();
    let visited = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&visited), by_python(&repository));

    // Every file that a git makes on its way, as strace shows them.
    let half_made = [
        "HEAD.lock",
        "config.lock",
        "packed-refs.lock",
        "packed-refs.new",
        "shallow.lock",
        "refs/larder/now/heads/main.lock",
        "info/refs_x",
        "objects/info/packs_x",
        "objects/pack/tmp_pack_x",
        "objects/pack/tmp_idx_x",
        "objects/pack/tmp_rev_x",
        "objects/pack/.tmp-1-pack-x.pack",
        "objects/pack/pack-x.keep",
        "objects/pack/multi-pack-index.lock",
    ];
    for name in half_made {
        let path = mirror.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "half").unwrap();
    }
    // A branch that goes is taken out of the list of refs, which is written anew for it.
    commit(&repository, "other", "more");
    git(&["update-ref", "-d", "refs/tags/light"], &repository);
    let visited = ok(&origin(data.path(), &["visit", &url]));
    assert_eq!(snapshot(&visited), by_python(&repository));
    for name in half_made {
        assert!(!mirror.join(name).exists(), "{name}");
    }
}
