//! Where each object of a history comes from, and the order in which they are written: that in which
//! the archive's packs have them, pack after pack, then those that are in none.
//!
//! **Invariant: the order is that of the archive's state alone.** One reader looks the ids up in their
//! own order, so neither the walk nor the number of threads decides which of several copies is taken.

use super::reach::Reached;
use crate::archive::packed::SourcePack;
use crate::archive::{ObjectType, Place, Reader};
use crate::cook::{Control, CookError};
use crate::key::Sha1Git;
use std::collections::{HashMap, HashSet};

/// In no pack.
const NOWHERE: u32 = u32::MAX;

/// What is to be written.
pub(super) struct Plan {
    /// In order of id.
    pub(super) objects: Vec<(Sha1Git, ObjectType)>,
    spots: Vec<Spot>,
    /// Which of `objects` is written when.
    pub(super) order: Vec<u32>,
    packs: Vec<SourcePack>,
}

/// The pack, as a number, and the place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    pack: u32,
    offset: u64,
}

/// Objects that lie in one pack, in its order.
pub(super) struct Group<'a> {
    /// `None` for those that are in no pack.
    pub(super) pack: Option<&'a SourcePack>,
    /// Which of the plan's objects.
    pub(super) objects: &'a [u32],
    /// Where each begins, and where it ends.
    pub(super) offsets: Vec<u64>,
    pub(super) ends: Vec<u64>,
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
            if let Some(reason) = control.cancelled() {
                return Err(CookError::Cancelled(reason));
            }
            let place = if elsewhere(id) { Place::Elsewhere } else { found(reader, id)? };
            spots.push(match place {
                Place::Elsewhere => Spot { pack: NOWHERE, offset: 0 },
                Place::Packed(entry) => {
                    let pack = *numbers.entry(entry.serial()).or_insert_with(|| {
                        packs.push(entry.pack());
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
        Ok(Self { objects, spots, order, packs })
    }

    /// The objects by the packs they lie in.
    pub(super) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.order.chunk_by(|a, b| self.spots[*a as usize].pack == self.spots[*b as usize].pack).map(|objects| {
            let pack = self.packs.get(self.spots[objects[0] as usize].pack as usize);
            let offsets: Vec<_> = objects.iter().map(|at| self.spots[*at as usize].offset).collect();
            let ends = pack.map_or_else(Vec::new, |pack| ends(pack, &offsets));
            Group { pack, objects, offsets, ends }
        })
    }

    /// Which object has this id.
    pub(super) fn find(&self, id: &Sha1Git) -> Option<usize> {
        self.objects.binary_search_by_key(id, |(id, _)| *id).ok()
    }

    /// Lets go of all but the objects and their order.
    pub(super) fn finish(self) -> (Vec<(Sha1Git, ObjectType)>, Vec<u32>) {
        (self.objects, self.order)
    }
}

fn found(reader: &mut dyn Reader, id: &Sha1Git) -> Result<Place, CookError> {
    reader.place(id)?.ok_or(CookError::Missing { id: *id })
}

/// Puts packs in order of their paths, and gives the new number of each.
fn rank(packs: &mut [SourcePack]) -> Vec<u32> {
    let mut by_path: Vec<usize> = (0..packs.len()).collect();
    by_path.sort_by(|a, b| {
        let name = |at: &usize| (packs[*at].path().file_name(), packs[*at].path());
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
/// wanted or not. An index does not say, so all of it is looked at.
fn ends(pack: &SourcePack, offsets: &[u64]) -> Vec<u64> {
    let mut ends = vec![pack.end().unwrap_or(0); offsets.len()];
    pack.each_offset(|next| {
        let before = offsets.partition_point(|offset| *offset < next);
        if let Some(end) = before.checked_sub(1).and_then(|at| ends.get_mut(at)) {
            *end = (*end).min(next);
        }
    });
    ends
}

/// Ids that were found damaged where they would be copied from.
pub(super) type Distrusted = HashSet<Sha1Git>;

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("because there are fewer objects")
}
