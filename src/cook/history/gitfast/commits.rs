//! Commits, each with what it changes, and before it the blobs that it is the first to need, in the
//! order of its trees.

use super::commit::{Commit, shown};
use super::language;
use super::sink::Sink;
use super::structure;
use super::trees::{Change, Stop, Trees};
use crate::archive::object::EntryKind;
use crate::archive::{ObjectType, Reader};
use crate::cook::error::CookError;
use crate::key::Sha1Git;
use std::fmt::Write as _;

/// Bytes of the lines of one commit that are held; where there are more, its trees are compared
/// again for each kind of line.
const MAX_LINES: usize = 32 << 20;

/// Writes commits.
pub(super) struct Commits {
    reader: Box<dyn Reader>,
    trees: Trees,
    /// The ref that all commits are made on.
    branch: Vec<u8>,
    /// The commit written last, and its tree.
    last: Option<(Sha1Git, Sha1Git)>,
}

/// The lines that say what a commit changes.
#[derive(Default)]
struct Lines {
    gone: Vec<u8>,
    set: Vec<u8>,
    /// There were too many to hold.
    dropped: bool,
}

impl Commits {
    pub(super) fn new(readers: [Box<dyn Reader>; 2], branch: &[u8]) -> Self {
        let [reader, trees] = readers;
        Self { reader, trees: Trees::new(trees), branch: branch.to_vec(), last: None }
    }

    fn read(&mut self, id: Sha1Git) -> Result<Vec<u8>, CookError> {
        structure::read(&mut *self.reader, id, ObjectType::Commit)
    }

    /// Writes one whose parents are written.
    pub(super) fn commit(&mut self, id: Sha1Git, sink: &mut Sink<'_, '_>) -> Result<(), CookError> {
        sink.out.admit(0)?;
        let content = self.read(id)?;
        let (commit, _) = Commit::read(&content).map_err(|reason| unfit(&id, reason))?;
        let old = match commit.parents.first() {
            Some(parent) => Some(self.tree_of(*parent)?),
            None => None,
        };
        let change = (id, old, commit.tree);
        let lines = self.lines(change, sink)?;
        let parents = commit.parents.iter().map(|parent| sink.marks.get(parent, ObjectType::Commit));
        let parents = parents.map(|mark| mark?.ok_or(CookError::Missing { id })).collect::<Result<Vec<_>, _>>()?;
        let mark = sink.marks.add(id, ObjectType::Commit)?;
        self.head(&commit, &parents, mark, sink)?;
        if lines.dropped {
            self.all_lines(change, sink)?;
        } else {
            sink.write(&lines.gone)?;
            sink.write(&lines.set)?;
        }
        self.last = Some((id, commit.tree));
        sink.write(b"\n")
    }

    /// All but the paths.
    fn head(&self, commit: &Commit<'_>, parents: &[u32], mark: u32, sink: &mut Sink<'_, '_>) -> Result<(), CookError> {
        let mut head = Vec::new();
        if parents.is_empty() {
            // Else it would be a child of the commit made last.
            head.extend([b"reset ", &self.branch[..], b"\n"].concat());
        }
        head.extend([b"commit ", &self.branch[..], b"\nmark "].concat());
        language::mark(mark, &mut head);
        head.extend([b"\nauthor ", commit.author, b"\ncommitter ", commit.committer, b"\n"].concat());
        for signature in &commit.signatures {
            head.extend_from_slice(format!("{}\ndata {}\n", signature.command(), signature.data().len()).as_bytes());
            head.extend_from_slice(signature.data());
            head.push(b'\n');
        }
        if let Some(encoding) = commit.encoding {
            head.extend([b"encoding ", encoding, b"\n"].concat());
        }
        sink.write(&head)?;
        sink.data(commit.message)?;
        let mut tail = String::new();
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            writeln!(tail, "{word} :{parent}").expect("because a string takes all");
        }
        sink.write(tail.as_bytes())
    }

    fn tree_of(&mut self, commit: Sha1Git) -> Result<Sha1Git, CookError> {
        match self.last {
            Some((last, tree)) if last == commit => Ok(tree),
            _ => {
                let content = self.read(commit)?;
                crate::archive::object::commit_tree(&content).map_err(|error| unfit(&commit, error.to_string()))
            }
        }
    }

    /// Writes the blobs that are new, and gives the lines that say what changed.
    fn lines(
        &mut self,
        (commit, old, new): (Sha1Git, Option<Sha1Git>, Sha1Git),
        sink: &mut Sink<'_, '_>,
    ) -> Result<Lines, CookError> {
        let mut lines = Lines::default();
        let mut length = 0;
        let compared = self.trees.compare(old, new, &mut |change| {
            let before = lines.gone.len() + lines.set.len();
            match change {
                Change::Gone(path) => language::delete(path, &mut lines.gone),
                set @ Change::Set { .. } => write_set(&set, sink, &mut lines.set)?,
            }
            length += (lines.gone.len() + lines.set.len() - before) as u64;
            sink.out.admit(length)?;
            if lines.gone.len() + lines.set.len() > MAX_LINES {
                lines = Lines { dropped: true, ..Lines::default() };
            }
            Ok(())
        });
        compared.map_err(|stop| stopped(&commit, stop))?;
        Ok(lines)
    }

    /// Writes the lines of a commit that has too many to hold, its blobs being written.
    fn all_lines(
        &mut self,
        (commit, old, new): (Sha1Git, Option<Sha1Git>, Sha1Git),
        sink: &mut Sink<'_, '_>,
    ) -> Result<(), CookError> {
        for gone in [true, false] {
            let mut line = Vec::new();
            let compared = self.trees.compare(old, new, &mut |change| {
                line.clear();
                match change {
                    Change::Gone(path) if gone => language::delete(path, &mut line),
                    set @ Change::Set { .. } if !gone => write_set(&set, sink, &mut line)?,
                    _ => {}
                }
                Ok(sink.write(&line)?)
            });
            compared.map_err(|stop| stopped(&commit, stop))?;
        }
        Ok(())
    }
}

/// Adds the line of a path that is set; its blob is written if it is new.
fn write_set(change: &Change<'_>, sink: &mut Sink<'_, '_>, out: &mut Vec<u8>) -> Result<(), CookError> {
    let Change::Set { path, mode, kind, id } = *change else { return Ok(()) };
    if kind == EntryKind::Gitlink {
        language::modify(mode, id.to_string().as_bytes(), path, out);
        return Ok(());
    }
    let mut target = Vec::with_capacity(12);
    language::mark(sink.blob(id)?, &mut target);
    language::modify(mode, &target, path, out);
    Ok(())
}

fn stopped(commit: &Sha1Git, stop: Stop) -> CookError {
    match stop {
        Stop::Failed(error) => error,
        Stop::Unfit { directory, reason } => unfit(commit, format!("directory \"{}\": {reason}", shown(&directory))),
    }
}

pub(super) fn unfit(commit: &Sha1Git, reason: impl Into<String>) -> CookError {
    CookError::not_representable(format!("commit {commit}"), reason)
}
