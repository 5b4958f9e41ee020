//! How much there is at the moment of what nobody counts as it happens: for `/metrics`.
//!
//! Each figure is one row, one step in an index, or one question to the file system. What is asked may hang, so one thread at a time
//! asks, and who waits for it waits for no longer than [`LIMIT`].

use super::Orders;
use crate::metrics::Holdings;
use crate::time::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a scrape waits for figures.
const LIMIT: Duration = Duration::from_secs(3);

impl Orders {
    /// What the store, the queue and the log hold now; `None` when one of them does not answer.
    pub async fn holdings(&self) -> Option<Holdings> {
        let look = async {
            let place = Arc::clone(&self.0.looking).acquire_owned().await.ok()?;
            let orders = self.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let _place = place;
                orders.look_up_holdings(Timestamp::now())
            });
            match looked.await.ok()? {
                Ok(holdings) => Some(holdings),
                Err(error) => {
                    tracing::debug!(%error, "no figures of the store and the catalogue");
                    None
                }
            }
        };
        tokio::time::timeout(LIMIT, look).await.ok().flatten()
    }

    fn look_up_holdings(&self, now: Timestamp) -> Result<Holdings, Box<dyn std::error::Error + Send + Sync>> {
        let shared = &*self.0;
        let (catalogue, limits) = (&shared.catalogue, self.limits().room);
        let (totals, evicted) = (catalogue.totals()?, catalogue.evicted()?);
        let oldest = catalogue.next_ready()?;
        let free = shared.bundles.free()?;
        Ok(Holdings {
            queued: totals.queued,
            running: totals.running,
            oldest_wait: oldest.map_or(Duration::ZERO, |ready| now.since(ready)),
            files: totals.files,
            allocated: totals.allocated,
            reserved: shared.room.reserved(),
            max_size: limits.max_size,
            free: free.bytes,
            disk: free.total_bytes,
            min_free: limits.min_free.of(free.total_bytes),
            free_inodes: (free.total_inodes > 0).then_some(free.inodes),
            evicted: evicted.files,
            evicted_bytes: evicted.bytes,
            evicted_unused: evicted.unused,
            log_lag: shared.access_log.get().map(|log| self.log_lag(log, now)),
        })
    }

    /// A log that is not there yet has nothing to read.
    fn log_lag(&self, log: &Path, now: Timestamp) -> Duration {
        let changed = log.metadata().and_then(|metadata| metadata.modified());
        changed.map_or(Duration::ZERO, |changed| self.0.metrics.log().lag(changed.into(), now))
    }
}
