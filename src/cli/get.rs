//! `larder get`: a bundle from another larder, verified. Owns the exit codes and what is shown; the
//! work is `get`'s.

use super::named::Named;
use super::output;
use crate::escaped::Escaped;
use crate::get::{self, GetError, Got, Order, Patience, Step, Target};
use crate::key::Format;
use anyhow::Context;
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

const BAR: &str = "{msg} {bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}";
const OBJECTS: &str = "{msg} {bar:30} {human_pos}/{human_len} objects";
const SPINNER: &str = "{spinner} {msg} {bytes}";
const WAITING: &str = "{spinner} {msg}";

/// Ended by SIGINT.
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The bundle: https://HOST/vault/directory/ID.tar.gz, or swh:1:dir:ID and --server
    #[arg(value_name = "URL|SWHID", required_unless_present = "origin")]
    bundle: Option<String>,
    #[command(flatten)]
    named: Named,
    /// URL of the server that is asked for a SWHID
    #[arg(long, env = "LARDER_SERVER", value_name = "URL")]
    server: Option<String>,
    /// File to keep the bundle in, in the format that its name ends in; - is standard output [default:
    /// the name that ?filename= of the URL says, else swh_1_dir_ID.tar.gz; none with --extract]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of the bundle
    #[arg(long, value_name = "EXT")]
    format: Option<Format>,
    /// Extract it into this folder, which is not there or is empty
    #[arg(long, value_name = "DIR")]
    extract: Option<PathBuf>,
    /// File with the certificates, PEM, of authorities that are trusted besides the system's
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Do not recompute the ids: the server is trusted
    #[arg(long)]
    no_verify: bool,
    /// Attempts one after the other that gain hardly a byte, before it gives up
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    attempts: u32,
    /// Longest time that the cook may take
    #[arg(long, value_name = "TIME", default_value = "1day", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Print what was got as JSON
    #[arg(long)]
    json: bool,
}

/// What was got, for programs.
#[derive(Serialize)]
struct Report<'a> {
    swhid: String,
    format: &'static str,
    file: Option<&'a Path>,
    folder: Option<&'a Path>,
    size: u64,
    resumed_from: u64,
    verified: bool,
}

pub(super) fn run(configured: Option<String>, args: &Args) -> anyhow::Result<ExitCode> {
    let server = args.server.clone().or(configured);
    let output = args.output.as_deref();
    let said = args.format.or_else(|| super::format_said(args.bundle.as_deref()?));
    let format = output::wanted(said, output).unwrap_or_else(|error| misused(&error.to_string()));
    let to_stdout = output::is_stdout(output).unwrap_or_else(|error| misused(&error.to_string()));
    let cacert = args.cacert.clone();
    let patience = Patience { attempts: args.attempts, cook: args.timeout, cacert, ..Patience::default() };
    let show = Show::new(args.quiet);
    let tell = |step: &Step<'_>| show.step(step);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let target = match (args.named.question(), &args.bundle) {
        (Some(question), _) => {
            let server = server.as_deref().map_or_else(|| Err(get::NO_SERVER.to_owned()), get::check_server);
            let server = server.unwrap_or_else(|words| misused(&words));
            let resolved = runtime.block_on(get::resolve(&server, &question, format, patience.clone(), &tell));
            match resolved {
                Ok(target) => target,
                Err(error) => {
                    show.end();
                    super::complain(Escaped(&error));
                    return Ok(code(&error).into());
                }
            }
        }
        (None, bundle) => {
            let bundle = bundle.as_deref().unwrap_or_default();
            Target::parse(bundle, server.as_deref(), format).unwrap_or_else(|words| misused(&words))
        }
    };
    // Standard output is given what was verified, and so not before.
    let aside = if to_stdout { Some(tempfile::tempdir().context("cannot make a temporary folder")?) } else { None };
    let file = match (&aside, &args.output) {
        (Some(aside), _) => Some(aside.path().join(target.key().file_name())),
        (None, Some(output)) => Some(output.clone()),
        (None, None) if args.extract.is_some() => None,
        (None, None) => Some(PathBuf::from(target.file_name())),
    };
    let order = Order { target, file, folder: args.extract.clone(), verify: !args.no_verify, patience };
    let got = runtime.block_on(async {
        tokio::select! {
            got = get::get(&order, &tell) => Some(got),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    show.end();
    match got {
        None => Ok(INTERRUPTED.into()),
        Some(Err(error)) => {
            super::complain(Escaped(&error));
            Ok(code(&error).into())
        }
        Some(Ok(got)) => report(args, &order, got).map(|()| ExitCode::SUCCESS),
    }
}

/// Ends the program as clap does where the command line is wrong.
fn misused(words: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{words}\n")).exit()
}

fn report(args: &Args, order: &Order, got: Got) -> anyhow::Result<()> {
    let key = order.target.key();
    if args.output.as_deref() == Some(Path::new("-")) {
        let path = order.file.as_deref().context("standard output has a file first")?;
        let mut file = std::fs::File::open(path).context("cannot open what was got")?;
        std::io::copy(&mut file, &mut std::io::stdout().lock())?;
        return Ok(());
    }
    if args.json {
        return super::print_json(&Report {
            swhid: key.swhid().to_string(),
            format: key.format().ext(),
            file: order.file.as_deref(),
            folder: order.folder.as_deref(),
            size: got.size,
            resumed_from: got.resumed_from,
            verified: order.verify,
        });
    }
    let place = order.folder.as_deref().or(order.file.as_deref()).unwrap_or(Path::new("-"));
    let verified = if order.verify { "verified" } else { "not verified" };
    super::print(&format!("{} {} {} {verified}\n", key.swhid(), ByteSize(got.size), place.display()))
}

/// As `--help` says.
fn code(error: &GetError) -> u8 {
    match error {
        GetError::Local { .. } => 1,
        GetError::NoSuchObject => 3,
        GetError::Cook(_) | GetError::Refused(_) => 4,
        GetError::Verify { .. } => 5,
        GetError::Network(_) => 6,
        GetError::Blocked(_) => 7,
    }
}

/// Shows the steps: a bar on a terminal, elsewhere a line when something new begins.
struct Show {
    bar: Option<ProgressBar>,
    quiet: bool,
    /// The last line.
    said: Mutex<String>,
}

impl Show {
    fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            // No frame of a full bar of nothing comes first.
            let bar = ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, quiet, said: Mutex::default() }
    }

    fn step(&self, step: &Step<'_>) {
        let mut template = BAR;
        let (words, done, total) = match step {
            Step::Cooking { message, done, total, objects } => {
                template = if *objects { OBJECTS } else { BAR };
                (format!("cooking: {message}"), *done, *total)
            }
            Step::Downloading { done, total } => ("downloading".to_owned(), *done, *total),
            Step::Verifying { done, total } => ("verifying".to_owned(), *done, *total),
            Step::Extracting => ("extracting".to_owned(), 0, None),
            Step::Again { why, after } => {
                let seconds = after.as_secs_f64();
                self.line(&format!("{why}; again in {seconds:.1} s"));
                return;
            }
        };
        let Some(bar) = &self.bar else { return self.line(&words) };
        if total.is_none() {
            template = if done > 0 { SPINNER } else { WAITING };
        }
        bar.set_style(ProgressStyle::with_template(template).expect(LEGAL));
        bar.set_length(total.unwrap_or(done));
        bar.set_position(done);
        bar.set_message(Escaped(words).to_string());
    }

    fn line(&self, words: &str) {
        let words = &*Escaped(words).to_string();
        if let Some(bar) = &self.bar {
            return bar.println(words);
        }
        let mut said = self.said.lock().expect("because nothing panics while holding it");
        if !self.quiet && *said != words {
            eprintln!("{words}");
            words.clone_into(&mut said);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

const LEGAL: &str = "because a test builds it from the same constant";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_the_progress_bar_are_legal() {
        for template in [BAR, OBJECTS, SPINNER, WAITING] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
