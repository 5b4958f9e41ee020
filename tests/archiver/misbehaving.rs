//! Upstreams that misbehave. Nothing wrong is ever published, and each task says what happened.

use super::Larder;
use super::upstream::{Upstream, good, gz, reply, tar};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

const REV: &str = "3d11cb4f31b9";

/// Fetches from an upstream that answers so, and must fail, with this word in what is said.
#[track_caller]
fn fails(word: &str, lines: &str, handler: impl Fn(&mut TcpStream, usize, &str) + Send + Sync + 'static) -> usize {
    let upstream = Upstream::start(handler);
    let larder = Larder::start(&upstream.settings(lines));
    let target = format!("/archiver/up/r/{REV}");
    let status = larder.fetch(&target);
    assert_eq!(status["state"], "FAILURE", "{status}");
    assert!(status["status"].as_str().unwrap().contains(word), "{status}");
    assert_eq!(larder.server.get(&target).status, 202, "nothing is there to be redirected to");
    assert_eq!(larder.server.get("/vault/content").json()["bundles"], serde_json::json!([]), "nothing was published");
    upstream.requests()
}

/// Fetches and must succeed; gives how often the upstream was asked.
#[track_caller]
fn succeeds(lines: &str, handler: impl Fn(&mut TcpStream, usize, &str) + Send + Sync + 'static) -> Upstream {
    let upstream = Upstream::start(handler);
    let larder = Larder::start(&upstream.settings(lines));
    assert_eq!(larder.archive(&format!("/archiver/up/r/{REV}")), good());
    upstream
}

#[test]
fn a_stall_ends_and_is_said() {
    let tries = fails("(timeout)", "stall_timeout = \"300ms\"\nretries = 1", |stream, _, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nhalf");
        std::thread::sleep(Duration::from_secs(20));
    });
    assert_eq!(tries, 2);
    fails("(timeout)", "stall_timeout = \"300ms\"\nretries = 0", |_, _, _| std::thread::sleep(Duration::from_secs(20)));
}

#[test]
fn an_endless_body_ends_by_size_and_by_time() {
    let endless = |stream: &mut TcpStream, _: usize, _: &str| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let bomb = gz(&vec![0_u8; 1 << 20]);
        let noise = &bomb[..bomb.len() / 2];
        while stream.write_all(format!("{:x}\r\n", noise.len()).as_bytes()).is_ok()
            && stream.write_all(noise).is_ok()
            && stream.write_all(b"\r\n").is_ok()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    // A zip is taken in whole before it is read, so nothing else ends it.
    let upstream = Upstream::start(endless);
    let larder = Larder::start(&upstream.settings("max_size = \"64KiB\"\nretries = 0"));
    let status = larder.fetch(&format!("/archiver/up/r/{REV}?suffix=zip"));
    assert!(status["status"].as_str().unwrap().contains("(too-large)"), "{status}");
    let larder = Larder::start(&upstream.settings("timeout = \"300ms\"\nretries = 0"));
    let status = larder.fetch(&format!("/archiver/up/r/{REV}?suffix=zip"));
    assert!(status["status"].as_str().unwrap().contains("(timeout)"), "{status}");
    fails("(too-large)", "max_size = \"64KiB\"", |stream, _, _| reply(stream, "200 OK", "", &vec![0; 65_537]));
}

#[test]
fn what_is_cut_is_tried_again_and_never_published() {
    let cut = |how: usize| {
        move |stream: &mut TcpStream, n: usize, _: &str| {
            let good = good();
            if n >= 2 {
                return reply(stream, "200 OK", "", &good);
            }
            let half = &good[..good.len() / 2];
            let _ = match how {
                // With its length.
                0 => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", good.len()),
                // In chunks without the last one.
                1 => write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", half.len()),
                // By closing, which says nothing: only the archive itself tells.
                2 => write!(stream, "HTTP/1.0 200 OK\r\n\r\n"),
                // With the length of the part.
                _ => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", half.len()),
            };
            let _ = stream.write_all(half);
        }
    };
    for how in 0..4 {
        assert_eq!(succeeds("", cut(how)).requests(), 3, "{how}");
        let always = cut(how);
        let tries = fails("(cut-short)", "retries = 2", move |stream, _, head| always(stream, 0, head));
        assert_eq!(tries, 3, "{how}");
    }
}

#[test]
fn a_length_that_is_wrong_is_seen() {
    fails("(cut-short)", "retries = 0", |stream, _, _| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", good().len() + 7);
        let _ = stream.write_all(&good());
    });
    fails("(not-an-archive)", "retries = 0", |stream, _, _| {
        reply(stream, "200 OK", "", &[&good()[..], b"something behind it"].concat());
    });
}

#[test]
fn an_upstream_that_fails_is_asked_again_after_what_it_says() {
    let upstream = succeeds("", |stream, n, _| match n {
        0 => reply(stream, "500 Oh No", "", b"x"),
        1 => reply(stream, "503 Later", "Retry-After: 0\r\n", b""),
        _ => reply(stream, "200 OK", "", &good()),
    });
    assert_eq!(upstream.requests(), 3);
    let upstream = succeeds("", |stream, n, _| match n {
        0 => reply(stream, "429 Too Many Requests", "Retry-After: 2\r\n", b""),
        _ => reply(stream, "200 OK", "", &good()),
    });
    let times = upstream.times();
    assert!(times[1] - times[0] >= Duration::from_millis(1900), "it waits as long as it was told");
    let tries = fails("(upstream)", "retries = 2", |stream, _, _| reply(stream, "500 Oh No", "", b""));
    assert_eq!(tries, 3);
    let tries = fails("(refused)", "", |stream, _, _| reply(stream, "401 Who", "", b""));
    assert_eq!(tries, 1, "what would be the same again is not asked again");
    let tries = fails("(refused)", "", |stream, _, _| reply(stream, "204 Nothing", "", b""));
    assert_eq!(tries, 1);
}

#[test]
fn a_page_with_status_200_is_no_archive() {
    for suffix in ["tar.gz", "tar.bz2", "tar", "zip"] {
        let upstream = Upstream::start(|stream, _, _| {
            let page = format!("<!DOCTYPE html>\n<title>Sign in</title>\n{}", "<p>Please.</p>\n".repeat(100));
            reply(stream, "200 OK", "Content-Type: text/html\r\n", page.as_bytes());
        });
        let larder = Larder::start(&upstream.settings(""));
        let status = larder.fetch(&format!("/archiver/up/r/{REV}?suffix={suffix}"));
        assert!(status["status"].as_str().unwrap().contains("(not-an-archive)"), "{suffix}: {status}");
        assert_eq!(upstream.requests(), 1);
    }
    fails("(not-an-archive)", "", |stream, _, _| reply(stream, "200 OK", "", &gz(&[b'x'; 2000])));
}

#[test]
fn a_bomb_is_bounded() {
    let bomb = gz(&tar(&[("t/zeros", &vec![0; 8 << 20])]));
    assert!(bomb.len() < 200_000);
    fails("(too-large)", "max_unpacked = \"1MiB\"", move |stream, _, _| reply(stream, "200 OK", "", &bomb));
}

#[test]
fn redirects_stay_where_the_source_allows() {
    let elsewhere = Upstream::start(|stream, _, _| reply(stream, "200 OK", "", &good()));
    let to = move |target: String| {
        move |stream: &mut TcpStream, _: usize, _: &str| {
            reply(stream, "302 Found", &format!("Location: {target}\r\n"), b"");
        }
    };
    let target = format!("http://{}/x", elsewhere.address);
    fails("(redirect)", "", to(target.clone()));
    assert_eq!(elsewhere.requests(), 0, "it was not even asked");
    let allowed = format!("redirects = [\"{}\"]", elsewhere.address);
    succeeds(&allowed, to(target));
    fails("(redirect)", "", to("file:///etc/passwd".to_owned()));
    fails("(redirect)", "", |stream, n, _| {
        reply(stream, "302 Found", &format!("Location: /{n}\r\n"), b"");
    });
    succeeds("", |stream, n, _| match n {
        0 => reply(stream, "301 Moved", "Location: /there\r\n", b""),
        _ => reply(stream, "200 OK", "", &good()),
    });
}

#[test]
fn private_addresses_are_refused_however_they_are_written() {
    let upstream = Upstream::start(|stream, _, _| reply(stream, "200 OK", "", &good()));
    let port = upstream.address.rsplit(':').next().unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"] {
        let larder = Larder::start(&format!(
            "[archiver.sources.up]\nurl = \"http://{host}:{port}/{{rev}}.{{suffix}}\"\nretries = 0\n"
        ));
        let status = larder.fetch(&format!("/archiver/up/{REV}"));
        assert!(status["status"].as_str().unwrap().contains("(private-address)"), "{host}: {status}");
    }
    assert_eq!(upstream.requests(), 0);
}

#[test]
fn hostile_names_are_kept_as_content_and_never_made_a_directory() {
    for (name, word) in [("t/../../etc/passwd", "elsewhere"), ("/etc/passwd", "absolute"), ("t/a", "same name")] {
        let hostile = gz(&tar(&[("t/a", b"x"), (name, b"y")]));
        let served = hostile.clone();
        let upstream = Upstream::start(move |stream, _, _| reply(stream, "200 OK", "", &served));
        let larder = Larder::start(&upstream.settings(""));
        let target = format!("/archiver/up/r/{REV}");
        assert_eq!(larder.archive(&target), hostile, "the bytes are the upstream's");
        let canonical = larder.server.get(&format!("{target}?canonical=1"));
        assert_eq!(canonical.status, 422);
        assert!(canonical.json()["error"]["description"].as_str().unwrap().contains(word), "{name}");
    }
}

#[test]
fn other_bytes_the_second_time_are_recorded_and_the_first_stay() {
    let second = gz(&tar(&[("t/a", b"other\n")]));
    let other = second.clone();
    let upstream = Upstream::start(move |stream, n, _| {
        let body = if n == 0 { good() } else { other.clone() };
        reply(stream, "200 OK", "", &body);
    });
    let larder = Larder::start(&upstream.settings(""));
    let target = format!("/archiver/up/r/{REV}");
    assert_eq!(larder.archive(&target), good());
    let request = format!("up/r/{REV}");
    let (code, said) = larder.run(&["archiver", "retry", &request, "--json"]);
    assert_eq!(code, 0, "{said}");
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["drift"]["times"], &said["state"]), (&1.into(), &"SUCCESS".into()), "{said}");
    assert_eq!(said["drift"]["first"], said["fetched"]["content"]);
    let hit = larder.server.get(&target);
    assert_eq!(larder.at(hit.header("location").unwrap()).body, good(), "the first bytes win");

    // Once they are gone there is nothing to stay with.
    let content = format!("content/{}.raw", said["fetched"]["content"].as_str().unwrap().rsplit(':').next().unwrap());
    assert_eq!(larder.run(&["remove", &content]).0, 0);
    assert_eq!(larder.archive(&target), second);
    let (_, said) = larder.run(&["archiver", "status", &request]);
    assert!(said.contains("drift        2 times"), "{said}");
}

#[test]
fn an_immutable_upstream_that_changes_is_refused() {
    let upstream = Upstream::start(move |stream, n, _| {
        let body = if n == 0 { good() } else { gz(&tar(&[("t/a", b"other\n")])) };
        reply(stream, "200 OK", "", &body);
    });
    let larder = Larder::start(&upstream.settings("immutable = true"));
    let target = format!("/archiver/up/r/{REV}");
    larder.archive(&target);
    let (_, said) = larder.run(&["archiver", "status", &format!("up/r/{REV}"), "--json"]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let content = said["fetched"]["content"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    assert_eq!(larder.run(&["remove", &format!("content/{content}.raw")]).0, 0);
    let status = larder.fetch(&target);
    assert!(status["status"].as_str().unwrap().contains("(changed)"), "{status}");
}

#[test]
fn a_token_goes_to_the_upstream_and_nowhere_else() {
    let (seen, leaked) = (std::sync::Arc::new(std::sync::Mutex::new(String::new())), std::sync::Arc::default());
    let (heard, other): (_, std::sync::Arc<std::sync::Mutex<String>>) = (seen.clone(), leaked);
    let leak = other.clone();
    let elsewhere = Upstream::start(move |stream, _, head| {
        leak.lock().unwrap().push_str(head);
        reply(stream, "200 OK", "", &good());
    });
    let target = format!("http://{}/x", elsewhere.address);
    let upstream = Upstream::start(move |stream, _, head| {
        heard.lock().unwrap().push_str(head);
        reply(stream, "302 Found", &format!("Location: {target}\r\n"), b"");
    });
    let folder = tempfile::TempDir::new().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let lines = format!(
        "redirects = [\"{}\"]\ntoken_file = {:?}\nheaders = {{ X-Asked-By = \"larder\" }}",
        elsewhere.address,
        token.to_str().unwrap()
    );
    let larder = Larder::start(&upstream.settings(&lines));
    larder.archive(&format!("/archiver/up/r/{REV}"));
    let seen = seen.lock().unwrap().to_ascii_lowercase();
    assert!(seen.contains("authorization: bearer s3cret") && seen.contains("x-asked-by: larder"), "{seen}");
    assert!(!other.lock().unwrap().contains("s3cret"));
    let (_, config) = larder.run(&["config"]);
    assert!(config.contains("token_file") && !config.contains("s3cret"), "{config}");
}
