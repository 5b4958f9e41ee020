//! The snapshots of repositories under a `git` archive, taken where they lie and when their refs have
//! changed. Owns the URLs that these have: no path of this machine is in one.

use super::advertised::{Branches, Drawn, Shown};
use super::{VisitError, Visited};
use crate::archive::git::{GitArchive, RefTarget, Repository};
use crate::archive::{Archive as _, ArchiveError};
use crate::catalogue::{Catalogue, CatalogueError, Outcome};
use crate::key::Sha1Git;
use crate::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// What of a path stands in a URL as it is.
const ESCAPED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+');

/// Taking snapshots may have this part of the time, so that cooks have the rest.
const SHARE: u32 = 4;

/// So long must the same objects be missing before the branches that lead to them are noted as dangling:
/// who copies a repository may bring its refs before its packs.
const MISSING_FOR: Duration = Duration::from_secs(3);

/// The steps in which a visit that was asked for waits so long.
const STEP: Duration = Duration::from_millis(300);

/// The archive whose repositories are origins; cheap to clone, and changed for all clones at once.
#[derive(Clone)]
pub struct Repositories(Arc<RwLock<GitArchive>>);

impl Repositories {
    /// Those of `archive`.
    #[must_use]
    pub fn new(archive: GitArchive) -> Self {
        Self(Arc::new(RwLock::new(archive)))
    }

    /// Those of another archive from the next look on.
    pub fn replace(&self, archive: GitArchive) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = archive;
    }

    fn archive(&self) -> GitArchive {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The repositories of an archive, as origins.
pub struct Locals {
    repositories: Repositories,
    catalogue: Catalogue,
    /// What stands before the path below the archive's folder.
    prefix: String,
    /// The folder of the mirrors, which are origins already.
    mirrors: PathBuf,
    /// The stamps of the snapshots taken, by URL.
    stamps: HashMap<String, i64>,
    /// Why the last snapshot of a repository was not taken, by URL: what was logged.
    told: HashMap<String, String>,
    /// Which objects the branches of a repository lead to and it does not have, as a digest, and since when,
    /// by URL.
    missing: HashMap<String, (blake3::Hash, Instant)>,
}

impl Locals {
    /// These repositories, their URLs beginning with `prefix`, but for those in `mirrors`.
    #[must_use]
    pub fn new(repositories: Repositories, catalogue: Catalogue, prefix: String, mirrors: PathBuf) -> Self {
        let (stamps, told, missing) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { repositories, catalogue, prefix, mirrors, stamps, told, missing }
    }

    /// Takes the snapshots of those whose refs have changed, and gives how many are new. Ends early
    /// when `stop` says so.
    pub fn look(&mut self, clock: &dyn Fn() -> Timestamp, stop: &dyn Fn() -> bool) -> Result<u64, CatalogueError> {
        let mut new = 0;
        // One from the beginning to the end of a look.
        let archive = self.repositories.archive();
        let all = match self.all(&archive) {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(%error, "no snapshots of repositories were taken: it cannot be said which there are");
                return Ok(0);
            }
        };
        for (url, repository) in all {
            if stop() {
                break;
            }
            let began = Instant::now();
            if self.look_at(&archive, &repository, &url, true, clock)? {
                new += 1;
                std::thread::sleep(began.elapsed().min(Duration::from_secs(1)) * (SHARE - 1));
            }
        }
        Ok(new)
    }

    /// Takes snapshots until there is one of this id; `false` when no repository has it now.
    pub fn look_for(&mut self, id: &Sha1Git, clock: &dyn Fn() -> Timestamp) -> Result<bool, CatalogueError> {
        let archive = self.repositories.archive();
        let all = self.all(&archive).unwrap_or_else(|error| {
            tracing::warn!(%error, "no repository was looked at: it cannot be said which there are");
            Vec::new()
        });
        for (url, repository) in all {
            if self.look_at(&archive, &repository, &url, false, clock)? && self.catalogue.has_snapshot(id)? {
                return Ok(true);
            }
        }
        self.catalogue.has_snapshot(id)
    }

    /// Takes the snapshot of the repository of this URL, changed or not, and notes what came of it.
    /// `None` when there is no such repository.
    pub fn visit(&mut self, url: &str, clock: &dyn Fn() -> Timestamp) -> Result<Option<Visited>, CatalogueError> {
        let archive = self.repositories.archive();
        let origin = self.catalogue.origin(url)?;
        if origin.as_ref().is_some_and(|origin| !origin.local) {
            return Ok(None);
        }
        let is_known = origin.is_some();
        let before = origin.and_then(|origin| origin.snapshot);
        let repository = match self.all(&archive) {
            Ok(all) => all.into_iter().find(|(known, _)| known == url).map(|(_, repository)| repository),
            // It may be there, or be gone: that is a visit that failed.
            Err(error) if is_known => {
                let error = VisitError::Archive(error);
                let outcome = Outcome::Failed(error.public());
                let visit = self.catalogue.visited(url, &outcome, clock())?;
                return Ok(visit.map(|visit| Visited { visit, new: false, failure: Some(error) }));
            }
            Err(error) => {
                tracing::warn!(%error, "it cannot be said which repositories there are");
                return Ok(None);
            }
        };
        let Some(repository) = repository else { return Ok(None) };
        let stamp = repository.stamp();
        let began = Instant::now();
        let mut drawn = take(&archive, &repository);
        while drawn.as_ref().is_ok_and(|drawn| !drawn.missing.is_empty()) && began.elapsed() < MISSING_FOR {
            std::thread::sleep(STEP);
            drawn = take(&archive, &repository);
        }
        let stamp = stamp.filter(|_| drawn.as_ref().is_ok_and(|drawn| drawn.missing.is_empty()));
        let (outcome, failure) = match drawn {
            Ok(drawn) => (Outcome::Full(self.catalogue.add_snapshot(&drawn.manifest, before.as_ref())?), None),
            Err(error) => (Outcome::Failed(error.public()), Some(error)),
        };
        self.catalogue.add_origin(url, true, clock())?;
        let Some(visit) = self.catalogue.visited(url, &outcome, clock())? else { return Ok(None) };
        if let Some(stamp) = stamp {
            self.catalogue.stamp_origin(url, stamp)?;
        }
        let new = matches!(&outcome, Outcome::Full(id) if before != Some(*id));
        Ok(Some(Visited { visit, new, failure }))
    }

    /// The repositories that are not mirrors, by URL.
    fn all(&self, archive: &GitArchive) -> Result<Vec<(String, Repository)>, ArchiveError> {
        let mirrors = self.mirrors.canonicalize().unwrap_or_else(|_| self.mirrors.clone());
        let all = archive.repositories()?.into_iter().filter(|repository| !repository.is_below(&mirrors));
        Ok(all.map(|repository| (self.url(&repository), repository)).collect())
    }

    fn url(&self, repository: &Repository) -> String {
        let path = percent_encoding::percent_encode(repository.name.as_os_str().as_bytes(), &ESCAPED);
        format!("{}{path}", self.prefix)
    }

    /// Whether there was a snapshot to be taken. With `wait`, none is while objects may still be coming.
    fn look_at(
        &mut self,
        archive: &GitArchive,
        repository: &Repository,
        url: &str,
        wait: bool,
        clock: &dyn Fn() -> Timestamp,
    ) -> Result<bool, CatalogueError> {
        // Before the refs are read: a change in between changes it again.
        let mut stamp = repository.stamp();
        if stamp.is_some() && self.stamps.get(url).copied() == stamp {
            return Ok(false);
        }
        let origin = self.catalogue.origin(url)?;
        if origin.as_ref().is_some_and(|origin| !origin.local) {
            return Ok(false);
        }
        let known = origin.as_ref().and_then(|origin| origin.stamp);
        let is_changed = known != stamp;
        if stamp.is_none() || is_changed {
            let Drawn { manifest, missing } = match take(archive, repository) {
                Ok(drawn) => drawn,
                Err(error) => {
                    // Once for each reason: it is tried again at every look.
                    let words = error.to_string();
                    if self.told.get(url) != Some(&words) {
                        tracing::warn!(url, %error, "no snapshot of a repository was taken");
                        self.told.insert(url.to_owned(), words);
                    }
                    return Ok(false);
                }
            };
            self.told.remove(url);
            if missing.is_empty() {
                self.missing.remove(url);
            } else if wait && !self.is_missing_for_long(url, &missing) {
                return Ok(true);
            } else {
                // What is missing may come, and no ref changes then.
                stamp = None;
            }
            let before = origin.as_ref().and_then(|origin| origin.snapshot);
            let now = self.catalogue.origin(url)?.and_then(|origin| origin.snapshot);
            if now != before {
                // Somebody visited it meanwhile, and may have seen what is newer: the next look will tell.
                return Ok(false);
            }
            if before != Some(manifest.id()) {
                let id = self.catalogue.add_snapshot(&manifest, before.as_ref())?;
                self.catalogue.add_origin(url, true, clock())?;
                self.catalogue.visited(url, &Outcome::Full(id), clock())?;
            }
            if let Some(stamp) = stamp {
                self.catalogue.stamp_origin(url, stamp)?;
            }
        }
        if let Some(stamp) = stamp {
            self.stamps.insert(url.to_owned(), stamp);
        }
        Ok(is_changed)
    }

    /// Whether just these objects have been missing for long.
    fn is_missing_for_long(&mut self, url: &str, missing: &BTreeSet<Sha1Git>) -> bool {
        let mut hasher = blake3::Hasher::new();
        for id in missing {
            hasher.update(id.as_bytes());
        }
        let digest = hasher.finalize();
        match self.missing.get(url) {
            Some((known, since)) if *known == digest => since.elapsed() >= MISSING_FOR,
            _ => {
                self.missing.insert(url.to_owned(), (digest, Instant::now()));
                false
            }
        }
    }
}

/// The snapshot of a repository, and what it does not have of it.
fn take(archive: &GitArchive, repository: &Repository) -> Result<Drawn, VisitError> {
    let mut branches = Branches::default();
    let mut fault = None;
    let read = repository.refs(&mut |name, target| {
        let shown = match target {
            RefTarget::Object(id) => Shown::Object(id),
            RefTarget::Symbolic(name) => Shown::Alias(name),
        };
        fault = branches.add(name, shown).err();
        fault.is_none()
    });
    read.map_err(|cause| ArchiveError::Io { action: "read the refs of a repository".to_owned(), cause })?;
    if let Some(fault) = fault {
        return Err(fault.into());
    }
    let mut reader = archive.reader();
    Ok(branches.draw(|id| Ok::<_, ArchiveError>(reader.header(id)?.map(|header| header.object_type)))?)
}
