//! `larder remove`: takes bundles out of the store. What is asked for again is cooked again.

use super::{parse_bundle, rooms};
use crate::bundles::Bundles;
use crate::catalogue::Access;
use crate::config::Settings;
use crate::key::BundleKey;
use crate::store::Store;
use anyhow::Context;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundles: swh:1:dir:ID, directory/ID or directory/ID.tar
    #[arg(required = true, value_parser = parse_bundle)]
    bundles: Vec<BundleKey>,
    /// Print {"removed": N, "pinned": N} as JSON
    #[arg(long)]
    json: bool,
}

/// A bundle that was named is pinned, and stays.
const PINNED: u8 = 4;

/// Removes them; the exit code is the first of: one is pinned, one was not there, all is done.
pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    // The catalogue first: it refuses where there is none, and then no folder has been made.
    rooms::read_catalogue(settings)?;
    let store = Store::open(&settings.data).context("cannot open the store")?;
    let catalogue = rooms::catalogue_to_write(settings, Access::Write)?;
    let removed = Bundles::new(store, catalogue.clone()).remove(&args.bundles)?;
    let mut pinned = 0;
    if removed < args.bundles.len() as u64 {
        for key in &args.bundles {
            match catalogue.pin_on(key)? {
                Some(pin) if pin == *key => eprintln!("larder: {key} is pinned: `larder unpin {key}` lets it go"),
                Some(pin) => eprintln!("larder: {key} has the same file as {pin}, which is pinned"),
                None => continue,
            }
            pinned += 1;
        }
    }
    if args.json {
        super::print_json(&serde_json::json!({ "removed": removed, "pinned": pinned }))?;
    } else {
        super::print(&format!("removed {removed} of {}\n", args.bundles.len()))?;
    }
    Ok(match (pinned, removed == args.bundles.len() as u64) {
        (0, true) => ExitCode::SUCCESS,
        (0, false) => super::NO_SUCH_BUNDLE.into(),
        _ => PINNED.into(),
    })
}
