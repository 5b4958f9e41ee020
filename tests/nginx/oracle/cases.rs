//! What nginx and larder are asked: requests as text, one or several on a connection.

use larder::http::range::MAX_RANGES;

/// A few hundred requests, well formed and not.
pub(crate) fn cases() -> Vec<String> {
    let texts = preconditions()
        .into_iter()
        .chain(lists_and_dates())
        .chain(ranges())
        .chain(odd_fields())
        .chain(odd_bodies())
        .chain(odd_lines())
        .chain(pipelined());
    texts.collect()
}

/// The tag of `small.tar.gz`.
pub(crate) const TAG: &str = "\"6553f100-3e8\"";
const AT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
pub(crate) const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
const AFTER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";

/// The last request on a connection.
pub(crate) fn last() -> String {
    request("GET", "empty.tar", &[("Connection", "close")])
}

fn request(method: &str, file: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let fields = fields.concat();
    format!("{method} /files/{file} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

/// Every combination of the first four preconditions, with every kind of method.
fn preconditions() -> Vec<String> {
    let dates = [None, Some(BEFORE), Some(AT), Some(AFTER)];
    let mut all = Vec::new();
    for if_match in [None, Some(TAG), Some("\"x\"")] {
        for if_none_match in [None, Some(TAG), Some("\"x\"")] {
            for modified in dates {
                for unmodified in dates {
                    let fields = [
                        ("If-Match", if_match),
                        ("If-None-Match", if_none_match),
                        ("If-Modified-Since", modified),
                        ("If-Unmodified-Since", unmodified),
                    ];
                    let fields: Vec<_> = fields.into_iter().filter_map(|(n, v)| Some((n, v?))).collect();
                    all.extend(["GET", "HEAD", "POST"].map(|method| request(method, "small.tar.gz", &fields)));
                }
            }
        }
    }
    all
}

fn lists_and_dates() -> Vec<String> {
    let weak = format!("W/{TAG}");
    let second = format!("\"x\", {TAG}");
    let tight = format!("\"x\",{TAG},\"y\"");
    let empty = format!(",, {TAG} ,");
    let comma = format!("\"a,b\", {TAG}");
    let junk = format!("junk, {TAG}");
    let open = format!("\"open, {TAG}");
    let tags = [
        "*",
        "\"\"",
        "",
        TAG,
        &weak,
        &second,
        &tight,
        &empty,
        &comma,
        &junk,
        &open,
        "6553f100-3e8",
        "W/",
        "\"",
        "\"6553F100-3E8\"",
        "\"6553f100-3e8",
        "*, \"x\"",
        "w/\"6553f100-3e8\"",
    ];
    let dates = [
        "Tuesday, 14-Nov-23 22:13:20 GMT",
        "Tue Nov 14 22:13:20 2023",
        "Tuesday, 14-Nov-23 22:13:19 GMT",
        "Tue Nov 14 22:13:21 2023",
        "Mon, 14 Nov 2023 22:13:20 GMT",
        "yesterday",
        "",
        "0",
        "1700000000",
        "Tue, 14 Nov 2023 25:13:20 GMT",
        "Tue, 31 Feb 2023 22:13:20 GMT",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Tue, 14 Nov 2023 22:13:20 +0100",
        AT,
        BEFORE,
        AFTER,
    ];
    let mut all = Vec::new();
    for method in ["GET", "HEAD"] {
        for name in ["If-Match", "If-None-Match"] {
            all.extend(tags.map(|tag| request(method, "small.tar.gz", &[(name, tag)])));
        }
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            all.extend(dates.map(|date| request(method, "small.tar.gz", &[(name, date)])));
        }
    }
    for condition in tags.into_iter().chain(dates) {
        let fields = [("Range", "bytes=1-2"), ("If-Range", condition)];
        all.push(request("GET", "small.tar.gz", &fields));
        all.push(request("GET", "small.tar.gz", &fields[1..]));
    }
    for (name, one, two) in
        [("If-None-Match", "\"x\"", TAG), ("If-Match", "\"x\"", TAG), ("Range", "bytes=1-2", "bytes=3-4")]
    {
        all.push(request("GET", "small.tar.gz", &[(name, one), (name, two)]));
        all.push(request("GET", "small.tar.gz", &[(name, two), (name, one)]));
    }
    all
}

fn ranges() -> Vec<String> {
    let spaced = |count: usize| (0..count).map(|i| format!("{0}-{0}", 2 * i)).collect::<Vec<_>>().join(",");
    let fields = [
        "0-0",
        "0-",
        "0-999",
        "0-1000",
        "999-",
        "999-999",
        "1000-",
        "1000-2000",
        "500-600",
        "-1",
        "-0",
        "-999",
        "-1000",
        "-1001",
        "0-99999999999999999999999",
        "99999999999999999999999-",
        "-99999999999999999999999",
        "9223372036854775807-",
        "0-9223372036854775807",
        "18446744073709551615-18446744073709551616",
        "0-0,-1",
        "0-0,2-2",
        "5-6,1-2",
        "0-99,50-149",
        "0-99,100-199",
        "0-9,20-29,10-19",
        "0-0,0-0",
        "0-,0-",
        "0-,-1",
        "0-998,-2",
        "0-499,500-999",
        "1-2,2000-",
        "2000-,1-2",
        "2000-,3000-",
        "1-2,-0",
        "262143-262144",
        "131071-131072,262144-",
        "",
        ",",
        "-",
        "2-1",
        "x",
        "1-x",
        "x-1",
        "1-2,x",
        "1-2,2-1",
        "--1",
        "1-2-3",
        "+1-2",
        "0x1-2",
        " 1-2",
        "1 - 2",
        "1- 2",
        "1-2 , 5-6",
        ",1-2",
        "1-2,",
        "1-2,,5-6",
        "1-2;5-6",
        "\t1-2",
    ];
    let mut all: Vec<String> = fields.iter().map(|set| format!("bytes={set}")).collect();
    all.extend([spaced(MAX_RANGES), spaced(MAX_RANGES + 1), spaced(100)].map(|set| format!("bytes={set}")));
    all.extend(["BYTES=1-2", "bytes 1-2", "bytes =1-2", "bytes", "lines=1-2", "1-2", "none"].map(str::to_owned));
    let mut requests = Vec::new();
    for range in &all {
        for file in ["small.tar.gz", "large.tar", "empty.tar"] {
            requests.push(request("GET", file, &[("Range", range)]));
        }
        requests.push(request("HEAD", "small.tar.gz", &[("Range", range)]));
        requests.push(request("POST", "small.tar.gz", &[("Range", range)]));
        for (name, value) in [("If-None-Match", TAG), ("If-Match", "\"x\""), ("If-Match", TAG), ("If-Range", "\"x\"")] {
            requests.push(request("GET", "small.tar.gz", &[("Range", range), (name, value)]));
        }
    }
    requests
}

fn odd_fields() -> Vec<String> {
    let get = |fields: &str| format!("GET /files/small.tar.gz HTTP/1.1\r\n{fields}\r\n\r\n");
    [
        "Host: a\r\nHost: a",
        "Host: a\r\nHost: b",
        "X: y",
        "Host:",
        "Host: a b",
        "Host: a/b",
        "Host: u@a",
        "Host: a:80",
        "Host: a:x",
        "Host: [::1]",
        "Host: a..b",
        "Host : a",
        "Host: a\r\nX : y",
        "Host: a\r\n: y",
        "Host: a\r\nX",
        "Host: a\r\nX: \0",
        "Host: a\r\nX: \x01",
        "Host: a\r\nX: \u{e9}",
        "Host: a\r\n folded: y",
        "Host: a\r\nX: y\r\n z",
        "Host: a\r\nX_Y: z",
        "Host: a\r\nX(: z",
        "Host: a\nX: y",
        "Host: a\r\nExpect: 100-continue",
        "Host: a\r\nUpgrade: h2c\r\nConnection: upgrade",
        "Host: a\r\nContent-Length: 0",
        "Host: a\r\nContent-Length: x",
    ]
    .map(get)
    .into()
}

fn odd_bodies() -> Vec<String> {
    let post =
        |fields: &str, body: &str| format!("POST /files/small.tar.gz HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
    [
        ("Content-Length: 5", "hello"),
        ("Content-Length: 0", ""),
        ("", ""),
        ("Content-Length: -1", "x"),
        ("Content-Length: +1", "x"),
        ("Content-Length: 1x", "x"),
        ("Content-Length: 1, 1", "x"),
        ("Content-Length:", ""),
        ("Content-Length: 1\r\nContent-Length: 2", "x"),
        ("Content-Length: 1\r\nContent-Length: 1", "x"),
        ("Content-Length: 99999999999999999999", "x"),
        ("Content-Length: 65537", "x"),
        ("Transfer-Encoding: chunked", "1\r\nx\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "zz\r\n"),
        ("Transfer-Encoding: gzip", "x"),
        ("Transfer-Encoding: chunked, gzip", "x"),
        ("Transfer-Encoding: identity", "x"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "1\r\nx\r\n0\r\n\r\n"),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "1\r\nx\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "1\r\nx\r\n0\r\n\r\n"),
    ]
    .map(|(fields, body)| post(fields, body))
    .into()
}

fn odd_lines() -> Vec<String> {
    let line = |line: &str| format!("{line}\r\nHost: a\r\n\r\n");
    let target = "/files/small.tar.gz";
    let mut all = Vec::new();
    all.extend(
        ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW", "get", "G-T", "G T", "G(T", "PROPFIND", "GE\tT"]
            .map(|method| line(&format!("{method} {target} HTTP/1.1"))),
    );
    all.extend(
        [
            "HTTP/1.0",
            "HTTP/1.2",
            "HTTP/2.0",
            "HTTP/3.0",
            "HTTP/0.9",
            "HTTP/9.9",
            "http/1.1",
            "HTTP/1",
            "HTTP/11",
            "HTTP/01.1",
            "HTTP/1.1 x",
            "FTP/1.1",
            "",
        ]
        .map(|version| line(&format!("GET {target} {version}"))),
    );
    all.extend(
        [
            "http://a/files/small.tar.gz",
            "http://b/files/small.tar.gz",
            "HTTP://a/files/small.tar.gz",
            "files/small.tar.gz",
            "/files/small.tar.gz?x=y",
            "/files/small.tar.gz#x",
            "/files/none",
            "/files/%73mall.tar.gz",
            "/files/../files/small.tar.gz",
            "//files/small.tar.gz",
            "/files/small.tar.gz\0",
            "/files/small.tar.gz%00",
            "/files/a b",
            "/files/\u{e9}",
            "*",
            "a:80",
            "",
            "http://",
            "/files/%zz",
            "/files/..%2f..%2fetc/passwd",
        ]
        .map(|target| line(&format!("GET {target} HTTP/1.1"))),
    );
    all.extend([
        format!("GET {target}\r\n"),
        format!("GET {target}\r\n\r\n"),
        "\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET  {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!(" GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET {target} HTTP/1.1\nHost: a\n\n"),
        "\x16\x03\x01\x02\r\n\r\n".to_owned(),
        format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(70_000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(9_000)),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "y".repeat(70_000)),
        format!("GET {target} HTTP/1.0\r\nRange: bytes=1-2\r\n\r\n"),
        format!("GET {target} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    ]);
    all
}

/// Runs of requests on one connection: an answer that is cut short or too long spoils the next.
fn pipelined() -> Vec<String> {
    let get = |fields: &[(&str, &str)]| request("GET", "small.tar.gz", fields);
    let head = request("HEAD", "small.tar.gz", &[]);
    let post = "POST /files/small.tar.gz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned();
    let not_modified = get(&[("If-None-Match", TAG)]);
    let failed = get(&[("If-Match", "\"x\"")]);
    let unsatisfied = get(&[("Range", "bytes=2000-")]);
    let several = get(&[("Range", "bytes=0-0,-1")]);
    let absent = request("GET", "absent", &[]);
    let runs = [
        vec![&not_modified, &failed, &unsatisfied, &several],
        vec![&head, &head, &several],
        vec![&absent, &absent],
        vec![&unsatisfied, &not_modified, &head],
        vec![&post, &post],
        vec![&several; 20],
    ];
    let plain = get(&[]);
    runs.into_iter()
        .flat_map(|run| {
            let run: String = run.into_iter().cloned().collect();
            [format!("{run}{plain}"), format!("{run}{}{plain}", last())]
        })
        .collect()
}
