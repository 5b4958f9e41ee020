//! Who gets in. So many connections may be inside, and so many of one address; when there are as many, the one that has
//! been idle for longest makes room for the next. So who opens connections and leaves them keeps nobody out, and only
//! where all inside are at something is a client told to come again.
//!
//! A permit is held as long as a connection lives; all permits back means that the server is empty.

use super::io::{Peer, Pulse, Socket};
use super::places::network;
use super::watch::Limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long a newcomer waits for room at most: those who make it are idle and have nothing to finish.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks whether somebody else has become idle.
const LOOK: Duration = Duration::from_millis(50);

/// How long one that has just come may take to begin its first request before it counts as idle.
const FRESH: Duration = Duration::from_millis(250);

/// Counts who is inside.
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    all: usize,
    per_address: usize,
    /// No other lock is taken while it is held.
    inside: Mutex<Inside>,
    /// Rung when somebody has left.
    left: Notify,
    /// Room for those who wait for room.
    newcomers: Arc<Semaphore>,
    /// Room for telling those who do not get in.
    refusals: Arc<Semaphore>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    guests: HashMap<u64, Guest>,
    /// How many there are of an address.
    addresses: HashMap<IpAddr, usize>,
}

/// What came of asking for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    One,
    /// All who are idle have been asked, or have only just come.
    NobodyYet,
    /// Nobody is idle.
    Nobody,
}

struct Guest {
    pulse: Arc<Pulse>,
    address: Option<IpAddr>,
    leave: Arc<Leave>,
}

/// A wish that a connection end.
#[derive(Default)]
pub(super) struct Leave {
    is_wished: AtomicBool,
    bell: Notify,
}

impl Leave {
    /// Resolves when the connection is to make room; it may have begun something meanwhile.
    pub(super) async fn wished(&self) {
        self.bell.notified().await;
    }

    /// It cannot: something is under way again.
    pub(super) fn decline(&self) {
        self.is_wished.store(false, Relaxed);
    }
}

impl Gate {
    pub(super) fn new(limits: &Limits) -> Self {
        let all = limits.connections.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            permits: Arc::new(Semaphore::new(all)),
            all,
            per_address: limits.connections_per_address,
            inside: Mutex::default(),
            left: Notify::new(),
            newcomers: Arc::new(Semaphore::new(64)),
            refusals: Arc::new(Semaphore::new(64)),
        }
    }

    /// A place inside, if there is one.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer) -> Option<Admission> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let address = counted(peer);
        let mut inside = self.inside();
        if let Some(address) = address {
            let same = inside.addresses.entry(address).or_insert(0);
            if *same >= self.per_address {
                return None;
            }
            *same += 1;
        }
        let (pulse, leave) = (Arc::<Pulse>::default(), Arc::<Leave>::default());
        inside.next += 1;
        let number = inside.next;
        let guest = Guest { pulse: Arc::clone(&pulse), address, leave: Arc::clone(&leave) };
        inside.guests.insert(number, guest);
        Some(Admission { gate: Arc::clone(self), number, pulse, leave, permit: Some(permit) })
    }

    /// A place inside that somebody idle gives up. `None` when nobody does, and when many wait for one already.
    pub(super) async fn enter_for_another(self: &Arc<Self>, peer: Peer) -> Option<Admission> {
        let _waiting = self.newcomers.try_acquire().ok()?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            // Before it is looked, so that who leaves meanwhile is not missed.
            let left = self.left.notified();
            if let Some(admission) = self.enter(peer) {
                return Some(admission);
            }
            let nobody = self.ask_one_to_leave(peer, Instant::now()) == Asked::Nobody;
            if nobody || tokio::time::Instant::now() >= deadline {
                return None;
            }
            let _ = tokio::time::timeout(LOOK, left).await;
        }
    }

    /// Asks the longest idle connection to leave; one of the same address when that has as many as it may.
    fn ask_one_to_leave(&self, peer: Peer, now: Instant) -> Asked {
        let inside = self.inside();
        let address = counted(peer);
        let same = address.filter(|address| inside.addresses.get(address).is_some_and(|n| *n >= self.per_address));
        let is_idle = |guest: &&Guest| same.is_none_or(|same| guest.address == Some(same)) && guest.pulse.is_idle();
        // Those between two requests before those who have not made one: it may be on its way.
        let place =
            |guest: &&Guest| (guest.leave.is_wished.load(Relaxed), !guest.has_asked(), guest.pulse.idle_since());
        let Some(guest) = inside.guests.values().filter(is_idle).min_by_key(place) else { return Asked::Nobody };
        let age = now.saturating_duration_since(guest.pulse.idle_since());
        if guest.leave.is_wished.load(Relaxed) || !guest.has_asked() && age < FRESH {
            return Asked::NobodyYet;
        }
        guest.leave.is_wished.store(true, Relaxed);
        guest.leave.bell.notify_one();
        Asked::One
    }

    /// Tells a client that there is no room, without waiting for it; of many only some are told.
    pub(super) fn refuse(&self, socket: Socket) {
        const ANSWER: &[u8] =
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
        let Ok(permit) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _permit = permit;
            socket.send_now(ANSWER);
            socket.linger().await;
        });
    }

    pub(super) async fn emptied(&self) {
        let all = u32::try_from(self.all).unwrap_or(u32::MAX);
        let _ = self.permits.acquire_many(all).await;
    }

    pub(super) fn count(&self) -> usize {
        self.all - self.permits.available_permits()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    fn has_asked(&self) -> bool {
        self.pulse.requests.load(Relaxed) > 0
    }
}

/// One connection's place inside.
pub(super) struct Admission {
    gate: Arc<Gate>,
    number: u64,
    pub(super) pulse: Arc<Pulse>,
    pub(super) leave: Arc<Leave>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        {
            let mut inside = self.gate.inside();
            let address = inside.guests.remove(&self.number).and_then(|guest| guest.address);
            if let Some(address) = address
                && let Some(same) = inside.addresses.get_mut(&address)
            {
                *same -= 1;
                if *same == 0 {
                    inside.addresses.remove(&address);
                }
            }
        }
        drop(self.permit.take());
        self.gate.left.notify_waiters();
    }
}

/// What a client is counted by.
fn counted(peer: Peer) -> Option<IpAddr> {
    let Peer::Tcp(address) = peer else { return None };
    let ip = address.ip().to_canonical();
    (!ip.is_loopback()).then(|| network(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(connections: usize, connections_per_address: usize) -> Arc<Gate> {
        Arc::new(Gate::new(&Limits { connections, connections_per_address, ..Limits::default() }))
    }

    fn peer(address: &str) -> Peer {
        Peer::Tcp(format!("{address}:1").parse().unwrap())
    }

    fn asked(admission: &Admission) -> bool {
        admission.leave.is_wished.load(Relaxed)
    }

    #[test]
    fn the_longest_idle_is_asked_first_and_who_is_at_something_never() {
        let gate = gate(4, 4);
        let inside: Vec<_> = (0..4).map(|_| gate.enter(Peer::Unix).unwrap()).collect();
        assert!(gate.enter(Peer::Unix).is_none());
        let [busy, new, first, second] = &inside[..] else { panic!("four are inside") };
        busy.pulse.begin();
        for idle in [first, second] {
            idle.pulse.begin();
            std::thread::sleep(Duration::from_millis(3));
            idle.pulse.end();
        }
        let now = Instant::now();
        for expected in [first, second] {
            assert_eq!(gate.ask_one_to_leave(Peer::Unix, now), Asked::One);
            assert!(asked(expected));
        }
        assert_eq!(gate.ask_one_to_leave(Peer::Unix, new.pulse.idle_since()), Asked::NobodyYet, "it has just come");
        assert_eq!(gate.ask_one_to_leave(Peer::Unix, now + FRESH), Asked::One);
        assert!(asked(new));
        assert_eq!(gate.ask_one_to_leave(Peer::Unix, now + FRESH), Asked::NobodyYet, "all who are idle were asked");
        first.leave.decline();
        assert_eq!(gate.ask_one_to_leave(Peer::Unix, now), Asked::One, "who could not may be asked again");
        for one in [new, first, second] {
            one.pulse.begin();
        }
        assert_eq!(gate.ask_one_to_leave(Peer::Unix, now + FRESH), Asked::Nobody);
        assert!(!asked(busy));
    }

    #[test]
    fn an_address_that_has_its_share_makes_room_for_itself() {
        let gate = gate(9, 2);
        let other = gate.enter(peer("192.0.2.2")).unwrap();
        let own = [gate.enter(peer("192.0.2.1")).unwrap(), gate.enter(peer("192.0.2.1")).unwrap()];
        assert!(gate.enter(peer("192.0.2.1")).is_none());
        let later = Instant::now() + FRESH;
        assert_eq!(gate.ask_one_to_leave(peer("192.0.2.1"), later), Asked::One);
        assert!(asked(&own[0]) && !asked(&own[1]) && !asked(&other));
        drop(own);
        assert!(gate.enter(peer("192.0.2.1")).is_some());
        assert_eq!(gate.inside().addresses.len(), 1, "who has left is forgotten");
    }
}
