//! Reading commits, trees and tags in the order of a history, where one is stored as a difference to
//! the next.

use crate::archive::{ObjectType, Reader, object};
use crate::cook::error::CookError;
use crate::cook::root::same_type;
use crate::key::Sha1Git;

/// The content of an object that is no blob; its bytes have its id.
pub(super) fn read(reader: &mut dyn Reader, id: Sha1Git, wanted: ObjectType) -> Result<Vec<u8>, CookError> {
    let mut content = Vec::new();
    // A reader remembers more of what it is asked for so, and leaves the hashing to who asks.
    let mut found = reader.peek(&id, &mut content)?.ok_or(CookError::Missing { id })?;
    same_type(&id, found, wanted)?;
    if object::hash(found, &content) != Ok(id) {
        // Another copy may be good.
        found = reader.find(&id, &mut content)?.ok_or(CookError::Missing { id })?;
        same_type(&id, found, wanted)?;
    }
    Ok(content)
}
