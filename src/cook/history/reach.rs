//! What can be reached from the refs: every commit, tag, tree and blob, each once. Owns the walk and
//! the memory that it takes; knows neither packs nor formats.
//!
//! One thread walks the commits and hands their trees out, and then reads trees with the others. What
//! is read has not been hashed ([`Reader::peek`]). So the walk makes a digest of all that it followed,
//! and who publishes what was found makes the same of what it publishes, and compares.

use super::ids::IdMap;
use super::name::Name;
use super::refs::Refs;
use crate::archive::object;
use crate::archive::{Archive, ObjectType, Reader};
use crate::cook::{Control, CookError, threads};
use crate::key::Sha1Git;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What was reached.
pub(super) struct Reached {
    /// In order of id.
    pub(super) objects: Vec<(Sha1Git, Seen)>,
    pub(super) followed: Followed,
}

/// What is known of an object. It needs no alignment.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) object_type: ObjectType,
    /// The first, in order, of those that trees give it.
    pub(super) name: Name,
}

/// A digest of contents, the same in whatever order they come. Each is to be added once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Followed {
    key: [u8; 32],
    sum: u128,
}

impl Followed {
    /// Of nothing yet. `key` must be one that no archive can foresee.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, sum: 0 }
    }

    /// Adds an object that others are reached through; blobs do not count.
    pub(super) fn add(&mut self, id: &Sha1Git, content: &[u8]) {
        self.sum = self.sum.wrapping_add(self.term(id, content));
    }

    /// What [`add`](Self::add) adds.
    pub(super) fn term(&self, id: &Sha1Git, content: &[u8]) -> u128 {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(id.as_bytes()).update(content);
        let digest: [u8; 16] =
            hasher.finalize().as_bytes()[..16].try_into().expect("because sixteen bytes are sixteen");
        u128::from_le_bytes(digest)
    }

    /// Nothing yet, to be compared with this.
    pub(super) fn anew(&self) -> Self {
        Self { key: self.key, sum: 0 }
    }

    /// Adds a term.
    pub(super) fn add_term(&mut self, term: u128) {
        self.sum = self.sum.wrapping_add(term);
    }

    /// Adds what another thread followed.
    pub(super) fn merge(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// Ids are spread over so many sets, each behind a lock of its own.
const SHARDS: usize = 64;
/// Trees of so many commits are handed out at once: those of neighbours are made from each other.
const BATCH: usize = 32;
/// A thread that knows of more trees than this gives half of them to others that wait.
const PLENTY: usize = 64;

/// Walks from `refs`. `verified` reads with [`Reader::find`], which hashes.
pub(super) fn reach(
    archive: &dyn Archive,
    refs: &Refs,
    number: usize,
    verified: bool,
    control: &Control,
) -> Result<Reached, CookError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| CookError::Archive {
        action: "get random bytes".to_owned(),
        cause: std::io::Error::other(error.to_string()),
    })?;
    let sets = (0..SHARDS).map(|_| Mutex::new(IdMap::new())).collect();
    let walk = Walk { sets, work: Mutex::default(), bell: Condvar::new(), key, verified, control };
    let mut followed = Followed::new(key);
    std::thread::scope(|scope| {
        let _stop = StopOnPanic(&walk);
        let part = || || walk.trees(&mut *archive.reader());
        let others = threads::start_some(scope, number.saturating_sub(1), part);
        let mut reader = archive.reader();
        let own = walk.commits(&mut *reader, refs).and_then(|first| {
            followed.merge(&first);
            walk.trees(&mut *reader)
        });
        let mut results = vec![own.inspect_err(|_| walk.stop())];
        results.extend(others.into_iter().map(|other| other.join().unwrap_or(Err(CookError::Panicked))));
        // A thread that was only told to stop has nothing to say.
        results.into_iter().try_for_each(|result| result.map(|one| followed.merge(&one)))
    })?;
    let mut objects = Vec::new();
    for set in walk.sets {
        set.into_inner().unwrap_or_else(PoisonError::into_inner).drain_into(&mut objects);
    }
    objects.sort_unstable_by_key(|(id, _)| *id);
    Ok(Reached { objects, followed })
}

struct Walk<'a> {
    sets: Vec<Mutex<IdMap<Seen>>>,
    work: Mutex<Work>,
    bell: Condvar,
    key: [u8; 32],
    verified: bool,
    control: &'a Control,
}

#[derive(Default)]
struct Work {
    /// Trees, each in the set already and not yet read.
    trees: VecDeque<Vec<Sha1Git>>,
    /// Threads that read trees now.
    busy: usize,
    /// Whether all commits were walked.
    complete: bool,
    stopped: bool,
}

impl Walk<'_> {
    /// Adds an id that something says is an object of this type; whether it is new.
    fn add(&self, id: &Sha1Git, object_type: ObjectType, name: Name) -> Result<bool, CookError> {
        let shard = &self.sets[usize::from(id.as_bytes()[19]) % SHARDS];
        match lock(shard).insert(id, Seen { object_type, name }) {
            None => Ok(true),
            Some(known) if known.object_type == object_type => {
                // Whichever thread comes first.
                known.name = known.name.min(name);
                Ok(false)
            }
            Some(Seen { object_type: known, .. }) => Err(CookError::Corrupt {
                id: *id,
                reason: format!("one object says it is a {known}, and another says {object_type}"),
            }),
        }
    }

    /// Reads an object that is not a blob, and adds it to what was followed.
    fn read(
        &self,
        reader: &mut dyn Reader,
        id: &Sha1Git,
        wanted: ObjectType,
        buf: &mut Vec<u8>,
        followed: &mut Followed,
    ) -> Result<(), CookError> {
        if let Some(reason) = self.control.cancelled() {
            return Err(CookError::Cancelled(reason));
        }
        let found = if self.verified { reader.find(id, buf) } else { reader.peek(id, buf) }?;
        let found = found.ok_or(CookError::Missing { id: *id })?;
        crate::cook::root::same_type(id, found, wanted)?;
        followed.add(id, buf);
        Ok(())
    }

    /// Walks commits and tags, and hands out the trees they lead to.
    fn commits(&self, reader: &mut dyn Reader, refs: &Refs) -> Result<Followed, CookError> {
        let mut followed = Followed::new(self.key);
        let mut queue = VecDeque::new();
        let mut buf = Vec::new();
        let mut batch = Vec::new();
        if let Some(made) = &refs.made {
            self.add(&made.id, ObjectType::Commit, Name::NONE)?;
            followed.add(&made.id, &made.content);
            self.commit(&made.id, &made.content, &mut queue, &mut batch)?;
        }
        let head = refs.head_target().map(|id| (id, ObjectType::Commit));
        let roots = refs.list.iter().map(|one| (one.target, one.object_type)).chain(head);
        for (id, object_type) in roots {
            self.found(&id, object_type, &mut queue, &mut batch)?;
        }
        while let Some((id, object_type)) = queue.pop_front() {
            self.read(reader, &id, object_type, &mut buf, &mut followed)?;
            if object_type == ObjectType::Commit {
                self.commit(&id, &buf, &mut queue, &mut batch)?;
            } else {
                let (target, target_type) = object::tag_target(&buf).map_err(|error| corrupt(&id, &error))?;
                self.found(&target, target_type, &mut queue, &mut batch)?;
            }
            if batch.len() >= BATCH {
                self.hand_out(std::mem::take(&mut batch));
            }
        }
        self.hand_out(batch);
        let mut work = lock(&self.work);
        work.complete = true;
        self.bell.notify_all();
        drop(work);
        Ok(followed)
    }

    fn commit(
        &self,
        id: &Sha1Git,
        content: &[u8],
        queue: &mut VecDeque<(Sha1Git, ObjectType)>,
        trees: &mut Vec<Sha1Git>,
    ) -> Result<(), CookError> {
        let tree = object::commit_tree(content).map_err(|error| corrupt(id, &error))?;
        self.found(&tree, ObjectType::Tree, queue, trees)?;
        object::commit_parents(content).try_for_each(|parent| self.found(&parent, ObjectType::Commit, queue, trees))
    }

    fn found(
        &self,
        id: &Sha1Git,
        object_type: ObjectType,
        queue: &mut VecDeque<(Sha1Git, ObjectType)>,
        trees: &mut Vec<Sha1Git>,
    ) -> Result<(), CookError> {
        if self.add(id, object_type, Name::NONE)? {
            match object_type {
                ObjectType::Commit | ObjectType::Tag => queue.push_back((*id, object_type)),
                ObjectType::Tree => trees.push(*id),
                ObjectType::Blob => {}
            }
        }
        Ok(())
    }

    fn hand_out(&self, trees: Vec<Sha1Git>) {
        if !trees.is_empty() {
            lock(&self.work).trees.push_back(trees);
            self.bell.notify_one();
        }
    }

    /// Reads trees until no thread has any left.
    fn trees(&self, reader: &mut dyn Reader) -> Result<Followed, CookError> {
        let mut followed = Followed::new(self.key);
        let mut buf = Vec::new();
        while let Some(mut stack) = self.take() {
            // The first handed out is the first read.
            stack.reverse();
            let mut busy = Busy { walk: self, failed: true };
            self.stack(reader, &mut stack, &mut buf, &mut followed)?;
            busy.failed = false;
        }
        Ok(followed)
    }

    /// Trees to read; `None` when there are none and will be none.
    fn take(&self) -> Option<Vec<Sha1Git>> {
        let mut work = lock(&self.work);
        loop {
            if work.stopped {
                return None;
            }
            if let Some(trees) = work.trees.pop_front() {
                work.busy += 1;
                return Some(trees);
            }
            if work.complete && work.busy == 0 {
                return None;
            }
            work = self.bell.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stack(
        &self,
        reader: &mut dyn Reader,
        stack: &mut Vec<Sha1Git>,
        buf: &mut Vec<u8>,
        followed: &mut Followed,
    ) -> Result<(), CookError> {
        while let Some(tree) = stack.pop() {
            self.read(reader, &tree, ObjectType::Tree, buf, followed)?;
            for entry in object::tree_entries(buf) {
                let entry = entry.map_err(|error| corrupt(&tree, &error))?;
                let Some(object_type) = entry.kind.leads_to() else { continue };
                let name = Name::of(entry.name);
                if self.add(&entry.id, object_type, name)? && object_type == ObjectType::Tree {
                    stack.push(entry.id);
                }
            }
            if stack.len() > PLENTY {
                self.share(stack);
            }
        }
        Ok(())
    }

    /// Gives half of the trees away when nothing else is there for others.
    fn share(&self, stack: &mut Vec<Sha1Git>) {
        let mut work = lock(&self.work);
        if work.trees.is_empty() {
            let mut given: Vec<_> = stack.drain(..stack.len() / 2).collect();
            given.reverse();
            work.trees.push_back(given);
            self.bell.notify_one();
        }
    }

    fn stop(&self) {
        lock(&self.work).stopped = true;
        self.bell.notify_all();
    }
}

/// A thread that reads trees, until it is dropped.
struct Busy<'a, 'b> {
    walk: &'a Walk<'b>,
    /// Whether it ends by an error or a panic, and so must the others.
    failed: bool,
}

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        let mut work = lock(&self.walk.work);
        work.busy -= 1;
        work.stopped |= self.failed;
        self.walk.bell.notify_all();
    }
}

struct StopOnPanic<'a, 'b>(&'a Walk<'b>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

fn corrupt(id: &Sha1Git, error: &dyn std::fmt::Display) -> CookError {
    CookError::Corrupt { id: *id, reason: error.to_string() }
}

/// What a panicking thread leaves behind a lock here is whole; that it panicked is said at its join.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
