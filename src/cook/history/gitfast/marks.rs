//! The numbers by which a stream names what it said before.

use crate::archive::ObjectType;
use crate::cook::error::CookError;
use crate::cook::root::same_type;
use crate::key::Sha1Git;
use std::collections::HashMap;

/// Marks by id, from 1 on; 28 bytes an object, and as much again at worst.
#[derive(Default)]
pub(super) struct Marks(HashMap<Sha1Git, (u32, ObjectType)>);

impl Marks {
    /// The mark of an object that was written, which must be of this type.
    pub(super) fn get(&self, id: &Sha1Git, wanted: ObjectType) -> Result<Option<u32>, CookError> {
        let Some(&(mark, object_type)) = self.0.get(id) else { return Ok(None) };
        same_type(id, object_type, wanted)?;
        Ok(Some(mark))
    }

    /// The next mark, for `id`.
    pub(super) fn add(&mut self, id: Sha1Git, object_type: ObjectType) -> Result<u32, CookError> {
        let mark = u32::try_from(self.0.len() + 1).map_err(|_| CookError::TooLarge {
            reason: "the history has more than 4,294,967,295 objects".to_owned(),
        })?;
        self.0.insert(id, (mark, object_type));
        Ok(mark)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }
}
