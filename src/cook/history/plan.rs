//! Where each object of a history comes from, what it is made from there, and the order in which they
//! are written: that in which the archive's packs have them, pack after pack, then those that are in
//! none.
//!
//! **Invariant: the order is that of the archive's state alone.** One reader looks the ids up in their
//! own order, so neither the walk nor the number of threads decides which of several copies is taken.

use super::forest;
use super::reach::{Reached, Seen};
use super::resolve::NONE;
use crate::archive::packed::{EntryKind, SourcePack};
use crate::archive::{Place, Reader};
use crate::cook::{Control, CookError};
use crate::key::Sha1Git;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// In no pack.
const NOWHERE: u32 = u32::MAX;

/// A pack of which more than one object in so many is left out is used in part: what is right for all
/// of it may be wrong for that part.
const PART: usize = 16;

/// What is to be written.
pub(super) struct Plan {
    /// In order of id.
    pub(super) objects: Vec<(Sha1Git, Seen)>,
    spots: Vec<Spot>,
    /// Where each ends in its pack.
    ends: Vec<u64>,
    /// The object that each is made from, which is written before it, or [`NONE`].
    pub(super) bases: Vec<u32>,
    /// Those that are made in their packs from what is not written before them.
    pub(super) cut: Vec<u32>,
    /// Which of `objects` is written when.
    pub(super) order: Vec<u32>,
    packs: Vec<Source>,
}

/// The pack, as a number, and the place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    pack: u32,
    offset: u64,
}

#[derive(Clone)]
struct Source {
    pack: Arc<dyn SourcePack>,
    /// Whether it is used in part.
    in_part: bool,
}

/// Where an object lies in a pack.
pub(super) struct Packed<'a> {
    pub(super) pack: &'a dyn SourcePack,
    pub(super) offset: u64,
    pub(super) end: u64,
    /// Whether the pack is used in part.
    pub(super) in_part: bool,
}

impl Plan {
    /// Looks all objects up. `elsewhere` are not to be copied.
    pub(super) fn make(
        reader: &mut dyn Reader,
        reached: Reached,
        elsewhere: impl Fn(&Sha1Git) -> bool,
        control: &Control,
    ) -> Result<Self, CookError> {
        let objects = reached.objects;
        if objects.len() >= NOWHERE as usize {
            return Err(CookError::TooLarge { reason: "the history has more objects than a pack can hold".to_owned() });
        }
        let mut packs = Vec::new();
        let mut numbers = HashMap::new();
        let mut spots = Vec::with_capacity(objects.len());
        for (id, _) in &objects {
            go_on(control)?;
            let place = if elsewhere(id) { Place::Elsewhere } else { found(reader, id)? };
            spots.push(match place {
                Place::Elsewhere => Spot { pack: NOWHERE, offset: 0 },
                Place::Packed(entry) => {
                    let pack = *numbers.entry(entry.pack().serial()).or_insert_with(|| {
                        packs.push(Source { pack: Arc::clone(entry.pack()), in_part: false });
                        index(packs.len() - 1)
                    });
                    Spot { pack, offset: entry.offset() }
                }
            });
        }
        let ranks = rank(&mut packs);
        for spot in spots.iter_mut().filter(|spot| spot.pack != NOWHERE) {
            spot.pack = ranks[spot.pack as usize];
        }
        let mut order: Vec<u32> = (0..objects.len()).map(index).collect();
        order.sort_unstable_by_key(|at| (spots[*at as usize], *at));
        let (ends, bases) = (vec![0; objects.len()], vec![NONE; objects.len()]);
        let mut plan = Self { objects, spots, ends, bases, cut: Vec::new(), order, packs };
        plan.link(control)?;
        Ok(plan)
    }

    /// Finds out what is made from what, pack by pack.
    fn link(&mut self, control: &Control) -> Result<(), CookError> {
        let order = std::mem::take(&mut self.order);
        for group in order.chunk_by(|a, b| self.spots[*a as usize].pack == self.spots[*b as usize].pack) {
            let number = self.spots[group[0] as usize].pack as usize;
            let Some(Source { pack, .. }) = self.packs.get(number).cloned() else { continue };
            let offsets: Vec<_> = group.iter().map(|at| self.spots[*at as usize].offset).collect();
            let (ends, left_out) = ends(&*pack, &offsets);
            self.packs[number].in_part = self.leaves_out(&*pack, &offsets, left_out);
            for ((at, end), offset) in group.iter().zip(ends).zip(&offsets) {
                go_on(control)?;
                let base = match pack.header(*offset, &self.objects[*at as usize].0)?.kind {
                    EntryKind::Object(_) => None,
                    EntryKind::OffsetDelta(base) => Some(offsets.binary_search(&base).ok().map(|base| group[base])),
                    EntryKind::IdDelta(base) => Some(self.find(&base).map(index).filter(|base| {
                        let place = |at: u32| (self.spots[at as usize], at);
                        place(*base) < place(*at)
                    })),
                };
                self.ends[*at as usize] = end;
                self.bases[*at as usize] = base.flatten().unwrap_or(NONE);
                if base == Some(None) {
                    self.cut.push(*at);
                }
            }
        }
        self.order = order;
        Ok(())
    }

    /// Whether more of a pack is left out than [`PART`] says. An entry whose object is copied from
    /// elsewhere is not.
    fn leaves_out(&self, pack: &dyn SourcePack, offsets: &[u64], left_out: usize) -> bool {
        let most = (offsets.len() + left_out) / PART;
        if left_out <= most {
            return false;
        }
        let mut missed = 0;
        pack.each_entry(&mut |id, offset| {
            if missed <= most && offsets.binary_search(&offset).is_err() && self.find(id).is_none() {
                missed += 1;
            }
        });
        missed > most
    }

    /// Where an object lies, if it is to be copied from a pack.
    pub(super) fn packed(&self, at: u32) -> Option<Packed<'_>> {
        let Spot { pack, offset } = self.spots[at as usize];
        let Source { pack, in_part } = self.packs.get(pack as usize)?;
        Some(Packed { pack: &**pack, offset, end: self.ends[at as usize], in_part: *in_part })
    }

    /// Its type, and the name that it is known by.
    pub(super) fn seen(&self, at: u32) -> &Seen {
        &self.objects[at as usize].1
    }

    /// Makes objects from others than they are made from in their packs: pairs of an object and its
    /// base, without a circle.
    pub(super) fn rebase(&mut self, pairs: impl Iterator<Item = (u32, u32)>) {
        pairs.for_each(|(at, base)| self.bases[at as usize] = base);
        self.order = forest::sorted(&self.bases, &self.order);
    }

    /// Which object has this id.
    fn find(&self, id: &Sha1Git) -> Option<usize> {
        self.objects.binary_search_by_key(id, |(id, _)| *id).ok()
    }

    /// Lets go of all but the objects and their order.
    pub(super) fn finish(self) -> (Vec<(Sha1Git, Seen)>, Vec<u32>) {
        (self.objects, self.order)
    }
}

fn go_on(control: &Control) -> Result<(), CookError> {
    control.cancelled().map_or(Ok(()), |reason| Err(CookError::Cancelled(reason)))
}

fn found(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Place, CookError> {
    reader.place(id)?.ok_or(CookError::Missing { id: *id })
}

/// Puts packs in order of their paths, and gives the new number of each.
fn rank(packs: &mut [Source]) -> Vec<u32> {
    let mut by_path: Vec<usize> = (0..packs.len()).collect();
    by_path.sort_by(|a, b| {
        let name = |at: &usize| (packs[*at].pack.path().file_name(), packs[*at].pack.path());
        name(a).cmp(&name(b))
    });
    let mut ranks = vec![0; packs.len()];
    for (rank, at) in by_path.iter().enumerate() {
        ranks[*at] = index(rank);
    }
    let sorted: Vec<_> = by_path.iter().map(|at| packs[*at].clone()).collect();
    packs.clone_from_slice(&sorted);
    ranks
}

/// Where the entries at `offsets`, which are in order, end: where the next entry of the pack begins,
/// wanted or not. An index does not say, so all of it is looked at. And how many are not wanted.
fn ends(pack: &dyn SourcePack, offsets: &[u64]) -> (Vec<u64>, usize) {
    let mut ends = vec![pack.end().unwrap_or(0); offsets.len()];
    let mut left_out = 0;
    pack.each_entry(&mut |_, next| {
        let before = offsets.partition_point(|offset| *offset < next);
        left_out += usize::from(offsets.get(before) != Some(&next));
        if let Some(end) = before.checked_sub(1).and_then(|at| ends.get_mut(at)) {
            *end = (*end).min(next);
        }
    });
    (ends, left_out)
}

/// Ids that were found damaged where they would be copied from.
pub(super) type Distrusted = HashSet<Sha1Git>;

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("because there are fewer objects")
}
