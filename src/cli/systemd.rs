//! What systemd hands to a service and wants to hear from it: listening sockets (`LISTEN_FDS`) and
//! the socket for notices (`NOTIFY_SOCKET`). Without systemd both are absent and nothing happens.
//! Knows nothing of what is served.

use anyhow::{Context, bail};
use listenfd::ListenFd;
use std::ffi::OsStr;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

/// A socket that was listening before this process began.
#[derive(Debug)]
pub(super) enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The sockets that systemd opened for this process, ready for tokio; none where there is no systemd.
///
/// To be called while the process has one thread: it takes the variables away, so that no child
/// believes them.
pub(super) fn inherited() -> anyhow::Result<Vec<Inherited>> {
    let mut sockets = ListenFd::from_env();
    (0..sockets.len()).map(|index| take(&mut sockets, index).context("cannot use a socket of systemd")).collect()
}

fn take(sockets: &mut ListenFd, index: usize) -> anyhow::Result<Inherited> {
    if let Ok(Some(listener)) = sockets.take_unix_listener(index) {
        listener.set_nonblocking(true)?;
        return Ok(Inherited::Unix(listener));
    }
    match sockets.take_tcp_listener(index)? {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            Ok(Inherited::Tcp(listener))
        }
        None => bail!("socket {index} was taken before"),
    }
}

/// Tells systemd how the service stands: `READY=1`, `STOPPING=1`. What cannot be told is logged, for
/// the service is none the worse for it.
pub(super) fn notify(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&name, state) {
        tracing::warn!("cannot tell systemd {state}: {error}");
    }
}

/// sd_notify(3): a datagram to a socket that is named by a path, or after `@` in the abstract namespace.
fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let sent = UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    if sent == state.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_reaches_a_socket_of_either_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let unique = format!("larder-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&unique).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{unique}").into()),
        ] {
            send(&name, "READY=1").unwrap();
            let mut bytes = [0; 64];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"READY=1", "{}", name.display());
        }
    }
}
