//! Who can be killed: servers, which are started again at once, and commands.

use super::place::Place;
use crate::common::process::{Process, Start as _};
use crate::common::server::Server;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Server,
    BothServers,
    Command(Command),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Command {
    Fsck,
    Visit,
    Cook,
    Fetch,
    Gc,
}

impl Command {
    /// Whether it may end so where nobody kills it. Exit code 6 is "another one is running".
    fn may_end(self, code: Option<i32>, said: &str, collecting: bool) -> bool {
        match self {
            Self::Fsck => matches!(code, Some(0 | 6)),
            Self::Gc => matches!(code, Some(0 | 4 | 6)),
            Self::Visit => code == Some(0),
            // Who cooks while rows are lost may lose his.
            Self::Cook => code == Some(0) || collecting && said.contains("was removed while"),
            Self::Fetch => code == Some(0) || said.contains("404"),
        }
    }
}

/// A command that runs.
pub(super) struct Running {
    pub(super) command: Command,
    pub(super) process: Process,
    /// What it says, in a file: nobody reads while it runs.
    pub(super) said: PathBuf,
}

impl Running {
    /// Kills it; `false` when it had ended by itself, as it may.
    pub(super) fn kill(mut self, collecting: bool) -> bool {
        if self.has_ended(collecting) {
            return false;
        }
        self.process.kill().unwrap();
        // One that ends in this instant ended by itself.
        self.process.wait().unwrap().code().is_none()
    }

    /// Whether it has ended by itself, as it may.
    pub(super) fn has_ended(&mut self, collecting: bool) -> bool {
        let Some(status) = self.process.try_wait().unwrap() else { return false };
        let said = std::fs::read_to_string(&self.said).unwrap();
        assert!(self.command.may_end(status.code(), &said, collecting), "{:?}: {status}: {said}", self.command);
        true
    }

    pub(super) fn end(mut self, collecting: bool) {
        let deadline = Instant::now() + super::DEADLINE;
        while !self.has_ended(collecting) {
            assert!(Instant::now() < deadline, "{:?} never ends", self.command);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where a server listens, until it is killed.
pub(super) struct Front {
    pub(super) address: String,
    pub(super) is_killed: AtomicBool,
}

/// Where the two servers listen now.
#[derive(Clone)]
pub(super) struct Fronts(Arc<RwLock<[Arc<Front>; 2]>>);

impl Fronts {
    pub(super) fn get(&self, n: usize) -> Arc<Front> {
        Arc::clone(&self.0.read().unwrap()[n])
    }
}

/// The two servers.
pub(super) struct Servers<'a> {
    place: &'a Place,
    running: [Option<Server>; 2],
    fronts: Fronts,
}

impl<'a> Servers<'a> {
    pub(super) fn start(place: &'a Place) -> Self {
        let [one, other] = [serve(place), serve(place)];
        let fronts = Fronts(Arc::new(RwLock::new([Arc::new(front(&one)), Arc::new(front(&other))])));
        Self { place, running: [Some(one), Some(other)], fronts }
    }

    pub(super) fn fronts(&self) -> Fronts {
        self.fronts.clone()
    }

    /// Kills some, then starts as many.
    pub(super) fn kill(&mut self, which: &[usize]) {
        for &n in which {
            self.fronts.get(n).is_killed.store(true, Ordering::SeqCst);
            self.running[n].take().unwrap().kill();
        }
        for &n in which {
            let server = serve(self.place);
            self.fronts.0.write().unwrap()[n] = Arc::new(front(&server));
            self.running[n] = Some(server);
        }
    }

    /// Whether both end cleanly when they are told to.
    pub(super) fn terminate(self) -> bool {
        self.running.into_iter().flatten().all(|server| server.terminate().success())
    }
}

fn serve(place: &Place) -> Server {
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    let log = File::options().create(true).append(true).open(place.log()).unwrap();
    Server::spawn(command.stdout(Stdio::piped()).stderr(log))
}

fn front(server: &Server) -> Front {
    Front { address: server.address.clone(), is_killed: AtomicBool::new(false) }
}

/// Starts a command.
pub(super) fn run(place: &Place, command: Command, args: &[&str]) -> Running {
    let said = place.note();
    let file = File::create(&said).unwrap();
    let process = place.command(args).stdout(file.try_clone().unwrap()).stderr(file).start().unwrap();
    Running { command, process, said }
}
