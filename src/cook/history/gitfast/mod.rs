//! `gitfast.gz`: a stream for `git fast-import` that makes the same commits and tags, of the same
//! ids, on all refs (`docs/format.md`).
//!
//! **Invariant: an id never changes unseen.** fast-import is told names, dates and paths, and makes
//! the objects itself; so whatever is read is made again from what the stream says of it, and
//! compared, before it is written. What does not come out as it went in fails the cook by name. Only
//! an order that allows it has headers left out for which there is no word, and says so.
//!
//! The bytes depend on the refs and on what they lead to, never on threads or on the archive.

mod commit;
mod commits;
mod gz;
mod ident;
mod language;
mod losses;
mod marks;
mod needs;
mod signature;
mod sink;
mod structure;
mod survey;
mod tips;
mod trees;

pub(crate) use super::ref_name::is_ref_name;
pub(crate) use commit::{Commit, Tag};
pub(crate) use language::{DONE, MAX_PATH, NOTHING, START, unquote};
pub(crate) use needs::{ANY_ZONE, Needs};
pub(crate) use signature::{MAX_SIGNATURES, Signature};
pub(crate) use trees::check as check_tree;

use super::{Head, Order, Refs};
use crate::archive::ObjectType;
use crate::cook::{CookError, Cooked};
use commits::Commits;
use losses::Losses;
use sink::Sink;
use std::io::Write;
use survey::{Found, Survey};
use tips::Tips;

/// Writes the stream of `refs` to `out`.
///
/// Commits are read twice: once for what they need and their order, then to be written.
///
/// Memory: 28 bytes for each content, commit and tag, doubled at times; 21 for each commit besides; and
/// before these, 28 for each commit and 50 for each that is on the way down to its parents; about
/// 200 MiB besides, whatever the history holds.
pub(super) fn cook(order: &Order<'_>, refs: &Refs, out: &mut dyn Write) -> Result<Cooked, CookError> {
    let bounds = (order.threads, order.max_size, order.control);
    let archive = order.archive;
    let mut tips = Tips::new(refs, archive.reader())?;
    let mut survey = Survey::new(archive.reader(), Losses::new(order.lossy), order.control);
    tips.survey(&mut survey)?;
    let Found { order: found, needs, losses } = survey.finish();
    let cooked = gz::write(bounds, out, |units| {
        let reader = || archive.reader();
        let branch = refs.list.first().map_or(&b""[..], |one| &one.name);
        let mut commits = Commits::new([reader(), reader()], branch);
        let mut sink = Sink::new(units, reader());
        sink.write(language::START)?;
        if needs.any_zone {
            sink.write(ANY_ZONE)?;
        }
        for (id, object_type) in found {
            if object_type == ObjectType::Commit {
                commits.commit(id, &mut sink)?;
            } else {
                sink.blob(id)?;
            }
        }
        tips.refs(&mut sink)?;
        sink.write(language::DONE)?;
        let (lossy, mut notes) = losses.into_notes();
        notes.extend(needs.notes());
        if let Some(Head::Detached(id)) = refs.head {
            notes.push(format!("HEAD, which is commit {id}, is left out: a stream has none"));
        }
        Ok(Cooked { tar_size: sink.out.written(), members: sink.marks.len(), notes, lossy, ..Cooked::default() })
    })?;
    order.control.set_found_all();
    Ok(cooked)
}
