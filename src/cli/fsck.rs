//! `larder fsck`: compares the catalogue with the files. For cron and for people.

use super::rooms;
use crate::bundles::Bundles;
use crate::catalogue::{Access, Catalogue};
use crate::config::Settings;
use crate::escaped::Escaped;
use crate::fsck::{self, Event, Fault, Finding, Order, Report};
use crate::members::{self, Duty};
use crate::store::{Met, Store};
use crate::time::Timestamp;
use anyhow::Context;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Something is wrong still.
const NOT_WELL: u8 = 4;
/// Another check is running.
const BUSY: u8 = 6;

/// The most findings that `--json` lists; all are counted.
const LISTED: usize = 1000;

/// How often a check says how far it is where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

const TEMPLATE: &str = "checking {bar:30} {pos}/{len} files, {msg} read";

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Args {
    /// Put right what is wrong
    #[arg(long)]
    repair: bool,
    /// Read every byte of every bundle, and compare its digests
    #[arg(long)]
    deep: bool,
    /// With --repair: delete files that nothing shows to be what their names say, instead of moving them into
    /// quarantine, and contents from there too once they are old
    #[arg(long, requires = "repair")]
    delete_unproven: bool,
    /// With --repair: delete the bundles of other versions of the layout
    #[arg(long, requires = "repair")]
    remove_other_layouts: bool,
    /// Print what was found as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    expect_larder(settings, args.repair)?;
    let (store, before) = open(settings, args.repair)?;
    let Some(_lock) = members::alone(&settings.data, Duty::Checking)? else {
        super::complain(format_args!("another fsck is running in {}", settings.data.display()));
        return Ok(BUSY.into());
    };
    let catalogue = Catalogue::open(&rooms::catalogue_path(settings), Access::Write)?;
    if args.repair {
        catalogue.relax()?;
    }
    let order = Order {
        repair: args.repair,
        deep: args.deep,
        delete_unproven: args.delete_unproven,
        other_layouts: args.remove_other_layouts,
        max_queue: settings.max_queue,
    };
    let files = catalogue.totals().map(|totals| totals.files).unwrap_or_default();
    let mut screen = Screen::new(args.json, files);
    let bundles = Bundles::new(store, catalogue);
    let report = fsck::check(&bundles, order, &before, &Timestamp::now, &mut |event| screen.show(&event));
    screen.bar.finish_and_clear();
    let report = report.context("cannot go on checking")?;
    if let Some(error) = screen.broken {
        return Err(error);
    }
    if args.json {
        super::print_json(&as_json(&report, &screen.listed))?;
    } else {
        super::print(&describe(&report, args.repair))?;
    }
    Ok(if report.is_well() { ExitCode::SUCCESS } else { NOT_WELL.into() })
}

/// A clear error where there is nothing to check.
fn expect_larder(settings: &Settings, repair: bool) -> anyhow::Result<()> {
    let data = settings.data.display();
    if !Catalogue::is_blank(&rooms::catalogue_path(settings))? {
        return Ok(());
    }
    anyhow::ensure!(
        settings.data.join("bundles").exists(),
        "there is no larder in {data} yet: `larder serve` makes one"
    );
    anyhow::ensure!(
        repair,
        "the catalogue in {data} is gone or empty: `larder fsck --repair` makes one of what the files tell"
    );
    Ok(())
}

/// The store, and what was wrong with its topmost folders before: opening it for writing sets their
/// modes.
fn open(settings: &Settings, repair: bool) -> anyhow::Result<(Store, Vec<Met>)> {
    let reading = Store::open_read_only(&settings.data);
    if !repair {
        return Ok((reading.context("cannot open the store")?, Vec::new()));
    }
    let before = reading.ok().and_then(|store| store.survey_top().ok()).unwrap_or_default();
    Ok((Store::open(&settings.data).context("cannot open the store")?, before))
}

/// What a person sees of a check under way.
struct Screen {
    bar: ProgressBar,
    /// Findings are kept for the object at the end instead of being printed.
    json: bool,
    listed: Vec<Finding>,
    files: u64,
    line_at: Instant,
    /// Why nothing more can be printed.
    broken: Option<anyhow::Error>,
}

impl Screen {
    fn new(json: bool, files: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let style =
                ProgressStyle::with_template(TEMPLATE).expect("because a test builds it from the same constant");
            ProgressBar::new(files).with_style(style)
        } else {
            ProgressBar::hidden()
        };
        Self { bar, json, listed: Vec::new(), files, line_at: Instant::now(), broken: None }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Found(finding) if self.json => {
                if self.listed.len() < LISTED {
                    self.listed.push((*finding).clone());
                }
            }
            Event::Found(finding) => {
                // A reader that went away does not end a repair in the middle.
                let printed = self.bar.suspend(|| super::print(&format!("{}\n", Escaped(&finding))));
                self.broken = self.broken.take().or(printed.err());
            }
            Event::Checked(progress) => {
                self.bar.set_position(progress.bundles);
                self.bar.set_message(ByteSize(progress.bytes).to_string());
                if self.bar.is_hidden() && self.line_at.elapsed() >= LINE_EVERY {
                    self.line_at = Instant::now();
                    let (bundles, bytes) = (progress.bundles, ByteSize(progress.bytes));
                    eprintln!("larder: checked {bundles} bundles of {} files, {bytes} read", self.files);
                }
            }
        }
    }
}

/// The sums, for a person.
fn describe(report: &Report, repair: bool) -> String {
    let mut text = format!("checked {} bundles", report.checked.bundles);
    if report.checked.bytes > 0 {
        let _ = write!(text, ", {} read", ByteSize(report.checked.bytes));
    }
    text.push('\n');
    for (fault, count) in &report.faults {
        let _ = write!(text, "{fault:<17} {}", count.found);
        if repair {
            let _ = write!(text, ", {} repaired", count.repaired);
        }
        text.push('\n');
    }
    if report.expired > 0 {
        let _ = writeln!(text, "deleted {} old entries of the quarantine", report.expired);
    }
    if report.empty_folders > 0 {
        let removed = if repair { ", removed" } else { "" };
        let _ = writeln!(text, "{:<17} {}{removed}", "empty folders", report.empty_folders);
    }
    text.push_str(match (report.is_well(), report.faults.is_empty()) {
        (true, true) => "clean\n",
        (true, false) => "clean now\n",
        (false, _) => "not clean\n",
    });
    text
}

fn as_json(report: &Report, listed: &[Finding]) -> Value {
    let found: u64 = report.faults.values().map(|count| count.found).sum();
    let faults: serde_json::Map<String, Value> = report
        .faults
        .iter()
        .map(|(fault, count)| {
            (fault.to_string(), json!({ "found": count.found, "repaired": count.repaired, "note": fault.is_note() }))
        })
        .collect();
    let findings: Vec<Value> = listed
        .iter()
        .map(|finding| {
            let fault: Fault = finding.fault;
            json!({
                "fault": fault.as_str(), "what": finding.what, "detail": finding.detail,
                "did": finding.did.as_str(),
                "why_not": match &finding.did { fsck::Did::Failed(why) => Some(why), _ => None },
            })
        })
        .collect();
    json!({
        "clean": report.is_well(),
        "checked": { "bundles": report.checked.bundles, "bytes": report.checked.bytes },
        "faults": faults,
        "findings": findings,
        "findings_left_out": found.saturating_sub(listed.len() as u64),
        "quarantine_deleted": report.expired,
        "empty_folders": report.empty_folders,
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
