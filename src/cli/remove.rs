//! `larder remove`: takes bundles out of the store. What is asked for again is cooked again.

use super::{parse_bundle, rooms};
use crate::catalogue::Access;
use crate::config::Settings;
use crate::key::BundleKey;
use crate::store::Store;
use anyhow::Context;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundles: swh:1:dir:ID, directory/ID or directory/ID.tar
    #[arg(required = true, value_parser = parse_bundle)]
    bundles: Vec<BundleKey>,
    /// Print {"removed": N} as JSON
    #[arg(long)]
    json: bool,
}

/// Whether every bundle named was there.
pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<bool> {
    // The catalogue first: it refuses where there is none, and then no folder has been made.
    rooms::read_catalogue(settings)?;
    let store = Store::open(&settings.data).context("cannot open the store")?;
    let catalogue = rooms::catalogue_to_write(settings, Access::Write)?;
    // Unlinked only when the transaction that forgot them is over.
    let mut withdrawn = Vec::new();
    let mut removed = 0;
    for batch in args.bundles.chunks(100) {
        removed += catalogue.remove(batch, |key| {
            withdrawn.extend(store.withdraw(key)?);
            Ok(())
        })?;
        withdrawn.clear();
    }
    if args.json {
        super::print_json(&serde_json::json!({ "removed": removed }))?;
    } else {
        super::print(&format!("removed {removed} of {}\n", args.bundles.len()))?;
    }
    Ok(removed == args.bundles.len() as u64)
}
