//! From a branch, a tag or an id to the objects behind it, and on to a path in their tree.

use crate::archive::snapshot::Branches;
use crate::archive::{ArchiveError, ObjectType, Reader, object};
use crate::key::{BundleKey, Family, Format, ObjectKind, ParseError, Sha1Git};
use std::str::FromStr;

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

/// A path below the top of a tree: names between slashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreePath(Vec<Vec<u8>>);

impl TreePath {
    /// The longest path that is looked for, in bytes.
    pub const MAX: usize = 4095;

    /// Reads a path. One slash at its end is no matter; `.`, `..` and names of nothing are none.
    #[must_use]
    pub fn parse(path: &[u8]) -> Option<Self> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let names: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let legal = |name: &Vec<u8>| !matches!(&name[..], b"" | b"." | b"..") && !name.contains(&0);
        (path.len() <= Self::MAX && names.iter().all(legal)).then_some(Self(names))
    }

    /// As it is written.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.join(&b'/')
    }
}

impl FromStr for TreePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text.as_bytes()).ok_or("a path is names between slashes, like docs/man, from the top of the tree")
    }
}

impl Resolved {
    /// Makes `directory`, or `content`, what lies at a path of the directory; `false` when nothing does, or
    /// it lies in another repository.
    ///
    /// # Errors
    /// [`ArchiveError`] when a tree on the way cannot be read.
    pub fn descend(&mut self, reader: &mut dyn Reader, path: &TreePath) -> Result<bool, ArchiveError> {
        self.content = None;
        let (mut at, mut tree) = (self.directory.take(), Vec::new());
        for (number, name) in path.0.iter().enumerate() {
            let Some(directory) = at.take() else { return Ok(false) };
            if reader.find(&directory, &mut tree)? != Some(ObjectType::Tree) {
                return Ok(false);
            }
            let entry = object::tree_entries(&tree).map_while(Result::ok).find(|entry| entry.name == &name[..]);
            let Some(entry) = entry else { return Ok(false) };
            let is_last = number + 1 == path.0.len();
            match reader.header(&entry.id)?.map(|header| header.object_type) {
                Some(ObjectType::Tree) => at = Some(entry.id),
                Some(ObjectType::Blob) if is_last => self.content = Some(entry.id),
                _ => return Ok(false),
            }
        }
        self.directory = at;
        Ok(self.directory.is_some() || self.content.is_some())
    }

    /// The bundle that somebody wants who asks by name: of the files, of which every commit with the same
    /// has one; of all that led to them where the format is one of a history, and no path was gone down.
    ///
    /// # Errors
    /// When there is no such bundle of what the name means.
    pub fn bundle(&self, format: Option<Format>, below: bool) -> Result<BundleKey, ParseError> {
        let of = |kind, id: Option<Sha1Git>| id.map(|id| (kind, id));
        let files = of(ObjectKind::Directory, self.directory).or(of(ObjectKind::Content, self.content));
        let history = of(ObjectKind::Release, self.release).or(of(ObjectKind::Revision, self.revision));
        let found = match format.map(Format::family) {
            Some(Family::History(_)) if !below => history.or(files),
            Some(Family::Flat(_)) | None if !below => files.or(history),
            Some(Family::History(_) | Family::Flat(_) | Family::Raw) | None => files,
        };
        let (kind, id) = found.ok_or(ParseError::Key)?;
        match format {
            Some(format) => BundleKey::new(kind, id, format),
            None => Ok(BundleKey::with_default_format(kind, id)),
        }
    }
}

/// What `reference` means in a snapshot: forty hexadecimal digits are the id of an object of the
/// archive, anything else a branch by git's rules. `None` when there is neither.
///
/// # Errors
/// [`ArchiveError`] when an object on the way cannot be read.
pub fn resolve(
    branches: &(impl Branches + ?Sized),
    reader: &mut dyn Reader,
    reference: &[u8],
) -> Result<Option<Resolved>, ArchiveError> {
    let id = std::str::from_utf8(reference).ok().and_then(|text| text.parse::<Sha1Git>().ok());
    let mut resolved = Resolved::default();
    if let Some(id) = id {
        return Ok(describe(reader, id, &mut resolved)?.then_some(resolved));
    }
    let Some((name, kind, id)) = branches.lead(reference) else { return Ok(None) };
    resolved.branch = Some(name);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> Sha1Git {
        Sha1Git::from_bytes([byte; 20])
    }

    #[test]
    fn a_path_is_names_between_slashes() {
        let names = |path: &str| TreePath::parse(path.as_bytes()).map(|path| path.0.len());
        for (path, count) in [("a", 1), ("a/b", 2), ("a/b/", 2), ("..a/.b/c.", 3), (" /\u{e9}", 2)] {
            assert_eq!(names(path), Some(count), "{path:?}");
        }
        for path in ["", "/", "/a", "a//b", "a//", ".", "a/..", "./a", "a\0b", &"a/".repeat(2100)] {
            assert_eq!(names(path), None, "{path:?}");
        }
        assert!(TreePath::parse(&[b'a'; TreePath::MAX]).is_some() && TreePath::parse(&[b'a'; 4096]).is_none());
    }

    #[test]
    fn who_asks_by_name_gets_the_files_or_in_a_format_of_histories_what_led_to_them() {
        let tag =
            Resolved { release: Some(id(1)), revision: Some(id(2)), directory: Some(id(3)), ..Resolved::default() };
        let key = |resolved: &Resolved, format, below| resolved.bundle(format, below).map(|key| (key.kind(), key.id()));
        let (directory, release) = (Ok((ObjectKind::Directory, id(3))), Ok((ObjectKind::Release, id(1))));
        for (format, below, expected) in [
            (None, false, directory),
            (Some(Format::Zip), false, directory),
            (Some(Format::GitTar), false, release),
            (Some(Format::Bundle), false, release),
            (Some(Format::GitTar), true, directory),
        ] {
            assert_eq!(key(&tag, format, below), expected, "{format:?} {below}");
        }
        // No git bundle is made of a directory, and nothing of nothing.
        assert!(key(&tag, Some(Format::Bundle), true).is_err());
        assert!(key(&tag, Some(Format::Raw), false).is_err());
        assert!(key(&Resolved::default(), None, false).is_err());
        let file = Resolved { content: Some(id(4)), ..Resolved::default() };
        assert_eq!(key(&file, None, true), Ok((ObjectKind::Content, id(4))));
        let commit = Resolved { revision: Some(id(2)), ..Resolved::default() };
        assert_eq!(key(&commit, None, false), Ok((ObjectKind::Revision, id(2))), "its tree is not there");
        assert!(key(&commit, None, true).is_err());
    }
}
