//! Directories: their entries, and what lies at a path below one. Owns which checksums of contents are computed for a
//! listing, which has to be quick: those of a few small ones. Others are null until somebody asks for the content.

use super::bundles::old_id;
use super::content::compute;
use super::history::{At, at};
use super::reading::{Fault, Objects, Reply, find};
use super::said::Wrong;
use super::text::Members;
use crate::archive::object::tree_entries;
use crate::archive::{ArchiveError, ObjectType, Reader};
use crate::checksums::Checksums;
use crate::digest::hex;
use crate::key::Sha1Git;
use crate::origins::TreePath;
use serde_json::{Value, json};

/// How many checksums one listing computes, and of how many bytes in all.
const COMPUTED: usize = 64;
const COMPUTED_BYTES: u64 = 4 << 20;

/// An entry of a directory.
pub(super) struct Entry<'a> {
    name: &'a [u8],
    at: At,
}

/// What is known of the content of an entry.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    length: Option<u64>,
    sums: Option<Checksums>,
}

/// The entries of a tree.
pub(super) fn entries<'a>(tree: &Sha1Git, content: &'a [u8]) -> Result<Vec<Entry<'a>>, Fault> {
    let read = tree_entries(content).map(|entry| {
        entry.map(|entry| Entry {
            name: entry.name,
            at: At { directory: *tree, id: entry.id, mode: entry.mode_value(), leads_to: entry.kind.leads_to() },
        })
    });
    let corrupt =
        |error: crate::archive::object::TreeError| ArchiveError::Corrupt { id: *tree, reason: error.to_string() };
    Ok(read.collect::<Result<_, _>>().map_err(corrupt)?)
}

impl Objects {
    /// `directory/<id>/[<path>/]`
    pub(super) fn directory(&self, id: &str, path: &[u8]) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        let mut reader = self.reader();
        if path.is_empty() {
            let content = find(reader.as_mut(), &id, ObjectType::Tree)?;
            let content = content.ok_or_else(|| Wrong::not_found(format!("Directory with sha1_git {id} not found")))?;
            let entries = entries(&id, &content)?;
            let known = self.sums_of(reader.as_mut(), &entries)?;
            return self.page(None, |page| {
                page.begin("[")?;
                for (entry, sums) in entries.iter().zip(&known) {
                    page.element(self.entry(&id, entry, *sums, None))?;
                }
                page.text("]")
            });
        }
        let shown = String::from_utf8_lossy(path).into_owned();
        let absent =
            || Wrong::not_found(format!("Directory entry with path {shown} from root directory {id} not found"));
        // As with the real service, a slash more before the first name is no matter.
        let names = path.strip_prefix(b"/").unwrap_or(path);
        let parsed = TreePath::parse(names).ok_or_else(absent)?;
        let found = at(reader.as_mut(), id, &parsed)?.ok_or_else(absent)?;
        let (directory, entry) = (found.directory, Entry { name: b"", at: found });
        let known = self.sums_of(reader.as_mut(), std::slice::from_ref(&entry))?;
        let sums = known.first().copied().unwrap_or_default();
        Ok(Reply::Value(self.entry(&directory, &entry, sums, Some(names))))
    }

    /// What is known of the contents among these entries, some of it computed for this.
    pub(super) fn sums_of(&self, reader: &mut dyn Reader, entries: &[Entry<'_>]) -> Result<Vec<Sums>, Fault> {
        let blobs = || entries.iter().filter(|entry| entry.at.leads_to == Some(ObjectType::Blob));
        let ids: Vec<Sha1Git> = blobs().map(|entry| entry.at.id).collect();
        let (mut computed, mut bytes) = (Vec::new(), 0);
        let mut known = Vec::with_capacity(ids.len());
        for (id, remembered) in ids.iter().zip(self.checksums.get(&ids)) {
            // What is blocked is no more there than what is missing.
            let header = match reader.header(id) {
                Ok(header) => header.filter(|header| header.object_type == ObjectType::Blob),
                Err(ArchiveError::Blocked { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            let mut sums = remembered.filter(|sums| header.is_some_and(|header| header.size == sums.length));
            if let Some(header) = header.filter(|_| sums.is_none())
                && computed.len() < COMPUTED
                && bytes + header.size <= COMPUTED_BYTES
            {
                bytes += header.size;
                sums = compute(reader, id)?;
                computed.extend(sums.map(|sums| (*id, sums)));
            }
            known.push(Sums { length: header.map(|header| header.size), sums });
        }
        self.checksums.put(&computed);
        let mut known = known.into_iter();
        let of = |entry: &Entry<'_>| match entry.at.leads_to {
            Some(ObjectType::Blob) => known.next().unwrap_or_default(),
            _ => Sums::default(),
        };
        Ok(entries.iter().map(of).collect())
    }

    /// An entry as the real service shows it; with a path where that is asked for in place of its name.
    pub(super) fn entry(&self, directory: &Sha1Git, entry: &Entry<'_>, known: Sums, path: Option<&[u8]>) -> Value {
        let At { id, mode, leads_to, .. } = &entry.at;
        let (word, url) = match leads_to {
            Some(ObjectType::Tree) => ("dir", format!("/api/1/directory/{id}/")),
            Some(_) => ("file", format!("/api/1/content/sha1_git:{id}/")),
            None => ("rev", format!("/api/1/revision/{id}/")),
        };
        let mut members = Members::default();
        members.set_text("name", Some(path.unwrap_or(entry.name)));
        members.set("target", id.to_string());
        members.set("perms", *mode);
        members.set("type", word);
        members.set("length", known.length);
        members.set("dir_id", directory.to_string());
        members.set("target_url", self.base.url(&url));
        if word == "file" {
            members.set("status", known.length.map(|_| "visible"));
            let sums = known.sums;
            members.set(
                "checksums",
                json!({
                    "sha1": sums.map(|sums| hex(&sums.sha1)),
                    "sha256": sums.map(|sums| hex(&sums.sha256)),
                    "sha1_git": id.to_string(),
                }),
            );
        }
        members.done()
    }
}
