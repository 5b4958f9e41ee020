//! Between the walk and the workers: names each unit by what its bytes depend on, and asks the source of
//! segments for many at a time. Reads no content.
//!
//! What a unit's bytes depend on is hashed as it stands: the header blocks of its members, which hold
//! their names, modes, sizes and links, and ids where these show in them (of a directory or a gitlink only
//! in a pax header); and the ids of the contents, in order. The format and its version begin the hash.

use super::Order;
use super::batch::{Batch, Body};
use super::pipeline::Halt;
use super::segment::{Job, Large, Part, UNIT, Unit};
use super::segments::{Known, Segments};
use crate::key::{Flat, Format};
use crate::segment::{LEAST_PACKED, SegmentKey};
use crate::store::layout;
use blake3::Hasher;

/// What jobs may weigh before the first question, which the workers wait for; each may be twice as large.
const FIRST: usize = 128 << 10;
/// And the last ones.
const MOST: usize = 2 << 20;
/// Units of a file that are looked for: those of 4 GiB.
const MOST_UNITS: u64 = 4096;

/// What takes the jobs.
pub(super) type Emit<'e> = dyn FnMut(Job) -> Result<(), Halt> + 'e;

pub(super) struct Planner<'a> {
    segments: Option<&'a dyn Segments>,
    hasher: Hasher,
    waiting: Vec<Job>,
    weight: usize,
    limit: usize,
}

impl<'a> Planner<'a> {
    pub(super) fn new(order: &Order<'a>) -> Self {
        let hasher = begun(order.format);
        Self { segments: order.segments, hasher, waiting: Vec::new(), weight: 0, limit: FIRST }
    }

    /// Takes the next job, and gives those that may go on, in order.
    pub(super) fn add(&mut self, job: Job, emit: &mut Emit<'_>) -> Result<(), Halt> {
        if self.segments.is_none() {
            return emit(job);
        }
        self.weight += job.weight();
        self.waiting.push(job);
        if self.weight < self.limit {
            return Ok(());
        }
        self.limit = MOST.min(2 * self.limit);
        self.end(emit)
    }

    /// Gives all that wait.
    pub(super) fn end(&mut self, emit: &mut Emit<'_>) -> Result<(), Halt> {
        if let Some(segments) = self.segments {
            self.look_up(segments);
        }
        self.weight = 0;
        self.waiting.drain(..).try_for_each(emit)
    }

    fn look_up(&mut self, segments: &dyn Segments) {
        for job in &mut self.waiting {
            name(job, &self.hasher);
        }
        let keys: Vec<SegmentKey> = self.waiting.iter().flat_map(known).filter_map(|known| known.key).collect();
        let mut places = segments.look_up(&keys).into_iter();
        for known in self.waiting.iter_mut().flat_map(known_mut).filter(|known| known.key.is_some()) {
            known.place = places.next().flatten();
        }
    }
}

fn begun(format: Flat) -> Hasher {
    Hasher::new_derive_key(&format!("larder segment {} {}", layout::VERSION, Format::from(format)))
}

/// Gives the units of a job their keys.
fn name(job: &mut Job, hasher: &Hasher) {
    match job {
        Job::Unit(unit) => unit.known.key = unit_key(unit, hasher),
        Job::Batch(batch) => batch.known.key = batch_key(batch, hasher),
        Job::Large(large) if large.units() <= MOST_UNITS => {
            large.known = large_keys(large, hasher).map(|key| Known { key: Some(key), place: None }).collect();
        }
        Job::Large(_) => {}
    }
}

fn known(job: &Job) -> &[Known] {
    match job {
        Job::Unit(unit) => std::slice::from_ref(&unit.known),
        Job::Batch(batch) => std::slice::from_ref(&batch.known),
        Job::Large(large) => &large.known,
    }
}

fn known_mut(job: &mut Job) -> &mut [Known] {
    match job {
        Job::Unit(unit) => std::slice::from_mut(&mut unit.known),
        Job::Batch(batch) => std::slice::from_mut(&mut batch.known),
        Job::Large(large) => &mut large.known,
    }
}

/// `None` for a unit that will hardly be worth a row, and for the zeros that end a tar.
fn unit_key(unit: &Unit, hasher: &Hasher) -> Option<SegmentKey> {
    if unit.len < LEAST_PACKED as usize {
        return None;
    }
    let mut hasher = hasher.clone();
    framed(&mut hasher, *b"unit", &unit.heads);
    // Where headers stand and which part of a content it is, that is, where the segment was cut.
    for part in &unit.parts {
        match *part {
            Part::Head(length) => framed(&mut hasher, *b"head", &number(length)),
            Part::Zeros(length) => framed(&mut hasher, *b"zero", &number(length)),
            Part::Content { id, size, from, to } => {
                hasher.update(b"file").update(id.as_bytes());
                hasher.update(&size.to_le_bytes()).update(&number(from)).update(&number(to));
            }
        }
    }
    Some(SegmentKey::of(&hasher))
}

/// A local header holds neither a mode nor a comment, so these count only by what they take in a tar.
fn batch_key(batch: &Batch, hasher: &Hasher) -> Option<SegmentKey> {
    if batch.tar < u64::from(LEAST_PACKED) {
        return None;
    }
    let mut hasher = hasher.clone();
    // Which is counted when progress is.
    hasher.update(&batch.tar.to_le_bytes());
    for item in &batch.items {
        framed(&mut hasher, *b"name", &item.entry.name);
        match &item.body {
            Body::Stored(content) => framed(&mut hasher, *b"held", content),
            Body::Content(id) => {
                hasher.update(b"file").update(id.as_bytes()).update(&item.entry.size.to_le_bytes());
            }
        }
    }
    Some(SegmentKey::of(&hasher))
}

/// Those of a large file, one for each unit. In a zip they hold nothing but the content.
fn large_keys(large: &Large, hasher: &Hasher) -> impl Iterator<Item = SegmentKey> {
    let mut hasher = hasher.clone();
    framed(&mut hasher, *b"head", &large.head);
    hasher.update(b"file").update(large.id.as_bytes()).update(&large.size.to_le_bytes());
    (0..large.units()).map(move |index| SegmentKey::of(hasher.clone().update(b"unit").update(&index.to_le_bytes())))
}

/// A word of four letters, so that it is clear what follows; its length, so that it is clear where it ends.
fn framed(hasher: &mut Hasher, word: [u8; 4], bytes: &[u8]) {
    hasher.update(&word).update(&number(bytes.len())).update(bytes);
}

fn number(length: usize) -> [u8; 8] {
    (length as u64).to_le_bytes()
}

/// Bytes of the unit `index` of a large file, before it is coded.
pub(super) fn unit_length(large: &Large, index: usize) -> u64 {
    let whole = large.head.len() as u64 + large.size + large.padding() as u64;
    (whole - index as u64 * UNIT as u64).min(UNIT as u64)
}
