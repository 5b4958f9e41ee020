//! Where what was fetched is kept for clients, and where they are sent for it: to regions, where there
//! are any, else to larder's own static URLs.

use super::media;
use super::region::{self, Regions};
use super::settings;
use crate::bundle::FileFacts;
use crate::bundles::Bundles;
use crate::catalogue::{Catalogue, Placed, Placement as Row, PlacementState};
use crate::key::{BundleKey, is_download_name};
use crate::kitchen::Orders;
use crate::limits::Mode;
use crate::task::Fetched;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// The name of the one place that there is without regions.
const LOCAL: &str = "local";

/// How long a request waits for others who write the catalogue, to note what it need not note itself.
const PATIENCE: Duration = Duration::from_millis(100);

/// The places that archives are put in.
#[derive(Clone)]
pub(super) struct Placement {
    /// The URL of larder's root, without a trailing slash.
    base: Arc<RwLock<String>>,
    regions: Regions,
    orders: Orders,
    bundles: Bundles,
    catalogue: Catalogue,
}

/// Where an archive is.
pub(super) struct Places {
    /// In larder's own store.
    local: bool,
    /// In these regions, in order of their names.
    regions: Vec<Row>,
}

impl Placement {
    /// larder's own store, whose URLs begin with `base`, and the regions of the settings.
    pub(super) fn new(settings: &settings::Archiver, orders: Orders, base: &str) -> Self {
        let (bundles, catalogue) = (orders.bundles().clone(), orders.bundles().catalogue().clone());
        Self { base: Arc::new(RwLock::new(trimmed(base))), regions: Regions::new(settings), orders, bundles, catalogue }
    }

    /// Other URLs of larder's own from now on.
    pub(super) fn set_base(&self, base: &str) {
        *self.base.write().unwrap_or_else(PoisonError::into_inner) = trimmed(base);
    }

    pub(super) fn regions(&self) -> &Regions {
        &self.regions
    }

    /// Where the archive is; `None` when clients can be sent nowhere. Asks no region. Blocking.
    pub(super) fn places(&self, fetched: &Fetched) -> Result<Option<Places>, super::AnswerError> {
        let local = self.bundles.open(&fetched.content)?.is_some();
        let mut regions = Vec::new();
        if !self.regions.is_empty() {
            regions = self.catalogue.placements(&fetched.content)?;
            self.fill(fetched, &regions)?;
            regions.retain(|row| row.state == PlacementState::There && self.regions.get(&row.region).is_some());
        }
        Ok((local || !regions.is_empty()).then_some(Places { local, regions }))
    }

    /// Has the archive put into regions that were not there when it was fetched.
    fn fill(&self, fetched: &Fetched, known: &[Row]) -> Result<(), super::AnswerError> {
        let mut lacking = self.regions.names();
        lacking.retain(|name| !known.iter().any(|row| row.region == *name));
        if lacking.is_empty() || self.orders.mode() != Mode::Normal {
            return Ok(());
        }
        let catalogue = &self.catalogue;
        let placed = if let Some(row) = known.first() {
            Some(row.placed.clone())
        } else {
            let facts = catalogue.bundle(&fetched.content)?.and_then(|bundle| bundle.file);
            facts.map(|facts| Placed::of(fetched, &facts))
        };
        let Some(placed) = placed else { return Ok(()) };
        match catalogue.hurried(PATIENCE).want_placements(&placed, &lacking, Timestamp::now()) {
            // The request is about something else; the next one for this archive does it.
            Err(error) if !error.is_busy() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Puts an archive, whose bytes are whole and checked, into the regions that are up. Runs before the
    /// task says SUCCESS and may run again for the same archive.
    pub(super) async fn put(&self, fetched: &Fetched, facts: &FileFacts, file: File) {
        if !self.regions.is_empty() {
            region::put_everywhere(&self.regions, &self.orders, &Placed::of(fetched, facts), file).await;
        }
    }

    /// What was put is not kept after all. Blocking.
    pub(super) fn give_up(&self, content: &BundleKey) {
        if self.regions.is_empty() {
            return;
        }
        if let Err(error) = self.catalogue.unwant_placements(content, Timestamp::now()) {
            tracing::warn!(%error, "what was put into regions for nothing stays there for now");
        }
    }

    /// Where a client that prefers `region` is sent: there, else to another that is up, else to larder.
    pub(super) async fn location(&self, fetched: &Fetched, places: &Places, region: Option<&str>) -> Option<String> {
        let mut rows: Vec<&Row> = places.regions.iter().collect();
        rows.sort_by_key(|row| (!self.is_up(row), region != Some(row.region.as_str())));
        for row in rows.into_iter().filter(|row| self.is_up(row) || !places.local) {
            if let Some(url) = self.regions.sign(row, &fetched.media_type, &fetched.file_name).await {
                // The store sees nothing of downloads from elsewhere, and would collect what is used most.
                self.orders.touch(&fetched.content);
                self.regions.look_again(row);
                return Some(url);
            }
        }
        places.local.then(|| self.static_url(fetched))
    }

    /// The archive's URLs, made at this moment, by the name of the place.
    pub(super) async fn urls(&self, fetched: &Fetched, places: &Places) -> BTreeMap<String, String> {
        let mut urls = BTreeMap::new();
        let any_up = places.regions.iter().any(|row| self.is_up(row));
        for row in places.regions.iter().filter(|row| self.is_up(row) || !(any_up || places.local)) {
            if let Some(url) = self.regions.sign(row, &fetched.media_type, &fetched.file_name).await {
                urls.insert(row.region.clone(), url);
                self.regions.look_again(row);
            }
        }
        if urls.is_empty() && places.local {
            urls.insert(LOCAL.to_owned(), self.static_url(fetched));
        }
        urls
    }

    fn is_up(&self, row: &Row) -> bool {
        self.regions.get(&row.region).is_some_and(|region| region.is_up())
    }

    /// larder's own URL of the archive; the parameters make the download be saved under its name and have the
    /// upstream's type.
    fn static_url(&self, fetched: &Fetched) -> String {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner);
        // Every known type can stand in a query as it is: nginx compares it undecoded.
        let media_type = media::known(&fetched.media_type).map(|known| format!("type={known}"));
        let name =
            Some(&fetched.file_name).filter(|name| is_download_name(name)).map(|name| format!("filename={name}"));
        let query: Vec<_> = name.into_iter().chain(media_type).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}/vault/{}{mark}{}", fetched.content, query.join("&"))
    }
}

fn trimmed(base: &str) -> String {
    base.trim_end_matches('/').to_owned()
}
