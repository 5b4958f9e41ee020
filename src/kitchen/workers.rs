//! The workers of a process that cooks, from the start to the graceful stop.

use super::{Cooks, Limits};
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a worker with nothing to do sleeps at most: another process may have queued something.
const IDLE: Duration = Duration::from_secs(1);

/// How often the time limits of running cooks are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How often cooks are called off again, once the grace of a stop is over.
const AGAIN: Duration = Duration::from_millis(100);

/// Those who take cooks from the queue.
pub struct Workers {
    cooks: Cooks,
    tasks: JoinSet<()>,
    number: usize,
}

impl Cooks {
    /// Sets the workers going. They end after [`Workers::stop`].
    #[must_use]
    pub fn start(&self) -> Workers {
        let mut workers = Workers { cooks: self.clone(), tasks: JoinSet::new(), number: 0 };
        workers.tasks.spawn(end_overdue(self.clone()));
        workers.add();
        workers
    }
}

impl Workers {
    /// Other bounds from now on, more or fewer workers too.
    pub fn set_limits(&mut self, limits: Limits) {
        self.cooks.orders.set_limits(limits);
        self.add();
    }

    /// Sees to it that there are enough workers. Surplus ones stay and do nothing.
    fn add(&mut self) {
        for number in self.number..self.cooks.orders.limits().workers {
            self.tasks.spawn(work(self.cooks.clone(), number));
            self.number = number + 1;
        }
    }

    /// Begins no further cook, gives those that run `grace` to end, then puts them back into the
    /// queue for whoever works there next.
    pub async fn stop(mut self, grace: Duration) {
        let orders = self.cooks.orders.clone();
        orders.stop();
        let mut all_ended = pin!(async { while self.tasks.join_next().await.is_some() {} });
        let mut patience = grace;
        while tokio::time::timeout(patience, &mut all_ended).await.is_err() {
            // Again and again: one may have been claimed, and not yet begun, when the grace ended.
            orders.0.underway.call_off();
            patience = AGAIN;
        }
    }
}

/// Calls off cooks that take too long.
async fn end_overdue(cooks: Cooks) {
    while !cooks.orders.is_stopping() {
        tokio::select! {
            () = tokio::time::sleep(TICK) => cooks.orders.0.underway.end_overdue(Instant::now()),
            () = cooks.orders.stopped() => {}
        }
    }
}

/// Cooks what the queue holds until larder stops; does nothing while there are to be fewer workers than
/// its number says.
async fn work(cooks: Cooks, number: usize) {
    let orders = cooks.orders.clone();
    // Said once, and not each second until it is put right.
    let mut said = false;
    while !orders.is_stopping() {
        let bell = orders.0.work.notified();
        let cook = cooks.clone();
        let idles = number >= orders.limits().workers;
        match tokio::task::spawn_blocking(move || if idles { Ok(false) } else { cook.cook_next() }).await {
            Ok(Ok(taken)) => {
                said = false;
                if taken {
                    continue;
                }
            }
            Ok(Err(error)) if said => tracing::debug!(%error, "cannot take a cook from the queue"),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot take a cook from the queue; trying again");
                said = true;
            }
            Err(panic) => tracing::error!(%panic, "a worker failed"),
        }
        tokio::select! {
            () = bell => {}
            () = tokio::time::sleep(IDLE) => {}
            () = orders.stopped() => {}
        }
    }
}
