//! The packs of one `objects` directory as they were when it was last listed.
//!
//! A listing is immutable and shared; a newer one takes over the packs that are still there, so
//! what is mapped stays mapped, and drops the others: when the last reader lets go of the old
//! listing, packs that git deleted are unmapped and their disk space is free.
//!
//! A directory's mtime is coarse. A listing is trusted by it only once it was made again, a second
//! or more later, with the mtime still the same.

use super::fault::Fault;
use super::pack::{Identity, Pack};
use crate::key::Sha1Git;
use gix_pack::multi_index;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An `objects` directory. The number stands for it in caches, and is never used for another.
pub(super) struct ObjectDir {
    pub(super) number: u64,
    pub(super) path: PathBuf,
}

pub(super) struct Packs {
    pub(super) dir: Arc<ObjectDir>,
    list: Vec<Arc<Pack>>,
    multi: Option<MultiIndex>,
    mtime: Option<(i64, i64)>,
    listed: Instant,
    settled: bool,
}

/// A multi-pack index, and which of the listed packs each of its packs is.
#[derive(Clone)]
struct MultiIndex {
    identity: Identity,
    index: Arc<multi_index::File>,
    packs: Arc<[usize]>,
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
        let mtime = pack_mtime(&dir.path);
        Self::build(dir, mtime, &[], None)
    }

    /// The listing as it is now, or `None` when it is the same; and whether packs came or went.
    pub(super) fn refreshed(&self) -> Option<(Self, bool)> {
        let mtime = pack_mtime(&self.dir.path);
        let same = mtime == self.mtime;
        if same && self.settled {
            return None;
        }
        let mut new = Self::build(self.dir.clone(), mtime, &self.list, self.multi.as_ref());
        new.settled = same && self.listed.elapsed() >= SETTLING;
        let changed = new.list.len() != self.list.len()
            || new.list.iter().zip(&self.list).any(|(new, old)| !Arc::ptr_eq(new, old))
            || new.multi.as_ref().map(|multi| multi.identity) != self.multi.as_ref().map(|multi| multi.identity);
        if !changed && same && !new.settled {
            return None;
        }
        Some((new, changed))
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn pack(&self, at: usize) -> &Arc<Pack> {
        &self.list[at]
    }

    /// Where the object is; `after` goes on behind a place found before. `first` is the pack to ask
    /// first.
    pub(super) fn lookup(&self, id: &Sha1Git, first: usize, after: Option<Place>) -> Result<Option<Place>, Fault> {
        // Step 0 is the multi-pack index, step n the nth pack with `first` moved to the front.
        let mut step = after.map_or(0, |place| place.next);
        while step <= self.list.len() {
            let found = if step == 0 {
                self.multi.as_ref().and_then(|multi| multi.lookup(id))
            } else {
                let pack = match step - 1 {
                    0 if first < self.list.len() => first,
                    at if first < self.list.len() && at <= first => at - 1,
                    at => at,
                };
                let covered = self.multi.as_ref().is_some_and(|multi| multi.packs.contains(&pack));
                let offset = if covered { None } else { self.list[pack].lookup(id)? };
                offset.map(|offset| (pack, offset))
            };
            step += 1;
            if let Some((pack, offset)) = found {
                return Ok(Some(Place { pack, offset, next: step }));
            }
        }
        Ok(None)
    }

    fn build(dir: Arc<ObjectDir>, mtime: Option<(i64, i64)>, old: &[Arc<Pack>], multi: Option<&MultiIndex>) -> Self {
        let folder = dir.path.join("pack");
        let listed = Instant::now();
        let packs = list_packs(&folder, old).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %folder.display(), %error, "packs cannot be listed");
            }
            Vec::new()
        });
        let multi = MultiIndex::open(&folder, &packs, multi);
        Self { dir, list: packs, multi, mtime, listed, settled: false }
    }
}

impl MultiIndex {
    /// The multi-pack index of `folder`, or `None` when there is none that can be used: the indexes
    /// of the packs say the same.
    fn open(folder: &Path, packs: &[Arc<Pack>], old: Option<&Self>) -> Option<Self> {
        let path = folder.join("multi-pack-index");
        let identity = Identity::of(&path).ok()?;
        let index = match old {
            Some(old) if old.identity == identity => old.index.clone(),
            _ => match multi_index::File::at(&path, Some(MAX_MULTI_INDEX_NAMES)) {
                Ok(index) if index.object_hash() == gix_hash::Kind::Sha1 => Arc::new(index),
                Ok(_) => return None,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "multi-pack index skipped: it cannot be used");
                    return None;
                }
            },
        };
        let places: HashMap<_, _> =
            packs.iter().enumerate().filter_map(|(at, pack)| Some((pack.path().file_stem()?, at))).collect();
        // One that names a pack which is gone is out of date.
        let packs = index
            .index_names()
            .iter()
            .map(|name| places.get(name.file_stem()?).copied())
            .collect::<Option<Vec<_>>>()?;
        Some(Self { identity, index, packs: packs.into() })
    }

    fn lookup(&self, id: &Sha1Git) -> Option<(usize, u64)> {
        let at = self.index.lookup(gix_hash::oid::from_bytes_unchecked(id.as_bytes()))?;
        let (pack, offset) = self.index.pack_id_and_pack_offset_at_index(at).ok()?;
        Some((*self.packs.get(pack as usize)?, offset))
    }
}

/// The packs that have an index, newest first; those in `old` that are still the same are kept.
fn list_packs(folder: &Path, old: &[Arc<Pack>]) -> io::Result<Vec<Arc<Pack>>> {
    let old: HashMap<&Path, &Arc<Pack>> = old.iter().map(|pack| (pack.path(), pack)).collect();
    let mut packs = Vec::new();
    for entry in folder.read_dir()? {
        let index = entry?.path();
        if index.extension().is_none_or(|extension| extension != "idx") {
            continue;
        }
        // Gone since: as if it had not been listed.
        let Ok(identity) = Identity::of(&index) else { continue };
        let path = index.with_extension("pack");
        let pack = match old.get(path.as_path()) {
            Some(pack) if pack.identity() == identity => (*pack).clone(),
            _ if path.exists() => Arc::new(Pack::new(path, identity)),
            _ => continue,
        };
        packs.push(pack);
    }
    packs.sort_by(|a, b| b.identity().mtime.cmp(&a.identity().mtime).then_with(|| a.path().cmp(b.path())));
    Ok(packs)
}

/// When an entry of `objects/<name>` last came or went; `None` when there is no such directory.
pub(super) fn dir_mtime(objects: &Path, name: &str) -> Option<(i64, i64)> {
    let meta = objects.join(name).metadata().ok()?;
    Some((meta.mtime(), meta.mtime_nsec()))
}

fn pack_mtime(objects: &Path) -> Option<(i64, i64)> {
    dir_mtime(objects, "pack")
}
