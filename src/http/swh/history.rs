//! Revisions and releases: what a commit and a tag say, and the commits before one.

use super::bundles::old_id;
use super::directory::entries;
use super::reading::{Fault, Objects, Reply, find, malformed, text};
use super::said::Wrong;
use super::text::{Members, date, pairs, person};
use crate::archive::object::{self, Described};
use crate::archive::{ObjectType, Reader};
use crate::http::body::Body;
use crate::http::query;
use crate::key::Sha1Git;
use crate::origins::TreePath;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};

/// The commits of a log when the request does not say, and the most of them.
const LOG: (u64, u64) = (10, 1000);

/// `?limit=` of a log.
pub(super) fn limit(asked: Option<&str>) -> Result<u64, Wrong> {
    match query::value(asked, "limit").as_deref().map(super::number) {
        None => Ok(LOG.0),
        Some(Some(limit)) => Ok(limit),
        Some(None) => Err(Wrong::validation("limit", "A valid integer is required.")),
    }
}

impl Objects {
    /// `revision/<id>/`
    pub(super) fn revision(&self, id: &str) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        let commit = commit(self.reader().as_mut(), &id)?.ok_or_else(|| no_revision(&id))?;
        Ok(Reply::Value(self.shown(&id, &commit)))
    }

    /// `revision/<id>/log/`: it and what came before it, the nearest first.
    pub(super) fn log(&self, id: &str, limit: u64) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        let mut reader = self.reader();
        commit(reader.as_mut(), &id)?.ok_or_else(|| no_revision(&id))?;
        self.page(None, |page| {
            let (mut waiting, mut met) = (VecDeque::from([id]), HashSet::from([id]));
            let mut left = limit.clamp(1, LOG.1);
            page.begin("[")?;
            while let Some(id) = waiting.pop_front().filter(|_| left > 0) {
                // A shallow repository ends somewhere.
                let Some(commit) = commit(reader.as_mut(), &id)? else { continue };
                page.element(self.shown(&id, &commit))?;
                left -= 1;
                // No more than can still be shown: a commit may have any number of parents.
                let room = usize::try_from(left).unwrap_or(0).saturating_sub(waiting.len());
                waiting.extend(commit.parents.iter().filter(|parent| met.insert(**parent)).take(room));
            }
            page.text("]")
        })
    }

    /// `revision/<id>/raw/`: its message as it is.
    pub(super) fn message(&self, id: &str) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        let commit = commit(self.reader().as_mut(), &id)?.ok_or_else(|| no_revision(&id))?;
        let body = Body::from(Described::new(&commit.content).message.to_vec());
        Ok(Reply::Whole(attached(body, &format!("attachment;filename=rev_{id}_raw"))))
    }

    /// `revision/<id>/directory/<path>/`: what lies at a path of its tree.
    pub(super) fn revision_directory(&self, id: &str, path: &[u8]) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        let mut reader = self.reader();
        let commit = commit(reader.as_mut(), &id)?.ok_or_else(|| no_revision(&id))?;
        let shown = String::from_utf8_lossy(path).into_owned();
        let absent = || Wrong::not_found(format!("Directory or File '{shown}' pointed to by revision {id} not found"));
        let head = |kind: &str| json!({"type": kind, "path": shown, "revision": id.to_string()});
        let tree = if path.is_empty() {
            commit.tree
        } else {
            let path = TreePath::parse(path).ok_or_else(absent)?;
            let found = at(reader.as_mut(), commit.tree, &path)?.ok_or_else(absent)?;
            match found.leads_to {
                Some(ObjectType::Tree) => found.id,
                Some(_) => {
                    let content = self.content_of(reader.as_mut(), &found.id, None)?.ok_or_else(absent)?;
                    let mut value = head("file");
                    value["content"] = content;
                    return Ok(Reply::Value(value));
                }
                None => {
                    let mut value = head("rev");
                    value["content"] = json!({"target": found.id.to_string()});
                    return Ok(Reply::Value(value));
                }
            }
        };
        let content = find(reader.as_mut(), &tree, ObjectType::Tree)?.ok_or_else(absent)?;
        let entries = entries(&tree, &content)?;
        let known = self.sums_of(reader.as_mut(), &entries)?;
        self.page(None, |page| {
            let open = head("dir").to_string();
            page.begin(&format!("{},\"content\":[", open.trim_end_matches('}')))?;
            for (entry, sums) in entries.iter().zip(&known) {
                page.whole_element(&self.entry(&tree, entry, *sums, None))?;
            }
            page.text("]}")
        })
    }

    /// `release/<id>/`
    pub(super) fn release(&self, id: &str) -> Result<Reply, Fault> {
        let id = old_id(id)?;
        let content = text(self.reader().as_mut(), &id, ObjectType::Tag)?;
        let content = content.ok_or_else(|| Wrong::not_found(format!("Release with sha1_git {id} not found.")))?;
        let tag = Described::new(&content);
        let name = object::tag_name(&content).map_err(|error| malformed(&id, error))?;
        let target = object::tag_target(&content).map_err(|error| malformed(&id, error))?;
        let (target, word, url) = match target {
            (target, ObjectType::Commit) => (target, "revision", format!("/api/1/revision/{target}/")),
            (target, ObjectType::Tag) => (target, "release", format!("/api/1/release/{target}/")),
            (target, ObjectType::Tree) => (target, "directory", format!("/api/1/directory/{target}/")),
            (target, ObjectType::Blob) => (target, "content", format!("/api/1/content/sha1_git:{target}/")),
        };
        let mut members = Members::default();
        members.set_text("name", Some(name));
        members.set_text("message", Some(tag.message));
        members.set("target", target.to_string());
        members.set("target_type", word);
        members.set("synthetic", false);
        members.set("author", person(tag.signature("tagger")));
        members.set("date", date(tag.signature("tagger")));
        members.set("id", id.to_string());
        members.set("target_url", self.base.url(&url));
        Ok(Reply::Value(members.done()))
    }

    fn shown(&self, id: &Sha1Git, commit: &Commit) -> Value {
        let url = |id: &Sha1Git, tail: &str| self.base.url(&format!("/api/1/revision/{id}/{tail}"));
        let parent = |parent: &Sha1Git| json!({"id": parent.to_string(), "url": url(parent, "")});
        let said = Described::new(&commit.content);
        let mut members = Members::default();
        let is_odd = members.set_text("message", Some(said.message));
        members.set("author", person(said.signature("author")));
        members.set("committer", person(said.signature("committer")));
        members.set("date", date(said.signature("author")));
        members.set("committer_date", date(said.signature("committer")));
        members.set("type", "git");
        members.set("directory", commit.tree.to_string());
        members.set("synthetic", false);
        members.set("metadata", json!({}));
        members.set("parents", commit.parents.iter().map(parent).collect::<Value>());
        members.set("id", id.to_string());
        members.set("extra_headers", pairs(&others(&said)));
        members.set("merge", commit.parents.len() > 1);
        members.set("url", url(id, ""));
        members.set("history_url", url(id, "log/"));
        members.set("directory_url", self.base.url(&format!("/api/1/directory/{}/", commit.tree)));
        if is_odd {
            members.set("message_url", url(id, "raw/"));
        }
        members.done()
    }
}

/// What lies at a path below a tree.
pub(super) fn at(reader: &mut dyn Reader, tree: Sha1Git, path: &TreePath) -> Result<Option<At>, Fault> {
    let (mut found, path) = (None::<At>, path.to_bytes());
    for name in path.split(|byte| *byte == b'/') {
        let directory = match &found {
            None => tree,
            Some(at) if at.leads_to == Some(ObjectType::Tree) => at.id,
            Some(_) => return Ok(None),
        };
        let Some(content) = find(reader, &directory, ObjectType::Tree)? else { return Ok(None) };
        let entry = object::tree_entries(&content).filter_map(Result::ok).find(|entry| entry.name == name);
        let Some(entry) = entry else { return Ok(None) };
        found = Some(At { directory, id: entry.id, mode: entry.mode_value(), leads_to: entry.kind.leads_to() });
    }
    Ok(found)
}

/// A commit, and what decides where it leads.
struct Commit {
    content: Vec<u8>,
    tree: Sha1Git,
    parents: Vec<Sha1Git>,
}

fn commit(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Option<Commit>, Fault> {
    let Some(content) = text(reader, id, ObjectType::Commit)? else { return Ok(None) };
    let tree = object::commit_tree(&content).map_err(|error| malformed(id, error))?;
    let parents = object::commit_parents(&content).collect();
    Ok(Some(Commit { content, tree, parents }))
}

/// The headers of a commit that have no field of their own.
fn others<'a>(said: &Described<'a>) -> Vec<(&'a [u8], Vec<u8>)> {
    let (mut author, mut committer) = (false, false);
    let is_other = |name: &[u8]| match name {
        b"tree" | b"parent" => false,
        // The first is the one that is shown.
        b"author" => std::mem::replace(&mut author, true),
        b"committer" => std::mem::replace(&mut committer, true),
        _ => true,
    };
    let (mut headers, mut is_other) = (said.headers(), is_other);
    headers.retain(|(name, _)| is_other(name));
    headers
}

/// An entry that was found at a path.
pub(super) struct At {
    /// The directory that it is in.
    pub(super) directory: Sha1Git,
    pub(super) id: Sha1Git,
    pub(super) mode: u32,
    /// `None` when that is in another repository.
    pub(super) leads_to: Option<ObjectType>,
}

fn no_revision(id: &Sha1Git) -> Wrong {
    Wrong::not_found(format!("Revision with sha1_git {id} not found."))
}

/// Bytes that are to be saved, whatever they are.
pub(super) fn attached(body: Body, disposition: &str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.extend(HeaderValue::try_from(disposition).map(|value| (CONTENT_DISPOSITION, value)));
    response
}
