//! The regions: buckets in which archives are kept for clients, beside the store.
//!
//! Which region has what stands in the catalogue (`Placement`), so that a request asks no region
//! anything: it is sent to the preferred one that has the archive and is up, by a URL signed at that
//! moment. Whether a region is up is found out beside the requests (`upkeep.rs`): by small probes, and by
//! whatever fails in one.

mod bucket;
mod looking;
pub mod settings;
mod upkeep;
mod uploads;

pub(super) use looking::look_at;
pub(super) use upkeep::{put_everywhere, watch_over, work_at};

use super::settings::Archiver as Settings;
use crate::catalogue::Placement;
use bucket::{Bucket, Trouble};
use looking::Looks;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// All regions of the settings, by name.
#[derive(Clone)]
pub(super) struct Regions {
    by_name: Arc<BTreeMap<String, Arc<Region>>>,
    ttl: Duration,
}

/// One region.
pub(super) struct Region {
    settings: settings::Region,
    bucket: Bucket,
    /// Why it is down, while it is. Until the first probe it counts as up.
    down: watch::Sender<Option<String>>,
    /// Rung when it should be looked whether it is up.
    doubt: Notify,
    looks: Looks,
}

impl Regions {
    pub(super) fn new(settings: &Settings) -> Self {
        let region = |(name, region): (&String, &settings::Region)| (name.clone(), Arc::new(Region::new(region)));
        Self { by_name: Arc::new(settings.regions.iter().map(region).collect()), ttl: settings.signed_url_ttl }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Region>> {
        self.by_name.get(name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.by_name.values()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// Clients are sent to this object: it is looked at beside that, unless it was not long ago.
    pub(super) fn look_again(&self, placement: &Placement) {
        if let Some(region) = self.get(&placement.region) {
            region.looks.ask(placement, region.settings.recheck);
        }
    }

    /// A URL that leads to the object for a while, by which it comes as `media_type`, under the name
    /// `file_name`. `None` when the region cannot sign: its key cannot be read.
    pub(super) async fn sign(&self, placement: &Placement, media_type: &str, file_name: &str) -> Option<String> {
        let (region, placed) = (self.get(&placement.region)?, &placement.placed);
        let same = placed.media_type == media_type && placed.file_name == file_name;
        let overruled = (!same).then_some((media_type, file_name));
        match region.bucket.sign(&placed.content, overruled, self.ttl).await {
            Ok(url) => Some(url),
            Err(trouble) => {
                region.note(&trouble);
                None
            }
        }
    }
}

impl Region {
    fn new(settings: &settings::Region) -> Self {
        Self {
            bucket: Bucket::new(settings.clone()),
            settings: settings.clone(),
            down: watch::Sender::new(None),
            doubt: Notify::new(),
            looks: Looks::new(),
        }
    }

    pub(super) fn state(&self) -> crate::metrics::Region {
        crate::metrics::Region { name: self.settings.name.clone(), is_up: self.is_up() }
    }

    pub(super) fn is_up(&self) -> bool {
        self.down.borrow().is_none()
    }

    /// Draws what follows from a failure: the region is passed over until a probe says that it is up.
    fn note(&self, trouble: &Trouble) {
        if let Trouble::Down(_) | Trouble::Refused(_) = trouble {
            self.set_down(Some(trouble.to_string()));
            self.doubt.notify_one();
        }
    }

    fn set_down(&self, why: Option<String>) {
        self.down.send_if_modified(|down| {
            let changed = down.is_some() != why.is_some();
            match &why {
                Some(why) if changed => tracing::warn!(region = self.settings.name, "passed over: {why}"),
                None if changed => tracing::info!(region = self.settings.name, "is up again"),
                _ => {}
            }
            *down = why;
            changed
        });
    }

    /// Waits until the region is down.
    async fn failed(&self) {
        let mut down = self.down.subscribe();
        let _ = down.wait_for(Option::is_some).await;
    }
}
