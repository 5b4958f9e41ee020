//! Folders and rows of a kind side by side: both come in order of id, and what has the same first
//! two bytes is given together.

use super::Error;
use crate::catalogue::{Catalogue, Shelved};
use crate::key::{BundleKey, ObjectKind};
use crate::store::{Met, Seen, Store, Survey};
use std::collections::VecDeque;

/// Rows read at a time.
const PAGE: u32 = 4096;

/// The bundles of a shard, in order of key.
pub(super) type Bundles = Vec<(BundleKey, Seen)>;

/// A step of [`merged`].
pub(super) enum Merged {
    /// What the catalogue and the store have of one shard, each in order of key.
    Shard { rows: Vec<Shelved>, bundles: Bundles },
    /// What else stands in the folders.
    Other(Met),
}

/// Goes through a kind, in order. To be left at the first error.
pub(super) fn merged<'c>(
    store: &'c Store,
    catalogue: &'c Catalogue,
    kind: ObjectKind,
) -> impl Iterator<Item = Result<Merged, Error>> + 'c {
    let mut merge = Merge {
        folders: store.survey(kind),
        shard: None,
        rows: Rows { catalogue, kind, page: VecDeque::new(), last: None, ended: false },
    };
    std::iter::from_fn(move || merge.next().transpose())
}

struct Merge<'c> {
    folders: Survey<'c>,
    /// The shard of the folders that is next.
    shard: Option<([u8; 2], Bundles)>,
    rows: Rows<'c>,
}

impl Merge<'_> {
    fn next(&mut self) -> Result<Option<Merged>, Error> {
        if self.shard.is_none() {
            match self.folders.next().transpose()? {
                Some(Met::Shard(prefix, bundles)) => self.shard = Some((prefix, bundles)),
                Some(met) => return Ok(Some(Merged::Other(met))),
                None => {}
            }
        }
        let row = self.rows.peek()?.map(prefix);
        let folder = self.shard.as_ref().map(|(prefix, _)| *prefix);
        let Some(next) = row.into_iter().chain(folder).min() else { return Ok(None) };
        let bundles = self.shard.take_if(|(prefix, _)| *prefix == next).map(|(_, bundles)| bundles);
        let rows = if row == Some(next) { self.rows.take(next)? } else { Vec::new() };
        Ok(Some(Merged::Shard { rows, bundles: bundles.unwrap_or_default() }))
    }
}

/// The rows of a kind, a page at a time.
struct Rows<'c> {
    catalogue: &'c Catalogue,
    kind: ObjectKind,
    page: VecDeque<Shelved>,
    last: Option<BundleKey>,
    ended: bool,
}

impl Rows<'_> {
    fn peek(&mut self) -> Result<Option<&Shelved>, Error> {
        if self.page.is_empty() && !self.ended {
            let after = self.last.map(|key| (key.id(), key.format()));
            self.page = self.catalogue.shelf(self.kind, after, PAGE)?.into();
            self.ended = self.page.len() < PAGE as usize;
            self.last = self.page.back().map(|row| row.key);
        }
        Ok(self.page.front())
    }

    /// All that begin so. Usually hundreds of ten million.
    fn take(&mut self, wanted: [u8; 2]) -> Result<Vec<Shelved>, Error> {
        let mut rows = Vec::new();
        while self.peek()?.is_some_and(|row| prefix(row) == wanted) {
            rows.extend(self.page.pop_front());
        }
        Ok(rows)
    }
}

fn prefix(row: &Shelved) -> [u8; 2] {
    let id = row.key.id();
    let [first, second, ..] = *id.as_bytes();
    [first, second]
}
