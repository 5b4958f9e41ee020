//! `larder serve`: listens, then opens the rooms, cooks and answers until it is told to stop.
//!
//! Sockets that systemd listens on are taken before `listen` is looked at.
//!
//! On SIGHUP the settings are read again (`reload.rs`). On SIGTERM or SIGINT no further connection is accepted and no further cook begun; downloads and
//! cooks under way get `stop_grace`, and the process ends soon after it, whatever its threads do. A second signal ends it
//! at once, which loses nothing either.

use super::systemd::{self, Inherited};
use super::{reload, rooms};
use crate::access::log::Log;
use crate::archive::git::GitArchive;
use crate::archiver::{self, Archiver};
use crate::bodies::Base;
use crate::checksums::Remembered;
use crate::config::{Cors, Listen, Settings};
use crate::housekeeping::Housekeeping;
use crate::http::archiver::Endpoints;
use crate::http::cors::Pages;
use crate::http::scrape::Scrape;
use crate::http::vault::Vault;
use crate::http::{Limits, Listener, Names, descriptors, server};
use crate::kitchen::{self, Cooks, Orders};
use crate::limits::Mode;
use crate::origins::Repositories;
use crate::upstream::Upstreams;
use anyhow::{Context, bail};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code after a second signal: that of a program ended by SIGINT.
const STOPPED_AT_ONCE: i32 = 130;

/// How long cooks that are called off at the end of the grace have to end.
const AFTER_GRACE: Duration = Duration::from_secs(3);

/// `read` reads the settings again.
pub(super) fn run(settings: &Settings, read: impl Fn() -> anyhow::Result<Settings>) -> anyhow::Result<()> {
    let inherited = systemd::inherited()?;
    if let Err(error) = descriptors::allow_many() {
        tracing::warn!("cannot ask for more open files: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(async_threads())
        .enable_all()
        .build()
        .context("cannot start")?;
    let done = runtime.block_on(serve(settings, read, inherited));
    // Whoever still waits for a file system that does not answer ends with the process.
    runtime.shutdown_background();
    done
}

/// Ends the process a while after the grace, whatever its threads do. Nothing is lost: what they cooked
/// goes back to the queue, as that of a process that was killed. Its thread is there from the beginning, for at
/// the stop there may be no more to be had.
struct LastResort(mpsc::Sender<Duration>);

impl LastResort {
    fn new() -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::channel::<Duration>();
        let wait = move || {
            let Ok(grace) = stopped.recv() else { return };
            std::thread::sleep(grace.saturating_add(AFTER_GRACE));
            tracing::warn!("stopped while something was still waited for, a file system perhaps");
            std::process::exit(0);
        };
        std::thread::Builder::new().name("larder-stop".to_owned()).spawn(wait).context("cannot start a thread")?;
        Ok(Self(stop))
    }

    fn end_after(&self, grace: Duration) {
        // Its thread waits for this alone.
        let _ = self.0.send(grace);
    }
}

/// A thread for every two cores. A hit is the kernel's copying; twice the threads mostly wake each
/// other (`benches/README.md`). Cooks and what blocks have threads of their own.
fn async_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2)
}

async fn serve(
    settings: &Settings,
    read: impl Fn() -> anyhow::Result<Settings>,
    inherited: Vec<Inherited>,
) -> anyhow::Result<()> {
    let last_resort = LastResort::new()?;
    // Listen first: clients that come while the rooms are opened wait in the backlog.
    let Doors { listeners, address } = open_doors(settings, inherited).await?;
    let metrics_door = open_metrics_door(settings).await?;
    let base = base(settings, &address);
    let archive = rooms::archive(settings)?;
    let repositories = Repositories::new((*archive).clone());
    let orders = rooms::orders(settings, Arc::clone(&archive))?;
    let archiver = Archiver::new(settings.archiver.clone(), orders.clone(), &base.url(""));
    let cooks = Cooks::new(orders.clone());
    let checksums = rooms::checksums(settings)?;
    let parts = (&orders, &archiver, &checksums);
    let vault = Arc::new(RwLock::new(Arc::new(vault(settings, &address, &cooks, parts))));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let upstreams = rooms::upstreams(settings, &orders)?;
    let asked = upstreams.as_ref().filter(|_| settings.role.cooks()).map(Upstreams::start);
    let mut workers = (settings.mode == Mode::Normal && settings.role.cooks()).then(|| cooks.start());
    let fetches = archiver.start(settings.role);
    let mut housekeeping = Housekeeping::start(&orders, settings.role);
    if let Some(log) = &settings.access_log {
        housekeeping.follow_log(Log::new(log, &settings.root_path, &settings.data));
    }
    if !settings.snapshot_interval.is_zero() {
        housekeeping.take_snapshots(
            rooms::locals(settings, &repositories, orders.bundles().catalogue()),
            settings.snapshot_interval,
        );
    }
    super::print(&format!(
        "larder {} listens on {}\nclients reach it as {}\nbundles are kept in {}\n",
        env!("CARGO_PKG_VERSION"),
        address,
        base.url("/"),
        settings.data.display()
    ))?;
    if let Some((_, address)) = &metrics_door {
        super::print(&format!("metrics are on {address}\n"))?;
    }
    systemd::notify("READY=1");
    let greeting = tokio::task::spawn_blocking(move || greet(&archive, &base));
    let limits = Limits {
        connections: settings.max_connections,
        connections_per_address: settings.max_connections_per_address,
        drain: settings.stop_grace,
        ..Limits::default()
    };
    let answering = Arc::clone(&vault);
    let handle = move |request, peer| {
        // A request is answered by one vault from its beginning to its end, whatever is read meanwhile.
        let vault = Arc::clone(&answering.read().unwrap_or_else(PoisonError::into_inner));
        async move { vault.answer(request, peer).await }
    };
    let scrapes = serve_metrics(metrics_door, &orders, &archiver);
    // Connections and cooks end side by side, within one grace.
    let (told, stop) = tokio::sync::oneshot::channel::<()>();
    let connections = server::run(listeners, handle, limits, orders.metrics().clone(), async { drop(stop.await) });
    let cooks = async {
        let mut current = settings.clone();
        loop {
            tokio::select! {
                () = either(&mut terminate, &mut interrupt) => break,
                _ = hangup.recv() => {}
            }
            if let Some(next) = reload::reload(&current, &read, workers.as_mut(), (&orders, &repositories)) {
                archiver.set_base(&self::base(&next, &address).url(""));
                let next_vault = Arc::new(self::vault(&next, &address, &cooks, (&orders, &archiver, &checksums)));
                *vault.write().unwrap_or_else(PoisonError::into_inner) = next_vault;
                current = next;
            }
        }
        systemd::notify("STOPPING=1");
        tracing::info!("stopping; a second signal ends it at once");
        let _ = told.send(());
        last_resort.end_after(settings.stop_grace);
        tokio::select! {
            () = async {
                if let Some(asked) = asked {
                    asked.stop().await;
                }
                stop_work(workers, fetches, housekeeping, settings.stop_grace).await;
            } => {}
            () = either(&mut terminate, &mut interrupt) => {
                tracing::warn!("stopped at once");
                std::process::exit(STOPPED_AT_ONCE);
            }
        }
    };
    // Figures are answered to the end.
    tokio::select! {
        _ = async { tokio::join!(connections, cooks) } => {}
        () = scrapes => {}
    }
    greeting.abort();
    Ok(())
}

fn base(settings: &Settings, address: &Listen) -> Base {
    let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    Base::new(&public_url, &settings.root_path)
}

/// Cooks and fetches get the grace; the chores end last, for hits come to the end.
async fn stop_work(
    workers: Option<kitchen::Workers>,
    fetches: archiver::Workers,
    housekeeping: Housekeeping,
    grace: Duration,
) {
    let cooks = async {
        if let Some(workers) = workers {
            workers.stop(grace).await;
        }
    };
    tokio::join!(cooks, fetches.stop(grace));
    housekeeping.stop().await;
}

fn vault(
    settings: &Settings,
    address: &Listen,
    cooks: &Cooks,
    (orders, archiver, checksums): (&Orders, &Archiver, &Remembered),
) -> Vault {
    let base = base(settings, address);
    let endpoints = Endpoints::new(archiver.clone(), orders.clone(), base.clone());
    let vault = Vault::new(orders.clone(), cooks.clone(), base, settings.root_path.clone(), checksums.clone());
    let vault = vault.with_archiver(endpoints);
    let names = Names { local_origins: settings.local_origins.clone(), cook: settings.cook_by_name };
    let pages = match &settings.cors {
        Cors::Any => Pages::Any,
        Cors::These(origins) if origins.is_empty() => Pages::Own,
        Cors::These(origins) => Pages::Of(origins.clone()),
    };
    let vault = vault.run_by(settings.public_url.clone()).with_names(names).of_role(settings.role).read_by(pages);
    match settings.metrics_listen {
        None => vault.with_metrics(Scrape::new(orders.clone(), archiver.clone())),
        Some(_) => vault,
    }
}

/// Connections at once to the address of the metrics.
const METRICS_CONNECTIONS: usize = 16;

/// Answers `/metrics` on its own address for as long as it is polled; never ends.
async fn serve_metrics(door: Option<(Listener, Listen)>, orders: &Orders, archiver: &Archiver) {
    if let Some((listener, _)) = door {
        let scrape = Scrape::new(orders.clone(), archiver.clone());
        let handle = move |request, _| {
            let scrape = scrape.clone();
            async move { scrape.serve(request).await }
        };
        let limits = Limits {
            connections: METRICS_CONNECTIONS,
            connections_per_address: METRICS_CONNECTIONS,
            ..Limits::default()
        };
        server::run(vec![listener], handle, limits, orders.metrics().clone(), std::future::pending()).await;
    }
    std::future::pending::<()>().await;
}

async fn open_metrics_door(settings: &Settings) -> anyhow::Result<Option<(Listener, Listen)>> {
    match &settings.metrics_listen {
        Some(listen) => {
            let door = bind(listen).await.with_context(|| format!("cannot listen on {listen} for metrics"))?;
            Ok(Some(door))
        }
        None => Ok(None),
    }
}

/// Where connections come in, and the first of these addresses.
struct Doors {
    listeners: Vec<Listener>,
    address: Listen,
}

async fn open_doors(settings: &Settings, inherited: Vec<Inherited>) -> anyhow::Result<Doors> {
    let mut doors = Vec::new();
    for socket in inherited {
        doors.push(adopt(socket).context("cannot use a socket of systemd")?);
    }
    if doors.is_empty() {
        doors.push(bind(&settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?);
    }
    let beyond = doors.iter().find(|(_, address)| settings.public_url.is_none() && !address.is_loopback());
    if let Some((_, address)) = beyond {
        bail!("public_url is required when larder listens on {address}");
    }
    let address = doors[0].1.clone();
    Ok(Doors { listeners: doors.into_iter().map(|(listener, _)| listener).collect(), address })
}

fn adopt(socket: Inherited) -> std::io::Result<(Listener, Listen)> {
    Ok(match socket {
        Inherited::Tcp(listener) => {
            let address = listener.local_addr()?;
            (TcpListener::from_std(listener)?.into(), Listen::Tcp(address))
        }
        Inherited::Unix(listener) => {
            let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
            (UnixListener::from_std(listener)?.into(), Listen::Unix(path.unwrap_or_default()))
        }
    })
}

async fn bind(listen: &Listen) -> std::io::Result<(Listener, Listen)> {
    match listen {
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener.into(), Listen::Tcp(address)))
        }
        Listen::Unix(path) => {
            // What a larder that was killed left behind answers nobody and is in the way.
            if let Err(error) = UnixStream::connect(path).await
                && error.kind() == std::io::ErrorKind::ConnectionRefused
            {
                std::fs::remove_file(path)?;
            }
            let listener = UnixListener::bind(path)?;
            // As open as a port of the loopback, whatever the umask: the proxy is another user. The mode
            // of its folder can say less.
            std::fs::set_permissions(path, Permissions::from_mode(0o666))?;
            Ok((listener.into(), listen.clone()))
        }
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// Finds the repositories, then prints two commands that work as pasted.
fn greet(archive: &GitArchive, base: &Base) {
    let repositories = archive.discover();
    tracing::info!(repositories, "repositories found");
    let Some(head) = archive.example_revision() else {
        tracing::warn!("no repository with a commit is there yet; name one with --git");
        return;
    };
    let url = base.url(&format!("/vault/revision/{head}"));
    let _ = super::print(&format!(
        "\nTo cook the newest revision of a repository here and fetch it:\n  \
         curl -X POST {url}\n  \
         curl -f -OJ -H 'Prefer: wait=60' {url}\n"
    ));
}
