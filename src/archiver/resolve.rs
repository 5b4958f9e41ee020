//! Looking names of upstreams up. A name is looked up once a connection, every address of it is checked,
//! and the connection goes to one of those: a name that changes between the check and the connection
//! changes nothing.

use crate::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// Gives the addresses of a name. Blocking.
type LookUp = dyn Fn(String) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up and refuses one with any address that may not be connected to.
pub(crate) struct Guarded {
    look_up: Arc<LookUp>,
    allows: fn(IpAddr) -> bool,
}

/// A name leads to where the source may not go.
#[derive(Debug, thiserror::Error)]
#[error("an address of it is not public")]
pub(super) struct PrivateAddress;

impl Guarded {
    /// As the system looks names up; addresses that are not public only where `private` says so.
    pub(crate) fn new(private: bool) -> Self {
        let look_up = |name: String| Ok((name.as_str(), 0).to_socket_addrs()?.collect());
        Self::by(look_up, if private { |_| true } else { is_public })
    }

    /// By other means, for other addresses.
    pub(super) fn by(
        look_up: impl Fn(String) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
        allows: fn(IpAddr) -> bool,
    ) -> Self {
        Self { look_up: Arc::new(look_up), allows }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (look_up, allows) = (Arc::clone(&self.look_up), self.allows);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = super::blocking(move || look_up(name)).await?;
            if !found.iter().all(|address| allows(address.ip())) {
                return Err(PrivateAddress.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
