//! Whether what was found in a bundle is what was asked for. The ids are recomputed by now; this is
//! the one place that compares them with a SWHID.

use super::{Checked, History, Proof, Proven, VerifyError, told};
use crate::archive::object;
use crate::archive::snapshot::Manifest;
use crate::archive::{ArchiveError, Header, ObjectType, Reader};
use crate::cook::CookError;
use crate::cook::history::{Head, Refs, Subject, git_bundle, refs};
use crate::key::{Format, ObjectKind, Sha1Git, Swhid};
use std::collections::BTreeMap;
use std::io;

/// Why a bundle that is whole is not that of the object asked for.
#[derive(Debug, thiserror::Error)]
pub enum Differs {
    /// It is of another object.
    #[error("recomputed {found}, expected {expected}")]
    Id {
        /// What the bundle is of.
        found: Swhid,
        /// What it should be of.
        expected: Swhid,
    },
    /// Its refs are not those that the object has.
    #[error("the refs are not those of {expected}: {reason}")]
    Refs {
        /// What it should be of.
        expected: Swhid,
        /// What is wrong with them.
        reason: String,
    },
    /// Without a proof nothing can be said.
    #[error("whether a bundle is that of {0} takes its proof, and there is none")]
    NoProof(Swhid),
    /// The refs of a bundle do not make the id of the snapshot, and there is no proof.
    #[error(
        "its refs do not make {expected}: they are not that snapshot's, or it has branches that no ref shows; \
         which of both takes its proof, and there is none{}",
        unless_lossy(*.format)
    )]
    Untold {
        /// What it should be of.
        expected: Swhid,
        /// The format of the bundle.
        format: Format,
    },
    /// The proof is of something else.
    #[error(transparent)]
    Proof(VerifyError),
}

/// Whether `found`, read from a bundle in `format`, is what `swhid` names. A flat bundle of a
/// revision or a release takes a proof, and so does a snapshot whose manifest is neither in the bundle
/// nor can be told from its refs.
///
/// # Errors
/// [`Differs`], which says in what.
pub fn agrees(found: &Checked, format: Format, swhid: &Swhid, proof: Option<&Proof>) -> Result<(), Differs> {
    let same = |kind, id, expected: Swhid| match (Swhid { kind, id }) {
        found if found == expected => Ok(()),
        found => Err(Differs::Id { found, expected }),
    };
    match found {
        Checked::Content(id) => same(ObjectKind::Content, *id, *swhid),
        Checked::Directory(id) => same(ObjectKind::Directory, *id, directory(swhid, proof)?),
        Checked::History(history) => {
            let differ = |reason: String| Differs::Refs { expected: *swhid, reason: reason + unless_lossy(format) };
            let subject = subject(history, format, swhid, proof)?;
            let expected = expected_refs(history, &subject).map_err(differ)?;
            refs_differ(history, format, &expected).map_or(Ok(()), |reason| Err(differ(reason)))
        }
    }
}

/// The directory that a flat bundle of `swhid` is of.
fn directory(swhid: &Swhid, proof: Option<&Proof>) -> Result<Swhid, Differs> {
    let id = match swhid.kind {
        ObjectKind::Revision | ObjectKind::Release => {
            match proof.ok_or(Differs::NoProof(*swhid))?.check(swhid).map_err(Differs::Proof)? {
                Proven::Directory(id) => id,
                Proven::File(id) => directory_of(&id).map_err(Differs::Proof)?,
                Proven::Snapshot(_) => return Ok(*swhid),
            }
        }
        // The others have no flat bundle, and are never equal to the directory that was found.
        ObjectKind::Directory | ObjectKind::Content | ObjectKind::Snapshot => return Ok(*swhid),
    };
    Ok(Swhid { kind: ObjectKind::Directory, id })
}

/// The directory that holds a file under its own id, as the bundle of a release of a file does.
fn directory_of(file: &Sha1Git) -> Result<Sha1Git, VerifyError> {
    let tree = [format!("100644 {file}\0").as_bytes(), file.as_bytes()].concat();
    object::hash(ObjectType::Tree, &tree).map_err(|collision| VerifyError::Proof(collision.to_string()))
}

/// What is to be known of every `gitfast.gz` that differs.
fn unless_lossy(format: Format) -> &'static str {
    if format == Format::Gitfast {
        " (a bundle whose status says lossy makes other ids than those it was made from, so nothing can verify it)"
    } else {
        ""
    }
}

/// What a history is of.
fn subject(history: &History, format: Format, swhid: &Swhid, proof: Option<&Proof>) -> Result<Subject, Differs> {
    Ok(match swhid.kind {
        ObjectKind::Directory => Subject::Directory(swhid.id),
        ObjectKind::Revision => Subject::Revision(swhid.id),
        ObjectKind::Release => Subject::Release(swhid.id),
        ObjectKind::Snapshot => Subject::Snapshot(manifest(history, format, swhid, proof)?),
        ObjectKind::Content => {
            return Err(Differs::Refs { expected: *swhid, reason: "a content has none".to_owned() });
        }
    })
}

/// The refs that the bundle of an object has, by the tags that were found in it; or why it has none.
fn expected_refs(history: &History, subject: &Subject) -> Result<Refs, String> {
    refs(&mut Tags(&history.tags), subject).map_err(|error| match error {
        CookError::Missing { id } => format!("{id} is not the id of a tag in the bundle"),
        error => error.to_string(),
    })
}

fn manifest(history: &History, format: Format, swhid: &Swhid, proof: Option<&Proof>) -> Result<Manifest, Differs> {
    if let Some(proof) = proof {
        return match proof.check(swhid).map_err(Differs::Proof)? {
            Proven::Snapshot(manifest) => Ok(manifest),
            Proven::Directory(_) | Proven::File(_) => Err(Differs::NoProof(*swhid)),
        };
    }
    let Some(manifest) = &history.manifest else {
        // A git.tar has its manifest in it.
        let told = (format != Format::GitTar).then(|| told::manifest(history, format, &swhid.id)).flatten();
        return told.ok_or(Differs::Untold { expected: *swhid, format });
    };
    match (Swhid { kind: ObjectKind::Snapshot, id: manifest.id() }) {
        found if found == *swhid => Ok(manifest.clone()),
        found => Err(Differs::Id { found, expected: *swhid }),
    }
}

/// What is wrong with the refs and HEAD of a bundle, if anything is.
fn refs_differ(history: &History, format: Format, expected: &Refs) -> Option<String> {
    let found: BTreeMap<&[u8], &Sha1Git> = history.refs.iter().map(|(name, id)| (name.as_slice(), id)).collect();
    for one in &expected.list {
        let shown = one.name.escape_ascii();
        match found.get(one.name.as_slice()) {
            Some(id) if **id == one.target => {}
            Some(id) => return Some(format!("{shown} is {id} and should be {}", one.target)),
            None => return Some(format!("{shown} is not there")),
        }
    }
    if let Some(name) = found.keys().find(|name| expected.get(name).is_none()) {
        return Some(format!("{} should not be there", name.escape_ascii()));
    }
    // Which one is last says which branch HEAD is.
    if format == Format::Bundle
        && !git_bundle::in_order(expected).map(|one| &one.name).eq(history.refs.iter().map(|one| &one.0))
    {
        return Some("they stand in another order".to_owned());
    }
    let is_right = match (&history.head, &expected.head) {
        // A stream of gitfast has no HEAD, and a bundle none that is still to be born.
        (None, _) => format == Format::Gitfast || expected.head_target().is_none(),
        (Some(Head::Detached(id)), _) => expected.head_target() == Some(*id),
        (Some(head), expected) => Some(head) == expected.as_ref(),
    };
    (!is_right).then(|| "HEAD points elsewhere".to_owned())
}

/// The tags of a bundle as an archive that has nothing else.
pub(super) struct Tags<'a>(pub(super) &'a BTreeMap<Sha1Git, Vec<u8>>);

impl Reader for Tags<'_> {
    fn header(&mut self, id: &Sha1Git) -> Result<Option<Header>, ArchiveError> {
        Ok(self.0.get(id).map(|tag| Header { object_type: ObjectType::Tag, size: tag.len() as u64 }))
    }

    fn find(&mut self, id: &Sha1Git, buf: &mut Vec<u8>) -> Result<Option<ObjectType>, ArchiveError> {
        let found = self.0.get(id);
        Ok(found.map(|tag| {
            buf.clone_from(tag);
            ObjectType::Tag
        }))
    }

    fn stream(&mut self, _: &Sha1Git, _: &mut dyn io::Write) -> Result<Option<Header>, ArchiveError> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::snapshot::Target;

    fn id(byte: u8) -> Sha1Git {
        Sha1Git::from_bytes([byte; 20])
    }

    fn swhid(kind: ObjectKind, id: Sha1Git) -> Swhid {
        Swhid { kind, id }
    }

    fn whether(found: &Checked, format: Format, swhid: Swhid, proof: Option<&Proof>) -> String {
        agrees(found, format, &swhid, proof).map_or_else(|differs| differs.to_string(), |()| "agrees".to_owned())
    }

    #[test]
    fn a_flat_bundle_is_of_its_directory_and_of_what_is_proven_to_lead_there() {
        let found = Checked::Directory(id(1));
        let of = |kind, byte, proof| whether(&found, Format::Tar, swhid(kind, id(byte)), proof);
        assert_eq!(of(ObjectKind::Directory, 1, None), "agrees");
        assert!(of(ObjectKind::Directory, 2, None).starts_with("recomputed swh:1:dir:0101"));
        assert!(of(ObjectKind::Content, 1, None).starts_with("recomputed"));
        assert!(of(ObjectKind::Snapshot, 1, None).starts_with("recomputed"));
        assert!(of(ObjectKind::Revision, 1, None).contains("proof"));
        let commit = format!("tree {}\nauthor A <a> 0 +0000\ncommitter A <a> 0 +0000\n\n", id(1));
        let revision = object::hash(ObjectType::Commit, commit.as_bytes()).unwrap();
        let proof = Proof::decode(format!("commit {}\0{commit}", commit.len()).as_bytes()).unwrap();
        let revision = swhid(ObjectKind::Revision, revision);
        assert_eq!(whether(&found, Format::Tar, revision, Some(&proof)), "agrees");
        assert!(whether(&Checked::Directory(id(2)), Format::Tar, revision, Some(&proof)).starts_with("recomputed"));
        assert!(of(ObjectKind::Revision, 3, Some(&proof)).contains("the proof"));
    }

    #[test]
    fn a_history_agrees_when_every_ref_and_head_do() {
        let right = History {
            head: Some(Head::Symbolic(b"refs/heads/main".to_vec())),
            refs: vec![(b"refs/heads/main".to_vec(), id(1))],
            ..History::default()
        };
        let of = |history: &History, format| {
            whether(&Checked::History(history.clone()), format, swhid(ObjectKind::Revision, id(1)), None)
        };
        assert_eq!(of(&right, Format::GitTar), "agrees");
        let detached = History { head: Some(Head::Detached(id(1))), ..right.clone() };
        assert_eq!(of(&detached, Format::Bundle), "agrees");
        let headless = History { head: None, ..right.clone() };
        assert_eq!(of(&headless, Format::Gitfast), "agrees");
        for wrong in [
            headless,
            History { head: Some(Head::Detached(id(2))), ..right.clone() },
            History { head: Some(Head::Symbolic(b"refs/heads/x".to_vec())), ..right.clone() },
            History { refs: vec![(b"refs/heads/main".to_vec(), id(2))], ..right.clone() },
            History { refs: Vec::new(), ..right.clone() },
            History { refs: vec![right.refs[0].clone(), (b"refs/heads/x".to_vec(), id(1))], ..right.clone() },
        ] {
            assert_ne!(of(&wrong, Format::GitTar), "agrees", "{wrong:?}");
        }
    }

    #[test]
    fn a_release_leads_to_its_commit_by_the_tags_in_the_bundle() {
        let tag = format!("object {}\ntype commit\ntag v1\n\nwords\n", id(1)).into_bytes();
        let release = object::hash(ObjectType::Tag, &tag).unwrap();
        let mut history = History {
            head: Some(Head::Symbolic(b"refs/heads/main".to_vec())),
            refs: vec![(b"refs/tags/v1".to_vec(), release), (b"refs/heads/main".to_vec(), id(1))],
            tags: BTreeMap::from([(release, tag)]),
            ..History::default()
        };
        let of = |history: &History| {
            whether(&Checked::History(history.clone()), Format::Bundle, swhid(ObjectKind::Release, release), None)
        };
        assert_eq!(of(&history), "agrees");
        history.refs[1].1 = id(2);
        history.head = Some(Head::Detached(id(2)));
        assert_ne!(of(&history), "agrees", "main is not what the tag leads to");
        history.tags.clear();
        assert!(of(&history).contains("not the id of a tag"));
    }

    #[test]
    fn a_snapshot_takes_its_manifest_from_the_bundle_or_from_a_proof() {
        let mut manifest = Manifest::default();
        manifest.insert(b"HEAD", Target::Alias(b"refs/heads/a".to_vec()));
        manifest.insert(b"refs/heads/a", Target::Object(ObjectKind::Revision, id(1)));
        let snapshot = swhid(ObjectKind::Snapshot, manifest.id());
        let bare = History {
            head: Some(Head::Symbolic(b"refs/heads/a".to_vec())),
            refs: vec![(b"refs/heads/a".to_vec(), id(1))],
            ..History::default()
        };
        let proof = Proof::decode(&crate::cook::proof::of_snapshot(&manifest)).unwrap();
        let with = Checked::History(History { manifest: Some(manifest), ..bare.clone() });
        let bare = Checked::History(bare);
        assert!(whether(&bare, Format::GitTar, snapshot, None).contains("proof"), "it has one in it");
        assert_eq!(whether(&bare, Format::Bundle, snapshot, None), "agrees", "its refs are all branches");
        assert_eq!(whether(&bare, Format::Bundle, snapshot, Some(&proof)), "agrees");
        assert_eq!(whether(&with, Format::GitTar, snapshot, None), "agrees");
        assert!(whether(&with, Format::GitTar, swhid(ObjectKind::Snapshot, id(9)), None).starts_with("recomputed"));
    }
}
