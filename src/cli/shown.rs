//! Which settings the help of a command shows. Every setting is taken on every command, before or behind
//! its name; shown are, under a heading of their own and behind the command's own options, those that
//! change what it does. `larder serve --help` shows them all.
//!
//! Two trees are made of the declarations: [`parsed`], by which the command line is read and `--help` is
//! written, where the other settings are hidden; and [`printed`], for manual pages and completions, which
//! would write hidden options out, where they are not there at all.

use super::Cli;
use crate::config::Raw;
use clap::{Arg, Args, Command, CommandFactory};

/// The heading that settings stand under.
const HEADING: &str = "Settings";

/// Behind all that a command declares itself.
const BEHIND: usize = 1000;

/// The settings that every command which opens a store has.
const PLACES: &[&str] = &["config", "data"];

/// What bounds a cook.
const COOKING: &[&str] = &["cook_threads", "max_bundle_size", "cook_timeout", "gitfast_lossy"];

/// What a collection keeps to.
const COLLECTING: &[&str] = &["max_size", "min_free", "max_idle", "grace", "policy"];

/// Which settings a command shows.
enum Shown {
    None,
    These(&'static [&'static [&'static str]]),
    All,
}

fn shown(command: &str) -> Shown {
    match command {
        "serve" | "config" => Shown::All,
        "get" | "verify" | "completions" | "man" | "help" => Shown::None,
        "cook" => Shown::These(&[PLACES, &["git", "follow_links"], COOKING, COLLECTING]),
        "gc" => Shown::These(&[PLACES, COLLECTING, &["access_log"]]),
        "origin" => Shown::These(&[
            PLACES,
            &[
                "git",
                "follow_links",
                "origin_transports",
                "origin_private",
                "origin_timeout",
                "origin_max_size",
                "local_origins",
            ],
        ]),
        "list" | "status" => Shown::These(&[PLACES, &["public_url"]]),
        "larder" | "block" | "fsck" => Shown::These(&[PLACES, &["git", "follow_links"]]),
        _ => Shown::These(&[PLACES]),
    }
}

impl Shown {
    fn has(&self, setting: &str) -> bool {
        match self {
            Self::None => false,
            Self::These(lists) => lists.iter().any(|list| list.contains(&setting)),
            Self::All => true,
        }
    }
}

/// The settings as arguments, with `--config` before them.
fn settings() -> Vec<Arg> {
    let whole = Cli::command();
    let config = whole.get_arguments().find(|arg| arg.get_id() == "config").cloned();
    config.into_iter().chain(Raw::augment_args(Command::new("")).get_arguments().cloned()).collect()
}

/// The command line as it is read, with the help of each command.
pub(super) fn parsed() -> Command {
    let mut whole = Cli::command();
    // Gives the settings to each command.
    whole.build();
    let order: Vec<String> = settings().iter().map(|arg| arg.get_id().to_string()).collect();
    show(whole, &order, "larder")
}

fn show(command: Command, order: &[String], family: &str) -> Command {
    let wanted = shown(family);
    let command = command.mut_args(|arg| match order.iter().position(|id| arg.get_id() == id.as_str()) {
        Some(place) => {
            let hidden = !wanted.has(arg.get_id().as_str());
            arg.help_heading(HEADING).display_order(BEHIND + place).hide(hidden)
        }
        None => arg,
    });
    // What a command's commands show is what it shows itself.
    command.mut_subcommands(|sub| {
        let family = if family == "larder" { sub.get_name().to_owned() } else { family.to_owned() };
        show(sub, order, &family)
    })
}

/// The command line as manual pages and completions have it: each command with what it shows.
pub(super) fn printed() -> Command {
    let settings: Vec<Arg> = settings()
        .into_iter()
        .enumerate()
        .map(|(place, arg)| arg.global(false).help_heading(HEADING).display_order(BEHIND + place))
        .collect();
    let bare = Cli::command().mut_args(|arg| {
        let is_setting = settings.iter().any(|setting| setting.get_id() == arg.get_id());
        if is_setting { arg.global(false).help_heading(HEADING).display_order(BEHIND) } else { arg }
    });
    // Those of the root cannot be taken away; they are all hidden but where it shows them.
    let wanted = shown("larder");
    let bare = bare.mut_args(|arg| {
        let hidden =
            settings.iter().any(|setting| setting.get_id() == arg.get_id()) && !wanted.has(arg.get_id().as_str());
        if hidden { arg.hide(true) } else { arg }
    });
    // `larder help COMMAND` would write the tree of all commands out once more.
    let bare = bare.disable_help_subcommand(true);
    bare.mut_subcommands(|sub| {
        let family = sub.get_name().to_owned();
        add(sub, &settings, &family)
    })
}

fn add(command: Command, settings: &[Arg], family: &str) -> Command {
    let wanted = shown(family);
    let command = command.disable_help_subcommand(true).mut_subcommands(|sub| add(sub, settings, family));
    if command.has_subcommands() {
        return command;
    }
    command.args(settings.iter().filter(|setting| wanted.has(setting.get_id().as_str())).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn help(command: &str, long: bool) -> String {
        let mut whole = parsed();
        let command = whole.find_subcommand_mut(command).unwrap();
        let help = if long { command.render_long_help() } else { command.render_help() };
        help.to_string()
    }

    #[test]
    fn a_commands_own_options_come_before_the_settings() {
        for command in ["serve", "cook", "gc", "list", "fsck"] {
            let help = help(command, false);
            let (own, settings) = help.split_once("\nSettings:\n").expect(command);
            assert!(own.contains("--help"), "{help}");
            assert!(settings.contains("--data <DIR>") && !own.contains("--data"), "{help}");
        }
        assert!(help("gc", false).contains("--max-size"));
        assert!(!help("gc", true).contains("--listen"));
        assert!(!help("verify", true).contains("--data"));
    }

    #[test]
    fn every_setting_is_taken_on_every_command_shown_or_not() {
        for line in [
            &["larder", "gc", "--listen", "127.0.0.1:1", "--data", "/d"][..],
            &["larder", "--data", "/d", "gc"],
            &["larder", "verify", "x", "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904", "--data", "/d"],
            &["larder", "origin", "list", "--data", "/d"],
        ] {
            let cli = Cli::read(parsed().try_get_matches_from(line).unwrap()).unwrap();
            assert_eq!(cli.settings.data.as_deref(), Some(std::path::Path::new("/d")), "{line:?}");
        }
    }

    #[test]
    fn manual_pages_explain_every_option() {
        fn look(command: &Command, pages: &mut usize) {
            let mut page = Vec::new();
            clap_mangen::Man::new(command.clone()).render(&mut page).unwrap();
            let page = String::from_utf8(page).unwrap();
            let mut lines = page.lines();
            while let Some(line) = lines.next() {
                if line == ".TP" {
                    let option = lines.next().unwrap();
                    let words = lines.next().unwrap_or_default();
                    assert!(
                        !words.is_empty() && !words.starts_with('.'),
                        "{}: {option}: {words:?}",
                        command.get_name()
                    );
                }
            }
            *pages += 1;
            command.get_subcommands().for_each(|sub| look(sub, pages));
        }
        let (mut whole, mut pages) = (printed(), 0);
        whole.build();
        look(&whole, &mut pages);
        assert!(pages > 25, "{pages}");
    }

    #[test]
    fn completions_are_not_many_times_the_settings() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut printed(), "larder", &mut script);
            assert!(script.len() < 70_000, "{shell}: {}", script.len());
        }
    }

    /// The defaults are written into the help by hand, for a flag that is not given must not hide the file's value.
    #[test]
    fn the_defaults_in_the_help_are_those_in_force() {
        let in_force = Settings::new(toml::from_str("data = \"/d\"").unwrap()).unwrap().to_toml().unwrap();
        let in_force: toml::Table = in_force.parse().unwrap();
        let mut compared = 0;
        for arg in settings() {
            let Some(value) = in_force.get(arg.get_id().as_str()) else { continue };
            let words = arg.get_help().expect("because each has a comment").to_string();
            if matches!(arg.get_id().as_str(), "data" | "workers" | "cook_threads" | "git") {
                continue;
            }
            let value = match value {
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(list) => list.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>().join(","),
                other => other.to_string(),
            };
            let value = match value.strip_suffix('B').and_then(|bytes| bytes.parse().ok()) {
                Some(bytes) => bytesize::ByteSize(bytes).to_string().replace(".0 ", ""),
                None if value.is_empty() => "none".to_owned(),
                None => value,
            };
            assert!(words.ends_with(&format!("[default: {value}]")), "{}: {words} is {value}", arg.get_id());
            compared += 1;
        }
        assert!(compared > 15, "{compared}");
    }
}
