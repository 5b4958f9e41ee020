//! Opening what the commands work on: the store, the catalogue and the archive of the settings.

use crate::admission::Room;
use crate::archive::Archive;
use crate::archive::git::GitArchive;
use crate::archive::several::Several;
use crate::archiver::FetchedArchive;
use crate::bundles::Bundles;
use crate::catalogue::{Access, Catalogue};
use crate::checksums::Remembered;
use crate::config::Settings;
use crate::kitchen::{Limits, Orders};
use crate::limits::{Mode, RoomLimits};
use crate::origins::{self, Locals, Origins, Repositories, Rules};
use crate::store::Store;
use crate::upstream::{self, Upstreams};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

/// The catalogue, to be written. One that does not exist yet is made, but not beside bundles: those were
/// published by a larder that had one.
pub(super) fn catalogue_to_write(settings: &Settings, access: Access) -> anyhow::Result<Catalogue> {
    let path = catalogue_path(settings);
    // The bundles between two looks: where there is one, the catalogue that knew it came before it.
    let is_blank = || matches!(Catalogue::is_blank(&path), Ok(true));
    let has_bundles = || Store::open_read_only(&settings.data).is_ok_and(|store| store.has_bundles().unwrap_or(true));
    let data = settings.data.display();
    anyhow::ensure!(
        !(is_blank() && has_bundles() && is_blank()),
        "there are bundles in {data}, and the catalogue beside them is gone or empty: put catalogue.db back from a \
         backup, or run `larder fsck --repair`, which makes one of what the files tell"
    );
    Ok(Catalogue::open(&path, access)?)
}

/// The archive of the settings. Finds no repository yet.
pub(super) fn archive(settings: &Settings) -> anyhow::Result<Arc<GitArchive>> {
    let mirrors = settings.data.join(origins::FOLDER);
    if settings.mode != Mode::Normal {
        // Nothing is made here; mirrors that are there are read like the rest.
        let mirrors = match mirrors.read_dir() {
            Ok(_) => Some(mirrors),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // Only the owner of the data may: what is served from files needs no mirror.
            Err(error) => {
                tracing::warn!(path = %mirrors.display(), %error, "mirrors are not read");
                None
            }
        };
        let paths = settings.git.iter().cloned().chain(mirrors).collect();
        return Ok(Arc::new(git_archive(settings, paths)?));
    }
    // There before the first origin, so that its mirror is seen without a restart.
    let mirrors = Store::private_folder(&settings.data, origins::FOLDER).context("cannot open the store")?;
    // Large deltified objects are resolved in files without a name, on the disk of the data.
    let paths = settings.git.iter().cloned().chain([mirrors.clone()]).collect();
    Ok(Arc::new(git_archive(settings, paths)?.with_mirrors(mirrors).with_scratch(settings.data.clone())))
}

fn git_archive(settings: &Settings, paths: Vec<PathBuf>) -> anyhow::Result<GitArchive> {
    for path in &settings.git {
        if let Some(reason) = refused(path) {
            anyhow::bail!("--git {}: {reason}", path.display());
        }
    }
    Ok(GitArchive::with_links(paths, settings.follow_links.clone())?)
}

/// What is wrong with a path that was given for repositories, where more can be said than that it cannot
/// be opened.
fn refused(path: &Path) -> Option<&'static str> {
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("it is not a folder; name a repository, or a folder that holds some"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_remote(path) => {
            Some("it is a URL, not a path; to mirror a repository: larder origin add URL")
        }
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && path.as_os_str().as_encoded_bytes().contains(&b':') =>
        {
            Some("it is not there; several paths are several --git, or lines of LARDER_GIT")
        }
        Err(_) => None,
    }
}

/// Whether a text is a URL, or what ssh takes for one.
fn is_remote(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let scp = |text: &str| text.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    text.contains("://") || scp(&text)
}

/// The origins of the settings. Makes the catalogue where there is none yet.
pub(super) fn origins(settings: &Settings) -> anyhow::Result<Origins> {
    let catalogue = writable_catalogue(settings)?;
    let rules = Rules {
        transports: settings.origin_transports.clone(),
        private: settings.origin_private,
        timeout: settings.origin_timeout,
        max_size: settings.origin_max_size,
        min_free: settings.min_free,
    };
    Ok(Origins::new(&settings.data, catalogue, rules))
}

/// What takes the snapshots of the repositories in the archive.
pub(super) fn locals(settings: &Settings, repositories: &Repositories, catalogue: &Catalogue) -> Locals {
    let (prefix, mirrors) = (settings.local_origins.clone(), settings.data.join(origins::FOLDER));
    Locals::new(repositories.clone(), catalogue.clone(), prefix, mirrors)
}

/// The same, for a command that does nothing else with either.
pub(super) fn local_origins(settings: &Settings) -> anyhow::Result<Locals> {
    let repositories = Repositories::new((*archive(settings)?).clone());
    Ok(locals(settings, &repositories, &writable_catalogue(settings)?))
}

/// The catalogue, to be written; made where there is none yet.
fn writable_catalogue(settings: &Settings) -> anyhow::Result<Catalogue> {
    // Who may not write there is told so, and how.
    drop(Store::open(&settings.data).context("cannot open the store")?);
    catalogue_to_write(settings, Access::Write).context("cannot open the catalogue")
}

/// The checksums of contents that are remembered; of this process alone where nothing is written.
pub(super) fn checksums(settings: &Settings) -> anyhow::Result<Remembered> {
    if settings.mode == Mode::Normal {
        match Remembered::open(&settings.data.join("checksums.db")) {
            Ok(remembered) => return Ok(remembered),
            Err(error) => tracing::warn!(%error, "the checksums of contents are not kept"),
        }
    }
    Ok(Remembered::in_memory()?)
}

/// What the bundles may take of the disk.
pub(super) fn room_limits(settings: &Settings) -> RoomLimits {
    let Settings { max_size, min_free, grace, policy, .. } = *settings;
    RoomLimits { max_size, min_free, grace, policy }
}

/// The orders of the settings; where larder may write, store and catalogue are made if they are not there yet.
pub(super) fn orders(settings: &Settings, archive: Arc<GitArchive>) -> anyhow::Result<Orders> {
    let store = store(settings).context("cannot open the store")?;
    let bundles = Bundles::new(store, catalogue(settings).context("cannot open the catalogue")?);
    let room = Arc::new(Room::new(bundles.clone(), room_limits(settings)));
    let archive = with_fetched(settings, archive, &bundles, &room)?;
    Ok(Orders::new(settings.mode, archive, bundles, room, limits(settings)))
}

/// The repositories, and behind them the archives that were fetched.
pub(super) fn with_fetched(
    settings: &Settings,
    archive: Arc<GitArchive>,
    bundles: &Bundles,
    room: &Arc<Room>,
) -> anyhow::Result<Arc<dyn Archive>> {
    if settings.mode != Mode::Normal {
        return Ok(archive);
    }
    let (scratch, most) = (settings.data.clone(), settings.max_bundle_size);
    let fetched = FetchedArchive::new(bundles.clone(), Arc::clone(room), scratch, most);
    let mut archives: Vec<Arc<dyn Archive>> = vec![archive];
    if !settings.upstream.is_empty() {
        let given = Store::private_folder(&settings.data, upstream::FOLDER).context("cannot open the store")?;
        archives.push(Arc::new(GitArchive::new(vec![given])?.with_scratch(settings.data.clone())));
    }
    archives.push(Arc::new(fetched));
    Ok(Arc::new(Several::new(archives)))
}

/// The vaults of the settings, which are asked from now on for what is not here; `None` without any, and
/// where nothing is to be kept.
pub(super) fn upstreams(settings: &Settings, orders: &Orders) -> anyhow::Result<Option<Upstreams>> {
    if settings.upstream.is_empty() || settings.mode != Mode::Normal {
        return Ok(None);
    }
    let folder = Store::private_folder(&settings.data, upstream::FOLDER).context("cannot open the store")?;
    let bounds = upstream::Bounds {
        max_size: settings.upstream_max_size,
        max_wait: settings.upstream_timeout,
        at_once: settings.upstream_at_once,
        max_bundle_size: settings.max_bundle_size,
    };
    let space = Arc::clone(orders.room());
    let room = move || -> upstream::Room {
        let reservation = Mutex::new(space.reservation());
        Arc::new(move |bytes| reservation.lock().unwrap_or_else(PoisonError::into_inner).reach(bytes))
    };
    let (archive, catalogue) = (orders.shared_archive(), orders.bundles().catalogue().clone());
    let upstreams = Upstreams::new(settings.upstream.clone(), &folder, bounds, archive, catalogue, room);
    let upstreams = upstreams.map_err(anyhow::Error::msg)?;
    orders.set_remote(Arc::new(upstreams.clone()));
    Ok(Some(upstreams))
}

/// The bounds that the orders keeps.
pub(super) fn limits(settings: &Settings) -> Limits {
    Limits {
        workers: settings.workers,
        cook_threads: settings.cook_threads,
        max_queue: settings.max_queue,
        max_bundle_size: settings.max_bundle_size,
        cook_timeout: settings.cook_timeout,
        gitfast_lossy: settings.gitfast_lossy,
        room: room_limits(settings),
    }
}

fn store(settings: &Settings) -> anyhow::Result<Store> {
    Ok(match settings.mode {
        Mode::Normal => Store::open(&settings.data)?,
        Mode::PassThrough if is_absent(&settings.data.join("bundles")) => Store::nowhere()?,
        Mode::ReadOnly | Mode::PassThrough => Store::open_read_only(&settings.data)?,
    })
}

fn catalogue(settings: &Settings) -> anyhow::Result<Catalogue> {
    let path = catalogue_path(settings);
    match settings.mode {
        Mode::Normal => catalogue_to_write(settings, Access::Migrate),
        // What is blocked stands there: one that cannot be read must not be taken for one that is not.
        Mode::PassThrough if is_absent(&path) => {
            tracing::warn!(data = %settings.data.display(), "no catalogue is there: nothing is blocked");
            Ok(Catalogue::in_memory()?)
        }
        Mode::PassThrough => Ok(Catalogue::open(&path, Access::Read)?),
        Mode::ReadOnly => Ok(Catalogue::open(&path, Access::Read).unwrap_or_else(|error| {
            tracing::warn!(%error, "bundles are served without what is known of them");
            Catalogue::out_of_reach(&path)
        })),
    }
}

/// Whether nothing has this name, for certain: what cannot be looked at may be there.
fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
