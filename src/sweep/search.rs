//! The walk through an archive. Trees go depth first, so that each is known to be free or not when it
//! is left; commits and tags go from a list, for a history may be a million commits deep.
//!
//! Memory is bounded: what was found free is forgotten when there is too much of it, which costs time
//! and nothing else.

use super::Subject;
use crate::archive::object;
use crate::archive::snapshot::Target;
use crate::archive::{ArchiveError, ObjectType, Reader};
use crate::key::{Family, ObjectKind, Sha1Git};
use std::collections::HashSet;

/// Objects known to be free: under a hundred megabytes of them.
const MAX_FREE: usize = 2_000_000;

/// Whether a bundle holds what is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Holds,
    /// It does not.
    Free,
    /// This object of it is in no archive, or cannot be read there, and nothing that can be is one of
    /// those looked for.
    Unknown(Sha1Git),
}

/// A search for some objects in many bundles.
pub struct Search<'a> {
    reader: Box<dyn Reader>,
    wanted: &'a HashSet<Sha1Git>,
    /// Trees below which there is none of `wanted`.
    free_trees: HashSet<Sha1Git>,
    /// Commits and tags in whose history there is none.
    free_history: HashSet<Sha1Git>,
    buf: Vec<u8>,
}

type Child = (Sha1Git, ObjectType);

impl<'a> Search<'a> {
    /// A search for `wanted`. The reader is one that gives out blocked objects too.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>, wanted: &'a HashSet<Sha1Git>) -> Self {
        Self { reader, wanted, free_trees: HashSet::new(), free_history: HashSet::new(), buf: Vec::new() }
    }

    /// Whether a bundle holds one of the objects.
    ///
    /// # Errors
    /// When an archive could not be read at all; what is missing there or damaged is no error.
    pub fn holds(&mut self, subject: &Subject<'_>) -> Result<Answer, ArchiveError> {
        let key = subject.key;
        if self.wanted.contains(&key.id()) {
            return Ok(Answer::Holds);
        }
        let history = matches!(key.format().family(), Family::History(_));
        let mut work: Vec<Child> = match key.kind() {
            ObjectKind::Content => Vec::new(),
            ObjectKind::Directory => vec![(key.id(), ObjectType::Tree)],
            ObjectKind::Revision => vec![(key.id(), ObjectType::Commit)],
            ObjectKind::Release => vec![(key.id(), ObjectType::Tag)],
            ObjectKind::Snapshot => match subject.manifest {
                Some(manifest) => manifest.iter().filter_map(|(_, target)| branch(target)).collect(),
                None => return Ok(Answer::Unknown(key.id())),
            },
        };
        let (mut seen, mut unknown) = (HashSet::new(), None);
        while let Some((id, object_type)) = work.pop() {
            if self.wanted.contains(&id) {
                return Ok(Answer::Holds);
            }
            match object_type {
                ObjectType::Blob => {}
                ObjectType::Tree => match self.tree(id)? {
                    Answer::Free => {}
                    Answer::Holds => return Ok(Answer::Holds),
                    Answer::Unknown(missing) => unknown = Some(missing),
                },
                ObjectType::Commit | ObjectType::Tag => {
                    if history && self.free_history.contains(&id) || !seen.insert(id) {
                        continue;
                    }
                    match self.children(&id, object_type, history)? {
                        Some(children) => work.extend(children),
                        None => unknown = Some(id),
                    }
                }
            }
        }
        if history && unknown.is_none() {
            keep(&mut self.free_history, seen);
        }
        Ok(unknown.map_or(Answer::Free, Answer::Unknown))
    }

    fn tree(&mut self, root: Sha1Git) -> Result<Answer, ArchiveError> {
        /// A tree that is being walked.
        struct Open {
            id: Sha1Git,
            left: Vec<Child>,
            /// What of it could not be read.
            unknown: Option<Sha1Git>,
        }
        let above = Open { id: Sha1Git::NULL, left: vec![(root, ObjectType::Tree)], unknown: None };
        let mut open = vec![above];
        loop {
            let top = open.last_mut().expect("because the loop ends with the last one");
            let Some((id, object_type)) = top.left.pop() else {
                let done = open.pop().expect("because there was a last one");
                let Some(parent) = open.last_mut() else {
                    return Ok(done.unknown.map_or(Answer::Free, Answer::Unknown));
                };
                match done.unknown {
                    Some(missing) => parent.unknown = Some(missing),
                    None => keep(&mut self.free_trees, [done.id]),
                }
                continue;
            };
            if self.wanted.contains(&id) {
                return Ok(Answer::Holds);
            }
            if object_type != ObjectType::Tree || self.free_trees.contains(&id) {
                continue;
            }
            match self.children(&id, ObjectType::Tree, false)? {
                Some(left) => open.push(Open { id, left, unknown: None }),
                None => open.last_mut().expect("because it was there above").unknown = Some(id),
            }
        }
    }

    /// What an object leads to; `None` when it cannot be read, or is not what was said of it.
    fn children(&mut self, id: &Sha1Git, said: ObjectType, history: bool) -> Result<Option<Vec<Child>>, ArchiveError> {
        match self.reader.find(id, &mut self.buf) {
            Ok(Some(found)) if found == said => {}
            Ok(_)
            | Err(ArchiveError::Corrupt { .. } | ArchiveError::TooLarge { .. } | ArchiveError::Blocked { .. }) => {
                return Ok(None);
            }
            Err(error @ (ArchiveError::Io { .. } | ArchiveError::Sink(_))) => return Err(error),
        }
        Ok(match said {
            ObjectType::Blob => Some(Vec::new()),
            ObjectType::Tree => entries(&self.buf),
            ObjectType::Commit => object::commit_tree(&self.buf).ok().map(|tree| {
                let mut children = vec![(tree, ObjectType::Tree)];
                if history {
                    children.extend(object::commit_parents(&self.buf).map(|parent| (parent, ObjectType::Commit)));
                }
                children
            }),
            ObjectType::Tag => object::tag_target(&self.buf).ok().map(|target| vec![target]),
        })
    }
}

/// What is in a tree. A gitlink is a commit of another repository, which no bundle holds.
fn entries(content: &[u8]) -> Option<Vec<Child>> {
    let mut children = Vec::new();
    for entry in object::tree_entries(content) {
        let entry = entry.ok()?;
        children.extend(entry.kind.leads_to().map(|object_type| (entry.id, object_type)));
    }
    Some(children)
}

fn branch(target: &Target) -> Option<Child> {
    match target {
        Target::Object(ObjectKind::Content, id) => Some((*id, ObjectType::Blob)),
        Target::Object(ObjectKind::Directory, id) => Some((*id, ObjectType::Tree)),
        Target::Object(ObjectKind::Revision, id) => Some((*id, ObjectType::Commit)),
        Target::Object(ObjectKind::Release, id) => Some((*id, ObjectType::Tag)),
        // No bundle holds the objects of another snapshot.
        Target::Object(ObjectKind::Snapshot, _) | Target::Alias(_) | Target::Dangling => None,
    }
}

fn keep(known: &mut HashSet<Sha1Git>, more: impl IntoIterator<Item = Sha1Git>) {
    if known.len() >= MAX_FREE {
        known.clear();
    }
    known.extend(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Header;
    use crate::key::BundleKey;
    use std::collections::HashMap;
    use std::io;

    /// Objects by a byte that stands for their id.
    #[derive(Default)]
    struct Few(HashMap<Sha1Git, (ObjectType, Vec<u8>)>);

    fn id(byte: u8) -> Sha1Git {
        Sha1Git::from_bytes([byte; 20])
    }

    impl Few {
        fn tree(&mut self, name: u8, entries: &[(&str, u8)]) {
            let mut bytes = Vec::new();
            for (mode, entry) in entries {
                bytes.extend_from_slice(format!("{mode} {entry}\0").as_bytes());
                bytes.extend_from_slice(id(*entry).as_bytes());
            }
            self.0.insert(id(name), (ObjectType::Tree, bytes));
        }

        fn commit(&mut self, name: u8, tree: u8, parents: &[u8]) {
            let lines: Vec<_> = parents.iter().map(|parent| format!("parent {}\n", id(*parent))).collect();
            let lines = lines.concat();
            let text = format!("tree {}\n{lines}author a\n\nparent {}\n", id(tree), id(0xee));
            self.0.insert(id(name), (ObjectType::Commit, text.into_bytes()));
        }
    }

    impl Reader for Few {
        fn header(&mut self, _: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
            Ok(None)
        }

        fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
            Ok(self.0.get(id).map(|(object_type, bytes)| {
                buf.clone_from(bytes);
                *object_type
            }))
        }

        fn stream(&mut self, _: &Sha1Git, _: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
            Ok(None)
        }
    }

    #[test]
    fn an_object_is_found_wherever_a_bundle_reaches_it_and_only_there() {
        let mut few = Few::default();
        few.tree(1, &[("100644", 50), ("40000", 2)]);
        few.tree(2, &[("120000", 51), ("160000", 52), ("10644", 50)]);
        few.tree(3, &[("40000", 2), ("40000", 9)]);
        few.commit(20, 2, &[]);
        few.commit(21, 1, &[20]);
        let wanted = HashSet::from([id(50)]);
        let mut search = Search::new(Box::new(few), &wanted);
        let mut ask = |name: &str| {
            let (kind, rest) = name.split_once('/').unwrap();
            let (byte, _) = rest.split_once('.').unwrap();
            let digits = id(byte.parse().unwrap());
            let key: BundleKey = format!("{kind}/{digits}.tar").parse().unwrap();
            search.holds(&Subject { key: &key, manifest: None }).unwrap()
        };
        assert_eq!(ask("directory/1.tar"), Answer::Holds);
        assert_eq!(ask("directory/2.tar"), Answer::Free);
        assert_eq!(ask("directory/3.tar"), Answer::Unknown(id(9)));
        assert_eq!(ask("directory/3.tar"), Answer::Unknown(id(9)), "what was not read whole is not free");
        assert_eq!(ask("revision/20.tar"), Answer::Free);
        assert_eq!(ask("revision/21.tar"), Answer::Holds);
        assert_eq!(ask("revision/99.tar"), Answer::Unknown(id(99)));
    }
}
