//! `larder origin`: the repositories that are mirrored by URL, and what visits of them found.

use super::rooms;
use crate::bodies::origin_body;
use crate::catalogue::{Credential, Origin};
use crate::config::Settings;
use crate::escaped::Escaped;
use crate::key::{ObjectKind, Swhid};
use crate::origins::{DEFAULT_USER, OriginError, Origins, UrlError, Visited};
use crate::time::Timestamp;
use std::path::PathBuf;
use std::process::ExitCode;

/// Origins read at a time.
const PAGE: u32 = 500;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Add repositories, to be mirrored at their first visit
    ///
    /// The URL must be one of origin_transports (https unless set), without a password, and its host not
    /// inside the network unless origin_private is set.
    ///
    /// A private repository is visited with a token, a netrc file or a key of SSH. larder keeps the path of
    /// that file, and reads it at each visit; nobody but its owner, and at most their group, may read it.
    /// What is mirrored is served to whoever reaches larder. Adding an origin again changes what it is visited with.
    Add {
        /// URLs like https://example.org/project.git
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
        #[command(flatten)]
        secret: Secret,
    },
    /// Look at origins now: fetch what is new and take their snapshots
    ///
    /// A repository under --git is visited as well, by the URL it has (local:team/project.git): its new
    /// branches and tags are known at once, to a running server too.
    ///
    /// Exit codes: 0 all were visited; 1 a visit failed; 3 an origin was never added.
    Visit {
        /// The origins; all of those that are mirrored with --all
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "URL")]
        urls: Vec<String>,
        /// Visit every origin that is mirrored
        #[arg(long)]
        all: bool,
    },
    /// List the origins known: those mirrored, and the repositories under --git
    List {
        /// One JSON object a line, as at /origins; its links begin with the public_url of these settings, or
        /// http:// and what they listen on
        #[arg(long)]
        json: bool,
    },
    /// Forget origins and delete their mirrors
    ///
    /// The bundles cooked of them stay, and so do their snapshots.
    Remove {
        /// The origins
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
    },
}

/// What private repositories are visited with.
#[derive(clap::Args)]
struct Secret {
    /// File whose first line is a token or a password, sent with --user by https
    #[arg(long, value_name = "FILE", group = "secret")]
    token_file: Option<PathBuf>,
    /// User's name that is sent with a token [default: x-access-token]
    #[arg(long, value_name = "NAME", requires = "token_file")]
    user: Option<String>,
    /// File in the form of .netrc that has a user's name and a password for the host
    #[arg(long, value_name = "FILE", group = "secret")]
    netrc: Option<PathBuf>,
    /// Private key, for URLs of ssh
    #[arg(long, value_name = "FILE", group = "secret")]
    ssh_key: Option<PathBuf>,
    /// Keys that the host may have, instead of those that the user larder runs as knows
    #[arg(long, value_name = "FILE", requires = "ssh_key")]
    known_hosts: Option<PathBuf>,
    /// Visit the origin without any of these from now on
    #[arg(long, group = "secret")]
    anonymous: bool,
}

impl Secret {
    fn credential(&self) -> std::io::Result<Option<Credential>> {
        let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        if let Some(file) = absolute(&self.token_file)? {
            let user = self.user.clone().unwrap_or_else(|| DEFAULT_USER.to_owned());
            return Ok(Some(Credential::Token { file, user }));
        }
        if let Some(file) = absolute(&self.netrc)? {
            return Ok(Some(Credential::Netrc { file }));
        }
        let known_hosts = absolute(&self.known_hosts)?;
        Ok(absolute(&self.ssh_key)?.map(|file| Credential::SshKey { file, known_hosts }))
    }
}

pub(super) fn run(settings: &Settings, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Add { urls, secret } => add(&rooms::origins(settings)?, urls, secret),
        Command::Visit { urls, all: false } => visit(settings, urls),
        Command::Visit { all: true, .. } => visit_all(settings),
        Command::List { json } => list(settings, *json),
        Command::Remove { urls } => remove(&rooms::origins(settings)?, urls),
    }
}

fn add(origins: &Origins, urls: &[String], secret: &Secret) -> anyhow::Result<ExitCode> {
    let credential = secret.credential()?;
    for url in urls {
        // The URL itself is not repeated: there may be a password in it.
        let (remote, new) = origins.add(url, credential.as_ref(), Timestamp::now())?;
        if secret.anonymous {
            origins.forget_credential(&remote)?;
        }
        let what = if new { "added" } else { "is known" };
        super::print(&format!("{} {what}\n", remote.as_str()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn visit(settings: &Settings, urls: &[String]) -> anyhow::Result<ExitCode> {
    let (mut worst, mut rooms) = (0, None);
    for url in urls {
        // Repositories are looked for only where a URL can be one of theirs.
        if url.starts_with(&settings.local_origins)
            && let Some(visited) = rooms::local_origins(settings)?.visit(url, &Timestamp::now)?
        {
            worst = worst.max(report(url, visited)?);
            continue;
        }
        let origins = match &rooms {
            Some(origins) => origins,
            None => rooms.insert(rooms::origins(settings)?),
        };
        worst = worst.max(visit_one(origins, url)?);
    }
    Ok(worst.into())
}

fn visit_all(settings: &Settings) -> anyhow::Result<ExitCode> {
    let (origins, catalogue) = (rooms::origins(settings)?, rooms::read_catalogue(settings)?);
    let (mut worst, mut after) = (0, None);
    loop {
        let page = catalogue.mirrored_origins(after.as_deref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(worst.into()) };
        after = Some(last.url.clone());
        for origin in &page {
            worst = worst.max(visit_one(&origins, &origin.url)?);
        }
    }
}

/// The exit code that the visit calls for. One that is under way elsewhere is as good as ours.
fn visit_one(origins: &Origins, url: &str) -> anyhow::Result<u8> {
    let visited = match origins.visit(url, &Timestamp::now) {
        Ok(visited) => visited,
        Err(OriginError::Unknown) => {
            super::print(&format!("{} was never added\n", shown(url)))?;
            return Ok(super::NO_SUCH_BUNDLE);
        }
        Err(OriginError::Local) => {
            super::print(&format!("{} is no repository under --git any more\n", shown(url)))?;
            return Ok(super::NO_SUCH_BUNDLE);
        }
        // A path is no URL that could have been added.
        Err(OriginError::Url(UrlError::Malformed)) if url.starts_with("local:") => {
            super::print(&format!("{} is no repository under --git\n", shown(url)))?;
            return Ok(super::NO_SUCH_BUNDLE);
        }
        Err(OriginError::Busy) => {
            super::print(&format!("{} is being visited already\n", shown(url)))?;
            return Ok(0);
        }
        Err(error) => return Err(error.into()),
    };
    report(url, visited)
}

/// Says what came of a visit, and gives the exit code that it calls for.
fn report(url: &str, visited: Visited) -> anyhow::Result<u8> {
    if let Some(failure) = visited.failure {
        super::print(&format!("{} failed: {}\n", shown(url), Escaped(failure)))?;
        return Ok(1);
    }
    if let crate::catalogue::Outcome::Full(id) = visited.visit.outcome {
        let what = if visited.new { "has changed" } else { "has nothing new" };
        super::print(&format!("{} {what}: {}\n", shown(url), Swhid { kind: ObjectKind::Snapshot, id }))?;
    }
    Ok(0)
}

fn list(settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let (catalogue, base) = (rooms::read_catalogue(settings)?, super::list::base(settings));
    let mut after: Option<String> = None;
    loop {
        let page = catalogue.origins(after.as_deref(), PAGE)?;
        let Some(last) = page.last() else { return Ok(ExitCode::SUCCESS) };
        after = Some(last.url.clone());
        for origin in &page {
            if json {
                super::print_json(&origin_body(origin, &base))?;
            } else {
                super::print(&line(origin))?;
            }
        }
    }
}

fn line(origin: &Origin) -> String {
    let snapshot = origin
        .snapshot
        .map_or_else(|| "no snapshot".to_owned(), |id| Swhid { kind: ObjectKind::Snapshot, id }.to_string());
    let visited = origin.visited_at.map_or_else(|| "never visited".to_owned(), |at| at.to_string());
    let local = if origin.local { " local" } else { "" };
    format!("{} {snapshot} {visited}{local}\n", Escaped(&origin.url))
}

fn remove(origins: &Origins, urls: &[String]) -> anyhow::Result<ExitCode> {
    let mut code = 0;
    for url in urls {
        match origins.remove(url) {
            Ok(()) => super::print(&format!("{} removed\n", shown(url)))?,
            Err(OriginError::Unknown) => {
                super::print(&format!("{} was never added\n", shown(url)))?;
                code = super::NO_SUCH_BUNDLE;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(code.into())
}

/// A URL as it may be printed: one that was never accepted may hold a password.
fn shown(url: &str) -> String {
    match crate::origins::Remote::parse(url) {
        Ok(remote) => remote.as_str().to_owned(),
        Err(_) if url.contains('@') => "this origin".to_owned(),
        Err(_) => url.escape_debug().to_string(),
    }
}
