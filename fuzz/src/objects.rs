//! Objects of git and of Software Heritage, and proofs made of them.

use larder::archive::git::reftable::{MAX_NAME, ReftableError, refs};
use larder::archive::object::{TreeEntry, check_flat, commit_tree, tag_target, tree_entries};
use larder::archive::snapshot::Manifest;
use larder::key::{ObjectKind, Sha1Git, Swhid};
use larder::verify::Proof;

/// The manifest of a snapshot: what is taken is written the same, and no alias is followed for ever.
pub fn manifest(bytes: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(bytes) else { return false };
    assert_eq!(manifest.encode(), bytes);
    for (name, target) in manifest.iter() {
        assert_eq!(manifest.get(name), Some(target));
        assert!(manifest.find(name).is_some());
        let _ = manifest.follow(target);
    }
    true
}

/// Proofs: nothing has an id of all zeros.
pub fn proof(bytes: &[u8]) -> bool {
    let Ok(proof) = Proof::decode(bytes) else { return false };
    for kind in [ObjectKind::Revision, ObjectKind::Release, ObjectKind::Snapshot] {
        assert!(proof.check(&Swhid { kind, id: Sha1Git::NULL }).is_err());
    }
    true
}

/// A table of refs without its footer, which has a checksum: names are in order, and each is read from
/// within the bytes given.
pub fn reftable(bytes: &[u8]) -> bool {
    const HEADER: usize = 24;
    let Some(header) = bytes.get(..HEADER) else { return false };
    let mut footer = [header, &[0; 40]].concat();
    footer.extend(crc32fast::hash(&footer).to_be_bytes());
    let table = [bytes, &footer].concat();
    let fill = |at: u64, buf: &mut [u8]| {
        let at = usize::try_from(at).expect("because it lies in a slice");
        buf.copy_from_slice(&table[at..at + buf.len()]);
        Ok::<_, ReftableError>(())
    };
    let mut last = Vec::new();
    let read = refs(table.len() as u64, fill, |name, _| {
        assert!(name > last.as_slice() && name.len() <= MAX_NAME);
        last = name.to_vec();
        Ok(())
    });
    read.is_ok()
}

/// The first lines of tags and commits.
pub fn tag(bytes: &[u8]) -> bool {
    let (tag, tree) = (tag_target(bytes), commit_tree(bytes));
    if let Ok((id, object_type)) = &tag {
        let head = format!("object {id}\ntype {object_type}\ntag ");
        assert!(bytes[..head.len()].eq_ignore_ascii_case(head.as_bytes()));
    }
    if let Ok(id) = &tree {
        let head = format!("tree {id}\n");
        assert!(bytes[..head.len()].eq_ignore_ascii_case(head.as_bytes()));
    }
    tag.is_ok() || tree.is_ok()
}

/// The tree decoder and the checks of a flat bundle: what decodes is within the bytes given, and
/// what passes the checks is safe to write below a folder.
pub fn tree(bytes: &[u8]) -> bool {
    let Ok(entries) = tree_entries(bytes).collect::<Result<Vec<TreeEntry<'_>>, _>>() else { return false };
    let length: usize = entries.iter().map(|entry| entry.mode.len() + entry.name.len() + 22).sum();
    assert_eq!(length, bytes.len());
    if check_flat(&entries).is_err() {
        return false;
    }
    for entry in entries {
        assert!(!entry.name.is_empty() && entry.name != b"." && entry.name != b"..");
        assert!(!entry.name.contains(&b'/') && !entry.name.eq_ignore_ascii_case(b".git"));
    }
    true
}
