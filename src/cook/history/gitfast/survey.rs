//! The order of commits, and what all of them need, known before the first byte is written: a stream
//! must say at its start which dates it holds, and what cannot be carried is refused at once.
//!
//! Owns the rule of `docs/gitfast.md`: from each ref in turn depth first, parents in their order, a
//! commit behind all its parents.

use super::commit::Commit;
use super::commits::unfit;
use super::losses::Losses;
use super::needs::Needs;
use super::structure;
use crate::archive::{ObjectType, Reader};
use crate::cook::control::Control;
use crate::cook::error::CookError;
use crate::cook::history::ids::IdMap;
use crate::cook::root::same_type;
use crate::key::Sha1Git;

/// A walk through the commits of a history.
pub(super) struct Survey<'a> {
    reader: Box<dyn Reader>,
    control: &'a Control,
    known: IdMap<ObjectType>,
    found: Found,
}

/// What it found.
pub(super) struct Found {
    /// Commits, and blobs that tags lead to, each once.
    pub(super) order: Vec<(Sha1Git, ObjectType)>,
    pub(super) needs: Needs,
    pub(super) losses: Losses,
}

/// A commit on the way to its parents.
struct Frame {
    id: Sha1Git,
    /// Those not yet looked at, the last first.
    parents: Vec<Sha1Git>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(reader: Box<dyn Reader>, losses: Losses, control: &'a Control) -> Self {
        let found = Found { order: Vec::new(), needs: Needs::default(), losses };
        Self { reader, control, known: IdMap::new(), found }
    }

    /// Adds `tip` and all that it comes from, as far as it was not met before.
    pub(super) fn history(&mut self, tip: Sha1Git) -> Result<(), CookError> {
        let mut stack = Vec::new();
        let mut next = Some(tip);
        loop {
            if let Some(id) = next.take()
                && self.is_new(&id, ObjectType::Commit)?
            {
                stack.push(self.open(id)?);
            }
            let Some(frame) = stack.last_mut() else { return Ok(()) };
            next = frame.parents.pop();
            if next.is_none() {
                self.found.order.push((frame.id, ObjectType::Commit));
                stack.pop();
            }
        }
    }

    /// Adds a blob that is no file of a commit.
    pub(super) fn blob(&mut self, id: Sha1Git) -> Result<(), CookError> {
        if self.is_new(&id, ObjectType::Blob)? {
            self.found.order.push((id, ObjectType::Blob));
        }
        Ok(())
    }

    /// Adds what a tag needs.
    pub(super) fn need(&mut self, needs: Needs) {
        self.found.needs.add(needs);
    }

    pub(super) fn finish(self) -> Found {
        self.found
    }

    fn is_new(&mut self, id: &Sha1Git, wanted: ObjectType) -> Result<bool, CookError> {
        match self.known.insert(id, wanted) {
            Some(known) => same_type(id, *known, wanted).map(|()| false),
            None => Ok(true),
        }
    }

    fn open(&mut self, id: Sha1Git) -> Result<Frame, CookError> {
        if let Some(reason) = self.control.cancelled() {
            return Err(CookError::Cancelled(reason));
        }
        let content = structure::read(&mut *self.reader, id, ObjectType::Commit)?;
        let (commit, unknown) = Commit::read(&content).map_err(|reason| unfit(&id, reason))?;
        self.found.losses.headers(&id, &unknown)?;
        self.found.needs.add(commit.needs());
        let mut parents = commit.parents;
        parents.reverse();
        Ok(Frame { id, parents })
    }
}
