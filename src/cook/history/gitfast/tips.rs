//! Refs and tags of a stream: which of them fast-import can make, and the lines that make them.
//!
//! fast-import makes a ref from each branch and from each tag, a tag's ref being `refs/tags/` and
//! the name that stands in the tag. A tag that no ref leads to, which other tags lead to, is made and
//! its ref taken back at once.

use super::commit::{Tag, shown};
use super::language::{self, NOTHING};
use super::needs::Needs;
use super::sink::Sink;
use super::structure;
use super::survey::Survey;
use crate::archive::{ObjectType, Reader};
use crate::cook::error::CookError;
use crate::cook::history::ref_name::is_ref_name;
use crate::cook::history::refs::{Ref, Refs};
use crate::key::Sha1Git;
use std::collections::HashSet;

/// Tags of tags are followed so deep.
const MAX_TAGS: usize = 64;

/// Writes what refs lead to, and then the refs.
pub(super) struct Tips<'a> {
    refs: &'a Refs,
    reader: Box<dyn Reader>,
    /// Names of tags whose refs stay.
    made: HashSet<Vec<u8>>,
}

/// What a ref leads to through tags.
struct Chain {
    /// From the ref's own down.
    tags: Vec<(Sha1Git, Vec<u8>)>,
    end: Sha1Git,
    end_type: ObjectType,
    needs: Needs,
}

impl<'a> Tips<'a> {
    /// Takes the refs, in order of their names.
    ///
    /// # Errors
    /// When two of them cannot be in one repository by fast-import.
    pub(super) fn new(refs: &'a Refs, reader: Box<dyn Reader>) -> Result<Self, CookError> {
        for one in &refs.list {
            let inside = one.name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            for folder in inside.map(|(at, _)| &one.name[..at]) {
                if refs.get(folder).is_some() {
                    let reason = format!("it makes every ref a file, and {} is one too", shown(folder));
                    return Err(unfit(one, reason));
                }
            }
        }
        Ok(Self { refs, reader, made: HashSet::new() })
    }

    /// Has `survey` walk from the refs.
    pub(super) fn survey(&mut self, survey: &mut Survey<'_>) -> Result<(), CookError> {
        let mut ends = Vec::new();
        for one in &self.refs.list {
            let chain = self.follow(one)?;
            survey.need(chain.needs);
            match chain.end_type {
                ObjectType::Commit => ends.push((chain.end, true)),
                ObjectType::Blob if !chain.tags.is_empty() => ends.push((chain.end, false)),
                other => return Err(unfit(one, format!("it leads to a {other}"))),
            }
        }
        // What is wrong with a ref is known before anything long is begun.
        for (end, is_commit) in ends {
            if is_commit {
                survey.history(end)?;
            } else {
                survey.blob(end)?;
            }
        }
        Ok(())
    }

    /// Writes the tags, and then the refs that lead to commits.
    pub(super) fn refs(&mut self, sink: &mut Sink<'_, '_>) -> Result<(), CookError> {
        for one in &self.refs.list {
            let chain = self.follow(one)?;
            for (id, content) in chain.tags.iter().rev() {
                if sink.marks.get(id, ObjectType::Tag)?.is_none() {
                    self.tag(id, content, sink)?;
                }
            }
        }
        let mut lines = Vec::new();
        for one in self.refs.list.iter().filter(|one| one.object_type == ObjectType::Commit) {
            let mark = sink.marks.get(&one.target, ObjectType::Commit)?.ok_or(CookError::Missing { id: one.target })?;
            lines.clear();
            lines.extend([b"reset ", &one.name[..], b"\nfrom "].concat());
            language::mark(mark, &mut lines);
            lines.extend_from_slice(b"\n\n");
            sink.write(&lines)?;
        }
        Ok(())
    }

    /// Writes a tag whose target is written.
    fn tag(&mut self, id: &Sha1Git, content: &[u8], sink: &mut Sink<'_, '_>) -> Result<(), CookError> {
        let refuse = |reason: String| CookError::not_representable(format!("release {id}"), reason);
        let tag = Tag::read(content).map_err(refuse)?;
        let target = sink.marks.get(&tag.target, tag.target_type)?.ok_or(CookError::Missing { id: tag.target })?;
        let full = [b"refs/tags/", tag.name].concat();
        let stays = self.refs.get(&full).is_some_and(|one| one.target == *id);
        if !is_ref_name(&full) {
            return Err(refuse("git takes no ref of its name".to_owned()));
        }
        if !stays && self.made.contains(&full) {
            return Err(refuse(format!("no ref leads to it, and another release is {}", shown(&full))));
        }
        let mark = sink.marks.add(*id, ObjectType::Tag)?;
        let mut head = [b"tag ", tag.name, b"\nmark "].concat();
        language::mark(mark, &mut head);
        head.extend_from_slice(b"\nfrom ");
        language::mark(target, &mut head);
        head.push(b'\n');
        if let Some(tagger) = tag.tagger {
            head.extend([b"tagger ", tagger, b"\n"].concat());
        }
        sink.out.admit(content.len() as u64)?;
        sink.write(&head)?;
        sink.data(tag.message)?;
        if stays {
            self.made.insert(full);
            return Ok(());
        }
        sink.write(&[b"reset ", &full[..], b"\nfrom ", NOTHING, b"\n\n"].concat())
    }

    /// The tags that a ref leads through, and what it leads to in the end.
    fn follow(&mut self, one: &Ref) -> Result<Chain, CookError> {
        let needs = Needs::default();
        let mut chain = Chain { tags: Vec::new(), end: one.target, end_type: one.object_type, needs };
        while chain.end_type == ObjectType::Tag {
            let id = chain.end;
            if chain.tags.len() == MAX_TAGS {
                return Err(CookError::TooLarge {
                    reason: format!("release {id} is behind more than {MAX_TAGS} tags"),
                });
            }
            let content = structure::read(&mut *self.reader, id, ObjectType::Tag)?;
            let tag =
                Tag::read(&content).map_err(|reason| CookError::not_representable(format!("release {id}"), reason))?;
            if chain.tags.is_empty() && one.name.strip_prefix(b"refs/tags/") != Some(tag.name) {
                let reason = format!("it leads to a release by the name of {}", shown(tag.name));
                return Err(unfit(one, reason));
            }
            chain.needs.add(tag.needs());
            (chain.end, chain.end_type) = (tag.target, tag.target_type);
            chain.tags.push((id, content));
        }
        Ok(chain)
    }
}

fn unfit(one: &Ref, reason: impl Into<String>) -> CookError {
    CookError::not_representable(format!("ref {}", shown(&one.name)), reason)
}
