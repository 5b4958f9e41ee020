//! What git sees of an object: the refs and the HEAD of the repository that is made of it. Owns how
//! a snapshot's branches become refs (`docs/format.md`, "Refs"); of what the refs lead to, only tags
//! are read.
//!
//! **Invariant: every name here is one that git takes**, and none stands twice. What cannot be a ref
//! is left out and said, never dropped in silence.

use super::Subject;
use super::ref_name::is_ref_name;
use crate::archive::snapshot::{Manifest, Target};
use crate::archive::{ObjectType, Reader, object};
use crate::cook::CookError;
use crate::key::{ObjectKind, Sha1Git, Swhid};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// Tags of tags, and aliases of aliases, are followed so deep.
const MAX_DEPTH: usize = 64;

/// Where HEAD of a revision, a release or a directory points.
const MAIN: &[u8] = b"refs/heads/main";

/// What git sees of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs {
    /// Where HEAD points; `None` where there is nothing for it to point to.
    pub head: Option<Head>,
    /// The refs, in order of their names' bytes, HEAD not among them.
    pub list: Vec<Ref>,
    /// What has no ref, or one of another name, and why.
    pub left_out: Vec<LeftOut>,
    /// A commit that is in no archive: the one that makes a directory a history.
    pub made: Option<Made>,
}

/// Where HEAD points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// At a ref, by its full name. Where [`Refs::list`] has none of that name, it is a branch that is
    /// still to be born.
    Symbolic(Vec<u8>),
    /// At a commit.
    Detached(Sha1Git),
}

/// A ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ref {
    /// The full name, `refs/heads/main`.
    pub name: Vec<u8>,
    /// The object.
    pub target: Sha1Git,
    /// The type that it is said to have.
    pub object_type: ObjectType,
}

/// A branch that is not a ref of its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The branch.
    pub name: Vec<u8>,
    /// Why, and where it is kept instead if it is.
    pub reason: String,
}

/// A commit that larder made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub id: Sha1Git,
    /// Its content.
    pub content: Vec<u8>,
}

impl Refs {
    /// The object that HEAD leads to.
    #[must_use]
    pub fn head_target(&self) -> Option<Sha1Git> {
        match self.head.as_ref()? {
            Head::Detached(id) => Some(*id),
            Head::Symbolic(name) => self.get(name).map(|found| found.target),
        }
    }

    /// The ref of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Ref> {
        let at = self.list.binary_search_by(|one| one.name.as_slice().cmp(name)).ok()?;
        self.list.get(at)
    }
}

impl fmt::Display for LeftOut {
    /// `"refs/heads/.." left out: git takes no such name`, odd bytes escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        let dots = if self.name.len() > SHOWN { "..." } else { "" };
        write!(f, "\"{}{dots}\" {}", self.name[..self.name.len().min(SHOWN)].escape_ascii(), self.reason)
    }
}

/// The refs of the repository made of `subject`.
///
/// # Errors
/// [`CookError::Missing`] and [`CookError::Corrupt`] for tags that cannot be read; nothing else that
/// the refs lead to is looked at.
pub fn refs(reader: &mut dyn Reader, subject: &Subject) -> Result<Refs, CookError> {
    match subject {
        Subject::Directory(id) => of_directory(id),
        Subject::Revision(id) => Ok(main(*id)),
        Subject::Release(id) => of_release(reader, id),
        Subject::Snapshot(manifest) => Ok(of_snapshot(manifest)),
    }
}

/// A commit with HEAD on it.
fn main(commit: Sha1Git) -> Refs {
    let list = vec![Ref { name: MAIN.to_vec(), target: commit, object_type: ObjectType::Commit }];
    Refs { head: Some(Head::Symbolic(MAIN.to_vec())), list, ..Refs::default() }
}

/// A commit of it, whose bytes are fixed, so that its id depends on the directory alone.
fn of_directory(id: &Sha1Git) -> Result<Refs, CookError> {
    const WHO: &str = "larder <larder@localhost> 318211200 +0000";
    let swhid = Swhid { kind: ObjectKind::Directory, id: *id };
    let content = format!("tree {id}\nauthor {WHO}\ncommitter {WHO}\n\n{swhid}\n").into_bytes();
    let commit = object::hash(ObjectType::Commit, &content)
        .map_err(|collision| CookError::Corrupt { id: *id, reason: collision.to_string() })?;
    Ok(Refs { made: Some(Made { id: commit, content }), ..main(commit) })
}

fn of_release(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Refs, CookError> {
    let (name, commit) = peel(reader, id)?;
    let mut refs = commit.map(main).unwrap_or_default();
    let mut full = [b"refs/tags/", &name[..]].concat();
    if !is_ref_name(&full) {
        let kept = b"refs/larder/release";
        refs.left_out.push(LeftOut { reason: moved(NO_NAME, kept), name: full });
        full = kept.to_vec();
    }
    refs.list.push(Ref { name: full, target: *id, object_type: ObjectType::Tag });
    refs.list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(refs)
}

/// The name of a tag and the commit that it leads to, if it leads to one.
fn peel(reader: &mut dyn Reader, tag: &Sha1Git) -> Result<(Vec<u8>, Option<Sha1Git>), CookError> {
    let (mut buf, mut first, mut id) = (Vec::new(), None, *tag);
    for _ in 0..MAX_DEPTH {
        let corrupt = |reason: String| CookError::Corrupt { id, reason };
        match reader.find(&id, &mut buf)? {
            Some(ObjectType::Tag) => {}
            Some(other) => return Err(corrupt(format!("it is a {other}, and what names it says tag"))),
            None => return Err(CookError::Missing { id }),
        }
        let (target, object_type) = object::tag_target(&buf).map_err(|error| corrupt(error.to_string()))?;
        let name = match first.take() {
            Some(name) => name,
            None => object::tag_name(&buf).map_err(|error| corrupt(error.to_string()))?.to_vec(),
        };
        match object_type {
            ObjectType::Tag => (first, id) = (Some(name), target),
            ObjectType::Commit => return Ok((name, Some(target))),
            ObjectType::Tree | ObjectType::Blob => return Ok((name, None)),
        }
    }
    Err(CookError::TooLarge { reason: format!("release {tag} leads through more than {MAX_DEPTH} tags") })
}

/// The refs of a snapshot. Its own names below `refs/` come first, so that no branch that is moved
/// takes the name of one that is not.
pub(crate) fn of_snapshot(manifest: &Manifest) -> Refs {
    let mut branches = Branches { manifest, refs: BTreeMap::new(), names: BTreeMap::new(), left_out: Vec::new() };
    let (below, outside): (Vec<_>, Vec<_>) =
        manifest.iter().map(|(name, _)| name).filter(|name| *name != b"HEAD").partition(|name| is_below_refs(name));
    let displaced: Vec<_> = below.into_iter().filter(|name| !branches.keep(name)).collect();
    for name in displaced {
        branches.keep_as(name, &name[b"refs/".len()..], "git takes nothing but commits below refs/heads/");
    }
    for name in outside {
        branches.keep_as(name, name, "");
    }
    let head = branches.head();
    let Branches { refs, mut left_out, .. } = branches;
    left_out.sort_by(|a, b| a.name.cmp(&b.name));
    let list = refs.into_iter().map(|(name, (target, object_type))| Ref { name, target, object_type }).collect();
    Refs { head, list, left_out, made: None }
}

fn is_below_refs(name: &[u8]) -> bool {
    name.starts_with(b"refs/")
}

struct Branches<'a> {
    manifest: &'a Manifest,
    refs: BTreeMap<Vec<u8>, (Sha1Git, ObjectType)>,
    /// Branches that have another name as refs.
    names: BTreeMap<&'a [u8], Vec<u8>>,
    left_out: Vec<LeftOut>,
}

impl<'a> Branches<'a> {
    /// Makes a branch below `refs/` a ref of the same name, or leaves it out. `false` when it can be
    /// a ref, but not of that name.
    fn keep(&mut self, name: &[u8]) -> bool {
        match self.resolve(name) {
            _ if !is_ref_name(name) => self.leave_out(name, NO_NAME),
            Err(reason) => self.leave_out(name, reason),
            Ok((_, object_type)) if object_type != ObjectType::Commit && name.starts_with(b"refs/heads/") => {
                return false;
            }
            Ok(target) => _ = self.refs.insert(name.to_vec(), target),
        }
        true
    }

    /// Makes a branch a ref under `refs/larder/`, of the name `below` if no other has that.
    fn keep_as(&mut self, name: &'a [u8], below: &[u8], why: &str) {
        let wanted = [b"refs/larder/", below].concat();
        let target = match self.resolve(name) {
            _ if !is_ref_name(&wanted) => return self.leave_out(name, NO_NAME),
            Err(reason) => return self.leave_out(name, reason),
            Ok(target) => target,
        };
        let mut kept = wanted.clone();
        let mut number = 0_u32;
        while self.refs.contains_key(&kept) {
            number += 1;
            kept = [&wanted[..], b"-", number.to_string().as_bytes()].concat();
        }
        let why = if number > 0 { "another ref has the name it would have" } else { why };
        if !why.is_empty() {
            self.left_out.push(LeftOut { name: name.to_vec(), reason: moved(why, &kept) });
        }
        self.names.insert(name, kept.clone());
        self.refs.insert(kept, target);
    }

    /// What a branch leads to in the end, or why it leads to nothing that can be a ref.
    fn resolve(&self, name: &[u8]) -> Result<(Sha1Git, ObjectType), &'static str> {
        let mut seen = HashSet::new();
        let mut name = name;
        while seen.insert(name) {
            match self.manifest.get(name) {
                None => return Err("it is an alias of a branch that is not there"),
                Some(Target::Dangling) => return Err(NOTHING),
                Some(Target::Alias(next)) => name = next,
                Some(Target::Object(kind, id)) => return Ok((*id, object_type(*kind)?)),
            }
            if seen.len() > MAX_DEPTH {
                return Err("it leads through too many aliases");
            }
        }
        Err("it is an alias that leads back to itself")
    }

    fn head(&mut self) -> Option<Head> {
        let fault = match self.manifest.get(b"HEAD")? {
            Target::Alias(name) => {
                let kept = self.names.get(name.as_slice()).unwrap_or(name);
                match (self.refs.get(kept), self.manifest.get(name)) {
                    (Some((_, ObjectType::Commit)), _) => return Some(Head::Symbolic(kept.clone())),
                    (Some(_), _) => NO_REVISION,
                    (None, None | Some(Target::Dangling)) if is_ref_name(name) => {
                        return Some(Head::Symbolic(name.clone()));
                    }
                    (None, _) => "it is an alias of a branch that is left out",
                }
            }
            Target::Object(ObjectKind::Revision, id) => return Some(Head::Detached(*id)),
            Target::Object(..) => NO_REVISION,
            Target::Dangling => NOTHING,
        };
        self.leave_out(b"HEAD", fault);
        None
    }

    fn leave_out(&mut self, name: &[u8], reason: &str) {
        self.left_out.push(LeftOut { name: name.to_vec(), reason: format!("left out: {reason}") });
    }
}

const NO_NAME: &str = "git takes no such name";
const NO_REVISION: &str = "it leads to no revision";
const NOTHING: &str = "it leads to nothing";

fn object_type(kind: ObjectKind) -> Result<ObjectType, &'static str> {
    match kind {
        ObjectKind::Content => Ok(ObjectType::Blob),
        ObjectKind::Directory => Ok(ObjectType::Tree),
        ObjectKind::Revision => Ok(ObjectType::Commit),
        ObjectKind::Release => Ok(ObjectType::Tag),
        ObjectKind::Snapshot => Err("it leads to a snapshot, which is no object of git's"),
    }
}

fn moved(why: &str, kept: &[u8]) -> String {
    format!("kept as {}: {why}", kept.escape_ascii())
}

#[cfg(test)]
#[path = "refs_tests.rs"]
mod tests;
