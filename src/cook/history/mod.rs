//! From an object to a bundle of its history: all that can be reached from it, as git's own objects.
//!
//! A cook goes [`refs()`] (what does git see?), then by its format. Objects are carried as they are,
//! an odd tree in old history too. Replace refs and grafts are not looked at, gitlinks are not
//! followed, and an object that is missing anywhere fails the cook.

pub mod delta;
mod family;
mod forest;
pub(crate) mod git_bundle;
pub(crate) mod git_tar;
pub(crate) mod gitfast;
pub(crate) mod ids;
pub(crate) mod index;
mod name;
pub(crate) mod pack;
pub(crate) mod packed;
pub(crate) mod peeled;
mod plan;
mod reach;
mod ref_name;
mod refs;
pub(crate) mod resolve;
mod search;
mod window;

pub(crate) use ref_name::is_ref_name;
pub use refs::{Head, LeftOut, Made, Ref, Refs, refs};

use super::{Control, CookError, Cooked};
use crate::archive::Archive;
use crate::archive::snapshot::Manifest;
use crate::key::{History, Sha1Git, Swhid};
use std::io::{self, Write};
use std::path::Path;

/// What a history is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A directory, through a commit that larder makes.
    Directory(Sha1Git),
    /// A revision and all before it.
    Revision(Sha1Git),
    /// A release and what it leads to.
    Release(Sha1Git),
    /// All branches.
    Snapshot(Manifest),
}

/// What to cook, and within which bounds.
pub struct Order<'a> {
    /// Where the objects come from.
    pub archive: &'a dyn Archive,
    /// The object, by its name.
    pub swhid: Swhid,
    /// The object itself.
    pub subject: Subject,
    /// The form of the bundle.
    pub format: History,
    /// How many threads read and resolve, at least 1.
    pub threads: usize,
    /// The most bytes that the pack, or the stream before it is deflated, may have.
    pub max_size: u64,
    /// Whether what a format cannot carry may be dropped, and the bundle marked so.
    pub lossy: bool,
    /// A folder on the store's filesystem, for files without a name.
    pub scratch: &'a Path,
    /// Told how many bytes a file in `scratch` is about to have, so that room can be made or refused.
    pub room: &'a (dyn Fn(u64) -> io::Result<()> + 'a),
    /// To watch and to stop it.
    pub control: &'a Control,
}

/// What a bundle says of branches that it leaves out, the first of them one by one.
fn notes(refs: &Refs) -> Vec<String> {
    const SHOWN: usize = 100;
    let mut notes: Vec<_> = refs.left_out.iter().take(SHOWN).map(ToString::to_string).collect();
    match refs.left_out.len().saturating_sub(SHOWN) {
        0 => {}
        more => notes.push(format!("and {more} more branches")),
    }
    notes
}

/// Writes the history of `order.subject` to `out`, in order and in one pass.
///
/// # Errors
/// What `out` was given is then worthless.
pub fn cook(order: &Order<'_>, out: &mut dyn Write) -> Result<Cooked, CookError> {
    let refs = refs(&mut *order.archive.reader(), &order.subject)?;
    let cooked = match order.format {
        History::GitTar => git_tar::cook(order, &refs, out)?,
        History::Bundle => git_bundle::cook(order, &refs, out)?,
        History::Gitfast => gitfast::cook(order, &refs, out)?,
    };
    let notes = notes(&refs).into_iter().chain(cooked.notes).collect();
    Ok(Cooked { notes, ..cooked })
}
