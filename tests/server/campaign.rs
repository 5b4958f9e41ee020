//! A campaign of kills. Two servers on one data folder are asked without a pause, archives are fetched,
//! and `fsck --repair`, `origin visit`, `cook`, `archiver retry` and `gc` work beside them; one of them, or
//! both servers at once, dies by SIGKILL at a random moment, again and again.
//!
//! Every few kills it is looked whether what was promised was kept: each order that was accepted ends as
//! it should, every bundle has the bytes that it had when it was first served, every visit finds what git
//! shows, and who died has left nothing behind. In every other act nothing is ever collected or damaged, so
//! that an order that is lost cannot pass for a bundle that was collected.
//!
//! 40 kills; as many as `LARDER_TEST_KILLS` says; 1000 with `LARDER_TEST_LONG`.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

mod cast;
mod guests;
mod place;

use crate::common::git;
use crate::common::kitchenware::{Random, all_is_well};
use crate::origins;
use cast::{Command, Role, Running, Servers};
use guests::{Expected, Ledger};
use place::Place;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Kills between two looks at what was promised.
const KILLS_OF_AN_ACT: u32 = 14;

/// What only a program that is broken exceeds.
const DEADLINE: Duration = Duration::from_mins(2);

/// Who is killed while nothing may be lost, and who as well while bundles are collected.
const ROLES: [Role; 6] = [
    Role::Server,
    Role::BothServers,
    Role::Command(Command::Fsck),
    Role::Command(Command::Visit),
    Role::Command(Command::Cook),
    Role::Command(Command::Fetch),
];
const COLLECTING: [Role; 7] = [ROLES[0], ROLES[1], ROLES[2], ROLES[3], ROLES[4], ROLES[5], Role::Command(Command::Gc)];

#[test]
fn whoever_is_killed_no_order_is_lost_no_byte_is_wrong_and_nothing_is_left_behind() {
    let kills = match std::env::var("LARDER_TEST_KILLS") {
        Ok(kills) => kills.parse().expect("LARDER_TEST_KILLS is a number"),
        Err(_) if std::env::var_os("LARDER_TEST_LONG").is_some() => 1000,
        Err(_) => 40,
    };
    let seed = Random::seed();
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let (place, ledger, start) = (Place::new(), Ledger::default(), Instant::now());
    ledger.expect_bytes(&place.menu);
    let mut servers = Servers::start(&place);
    let mut killed = BTreeMap::new();
    for act in 0_u32.. {
        let sofar: u32 = killed.values().sum();
        if sofar >= kills {
            break;
        }
        let collecting = act % 2 == 1;
        if !collecting {
            // Something to cook in every act: what is there is cooked anew.
            place.remove(place.keys.iter().filter(|_| random.below(2) == 0));
        }
        let play = Play { place: &place, ledger: &ledger, act, collecting, collected: act > 0 };
        play.kill(&mut servers, KILLS_OF_AN_ACT.min(kills - sofar), &mut killed, &mut random);
        play.settle(&servers);
        println!("{} kills in {:?}: {killed:?}, {}", killed.values().sum::<u32>(), start.elapsed(), ledger.tally());
    }
    assert!(servers.terminate(), "a server that is told to stop does so cleanly");
    place.nobody_is_left();
    assert_eq!(place.entries("bundles/v0/tmp"), [""; 0], "who ended has left a draft");
    all_is_well(place.data());
    place.no_log_tells_of_a_panic();
    let kinds = if kills < 40 { 1 } else { COLLECTING.len() };
    assert!(killed.len() >= kinds, "somebody was never killed: {killed:?}");
}

/// A part of the campaign, at whose end all is looked at.
struct Play<'a> {
    place: &'a Place,
    ledger: &'a Ledger,
    act: u32,
    /// Whether bundles go while it lasts.
    collecting: bool,
    /// Whether some may have gone before.
    collected: bool,
}

impl Play<'_> {
    /// Kills so many.
    fn kill(&self, servers: &mut Servers<'_>, kills: u32, killed: &mut BTreeMap<Role, u32>, random: &mut Random) {
        let over = AtomicBool::new(false);
        let (fronts, seeds) = (servers.fronts(), [random.next(), random.next()]);
        std::thread::scope(|scope| {
            let over = Over(&over);
            for seed in seeds {
                let (fronts, over) = (&fronts, over.0);
                scope.spawn(move || {
                    let mut random = Random::new(seed);
                    while !over.load(Ordering::Relaxed) {
                        self.ledger.ask(self.place, fronts, self.act, &mut random);
                    }
                });
            }
            let mut beside: Vec<Running> = Vec::new();
            for _ in 0..kills {
                beside.retain_mut(|running| !running.has_ended(self.collecting));
                if self.collecting {
                    self.place.damage(random);
                }
                let roles: &[Role] = if self.collecting { &COLLECTING } else { &ROLES };
                if beside.len() < 2
                    && let Role::Command(command) = *random.choose(roles)
                {
                    beside.push(self.place.run(command, self.act, random));
                }
                let least = roles.iter().map(|role| killed.get(role).copied().unwrap_or(0)).min().unwrap();
                let role = *random.choose(roles);
                let role = if killed.get(&role).copied().unwrap_or(0) > least + 2 {
                    *roles.iter().min_by_key(|role| killed.get(role).copied().unwrap_or(0)).unwrap()
                } else {
                    role
                };
                self.kill_one(role, servers, random);
                *killed.entry(role).or_default() += 1;
            }
            for running in beside {
                running.end(self.collecting);
            }
        });
    }

    /// Lets one run for a random time, and kills it.
    fn kill_one(&self, role: Role, servers: &mut Servers<'_>, random: &mut Random) {
        match role {
            Role::Server | Role::BothServers => {
                std::thread::sleep(Duration::from_micros(random.below(200_000)));
                let first = usize::from(random.below(2) == 1);
                let both = [first, 1 - first];
                servers.kill(if role == Role::Server { &both[..1] } else { &both });
            }
            // One that was over before it was to be killed is started again, and killed sooner.
            Role::Command(command) => {
                let deadline = Instant::now() + DEADLINE;
                let mut longest = 400_000;
                loop {
                    assert!(Instant::now() < deadline, "{command:?} is over before it can be killed");
                    let running = self.place.run(command, self.act, random);
                    std::thread::sleep(Duration::from_micros(random.below(longest)));
                    if running.kill(self.collecting) {
                        break;
                    }
                    longest = (longest / 2).max(1_000);
                }
            }
        }
    }

    /// Looks whether everything that was promised was kept.
    fn settle(&self, servers: &Servers<'_>) {
        let fronts = servers.fronts();
        let server = |n: usize| fronts.get(n % 2);
        if self.collecting {
            // What was damaged, and no check met since.
            self.place.larder(&["fsck", "--repair"]);
        }
        let (ordered, tasks) = self.ledger.take();
        for (n, key) in ordered.iter().enumerate() {
            let expected = if *key == self.place.lacking { "missing-object" } else { "done" };
            let ended = self.ledger.ended(&server(n), key, DEADLINE);
            let may_be_gone = self.collecting && ended == "absent";
            assert!(ended == expected || may_be_gone, "{key} was ordered and is {ended}");
        }
        for (n, (id, target)) in tasks.iter().enumerate() {
            let expected = if place::is_upstream(target) { Expected::Success } else { Expected::Failure };
            self.ledger.task_ends(&server(n), id, expected, DEADLINE);
            if expected == Expected::Success && !self.collecting {
                let bytes = self.ledger.archive(&server(n), target).unwrap_or_else(|| panic!("{target} is not there"));
                assert!(bytes == place::archive(target), "{target} is not what was sent");
            }
        }
        let there = self.place.keys.iter().enumerate().filter(|(n, key)| self.ledger.get(&server(*n), key)).count();
        assert!(self.collected || self.collecting || there >= ordered.len() / 2, "{there} are served");

        self.place.change_origin(&mut Random::new(u64::from(self.act)));
        let said = self.place.larder(&["origin", "visit", &self.place.url()]);
        assert_eq!(origins::snapshot(&said), origins::by_python(&self.place.origin), "{said}");
        let mirror = origins::mirror(self.place.data());
        git(&["fsck", "--no-dangling", "--no-progress", "--connectivity-only"], &mirror);
        let left = |name: &String| [".lock", ".new", "tmp"].iter().any(|part| name.contains(part));
        let names = [self.place.entries_of(&mirror), self.place.entries_of(&mirror.join("objects/pack"))].concat();
        assert_eq!(names.into_iter().filter(left).collect::<Vec<_>>(), [""; 0], "a visit left something behind");

        self.place.nobody_waits(DEADLINE);
        self.place.only_the_servers_have_folders(DEADLINE);
    }
}

/// Ends whoever asks, also when a test panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
