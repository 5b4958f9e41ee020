//! A manifest that stays as it is hashed, for looking branches up.

use super::{BAD_NAME, Branches, MAX_MANIFEST, ManifestError, NO_ORDER, Target, branch, id, is_name};
use crate::key::Sha1Git;
use std::cmp::Ordering;

/// A manifest as it is hashed, with where each branch begins: a branch is found in it without the others being
/// unpacked. It takes little more than its bytes, a tenth of what a [`Manifest`](super::Manifest) takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    bytes: Vec<u8>,
    /// In the order of the names, which is theirs too.
    starts: Vec<u32>,
}

impl Encoded {
    /// Checks `bytes` as [`Manifest::decode`](super::Manifest::decode) does.
    pub fn new(bytes: Vec<u8>) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        let (mut starts, mut rest, mut last): (Vec<u32>, _, &[u8]) = (Vec::new(), bytes.as_slice(), &[]);
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let malformed = |reason| ManifestError::Malformed { at, reason };
            let (name, target, behind) = branch(rest).map_err(malformed)?;
            if last >= name {
                return Err(malformed(if name.is_empty() { BAD_NAME } else { NO_ORDER }));
            }
            if !is_name(name) || matches!(&target, Target::Alias(other) if !is_name(other)) {
                return Err(malformed(BAD_NAME));
            }
            starts.push(u32::try_from(at).map_err(|_| ManifestError::TooLarge)?);
            (last, rest) = (name, behind);
        }
        starts.shrink_to_fit();
        Ok(Self { bytes, starts })
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The id of the snapshot.
    #[must_use]
    pub fn id(&self) -> Sha1Git {
        id(&self.bytes)
    }

    /// How many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + 4 * self.starts.len()
    }

    /// How many branches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is no branch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The branches in order of their names, from number `from` on.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = (&[u8], Target)> {
        self.starts.get(from..).unwrap_or_default().iter().filter_map(|start| self.at(*start))
    }

    /// The number of the branch of this name, or of the next one where none has it.
    #[must_use]
    pub fn place(&self, name: &[u8]) -> usize {
        self.starts.partition_point(|start| self.at(*start).is_some_and(|(at, _)| at < name))
    }

    fn at(&self, start: u32) -> Option<(&[u8], Target)> {
        let (name, target, _) = branch(self.bytes.get(start as usize..)?).ok()?;
        Some((name, target))
    }
}

impl Branches for Encoded {
    fn target(&self, name: &[u8]) -> Option<Target> {
        let compare = |start: &u32| self.at(*start).map_or(Ordering::Less, |(at, _)| at.cmp(name));
        let place = self.starts.binary_search_by(compare).ok()?;
        self.at(self.starts[place]).map(|(_, target)| target)
    }
}
