//! SIGHUP: the settings are read again, and those that can change in a running server do.
//!
//! All or nothing: settings that cannot be read or used leave the old ones in force. Who reads a
//! setting gets it from one place that is swapped whole, so nobody sees half of a change.

use super::rooms;
use crate::config::Settings;
use crate::kitchen::{Orders, Workers};
use crate::origins::Repositories;

/// The settings in force from now on; `None` when they are as before.
pub(super) fn reload(
    current: &Settings,
    read: &impl Fn() -> anyhow::Result<Settings>,
    workers: Option<&mut Workers>,
    (orders, repositories): (&Orders, &Repositories),
) -> Option<Settings> {
    match apply(current, read, workers, (orders, repositories)) {
        Ok(next) => {
            tracing::info!("the settings were read again");
            Some(next)
        }
        Err(error) => {
            tracing::error!("the settings stay as they are: {error:#}");
            None
        }
    }
}

fn apply(
    current: &Settings,
    read: &impl Fn() -> anyhow::Result<Settings>,
    workers: Option<&mut Workers>,
    (orders, repositories): (&Orders, &Repositories),
) -> anyhow::Result<Settings> {
    let (next, kept) = keep_what_is_fixed(current, read()?);
    // What may fail comes first.
    let same = (&next.git, &next.follow_links) == (&current.git, &current.follow_links);
    let archive = if same { None } else { Some(rooms::archive(&next)?) };
    super::log::set(&next.log)?;
    for name in kept {
        tracing::warn!("{name} stays as it is until larder is started anew");
    }
    if let Some(archive) = archive {
        repositories.replace((*archive).clone());
        orders.set_archive(rooms::with_fetched(&next, archive, orders.bundles(), orders.room())?);
    }
    match workers {
        Some(workers) => workers.set_limits(rooms::limits(&next)),
        None => orders.set_limits(rooms::limits(&next)),
    }
    Ok(next)
}

/// `next` with what cannot change as it is, and the names of what would have.
fn keep_what_is_fixed(current: &Settings, mut next: Settings) -> (Settings, Vec<&'static str>) {
    let mut kept = Vec::new();
    macro_rules! fixed {
        ($($name:ident)*) => {
            $(if next.$name != current.$name {
                kept.push(stringify!($name));
                next.$name.clone_from(&current.$name);
            })*
        };
    }
    fixed! {
        data listen metrics_listen root_path mode role local_origins access_log stop_grace
        max_connections max_connections_per_address archiver
        upstream upstream_max_size upstream_timeout upstream_at_once
    }
    (next, kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Raw;

    fn settings(text: &str) -> Settings {
        let text = format!("{text}\npublic_url = \"http://a.example\"");
        Settings::new(toml::from_str::<Raw>(&text).unwrap()).unwrap()
    }

    #[test]
    fn what_is_fixed_is_named_and_kept_and_the_rest_is_new() {
        let current = settings("data = \"/a\"\nmax_size = \"1GiB\"");
        let read = settings("data = \"/b\"\nmax_size = \"2GiB\"\nlisten = \"[::1]:1\"\nmode = \"read-only\"");
        let (next, kept) = keep_what_is_fixed(&current, read);
        assert_eq!(kept, ["data", "listen", "mode"]);
        assert_eq!((&next.data, next.max_size), (&current.data, Some(2 << 30)));
        assert_eq!(next.listen, current.listen);
    }
}
