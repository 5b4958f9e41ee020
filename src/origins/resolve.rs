//! From a branch, a tag or an id to the objects behind it.

use crate::archive::snapshot::Manifest;
use crate::archive::{ArchiveError, ObjectType, Reader, object};
use crate::key::{ObjectKind, Sha1Git};

/// Tags of tags are followed so deep.
const MAX_TAGS: usize = 64;

/// The objects behind a name, as far as they are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The whole name of the branch; `None` when it was asked for by id.
    pub branch: Option<Vec<u8>>,
    /// The tag that it leads to, the outermost of several.
    pub release: Option<Sha1Git>,
    /// The commit.
    pub revision: Option<Sha1Git>,
    /// The commit's directory, or the tag's.
    pub directory: Option<Sha1Git>,
    /// A tagged content.
    pub content: Option<Sha1Git>,
}

/// What `reference` means in a snapshot: forty hexadecimal digits are the id of an object of the
/// archive, anything else a branch by git's rules. `None` when there is neither.
///
/// # Errors
/// [`ArchiveError`] when an object on the way cannot be read.
pub fn resolve(
    manifest: &Manifest,
    reader: &mut dyn Reader,
    reference: &[u8],
) -> Result<Option<Resolved>, ArchiveError> {
    let id = std::str::from_utf8(reference).ok().and_then(|text| text.parse::<Sha1Git>().ok());
    let mut resolved = Resolved::default();
    if let Some(id) = id {
        return Ok(describe(reader, id, &mut resolved)?.then_some(resolved));
    }
    let Some((name, target)) = manifest.find(reference) else { return Ok(None) };
    let Some((kind, id)) = manifest.follow(target) else { return Ok(None) };
    resolved.branch = Some(name.to_vec());
    if !describe(reader, id, &mut resolved)? {
        // The archive has not seen a new mirror yet, or has lost it: what the manifest says holds.
        match kind {
            ObjectKind::Content => resolved.content = Some(id),
            ObjectKind::Directory => resolved.directory = Some(id),
            ObjectKind::Revision => resolved.revision = Some(id),
            ObjectKind::Release => resolved.release = Some(id),
            ObjectKind::Snapshot => return Ok(None),
        }
    }
    Ok(Some(resolved))
}

/// Whether the object is there; what it leads to may not be.
fn describe(reader: &mut dyn Reader, id: Sha1Git, resolved: &mut Resolved) -> Result<bool, ArchiveError> {
    let (mut id, mut buf) = (id, Vec::new());
    for depth in 0..MAX_TAGS {
        let Some(header) = reader.header(&id)? else { return Ok(depth > 0) };
        match header.object_type {
            ObjectType::Blob => resolved.content = Some(id),
            ObjectType::Tree => resolved.directory = Some(id),
            ObjectType::Commit => {
                resolved.revision = Some(id);
                reader.find(&id, &mut buf)?;
                resolved.directory = object::commit_tree(&buf).ok();
            }
            ObjectType::Tag => {
                resolved.release.get_or_insert(id);
                reader.find(&id, &mut buf)?;
                match object::tag_target(&buf) {
                    Ok((target, _)) => id = target,
                    Err(_) => return Ok(true),
                }
                continue;
            }
        }
        return Ok(true);
    }
    Ok(true)
}
