//! Origins: repositories with a URL, and the snapshots of what they had when larder looked.
//!
//! Owns the mirrors in `<data>/origins`, which are one more git archive to cook from, and the looking
//! at repositories under a `git` archive (`local`). Runs git as a child process; blocking.
//!
//! | file | what |
//! |---|---|
//! | `url` | which URLs may be mirrored |
//! | `advertised` | branches to a manifest; pure |
//! | `run` | git, its environment and its limits |
//! | `secret` | the files that private origins are visited with |
//! | `first` | the first fetch into a mirror, by ids |
//! | `mirror` | one mirror: its lock, its refs, what a crash leaves |
//! | `resolve` | the objects behind a branch, a tag or an id, and at a path below |
//! | `local` | the snapshots of repositories that are there already |
//!
//! A visit asks for the branches, fetches what is not there, and only when every object that a branch
//! names is there writes the manifest and then the visit: a visit that was noted as full is one.

mod advertised;
mod first;
mod local;
mod mirror;
mod resolve;
mod run;
mod secret;
mod url;

pub use local::{Locals, Repositories};
pub use resolve::{Resolved, TreePath, resolve};
pub use run::GitError;
pub use secret::{DEFAULT_USER, SecretError};
pub use url::{MAX_URL, Remote, Transport, UrlError};

use crate::archive::ArchiveError;
use crate::archive::snapshot::Manifest;
use crate::catalogue::{Catalogue, CatalogueError, Credential, Origin, Outcome, Visit};
use crate::key::Sha1Git;
use crate::limits::MinFree;
use crate::time::Timestamp;
use advertised::{Branches, BranchesError, Shown};
use mirror::Mirror;
use run::Git;
use secret::Access;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folder of the mirrors in the folder of the data.
pub const FOLDER: &str = "origins";

/// A repository that changes while it is fetched is asked again so many times.
const ROUNDS: u32 = 3;

/// What a visit may do.
#[derive(Clone, Debug)]
pub struct Rules {
    /// How git may reach a repository.
    pub transports: Vec<Transport>,
    /// Whether a host may be inside the network.
    pub private: bool,
    /// The longest time of a visit.
    pub timeout: Duration,
    /// The most bytes on disk of a mirror.
    pub max_size: u64,
    /// Space that stays free on the disk.
    pub min_free: MinFree,
}

/// The origins of one data directory.
pub struct Origins {
    folder: PathBuf,
    catalogue: Catalogue,
    rules: Rules,
}

/// What came of a visit.
#[derive(Debug)]
pub struct Visited {
    /// As the catalogue has it.
    pub visit: Visit,
    /// Whether the snapshot is another one than at the visit before.
    pub new: bool,
    /// Why it failed, in words for the operator.
    pub failure: Option<VisitError>,
}

/// Why an origin was not visited.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Not a URL to be mirrored.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// What it is to be visited with cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Nobody added it.
    #[error("no such origin was added")]
    Unknown,
    /// It is read where it lies.
    #[error("this origin is a repository under a git archive: it is looked at by itself")]
    Local,
    /// Another visit of it has not ended.
    #[error("another visit of it is under way")]
    Busy,
    /// The mirror cannot be reached.
    #[error("the mirrors cannot be used: {0}")]
    Folder(io::Error),
    /// The catalogue could not be asked.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

/// Why a visit failed.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// The URL is no longer allowed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// What it is visited with cannot be used any more.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// git could not.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The catalogue could not be asked.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// What it shows makes no snapshot.
    #[error("{0}")]
    Branches(String),
    /// The mirror could not be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Branches moved each time.
    #[error("its branches change faster than they can be fetched")]
    Changing,
}

impl VisitError {
    /// What clients may read.
    fn public(&self) -> String {
        match self {
            Self::Git(error) => error.public(),
            Self::Archive(_) => "its mirror cannot be read".to_owned(),
            Self::Secret(_) => "what it is visited with cannot be used".to_owned(),
            Self::Catalogue(_) => "the catalogue cannot be asked".to_owned(),
            Self::Url(_) | Self::Branches(_) | Self::Changing => self.to_string(),
        }
    }
}

impl From<BranchesError> for VisitError {
    fn from(error: BranchesError) -> Self {
        Self::Branches(error.to_string())
    }
}

impl Origins {
    /// The origins of the data directory `data`.
    #[must_use]
    pub fn new(data: &Path, catalogue: Catalogue, rules: Rules) -> Self {
        Self { folder: data.join(FOLDER), catalogue, rules }
    }

    /// Adds a URL, to be visited with a `credential` from now on, or as before where there is none. Gives
    /// its written form and whether it is new.
    pub fn add(
        &self,
        url: &str,
        credential: Option<&Credential>,
        now: Timestamp,
    ) -> Result<(Remote, bool), OriginError> {
        let remote = Remote::parse(url)?;
        self.check(&remote)?;
        let addresses = match remote.addresses(self.rules.private) {
            // A name that cannot be looked up now may be at the visit.
            Err(UrlError::NoAddress) => Vec::new(),
            addresses => addresses?,
        };
        if let Some(credential) = credential {
            secret::check(credential, &remote, &addresses)?;
        }
        let new = self.catalogue.add_origin(remote.as_str(), false, now)?;
        if credential.is_some() {
            self.catalogue.set_credential(remote.as_str(), credential)?;
        }
        Ok((remote, new))
    }

    /// Visits an origin without any credential from now on.
    pub fn forget_credential(&self, remote: &Remote) -> Result<(), OriginError> {
        self.catalogue.set_credential(remote.as_str(), None)?;
        Ok(())
    }

    /// Forgets an origin and deletes its mirror. Its snapshots stay known.
    pub fn remove(&self, url: &str) -> Result<(), OriginError> {
        let origin = self.known(url)?;
        if !origin.local {
            let mirror = Mirror::lock(&self.folder, &origin.url).map_err(OriginError::Folder)?;
            mirror.ok_or(OriginError::Busy)?.remove().map_err(OriginError::Folder)?;
        }
        self.catalogue.remove_origin(&origin.url)?;
        Ok(())
    }

    /// Looks at an origin now, and notes what came of it.
    ///
    /// # Errors
    /// [`OriginError`] when nothing was noted; a visit that failed is [`Visited::failure`].
    pub fn visit(&self, url: &str, clock: &dyn Fn() -> Timestamp) -> Result<Visited, OriginError> {
        let origin = self.known(url)?;
        if origin.local {
            return Err(OriginError::Local);
        }
        let mirror = Mirror::lock(&self.folder, &origin.url).map_err(OriginError::Folder)?;
        let mirror = mirror.ok_or(OriginError::Busy)?;
        let looked = self.look(&origin, &mirror);
        let (outcome, failure) = match looked {
            Ok(manifest) => (Outcome::Full(self.catalogue.add_snapshot(&manifest, origin.snapshot.as_ref())?), None),
            Err(error) => (Outcome::Failed(error.public()), Some(error)),
        };
        let visit = self.catalogue.visited(&origin.url, &outcome, clock())?.ok_or(OriginError::Unknown)?;
        let new = matches!(&visit.outcome, Outcome::Full(id) if origin.snapshot != Some(*id));
        Ok(Visited { visit, new, failure })
    }

    /// The origin of a URL, however it is written.
    fn known(&self, url: &str) -> Result<Origin, OriginError> {
        if let Some(origin) = self.catalogue.origin(url)? {
            return Ok(origin);
        }
        let remote = Remote::parse(url)?;
        self.catalogue.origin(remote.as_str())?.ok_or(OriginError::Unknown)
    }

    fn check(&self, remote: &Remote) -> Result<(), UrlError> {
        if self.rules.transports.contains(&remote.transport()) {
            Ok(())
        } else {
            Err(UrlError::Transport(remote.transport()))
        }
    }

    /// The branches that an origin has now, all that they name fetched.
    fn look(&self, origin: &Origin, mirror: &Mirror) -> Result<Manifest, VisitError> {
        // The settings may have become stricter since it was added.
        let remote = Remote::parse(&origin.url)?;
        self.check(&remote)?;
        let addresses = remote.addresses(self.rules.private)?;
        let access = match self.catalogue.credential(&origin.url)? {
            Some(credential) => Some(Access::new(&credential, &remote, &addresses)?),
            None => None,
        };
        let git = Git::new(&self.rules, remote.transport(), remote.pinned(&addresses), access);
        mirror.prepare(&git)?;
        for _ in 0..ROUNDS {
            let branches = Branches::parse(&mirror.list(&git, &remote)?)?;
            // Of a first visit nothing is there yet, and looking for each branch would only take time.
            if origin.snapshot.is_some() {
                let before = draw(mirror, &branches)?;
                if before.missing.is_empty() && Some(before.manifest.id()) == origin.snapshot {
                    return Ok(before.manifest);
                }
            }
            mirror.fetch(&git, &remote, &branches)?;
            let drawn = draw(mirror, &branches)?;
            if !drawn.missing.iter().any(|id| is_fetchable(&branches, id)) {
                return Ok(drawn.manifest);
            }
        }
        Err(VisitError::Changing)
    }
}

fn draw(mirror: &Mirror, branches: &Branches) -> Result<advertised::Drawn, VisitError> {
    let mut reader = mirror.reader()?;
    Ok(branches.draw(|id: &Sha1Git| Ok::<_, ArchiveError>(reader.header(id)?.map(|header| header.object_type)))?)
}

/// Whether git fetches an id: not when every branch that leads to it has a name that git refuses.
fn is_fetchable(branches: &Branches, id: &Sha1Git) -> bool {
    let legal = |name: &[u8]| gix_ref::FullName::try_from(<&gix_ref::bstr::BStr>::from(name)).is_ok();
    branches.iter().any(|(name, shown)| *shown == Shown::Object(*id) && legal(name))
}
