//! The manifest of a snapshot: the branches of an origin at one moment, and the id they have.
//!
//! The form is that of the SWHID specification (ISO/IEC 18670, "snapshots"): branches in order of
//! their names' bytes, each `<target type> SP <name> NUL <length of target> ":" <target>`, with
//! nothing between them. Pure. A manifest may come from anywhere: reading one checks all of it.

mod encoded;

pub use encoded::Encoded;

use crate::key::{ObjectKind, Sha1Git};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeMap;
use std::fmt;

/// The most bytes of a manifest: 64 MiB, as of a tree. About half a million branches.
pub const MAX_MANIFEST: usize = 64 << 20;

/// The longest name of a branch, in bytes: a path of a loose ref could not be longer.
const MAX_NAME: usize = 4095;

/// Aliases of aliases are followed so far, as symbolic refs by git.
const MAX_ALIASES: u32 = 5;

/// What a branch leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An object. Any kind, a snapshot too.
    Object(ObjectKind, Sha1Git),
    /// Another branch, by its name.
    Alias(Vec<u8>),
    /// Nothing: the branch is there and what it names is not.
    Dangling,
}

/// The branches of a snapshot, in order of their names' bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    branches: BTreeMap<Vec<u8>, Target>,
}

/// Why bytes are not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Over [`MAX_MANIFEST`].
    #[error("it has more than {MAX_MANIFEST} bytes")]
    TooLarge,
    /// Not the form.
    #[error("at byte {at}: {reason}")]
    Malformed {
        /// Where the branch at fault begins.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Manifest {
    /// Adds a branch, or moves it; `false` for a name that no manifest can hold: an empty one, one
    /// with a NUL, one too long.
    pub fn insert(&mut self, name: &[u8], target: Target) -> bool {
        let legal = is_name(name) && !matches!(&target, Target::Alias(other) if !is_name(other));
        if legal {
            self.branches.insert(name.to_vec(), target);
        }
        legal
    }

    /// What a branch leads to.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Target> {
        self.branches.get(name)
    }

    /// The branch that a name or the end of one means, by git's rules (`gitrevisions(7)`): itself, then
    /// below `refs/`, as a tag, as a head, as a remote.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<(&[u8], &Target)> {
        meant(name).find_map(|name| {
            let (name, target) = self.branches.get_key_value(name.as_slice())?;
            Some((name.as_slice(), target))
        })
    }

    /// The object that a branch's target leads to, through aliases; `None` when it leads to nothing or
    /// in a circle.
    #[must_use]
    pub fn follow<'a>(&'a self, mut target: &'a Target) -> Option<(ObjectKind, Sha1Git)> {
        for _ in 0..=MAX_ALIASES {
            match target {
                Target::Object(kind, id) => return Some((*kind, *id)),
                Target::Alias(name) => target = self.branches.get(name)?,
                Target::Dangling => return None,
            }
        }
        None
    }

    /// The branches, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Target)> {
        self.branches.iter().map(|(name, target)| (name.as_slice(), target))
    }

    /// How many branches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.branches.len()
    }

    /// Whether there is no branch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.branches.is_empty()
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, target) in &self.branches {
            let (word, bytes): (&str, &[u8]) = match target {
                Target::Object(kind, id) => (kind.as_str(), id.as_bytes()),
                Target::Alias(other) => ("alias", other),
                Target::Dangling => ("dangling", &[]),
            };
            out.extend_from_slice(word.as_bytes());
            out.push(b' ');
            out.extend_from_slice(name);
            out.push(0);
            out.extend_from_slice(bytes.len().to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(bytes);
        }
        out
    }

    /// The id of the snapshot.
    #[must_use]
    pub fn id(&self) -> Sha1Git {
        id(&self.encode())
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else: what is accepted encodes to the
    /// same bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(ManifestError::TooLarge);
        }
        let mut manifest = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let malformed = |reason| ManifestError::Malformed { at, reason };
            let (name, target, behind) = branch(rest).map_err(malformed)?;
            if manifest.branches.last_key_value().is_some_and(|(last, _)| last.as_slice() >= name) {
                return Err(malformed(NO_ORDER));
            }
            if !manifest.insert(name, target) {
                return Err(malformed(BAD_NAME));
            }
            rest = behind;
        }
        Ok(manifest)
    }
}

/// Branches that can be looked up by name.
pub trait Branches {
    /// What a branch leads to.
    fn target(&self, name: &[u8]) -> Option<Target>;

    /// The branch that a name or the end of one means, by git's rules, and the object that it leads to through
    /// aliases. `None` when there is no such branch, or it leads to nothing.
    fn lead(&self, name: &[u8]) -> Option<(Vec<u8>, ObjectKind, Sha1Git)> {
        let (name, mut target) = meant(name).find_map(|name| self.target(&name).map(|target| (name, target)))?;
        for _ in 0..=MAX_ALIASES {
            match target {
                Target::Object(kind, id) => return Some((name, kind, id)),
                Target::Alias(other) => target = self.target(&other)?,
                Target::Dangling => return None,
            }
        }
        None
    }
}

impl Branches for Manifest {
    fn target(&self, name: &[u8]) -> Option<Target> {
        self.get(name).cloned()
    }
}

/// The names that one may stand for, by git's rules.
fn meant(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const RULES: [(&[u8], &[u8]); 6] = [
        (b"", b""),
        (b"refs/", b""),
        (b"refs/tags/", b""),
        (b"refs/heads/", b""),
        (b"refs/remotes/", b""),
        (b"refs/remotes/", b"/HEAD"),
    ];
    RULES.iter().map(move |(before, behind)| [before, name, behind].concat())
}

fn id(encoded: &[u8]) -> Sha1Git {
    let mut sha1 = Sha1::new();
    sha1.update(format!("snapshot {}\0", encoded.len()));
    sha1.update(encoded);
    Sha1Git::from_bytes(sha1.finalize().into())
}

const NO_ORDER: &str = "the branches are not in order";
const BAD_NAME: &str = "a name is empty, too long, or has a NUL";

/// The first branch of `bytes` and what stands behind it.
fn branch(bytes: &[u8]) -> Result<(&[u8], Target, &[u8]), &'static str> {
    let (word, rest) = split_at(bytes, b' ').ok_or("there is no type of a target")?;
    let (name, rest) = split_at(rest, 0).ok_or("a name has no end")?;
    let (length, rest) = split_at(rest, b':').ok_or("there is no length of a target")?;
    let length = decimal(length).ok_or("the length of a target is not a number")?;
    let (target, rest) = rest.split_at_checked(length).ok_or("a target is cut short")?;
    let target = match (word, target) {
        (b"alias", name) => Target::Alias(name.to_vec()),
        (b"dangling", []) => Target::Dangling,
        (word, id) => {
            let kind = ObjectKind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word);
            let id = <[u8; 20]>::try_from(id).map_err(|_| "the id of a target does not have 20 bytes")?;
            Target::Object(kind.ok_or("the type of a target is unknown")?, Sha1Git::from_bytes(id))
        }
    };
    Ok((name, target, rest))
}

fn split_at(bytes: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == end)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// A number as it is written: without leading zeros, small enough to be one.
fn decimal(digits: &[u8]) -> Option<usize> {
    let written = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let number = written.parse::<usize>().ok()?;
    (number.to_string() == written).then_some(number)
}

fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains(&0)
}

impl fmt::Display for Target {
    /// `revision 1111...`, `alias refs/heads/main`, `dangling`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(kind, id) => write!(f, "{kind} {id}"),
            Self::Alias(name) => write!(f, "alias {}", name.escape_ascii()),
            Self::Dangling => f.write_str("dangling"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_target() -> impl Strategy<Value = Target> {
        prop_oneof![
            (any::<[u8; 20]>(), 0..5_usize)
                .prop_map(|(id, kind)| Target::Object(ObjectKind::ALL[kind], Sha1Git::from_bytes(id))),
            proptest::collection::vec(1..=255_u8, 1..30).prop_map(Target::Alias),
            Just(Target::Dangling),
        ]
    }

    #[test]
    fn ids_are_those_of_software_heritage() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.id().to_string(), "1a8893e6a86f444e8be8e7bda6cb34fb1735a00e");
        let object = |kind, byte| Target::Object(kind, Sha1Git::from_bytes([byte; 20]));
        assert!(manifest.insert(b"refs/tags/v1", object(ObjectKind::Release, 0x22)));
        assert!(manifest.insert(b"HEAD", Target::Alias(b"refs/heads/main".to_vec())));
        assert!(manifest.insert(b"refs/heads/gone", Target::Dangling));
        assert!(manifest.insert(b"refs/heads/main", object(ObjectKind::Revision, 0x11)));
        assert_eq!(manifest.id().to_string(), "27768e1943acaac4423831529927fae466dec9ff");
    }

    #[test]
    fn branches_are_found_by_gits_rules_and_aliases_never_followed_for_ever() {
        let mut manifest = Manifest::default();
        let object = |byte| Target::Object(ObjectKind::Revision, Sha1Git::from_bytes([byte; 20]));
        let alias = |name: &str| Target::Alias(name.as_bytes().to_vec());
        for (name, target) in [
            ("HEAD", alias("refs/heads/main")),
            ("refs/heads/main", object(1)),
            ("refs/heads/v1", object(2)),
            ("refs/tags/v1", object(3)),
            ("refs/heads/gone", Target::Dangling),
            ("refs/heads/a", alias("refs/heads/b")),
            ("refs/heads/b", alias("refs/heads/a")),
            ("refs/remotes/origin/HEAD", alias("HEAD")),
        ] {
            assert!(manifest.insert(name.as_bytes(), target));
        }
        for (name, found, id) in [
            ("HEAD", Some("HEAD"), Some(1)),
            ("main", Some("refs/heads/main"), Some(1)),
            ("heads/main", Some("refs/heads/main"), Some(1)),
            ("v1", Some("refs/tags/v1"), Some(3)),
            ("heads/v1", Some("refs/heads/v1"), Some(2)),
            ("origin", Some("refs/remotes/origin/HEAD"), Some(1)),
            ("gone", Some("refs/heads/gone"), None),
            ("a", Some("refs/heads/a"), None),
            ("nothing", None, None),
        ] {
            let branch = manifest.find(name.as_bytes());
            assert_eq!(branch.map(|(name, _)| name), found.map(str::as_bytes), "{name}");
            let led = branch.and_then(|(_, target)| manifest.follow(target));
            assert_eq!(led.map(|(_, id)| id), id.map(|byte| Sha1Git::from_bytes([byte; 20])), "{name}");
            let led = led.zip(branch).map(|((kind, id), (name, _))| (name.to_vec(), kind, id));
            assert_eq!(manifest.lead(name.as_bytes()), led, "{name}");
            let encoded = Encoded::new(manifest.encode()).unwrap();
            assert_eq!((encoded.lead(name.as_bytes()), encoded.id()), (led, manifest.id()), "{name}");
        }
    }

    #[test]
    fn what_is_not_a_manifest_is_refused_with_its_place() {
        let cases: [(&[u8], usize); 9] = [
            (b"alias", 0),
            (b"alias x", 0),
            (b"alias x\0", 0),
            (b"alias x\x005:abc", 0),
            (b"alias x\x0003:abc", 0),
            (b"alias \x003:abc", 0),
            (b"revision x\x003:abc", 0),
            (b"dangling b\x000:dangling a\x000:", 13),
            (b"dangling b\x000:dangling b\x000:", 13),
        ];
        for (bytes, place) in cases {
            let error = Manifest::decode(bytes).unwrap_err();
            assert!(matches!(error, ManifestError::Malformed { at, .. } if at == place), "{error}");
            assert_eq!(Encoded::new(bytes.to_vec()), Err(error));
        }
    }

    proptest! {
        #[test]
        fn every_manifest_reads_back_as_itself(
            branches in proptest::collection::btree_map(proptest::collection::vec(1..=255_u8, 1..30), any_target(), 0..8)
        ) {
            let mut manifest = Manifest::default();
            for (name, target) in branches {
                prop_assert!(manifest.insert(&name, target));
            }
            let encoded = Encoded::new(manifest.encode()).unwrap();
            for (name, target) in manifest.iter() {
                prop_assert_eq!(encoded.target(name), Some(target.clone()));
                prop_assert_eq!(encoded.target(&[name, b"x"].concat()), manifest.get(&[name, b"x"].concat()).cloned());
            }
            prop_assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
        }

        #[test]
        fn what_is_accepted_encodes_to_the_same_bytes(bytes in "(alias|dangling|revision|x)? ?[a-b]{0,2}\0?[0-3]{0,2}:?[a-b]{0,3}") {
            let encoded = Encoded::new(bytes.clone().into_bytes());
            prop_assert_eq!(encoded.map(drop), Manifest::decode(bytes.as_bytes()).map(drop));
            if let Ok(manifest) = Manifest::decode(bytes.as_bytes()) {
                prop_assert_eq!(manifest.encode(), bytes.as_bytes());
            }
        }
    }
}
