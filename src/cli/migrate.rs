//! `larder migrate`: brings the catalogue to this larder's version of the schema. `larder serve` does
//! the same when it starts; this says beforehand whether it will.

use super::rooms;
use crate::catalogue;
use crate::config::Settings;

pub(super) fn run(settings: &Settings) -> anyhow::Result<()> {
    let path = rooms::expect_catalogue(settings)?;
    let done = catalogue::migrate(&path)?;
    super::print(&if done.from == done.to {
        format!("{} is version {}: nothing to do\n", path.display(), done.to)
    } else {
        format!("{} was version {} and is version {} now\n", path.display(), done.from, done.to)
    })
}
