//! What an upstream puts off, and where its names lead.

use super::*;
use crate::archiver::source::RawSource;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

/// As a public address and a private one are elsewhere; both are of this machine.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[test]
fn retry_after_is_seconds_or_a_date_and_has_an_end() {
    let wait = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    };
    assert_eq!(wait("7"), Some(Duration::from_secs(7)));
    assert_eq!(wait("999999999"), Some(MAX_RETRY_AFTER));
    assert_eq!(wait("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(wait("Tue, 31 Dec 2999 23:59:59 GMT"), Some(MAX_RETRY_AFTER));
    assert_eq!(wait("soon"), None);
}

/// Servers at both addresses, with one port, that answer once a connection; how often each was asked.
struct Servers {
    port: u16,
    asked: [Arc<AtomicUsize>; 2],
}

impl Servers {
    /// The public one redirects to `location` as long as it is asked for `/first`.
    fn start(location: &str) -> Self {
        let (public, private) = loop {
            let public = TcpListener::bind((PUBLIC, 0)).unwrap();
            if let Ok(private) = TcpListener::bind((PRIVATE, public.local_addr().unwrap().port())) {
                break (public, private);
            }
        };
        let port = public.local_addr().unwrap().port();
        let location = location.replace("PORT", &port.to_string());
        let asked = [public, private].map(|listener| {
            let (asked, location) = (Arc::new(AtomicUsize::new(0)), location.clone());
            let counter = Arc::clone(&asked);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.unwrap();
                    counter.fetch_add(1, Ordering::SeqCst);
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    let first = lines.next().is_some_and(|line| line.starts_with("GET /first "));
                    lines.take_while(|line| !line.is_empty()).for_each(drop);
                    let head = if first { format!("302 Found\r\nLocation: {location}") } else { "200 OK".to_owned() };
                    let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
            asked
        });
        Self { port, asked }
    }

    fn asked(&self) -> [usize; 2] {
        self.asked.each_ref().map(|asked| asked.load(Ordering::SeqCst))
    }
}

/// Asks `up.test` for a path, whose looking up gives these addresses one after the other, the last one
/// for ever; all other names are private. Gives what came of it, and how often names were looked up.
async fn ask(servers: &Servers, path: &str, answers: &'static [&'static [IpAddr]]) -> (Result<(), FaultCode>, usize) {
    let text = format!("url = \"http://up.test:{}/{{rev}}\"\nredirects = [\"other.test*\"]", servers.port);
    let source = Source::new("up", toml::from_str::<RawSource>(&text).unwrap()).unwrap();
    let lookups = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&lookups);
    let look_up = move |name: String| {
        let n = counter.fetch_add(1, Ordering::SeqCst);
        let found = if name == "up.test" { answers[n.min(answers.len() - 1)] } else { &[PRIVATE] };
        Ok(found.iter().map(|&address| SocketAddr::new(address, 0)).collect())
    };
    let client = client(&source, Guarded::by(look_up, |address| address == PUBLIC)).unwrap();
    let opened = open(&client, &source, &format!("http://up.test:{}/{path}", servers.port)).await;
    (opened.map(drop).map_err(|refusal| refusal.fault.code), lookups.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_connection_goes_to_an_address_that_was_checked_and_no_name_is_looked_up_again() {
    let servers = Servers::start("");
    // A name that has turned private by the time of a second look.
    assert_eq!(ask(&servers, "a", &[&[PUBLIC], &[PRIVATE]]).await, (Ok(()), 1));
    assert_eq!(servers.asked(), [1, 0]);
    // One that was private first, or has such an address besides.
    let private = Err(FaultCode::PrivateAddress);
    assert_eq!(ask(&servers, "a", &[&[PRIVATE], &[PUBLIC]]).await, (private, 1));
    assert_eq!(ask(&servers, "a", &[&[PUBLIC, PRIVATE]]).await, (private, 1));
    assert_eq!(servers.asked(), [1, 0]);
}

#[tokio::test]
async fn a_redirect_to_what_is_private_is_refused_be_it_another_name_or_the_same() {
    let private = Err(FaultCode::PrivateAddress);
    for location in ["http://up.test:PORT/second", "/second", "http://other.test:PORT/second"] {
        let servers = Servers::start(location);
        assert_eq!(ask(&servers, "first", &[&[PUBLIC], &[PRIVATE]]).await, (private, 2), "{location}");
        assert_eq!(servers.asked(), [1, 0], "{location}");
    }
    let servers = Servers::start("/second");
    assert_eq!(ask(&servers, "first", &[&[PUBLIC]]).await, (Ok(()), 2), "it would be followed");
    assert_eq!(servers.asked(), [2, 0]);
}
