//! The command line: one file a command. Owns parsing, dispatch and exit codes; every command is a
//! thin caller of the rooms below.
//!
//! Exit codes: 0 done; 1 it failed, and the reason is on standard error; 2 the command line is
//! wrong; 3 what was named is not there. What else `block`, `fsck`, `gc`, `get`, `origin visit` and
//! `verify` mean by theirs stands in the help of each.

mod archiver;
mod backup;
mod block;
mod cook;
mod fsck;
mod gc;
mod get;
mod list;
mod log;
mod man;
mod migrate;
mod named;
mod origin;
mod output;
mod pin;
mod reload;
mod remove;
mod rooms;
mod serve;
mod shown;
mod status;
mod systemd;
mod verify;

use crate::config::{Raw, Settings};
use crate::escaped::{self, Escaped, Lines};
use crate::key::{BundleKey, Format, ParseError};
use clap::{ArgMatches, FromArgMatches, Parser, Subcommand};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Where settings are read from when no file is named and this one is there.
const DEFAULT_CONFIG: &str = "/etc/larder/larder.toml";

/// A content-addressed cache of source-code bundles
///
/// larder cooks a bundle of a directory, a revision, a release, a snapshot or a content from the objects
/// of git repositories once: a tarball, a zip, a bare repository, a git bundle. It keeps the bundle as a
/// static file keyed by sha1git, and serves it over HTTP with ETag and Range. The bytes of a tarball or a
/// zip depend on nothing but the object.
///
/// Every setting is a flag, a variable (LARDER_MAX_SIZE) or a key of larder.toml (max_size), in this
/// order of precedence; `larder config` prints what is in force.
#[derive(Parser)]
#[command(name = "larder", version, max_term_width = 100)]
struct Cli {
    /// File of settings [default: /etc/larder/larder.toml, where it exists]
    #[arg(long, env = "LARDER_CONFIG", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Raw,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve bundles over HTTP, and cook what is asked for
    Serve,
    /// Cook a bundle now
    Cook(cook::Args),
    /// List the bundles that are there
    List(list::Args),
    /// Say where a bundle stands
    Status(status::Args),
    /// Remove bundles from the store
    ///
    /// What is asked for again is cooked again. A bundle that is pinned stays, and so does another name of its file.
    ///
    /// Exit codes: 0 all are gone; 1 it failed; 3 one was not there; 4 one is pinned.
    Remove(remove::Args),
    /// Collect bundles, least recently used first, until the limits hold
    ///
    /// The limits are --max-size, --min-free and --max-idle. What is pinned or was used within --grace
    /// stays, whatever the limits.
    ///
    /// Exit codes: 0 the limits hold now; 1 it failed; 4 they cannot hold, for all that is left is
    /// pinned or was used within the grace; 5 over half of the store would go because of --max-idle
    /// alone, and --force was not given: nothing was removed; 6 another collection is running.
    Gc(gc::Args),
    /// Compare the catalogue with the files, and put right what is wrong
    ///
    /// Without --repair nothing is changed. Runs beside `larder serve`, and may be killed at any moment.
    ///
    /// Exit codes: 0 nothing is wrong, or no more; 1 it failed; 4 something is wrong: --repair was not
    /// given, or could not put all of it right; 6 another fsck is running.
    Fsck(fsck::Args),
    /// Mirror git repositories by URL, to cook from them
    Origin(origin::Args),
    /// Keep bundles from being collected
    Pin(pin::Args),
    /// Let bundles be collected again
    Unpin(pin::Args),
    /// Block an object: its bundles and all that hold it are removed, and never cooked again
    ///
    /// The object is gone at once for whoever asks larder (451); then every bundle is looked through,
    /// in the archives or, where those no longer have its objects, in its own bytes, and removed, pinned
    /// or not, if it holds the object.
    ///
    /// Exit codes: 0 no bundle holds the object; 1 it failed; 4 some bundles, which are listed, could
    /// not be checked.
    Block(block::Args),
    /// Lift a block; what failed because of one can be cooked again
    Unblock(block::UnblockArgs),
    /// Copy the catalogue into a file, while larder runs
    Backup(backup::Args),
    /// Bring the catalogue to this version of larder
    Migrate,
    /// Get a bundle from a server: ask for it, wait for its cook, download it, verify it
    ///
    /// The server is not trusted: the ids are recomputed from the bytes that came. The file gets its name when they
    /// are right. What is downloaded lies in FILE.part until then, and a later run goes on from there; what fails to
    /// verify is kept as FILE.bad. With --extract the contents of the bundle's one top folder are put into DIR, which
    /// appears when it is whole. Proxies are taken from HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.
    ///
    /// Exit codes: 0 done; 1 a file or folder here cannot be written; 2 the command line is wrong; 3 the server has no
    /// such object; 4 the cook failed, or the server refuses it; 5 what came is not what was asked for; 6 the server
    /// cannot be reached, after all attempts; 7 the object is blocked there.
    Get(get::Args),
    /// Recompute the ids of all that is in a bundle, and compare them with a SWHID
    ///
    /// Neither a server nor a network is asked. The format is told from the name of the file or from its first bytes.
    ///
    /// Exit codes: 0 verified; 1 the file could not be read; 2 the command line is wrong; 4 the file is whole, but the
    /// bundle of another object; 5 the file is damaged, or not a bundle as larder writes it, or the proof is wrong.
    Verify(verify::Args),
    /// See and steer what is fetched from the archives of other forges
    Archiver(archiver::Args),
    /// Print the settings in force, as a larder.toml
    Config,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one a command into a directory
    Man {
        /// Directory to write the pages into
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl Cli {
    fn read(mut matches: ArgMatches) -> Result<Self, clap::Error> {
        Self::from_arg_matches_mut(&mut matches)
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = shown::parsed().try_get_matches().and_then(Cli::read).unwrap_or_else(|error| exit(&error));
    log::start();
    survive_file_size_limit();
    match run(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(words_of(&error));
            ExitCode::FAILURE
        }
    }
}

/// A write beyond the limit on the size of files (`ulimit -f`) is to fail like one on a full disk, and
/// not to end the process: any handler does that. Programs that larder runs have the default again.
fn survive_file_size_limit() {
    let handle = || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        // The handler stays when its listener and the runtime are gone.
        signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
    };
    if let Err(error) = handle() {
        tracing::warn!(%error, "a limit on the size of files would end this process");
    }
}

/// Ends the program as clap does, for help or because the command line is wrong. It shows what was
/// written, so it is asked once more with nothing in it that begins a line or steers a terminal.
fn exit(error: &clap::Error) -> ! {
    let shown = std::env::args_os().map(|arg| Escaped(arg.to_string_lossy()).to_string());
    match shown::parsed().try_get_matches_from(shown).and_then(Cli::read) {
        Err(error) => error.exit(),
        Ok(_) => error.exit(),
    }
}

/// There is no such bundle.
const NO_SUCH_BUNDLE: u8 = 3;

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let raw = || raw(cli.config.as_deref(), cli.settings.clone());
    let read = || Settings::new(raw()?);
    let settings = || {
        let settings = read()?;
        log::set(&settings.log)?;
        anyhow::Ok(settings)
    };
    match cli.command {
        Command::Serve => serve::run(&settings()?, read).map(|()| ExitCode::SUCCESS),
        Command::Cook(args) => cook::run(&settings()?, &args).map(|()| ExitCode::SUCCESS),
        Command::List(args) => list::run(&settings()?, &args).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status::run(&settings()?, &args).map(known),
        Command::Remove(args) => remove::run(&settings()?, &args),
        Command::Gc(args) => gc::run(&settings()?, &args),
        Command::Fsck(args) => fsck::run(&settings()?, &args),
        Command::Origin(args) => origin::run(&settings()?, &args),
        Command::Pin(args) => pin::run(&settings()?, &args, true).map(known),
        Command::Unpin(args) => pin::run(&settings()?, &args, false).map(known),
        Command::Block(args) => block::run(&settings()?, &args),
        Command::Unblock(args) => block::unblock(&settings()?, &args).map(known),
        Command::Backup(args) => backup::run(&settings()?, &args).map(|()| ExitCode::SUCCESS),
        Command::Migrate => migrate::run(&settings()?).map(|()| ExitCode::SUCCESS),
        // Neither a store nor a home is needed for it.
        Command::Get(args) => get::run(raw()?.server, &args),
        Command::Verify(args) => verify::run(&args),
        Command::Archiver(args) => archiver::run(&settings()?, &args).map(known),
        Command::Config => print(&settings()?.to_toml()?).map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut shown::printed(), "larder", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { out } => man::run(shown::printed(), out.as_deref()).map(|()| ExitCode::SUCCESS),
    }
}

fn known(found: bool) -> ExitCode {
    if found { ExitCode::SUCCESS } else { NO_SUCH_BUNDLE.into() }
}

/// What was written, flags over the file.
fn raw(config: Option<&Path>, flags: Raw) -> anyhow::Result<Raw> {
    let file = match config {
        Some(path) => Raw::from_file(path)?,
        None if Path::new(DEFAULT_CONFIG).exists() => Raw::from_file(Path::new(DEFAULT_CONFIG))?,
        None => Raw::default(),
    };
    Ok(flags.over(file))
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(write!(std::io::stdout().lock(), "{}", Lines(text))?)
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", escaped::json(&serde_json::to_string(value)?)))
}

/// Says on standard error what went wrong.
fn complain(words: impl Display) {
    eprintln!("larder: {}", Lines(words));
}

/// An error and its causes. What is wrong in a file of settings is shown in lines of its own; all else,
/// which may hold names from outside, is one line.
fn words_of(error: &anyhow::Error) -> String {
    let words = error.chain().map(|cause| match cause.downcast_ref::<toml::de::Error>() {
        Some(cause) => cause.to_string(),
        None => Escaped(cause).to_string(),
    });
    words.collect::<Vec<_>>().join(": ")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A bundle as the command line names it: `swh:1:dir:<id>`, `directory/<id>` or
/// `directory/<id>.tar`, with git's words for kinds, capitals and qualifiers as people write them.
fn parse_bundle(text: &str) -> Result<BundleKey, ParseError> {
    BundleKey::from_name(text).map(|(key, _)| key)
}

/// The format that the name of a bundle, or its URL, says; none where its kind's default is meant.
fn format_said(text: &str) -> Option<Format> {
    let name = text.rsplit_once("/vault/").map_or(text, |(_, name)| name.split('?').next().unwrap_or_default());
    BundleKey::from_name(name).ok().filter(|(_, says_format)| *says_format).map(|(key, _)| key.format())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        shown::parsed().debug_assert();
        shown::printed().debug_assert();
    }

    #[test]
    fn a_bundle_is_named_by_swhid_or_by_key() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let key: BundleKey = format!("directory/{id}").parse().unwrap();
        for text in [format!("swh:1:dir:{id}"), format!("directory/{id}"), format!("directory/{id}.tar.gz")] {
            assert_eq!(parse_bundle(&text), Ok(key), "{text}");
        }
        assert_eq!(parse_bundle("HEAD"), Err(ParseError::Key));
    }

    #[test]
    fn a_format_is_said_only_where_the_name_ends_in_it() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        for (text, said) in [
            (format!("directory/{id}.zip"), Some(Format::Zip)),
            (format!("https://example.org/vault/snapshot/{id}.git.tar"), Some(Format::GitTar)),
            (format!("directory/{id}"), None),
            (format!("https://example.org/vault/directory/{id}"), None),
            (format!("https://example.org/vault/directory/{id}.zip?filename=x.zip"), Some(Format::Zip)),
            (format!("swh:1:dir:{id}"), None),
            (format!("swh:1:dir:{id};path=/a.zip"), None),
            (format!("swh:1:rev:{id}.zip;path=/a"), Some(Format::Zip)),
            (format!("tree/{id}.tgz"), Some(Format::TarGz)),
        ] {
            assert_eq!(format_said(&text), said, "{text}");
        }
    }
}
