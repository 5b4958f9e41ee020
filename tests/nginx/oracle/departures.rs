//! Where larder's answers differ from nginx's on purpose.

use super::cases::{BEFORE, TAG};

/// A difference that is meant.
pub(crate) struct Departure {
    /// Which requests, by their text.
    pub(crate) when: fn(&str) -> bool,
    pub(crate) what: What,
    pub(crate) why: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    /// nginx's status codes, then larder's, one for each answer.
    Statuses(Vec<u16>, Vec<u16>),
    /// The statuses are the same, and this field is not.
    Field(&'static str),
}

/// Each difference that is meant, and why.
pub(crate) fn departures() -> Vec<Departure> {
    [of_preconditions(), of_ranges(), of_framing(), of_lines()].into_iter().flatten().collect()
}

fn row(what: What, when: fn(&str) -> bool, why: &'static str) -> Departure {
    Departure { when, what, why }
}

fn statuses(nginx: &[u16], larder: &[u16]) -> What {
    What::Statuses(nginx.to_vec(), larder.to_vec())
}

fn of_preconditions() -> Vec<Departure> {
    vec![
        row(
            statuses(&[200, 200], &[304, 200]),
            |text| {
                text.contains(&format!("If-None-Match: {TAG}")) && text.contains(&format!("Modified-Since: {BEFORE}"))
            },
            "RFC 9110 13.1.3: with If-None-Match, If-Modified-Since is ignored; nginx wants both to hold",
        ),
        row(
            statuses(&[412], &[200, 200]),
            |text| {
                text.contains(&format!("If-Match: {TAG}")) && text.contains(&format!("If-Unmodified-Since: {BEFORE}"))
            },
            "RFC 9110 13.1.4: with If-Match, If-Unmodified-Since is ignored; nginx wants both to hold",
        ),
        row(
            statuses(&[412], &[304, 200]),
            |text| {
                text.contains(&format!("If-Match: {TAG}")) && text.contains(&format!("If-Unmodified-Since: {BEFORE}"))
            },
            "the same, and then the conditions of reading say 304",
        ),
        row(
            statuses(&[412], &[200, 200]),
            |text| text.contains("If-Unmodified-Since: ") && !text.contains(BEFORE) && !text.contains("22:13:19"),
            "RFC 9110 13.1.4: a date that is none is ignored; nginx takes it for one before the epoch",
        ),
        row(
            statuses(&[412], &[412, 200]),
            |text| text.contains("If-Match") || text.contains("If-Unmodified-Since"),
            "nginx closes the connection after a 412 without need; larder keeps it",
        ),
        row(
            statuses(&[304, 200], &[200, 200]),
            |text| text.contains("If-Modified-Since: Mon, ") || text.contains("+0100"),
            "RFC 9110 5.6.7: the weekday is wrong or the zone is not GMT, so it is no date; nginx looks at neither",
        ),
        row(
            statuses(&[206, 200], &[200, 200]),
            |text| text.contains("If-Range: Mon, ") || text.contains("+0100"),
            "the same in If-Range",
        ),
        row(
            statuses(&[400], &[200, 200]),
            |text| text.matches("If-Match").count() == 2,
            "RFC 9110 5.3: a list may come in several lines; nginx 1.22 refuses a second one",
        ),
        row(
            statuses(&[400], &[304, 200]),
            |text| text.matches("If-None-Match").count() == 2,
            "the same with If-None-Match",
        ),
        row(
            What::Field("last-modified"),
            |text| text.contains("If-None-Match") || text.contains("If-Modified-Since"),
            "RFC 9110 15.4.5: a 304 that has an ETag says nothing else of the file",
        ),
    ]
}

fn of_ranges() -> Vec<Departure> {
    use What::Field;
    vec![
        row(
            statuses(&[206, 200], &[200, 200]),
            |text| text.starts_with("HEAD ") && text.contains("Range: "),
            "RFC 9110 14.2: Range is defined for GET alone",
        ),
        row(
            statuses(&[416, 200], &[200, 200]),
            |text| text.starts_with("HEAD ") && text.contains("Range: "),
            "RFC 9110 14.2: Range is defined for GET alone",
        ),
        row(
            statuses(&[416, 200], &[200, 200]),
            is_malformed_range,
            "RFC 9110 14.2: a Range that is malformed is ignored; nginx calls it unsatisfiable",
        ),
        row(
            statuses(&[206, 200], &[200, 200]),
            is_malformed_range,
            "RFC 9110 14.1.1: no space inside a range, and no last byte before the first; nginx takes both",
        ),
        row(
            statuses(&[206, 200], &[200, 200]),
            |text| text.matches("Range: bytes=").count() == 2,
            "RFC 9110 14.2: two Range fields are no Range; nginx takes the first",
        ),
        row(
            statuses(&[416, 200], &[206, 200]),
            |text| text.contains("99999999999999999999999"),
            "RFC 9110 14.1.2: a last byte or suffix beyond the file means its end, however large the number",
        ),
        row(
            statuses(&[416, 200], &[200, 200]),
            |text| text.contains("empty.tar") && text.contains("99999999999999999999999"),
            "the same on an empty file, which is sent whole to whoever wants its start",
        ),
        row(
            statuses(&[416, 200], &[206, 200]),
            |text| ["=,1-2\r", "=1-2,\r", "=1-2,,5-6\r", "=\t1-2\r"].iter().any(|set| text.contains(set)),
            "RFC 9110 5.6.1.2: empty elements of a list, and a tab beside one, are to be accepted",
        ),
        row(Field("body"), has_touching_ranges, COALESCED),
        row(Field("content-length"), has_touching_ranges, COALESCED),
        row(Field("content-range"), has_touching_ranges, COALESCED),
        row(Field("content-type"), has_touching_ranges, COALESCED),
    ]
}

fn of_framing() -> Vec<Departure> {
    vec![
        row(
            statuses(&[400], &[405]),
            |text| text.matches("Transfer-Encoding: chunked").count() + text.matches("Content-Length: 3").count() == 2,
            "RFC 9112 6.1: both lengths may be refused, or read as chunked and the connection closed, as here",
        ),
        row(
            statuses(&[405, 200], &[405]),
            |text| text.contains("Transfer-Encoding: chunked\r\n\r\n1\r\n"),
            "RFC 9112 6.1: hyper hides a Content-Length beside it, so every Transfer-Encoding ends the connection",
        ),
        row(
            statuses(&[405], &[400]),
            |text| text.contains("Transfer-Encoding: chunked\r\n\r\nzz"),
            "larder reads the body before it looks at the method",
        ),
        row(
            statuses(&[501], &[400]),
            |text| text.contains("Transfer-Encoding: "),
            "RFC 9112 6.3: a last coding that is not chunked is a 400",
        ),
        row(
            statuses(&[400], &[405, 200]),
            |text| text.contains("Content-Length: 1\r\nContent-Length: 1\r\n"),
            "RFC 9110 8.6: equal lengths may be taken for one",
        ),
        row(
            statuses(&[100, 200, 200], &[200, 200]),
            |text| text.contains("Expect: 100-continue"),
            "RFC 9110 10.1.1: 100 may be left out where there is no body to wait for",
        ),
        row(
            statuses(&[405], &[405, 200]),
            |text| text.starts_with("TRACE "),
            "nginx closes the connection after TRACE without need",
        ),
        row(statuses(&[304, 412], &[304, 412, 416, 206, 200]), has_412_in_a_run, "and what was pipelined is lost"),
        row(statuses(&[304, 412], &[304, 412, 416, 206, 200, 200]), has_412_in_a_run, "and what was pipelined is lost"),
    ]
}

/// Request lines and fields.
fn of_lines() -> Vec<Departure> {
    vec![
        row(
            statuses(&[400], &[405, 200]),
            |text| text.starts_with("get "),
            "RFC 9110 9.1: a method is any token, and case matters: this one is only unknown",
        ),
        row(
            statuses(&[505], &[400]),
            |text| text.contains(" HTTP/") && !text.contains(" HTTP/1."),
            "hyper knows no other version and cannot tell it from nonsense",
        ),
        row(
            statuses(&[200, 200], &[400]),
            |text| text.contains(" HTTP/1.2\r"),
            "RFC 9110 2.5 asks to take 1.2 for 1.1; hyper does not, and there is no 1.2",
        ),
        row(
            statuses(&[9], &[400]),
            |text| !text.contains("HTTP/"),
            "HTTP/0.9 is not spoken: without fields a client learns nothing of an error",
        ),
        row(
            statuses(&[200, 200], &[400]),
            |text| text.starts_with("GET  "),
            "RFC 9112 3: one space, and no more, separates the parts of a request line",
        ),
        row(
            statuses(&[200, 200], &[400]),
            |text| text.contains("\r\nX\r\n") || text.contains("\r\nX(: ") || text.contains("\r\nX: \x01"),
            "RFC 9112 5: a malformed field is a 400; nginx passes over it",
        ),
        row(
            statuses(&[200, 200], &[400]),
            |text| text.contains("Host: u@a"),
            "RFC 9112 3.2: a Host holds no user, so this one is invalid",
        ),
        row(
            statuses(&[400], &[200, 200]),
            |text| text.contains("Host: a..b"),
            "RFC 3986 3.2.2 allows it as a name; larder believes no Host anyway",
        ),
        row(statuses(&[400], &[431]), |text| text.contains("\r\nX: yyyy"), "RFC 6585 5: 431 says what is wrong"),
        row(
            statuses(&[414], &[431]),
            |text| text.len() > 60_000,
            "the target fills the room for a head before its own length is known",
        ),
        row(
            statuses(&[414], &[414, 200]),
            |text| text.len() < 10_000,
            "nginx closes the connection; larder has read the whole head and keeps it",
        ),
        // Paths. A name in larder is forty hexadecimal digits, so nothing is decoded or resolved.
        row(statuses(&[400], &[404, 200]), is_odd_path, "a target that is no path of a file is not there"),
        row(statuses(&[200, 200], &[404, 200]), is_odd_path, "a path is compared as it is, not decoded or resolved"),
    ]
}

const COALESCED: &str = "RFC 9110 15.3.7.2: ranges that overlap or touch are sent once, as one; nginx repeats bytes";

fn is_malformed_range(text: &str) -> bool {
    let sets = [
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=2-1",
        "bytes=x",
        "bytes=1-x",
        "bytes=x-1",
        "bytes=1-2,x",
        "bytes=1-2,2-1",
        "bytes=--1",
        "bytes=1-2-3",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1 - 2",
        "bytes=1- 2",
        "bytes=1-2;5-6",
    ];
    sets.iter().any(|set| text.contains(&format!("Range: {set}\r\n")))
}

fn has_touching_ranges(text: &str) -> bool {
    let sets = ["0-99,50-149", "0-99,100-199", "0-9,20-29,10-19", "0-0,0-0", "0-499,500-999"];
    sets.iter().any(|set| text.contains(&format!("Range: bytes={set}\r\n")))
}

fn is_odd_path(text: &str) -> bool {
    let paths = ["*", "a:80", "//", "/files/%73", "/files/..", "/files/%zz", "/files/small.tar.gz%00"];
    paths.iter().any(|path| text.starts_with(&format!("GET {path}")))
}

fn has_412_in_a_run(text: &str) -> bool {
    text.matches("GET ").count() >= 5 && text.contains("If-Match")
}
