//! Which directory a revision or a release leads to. Knows the pointers in commits and tags, and
//! nothing of what a directory holds.

use super::error::CookError;
use crate::archive::{ObjectType, Reader, object};
use crate::key::{ObjectKind, Sha1Git};

/// Tags of tags are followed so deep.
const MAX_TAGS: usize = 64;

/// What stands at the top of a flat bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// The directory that becomes `source/`.
    Directory(Sha1Git),
    /// A release of a single file: a directory that holds just it, under its own id.
    File(Sha1Git),
}

/// The root of the flat bundle of an object: a directory's is itself.
///
/// `None` when the object is not in the archive, or is of another kind than said.
///
/// # Errors
/// [`CookError::Missing`] when something that the object leads to is not there, and
/// [`CookError::Corrupt`] when a tag or a commit cannot be read or leads nowhere.
pub fn root(reader: &mut dyn Reader, kind: ObjectKind, id: &Sha1Git) -> Result<Option<Root>, CookError> {
    follow(reader, kind, id, &mut |_, _| Ok(()))
}

/// What is done with the content of each tag and commit on the way, in order.
pub(super) type Pass<'a> = dyn FnMut(ObjectType, &[u8]) -> Result<(), CookError> + 'a;

/// [`root`], showing `pass` what it goes through.
pub(super) fn follow(
    reader: &mut dyn Reader,
    kind: ObjectKind,
    id: &Sha1Git,
    pass: &mut Pass<'_>,
) -> Result<Option<Root>, CookError> {
    let Some(header) = reader.header(id)? else { return Ok(None) };
    let found = match (kind, header.object_type) {
        (ObjectKind::Directory, ObjectType::Tree) => Root::Directory(*id),
        (ObjectKind::Revision, ObjectType::Commit) => directory_of(reader, id, pass)?,
        (ObjectKind::Release, ObjectType::Tag) => peel(reader, id, pass)?,
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// Follows a tag to what it names in the end.
fn peel(reader: &mut dyn Reader, tag: &Sha1Git, pass: &mut Pass<'_>) -> Result<Root, CookError> {
    let mut buf = Vec::new();
    let mut id = *tag;
    for _ in 0..MAX_TAGS {
        read(reader, &id, ObjectType::Tag, &mut buf)?;
        pass(ObjectType::Tag, &buf)?;
        let (target, target_type) = object::tag_target(&buf).map_err(|error| corrupt(&id, &error))?;
        expect_type(reader, &target, target_type)?;
        match target_type {
            ObjectType::Tag => id = target,
            ObjectType::Commit => return directory_of(reader, &target, pass),
            ObjectType::Tree => return Ok(Root::Directory(target)),
            ObjectType::Blob => return Ok(Root::File(target)),
        }
    }
    Err(CookError::TooLarge { reason: format!("release {tag} leads through more than {MAX_TAGS} tags") })
}

fn directory_of(reader: &mut dyn Reader, commit: &Sha1Git, pass: &mut Pass<'_>) -> Result<Root, CookError> {
    let mut buf = Vec::new();
    read(reader, commit, ObjectType::Commit, &mut buf)?;
    pass(ObjectType::Commit, &buf)?;
    let tree = object::commit_tree(&buf).map_err(|error| corrupt(commit, &error))?;
    expect_type(reader, &tree, ObjectType::Tree)?;
    Ok(Root::Directory(tree))
}

fn read(reader: &mut dyn Reader, id: &Sha1Git, wanted: ObjectType, buf: &mut Vec<u8>) -> Result<(), CookError> {
    match reader.find(id, buf)? {
        Some(found) => same_type(id, found, wanted),
        None => Err(CookError::Missing { id: *id }),
    }
}

fn expect_type(reader: &mut dyn Reader, id: &Sha1Git, wanted: ObjectType) -> Result<(), CookError> {
    match reader.header(id)? {
        Some(header) => same_type(id, header.object_type, wanted),
        None => Err(CookError::Missing { id: *id }),
    }
}

/// An object that is of another type than what names it says.
pub(super) fn same_type(id: &Sha1Git, found: ObjectType, wanted: ObjectType) -> Result<(), CookError> {
    if found == wanted {
        return Ok(());
    }
    Err(CookError::Corrupt { id: *id, reason: format!("it is a {found}, and what names it says {wanted}") })
}

fn corrupt(id: &Sha1Git, error: &dyn std::fmt::Display) -> CookError {
    CookError::Corrupt { id: *id, reason: error.to_string() }
}
