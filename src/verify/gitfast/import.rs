//! The commands of a stream, carried out.

use super::lines::{Lines, decimal};
use super::trees::{Mode, Trees};
use crate::archive::ObjectType;
use crate::archive::object;
use crate::cook::gitfast::{
    ANY_ZONE, Commit, DONE, MAX_SIGNATURES, NOTHING, Needs, START, Signature, Tag, is_ref_name, unquote,
};
use crate::key::Sha1Git;
use crate::verify::pack::MAX_TAGS;
use crate::verify::{History, Seen, VerifyError};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;

/// A stream under way.
pub(super) struct Import<R> {
    lines: Lines<R>,
    /// The object of mark 1 first.
    marks: Vec<Mark>,
    ids: HashSet<Sha1Git>,
    trees: Trees,
    /// The ref that commits are made on.
    branch: Option<Vec<u8>>,
    /// Refs by `reset` and `commit`, and those by `tag`, which win.
    heads: BTreeMap<Vec<u8>, usize>,
    tags: BTreeMap<Vec<u8>, usize>,
    contents: BTreeMap<Sha1Git, Vec<u8>>,
    /// The bytes in `contents`.
    held: usize,
    /// The ref of the tag that was made by the command before.
    last_tag: Option<Vec<u8>>,
    /// What its commits and tags need, and whether it says that dates are taken as they are.
    needs: Needs,
    any_zone: bool,
}

struct Mark {
    id: Sha1Git,
    object_type: ObjectType,
    /// Number of a commit's tree.
    tree: u32,
    /// Whether something leads to it.
    used: bool,
}

impl<R: Read> Import<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            lines: Lines::new(input),
            marks: Vec::new(),
            ids: HashSet::new(),
            trees: Trees::default(),
            branch: None,
            heads: BTreeMap::new(),
            tags: BTreeMap::new(),
            contents: BTreeMap::new(),
            held: 0,
            last_tag: None,
            needs: Needs::default(),
            any_zone: false,
        }
    }

    /// Reads the whole stream.
    pub(super) fn run(mut self, seen: Seen<'_>) -> Result<History, VerifyError> {
        if [&self.lines.line()?[..], b"\n"].concat() != START {
            return Err(self.lines.refuse("it does not begin as larder's do"));
        }
        let mut line = self.lines.line()?;
        self.any_zone = [&line[..], b"\n"].concat() == ANY_ZONE;
        if self.any_zone {
            line = self.lines.line()?;
        }
        loop {
            let last_tag = self.last_tag.take();
            if line == b"blob" {
                self.blob()?;
            } else if let Some(name) = line.strip_prefix(b"commit ") {
                self.commit(name, false)?;
            } else if let Some(name) = line.strip_prefix(b"reset ") {
                self.reset(name, last_tag.as_deref())?;
            } else if let Some(name) = line.strip_prefix(b"tag ") {
                self.tag(name)?;
            } else if [&line[..], b"\n"].concat() == DONE {
                self.lines.end()?;
                return self.finish(seen);
            } else {
                return Err(self.lines.refuse("an unknown command"));
            }
            line = self.lines.line()?;
        }
    }

    fn blob(&mut self) -> Result<(), VerifyError> {
        self.next_mark()?;
        let id = self.lines.content()?;
        self.add(id, ObjectType::Blob, 0)
    }

    fn commit(&mut self, name: &[u8], is_root: bool) -> Result<(), VerifyError> {
        self.next_mark()?;
        let author = self.lines.after(b"author ")?;
        let committer = self.lines.after(b"committer ")?;
        let mut line = self.lines.line()?;
        let mut signatures = Vec::new();
        while line.starts_with(b"gpgsig ") && signatures.len() < MAX_SIGNATURES {
            let data = self.lines.line()?;
            let data = self.lines.data(&data)?;
            let signature = Signature::said(&line, data);
            signatures.push(signature.ok_or_else(|| self.lines.refuse("a signature is not named as larder does it"))?);
            line = self.lines.line()?;
        }
        let encoding = line.strip_prefix(b"encoding ").map(<[u8]>::to_vec);
        if encoding.is_some() {
            line = self.lines.line()?;
        }
        let message = self.lines.data(&line)?;
        let (mut parents, mut first) = (Vec::new(), None);
        let mut line = self.lines.line()?;
        while let Some(mark) = line.strip_prefix(if parents.is_empty() { &b"from "[..] } else { b"merge " }) {
            let at = self.lead_to(mark, Some(ObjectType::Commit))?;
            first.get_or_insert(self.marks[at].tree);
            parents.push(self.marks[at].id);
            line = self.lines.line()?;
        }
        if is_root != parents.is_empty() {
            return Err(self.lines.refuse("a commit with parents has a reset before it, or one without has none"));
        }
        self.trees.begin(first).map_err(|reason| self.lines.refuse(reason))?;
        self.changes(line)?;
        let (number, tree) = self.trees.finish().map_err(|reason| self.lines.refuse(reason))?;
        let encoding = encoding.as_deref();
        let (author, committer, message) = (&author[..], &committer[..], &message[..]);
        let content = Commit { tree, parents, author, committer, encoding, signatures, message }.encode();
        match Commit::read(&content) {
            Ok((commit, others)) if others.is_empty() => self.needs.add(commit.needs()),
            Ok(_) => return Err(self.lines.refuse("a commit with another header")),
            Err(reason) => return Err(self.lines.refuse(format!("a commit: {reason}"))),
        }
        let id = object::hash(ObjectType::Commit, &content).map_err(|error| self.lines.refuse(error.to_string()))?;
        self.add(id, ObjectType::Commit, number)?;
        if self.branch.get_or_insert_with(|| name.to_vec()) != name {
            return Err(self.lines.refuse("commits are made on two refs"));
        }
        self.heads.insert(name.to_vec(), self.marks.len() - 1);
        Ok(())
    }

    /// The paths of a commit, `line` being the first: those that go away, then those that are set,
    /// each in order.
    fn changes(&mut self, mut line: Vec<u8>) -> Result<(), VerifyError> {
        let mut gone: Option<Box<[u8]>> = None;
        let mut set: Option<Box<[u8]>> = None;
        while !line.is_empty() {
            let in_order = match line.split_at_checked(2) {
                Some((b"D ", path)) if set.is_none() => self.delete(path).map(|path| gone.replace(path) < gone),
                Some((b"M ", rest)) => self.modify(rest).map(|path| set.replace(path) < set),
                _ => Err("a line that says nothing of a path, or not here".to_owned()),
            };
            if !in_order.map_err(|reason| self.lines.refuse(reason))? {
                return Err(self.lines.refuse("paths are not in order"));
            }
            line = self.lines.line()?;
        }
        Ok(())
    }

    fn delete(&mut self, path: &[u8]) -> Result<Box<[u8]>, String> {
        self.trees.remove(&unquote(path).ok_or(SPELLING)?)
    }

    fn modify(&mut self, rest: &[u8]) -> Result<Box<[u8]>, String> {
        let mut parts = rest.splitn(3, |&byte| byte == b' ');
        let (Some(mode), Some(target), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("a path that is set has no mode or no object".to_owned());
        };
        let mode = Mode::read(mode).filter(|&mode| mode != Mode::Directory).ok_or("a mode that is none")?;
        let path = unquote(path).ok_or(SPELLING)?;
        let id = if mode == Mode::Gitlink {
            std::str::from_utf8(target).ok().and_then(|hex| hex.parse().ok()).ok_or("a gitlink has no id")?
        } else {
            let at = self.at(target).filter(|&at| self.marks[at].object_type == ObjectType::Blob).ok_or(NO_MARK)?;
            self.marks[at].used = true;
            self.marks[at].id
        };
        self.trees.set(&path, mode, id)?;
        Ok(path.into())
    }

    fn reset(&mut self, name: &[u8], last_tag: Option<&[u8]>) -> Result<(), VerifyError> {
        if !is_ref_name(name) {
            return Err(self.lines.refuse("git takes no such ref"));
        }
        let line = self.lines.line()?;
        if line.strip_prefix(b"commit ") == Some(name) {
            return self.commit(name, true);
        }
        let Some(from) = line.strip_prefix(b"from ") else {
            return Err(self.lines.refuse("a ref is reset to nothing"));
        };
        if from == NOTHING {
            // The ref of a tag that only other tags lead to. A branch of that name goes too.
            if last_tag != Some(name) {
                return Err(self.lines.refuse("a ref goes away that was not made by the tag before"));
            }
            self.tags.remove(name);
            self.heads.remove(name);
        } else {
            let at = self.lead_to(from, Some(ObjectType::Commit))?;
            self.heads.insert(name.to_vec(), at);
        }
        if self.lines.line()?.is_empty() { Ok(()) } else { Err(self.lines.refuse("a reset goes on")) }
    }

    fn tag(&mut self, name: &[u8]) -> Result<(), VerifyError> {
        self.next_mark()?;
        let from = self.lines.after(b"from ")?;
        let target = self.lead_to(&from, None)?;
        let (target, target_type) = (self.marks[target].id, self.marks[target].object_type);
        let mut line = self.lines.line()?;
        let tagger = line.strip_prefix(b"tagger ").map(<[u8]>::to_vec);
        if tagger.is_some() {
            line = self.lines.line()?;
        }
        let message = self.lines.data(&line)?;
        let content = Tag { target, target_type, name, tagger: tagger.as_deref(), message: &message }.encode();
        let tag = Tag::read(&content).map_err(|reason| self.lines.refuse(format!("a tag: {reason}")))?;
        self.needs.add(tag.needs());
        let id = object::hash(ObjectType::Tag, &content).map_err(|error| self.lines.refuse(error.to_string()))?;
        self.add(id, ObjectType::Tag, 0)?;
        self.held += content.len();
        if self.held > MAX_TAGS {
            return Err(self.lines.refuse("its tags together are too large"));
        }
        self.contents.insert(id, content);
        let full = [b"refs/tags/", name].concat();
        if !is_ref_name(&full) || self.tags.insert(full.clone(), self.marks.len() - 1).is_some() {
            return Err(self.lines.refuse("git takes no such tag, or there are two of it"));
        }
        self.last_tag = Some(full);
        Ok(())
    }

    /// The refs in the end.
    fn finish(mut self, seen: Seen<'_>) -> Result<History, VerifyError> {
        if self.needs.any_zone != self.any_zone {
            return Err(self.lines.refuse("it says that it has an odd time zone and has none, or the other way round"));
        }
        let mut refs = self.heads;
        refs.append(&mut self.tags);
        for at in refs.values() {
            self.marks[*at].used = true;
        }
        if self.branch.is_some_and(|branch| refs.first_key_value().is_none_or(|(first, _)| *first != branch)) {
            return Err(self.lines.refuse("commits are made on another ref than the first"));
        }
        if let Some(unused) = self.marks.iter().find(|mark| !mark.used) {
            return Err(self.lines.refuse(format!("nothing leads to the {} {}", unused.object_type, unused.id)));
        }
        self.ids.iter().chain(self.trees.ids()).for_each(seen);
        Ok(History {
            head: None,
            refs: refs.into_iter().map(|(name, at)| (name, self.marks[at].id)).collect(),
            others: BTreeMap::new(),
            objects: self.ids.len() as u64 + self.trees.count(),
            tags: self.contents,
            manifest: None,
        })
    }

    /// `mark :<the next number>`.
    fn next_mark(&mut self) -> Result<(), VerifyError> {
        let mark = self.lines.after(b"mark :")?;
        if decimal(&mark) == Some(self.marks.len() as u64 + 1) {
            return Ok(());
        }
        Err(self.lines.refuse("a mark is not the next number"))
    }

    fn add(&mut self, id: Sha1Git, object_type: ObjectType, tree: u32) -> Result<(), VerifyError> {
        if !self.ids.insert(id) {
            return Err(self.lines.refuse(format!("{id} stands in it twice")));
        }
        self.marks.push(Mark { id, object_type, tree, used: false });
        Ok(())
    }

    /// The place of the object that `:<mark>` names.
    fn at(&self, written: &[u8]) -> Option<usize> {
        let number = usize::try_from(decimal(written.strip_prefix(b":")?)?).ok()?;
        number.checked_sub(1).filter(|&at| at < self.marks.len())
    }

    /// The same for something that leads to it and may want it to be of a type.
    fn lead_to(&mut self, written: &[u8], wanted: Option<ObjectType>) -> Result<usize, VerifyError> {
        let fits = |at: &usize| wanted.is_none_or(|wanted| wanted == self.marks[*at].object_type);
        let at = self.at(written).filter(fits).ok_or_else(|| self.lines.refuse(NO_MARK))?;
        self.marks[at].used = true;
        Ok(at)
    }
}

const NO_MARK: &str = "a mark of nothing, or of something else";
const SPELLING: &str = "a path is not quoted as larder does it";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::MAX_STRUCTURE;

    /// A few hundred kilobytes of gzip say this.
    #[test]
    fn tags_are_held_up_to_a_bound_however_many_there_are() {
        let mut stream: Box<dyn Read> = Box::new(&b"feature done\nblob\nmark :1\ndata 1\nx\n"[..]);
        let length = MAX_STRUCTURE - 1000;
        for mark in 2..100 {
            let head = format!("tag {mark}\nmark :{mark}\nfrom :1\ndata {length}\n").into_bytes();
            let message = std::io::repeat(b'x').take(length);
            stream = Box::new(stream.chain(std::io::Cursor::new(head)).chain(message).chain(&b"\n"[..]));
        }
        let error = Import::new(stream).run(&mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("its tags together"), "{error}");
    }
}
