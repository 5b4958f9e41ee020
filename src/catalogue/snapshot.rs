//! The manifests of snapshots, packed: each alone, or against that of a snapshot like it.
//!
//! The manifests of one large origin have megabytes and differ in a few branches, so one is packed
//! with the bytes of an earlier one as what it may refer to (`base`). A base has none itself: reading
//! unpacks two rows at most.
//!
//! To look a branch up the last manifests are kept as they are hashed ([`Catalogue::branches`]), in a bounded number of
//! bytes; one is unpacked at a time, for a large one takes its size twice over meanwhile.

use super::error::Fault;
use super::row::{execute, first, signed, unsigned};
use super::{Catalogue, CatalogueError};
use crate::archive::snapshot::{Encoded, MAX_MANIFEST, Manifest};
use crate::key::Sha1Git;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zstd::stream::raw::CParameter;

/// zstd's level: names pack well at any, and ids at none.
const LEVEL: i32 = 6;

/// A difference over this part of the manifest is none worth another row's company.
const WORTH: usize = 8;

/// How many bytes of manifests are kept to look branches up in.
const KEPT: usize = 24 << 20;

/// The window of zstd in bits, so that a manifest sees all of its base and of itself.
const WINDOW: u32 = (2 * MAX_MANIFEST).ilog2();

impl Catalogue {
    /// The manifest of a snapshot; `None` when none of that id was ever taken.
    pub fn snapshot(&self, id: &Sha1Git) -> Result<Option<Manifest>, CatalogueError> {
        let Some(bytes) = self.read("look up a snapshot", |connection| bytes(connection, id))? else {
            return Ok(None);
        };
        let manifest = Manifest::decode(&bytes).ok().filter(|manifest| manifest.id() == *id);
        let damaged = || Fault::Row("a manifest is not that of its snapshot");
        manifest.ok_or_else(damaged).map(Some).map_err(|fault| fault.during("look up a snapshot", &self.shared.path))
    }

    /// The same for looking branches up: as it is hashed, and kept for the next question.
    pub fn branches(&self, id: &Sha1Git) -> Result<Option<Arc<Encoded>>, CatalogueError> {
        let manifests = &self.shared.manifests;
        if let Some(kept) = manifests.get(id) {
            return Ok(Some(kept));
        }
        let _one = lock(&manifests.unpacking);
        // Perhaps it was the one that was unpacked meanwhile.
        if let Some(kept) = manifests.get(id) {
            return Ok(Some(kept));
        }
        let Some(bytes) = self.read("look up a snapshot", |connection| bytes(connection, id))? else {
            return Ok(None);
        };
        let encoded = Encoded::new(bytes).ok().filter(|encoded| encoded.id() == *id).map(Arc::new);
        let damaged =
            || Fault::Row("a manifest is not that of its snapshot").during("look up a snapshot", &self.shared.path);
        let encoded = encoded.ok_or_else(damaged)?;
        manifests.put(*id, &encoded);
        Ok(Some(encoded))
    }

    /// Whether the manifest of a snapshot is known.
    pub fn has_snapshot(&self, id: &Sha1Git) -> Result<bool, CatalogueError> {
        self.read("look up a snapshot", |connection| is_known(connection, id))
    }

    /// Keeps a manifest and gives its id. `like` is a snapshot that it may differ little from: the one
    /// before it of the same origin.
    pub fn add_snapshot(&self, manifest: &Manifest, like: Option<&Sha1Git>) -> Result<Sha1Git, CatalogueError> {
        let id = manifest.id();
        if self.has_snapshot(&id)? {
            return Ok(id);
        }
        let encoded = manifest.encode();
        // Packed before the write lock is taken: manifests are never removed, so what was read holds.
        let packed = self.read("pack a manifest", |connection| pack(connection, &encoded, like))?;
        self.write("keep a manifest", |transaction| {
            execute(
                transaction,
                "INSERT INTO snapshot (id, base, size, manifest) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO NOTHING",
                (id.as_bytes(), packed.base, signed(encoded.len() as u64), &packed.bytes),
            )
        })?;
        Ok(id)
    }
}

/// The manifests that branches were last looked up in. They never change, so none is ever wrong.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// The last used last. No lock is taken while it is held.
    kept: Mutex<VecDeque<(Sha1Git, Arc<Encoded>)>>,
    /// Held while one is unpacked, and a reader lent; before `kept`.
    unpacking: Mutex<()>,
}

impl Manifests {
    fn get(&self, id: &Sha1Git) -> Option<Arc<Encoded>> {
        let mut kept = lock(&self.kept);
        let place = kept.iter().position(|(other, _)| other == id)?;
        let found = kept.remove(place)?;
        let manifest = Arc::clone(&found.1);
        kept.push_back(found);
        Some(manifest)
    }

    fn put(&self, id: Sha1Git, manifest: &Arc<Encoded>) {
        let mut kept = lock(&self.kept);
        kept.push_back((id, Arc::clone(manifest)));
        while kept.iter().map(|(_, one)| one.weight()).sum::<usize>() > KEPT || kept.len() > KEPT / 4096 {
            kept.pop_front();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Packed {
    base: Option<[u8; 20]>,
    bytes: Vec<u8>,
}

fn is_known(connection: &Connection, id: &Sha1Git) -> Result<bool, Fault> {
    Ok(first(connection, "SELECT 1 FROM snapshot WHERE id = ?1", [id.as_bytes()], |_| Ok(()))?.is_some())
}

fn pack(connection: &Connection, encoded: &[u8], like: Option<&Sha1Git>) -> Result<Packed, Fault> {
    if let Some(like) = like
        && let Some(root) =
            first(connection, "SELECT coalesce(base, id) FROM snapshot WHERE id = ?1", [like.as_bytes()], |row| {
                Ok(row.get::<_, [u8; 20]>(0)?)
            })?
        && let Some(base) = bytes(connection, &Sha1Git::from_bytes(root))?
    {
        let difference = compress(encoded, &base).map_err(Fault::Files)?;
        if difference.len() <= encoded.len() / WORTH {
            return Ok(Packed { base: Some(root), bytes: difference });
        }
    }
    Ok(Packed { base: None, bytes: compress(encoded, &[]).map_err(Fault::Files)? })
}

/// The manifest of a snapshot as it is hashed.
fn bytes(connection: &Connection, id: &Sha1Git) -> Result<Option<Vec<u8>>, Fault> {
    let sql = "SELECT base, size, manifest FROM snapshot WHERE id = ?1";
    let row = |id: [u8; 20]| {
        first(connection, sql, [id], |row| {
            let size = usize::try_from(unsigned(row, 1)?).ok().filter(|size| *size <= MAX_MANIFEST);
            let size = size.ok_or(Fault::Row("a manifest is too large"))?;
            Ok((row.get::<_, Option<[u8; 20]>>(0)?, size, row.get::<_, Vec<u8>>(2)?))
        })
    };
    let damaged = || Fault::Row("a manifest cannot be unpacked");
    let Some((base, size, packed)) = row(*id.as_bytes())? else { return Ok(None) };
    let base = match base {
        Some(base) => match row(base)? {
            Some((None, size, packed)) => decompress(&packed, size, &[]).ok_or_else(damaged)?,
            Some((Some(_), ..)) | None => return Err(damaged()),
        },
        None => Vec::new(),
    };
    decompress(&packed, size, &base).ok_or_else(damaged).map(Some)
}

fn compress(bytes: &[u8], base: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), LEVEL, base)?;
    encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    encoder.set_parameter(CParameter::WindowLog(WINDOW))?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// `None` for what is not `size` bytes packed against `base`.
fn decompress(packed: &[u8], size: usize, base: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(packed, base).ok()?;
    decoder.window_log_max(WINDOW).ok()?;
    let mut bytes = Vec::with_capacity(size);
    decoder.take(size as u64 + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() == size).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::snapshot::Target;
    use crate::catalogue::Access;
    use crate::key::ObjectKind;

    /// Branches whose ids look random, as ids do.
    fn manifest(branches: u32) -> Manifest {
        let mut manifest = Manifest::default();
        for branch in 0..branches {
            let digest = blake3::hash(&branch.to_be_bytes());
            let id = Sha1Git::from_slice(&digest.as_bytes()[..20]).unwrap();
            manifest.insert(format!("refs/heads/b{branch:06}").as_bytes(), Target::Object(ObjectKind::Revision, id));
        }
        manifest
    }

    fn stored(catalogue: &Catalogue, id: &Sha1Git) -> u64 {
        let sql = "SELECT length(manifest) FROM snapshot WHERE id = ?1";
        catalogue.read("", |c| first(c, sql, [id.as_bytes()], |row| unsigned(row, 0))).unwrap().unwrap()
    }

    #[test]
    fn manifests_read_back_and_those_alike_take_little_room() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&folder.path().join("catalogue.db"), Access::Migrate).unwrap();
        let mut taken = vec![manifest(20_000)];
        let first = catalogue.add_snapshot(&taken[0], None).unwrap();
        let mut last = first;
        for change in 0..3_u8 {
            let mut next = taken.last().unwrap().clone();
            let place = format!("refs/heads/b{:06}", 5000 * u32::from(change) + 1);
            next.insert(place.as_bytes(), Target::Object(ObjectKind::Revision, Sha1Git::from_bytes([change; 20])));
            next.insert(format!("refs/heads/new{change}").as_bytes(), Target::Dangling);
            last = catalogue.add_snapshot(&next, Some(&last)).unwrap();
            assert!(stored(&catalogue, &last) < 1000, "{} bytes", stored(&catalogue, &last));
            taken.push(next);
        }
        let empty = catalogue.add_snapshot(&Manifest::default(), Some(&last)).unwrap();
        taken.push(Manifest::default());
        for manifest in &taken {
            assert_eq!(catalogue.snapshot(&manifest.id()).unwrap().as_ref(), Some(manifest));
            for _ in 0..2 {
                assert_eq!(catalogue.branches(&manifest.id()).unwrap().unwrap().bytes(), manifest.encode());
            }
        }
        assert_eq!(catalogue.add_snapshot(&taken[0], Some(&empty)).unwrap(), first);
        assert!(!catalogue.has_snapshot(&Sha1Git::NULL).unwrap());
        assert_eq!(catalogue.snapshot(&Sha1Git::NULL).unwrap(), None);
        assert_eq!(catalogue.branches(&Sha1Git::NULL).unwrap(), None);
    }

    #[test]
    fn the_last_manifests_are_kept_in_so_many_bytes() {
        let manifests = Manifests::default();
        let encoded = Arc::new(Encoded::new(manifest(100_000).encode()).unwrap());
        let room = u8::try_from(KEPT / encoded.weight()).unwrap();
        for byte in 0..=room {
            manifests.put(Sha1Git::from_bytes([byte; 20]), &encoded);
            assert!(manifests.get(&Sha1Git::from_bytes([1; 20])).is_some() == (byte > 0), "the last used is kept");
        }
        assert!(manifests.get(&Sha1Git::from_bytes([0; 20])).is_none());
        assert_eq!(lock(&manifests.kept).len(), usize::from(room));
    }

    #[test]
    fn a_row_that_was_changed_is_an_error_and_not_another_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.db");
        let catalogue = Catalogue::open(&path, Access::Migrate).unwrap();
        let id = catalogue.add_snapshot(&manifest(3), None).unwrap();
        let other = compress(&manifest(4).encode(), &[]).unwrap();
        let size = signed(manifest(4).encode().len() as u64);
        catalogue
            .write("", |t| {
                execute(t, "UPDATE snapshot SET manifest = ?1, size = ?2 WHERE id = ?3", (other, size, id.as_bytes()))
            })
            .unwrap();
        assert!(matches!(catalogue.snapshot(&id), Err(CatalogueError::Row { .. })));
        assert!(matches!(catalogue.branches(&id), Err(CatalogueError::Row { .. })));
    }
}
