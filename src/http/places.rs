//! Places of which a client may have only so many: event streams, waiting requests, large answers. Owns how many are
//! taken, in all and by whom; what they are for is not its business.
//!
//! Who a client is: the address that a connection comes from (a /64 of IPv6). Over the loopback or a Unix socket a
//! proxy speaks for many, and says for whom in the last element of `X-Forwarded-For`, which is the one that it has
//! added itself; what stands before it anybody may have written. Without that header all who come that way are one
//! client by their address. From anywhere else the header means nothing.

use super::io::Peer;
use hyper::HeaderMap;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Whom places are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// By address.
    Address(IpAddr),
    /// All processes of this machine that come by a Unix socket and name nobody.
    Unix,
}

impl Client {
    pub(super) fn of(peer: Peer, headers: &HeaderMap) -> Self {
        let own = match peer {
            Peer::Tcp(address) => address.ip().to_canonical(),
            Peer::Unix => return forwarded(headers).map_or(Self::Unix, |ip| Self::Address(network(ip))),
        };
        let named = if own.is_loopback() { forwarded(headers) } else { None };
        Self::Address(network(named.unwrap_or(own)))
    }
}

/// Whether a request comes from this machine itself, and not through a proxy on it for somebody else.
pub(super) fn is_local(peer: Peer, headers: &HeaderMap) -> bool {
    let is_near = match peer {
        Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Peer::Unix => true,
    };
    // One that does not say for whom it speaks, in a header that is understood here, may speak for anybody.
    let speaks_for_itself = if headers.contains_key("x-forwarded-for") {
        forwarded(headers).is_some_and(|ip| ip.is_loopback())
    } else {
        !["forwarded", "via", "x-real-ip"].iter().any(|name| headers.contains_key(*name))
    };
    is_near && speaks_for_itself
}

/// Whom the proxy next to us speaks for.
fn forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim();
    // Some proxies write the port too: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
    let ip = last.parse().ok().or_else(|| last.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// What an address is counted by: an IPv6 user commonly has a whole /64.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(_) if ip.is_loopback() => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

/// So many places, and so many of them for one client.
pub(super) struct Places {
    all: usize,
    each: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Who has which, the oldest first.
    by: HashMap<Client, VecDeque<Arc<Notify>>>,
}

impl Places {
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { all, each, taken: Arc::default() }
    }

    /// A place; `None` when all are taken, or all that this client may have.
    pub(super) fn take(&self, client: Client) -> Option<Place> {
        let mut taken = self.lock();
        (taken.all < self.all && taken.of(client) < self.each).then(|| taken.give(client, &self.taken))
    }

    /// A place. When all are taken, the client with the most gives up its oldest for one that has fewer: whose place
    /// that was is told ([`Place::is_lost`]), and it is to end at once.
    pub(super) fn take_share(&self, client: Client) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.of(client);
        if own >= self.each {
            return None;
        }
        if taken.all >= self.all {
            let most = taken.by.iter().max_by_key(|(_, places)| places.len());
            let (most, _) = most.filter(|(_, places)| places.len() > own + 1)?;
            let most = *most;
            let lost = taken.by.get_mut(&most).and_then(VecDeque::pop_front)?;
            taken.all -= 1;
            lost.notify_one();
        }
        Some(taken.give(client, &self.taken))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&self, client: Client) -> usize {
        self.by.get(&client).map_or(0, VecDeque::len)
    }

    fn give(&mut self, client: Client, taken: &Arc<Mutex<Self>>) -> Place {
        let lost = Arc::new(Notify::new());
        self.all += 1;
        self.by.entry(client).or_default().push_back(Arc::clone(&lost));
        Place { taken: Arc::clone(taken), client, lost }
    }
}

/// A place that is taken; free again when dropped.
pub(super) struct Place {
    /// Guards who has which and nothing else; no lock is taken while it is held.
    taken: Arc<Mutex<Taken>>,
    client: Client,
    lost: Arc<Notify>,
}

impl Place {
    /// Resolves when another client has it now.
    pub(super) async fn is_lost(&self) {
        self.lost.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = taken.by.get_mut(&self.client) else { return };
        // One that is lost is not among them.
        let Some(at) = own.iter().position(|place| Arc::ptr_eq(place, &self.lost)) else { return };
        own.remove(at);
        if own.is_empty() {
            taken.by.remove(&self.client);
        }
        taken.all -= 1;
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.client).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn client(peer: &str, forwarded: &[&'static str]) -> Client {
        let peer = if peer.is_empty() { Peer::Unix } else { Peer::Tcp(peer.parse().unwrap()) };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        Client::of(peer, &headers)
    }

    #[test]
    fn a_proxy_next_to_us_says_whom_it_speaks_for_and_nobody_else_does() {
        let is = |ip: &str| Client::Address(ip.parse().unwrap());
        for (peer, forwarded, expected) in [
            ("192.0.2.1:9", &["198.51.100.7"] as &[_], is("192.0.2.1")),
            ("192.0.2.1:9", &[], is("192.0.2.1")),
            ("[::ffff:192.0.2.1]:9", &[], is("192.0.2.1")),
            ("[2001:db8:1:2:3:4:5:6]:9", &[], is("2001:db8:1:2::")),
            ("127.0.0.1:9", &[], is("127.0.0.1")),
            ("127.0.0.1:9", &["198.51.100.7"], is("198.51.100.7")),
            ("[::1]:9", &["10.0.0.1, 198.51.100.7"], is("198.51.100.7")),
            ("127.0.0.1:9", &["10.0.0.1", "2001:db8::1:2:3:4"], is("2001:db8::")),
            ("127.0.0.1:9", &["[2001:db8::1]:4711"], is("2001:db8::")),
            ("127.0.0.1:9", &["198.51.100.7, unknown"], is("127.0.0.1")),
            ("", &[], Client::Unix),
            ("", &["198.51.100.7"], is("198.51.100.7")),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn only_what_nobody_forwards_comes_from_this_machine() {
        for (peer, name, value, local) in [
            ("127.0.0.1:9", "accept", "*/*", true),
            ("[::1]:9", "accept", "*/*", true),
            ("", "accept", "*/*", true),
            ("192.0.2.1:9", "accept", "*/*", false),
            ("192.0.2.1:9", "x-forwarded-for", "127.0.0.1", false),
            ("127.0.0.1:9", "x-forwarded-for", "127.0.0.1", true),
            ("127.0.0.1:9", "x-forwarded-for", "127.0.0.1, 192.0.2.1", false),
            ("127.0.0.1:9", "x-forwarded-for", "unknown", false),
            ("127.0.0.1:9", "x-real-ip", "127.0.0.1", false),
            ("", "x-forwarded-for", "192.0.2.1", false),
            ("", "via", "1.1 somewhere", false),
            ("127.0.0.1:9", "forwarded", "for=192.0.2.1", false),
        ] {
            let from = if peer.is_empty() { Peer::Unix } else { Peer::Tcp(peer.parse().unwrap()) };
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            assert_eq!(is_local(from, &headers), local, "{peer} {name}: {value}");
        }
    }

    #[test]
    fn one_client_cannot_take_all_places() {
        let places = Places::new(5, 3);
        let (one, other) = (client("192.0.2.1:1", &[]), client("192.0.2.2:1", &[]));
        let mut taken: Vec<_> = std::iter::from_fn(|| places.take(one)).collect();
        assert_eq!(taken.len(), 3);
        taken.extend(std::iter::from_fn(|| places.take(other)));
        assert_eq!((taken.len(), places.take(Client::Unix).is_none()), (5, true));
        drop(taken);
        assert!(places.lock().by.is_empty(), "who has left is forgotten");
        assert!(places.take(one).is_some());
    }

    #[tokio::test]
    async fn who_has_the_most_gives_some_up_for_others_until_all_have_as_many() {
        let places = Places::new(6, 6);
        let (one, other) = (client("192.0.2.1:1", &[]), client("192.0.2.2:1", &[]));
        let first: Vec<_> = std::iter::from_fn(|| places.take_share(one)).collect();
        assert_eq!(first.len(), 6, "all, while nobody else comes; and none of its own for another");
        let second: Vec<_> = std::iter::from_fn(|| places.take_share(other)).collect();
        assert_eq!(second.len(), 3);
        for (at, place) in first.iter().enumerate() {
            let lost = tokio::time::timeout(std::time::Duration::from_millis(1), place.is_lost()).await.is_ok();
            assert_eq!(lost, at < 3, "the oldest are lost: {at}");
        }
        drop(first);
        let counts = || {
            let taken = places.lock();
            (taken.all, taken.of(other), taken.by.len())
        };
        assert_eq!(counts(), (3, 3, 1), "what is lost is not counted twice");
        drop(second);
        assert_eq!(counts(), (0, 0, 0));
    }
}
