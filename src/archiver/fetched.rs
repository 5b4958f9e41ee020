//! Fetched archives as a place that objects come from: a directory whose tree was found in one can be
//! cooked, though no repository has it.
//!
//! A git tree is found by its id, a member of a tarball only by reading all of it. So the archive is
//! read through once more when its directory is asked for, its contents laid side by side in a file
//! without a name (a **shelf**), its trees kept in memory, and both are found by id until nobody has
//! asked for a while. What shelves may take of the disk together is bounded, and counts there as what
//! drafts take.
//!
//! **Locks.** `laying` is held while a shelf is laid, so that one directory is laid once; `shelves` for
//! one lookup.

use super::structure::{self, Blobs, Packing};
use super::tree::{Members, Top};
use crate::admission::{Reservation, Room};
use crate::archive::object::{self, Hasher};
use crate::archive::{Archive, ArchiveError, Header, MAX_WHOLE_BLOB, ObjectType, Reader};
use crate::bundles::Bundles;
use crate::key::Sha1Git;
use crate::task::Alias;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long a shelf stays after it was last used.
const KEPT: Duration = Duration::from_secs(30);
/// Bytes of a blob passed on at a time.
const PIECE: usize = 64 << 10;

/// The directories of fetched archives. Cheap to clone.
#[derive(Clone)]
pub struct FetchedArchive(Arc<Shared>);

struct Shared {
    bundles: Bundles,
    /// Where shelves lie.
    scratch: PathBuf,
    /// What all shelves together may hold.
    max_scratch: u64,
    space: Arc<Room>,
    shelves: Mutex<HashMap<Sha1Git, Shelf>>,
    laying: Mutex<()>,
}

#[derive(Clone)]
struct Shelf {
    contents: Arc<Contents>,
    used: Instant,
}

/// The objects of one archive.
struct Contents {
    file: File,
    size: u64,
    /// Stands as long as the file does.
    _reserved: Reservation,
    /// Where each blob lies, and its length.
    blobs: HashMap<Sha1Git, (u64, u64)>,
    trees: HashMap<Sha1Git, Vec<u8>>,
}

impl FetchedArchive {
    /// What was fetched and kept among `bundles`. Shelves lie in the folder `scratch`, take at most
    /// `max_scratch` bytes together, and these of the `room` that bundles have.
    #[must_use]
    pub fn new(bundles: Bundles, room: Arc<Room>, scratch: PathBuf, max_scratch: u64) -> Self {
        let (shelves, laying) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { bundles, scratch, max_scratch, space: room, shelves, laying }))
    }
}

impl Archive for FetchedArchive {
    fn reader(&self) -> Box<dyn Reader> {
        Box::new(ShelfReader { shared: Arc::clone(&self.0), held: None })
    }

    fn stamp(&self, _: &Sha1Git) -> u64 {
        let last = self.0.bundles.catalogue().last_fetch().ok().flatten();
        last.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(0))
    }
}

impl Shared {
    fn shelves(&self) -> MutexGuard<'_, HashMap<Sha1Git, Shelf>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shelf that has an object.
    fn with(&self, id: &Sha1Git) -> Option<Arc<Contents>> {
        let mut shelves = self.shelves();
        let found = shelves.values_mut().find(|shelf| shelf.contents.has(id))?;
        found.used = Instant::now();
        Some(Arc::clone(&found.contents))
    }

    /// A fetched archive of this directory that is in the store, and its file.
    fn archive_of(&self, directory: &Sha1Git) -> Result<Option<(Alias, File)>, ArchiveError> {
        let failed = |cause: io::Error| ArchiveError::Io { action: "look for a fetched archive".to_owned(), cause };
        for alias in self.bundles.catalogue().archives_of(directory).map_err(|error| failed(io::Error::other(error)))? {
            let Some(fetched) = &alias.fetched else { continue };
            if let Some(found) = self.bundles.open(&fetched.content).map_err(failed)? {
                return Ok(Some((alias, found.file)));
            }
        }
        Ok(None)
    }

    /// Lays the shelf of a directory, if an archive of it is there.
    fn lay(self: &Arc<Self>, directory: &Sha1Git) -> Result<Option<Arc<Contents>>, ArchiveError> {
        let _laying = self.laying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(contents) = self.with(directory) {
            return Ok(Some(contents));
        }
        let Some((alias, file)) = self.archive_of(directory)? else { return Ok(None) };
        let taken: u64 = self.shelves().values().map(|shelf| shelf.contents.size).sum();
        let contents = Arc::new(self.read(directory, &alias, file, self.max_scratch.saturating_sub(taken))?);
        self.shelves().insert(*directory, Shelf { contents: Arc::clone(&contents), used: Instant::now() });
        clear_when_unused(Arc::downgrade(self));
        Ok(Some(contents))
    }

    fn read(&self, directory: &Sha1Git, alias: &Alias, file: File, room: u64) -> Result<Contents, ArchiveError> {
        let failed = |cause: io::Error| ArchiveError::Io { action: "read a fetched archive".to_owned(), cause };
        let corrupt = |reason: String| ArchiveError::Corrupt { id: *directory, reason };
        let packing = Packing::of(&alias.wanted.suffix).ok_or_else(|| corrupt("it is packed unknown".to_owned()))?;
        let scratch = tempfile::tempfile_in(&self.scratch).map_err(failed)?;
        let (out, reserved) = (BufWriter::with_capacity(1 << 20, scratch), self.space.reservation());
        let mut laid = Laid { out, reserved, at: 0, start: 0, blobs: HashMap::new() };
        let size = file.metadata().map_err(failed)?.len();
        let members = match packing {
            Packing::Zip => structure::read_zip(rawzip::FileReader::from(file), size, room, &mut laid),
            packing => structure::read_tar(packing, BufReader::with_capacity(1 << 18, file), room, &mut laid),
        };
        let mut members = members.map_err(|error| match error {
            structure::StructureError::Read(cause) => failed(cause),
            // More than there is room for now; later there may be.
            structure::StructureError::TooLarge(_) => {
                failed(io::Error::new(io::ErrorKind::StorageFull, "no room to unpack it"))
            }
            error => corrupt(format!("the archive it was in: {error}")),
        })?;
        let trees = trees(&mut members, directory).map_err(corrupt)?;
        let file = laid.out.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Contents { file, size: laid.at, _reserved: laid.reserved, blobs: laid.blobs, trees })
    }

    /// Takes away what was not used for a while; whether nothing is left.
    fn clear(&self) -> bool {
        let mut shelves = self.shelves();
        shelves.retain(|_, shelf| Arc::strong_count(&shelf.contents) > 1 || shelf.used.elapsed() < KEPT);
        shelves.is_empty()
    }
}

/// The trees of a directory, which is the one below the top directory or the one above it: what the source
/// said of that when the archive was fetched is not known any more.
fn trees(members: &mut Members, directory: &Sha1Git) -> Result<HashMap<Sha1Git, Vec<u8>>, String> {
    let mut reason = "the archive it was in holds another".to_owned();
    for top in [Top::Auto, Top::Keep] {
        let mut trees = HashMap::new();
        match members.tree(top, |id, tree| drop(trees.insert(id, tree))) {
            Ok(found) if found.id == *directory => return Ok(trees),
            Ok(_) => {}
            Err(why) => reason = why,
        }
    }
    Err(reason)
}

/// A thread that takes shelves away, as long as there are any.
fn clear_when_unused(shared: Weak<Shared>) {
    let clear = move || {
        loop {
            std::thread::sleep(KEPT / 4);
            match shared.upgrade() {
                Some(shared) if !shared.clear() => {}
                _ => return,
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().spawn(clear) {
        tracing::warn!(%error, "what was unpacked of archives stays until the next is");
    }
}

/// Lays contents one behind the other.
struct Laid {
    out: BufWriter<File>,
    reserved: Reservation,
    at: u64,
    start: u64,
    blobs: HashMap<Sha1Git, (u64, u64)>,
}

impl Blobs for Laid {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.reserved.reach(self.at)?;
        self.out.write_all(bytes)
    }

    fn end(&mut self, id: &Sha1Git) {
        self.blobs.entry(*id).or_insert((self.start, self.at - self.start));
        self.start = self.at;
    }
}

impl Contents {
    fn has(&self, id: &Sha1Git) -> bool {
        self.trees.contains_key(id) || self.blobs.contains_key(id)
    }

    fn header(&self, id: &Sha1Git) -> Option<Header> {
        if let Some(tree) = self.trees.get(id) {
            return Some(Header { object_type: ObjectType::Tree, size: tree.len() as u64 });
        }
        self.blobs.get(id).map(|&(_, size)| Header { object_type: ObjectType::Blob, size })
    }
}

/// One thread's handle; holds on to the shelf that it read from last.
struct ShelfReader {
    shared: Arc<Shared>,
    held: Option<Arc<Contents>>,
}

impl ShelfReader {
    /// The shelf that has the object; laid, if the object is a directory that was fetched.
    fn shelf(&mut self, id: &Sha1Git) -> Result<Option<Arc<Contents>>, ArchiveError> {
        if let Some(held) = self.held.as_ref().filter(|held| held.has(id)) {
            return Ok(Some(Arc::clone(held)));
        }
        let found = match self.shared.with(id) {
            Some(found) => Some(found),
            None => self.shared.lay(id)?,
        };
        self.held.clone_from(&found);
        Ok(found)
    }
}

impl Reader for ShelfReader {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        if let Some(held) = self.held.clone().filter(|held| held.has(id)).or_else(|| self.shared.with(id)) {
            return Ok(held.header(id));
        }
        // Whether a directory is there is known without reading its archive.
        let directory = self.shared.archive_of(id)?.and_then(|(alias, _)| alias.fetched?.directory.ok());
        Ok(directory.map(|directory| Header { object_type: ObjectType::Tree, size: directory.size }))
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let Some(objects) = self.shelf(id)? else { return Ok(None) };
        buf.clear();
        if let Some(tree) = objects.trees.get(id) {
            buf.extend_from_slice(tree);
            return Ok(Some(ObjectType::Tree));
        }
        let Some(&(at, size)) = objects.blobs.get(id) else { return Ok(None) };
        if size > MAX_WHOLE_BLOB {
            return Err(ArchiveError::TooLarge { id: *id, size, limit: MAX_WHOLE_BLOB });
        }
        buf.resize(usize::try_from(size).expect("because it is at most MAX_WHOLE_BLOB"), 0);
        objects.file.read_exact_at(buf, at).map_err(unreadable)?;
        if object::hash(ObjectType::Blob, buf) != Ok(*id) {
            return Err(changed(*id));
        }
        Ok(Some(ObjectType::Blob))
    }

    fn stream(&mut self, id: &Sha1Git, sink: &mut dyn Write) -> Result<Option<Header>, ArchiveError> {
        let Some(objects) = self.shelf(id)? else { return Ok(None) };
        let Some(&(at, size)) = objects.blobs.get(id) else {
            return Err(ArchiveError::Corrupt { id: *id, reason: "it is not a blob".to_owned() });
        };
        let (mut hasher, mut piece) = (Hasher::new(ObjectType::Blob, size), vec![0; PIECE]);
        let mut done = 0;
        while done < size {
            let n = usize::try_from(size - done).unwrap_or(PIECE).min(PIECE);
            objects.file.read_exact_at(&mut piece[..n], at + done).map_err(unreadable)?;
            hasher.update(&piece[..n]);
            sink.write_all(&piece[..n]).map_err(ArchiveError::Sink)?;
            done += n as u64;
        }
        if hasher.finish() != Ok(*id) {
            return Err(changed(*id));
        }
        Ok(Some(Header { object_type: ObjectType::Blob, size }))
    }
}

fn unreadable(cause: io::Error) -> ArchiveError {
    ArchiveError::Io { action: "read what was unpacked".to_owned(), cause }
}

fn changed(id: Sha1Git) -> ArchiveError {
    ArchiveError::Corrupt { id, reason: "what was unpacked has changed".to_owned() }
}
