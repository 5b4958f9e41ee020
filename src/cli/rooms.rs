//! Opening what the commands work on: the store, the catalogue and the archive of the settings.

use crate::archive::git::GitArchive;
use crate::catalogue::{Access, Catalogue};
use crate::config::Settings;
use crate::kitchen::{Kitchen, Limits};
use crate::limits::RoomLimits;
use crate::store::Store;
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the catalogue lies.
pub(super) fn catalogue_path(settings: &Settings) -> PathBuf {
    settings.data.join("catalogue.db")
}

/// The catalogue, only to be read; a clear error where nothing was ever cooked.
pub(super) fn read_catalogue(settings: &Settings) -> anyhow::Result<Catalogue> {
    Ok(Catalogue::open(&expect_catalogue(settings)?, Access::Read)?)
}

/// Where the catalogue lies; a clear error where nothing was ever cooked.
pub(super) fn expect_catalogue(settings: &Settings) -> anyhow::Result<PathBuf> {
    let path = catalogue_path(settings);
    anyhow::ensure!(path.exists(), "there is no larder in {} yet: `larder serve` makes one", settings.data.display());
    Ok(path)
}

/// The archive of the settings. Finds no repository yet.
pub(super) fn archive(settings: &Settings) -> anyhow::Result<Arc<GitArchive>> {
    // Large deltified objects are resolved in files without a name, on the disk of the data.
    std::fs::create_dir_all(&settings.data).with_context(|| format!("cannot make {}", settings.data.display()))?;
    Ok(Arc::new(GitArchive::new(settings.git.clone())?.with_scratch(settings.data.clone())))
}

/// What the bundles may take of the disk.
pub(super) fn room_limits(settings: &Settings) -> RoomLimits {
    let Settings { max_size, min_free, grace, policy, .. } = *settings;
    RoomLimits { max_size, min_free, grace, policy }
}

/// The kitchen of the settings, with its store and catalogue, made where they are not there yet.
pub(super) fn kitchen(settings: &Settings, archive: Arc<GitArchive>) -> anyhow::Result<Kitchen> {
    let store = Store::open(&settings.data).context("cannot open the store")?;
    let catalogue = Catalogue::open(&catalogue_path(settings), Access::Migrate).context("cannot open the catalogue")?;
    let limits = Limits {
        workers: settings.workers,
        cook_threads: settings.cook_threads,
        max_queue: settings.max_queue,
        max_bundle_size: settings.max_bundle_size,
        cook_timeout: settings.cook_timeout,
        room: room_limits(settings),
    };
    Ok(Kitchen::new(archive, store, catalogue, limits))
}
