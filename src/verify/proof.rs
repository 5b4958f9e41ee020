//! Proofs: what ties a revision, a release or a snapshot to what its bundle shows.
//!
//! A proof is the tags and the commit from an object down to its directory, or the manifest of a
//! snapshot, one after the other in the form that is hashed: the type's word, a space, the length of
//! the content in decimal digits, a NUL, the content. Each is named by the one before, so what is
//! first decides what must follow and where the proof ends. Strict: no other bytes prove the same.

use super::VerifyError;
use crate::archive::object::{ObjectType, commit_tree, hash, tag_target};
use crate::archive::snapshot::Manifest;
use crate::cook::proof::MAX_PROOF;
use crate::key::{ObjectKind, Sha1Git, Swhid};
use std::io::Read;

/// The most objects of a proof: the tags that a cook follows, and a commit.
const MAX_OBJECTS: usize = 65;

/// The longest header of an object: `snapshot`, a space, eight digits.
const MAX_HEADER: usize = 20;

/// What is proven to belong to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proven {
    /// The directory whose flat bundle is that of the revision or release.
    Directory(Sha1Git),
    /// The content of which a release is: its flat bundle is of a directory that holds just this,
    /// under its own id.
    File(Sha1Git),
    /// The branches of the snapshot.
    Snapshot(Manifest),
}

/// Objects that are said to lead from one to another. Nothing is proven before [`Proof::check`].
///
/// ```
/// use larder::verify::{Proof, Proven};
/// let commit = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a> 0 +0000\ncommitter A <a> 0 +0000\n\n";
/// let proof = Proof::decode(format!("commit {}\0{commit}", commit.len()).as_bytes())?;
/// let swhid = "swh:1:rev:c5c1a0cf8d9c0b0b5a6f3fd5a2cd3d1a4aa1e3d8".parse()?;
/// assert!(proof.check(&swhid).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Proof {
    bytes: Vec<u8>,
    objects: Vec<Object>,
}

#[derive(Clone, Debug)]
struct Object {
    kind: ProofType,
    content: std::ops::Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProofType {
    Tag,
    Commit,
    Snapshot,
}

impl Proof {
    /// Reads a proof to its end.
    ///
    /// # Errors
    /// [`VerifyError::Read`], or what [`Proof::decode`] says.
    pub fn read(input: impl Read) -> Result<Self, VerifyError> {
        let mut bytes = Vec::new();
        input.take(MAX_PROOF as u64 + 1).read_to_end(&mut bytes).map_err(VerifyError::Read)?;
        Self::from_vec(bytes)
    }

    /// The proof in `bytes`.
    ///
    /// # Errors
    /// [`VerifyError::Proof`] when they are not one.
    pub fn decode(bytes: &[u8]) -> Result<Self, VerifyError> {
        Self::from_vec(bytes.to_vec())
    }

    fn from_vec(bytes: Vec<u8>) -> Result<Self, VerifyError> {
        if bytes.len() > MAX_PROOF {
            return Err(fault(format!("it has more than {MAX_PROOF} bytes")));
        }
        let mut objects = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if objects.len() == MAX_OBJECTS {
                return Err(fault(format!("it has more than {MAX_OBJECTS} objects")));
            }
            let (kind, start, length) =
                header(&bytes[at..]).ok_or_else(|| fault(format!("at byte {at} no object begins")))?;
            let content = at + start..at + start + length;
            if content.end > bytes.len() {
                return Err(fault(format!("the object at byte {at} is cut short")));
            }
            at = content.end;
            objects.push(Object { kind, content });
        }
        Ok(Self { bytes, objects })
    }

    /// What belongs to `swhid`, by the ids recomputed of all objects of the proof and of no others.
    ///
    /// # Errors
    /// [`VerifyError::Proof`]: it is the proof of something else, or of nothing.
    pub fn check(&self, swhid: &Swhid) -> Result<Proven, VerifyError> {
        let mut objects = self.objects.iter();
        let mut next = |kind: ProofType, id: &Sha1Git| {
            let object = objects.next().filter(|object| object.kind == kind);
            let content = object.map(|object| &self.bytes[object.content.clone()]);
            content.ok_or_else(|| fault(format!("{id} is not in it")))
        };
        let proven = match swhid.kind {
            ObjectKind::Directory => Proven::Directory(swhid.id),
            ObjectKind::Content => Proven::File(swhid.id),
            ObjectKind::Revision => Proven::Directory(directory(&swhid.id, next(ProofType::Commit, &swhid.id)?)?),
            ObjectKind::Release => {
                let mut id = swhid.id;
                loop {
                    let content = next(ProofType::Tag, &id)?;
                    expect(&id, ObjectType::Tag, content)?;
                    let (target, target_type) = tag_target(content).map_err(|error| fault(error.to_string()))?;
                    match target_type {
                        ObjectType::Tag => id = target,
                        ObjectType::Commit => {
                            break Proven::Directory(directory(&target, next(ProofType::Commit, &target)?)?);
                        }
                        ObjectType::Tree => break Proven::Directory(target),
                        ObjectType::Blob => break Proven::File(target),
                    }
                }
            }
            ObjectKind::Snapshot => Proven::Snapshot(snapshot(&swhid.id, next(ProofType::Snapshot, &swhid.id)?)?),
        };
        match objects.next() {
            None => Ok(proven),
            Some(_) => Err(fault("it goes on after its end".to_owned())),
        }
    }
}

fn directory(id: &Sha1Git, commit: &[u8]) -> Result<Sha1Git, VerifyError> {
    expect(id, ObjectType::Commit, commit)?;
    commit_tree(commit).map_err(|error| fault(error.to_string()))
}

fn snapshot(id: &Sha1Git, content: &[u8]) -> Result<Manifest, VerifyError> {
    let manifest = Manifest::decode(content).map_err(|error| fault(format!("the manifest: {error}")))?;
    match manifest.id() {
        found if found == *id => Ok(manifest),
        found => Err(fault(format!("the manifest is that of {found}, not of {id}"))),
    }
}

fn expect(id: &Sha1Git, object_type: ObjectType, content: &[u8]) -> Result<(), VerifyError> {
    match hash(object_type, content) {
        Ok(found) if found == *id => Ok(()),
        Ok(found) => Err(fault(format!("it has the {object_type} {found}, not {id}"))),
        Err(collision) => Err(fault(collision.to_string())),
    }
}

/// The type of the object that `bytes` begin with, where its content begins, and its length.
fn header(bytes: &[u8]) -> Option<(ProofType, usize, usize)> {
    let end = bytes.iter().take(MAX_HEADER).position(|byte| *byte == 0)?;
    let (word, digits) = std::str::from_utf8(&bytes[..end]).ok()?.split_once(' ')?;
    let kind = match word {
        "tag" => ProofType::Tag,
        "commit" => ProofType::Commit,
        "snapshot" => ProofType::Snapshot,
        _ => return None,
    };
    let length: usize = digits.parse().ok().filter(|length| *length <= MAX_PROOF)?;
    (length.to_string() == digits).then_some((kind, end + 1, length))
}

fn fault(reason: String) -> VerifyError {
    VerifyError::Proof(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::snapshot::Target;
    use proptest::prelude::*;

    const TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn hashed(word: &str, content: &str) -> Vec<u8> {
        format!("{word} {}\0{content}", content.len()).into_bytes()
    }

    /// A commit, a tag of it and a tag of that: each proof, what it is of, and what it leads to.
    fn proofs() -> Vec<(Vec<u8>, Swhid, Proven)> {
        let tree: Sha1Git = TREE.parse().unwrap();
        let id = |object_type, content: &str| hash(object_type, content.as_bytes()).unwrap();
        let commit = format!("tree {TREE}\nauthor A <a> 0 +0000\ncommitter A <a> 0 +0000\n\nwords\n");
        let commit_id = id(ObjectType::Commit, &commit);
        let tag = format!("object {commit_id}\ntype commit\ntag v1\n\nfirst\n");
        let tag_id = id(ObjectType::Tag, &tag);
        let outer = format!("object {tag_id}\ntype tag\ntag v2\n\n");
        let of_file = format!("object {TREE}\ntype blob\ntag file\n\n");
        let mut manifest = Manifest::default();
        manifest.insert(b"HEAD", Target::Alias(b"refs/heads/main".to_vec()));
        manifest.insert(b"refs/heads/main", Target::Object(ObjectKind::Revision, commit_id));
        let chain =
            |parts: &[(&str, &str)]| parts.iter().flat_map(|(word, text)| hashed(word, text)).collect::<Vec<_>>();
        let swhid = |kind, id| Swhid { kind, id };
        vec![
            (chain(&[("commit", &commit)]), swhid(ObjectKind::Revision, commit_id), Proven::Directory(tree)),
            (
                chain(&[("tag", &outer), ("tag", &tag), ("commit", &commit)]),
                swhid(ObjectKind::Release, id(ObjectType::Tag, &outer)),
                Proven::Directory(tree),
            ),
            (
                chain(&[("tag", &of_file)]),
                swhid(ObjectKind::Release, id(ObjectType::Tag, &of_file)),
                Proven::File(tree),
            ),
            (
                crate::cook::proof::of_snapshot(&manifest),
                swhid(ObjectKind::Snapshot, manifest.id()),
                Proven::Snapshot(manifest),
            ),
            (Vec::new(), swhid(ObjectKind::Directory, tree), Proven::Directory(tree)),
        ]
    }

    fn check(bytes: &[u8], swhid: &Swhid) -> Result<Proven, VerifyError> {
        Proof::decode(bytes)?.check(swhid)
    }

    #[test]
    fn a_proof_leads_to_the_directory_and_to_nothing_else() {
        for (bytes, swhid, proven) in proofs() {
            assert_eq!(check(&bytes, &swhid).unwrap(), proven, "{swhid}");
            assert_eq!(Proof::read(&bytes[..]).unwrap().check(&swhid).unwrap(), proven);
            let mut longer = bytes.clone();
            longer.extend(hashed("commit", "x"));
            assert!(check(&longer, &swhid).is_err(), "{swhid} and more");
            let mut padded = bytes.clone();
            padded.push(b'\n');
            assert!(check(&padded, &swhid).is_err(), "{swhid} and a byte");
            for other in proofs() {
                assert_eq!(check(&bytes, &other.1).is_ok(), swhid == other.1, "{swhid} as {}", other.1);
            }
        }
    }

    #[test]
    fn a_proof_that_never_ends_is_refused() {
        let tags: Vec<u8> = (0..=MAX_OBJECTS).flat_map(|_| hashed("tag", "x")).collect();
        assert!(Proof::decode(&tags).is_err());
        assert!(Proof::read(std::io::repeat(b't')).is_err());
        assert!(Proof::decode(b"tag 18446744073709551615\0").is_err());
        assert!(Proof::decode(b"tag 01\0x").is_err(), "one length is written in one way");
    }

    proptest! {
        #[test]
        fn no_byte_of_a_proof_changes_unnoticed(which in 0..4_usize, place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let (mut bytes, swhid, _) = proofs().swap_remove(which);
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            prop_assert!(check(&bytes, &swhid).is_err());
            bytes.truncate(place);
            prop_assert!(check(&bytes, &swhid).is_err());
        }

        #[test]
        fn whatever_follows_a_header_is_read_by_its_length_and_proves_what_it_says(
            parts in prop::collection::vec((0..3_usize, 0..3_usize, "[a-z0 \0\n]{0,30}", prop::option::weighted(0.1, -2..3_isize)), 0..4),
        ) {
            let heads = ["", &format!("tree {TREE}\n"), &format!("object {TREE}\ntype tree\ntag x\n")];
            let (mut bytes, mut is_honest, mut objects) = (Vec::new(), true, Vec::new());
            for (word, head, rest, more) in &parts {
                let word = ["tag", "commit", "snapshot"][*word];
                let content = format!("{}{rest}", heads[*head]);
                let stated = content.len().saturating_add_signed(more.unwrap_or(0));
                is_honest &= stated == content.len();
                bytes.extend_from_slice(format!("{word} {stated}\0{content}").as_bytes());
                objects.push((word, *head, content));
            }
            let decoded = Proof::decode(&bytes);
            prop_assert!(decoded.is_ok() || !is_honest);
            let Ok(proof) = decoded else { return Ok(()) };
            prop_assert!(!is_honest || proof.objects.len() == parts.len());
            for (object_type, kind, (word, head)) in
                [(ObjectType::Commit, ObjectKind::Revision, ("commit", 1)), (ObjectType::Tag, ObjectKind::Release, ("tag", 2))]
            {
                let content = objects.first().map(|(.., content)| content.as_str()).unwrap_or_default();
                let swhid = Swhid { kind, id: hash(object_type, content.as_bytes()).unwrap() };
                let is_proof = matches!(&objects[..], [one] if one.0 == word && one.1 == head);
                prop_assert!(proof.check(&swhid).is_ok() == is_proof || !is_honest, "{swhid}: {objects:?}");
            }
        }
    }
}
