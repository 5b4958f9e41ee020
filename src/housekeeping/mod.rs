//! What is done beside the requests and the cooks, for as long as larder runs. `chores` is the list of what a
//! process does, by its mode and its role; several processes may do the same chore at once, which costs work
//! and harms nothing.

mod chores;
mod digests;

use crate::access::log::Log;
use crate::kitchen::Orders;
use crate::limits::{Mode, Role};
use crate::origins::Locals;
use std::time::Duration;
use tokio::task::JoinSet;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chore {
    /// Follows what other processes block.
    Blocks,
    /// Sees whether the catalogue's file is still the one that was opened.
    Catalogue,
    /// Writes the hits that wait in memory.
    Touches,
    /// Follows the access log of the web server in front.
    Log,
    /// Takes up the cooks of dead processes.
    Recovery,
    /// Computes SHA-256.
    Digests,
    /// Takes snapshots of the repositories in the archive.
    Snapshots,
}

/// The chores of a process.
fn chores(mode: Mode, role: Role) -> &'static [Chore] {
    use Chore::{Blocks, Catalogue, Digests, Log, Recovery, Snapshots, Touches};
    match (mode, role) {
        // Nothing is written.
        (Mode::ReadOnly | Mode::PassThrough, _) => &[Blocks],
        (Mode::Normal, Role::All) => &[Blocks, Catalogue, Touches, Log, Recovery, Digests, Snapshots],
        (Mode::Normal, Role::Front) => &[Blocks, Catalogue, Touches, Log],
        (Mode::Normal, Role::Cook) => &[Blocks, Catalogue, Recovery, Digests, Snapshots],
    }
}

/// The chores of this process, under way.
pub struct Housekeeping {
    orders: Orders,
    chores: &'static [Chore],
    tasks: JoinSet<()>,
}

impl Housekeeping {
    /// Sets the chores of a role going. They end after [`Housekeeping::stop`].
    #[must_use]
    pub fn start(orders: &Orders, role: Role) -> Self {
        let chores = chores(orders.mode(), role);
        let mut tasks = JoinSet::new();
        for chore in chores {
            let orders = orders.clone();
            match chore {
                Chore::Blocks => drop(tasks.spawn(chores::watch_blocks(orders))),
                Chore::Catalogue => drop(tasks.spawn(chores::look_after_catalogue(orders))),
                Chore::Touches => drop(tasks.spawn(chores::flush_touches(orders))),
                Chore::Recovery => drop(tasks.spawn(chores::recover(orders))),
                Chore::Digests => drop(tasks.spawn(digests::digest_files(orders))),
                // Not of every larder: see below.
                Chore::Log | Chore::Snapshots => {}
            }
        }
        Self { orders: orders.clone(), chores, tasks }
    }

    /// Follows an access log as well, where that is a chore of the role.
    pub fn follow_log(&mut self, log: Log) {
        if self.chores.contains(&Chore::Log) {
            self.orders.follows(log.path.clone());
            self.tasks.spawn(chores::follow_log(self.orders.clone(), log));
        }
    }

    /// Takes the snapshots of repositories in the archive whose refs have changed, now and every so
    /// often, where that is a chore of the role.
    pub fn take_snapshots(&mut self, locals: Locals, interval: Duration) {
        if self.chores.contains(&Chore::Snapshots) {
            self.tasks.spawn(chores::take_snapshots(self.orders.clone(), locals, interval));
        }
    }

    /// Ends them, once the hits that wait in memory are written.
    pub async fn stop(mut self) {
        self.orders.stop();
        while self.tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_and_a_cook_do_together_what_one_process_does_that_is_both() {
        let all = chores(Mode::Normal, Role::All);
        let [front, cook] = [Role::Front, Role::Cook].map(|role| chores(Mode::Normal, role));
        assert!(all.iter().all(|chore| front.contains(chore) || cook.contains(chore)));
        assert!(front.iter().chain(cook).all(|chore| all.contains(chore)));
    }
}
