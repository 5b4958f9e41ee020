//! larder as a service of systemd, whose part the tests play: sockets that were listening before it,
//! and word of how it stands.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use crate::common::server::Server;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn it_says_when_it_is_ready_and_when_it_stops() {
    let data = tempfile::tempdir().unwrap();
    let name = data.path().join("notify");
    let notices = UnixDatagram::bind(&name).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path().join("data"));
    command.env("NOTIFY_SOCKET", &name).env_remove("LARDER_CONFIG").stdout(Stdio::piped());
    let server = Server::spawn(command);
    assert_eq!(next(&notices), "READY=1");
    assert_eq!(server.get("/readyz").status, 200);
    assert!(server.terminate().success());
    assert_eq!(next(&notices), "STOPPING=1");
}

#[test]
fn a_request_waits_on_the_socket_of_systemd_while_larder_restarts() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("larder.sock");
    let socket = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let mut waiting = UnixStream::connect(&path).unwrap();
        waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let server = serve_on(socket.try_clone().unwrap().into(), data.path(), &["--public-url", "http://a.example"]);
        assert_eq!(server.address, format!("unix:{}", path.display()));
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(server.terminate().success());
        assert!(path.exists(), "the socket is systemd's");
    }
}

#[test]
fn a_tcp_socket_of_systemd_is_taken_instead_of_listen() {
    let data = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let server = serve_on(socket.into(), data.path(), &["--listen", "127.0.0.1:1"]);
    assert_eq!(server.address, address);
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn without_public_url_it_refuses_a_socket_that_a_proxy_is_meant_for() {
    let data = tempfile::tempdir().unwrap();
    let socket = UnixListener::bind(data.path().join("larder.sock")).unwrap();
    let output = activated(socket.into(), data.path()).stdout(Stdio::null()).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("public_url is required"), "{said}");
}

fn serve_on(socket: OwnedFd, data: &Path, flags: &[&str]) -> Server {
    let mut command = activated(socket, data);
    command.args(flags).stdout(Stdio::piped());
    Server::spawn(command)
}

/// `larder serve` with `socket` as its descriptor 3, as sd_listen_fds(3) has it.
fn activated(socket: OwnedFd, data: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 </dev/null";
    command.args(["-c", script, env!("CARGO_BIN_EXE_larder"), "serve", "--data"]).arg(data.join("data"));
    command.env_remove("LARDER_CONFIG").stdin(socket);
    command
}

fn next(notices: &UnixDatagram) -> String {
    let mut bytes = [0; 256];
    let length = notices.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}
