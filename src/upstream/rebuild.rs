//! Objects out of what Software Heritage's API tells of them in JSON. Pure: gives bytes, and none whose id
//! is not the one asked for.
//!
//! The JSON of a revision or a release leaves things out (a time zone of `-0000`, headers in an odd
//! order, text that is no UTF-8). Then the bytes have another id, and the object has to come from elsewhere.

use crate::archive::object::{self, ObjectType};
use crate::archive::snapshot::{Manifest, Target};
use crate::key::{ObjectKind, Sha1Git};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimeParser;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Deserialize)]
struct Person {
    fullname: String,
}

#[derive(Deserialize)]
struct Parent {
    id: String,
}

#[derive(Deserialize)]
struct Revision {
    message: Option<String>,
    author: Person,
    committer: Person,
    date: String,
    committer_date: String,
    directory: String,
    #[serde(default)]
    parents: Vec<Parent>,
    #[serde(default)]
    extra_headers: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Release {
    name: String,
    message: Option<String>,
    target: String,
    target_type: String,
    author: Option<Person>,
    date: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    branches: BTreeMap<String, Option<Branch>>,
    next_branch: Option<String>,
}

#[derive(Deserialize)]
struct Branch {
    target: String,
    target_type: String,
}

/// The commit object of `/api/1/revision/<id>/`; `None` when its bytes cannot be made of that.
pub(super) fn revision(id: &Sha1Git, json: &[u8]) -> Option<Vec<u8>> {
    let told: Revision = serde_json::from_slice(json).ok()?;
    let mut commit = format!("tree {}\n", told.directory);
    for parent in &told.parents {
        let _ = writeln!(commit, "parent {}", parent.id);
    }
    let _ = writeln!(commit, "author {} {}", told.author.fullname, date(&told.date)?);
    let _ = writeln!(commit, "committer {} {}", told.committer.fullname, date(&told.committer_date)?);
    for (name, value) in &told.extra_headers {
        // A value of several lines goes on behind a space.
        let _ = writeln!(commit, "{name} {}", value.replace('\n', "\n "));
    }
    if let Some(message) = told.message {
        commit.push('\n');
        commit.push_str(&message);
    }
    verified(ObjectType::Commit, commit, id)
}

/// The tag object of `/api/1/release/<id>/`; `None` when its bytes cannot be made of that.
pub(super) fn release(id: &Sha1Git, json: &[u8]) -> Option<Vec<u8>> {
    let told: Release = serde_json::from_slice(json).ok()?;
    let target_type = match told.target_type.as_str() {
        "revision" => "commit",
        "directory" => "tree",
        "content" => "blob",
        "release" => "tag",
        _ => return None,
    };
    let mut tag = format!("object {}\ntype {target_type}\ntag {}\n", told.target, told.name);
    if let Some(author) = &told.author {
        let _ = write!(tag, "tagger {}", author.fullname);
        if let Some(when) = &told.date {
            let _ = write!(tag, " {}", date(when)?);
        }
        tag.push('\n');
    }
    if let Some(message) = told.message {
        tag.push('\n');
        tag.push_str(&message);
    }
    verified(ObjectType::Tag, tag, id)
}

/// Adds a page of `/api/1/snapshot/<id>/` to a manifest and gives the name that the next page begins with,
/// if there is one. An error says what cannot be understood.
pub(super) fn snapshot_page(manifest: &mut Manifest, json: &[u8]) -> Result<Option<String>, String> {
    let page: Page = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    for (name, branch) in page.branches {
        let target = match branch {
            None => Target::Dangling,
            Some(Branch { target, target_type }) => match target_type.as_str() {
                "alias" => Target::Alias(target.into_bytes()),
                kind => {
                    let kind: ObjectKind = kind.parse().map_err(|_| format!("a branch leads to a {kind:?}"))?;
                    Target::Object(kind, target.parse().map_err(|_| format!("a branch leads to {target:?}"))?)
                }
            },
        };
        if !manifest.insert(name.as_bytes(), target) {
            return Err(format!("no branch can have the name {name:?}"));
        }
    }
    Ok(page.next_branch)
}

fn verified(object_type: ObjectType, text: String, id: &Sha1Git) -> Option<Vec<u8>> {
    let bytes = text.into_bytes();
    (object::hash(object_type, &bytes) == Ok(*id)).then_some(bytes)
}

/// `2014-11-17T22:09:38+01:00` as git writes it: `1416258578 +0100`.
fn date(text: &str) -> Option<String> {
    let seconds = text.parse::<Timestamp>().ok()?.as_second();
    let offset = DateTimeParser::new().parse_pieces(text).ok()?.to_numeric_offset()?.seconds();
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
    Some(format!("{seconds} {sign}{:02}{:02}", minutes / 60, minutes % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_git_writes_it() {
        for (told, written) in [
            ("2014-11-17T22:09:38+01:00", "1416258578 +0100"),
            ("2016-09-13T21:17:07-04:00", "1473815827 -0400"),
            ("1969-12-31T23:59:59+00:00", "-1 +0000"),
            ("2001-01-01T00:00:00+05:45", "978286500 +0545"),
        ] {
            assert_eq!(date(told).as_deref(), Some(written), "{told}");
        }
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn a_tag_is_rebuilt_to_its_id_or_not_at_all() {
        // Of ripgrep's repository.
        let id: Sha1Git = "5a1c1c6938e7cd01381c1f95ff3f1d9928c8053c".parse().unwrap();
        let json = |name: &str| {
            format!(
                r#"{{"name":"0.1.0","message":"0.1.0\n","target":"7cd02e9b7e161fb6a85c7391650d5db1f3890aa0",
                "target_type":"revision","author":{{"fullname":"{name}"}},"date":"2016-09-13T21:17:07-04:00"}}"#
            )
        };
        assert!(release(&id, json("Somebody Else <x@example.org>").as_bytes()).is_none());
        let tag = b"object 7cd02e9b7e161fb6a85c7391650d5db1f3890aa0\ntype commit\ntag 0.1.0\n\
                    tagger A <a@example.org> 1473815827 -0400\n\n0.1.0\n";
        let id = object::hash(ObjectType::Tag, tag).unwrap();
        assert_eq!(release(&id, json("A <a@example.org>").as_bytes()).unwrap(), tag);
    }

    #[test]
    fn a_commit_with_a_signature_is_rebuilt() {
        let commit = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\
                       parent 1111111111111111111111111111111111111111\nauthor A <a@b> 0 +0000\n\
                       committer B <b@c> 60 -0130\ngpgsig -----BEGIN\n \n line\n -----END\n\nHello\n";
        let id = object::hash(ObjectType::Commit, commit).unwrap();
        let json = br#"{"directory":"4b825dc642cb6eb9a060e54bf8d69288fbee4904","message":"Hello\n",
            "parents":[{"id":"1111111111111111111111111111111111111111"}],"author":{"fullname":"A <a@b>"},
            "committer":{"fullname":"B <b@c>"},"date":"1970-01-01T00:00:00+00:00",
            "committer_date":"1969-12-31T22:31:00-01:30","extra_headers":[["gpgsig","-----BEGIN\n\nline\n-----END"]]}"#;
        assert_eq!(revision(&id, json).unwrap(), commit);
        assert!(revision(&Sha1Git::NULL, json).is_none());
    }

    #[test]
    fn a_snapshot_is_put_together_of_its_pages() {
        let mut manifest = Manifest::default();
        let first = br#"{"branches":{"HEAD":{"target_type":"alias","target":"refs/heads/main"},"refs/heads/gone":null},
            "next_branch":"refs/heads/main"}"#;
        assert_eq!(snapshot_page(&mut manifest, first).unwrap().as_deref(), Some("refs/heads/main"));
        let second = br#"{"branches":{
            "refs/heads/main":{"target_type":"revision","target":"1111111111111111111111111111111111111111"},
            "refs/tags/v1":{"target_type":"release","target":"2222222222222222222222222222222222222222"}},
            "next_branch":null}"#;
        assert_eq!(snapshot_page(&mut manifest, second).unwrap(), None);
        // The vector of the SWHID specification's form.
        assert_eq!(manifest.id().to_string(), "27768e1943acaac4423831529927fae466dec9ff");
        assert!(snapshot_page(&mut manifest, br#"{"branches":{"":null},"next_branch":null}"#).is_err());
    }
}
