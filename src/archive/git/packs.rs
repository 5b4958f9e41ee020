//! The packs of one `objects` directory as they were when it was last listed.
//!
//! A listing is immutable and shared; a newer one takes over the packs that are still there, so
//! what is mapped stays mapped, and drops the others: when the last reader lets go of the old
//! listing, packs that git deleted are unmapped and their disk space is free.
//!
//! **A listing that failed is not an empty one.** It carries the failure, keeps the packs known before,
//! answers that it cannot say where it does not know an object, and is made again by whoever uses it
//! next. So does one with a damaged index.
//!
//! A directory's mtime is coarse. A listing is trusted by it only once it was made again, a second
//! or more later, with the mtime still the same.

use super::fault::{Fault, Trouble};
use super::map::{Mapping, Tear, map};
use super::open::{self, Unopened};
use super::pack::{Checked, Identity, Pack, damaged};
use super::served::Served;
use super::watch::Watch;
use crate::archive::packed::SourcePack as _;
use crate::key::Sha1Git;
use gix_pack::multi_index;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// An `objects` directory. The number stands for it in caches, and is never used for another.
pub(super) struct ObjectDir {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) served: Arc<Served>,
    /// Of the file system that it is on.
    pub(super) watch: Arc<Watch>,
}

pub(super) struct Packs {
    pub(super) dir: Arc<ObjectDir>,
    list: Vec<Arc<Pack>>,
    multi: Option<MultiIndex>,
    mtime: Option<(i64, i64)>,
    listed: Instant,
    settled: bool,
    /// Why it may not be all that is there.
    trouble: Option<Trouble>,
    /// The multi-pack index could not be looked at. The packs' own indexes say the same.
    without_multi: bool,
}

/// A multi-pack index, and which of the listed packs each of its packs is.
#[derive(Clone)]
struct MultiIndex {
    path: PathBuf,
    identity: Identity,
    index: Arc<multi_index::File<Mapping>>,
    tear: Tear,
    packs: Arc<[usize]>,
    /// Whether it has the checksum that stands at its end.
    sound: Arc<OnceLock<bool>>,
}

/// Where a pack of a listing has an object.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) pack: usize,
    pub(super) offset: u64,
    /// Where to go on for another copy.
    next: usize,
}

/// How long the same mtime must be seen before it is believed that nothing changed.
const SETTLING: Duration = Duration::from_secs(1);

/// Names of packs in a multi-pack index may take this much memory.
const MAX_MULTI_INDEX_NAMES: usize = 16 << 20;

impl Packs {
    pub(super) fn list(dir: Arc<ObjectDir>) -> Self {
        Self::build(dir, None).0
    }

    /// The listing as it is now, or `None` when it is the same; and whether packs came or went.
    pub(super) fn refreshed(&self) -> Option<(Self, bool)> {
        let answers = || self.dir.watch.enter(&self.dir.path).is_ok();
        let same = || dir_mtime(&self.dir.path, "pack").is_ok_and(|now| now == self.mtime);
        if self.settled && !self.is_in_doubt() && answers() && same() {
            return None;
        }
        let (mut new, listed) = Self::build(self.dir.clone(), Some(self));
        let same = listed && new.mtime == self.mtime;
        new.settled = same && !self.is_in_doubt() && self.listed.elapsed() >= SETTLING;
        let changed = new.list.len() != self.list.len()
            || new.list.iter().zip(&self.list).any(|(new, old)| !Arc::ptr_eq(new, old))
            || new.multi.as_ref().map(|multi| multi.identity) != self.multi.as_ref().map(|multi| multi.identity);
        if !changed && same && !new.settled && self.trouble.is_none() {
            return None;
        }
        // What could not be looked at before may hold what was not found.
        let recovered = self.trouble.is_some() && new.trouble.is_none();
        Some((new, changed || recovered))
    }

    /// Whether it is to be made again before it is used.
    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// Fails where the listing did.
    pub(super) fn whole(&self) -> Result<(), Fault> {
        self.trouble.as_ref().map_or(Ok(()), |trouble| Err(trouble.fault()))
    }

    /// Whether it cannot be said what is not here.
    fn is_in_doubt(&self) -> bool {
        self.trouble.is_some()
            || self.without_multi
            || self.list.iter().any(|pack| pack.is_damaged())
            || self.multi.as_ref().is_some_and(|multi| !multi.is_believed())
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn pack(&self, at: usize) -> &Arc<Pack> {
        &self.list[at]
    }

    /// Where the object is; `after` goes on behind a place found before. `first` is the pack to ask
    /// first. `Ok(None)` only where all could be looked at.
    pub(super) fn lookup(&self, id: &Sha1Git, first: usize, after: Option<Place>) -> Result<Option<Place>, Fault> {
        let multi = self.multi.as_ref().filter(|multi| multi.is_believed());
        let mut fault = None;
        // Step 0 is the multi-pack index, step n the nth pack with `first` moved to the front.
        let mut step = after.map_or(0, |place| place.next);
        while step <= self.list.len() {
            let found = if step == 0 {
                multi.map_or(Ok(None), |multi| multi.lookup(id))
            } else {
                let pack = match step - 1 {
                    0 if first < self.list.len() => first,
                    at if first < self.list.len() && at <= first => at - 1,
                    at => at,
                };
                let covered = multi.is_some_and(|multi| multi.packs.contains(&pack));
                let offset = if covered { Ok(None) } else { self.list[pack].lookup(id) };
                offset.map(|offset| offset.map(|offset| (pack, offset)))
            };
            step += 1;
            match found {
                Ok(Some((pack, offset))) => return Ok(Some(Place { pack, offset, next: step })),
                Ok(None) => {}
                Err(new) => fault = Some(fault.unwrap_or(new)),
            }
        }
        fault.or_else(|| self.trouble.as_ref().map(Trouble::fault)).map_or(Ok(None), Err)
    }

    /// Compares indexes that were not yet with their checksums, as far as `budget` bytes go: an object
    /// that a damaged one does not show may be there all the same. Whether it must be looked for again,
    /// for other indexes are asked from now on.
    pub(super) fn check(&self, budget: &mut u64, checked: &Checked) -> Result<bool, Fault> {
        let mut afford = |identity: Identity| {
            let affordable = *budget >= identity.size;
            *budget -= if affordable { identity.size } else { 0 };
            affordable
        };
        if let Some(multi) = &self.multi
            && multi.sound.get().is_none()
            && (checked.has(&multi.identity) || afford(multi.identity))
        {
            let sound = checked.check(multi.identity, &multi.path, &self.dir.served)?;
            if !*multi.sound.get_or_init(|| sound) {
                return Ok(true);
            }
        }
        let multi = self.multi.as_ref().filter(|multi| multi.is_believed());
        for (at, pack) in self.list.iter().enumerate() {
            let covered = multi.is_some_and(|multi| multi.packs.contains(&at));
            if !covered && (pack.is_checked(checked) || afford(pack.identity())) {
                pack.check(checked)?;
            }
        }
        Ok(false)
    }

    /// The listing now, and whether it was made: else it is the old one, with the reason.
    fn build(dir: Arc<ObjectDir>, old: Option<&Self>) -> (Self, bool) {
        let listed = Instant::now();
        let known: &[Arc<Pack>] = old.map_or(&[], |old| &old.list);
        let made = dir.watch.enter(&dir.path).and_then(|()| {
            let mtime =
                dir_mtime(&dir.path, "pack").map_err(|cause| Fault::io("look at packs in", &dir.path, cause))?;
            Ok((mtime, list_packs(&dir, known, old.and_then(|old| old.multi.as_ref()))?))
        });
        match made {
            Ok((mtime, (list, multi))) => {
                let without_multi = multi.is_err();
                let multi = multi.unwrap_or_default();
                (Self { dir, list, multi, mtime, listed, settled: false, trouble: None, without_multi }, true)
            }
            Err(fault) => {
                tracing::debug!(?fault, "packs cannot be listed");
                let trouble = Some(fault.trouble());
                let (list, multi) = (known.to_vec(), old.and_then(|old| old.multi.clone()));
                let mtime = old.and_then(|old| old.mtime);
                (Self { dir, list, multi, mtime, listed, settled: false, trouble, without_multi: false }, false)
            }
        }
    }
}

impl MultiIndex {
    /// The multi-pack index of `folder`, or `None` when there is none that can be used: the indexes
    /// of the packs say the same.
    fn open(folder: &Path, packs: &[Arc<Pack>], old: Option<&Self>, served: &Served) -> Result<Option<Self>, Fault> {
        let path = folder.join("multi-pack-index");
        let (file, metadata) = match open::file(&path, served) {
            Ok(opened) => opened,
            Err(unopened) => return unopened.excuse("open", &path, served).map(|()| None),
        };
        let identity = Identity::of(&metadata);
        let same = |old: &&Self| old.identity == identity && !old.tear.is_torn();
        let (index, tear, sound) = if let Some(old) = old.filter(same) {
            (old.index.clone(), old.tear, old.sound.clone())
        } else {
            let map = map(&file).map_err(|cause| Fault::io("map", &path, cause))?;
            let tear = map.tear();
            match multi_index::File::from_data(map, path.clone(), Some(MAX_MULTI_INDEX_NAMES)) {
                Ok(index) if index.object_hash() == gix_hash::Kind::Sha1 => (Arc::new(index), tear, Arc::default()),
                Ok(_) => return Ok(None),
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "multi-pack index skipped");
                    served.skip(&path, "it cannot be used");
                    return Ok(None);
                }
            }
        };
        let places: HashMap<_, _> =
            packs.iter().enumerate().filter_map(|(at, pack)| Some((pack.path().file_stem()?, at))).collect();
        // One that names a pack which is gone is out of date.
        let packs: Option<Vec<_>> =
            index.index_names().iter().map(|name| places.get(name.file_stem()?).copied()).collect();
        Ok(packs.map(|packs| Self { path, identity, index, tear, packs: packs.into(), sound }))
    }

    fn is_believed(&self) -> bool {
        self.sound.get() != Some(&false) && !self.tear.is_torn()
    }

    fn lookup(&self, id: &Sha1Git) -> Result<Option<(usize, u64)>, Fault> {
        let found = self.index.lookup(gix_hash::oid::from_bytes_unchecked(id.as_bytes())).map(|at| {
            let place = self.index.pack_id_and_pack_offset_at_index(at).ok();
            place.and_then(|(pack, offset)| Some((*self.packs.get(pack as usize)?, offset)))
        });
        match found {
            _ if self.tear.is_torn() => Err(damaged(&self.path)),
            Some(None) => Err(damaged(&self.path)),
            Some(place) => Ok(place),
            None => Ok(None),
        }
    }
}

/// The packs that have an index, newest first, and the multi-pack index.
type Listed = (Vec<Arc<Pack>>, Result<Option<MultiIndex>, Fault>);

/// What is in the folder of packs; what is in `old` and still the same is kept.
fn list_packs(dir: &ObjectDir, old: &[Arc<Pack>], multi: Option<&MultiIndex>) -> Result<Listed, Fault> {
    let (path, served) = (dir.path.join("pack"), &dir.served);
    let folder = match open::folder(&path, served) {
        Ok(folder) => folder,
        Err(unopened) => {
            unopened.excuse("list packs in", &path, served)?;
            return Ok((Vec::new(), Ok(None)));
        }
    };
    let fault = |cause| Fault::io("list packs in", &path, cause);
    let old: HashMap<&Path, &Arc<Pack>> = old.iter().map(|pack| (pack.path(), pack)).collect();
    let mut packs = Vec::new();
    for (name, _) in open::names(&folder).map_err(fault)? {
        let index = path.join(name);
        if index.extension().is_none_or(|extension| extension != "idx") {
            continue;
        }
        let pack = index.with_extension("pack");
        // Gone since, or never whole: as if it had not been listed.
        let Some(identity) = identity(&index, served)? else { continue };
        let known = old.get(pack.as_path()).filter(|pack| pack.identity() == identity && !pack.is_torn());
        if let Some(known) = known {
            packs.push((*known).clone());
        } else if self::identity(&pack, served)?.is_some() {
            packs.push(Arc::new(Pack::new(pack, identity, served.clone())));
        }
    }
    packs.sort_by(|a, b| b.identity().mtime.cmp(&a.identity().mtime).then_with(|| a.path().cmp(b.path())));
    let multi = MultiIndex::open(&path, &packs, multi, served);
    Ok((packs, multi))
}

/// What a file of the folder of packs is now; `None` where there is none that is read.
fn identity(path: &Path, served: &Served) -> Result<Option<Identity>, Fault> {
    let looked = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => return Ok(Some(Identity::of(&metadata))),
        // Where it leads, and whether it is read.
        Ok(_) => open::file(path, served).map(|(_, metadata)| Identity::of(&metadata)),
        Err(error) if open::is_absence(&error) => Err(Unopened::Absent),
        Err(error) => Err(Unopened::Failed(error)),
    };
    match looked {
        Ok(identity) => Ok(Some(identity)),
        Err(unopened) => unopened.excuse("look at", path, served).map(|()| None),
    }
}

/// When an entry of `objects/<name>` last came or went; `None` when there is no such directory.
pub(super) fn dir_mtime(objects: &Path, name: &str) -> io::Result<Option<(i64, i64)>> {
    match objects.join(name).metadata() {
        Ok(meta) => Ok(Some((meta.mtime(), meta.mtime_nsec()))),
        Err(error) if open::is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
