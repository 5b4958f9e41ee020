//! `larder archiver`: what the Archiver fetched and is fetching, and what an operator does about it.
//!
//! A request is named as in its URL, `SOURCE/REPO/REV?suffix=zip`, or by a task of it.

use super::{list, rooms};
use crate::archiver::Archiver;
use crate::archiver::request;
use crate::archiver::source::Source;
use crate::catalogue::{Access, Catalogue, Placement, PlacementState, TaskOrder};
use crate::config::Settings;
use crate::escaped::Escaped;
use crate::store::Store;
use crate::task::{Alias, Fetched, State, Task, Wanted};
use crate::time::Timestamp;
use anyhow::{Context, bail};
use bytesize::ByteSize;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

/// How often the progress moves, and a fetch of another process is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often it is looked whether another process has put an archive into a region.
const ROUNDS: u32 = 100;

const TEMPLATE: &str = "{msg} {spinner} {bytes} {binary_bytes_per_sec}";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the newest tasks, or say all about one request
    Status {
        /// A task, or SOURCE/REPO/REV
        request: Option<String>,
        /// How many tasks to list
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
        /// JSON, an object a line
        #[arg(long)]
        json: bool,
    },
    /// Fetch an archive now, though it failed or is there already, and see that every region has it
    Retry {
        /// A task, or SOURCE/REPO/REV
        request: String,
        /// JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget what a request stands for, and its tasks; what was fetched stays a bundle
    Forget {
        /// A task, or SOURCE/REPO/REV
        request: String,
    },
    /// List the sources of the settings
    Sources {
        /// JSON, an object a line
        #[arg(long)]
        json: bool,
    },
}

/// Whether what was named is known.
pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<bool> {
    match &args.command {
        Command::Status { request: None, limit, json } => tasks(settings, *limit, *json).map(|()| true),
        Command::Status { request: Some(request), json, .. } => status(settings, request, *json),
        Command::Retry { request, json } => retry(settings, request, *json),
        Command::Forget { request } => forget(settings, request),
        Command::Sources { json } => sources(settings, *json).map(|()| true),
    }
}

fn sources(settings: &Settings, json: bool) -> anyhow::Result<()> {
    for (name, source) in &settings.archiver.sources {
        if json {
            let mut value = serde_json::to_value(source)?;
            value["name"] = Value::from(name.as_str());
            super::print_json(&value)?;
        } else {
            super::print(&line_of(source))?;
        }
    }
    Ok(())
}

fn line_of(source: &Source) -> String {
    let repos = source.repos.join(", ");
    format!("{}  {}\n    {}  repositories: {repos}\n", source.name, source.url, source.suffixes.join(", "))
}

fn tasks(settings: &Settings, limit: u32, json: bool) -> anyhow::Result<()> {
    for (_, task, alias) in rooms::read_catalogue(settings)?.tasks(None, limit)? {
        if json {
            super::print_json(&body(Some(&task), &alias))?;
        } else {
            let why = task.fault.map_or_else(String::new, |fault| format!("  {}: {}", fault.code, fault.message));
            let line = format!("{}  {:<7} {}{why}", task.id, task.state, alias.wanted.url);
            super::print(&format!("{}\n", Escaped(line)))?;
        }
    }
    Ok(())
}

fn status(settings: &Settings, request: &str, json: bool) -> anyhow::Result<bool> {
    let catalogue = rooms::read_catalogue(settings)?;
    let Some((task, alias)) = look_up(settings, &catalogue, request)? else { return Ok(false) };
    let placements = match &alias.fetched {
        Some(fetched) => catalogue.placements(&fetched.content)?,
        None => Vec::new(),
    };
    if json {
        let mut body = body(task.as_ref(), &alias);
        body["regions"] = placements.iter().map(region_body).collect();
        super::print_json(&body)?;
    } else {
        let regions: String = placements.iter().map(region_line).collect();
        let task = task.as_ref().map(|task| (task, task.state.as_str()));
        super::print(&(describe(task, &alias) + &regions))?;
    }
    Ok(true)
}

fn forget(settings: &Settings, request: &str) -> anyhow::Result<bool> {
    // Opened like a writer: only the owner of the data may.
    let _store = Store::open(&settings.data).context("cannot open the store")?;
    rooms::expect_catalogue(settings)?;
    let catalogue = rooms::catalogue_to_write(settings, Access::Write)?;
    let Some((_, alias)) = look_up(settings, &catalogue, request)? else { return Ok(false) };
    Ok(catalogue.forget_alias(&alias.wanted.key())?)
}

fn retry(settings: &Settings, request: &str, json: bool) -> anyhow::Result<bool> {
    let orders = rooms::orders(settings, rooms::archive(settings)?)?;
    let catalogue = orders.bundles().catalogue().clone();
    let wanted = if request.contains('/') {
        wanted(settings, request)?
    } else {
        let Some((_, alias)) = catalogue.task(request)? else { return Ok(false) };
        alias.wanted
    };
    let archiver = Archiver::new(settings.archiver.clone(), orders, &list::base(settings).url(""));
    archiver.recover();
    let id = match archiver.refetch(&wanted)? {
        TaskOrder::Queued(id) | TaskOrder::Already(id) => id,
        TaskOrder::QueueFull => bail!("too many archives wait to be fetched"),
    };
    catalogue.hurry_fetch(&id, Timestamp::now())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (task, alias) = runtime.block_on(ended(&archiver, &catalogue, &id))?;
    let (mut placements, mut lacking) = (Vec::new(), Vec::new());
    if let Some(fetched) = &alias.fetched {
        if task.state == State::Success {
            runtime.block_on(look_after(&archiver, &catalogue, fetched, task.created_at))?;
        }
        placements = catalogue.placements(&fetched.content)?;
        lacking = archiver.regions();
        lacking.retain(|name| task.state == State::Success && !is_seen(&placements, name, task.created_at));
    }
    // What was asked for is done when it is everywhere.
    let state = if lacking.is_empty() { task.state.as_str() } else { "INCOMPLETE" };
    if json {
        let mut body = body(Some(&task), &alias);
        body["state"] = Value::from(state);
        body["regions"] = placements.iter().map(region_body).collect();
        super::print_json(&body)?;
    } else {
        let regions: String = placements.iter().map(region_line).collect();
        super::print(&(describe(Some((&task, state)), &alias) + &regions))?;
    }
    if !lacking.is_empty() {
        bail!("{} was fetched, and is not in {} yet", alias.wanted.url, lacking.join(", "));
    }
    match &task.fault {
        Some(fault) if task.state == State::Failure => bail!("cannot fetch {}: {}", alias.wanted.url, fault.message),
        _ => Ok(true),
    }
}

/// Has an archive looked at, and put, in the regions where nobody has since then; waits a while for
/// those who are at it.
async fn look_after(
    archiver: &Archiver,
    catalogue: &Catalogue,
    fetched: &Fetched,
    since: Timestamp,
) -> anyhow::Result<()> {
    for round in 0..ROUNDS {
        let placements = catalogue.placements(&fetched.content)?;
        let mut lacking = archiver.regions();
        lacking.retain(|name| !is_seen(&placements, name, since));
        if round == 0 && !lacking.is_empty() {
            archiver.put_again(fetched).await?;
            continue;
        }
        let has_failed = |name: &String| placements.iter().any(|row| row.region == *name && row.attempts > 0);
        if lacking.iter().all(has_failed) {
            break;
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

/// Whether an archive was found in a region, or put there, since then.
fn is_seen(placements: &[Placement], region: &str, since: Timestamp) -> bool {
    let found = placements.iter().find(|row| row.region == region);
    found.is_some_and(|row| row.state == PlacementState::There && row.attempts == 0 && row.put_at >= Some(since))
}

/// Fetches, here or in the process that was first, until the task has ended.
async fn ended(archiver: &Archiver, catalogue: &Catalogue, id: &str) -> anyhow::Result<(Task, Alias)> {
    let style = ProgressStyle::with_template(TEMPLATE).expect("because a test builds it from the same constant");
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let bar = bar.with_style(style).with_message(id.to_owned());
    let mut fetching = std::pin::pin!(async {
        loop {
            archiver.fetch_ready().await;
            tokio::time::sleep(TICK).await;
        }
    });
    loop {
        tokio::select! {
            () = &mut fetching => {}
            () = tokio::time::sleep(TICK) => {}
        }
        bar.set_position(archiver.progress(id).unwrap_or(0));
        bar.tick();
        let (task, alias) = catalogue.task(id)?.with_context(|| format!("the task {id} was forgotten"))?;
        if task.state.is_ended() {
            bar.finish_and_clear();
            return Ok((task, alias));
        }
    }
}

/// The newest task of a request and what it stands for.
fn look_up(settings: &Settings, catalogue: &Catalogue, request: &str) -> anyhow::Result<Option<(Option<Task>, Alias)>> {
    if !request.contains('/') {
        return Ok(catalogue.task(request)?.map(|(task, alias)| (Some(task), alias)));
    }
    let Some(alias) = catalogue.alias(&wanted(settings, request)?.key())? else { return Ok(None) };
    Ok(Some((catalogue.newest_task(&alias)?, alias)))
}

fn wanted(settings: &Settings, request: &str) -> anyhow::Result<Wanted> {
    let (path, query) = request.split_once('?').map_or((request, None), |(path, query)| (path, Some(query)));
    let path: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    Ok(request::read(&path, query, &settings.archiver)?.wanted)
}

/// All that is known, for programs.
fn body(task: Option<&Task>, alias: &Alias) -> Value {
    let Wanted { source, repo, rev, suffix, subdir, url } = &alias.wanted;
    let fetched = alias.fetched.as_ref().map(|fetched| {
        json!({
            "content": fetched.content.swhid().to_string(),
            "size": fetched.size,
            "media_type": fetched.media_type,
            "file_name": fetched.file_name,
            "directory": fetched.directory.as_ref().ok().map(|directory| format!("swh:1:dir:{}", directory.id)),
            "no_directory": fetched.directory.as_ref().err(),
            "fetched_at": alias.fetched_at.map(|at| at.to_string()),
        })
    });
    let drift = alias.drift.map(|drift| {
        json!({
            "times": drift.times,
            "first": format!("swh:1:cnt:{}", drift.first),
            "last": format!("swh:1:cnt:{}", drift.last),
            "at": drift.at.to_string(),
        })
    });
    json!({
        "task": task.map(|task| &task.id),
        "state": task.map(|task| task.state.as_str()),
        "source": source, "repo": repo, "rev": rev, "suffix": suffix, "subdir": subdir, "src_url": url,
        "created_at": task.map(|task| task.created_at.to_string()),
        "ready_at": task.filter(|task| !task.state.is_ended()).map(|task| task.ready_at.to_string()),
        "ended_at": task.and_then(|task| task.ended_at).map(|at| at.to_string()),
        "failed_tries": task.map(|task| task.attempts),
        "error": task.and_then(|task| task.fault.as_ref())
            .map(|fault| json!({"code": fault.code.as_str(), "message": fault.message})),
        "fetched": fetched,
        "drift": drift,
    })
}

/// All that is known, for people; with the task where it stands.
fn describe(task: Option<(&Task, &str)>, alias: &Alias) -> String {
    let mut text = format!("{}\n", alias.wanted.url);
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<12} {value}");
        }
    };
    field("task", task.map(|(task, state)| format!("{} {state}", task.id)));
    let task = task.map(|(task, _)| task);
    let fault = task.and_then(|task| task.fault.as_ref());
    field("failed", fault.map(|fault| format!("{}: {}", fault.code, fault.message)));
    field("waits until", task.filter(|task| !task.state.is_ended()).map(|task| task.ready_at.to_string()));
    if let Some(fetched) = &alias.fetched {
        field("content", Some(fetched.content.swhid().to_string()));
        field("size", Some(format!("{} ({} bytes)", ByteSize(fetched.size), fetched.size)));
        field("name", Some(fetched.file_name.clone()));
        match &fetched.directory {
            Ok(directory) => field("directory", Some(format!("swh:1:dir:{}", directory.id))),
            Err(reason) => field("directory", Some(format!("none: {reason}"))),
        }
        field("fetched", alias.fetched_at.map(|at| at.to_string()));
    }
    field(
        "drift",
        alias.drift.map(|drift| {
            format!(
                "{} times; first swh:1:cnt:{}, last swh:1:cnt:{} at {}",
                drift.times, drift.first, drift.last, drift.at
            )
        }),
    );
    text
}

/// Where it stands in a region, for programs.
fn region_body(placement: &Placement) -> Value {
    json!({
        "region": placement.region,
        "state": placement.state.as_str(),
        "put_at": placement.put_at.map(|at| at.to_string()),
        "due_at": placement.due_at.to_string(),
        "failed_tries": placement.attempts,
        "error": placement.fault,
    })
}

/// Where it stands in a region, for people.
fn region_line(placement: &Placement) -> String {
    let name = format!("in {}", placement.region);
    let since = placement.put_at.filter(|_| placement.state == PlacementState::There);
    let since = since.map_or_else(String::new, |at| format!(", seen {at}"));
    let fault = placement.fault.as_ref().map_or_else(String::new, |fault| {
        format!("; failed {} times: {fault}; again after {}", placement.attempts, placement.due_at)
    });
    format!("  {name:<12} {}{since}{fault}\n", placement.state.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_progress_is_legal() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
