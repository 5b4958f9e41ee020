//! Those who work in a kitchen: its workers and its upkeep, from the start to the graceful stop.

use super::{Kitchen, Limits, cooking, upkeep};
use crate::access::log::Log;
use crate::limits::Mode;
use crate::origins::Locals;
use std::pin::pin;
use std::time::Duration;
use tokio::task::JoinSet;

impl Kitchen {
    /// Sets the workers and the upkeep going. They end after [`Brigade::stop`].
    #[must_use]
    pub fn start(&self) -> Brigade {
        let mut brigade = Brigade { kitchen: self.clone(), tasks: JoinSet::new(), workers: 0 };
        brigade.tasks.spawn(upkeep::watch_blocks(self.clone()));
        if self.0.mode == Mode::Normal {
            brigade.tasks.spawn(upkeep::look_after_catalogue(self.clone()));
            brigade.tasks.spawn(upkeep::watch_cooks(self.clone()));
            brigade.tasks.spawn(upkeep::flush_touches(self.clone()));
            brigade.tasks.spawn(upkeep::digest_files(self.clone()));
            brigade.hire();
        }
        brigade
    }
}

/// The workers of a kitchen that was started.
pub struct Brigade {
    kitchen: Kitchen,
    tasks: JoinSet<()>,
    workers: usize,
}

impl Brigade {
    /// Other bounds from now on, more or fewer workers too: see [`Kitchen::set_limits`].
    pub fn set_limits(&mut self, limits: Limits) {
        self.kitchen.set_limits(limits);
        if self.kitchen.mode() == Mode::Normal {
            self.hire();
        }
        self.kitchen.0.work.notify_waiters();
    }

    /// Sees to it that there are enough workers; of too many the last ones rest.
    fn hire(&mut self) {
        for number in self.workers..self.kitchen.0.limits().workers {
            self.tasks.spawn(cooking::work(self.kitchen.clone(), number));
            self.workers = number + 1;
        }
    }

    /// Follows the access log of the web server in front as well, until [`Brigade::stop`].
    pub fn follow_log(&mut self, log: Log) {
        // One at most is followed.
        let _ = self.kitchen.0.access_log.set(log.path.clone());
        self.tasks.spawn(upkeep::follow_log(self.kitchen.clone(), log));
    }

    /// Takes the snapshots of repositories in the archive whose refs have changed, now and every so
    /// often, until [`Brigade::stop`]. Not where nothing is to be written.
    pub fn take_snapshots(&mut self, locals: Locals, interval: Duration) {
        if self.kitchen.mode() == Mode::Normal {
            self.tasks.spawn(upkeep::take_snapshots(self.kitchen.clone(), locals, interval));
        }
    }

    /// Begins no further cook, gives those that run `grace` to end, then puts them back into the
    /// queue for whoever works there next, and writes the touches that wait.
    pub async fn stop(mut self, grace: Duration) {
        self.kitchen.0.stopping.send_replace(true);
        let mut all_ended = pin!(async { while self.tasks.join_next().await.is_some() {} });
        let mut patience = grace;
        while tokio::time::timeout(patience, &mut all_ended).await.is_err() {
            // Again and again: one may have been claimed, and not yet begun, when the grace ended.
            for (key, running) in self.kitchen.running().iter() {
                tracing::debug!(%key, "back to the queue, for larder is stopping");
                running.control.cancel(crate::cook::Reason::Stop);
            }
            patience = Duration::from_millis(100);
        }
    }
}
