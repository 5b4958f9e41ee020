//! The server over TCP: what is malformed, too large, too slow or too much, and how it stops. A
//! connection that can go on after an error does, with whatever was pipelined behind it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use larder::http::body::Body;
use larder::http::problem::Problem;
use larder::http::server::{Drained, run};
use larder::http::{Limits, Peer};
use larder::metrics::Metrics;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(run(vec![listener.into()], answer, limits, Metrics::default(), async {
        let _ = stopped.await;
    }));
    Running { address, stop, ended }
}

/// `/echo` gives the body back, `/panic` panics, `/large` is more than any socket takes at once,
/// `/never` is never answered, `/slow` after a moment.
async fn answer(request: Request<Bytes>, _: Peer) -> Response<Body> {
    match request.uri().path() {
        "/echo" => Response::new(Body::Full(request.into_body())),
        "/panic" => panic!("a handler's bug"),
        "/large" => Response::new(Body::from(vec![7; 64 << 20])),
        "/never" => std::future::pending().await,
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Response::new(Body::from(b"slow".to_vec()))
        }
        _ => Problem::new(StatusCode::NOT_FOUND, "absent", "nothing is here").response(),
    }
}

/// Sends `bytes` and reads until the server closes; the client does not close its side before.
async fn send(address: SocketAddr, bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        // It may close before it has read all.
        let _ = stream.write_all(&bytes);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| String::from_utf8_lossy(&all).into_owned())
    };
    tokio::task::spawn_blocking(exchange).await.unwrap().unwrap()
}

/// The status codes in a run of answers.
fn statuses(answers: &str) -> Vec<u16> {
    let lines = answers.split("HTTP/1.").skip(1);
    lines.map(|line| line.split(' ').nth(1).unwrap().parse().unwrap()).collect()
}

const LAST: &str = "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_goes_on_after_an_error_that_leaves_it_in_order() {
    let server = start(Limits::default()).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    let cases = [
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 404),
        ("BREW /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n", 500),
        ("HEAD /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("GET http://a/nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (long.as_str(), 414),
    ];
    for (request, status) in cases {
        let answers = send(server.address, format!("{request}{request}{LAST}")).await;
        assert_eq!(statuses(&answers), [status, status, 200], "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_ends_after_an_error_that_leaves_it_in_doubt() {
    let server = start(Limits::default()).await;
    let get = |fields: &str| format!("GET /echo HTTP/1.1\r\n{fields}\r\n\r\n");
    let post = |fields: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let cases = [
        (get("X: y"), 400),
        (get("Host: a\r\nHost: a"), 400),
        (get("Host: a b"), 400),
        (get("Host: a\r\nX : y"), 400),
        (get("Host: a\r\nX: \0"), 400),
        (get("Host: a\r\n folded: b"), 400),
        (post("Content-Length: -1"), 400),
        (post("Content-Length: 1\r\nContent-Length: 2"), 400),
        (post("Content-Length: 1x"), 400),
        (post("Content-Length: 99999999999999999999"), 400),
        (post("Content-Length: 65537"), 413),
        (post("Transfer-Encoding: gzip"), 400),
        (post("Transfer-Encoding: chunked, gzip"), 400),
        (post("Transfer-Encoding: chunked") + "zz\r\n", 400),
        (post("Transfer-Encoding: chunked") + "10001\r\n" + &"x".repeat(0x10001) + "\r\n0\r\n\r\n", 413),
        (get(&format!("Host: a\r\nX: {}", "y".repeat(70_000))), 431),
        (get(&format!("Host: a{}", "\r\nX: y".repeat(200))), 431),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /\r\n\r\n".to_owned(), 400),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned(), 405),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), 400),
    ];
    for (request, status) in cases {
        let answers = send(server.address, format!("{request}{LAST}")).await;
        assert_eq!(statuses(&answers), [status], "{request:.200}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_lengths_at_once_are_read_as_chunked_and_end_the_connection() {
    let server = start(Limits::default()).await;
    for fields in ["Content-Length: 3\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 3"]
    {
        let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n1\r\nx\r\n0\r\n\r\n{LAST}");
        let answers = send(server.address, request).await;
        assert_eq!(statuses(&answers), [200], "{fields}");
        assert!(answers.ends_with("\r\n\r\nx"), "{answers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_asked_for_and_echoed() {
    let server = start(Limits::default()).await;
    let head =
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let answers = send(server.address, format!("{head}hi")).await;
    assert!(answers.ends_with("\r\n\r\nhi"), "{answers}");
}

/// Short enough to wait for. A test shortens only the limit it runs into: on a machine under load
/// the others would strike as well.
const SHORT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_dropped() {
    let server = start(Limits { first_byte: SHORT, ..Limits::default() }).await;
    assert_eq!(send(server.address, "").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_half_a_thing_is_dropped() {
    let server = start(Limits { head: SHORT, ..Limits::default() }).await;
    assert_eq!(send(server.address, "GET / HT").await, "");
    assert_eq!(send(server.address, "PRI * HTTP/2").await, "");
    let settings = send(server.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!settings.contains("HTTP/1"), "it spoke HTTP/2, and was closed all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_ends_in_408() {
    let server = start(Limits { body: SHORT, ..Limits::default() }).await;
    let half = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel";
    assert_eq!(statuses(&send(server.address, half).await), [408]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_requests_is_closed() {
    let server = start(Limits { idle: SHORT, ..Limits::default() }).await;
    let whole = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(statuses(&send(server.address, whole).await), [200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_dropped() {
    let server = start(Limits { stall: SHORT, drain: Duration::from_mins(5), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    // The server is empty when that connection is gone, for this client does not leave.
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 0 });
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_than_there_is_room_for() {
    let server = start(Limits { connections: 2, ..Limits::default() }).await;
    let inside: Vec<_> = (0..2).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    // A request answered on each shows that it is inside, and the next, whose body is to come, keeps it busy.
    for mut stream in &inside {
        let busy = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        stream.write_all(busy).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    assert_eq!(statuses(&send(server.address, LAST).await), [503]);
    drop(inside);
    // They are let in again; how soon the server learns that two have left is its own affair.
    while statuses(&send(server.address, LAST).await) != [200] {}
}

/// Has a request answered and stays; whatever else it asks comes behind.
fn stay(address: SocketAddr, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(format!("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n{more}").as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_make_room_and_who_waits_for_an_answer_does_not() {
    let server = start(Limits { connections: 3, ..Limits::default() }).await;
    let busy = stay(server.address, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut idle: Vec<_> = (0..2).map(|_| stay(server.address, "")).collect();
    for _ in 0..5 {
        idle.push(stay(server.address, ""));
        // The rest of its answer, and its end.
        idle.remove(0).read_to_end(&mut Vec::new()).unwrap();
    }
    for (mut stream, name) in idle.into_iter().zip(["second", "last"]).chain([(busy, "busy")]) {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{name} is inside");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_said_nothing_makes_room_too() {
    let server = start(Limits { connections: 2, ..Limits::default() }).await;
    let mut silent = TcpStream::connect(server.address).unwrap();
    let _idle = stay(server.address, "");
    let _first = stay(server.address, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    let _second = stay(server.address, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_answers_finish_and_closes_the_idle() {
    let server = start(Limits::default()).await;
    let mut idle = TcpStream::connect(server.address).unwrap();
    idle.write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    slow.read_exact(&mut first).unwrap();
    server.stop.send(()).unwrap();
    let mut answers = String::new();
    slow.read_to_string(&mut answers).unwrap();
    assert!(answers.ends_with("\r\n\r\nslow"), "{answers}");
    idle.read_to_string(&mut answers).unwrap();
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 0 });
    assert!(TcpStream::connect(server.address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_cuts_what_takes_too_long() {
    let server = start(Limits { drain: Duration::from_millis(100), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    server.stop.send(()).unwrap();
    assert_eq!(server.ended.await.unwrap(), Drained { cut: 1 });
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}
