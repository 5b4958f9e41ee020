//! When a connection is to be closed: the limits of `server`, and the judge that holds a connection
//! to them. The judge is given the time and what has passed, and does nothing itself.
//!
//! It looks now and then instead of arming timers, so the way of a hit pays nothing for it and a
//! limit is kept to within a quarter of it, or a second.

use super::held::HeldLimits;
use super::io::Pulse;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How much a client may ask of the server, and how long it may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. When there are so many, the longest idle one makes room for another; when none is
    /// idle, one more gets a 503 and is closed.
    pub connections: usize,
    /// Connections at once from one address (a /64 of IPv6), in the same way. The loopback and Unix sockets are
    /// exempt: there a proxy speaks for everybody.
    pub connections_per_address: usize,
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// From the first byte of a request's body to its last.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// The window in which a client must take at least `stall_bytes` of what it is sent.
    pub stall: Duration,
    /// See `stall`.
    pub stall_bytes: u64,
    /// Size of a request's head, in bytes; at least 8192.
    pub head_bytes: usize,
    /// Size of a request's target, in bytes.
    pub target_bytes: usize,
    /// Size of a request's body, in bytes; it is read into memory.
    pub body_bytes: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// How many bytes may be held for clients.
    pub held: HeldLimits,
    /// How long answers under way may take once the server is told to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: 128,
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            stall: Duration::from_secs(30),
            stall_bytes: 32 * 1024,
            head_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            body_bytes: 64 * 1024,
            streams: 48,
            held: HeldLimits::default(),
            drain: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// How often a connection is looked at.
    pub(super) fn tick(&self) -> Duration {
        let shortest = self.first_byte.min(self.head).min(self.idle).min(self.stall);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Nothing is under way: let it end by itself.
    Close,
    /// The client wastes our time: drop it.
    Drop,
}

/// Numbers of a [`Pulse`] at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    read: u64,
    written: u64,
    blocked: bool,
    requests: u64,
    in_flight: usize,
    sending: usize,
    http2: bool,
}

impl Seen {
    pub(super) fn now(pulse: &Pulse) -> Self {
        Self {
            read: pulse.read.load(Relaxed),
            written: pulse.written.load(Relaxed),
            blocked: pulse.blocked.load(Relaxed),
            requests: pulse.requests.load(Relaxed),
            in_flight: pulse.in_flight.load(Relaxed),
            sending: pulse.sending.load(Relaxed),
            http2: pulse.http2.load(Relaxed),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && !self.blocked
    }
}

/// What was seen of a connection before.
#[derive(Debug)]
pub(super) struct Watch {
    opened: Instant,
    /// Since when nothing is under way.
    idle: Option<Idle>,
    /// Since when the client has had something to take, and how much it had taken then.
    window: Option<(Instant, u64)>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    requests: u64,
    read: u64,
    /// When a part of a head had come.
    head: Option<Instant>,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { opened: now, idle: Some(Idle { since: now, requests: 0, read: 0, head: None }), window: None }
    }

    pub(super) fn look(&mut self, now: Instant, seen: &Seen, limits: &Limits) -> Verdict {
        if seen.read == 0 {
            return if now - self.opened >= limits.first_byte { Verdict::Drop } else { Verdict::Keep };
        }
        if self.is_stalled(now, seen, limits) {
            return Verdict::Drop;
        }
        if !seen.is_idle() {
            self.idle = None;
            return Verdict::Keep;
        }
        self.look_at_idle(now, seen, limits)
    }

    /// An HTTP/2 client that opens no window blocks no write, so a body being sent counts as well.
    fn is_stalled(&mut self, now: Instant, seen: &Seen, limits: &Limits) -> bool {
        if !seen.blocked && seen.sending == 0 {
            self.window = None;
            return false;
        }
        let (since, written) = *self.window.get_or_insert((now, seen.written));
        if now - since < limits.stall {
            return false;
        }
        self.window = Some((now, seen.written));
        seen.written - written < limits.stall_bytes
    }

    fn look_at_idle(&mut self, now: Instant, seen: &Seen, limits: &Limits) -> Verdict {
        let fresh = Idle { since: now, requests: seen.requests, read: seen.read, head: None };
        let idle = match &mut self.idle {
            Some(idle) if idle.requests == seen.requests => idle,
            idle => idle.insert(fresh),
        };
        // HTTP/2 has frames that are no part of a request; there only requests end idleness.
        if !seen.http2 && seen.read > idle.read {
            let since = *idle.head.get_or_insert(now);
            return if now - since >= limits.head { Verdict::Drop } else { Verdict::Keep };
        }
        if now - idle.since >= limits.idle { Verdict::Close } else { Verdict::Keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            first_byte: Duration::from_secs(5),
            head: Duration::from_secs(10),
            idle: Duration::from_mins(1),
            stall: Duration::from_secs(30),
            stall_bytes: 1000,
            ..Limits::default()
        }
    }

    /// What the watch says of each (second, seen) in turn.
    fn verdicts(story: &[(u64, Seen)]) -> Vec<Verdict> {
        let opened = Instant::now();
        let mut watch = Watch::new(opened);
        story.iter().map(|(second, seen)| watch.look(opened + Duration::from_secs(*second), seen, &limits())).collect()
    }

    #[test]
    fn silence_from_the_start_is_dropped() {
        let silent = Seen::default();
        assert_eq!(verdicts(&[(4, silent), (5, silent)]), [Verdict::Keep, Verdict::Drop]);
    }

    #[test]
    fn a_head_that_trickles_is_dropped_however_many_bytes_come() {
        let story: Vec<_> = (1..=11).map(|s| (s, Seen { read: s, ..Seen::default() })).collect();
        let verdicts = verdicts(&story);
        assert_eq!((verdicts[9], verdicts[10]), (Verdict::Keep, Verdict::Drop));
    }

    #[test]
    fn idleness_is_counted_from_the_last_request() {
        let once = Seen { read: 100, requests: 1, ..Seen::default() };
        let twice = Seen { read: 200, requests: 2, ..Seen::default() };
        let story = [(1, once), (60, once), (60, twice), (61, twice), (119, twice), (120, twice)];
        let expected = [Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Close];
        assert_eq!(verdicts(&story), expected);
    }

    #[test]
    fn pings_do_not_keep_an_idle_http2_connection() {
        let story: Vec<_> = (0..=60).map(|s| (s, Seen { read: 100 + s, http2: true, ..Seen::default() })).collect();
        assert_eq!(*verdicts(&story).last().unwrap(), Verdict::Close);
    }

    #[test]
    fn an_answer_that_is_long_in_the_making_is_waited_for() {
        let waiting = Seen { read: 100, requests: 1, in_flight: 1, ..Seen::default() };
        assert_eq!(verdicts(&[(1, waiting), (3600, waiting)]), [Verdict::Keep; 2]);
    }

    #[test]
    fn a_client_that_takes_too_little_is_dropped_and_one_that_takes_enough_is_not() {
        let seen = |written| Seen { read: 100, requests: 1, in_flight: 1, blocked: true, written, ..Seen::default() };
        let slow = [(1, seen(0)), (30, seen(999)), (31, seen(999))];
        assert_eq!(verdicts(&slow), [Verdict::Keep, Verdict::Keep, Verdict::Drop]);
        let enough = [(1, seen(0)), (31, seen(1000)), (60, seen(1000)), (61, seen(1999))];
        assert_eq!(verdicts(&enough), [Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Drop]);
    }

    #[test]
    fn an_http2_client_that_opens_no_window_is_dropped() {
        let seen = Seen { read: 100, requests: 1, in_flight: 1, sending: 1, http2: true, ..Seen::default() };
        assert_eq!(verdicts(&[(1, seen), (31, seen)]), [Verdict::Keep, Verdict::Drop]);
    }
}
