//! `larder block` and `larder unblock`: objects that are gone, and never cooked again, alone or inside
//! another.
//!
//! The block is written first, so that from then on nothing new holds the object; then every bundle
//! there is, is asked whether it does. Broken off in between, the same command goes on: blocking what
//! is blocked already looks through the bundles again.

use super::rooms;
use crate::archive::Archive;
use crate::bundle::Bundle;
use crate::bundles::Bundles;
use crate::catalogue::Access;
use crate::config::Settings;
use crate::key::{BundleKey, Format, ObjectKind, Swhid};
use crate::store::Store;
use crate::sweep::{self, Answer, Search, Subject};
use crate::time::Timestamp;
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::HashSet;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Bundles are there of which it cannot be said whether they hold the object.
const NOT_ALL_CHECKED: u8 = 4;

/// Rows read at a time.
const PAGE: u32 = 1000;

const TEMPLATE: &str = "{msg} {bar:30} {pos}/{len}";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The object: swh:1:cnt:ID, swh:1:dir:ID, swh:1:rev:ID, swh:1:rel:ID or swh:1:snp:ID
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    object: Option<Swhid>,
    /// Why; clients that ask for the object see it
    #[arg(long, value_name = "TEXT", requires = "object")]
    reason: Option<String>,
    /// List what is blocked
    #[arg(long)]
    list: bool,
    /// Print what was done, or what is blocked, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(super) struct UnblockArgs {
    /// The object
    object: Swhid,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.object {
        Some(object) => block(settings, object, args),
        None => list(settings, args.json).map(|()| ExitCode::SUCCESS),
    }
}

/// Whether the object was blocked.
pub(super) fn unblock(settings: &Settings, args: &UnblockArgs) -> anyhow::Result<bool> {
    rooms::expect_catalogue(settings)?;
    let catalogue = rooms::catalogue_to_write(settings, Access::Write)?;
    let was = catalogue.unblock(&args.object)?;
    super::print(&format!("{} {}\n", args.object, if was { "is no longer blocked" } else { "was not blocked" }))?;
    Ok(was)
}

fn list(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let catalogue = rooms::read_catalogue(settings)?;
    let mut after = None;
    loop {
        let page = catalogue.blocks(after.as_ref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.swhid.id);
        for block in &page {
            let (object, at) = (block.swhid.to_string(), block.at.to_string());
            if json {
                super::print_json(&serde_json::json!({ "swhid": object, "at": at, "reason": block.reason }))?;
            } else {
                super::print(&format!("{object} {at} {}\n", block.reason.as_deref().unwrap_or_default()))?;
            }
        }
    }
}

/// What was done, as `--json` prints it.
#[derive(Default, Serialize)]
struct Done {
    swhid: String,
    /// False when it was blocked before.
    new: bool,
    removed: Vec<String>,
    unchecked: Vec<String>,
}

fn block(settings: &Settings, object: &Swhid, args: &Args) -> anyhow::Result<ExitCode> {
    if settings.git.is_empty() {
        tracing::warn!("no archive is named with --git: each bundle is looked through by its own bytes");
    }
    // The store first: it refuses the wrong user, and then nothing has been blocked.
    let store = Store::open(&settings.data).context("cannot open the store")?;
    let catalogue = rooms::catalogue_to_write(settings, Access::Write)?;
    let new = catalogue.block(object, args.reason.as_deref(), Timestamp::now())?;
    let mut done = Done { swhid: object.to_string(), new, ..Done::default() };
    if !args.json {
        super::print(&format!("{object} {}\n", if new { "is blocked" } else { "was blocked already" }))?;
    }
    let archive = rooms::archive(settings)?;
    let wanted = HashSet::from([object.id]);
    let (bundles, search) = (Bundles::new(store, catalogue), Search::new(archive.reader(), &wanted));
    let mut sweep = Sweep { bundles, search, wanted: &wanted };
    sweep.own_names(object)?;
    sweep.all(|key, removed| {
        let (list, word) = if removed {
            (&mut done.removed, "removed")
        } else {
            (&mut done.unchecked, "may hold it and cannot be checked:")
        };
        list.push(key.to_string());
        if args.json { Ok(()) } else { super::print(&format!("{word} {key}\n")) }
    })?;
    if args.json {
        super::print_json(&done)?;
    } else if !done.unchecked.is_empty() {
        super::print("`larder remove` takes away those that could not be checked\n")?;
    }
    Ok(if done.unchecked.is_empty() { ExitCode::SUCCESS } else { NOT_ALL_CHECKED.into() })
}

struct Sweep<'a> {
    bundles: Bundles,
    search: Search<'a>,
    wanted: &'a HashSet<crate::key::Sha1Git>,
}

impl Sweep<'_> {
    /// The files of the object itself go whether or not the catalogue knows of them.
    fn own_names(&self, object: &Swhid) -> anyhow::Result<()> {
        let mut strays = Vec::new();
        for key in Format::ALL.into_iter().filter_map(|format| BundleKey::new(object.kind, object.id, format).ok()) {
            if self.bundles.catalogue().bundle(&key)?.is_none() {
                strays.push(key);
            }
        }
        self.bundles.expel(&strays)?;
        Ok(())
    }

    /// Looks through all bundles; tells of each that was removed, or could not be checked.
    fn all(&mut self, mut tell: impl FnMut(&BundleKey, bool) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let bar = progress_bar(self.bundles.catalogue().totals()?.files);
        for kind in ObjectKind::ALL {
            let mut after = None;
            loop {
                let page = self.bundles.catalogue().list(kind, after, PAGE)?;
                let Some(last) = page.last() else { break };
                after = Some((last.key.id(), last.key.format()));
                for bundle in &page {
                    bar.inc(1);
                    match self.holds(bundle)? {
                        Some(false) => {}
                        Some(true) => {
                            self.remove(&bundle.key)?;
                            bar.suspend(|| tell(&bundle.key, true))?;
                        }
                        None => bar.suspend(|| tell(&bundle.key, false))?,
                    }
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Whether a bundle holds the object; `None` where that cannot be found out.
    fn holds(&mut self, bundle: &Bundle) -> anyhow::Result<Option<bool>> {
        let key = &bundle.key;
        let manifest = match key.kind() {
            ObjectKind::Snapshot => self.bundles.catalogue().snapshot(&key.id())?,
            ObjectKind::Content | ObjectKind::Directory | ObjectKind::Revision | ObjectKind::Release => None,
        };
        match self.search.holds(&Subject { key, manifest: manifest.as_ref() })? {
            Answer::Holds => return Ok(Some(true)),
            Answer::Free => return Ok(Some(false)),
            Answer::Unknown(missing) => tracing::debug!(%key, %missing, "looking into the file"),
        }
        // A row whose file is gone has nothing to hold it.
        let Some(found) = self.bundles.open(key)? else { return Ok(Some(false)) };
        match sweep::in_file(key, &found.file, |id| self.wanted.contains(id)) {
            Ok(true) => Ok(Some(true)),
            // What it was made from had other ids than what is in it.
            Ok(false) => Ok((!bundle.remarks.lossy).then_some(false)),
            Err(error) => {
                tracing::warn!(%key, %error, "a bundle is damaged");
                Ok(None)
            }
        }
    }

    fn remove(&self, key: &BundleKey) -> anyhow::Result<()> {
        self.bundles.expel(&[*key])?;
        if self.bundles.open(key)?.is_some() {
            bail!("{key} is there again: is it made by a larder of an earlier version?");
        }
        Ok(())
    }
}

fn progress_bar(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(TEMPLATE).expect("because a test builds it from the same constant");
    ProgressBar::new(length).with_style(style).with_message("looking through bundles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_progress_bar_is_legal() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
