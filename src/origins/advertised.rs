//! The branches that a repository shows, and the manifest they make. Owns which of them a snapshot
//! leaves out, as Software Heritage's loader does. Pure.

use crate::archive::ObjectType;
use crate::archive::snapshot::{MAX_MANIFEST, Manifest, Target};
use crate::key::Sha1Git;
use std::collections::{BTreeMap, BTreeSet};

/// What a branch takes of a manifest beside its name, at most about.
const OVERHEAD: usize = 40;

/// Where a branch leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Object(Sha1Git),
    Alias(Vec<u8>),
}

/// The branches of a repository, those left out of snapshots left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Branches {
    branches: BTreeMap<Vec<u8>, Shown>,
    size: usize,
}

/// Why what a repository shows makes no snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BranchesError {
    #[error("its branches take more than {MAX_MANIFEST} bytes")]
    TooMany,
    #[error("its object format is not sha1")]
    NotSha1,
    #[error("what it shows is no list of branches")]
    Malformed,
}

/// A manifest, and the objects of it that are not there: their branches dangle.
pub(super) struct Drawn {
    pub(super) manifest: Manifest,
    pub(super) missing: BTreeSet<Sha1Git>,
}

impl Branches {
    /// Reads what `git ls-remote --symref` prints.
    pub(super) fn parse(text: &[u8]) -> Result<Self, BranchesError> {
        let mut branches = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let tab = line.iter().position(|byte| *byte == b'\t').ok_or(BranchesError::Malformed)?;
            let (value, name) = (&line[..tab], &line[tab + 1..]);
            let shown = match value.strip_prefix(b"ref: ") {
                Some(target) => Shown::Alias(target.to_vec()),
                None if value.len() == 64 => return Err(BranchesError::NotSha1),
                None => {
                    let id = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    Shown::Object(id.ok_or(BranchesError::Malformed)?)
                }
            };
            branches.add(name, shown)?;
        }
        Ok(branches)
    }

    /// Adds a branch, unless it is one that is left out. An alias is not replaced by what it leads to.
    pub(super) fn add(&mut self, name: &[u8], shown: Shown) -> Result<(), BranchesError> {
        if is_left_out(name) || matches!(self.branches.get(name), Some(Shown::Alias(_))) {
            return Ok(());
        }
        self.size += name.len() + OVERHEAD;
        if let Shown::Alias(target) = &shown {
            self.size += 2 * target.len() + OVERHEAD;
        }
        if self.size > MAX_MANIFEST {
            return Err(BranchesError::TooMany);
        }
        self.branches.insert(name.to_vec(), shown);
        Ok(())
    }

    /// Where a branch leads.
    pub(super) fn get(&self, name: &[u8]) -> Option<&Shown> {
        self.branches.get(name)
    }

    /// The branches, in order of name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Shown)> {
        self.branches.iter().map(|(name, shown)| (name.as_slice(), shown))
    }

    /// The ids that branches name.
    pub(super) fn ids(&self) -> BTreeSet<Sha1Git> {
        let id = |shown: &Shown| match shown {
            Shown::Object(id) => Some(*id),
            Shown::Alias(_) => None,
        };
        self.branches.values().filter_map(id).collect()
    }

    /// The manifest, when `type_of` says what each object is. What an alias names and is not there
    /// dangles.
    pub(super) fn draw<E>(
        &self,
        mut type_of: impl FnMut(&Sha1Git) -> Result<Option<ObjectType>, E>,
    ) -> Result<Drawn, E> {
        let mut drawn = Drawn { manifest: Manifest::default(), missing: BTreeSet::new() };
        for (name, shown) in &self.branches {
            let target = match shown {
                Shown::Alias(target) => {
                    if !self.branches.contains_key(target) {
                        drawn.manifest.insert(target, Target::Dangling);
                    }
                    Target::Alias(target.clone())
                }
                Shown::Object(id) => {
                    let found = type_of(id)?.map(|object_type| Target::Object(object_type.kind(), *id));
                    if found.is_none() {
                        drawn.missing.insert(*id);
                    }
                    found.unwrap_or(Target::Dangling)
                }
            };
            drawn.manifest.insert(name, target);
        }
        Ok(drawn)
    }
}

/// Refs that forges make for themselves, and the peeled forms of tags.
fn is_left_out(name: &[u8]) -> bool {
    let merge = |prefix: &[u8]| name.starts_with(prefix) && name.ends_with(b"/merge");
    name.ends_with(b"^{}")
        || merge(b"refs/pull/")
        || merge(b"refs/merge-requests/")
        || name.starts_with(b"refs/pipelines/")
        || name.starts_with(b"refs/changes/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draw(text: &str) -> Drawn {
        let type_of = |id: &Sha1Git| {
            Ok::<_, ()>(match id.as_bytes()[0] {
                0x11 => Some(ObjectType::Commit),
                0x22 => Some(ObjectType::Tag),
                _ => None,
            })
        };
        Branches::parse(text.as_bytes()).unwrap().draw(type_of).unwrap()
    }

    #[test]
    fn what_git_shows_has_the_id_that_software_heritage_gives_it() {
        let (commit, tag, gone) = ("11".repeat(20), "22".repeat(20), "33".repeat(20));
        let drawn = draw(&format!(
            "ref: refs/heads/main\tHEAD\n{commit}\tHEAD\n{gone}\trefs/heads/gone\n{commit}\trefs/heads/main\n\
             {commit}\trefs/pull/1/merge\n{commit}\trefs/merge-requests/2/merge\n{commit}\trefs/pipelines/3\n\
             {commit}\trefs/changes/4/5\n{tag}\trefs/tags/v1\n{commit}\trefs/tags/v1^{{}}\n"
        ));
        assert_eq!(drawn.manifest.id().to_string(), "27768e1943acaac4423831529927fae466dec9ff");
        assert_eq!(drawn.missing.len(), 1);
    }

    #[test]
    fn an_unborn_head_leads_to_a_branch_that_dangles() {
        let drawn = draw("ref: refs/heads/main\tHEAD\n");
        assert_eq!(drawn.manifest.get(b"HEAD"), Some(&Target::Alias(b"refs/heads/main".to_vec())));
        assert_eq!(drawn.manifest.get(b"refs/heads/main"), Some(&Target::Dangling));
        assert_eq!(draw("").manifest.id().to_string(), "1a8893e6a86f444e8be8e7bda6cb34fb1735a00e");
    }

    #[test]
    fn what_is_no_list_of_branches_is_refused() {
        let sha256 = format!("{}\tHEAD\n", "1".repeat(64));
        assert_eq!(Branches::parse(sha256.as_bytes()), Err(BranchesError::NotSha1));
        for text in ["x", "x\ty", "<html>\t", &format!("{}\tx", "G".repeat(40))] {
            assert_eq!(Branches::parse(text.as_bytes()), Err(BranchesError::Malformed), "{text}");
        }
        let long = format!("{}\t{}\n", "1".repeat(40), "n".repeat(MAX_MANIFEST));
        assert_eq!(Branches::parse(long.as_bytes()), Err(BranchesError::TooMany));
    }

    fn branch() -> impl Strategy<Value = Vec<u8>> {
        let name = prop_oneof![
            "HEAD",
            "refs/(heads|tags)/[ab]{1,2}(\\^\\{\\})?",
            "refs/(pull|merge-requests|changes|pipelines)/[12](/merge|/head)?",
        ];
        let odd = any::<u8>().prop_filter("ends the line", |byte| *byte != b'\n').prop_map(|byte| vec![b'x', byte]);
        prop_oneof![4 => name.prop_map(String::into_bytes), 1 => odd]
    }

    fn target() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof!["[0-9a-f]{40}", "ref: refs/heads/[ab]{1,2}"].prop_map(String::into_bytes)
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Branches::parse(&text);
        }

        /// What looks like a list is read to its end: each branch once, as an alias where it is one, and
        /// whatever comes of damage, it is no panic.
        #[test]
        fn what_is_nearly_a_list_of_branches_is_read_or_refused(
            lines in proptest::collection::vec((branch(), target()), 0..30),
            damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let mut text = Vec::new();
            for (name, target) in &lines {
                text.extend([target.as_slice(), b"\t", name.as_slice(), b"\n"].concat());
            }
            if let Some((at, byte)) = damage.filter(|_| !text.is_empty()) {
                let at = at.index(text.len());
                text[at] = byte;
                if let Ok(branches) = Branches::parse(&text) {
                    let drawn = branches.draw(|_| Ok::<_, ()>(Some(ObjectType::Commit))).unwrap();
                    prop_assert!(Manifest::decode(&drawn.manifest.encode()).is_ok());
                }
                return Ok(());
            }
            let branches = Branches::parse(&text).unwrap();
            let mut expected: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
            for (name, target) in lines.iter().filter(|(name, _)| !is_left_out(name)) {
                let known = expected.get(name.as_slice()).is_some_and(|known| known.starts_with(b"ref: "));
                if !known {
                    expected.insert(name, target);
                }
            }
            prop_assert_eq!(branches.iter().count(), expected.len());
            for (name, target) in expected {
                let shown = match target.strip_prefix(b"ref: ") {
                    Some(to) => Shown::Alias(to.to_vec()),
                    None => Shown::Object(std::str::from_utf8(target).unwrap().parse().unwrap()),
                };
                prop_assert_eq!(branches.get(name), Some(&shown));
            }
        }
    }
}
