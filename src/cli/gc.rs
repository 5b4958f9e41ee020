//! `larder gc`: collects until the limits hold. For cron and for people.

use super::rooms;
use crate::access::{self, log::Log};
use crate::bundles::Bundles;
use crate::catalogue::{Access, Catalogue};
use crate::config::Settings;
use crate::gc::{self, Limits, Plan, Removed, Stock};
use crate::members::{self, Duty};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use anyhow::Context;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

/// The limits do not hold: all that is left is pinned or was used within the grace.
const UNMET: u8 = 4;
/// Over half of the store would go because of age alone, and nobody said `--force`.
const REFUSED: u8 = 5;
/// Another collection is running.
const BUSY: u8 = 6;

/// How often a plan is made anew because something of it was left alone.
const ROUNDS: usize = 3;

const TEMPLATE: &str = "removing {bar:30} {pos}/{len} files";

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Remove over half of the store because of --max-idle alone, if it comes to that
    #[arg(long)]
    force: bool,
    /// Print the plan, and what was done, as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    rooms::expect_catalogue(settings)?;
    let limits = Limits { room: rooms::room_limits(settings), max_idle: settings.max_idle };
    let _lock;
    if !args.dry_run {
        let Some(lock) = members::alone(&settings.data, Duty::Collecting)? else {
            super::complain(format_args!("another collection is running in {}", settings.data.display()));
            return Ok(BUSY.into());
        };
        _lock = lock;
    }
    let (bundles, before) = open(settings, args, &limits)?;
    if !args.dry_run {
        read_log(settings, bundles.catalogue());
    }
    let (stock, plan) = plan(&bundles, &limits)?;
    let refused = plan.suspicious && !args.force;
    if !args.json {
        super::print(&describe(&stock, &plan, &limits))?;
    }
    let mut enough = plan.is_enough();
    let mut removed = None;
    if !args.dry_run && !refused {
        bundles.catalogue().relax()?;
        let (done, met) = collect(&bundles, &limits, &plan)?;
        enough = met;
        removed = Some(done.and(before));
    }
    if args.json {
        super::print_json(&as_json(&stock, &plan, &limits, removed.as_ref(), refused))?;
    } else if let Some(removed) = &removed {
        super::print(&said(removed))?;
    }
    if refused {
        eprintln!(
            "larder: over half of the store would go because of max_idle alone; the clock may have jumped: \
             look at the plan, then say --force"
        );
        return Ok(REFUSED.into());
    }
    Ok(if enough { ExitCode::SUCCESS } else { UNMET.into() })
}

/// Counts the hits that wait in the web server's log, unless a server that runs does. Where it cannot
/// be read collection goes on: a disk that fills up is worse than a bundle that is cooked again.
fn read_log(settings: &Settings, catalogue: &Catalogue) {
    let Some(path) = &settings.access_log else { return };
    let log = Log::new(path, &settings.root_path, &settings.data);
    if let Err(error) = access::log::catch_up(&log, catalogue, Timestamp::now()) {
        tracing::warn!("collecting without the latest hits: {error}");
    }
}

/// Carries out a plan; where something of it was used or pinned meanwhile, others go in its place.
/// Gives what was removed, and whether the limits hold now.
fn collect(bundles: &Bundles, limits: &Limits, first: &Plan) -> anyhow::Result<(Removed, bool)> {
    let mut removed = Removed::default();
    let mut next = first.clone();
    for _ in 0..ROUNDS {
        let bar = bar(next.victims.len());
        let done = gc::run(&next, bundles, |withdrawn, sofar| {
            drop(withdrawn);
            bar.set_position(sofar.files + sofar.passed_over);
        });
        bar.finish_and_clear();
        let done = done.context("cannot collect")?;
        removed = removed.and(done);
        if done.passed_over == 0 {
            return Ok((removed, next.is_enough()));
        }
        next = plan(bundles, limits)?.1;
        // A second look must not do what the first one would have refused.
        if next.victims.is_empty() || next.suspicious {
            break;
        }
    }
    Ok((removed, next.victims.is_empty() && next.is_enough()))
}

fn plan(bundles: &Bundles, limits: &Limits) -> anyhow::Result<(Stock, Plan)> {
    let (stock, catalogue) = (gc::stock(bundles)?, bundles.catalogue());
    let now = catalogue.moment(Timestamp::now())?;
    let plan = gc::plan(gc::candidates(catalogue, limits.room.policy), &stock, limits, now)?;
    Ok((stock, plan))
}

/// The bundles, and what had to go before they could be opened.
fn open(settings: &Settings, args: &Args, limits: &Limits) -> anyhow::Result<(Bundles, Removed)> {
    if args.dry_run {
        let store = Store::open_read_only(&settings.data).context("cannot open the store")?;
        let catalogue = Catalogue::open(&rooms::catalogue_path(settings), Access::Read)?;
        return Ok((Bundles::new(store, catalogue), Removed::default()));
    }
    let error = match open_to_write(settings) {
        Ok(bundles) => return Ok((bundles, Removed::default())),
        Err(error) => error,
    };
    if matches!(error.downcast_ref(), Some(StoreError::Owner { .. })) || !is_full(settings) {
        return Err(error);
    }
    tracing::warn!("no room to open the catalogue ({error:#}): deleting first");
    let first = delete_first(settings, args, limits)?;
    let bundles = open_to_write(settings)?;
    bundles.catalogue().relax()?;
    let removed = gc::run(&first, &bundles, |_, _| ()).context("cannot collect")?;
    Ok((bundles, removed))
}

fn open_to_write(settings: &Settings) -> anyhow::Result<Bundles> {
    let store = Store::open(&settings.data).context("cannot open the store")?;
    Ok(Bundles::new(store, rooms::catalogue_to_write(settings, Access::Write)?))
}

/// Whether the disk lacks the little room that opening takes.
fn is_full(settings: &Settings) -> bool {
    let free = Store::open_read_only(&settings.data).ok().and_then(|store| store.free().ok());
    free.is_some_and(|free| free.bytes < 1 << 20 || (free.total_inodes > 0 && free.inodes < 8))
}

/// Deletes what a plan begins with, and gives that part of the plan.
fn delete_first(settings: &Settings, args: &Args, limits: &Limits) -> anyhow::Result<Plan> {
    let store = Store::open_read_only(&settings.data).context("cannot open the store")?;
    let catalogue = Catalogue::open(&rooms::catalogue_path(settings), Access::Frozen)?;
    let bundles = Bundles::new(store, catalogue);
    let (_, mut plan) = plan(&bundles, limits)?;
    anyhow::ensure!(!plan.suspicious || args.force, "the disk is full, and most would go because of max_idle alone");
    gc::unlink_first(&mut plan, &bundles)?;
    Ok(plan)
}

fn bar(files: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(TEMPLATE).expect("because a test builds it from the same constant");
    ProgressBar::new(files as u64).with_style(style)
}

/// The plan for a person.
fn describe(stock: &Stock, plan: &Plan, limits: &Limits) -> String {
    let (room, free, asked) = (&limits.room, &stock.free, &plan.asked);
    let mut text = format!(
        "in the store  {} files, {}; free on the disk {} of {}\n",
        stock.files,
        ByteSize(stock.allocated),
        ByteSize(free.bytes),
        ByteSize(free.total_bytes)
    );
    let mut limit = |name: &str, value: String, over: u64, what: String| {
        let verdict = if over == 0 { "holds".to_owned() } else { what };
        let _ = writeln!(text, "{name:<12}  {value}: {verdict}");
    };
    let asks = |bytes| format!("asks for {}", ByteSize(bytes));
    if let Some(max_size) = room.max_size {
        limit("max_size", ByteSize(max_size).to_string(), asked.max_size, asks(asked.max_size));
    }
    let inodes = asked.min_free_inodes;
    let what = if inodes == 0 { asks(asked.min_free) } else { format!("{} and {inodes} inodes", asks(asked.min_free)) };
    limit("min_free", room.min_free.to_string(), asked.min_free.max(inodes), what);
    if let Some(max_idle) = limits.max_idle {
        let what = format!("asks for {} files", asked.max_idle);
        limit("max_idle", humantime::format_duration(max_idle).to_string(), asked.max_idle, what);
    }
    let _ = writeln!(text, "to remove     {} files, {}", plan.total.files, ByteSize(plan.total.bytes));
    if let (Some(oldest), Some(newest)) = (plan.oldest, plan.newest) {
        let _ = writeln!(text, "last used     {oldest} to {newest}");
    }
    if plan.pinned.files > 0 {
        let _ = writeln!(text, "pinned        {} files, {}", plan.pinned.files, ByteSize(plan.pinned.bytes));
    }
    if !plan.is_enough() {
        let grace = humantime::format_duration(room.grace);
        let why = if plan.reached_grace { format!("used within {grace}") } else { "pinned".to_owned() };
        let inodes = plan.missing_inodes;
        let _ =
            writeln!(text, "not met       by {} and {inodes} inodes: the rest is {why}", ByteSize(plan.missing_bytes));
    }
    text
}

fn said(removed: &Removed) -> String {
    let mut text =
        format!("removed       {} files ({} names), {}\n", removed.files, removed.names, ByteSize(removed.bytes));
    if removed.passed_over > 0 {
        let _ = writeln!(text, "left alone    {} files used or pinned meanwhile, or gone already", removed.passed_over);
    }
    text
}

fn as_json(stock: &Stock, plan: &Plan, limits: &Limits, removed: Option<&Removed>, refused: bool) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "store": { "files": stock.files, "allocated": stock.allocated },
        "disk": {
            "free": stock.free.bytes, "total": stock.free.total_bytes,
            "free_inodes": stock.free.inodes, "total_inodes": stock.free.total_inodes,
        },
        "policy": limits.room.policy.to_string(),
        "asked": {
            "max_size": plan.asked.max_size, "min_free": plan.asked.min_free,
            "min_free_inodes": plan.asked.min_free_inodes, "max_idle": plan.asked.max_idle,
        },
        "plan": {
            "files": plan.total.files, "bytes": plan.total.bytes,
            "oldest": time(plan.oldest), "newest": time(plan.newest),
            "by_age_alone": plan.by_age_alone.files,
            "pinned": plan.pinned.files,
        },
        "missing": { "bytes": plan.missing_bytes, "inodes": plan.missing_inodes },
        "refused": refused,
        "removed": removed.map(|removed| json!({
            "files": removed.files, "names": removed.names, "bytes": removed.bytes,
            "passed_over": removed.passed_over,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_progress_bar_is_legal() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
