//! `larder cook`: cooks one bundle in this process, now, beside whatever a server does. The
//! catalogue sees to it that both together cook it once.

use super::named::Named;
use super::{output, parse_bundle, rooms};
use crate::bodies::status_body;
use crate::bundle::Status;
use crate::config::Settings;
use crate::cook::Unit;
use crate::key::{BundleKey, Format, ObjectKind};
use crate::kitchen::{Cooks, OrderError, Orders};
use crate::origins::Repositories;
use crate::time::Timestamp;
use anyhow::{Context, bail};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the progress bar moves, and how often a cook of another process is looked at.
const TICK: Duration = Duration::from_millis(100);

const BYTES: &str = "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}";
const OBJECTS: &str = "{msg} {bar:30} {human_pos}/{human_len} objects";
const WALKING: &str = "{spinner} {msg} {bytes}";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundle: swh:1:dir:ID, directory/ID or directory/ID.zip
    #[arg(required_unless_present = "origin")]
    bundle: Option<String>,
    #[command(flatten)]
    named: Named,
    /// Format of the bundle [default: that of the name of FILE; else tar.gz, of a snapshot git.tar, of a file raw]
    #[arg(long, value_name = "EXT")]
    format: Option<Format>,
    /// Also write the bundle to this file, in the format that its name ends in; - is standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the status body as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<()> {
    let (bundle, format) = match wanted(args) {
        Ok(wanted) => wanted,
        Err(error) => clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error:#}\n")).exit(),
    };
    let archive = rooms::archive(settings)?;
    archive.wait_for_scans();
    let orders = rooms::orders(settings, Arc::clone(&archive))?;
    orders.recover();
    let locals = || rooms::locals(settings, &Repositories::new((*archive).clone()), orders.bundles().catalogue());
    let key = match args.named.key(settings, &orders, locals(), format)? {
        Some(key) => key,
        None => bundle.context("because clap asks for one or the other")?,
    };
    let ordered = match orders.order_anew(&key) {
        // No archive holds a snapshot: it is known once somebody has looked at its repository.
        Err(OrderError::NotFound) if key.kind() == ObjectKind::Snapshot => {
            if locals().look_for(&key.id(), &Timestamp::now)? {
                orders.order_anew(&key)
            } else {
                Err(OrderError::NotFound)
            }
        }
        ordered => ordered,
    };
    match ordered {
        Ok(_) => {}
        Err(OrderError::NotFound) if settings.git.is_empty() => {
            bail!("no archive has {}: name a repository with --git", key.swhid())
        }
        Err(OrderError::NotFound) => bail!("no archive has {}", key.swhid()),
        Err(error) => return Err(error).with_context(|| format!("cannot cook {key}")),
    }
    cook(&orders, &key)?;
    if let Some(output) = &args.output {
        copy(&orders, &key, output)?;
    }
    let bundle = orders.look_up_and_heal(&key)?;
    if args.json {
        super::print_json(&status_body(&key, bundle.as_ref(), None, &super::list::base(settings)))
    } else if args.output.as_deref() == Some(Path::new("-")) {
        Ok(())
    } else {
        let size = bundle.and_then(|bundle| bundle.file).map_or(0, |file| file.size);
        let place = args.output.clone().unwrap_or_else(|| orders.bundles().path(&key));
        super::print(&format!("{key} {} {}\n", ByteSize(size), place.display()))
    }
}

/// The bundle that the command line names, if it names one, and the format that it or the name of the file says.
fn wanted(args: &Args) -> anyhow::Result<(Option<BundleKey>, Option<Format>)> {
    let output = args.output.as_deref();
    output::is_stdout(output)?;
    let said = args.format.or_else(|| super::format_said(args.bundle.as_deref()?));
    let format = output::wanted(said, output)?;
    let Some(bundle) = &args.bundle else { return Ok((None, format)) };
    let key = parse_bundle(bundle)?;
    Ok((Some(format.map_or(Ok(key), |format| BundleKey::new(key.kind(), key.id(), format))?), format))
}

/// Cooks until the bundle is done, here or in the process that was first.
fn cook(orders: &Orders, key: &BundleKey) -> anyhow::Result<()> {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| show_progress(orders, key, &ended));
        let result = loop {
            match Cooks::new(orders.clone()).cook_with_its_root(key) {
                Err(error) => break Err(error.into()),
                Ok(worked) => match orders.look_up_and_heal(key) {
                    Err(error) => break Err(error.into()),
                    Ok(None) => break Err(anyhow::anyhow!("{key} was removed while it was cooked")),
                    Ok(Some(bundle)) => match bundle.status {
                        Status::Done => break Ok(()),
                        Status::Failed => {
                            let failure = bundle.failure.map_or_else(String::new, |failure| failure.message);
                            break Err(anyhow::anyhow!("cannot cook {key}: {failure}"));
                        }
                        Status::New | Status::Pending if worked => {}
                        Status::New | Status::Pending => std::thread::sleep(TICK),
                    },
                },
            }
        };
        ended.store(true, Ordering::Release);
        result
    })
}

fn show_progress(orders: &Orders, key: &BundleKey, ended: &AtomicBool) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let style = |template| ProgressStyle::with_template(template).expect("because a test builds it from it");
    let bar = ProgressBar::new_spinner().with_style(style(WALKING)).with_message(key.swhid().to_string());
    while !ended.load(Ordering::Acquire) {
        if let Some(progress) = orders.any_progress() {
            if let Some(total) = progress.total {
                bar.set_style(style(match progress.unit {
                    Unit::Bytes => BYTES,
                    Unit::Objects => OBJECTS,
                }));
                bar.set_length(total);
            }
            bar.set_position(progress.done);
            bar.tick();
        }
        std::thread::sleep(TICK);
    }
    bar.finish_and_clear();
}

/// Copies the bundle out of the store; a file takes its name when it is whole.
fn copy(orders: &Orders, key: &BundleKey, output: &Path) -> anyhow::Result<()> {
    let mut found = orders.bundles().open(key)?.with_context(|| format!("{key} was removed while it was copied"))?;
    if output == Path::new("-") {
        std::io::copy(&mut found.file, &mut std::io::stdout().lock())?;
        return Ok(());
    }
    let name = output.file_name().with_context(|| format!("{} names no file", output.display()))?;
    let mut part_name = name.to_owned();
    part_name.push(".part");
    let part = output.with_file_name(part_name);
    let mut write = || -> std::io::Result<()> {
        std::io::copy(&mut found.file, &mut File::create(&part)?)?;
        std::fs::rename(&part, output)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&part);
        anyhow::Error::new(error).context(format!("cannot write {}", output.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_the_progress_bar_are_legal() {
        for template in [BYTES, OBJECTS, WALKING] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
