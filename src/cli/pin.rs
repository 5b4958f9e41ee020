//! `larder pin` and `larder unpin`: what is pinned is never collected.

use super::{parse_bundle, rooms};
use crate::catalogue::Access;
use crate::config::Settings;
use crate::key::BundleKey;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundles: swh:1:dir:ID, directory/ID or directory/ID.tar
    #[arg(required = true, value_parser = parse_bundle)]
    bundles: Vec<BundleKey>,
}

/// Whether every bundle named was known.
pub(super) fn run(settings: &Settings, args: &Args, pinned: bool) -> anyhow::Result<bool> {
    rooms::expect_catalogue(settings)?;
    let catalogue = rooms::catalogue_to_write(settings, Access::Write)?;
    let mut all = true;
    for key in &args.bundles {
        let known = catalogue.pin(key, pinned)?;
        all &= known;
        super::print(&format!(
            "{key} {}\n",
            match (known, pinned) {
                (false, _) => "was never asked for",
                (true, true) => "is pinned",
                (true, false) => "is not pinned",
            }
        ))?;
    }
    Ok(all)
}
