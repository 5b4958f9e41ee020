//! A proxy that misbehaves as it is told: each request is answered by an [`Act`], chosen by what it
//! asks and how many came before.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It is passed on, and so is its answer.
    Pass,
    /// The answer is cut after so many bytes, head and all.
    Cut(usize),
    /// The answer comes in pieces of so many bytes with a pause between them.
    Trickle(usize),
    /// The byte at this place of the answer's body is another.
    Flip(usize),
    /// These bytes are the answer.
    Say(Vec<u8>),
    /// There is no answer, and the connection stays open.
    Silence,
}

pub(crate) struct Proxy {
    pub(crate) address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Before `upstream` (`127.0.0.1:port`).
    pub(crate) fn start(upstream: &str, act: impl Fn(&str, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (upstream, act, log) = (upstream.to_owned(), Arc::new(act), Arc::clone(&heads));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (upstream, act, log) = (upstream.clone(), Arc::clone(&act), Arc::clone(&log));
                // A client that leaves makes it fail, and that is all right.
                std::thread::spawn(move || _ = serve(client.unwrap(), &upstream, &*act, &log));
            }
        });
        Self { address, heads }
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(
    mut client: TcpStream,
    upstream: &str,
    act: &(dyn Fn(&str, usize) -> Act + Send + Sync),
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let Some(head) = read_head(&mut client)? else { return Ok(()) };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(head.clone());
        log.len() - 1
    };
    let act = act(&head, number);
    match act {
        Act::Say(answer) => return client.write_all(&answer),
        Act::Silence => {
            // Until the client has had enough of it.
            let _ = client.read(&mut [0; 1])?;
            return Ok(());
        }
        Act::Pass | Act::Cut(_) | Act::Trickle(_) | Act::Flip(_) => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(head.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes())?;
    let (mut passed, mut body) = (0, None);
    let mut piece = vec![0; if let Act::Trickle(size) = act { size } else { 1 << 14 }];
    loop {
        let read = server.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        let chunk = &mut piece[..read];
        if body.is_none() {
            body = chunk.windows(4).position(|four| four == b"\r\n\r\n").map(|at| passed + at + 4);
        }
        match (&act, body) {
            (Act::Cut(most), _) if passed + read >= *most => return client.write_all(&chunk[..most - passed]),
            (Act::Flip(at), Some(body)) if (passed..passed + read).contains(&(body + at)) => {
                chunk[body + at - passed] ^= 0x20;
            }
            (Act::Trickle(_), _) => std::thread::sleep(Duration::from_millis(20)),
            _ => {}
        }
        client.write_all(chunk)?;
        passed += read;
    }
}

fn read_head(client: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8(head).expect("a client's head is ASCII")))
}
