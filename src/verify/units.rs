//! The cut of a tar into segments and units, found while it is read: the same rule as in cooking,
//! by bytes that pass instead of by members to come.

use crate::cook::segment::{T, UNIT, ends_segment};
use crate::key::Sha1Git;

/// The unit under way. Each that is complete is given to the `take` of the call.
#[derive(Default)]
pub(super) struct Units(Vec<u8>);

impl Units {
    /// A member begins; `size` is that of a file or a symlink.
    pub(super) fn before<E>(&mut self, size: Option<u64>, take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if size.is_some_and(|size| size >= T) { self.cut(take) } else { Ok(()) }
    }

    /// Bytes of a member.
    pub(super) fn pass<E>(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(UNIT - self.0.len()));
            self.0.extend_from_slice(now);
            bytes = later;
            if self.0.len() == UNIT {
                self.cut(&mut take)?;
            }
        }
        Ok(())
    }

    /// A file or a symlink has ended.
    pub(super) fn behind<E>(
        &mut self,
        id: &Sha1Git,
        size: u64,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if ends_segment(id, size) { self.cut(take) } else { Ok(()) }
    }

    /// Ends the unit under way, if there is any.
    pub(super) fn cut<E>(&mut self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if !self.0.is_empty() {
            take(&self.0)?;
            self.0.clear();
        }
        Ok(())
    }
}
