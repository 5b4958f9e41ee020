//! Whole archives of odd make are taken, all else is called what it is, and only what another try could
//! mend is asked for again.

use super::Larder;
use super::upstream::{Upstream, gz, packed, reply, tar};
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// Tries after the first.
const RETRIES: usize = 2;

/// What the upstream does.
enum Answer {
    /// 200, and this body with its length.
    Body(Vec<u8>),
    /// Another status, and a short body.
    Status(&'static str),
    /// These bytes, whatever they are; then it closes.
    Raw(Vec<u8>),
}

struct Case {
    name: &'static str,
    suffix: &'static str,
    answer: Answer,
    /// The code, or `None` when it is taken.
    code: Option<&'static str>,
    /// Of what is said.
    word: &'static str,
}

fn taken(name: &'static str, suffix: &'static str, body: Vec<u8>) -> Case {
    Case { name, suffix, answer: Answer::Body(body), code: None, word: "" }
}

fn body(name: &'static str, suffix: &'static str, body: Vec<u8>, code: &'static str, word: &'static str) -> Case {
    Case { name, suffix, answer: Answer::Body(body), code: Some(code), word }
}

fn status(line: &'static str, code: &'static str) -> Case {
    Case { name: line, suffix: "tar.gz", answer: Answer::Status(line), code: Some(code), word: "" }
}

fn raw(name: &'static str, bytes: &[u8], code: &'static str) -> Case {
    Case { name, suffix: "tar.gz", answer: Answer::Raw(bytes.to_vec()), code: Some(code), word: "" }
}

/// A tar without the blocks that mark its end, and with so many zeros there.
fn ending_in(zeros: usize) -> Vec<u8> {
    let mut bare = tar(&[("p/a", b"hello\n")]);
    bare.truncate(bare.len() - 1024);
    [&bare[..], &vec![0; zeros]].concat()
}

fn cases() -> Vec<Case> {
    let (whole, page) = (ending_in(1024), b"<!DOCTYPE html>\n<title>Sign in</title>\n".to_vec());
    let good = gz(&whole);
    let behind = |bytes: &[u8]| [&good[..], bytes].concat();
    let damaged = |mut bytes: Vec<u8>, from_the_end: usize| {
        let at = bytes.len() - from_the_end;
        bytes[at] ^= 1;
        bytes
    };
    let cut = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 5);
        bytes
    };
    let mut cases = vec![
        taken("no end blocks", "tar.gz", gz(&ending_in(0))),
        taken("one end block", "tar.gz", gz(&ending_in(512))),
        taken("an unpadded end", "tar.gz", gz(&ending_in(0)[..518])),
        taken("zeros behind the gzip", "tar.gz", behind(&[0; 512])),
        taken("two members", "tar.gz", [gz(&whole[..700]), gz(&whole[700..])].concat()),
        taken("a tar", "tar", whole.clone()),
        body("no end blocks of a tar alone", "tar", ending_in(0), "cut-short", ""),
        body("one end block of a tar alone", "tar", ending_in(512), "cut-short", ""),
        body("a gzip in a gzip", "tar.gz", gz(&good), "not-an-archive", "packed in it is a gzip"),
        body("junk behind it", "tar.gz", behind(b"junk junk"), "not-an-archive", "follows"),
        body("more junk behind it", "tar.gz", behind(b"more junk behind the end of it"), "not-an-archive", "follows"),
        body("an archive behind it", "tar.gz", behind(&good), "not-an-archive", "follows"),
        body("another suffix", "tar.gz", packed("tar.xz", &whole), "not-an-archive", "it is an xz"),
        body("unpacked on the way", "tar.gz", whole.clone(), "not-an-archive", "it is a tar"),
        body("a truncated tar in a whole gzip", "tar.gz", gz(&whole[..515]), "cut-short", ""),
        body("a gzip with a wrong sum", "tar.gz", damaged(good.clone(), 7), "damaged", ""),
        body("the beginning of a zip", "zip", b"PK\x03\x04".to_vec(), "cut-short", ""),
        status("404 Not Found", "missing"),
        status("410 Gone", "missing"),
        status("403 Forbidden", "refused"),
        status("204 No Content", "refused"),
        status("206 Partial Content", "refused"),
        status("202 Accepted", "upstream"),
        status("408 Request Timeout", "upstream"),
        status("425 Too Early", "upstream"),
        status("429 Too Many Requests", "upstream"),
        status("500 Internal Server Error", "upstream"),
        status("302 Found", "redirect"),
        raw("no HTTP", b"220 mail.example.org ESMTP\r\n", "unreachable"),
        raw("nothing", b"", "unreachable"),
        // Nothing tells that this is all.
        raw("an empty body of unknown length", b"HTTP/1.0 200 OK\r\n\r\n", "cut-short"),
    ];
    for suffix in ["tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz", "tar", "zip"] {
        cases.push(body("empty", suffix, Vec::new(), "not-an-archive", "empty"));
        cases.push(body("a page", suffix, page.clone(), "not-an-archive", "HTML"));
        cases.push(body("a long page", suffix, page.repeat(99), "not-an-archive", "HTML"));
        cases.push(body("a few bytes", suffix, b"junk".to_vec(), "not-an-archive", ""));
        if suffix != "zip" {
            cases.push(taken("whole", suffix, packed(suffix, &whole)));
            cases.push(body("cut", suffix, cut(packed(suffix, &whole)), "cut-short", ""));
        }
    }
    for suffix in ["tar.bz2", "tar.xz", "tar.zst", "tar.lz"] {
        cases.push(taken("no end blocks", suffix, packed(suffix, &ending_in(0))));
        let twice = packed(suffix, &packed(suffix, &whole));
        cases.push(body("packed twice", suffix, twice, "not-an-archive", "packed in it is a"));
    }
    // In the middle of what is packed, and of its checks.
    cases.push(body("damaged", "tar.xz", damaged(packed("tar.xz", &whole), 40), "damaged", ""));
    cases.push(body("damaged", "tar.zst", damaged(packed("tar.zst", &whole), 2), "damaged", ""));
    cases.push(body("damaged", "tar.lz", damaged(packed("tar.lz", &whole), 18), "damaged", ""));
    cases.push(body("damaged", "tar.bz2", damaged(packed("tar.bz2", &whole), 3), "damaged", ""));
    let mut hungry = packed("tar.lz", &whole);
    hungry[5] = 29;
    cases.push(body("a dictionary of 512 MiB", "tar.lz", hungry, "too-large", "memory"));
    cases
}

fn answer(stream: &mut TcpStream, answer: &Answer) {
    match answer {
        Answer::Body(body) => reply(stream, "200 OK", "", body),
        Answer::Status("204 No Content") => reply(stream, "204 No Content", "", b""),
        Answer::Status(line) => reply(stream, line, "", b"words"),
        Answer::Raw(bytes) => drop(stream.write_all(bytes)),
    }
}

#[test]
fn every_reason_is_the_true_one_and_only_what_another_try_can_mend_is_tried_again() {
    let (cases, asked) = (Arc::new(cases()), Arc::new(Mutex::new(HashMap::<usize, usize>::new())));
    let (served, counter) = (Arc::clone(&cases), Arc::clone(&asked));
    let upstream = Upstream::start(move |stream, _, head| {
        let number = head.strip_prefix("GET /r").unwrap().split('/').next().unwrap().parse().unwrap();
        *counter.lock().unwrap().entry(number).or_default() += 1;
        answer(stream, &served[number].answer);
    });
    let larder = Larder::start(&upstream.settings(&format!("retries = {RETRIES}")));
    // One behind the other in its queue, all at once.
    let target = |number: usize| format!("/archiver/up/r{number}/3d11cb4f31b9?suffix={}", cases[number].suffix);
    let tasks: Vec<String> = (0..cases.len())
        .map(|number| larder.server.get(&target(number)).header("location").unwrap().to_owned())
        .collect();
    for (number, (case, task)) in cases.iter().zip(&tasks).enumerate() {
        let ended = larder.ended(task);
        let (state, said) = (ended["state"].as_str().unwrap(), ended["status"].as_str().unwrap());
        let name = format!("{} ({}): {said}", case.name, case.suffix);
        let tries = asked.lock().unwrap()[&number];
        let Some(code) = case.code else {
            assert_eq!((state, tries), ("SUCCESS", 1), "{name}");
            continue;
        };
        assert!(state == "FAILURE" && said.ends_with(&format!("({code})")) && said.contains(case.word), "{name}");
        let is_mended_perhaps = matches!(code, "cut-short" | "damaged" | "upstream" | "unreachable");
        assert_eq!(tries, if is_mended_perhaps { 1 + RETRIES } else { 1 }, "{name}");
    }
    let kept: usize = cases.iter().filter(|case| case.code.is_none()).count();
    assert!(kept > 10, "{kept} are taken");
}
