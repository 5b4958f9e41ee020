//! Uploads that begin unseen: the store begins one, and larder never hears its name.

use super::Larder;
use super::regions::{large, location, until};
use super::seaweed::{Seaweed, get};
use super::upstream::{Upstream, reply};
use crate::common::process::Start as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The first beginnings of uploads whose answers are lost.
const LOST: usize = 2;

/// A way to a store on which the answers to the first [`LOST`] beginnings of uploads are lost, and, where
/// it says so, a request for a list of uploads is answered by `refusal`.
fn lossy(endpoint: &str, refusal: Option<&'static str>) -> String {
    let server = endpoint.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let begun = Arc::clone(&begun);
            std::thread::spawn(move || pass(client, server, &begun, refusal));
        }
    });
    format!("http://{address}")
}

fn pass(mut client: TcpStream, mut server: TcpStream, begun: &AtomicUsize, refusal: Option<&str>) {
    let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let mut answers = Some(std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(Shutdown::Both);
    }));
    let mut piece = vec![0; 128 << 10];
    while let Ok(n @ 1..) = client.read(&mut piece) {
        let line = String::from_utf8_lossy(piece[..n].split(|&b| b == b'\r').next().unwrap()).into_owned();
        if let (true, Some(refusal)) = (line.starts_with("GET ") && line.contains("?uploads="), refusal) {
            let _ = client.write_all(format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n").as_bytes());
            continue;
        }
        if line.starts_with("POST ") && line.contains("?uploads") && begun.fetch_add(1, Ordering::SeqCst) < LOST {
            // On a connection of its own, so that the store is heard to have begun it.
            let _ = client.shutdown(Shutdown::Both);
            let mut answer = [0; 1024];
            let mut alone = TcpStream::connect(server.peer_addr().unwrap()).unwrap();
            alone.write_all(&piece[..n]).unwrap();
            assert!(alone.read(&mut answer).unwrap() > 0);
            break;
        }
        if server.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
    let _ = answers.take().unwrap().join();
}

/// The id of the bytes, by git.
pub(crate) fn id(bytes: &[u8]) -> String {
    let mut git = Command::new("git");
    let mut child =
        git.args(["hash-object", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).start().expect("git");
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

/// Fetches an archive that is uploaded in parts, over a way where beginnings are lost, into a bucket
/// where somebody else has an upload of a longer key. Gives what is left of uploads in the end.
fn left(refusal: Option<&'static str>) -> usize {
    let (east, archive) = (Seaweed::start(), large("r"));
    let upstream = Upstream::start(move |stream, _, _| reply(stream, "200 OK", "", &large("r")));
    let key = id(&archive);
    assert_eq!(east.signed("POST", &format!("/{key}-of-another?uploads=")).0, 200);
    assert_eq!(east.uploads(), 1);
    let way = lossy(&east.endpoint(), refusal);
    let region = east.settings("us-east-1", "").replace(&east.endpoint(), &way);
    let larder = Larder::start(&format!("{}{region}", upstream.settings("")));
    let target = "/archiver/up/r/3d11cb4f31b9?suffix=tar";
    assert_eq!(larder.fetch(target)["state"], "SUCCESS");
    until("it is in the region", || location(&larder, target).starts_with(&way));
    assert!(get(&location(&larder, target)).2 == archive);
    assert_eq!(east.keys(), [key]);
    east.uploads()
}

#[test]
fn uploads_that_began_unheard_are_aborted_before_the_next_try_and_those_of_other_keys_are_not() {
    assert_eq!(left(None), 1, "the other's stays, and nothing else");
}

#[test]
fn a_store_that_lists_no_uploads_is_put_into_all_the_same() {
    for refusal in ["501 Not Implemented", "403 Forbidden", "500 Internal Server Error"] {
        assert_eq!(left(Some(refusal)), 1 + LOST, "{refusal}: what nobody can know of stays");
    }
}

#[test]
fn a_request_for_what_is_there_is_answered_though_others_write_the_catalogue() {
    let upstream = Upstream::start(|stream, _, _| reply(stream, "200 OK", "", &super::upstream::good()));
    let larder = Larder::start(&upstream.settings(""));
    let target = "/archiver/up/r/3d11cb4f31b9";
    larder.archive(target);
    // A region that did not exist then, and is down: the archive is to be put there one day.
    let region = "[archiver.regions.new]\nendpoint = \"http://127.0.0.1:1\"\nbucket = \"b\"\nallow_http = true\n";
    let keys = |name: &str| {
        let path = larder.data.path().join(name);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    };
    let files =
        format!("access_key_file = {:?}\nsecret_key_file = {:?}\n", keys("id").as_os_str(), keys("key").as_os_str());
    let settings = upstream.settings("") + region + &files;
    let larder = larder.again_with(&settings);
    let sql = rusqlite::Connection::open(larder.data.path().join("catalogue.db")).unwrap();
    sql.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
    let rows = || sql.query_row("SELECT count(*) FROM archiver_placement", [], |row| row.get::<_, i64>(0)).unwrap();
    sql.execute_batch("BEGIN IMMEDIATE").unwrap();
    let hit = larder.server.get(target);
    assert_eq!(hit.status, 302, "{}", String::from_utf8_lossy(&hit.body));
    assert_eq!(rows(), 0);
    sql.execute_batch("COMMIT").unwrap();
    assert_eq!(larder.server.get(target).status, 302);
    assert_eq!(rows(), 1, "the next request noted it");
}
