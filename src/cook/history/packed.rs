//! From refs to a pack that was checked: reach, plan, search, write, resolve. Owns what happens when an
//! archive has a damaged copy of an object.
//!
//! **Nothing is given out before every object in it was resolved and hashed**, and what was followed
//! to find them is what is in the pack.

use super::Order;
use super::index::{self, Indexed};
use super::pack::{self, Limits, Written};
use super::plan::{Distrusted, Plan};
use super::reach::{Followed, Seen, reach};
use super::refs::Refs;
use super::resolve::{self, Bounds, Failed, Pack, Resolved};
use super::search::{Better, search};
use crate::archive::ObjectType;
use crate::archive::git::fault::Fault;
use crate::cook::CookError;
use crate::key::Sha1Git;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::sync::{Mutex, PoisonError};

/// A pack that is what it should be.
pub(super) struct Checked {
    file: File,
    /// In bytes, checksum included.
    pub(super) size: u64,
    pub(super) checksum: [u8; 20],
    /// In order of id.
    objects: Vec<(Sha1Git, Seen)>,
    indexed: Vec<Indexed>,
}

/// The largest object that a delta may make, in bytes, however much a bundle may have: 4 GiB. Git
/// makes deltas of files up to an eighth of that.
pub(crate) const MAX_DELTIFIED: u64 = 4 << 30;

/// How often a cook begins again because a copy was damaged, before it copies nothing at all.
const TRIES: usize = 4;

/// Makes the pack of all that can be reached from `refs`.
pub(super) fn packed(order: &Order<'_>, refs: &Refs) -> Result<Checked, CookError> {
    let mut distrusted = Some(Distrusted::new());
    for _ in 0..TRIES {
        let known = distrusted.as_ref().map_or(0, Distrusted::len);
        match attempt(order, refs, distrusted.as_ref()) {
            Err(Attempt::Failed(error)) => return Err(error),
            // Reading it anew did not help.
            Err(Attempt::Damaged(id, reason)) => match &mut distrusted {
                None => return Err(CookError::Corrupt { id, reason }),
                Some(ids) => {
                    tracing::warn!(%id, reason, "a copy of an object is damaged; looking for another");
                    ids.insert(id);
                    if ids.len() == known || known + 2 >= TRIES {
                        distrusted = None;
                    }
                }
            },
            Err(Attempt::Misled) => distrusted = None,
            Ok(checked) => return Ok(checked),
        }
    }
    let subject = order.swhid.id;
    Err(CookError::Corrupt { id: subject, reason: "copies of what it leads to are damaged".to_owned() })
}

enum Attempt {
    Failed(CookError),
    /// This object, as it was copied.
    Damaged(Sha1Git, String),
    /// Something that was followed is not what its id says.
    Misled,
}

impl From<CookError> for Attempt {
    fn from(error: CookError) -> Self {
        Self::Failed(error)
    }
}

/// Copies no object that is `distrusted`; without a list, none at all.
fn attempt(order: &Order<'_>, refs: &Refs, distrusted: Option<&Distrusted>) -> Result<Checked, Attempt> {
    let control = order.control;
    let reached = reach(order.archive, refs, order.threads, distrusted.is_none(), control)?;
    let followed = reached.followed;
    // Each is copied, then resolved and hashed.
    control.set_objects(reached.objects.len() as u64, 2);
    let mut reader = order.archive.reader();
    let elsewhere = |id: &Sha1Git| {
        distrusted.is_none_or(|ids| ids.contains(id)) || refs.made.as_ref().is_some_and(|made| made.id == *id)
    };
    let mut plan = Plan::make(&mut *reader, reached, elsewhere, control)?;
    // Where a copy is damaged, the objects that are made of it would be too.
    let intact = distrusted.is_some_and(HashSet::is_empty);
    let better = if intact { search(&mut plan, order)? } else { Better::none() };
    let room = |size| (order.room)(better.size() + size);
    let limits = Limits { max_size: order.max_size, room: &room, control };
    let file = tempfile::tempfile_in(order.scratch).map_err(CookError::Output)?;
    let written = pack::write(&plan, &better, &mut *reader, refs.made.as_ref(), file, &limits)?;
    drop((reader, better));
    let (objects, places) = plan.finish();
    check(order, &written, &objects, &places, followed)?;
    let mut indexed = vec![Indexed { offset: 0, crc: 0 }; objects.len()];
    for ((entry, crc), at) in written.entries.iter().zip(&written.crcs).zip(&places) {
        indexed[*at as usize] = Indexed { offset: entry.offset, crc: *crc };
    }
    let Written { file, size, checksum, .. } = written;
    Ok(Checked { file, size, checksum, objects, indexed })
}

/// Resolves the pack. The `n`th entry must be the object `places[n]`.
fn check(
    order: &Order<'_>,
    written: &Written,
    objects: &[(Sha1Git, Seen)],
    places: &[u32],
    followed: Followed,
) -> Result<(), Attempt> {
    let pack = Pack { file: &written.file, entries: &written.entries, end: written.size - pack::TRAILER };
    let max_object = order.max_size.min(MAX_DELTIFIED);
    let bounds = Bounds { threads: order.threads, scratch: order.scratch, max_object };
    let found = Mutex::new(followed.anew());
    let cancelled = || io::Error::from(io::ErrorKind::Interrupted);
    let visit = |resolved: &Resolved<'_>| {
        if order.control.cancelled().is_some() {
            return Err(Fault::Sink(cancelled()));
        }
        let (id, Seen { object_type, .. }) = objects[places[resolved.at as usize] as usize];
        if (resolved.id, resolved.object_type) != (id, object_type) {
            let reason = format!("its bytes are those of the {} {}", resolved.object_type, resolved.id);
            return Err(Fault::Corrupt(reason.into()));
        }
        if object_type != ObjectType::Blob {
            let term = followed.term(&id, resolved.content);
            found.lock().unwrap_or_else(PoisonError::into_inner).add_term(term);
        }
        order.control.add_done(1);
        Ok(())
    };
    resolve::resolve(&pack, &bounds, &visit).map_err(|Failed { at, fault }| {
        if let Some(reason) = order.control.cancelled() {
            return Attempt::Failed(CookError::Cancelled(reason));
        }
        let (id, _) = objects[places[at as usize] as usize];
        match fault {
            Fault::Corrupt(reason) => Attempt::Damaged(id, reason.into_owned()),
            Fault::Io { cause, .. } => Attempt::Failed(CookError::Output(cause)),
            other => Attempt::Failed(other.of(id).into()),
        }
    })?;
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if found == followed { Ok(()) } else { Err(Attempt::Misled) }
}

impl Checked {
    /// How many objects there are.
    pub(super) fn count(&self) -> u64 {
        self.objects.len() as u64
    }

    /// Copies the pack to `out`.
    pub(super) fn copy_pack(&mut self, out: &mut dyn Write) -> Result<(), CookError> {
        self.file.rewind().map_err(CookError::Output)?;
        let mut piece = vec![0; 1 << 20];
        loop {
            let read = self.file.read(&mut piece).map_err(CookError::Output)?;
            if read == 0 {
                return Ok(());
            }
            out.write_all(&piece[..read]).map_err(CookError::Output)?;
        }
    }

    pub(super) fn index_size(&self) -> u64 {
        index::size(&self.indexed)
    }

    pub(super) fn write_index(&self, out: &mut dyn Write) -> Result<(), CookError> {
        index::write(&self.indexed, |at| self.objects[at].0, &self.checksum, out).map_err(CookError::Output)
    }
}
