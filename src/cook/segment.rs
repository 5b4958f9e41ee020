//! Where the tar stream is cut: segments by what the members are, units by bytes. Pure.
//!
//! [`Cutter`] takes members in order and gives [`Job`]s, each one or more whole units numbered from
//! 0 in the order of the stream. It knows a content's id and size, never its bytes, so the cut is
//! ahead of all reading. `docs/format.md` has the rule as a table.

use super::batch::{Batch, Item};
use super::segments::Known;
use super::tarball::{Member, Node, TRAILER, padding};
use super::zip::Entry;
use crate::key::Sha1Git;

/// The wanted mean size of a segment in bytes. A file of this size or more is one alone.
pub(crate) const T: u64 = 1 << 18;
/// The most bytes in a unit.
pub(crate) const UNIT: usize = 1 << 20;

/// Work that can be done by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Of a tar.
    Unit(Unit),
    /// Of a zip.
    Batch(Batch),
    Large(Large),
}

/// One unit: what it holds, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) index: u64,
    /// The bytes of all [`Part::Head`]s.
    pub(crate) heads: Vec<u8>,
    pub(crate) parts: Vec<Part>,
    pub(crate) len: usize,
    pub(crate) known: Known,
}

/// A piece of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// So many of the next bytes of `heads`.
    Head(usize),
    /// The bytes `from..to` of a content of `size` bytes.
    Content {
        id: Sha1Git,
        size: u64,
        from: usize,
        to: usize,
    },
    Zeros(usize),
}

/// A file that spans several units: they are this member's alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Large {
    /// Number of its first unit.
    pub(crate) first: u64,
    /// Its headers in a tar.
    pub(crate) head: Vec<u8>,
    pub(crate) id: Sha1Git,
    pub(crate) size: u64,
    /// In a zip, where its units hold its content alone: what stands around them, and the bytes of
    /// its headers and padding in a tar.
    pub(crate) zip: Option<(Entry, u64)>,
    /// Of each of its units, or of none.
    pub(crate) known: Vec<Known>,
}

impl Large {
    /// How many units it has.
    pub(crate) fn units(&self) -> u64 {
        let len = self.head.len() as u64 + self.size + self.padding() as u64;
        len.div_ceil(UNIT as u64)
    }

    /// Zero bytes behind its content.
    pub(crate) fn padding(&self) -> usize {
        if self.zip.is_some() { 0 } else { padding(self.size) }
    }
}

impl Job {
    /// Number of its first unit.
    pub(crate) fn first(&self) -> u64 {
        match self {
            Self::Unit(unit) => unit.index,
            Self::Batch(batch) => batch.index,
            Self::Large(large) => large.first,
        }
    }

    /// Roughly the memory it takes while it waits.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Unit(unit) => unit.heads.capacity() + unit.parts.capacity() * size_of::<Part>() + 256,
            Self::Batch(batch) => {
                let heap = |item: &Item| item.entry.name.capacity() + item.entry.comment.capacity();
                batch.items.iter().map(heap).sum::<usize>() + batch.items.capacity() * size_of::<Item>() + 128
            }
            Self::Large(large) => large.head.capacity() + large.known.capacity() * size_of::<Known>() + 512,
        }
    }
}

/// Whether a file or a symlink whose content has this id and size ends its segment: always from
/// about [`T`] bytes on, by chance in proportion to its size below.
pub(crate) fn ends_segment(id: &Sha1Git, size: u64) -> bool {
    let [.., a, b, c, d] = *id.as_bytes();
    u64::from(u32::from_be_bytes([a, b, c, d])) < size.saturating_add(512).saturating_mul((1 << 32) / T)
}

/// Cuts a stream of members.
#[derive(Default)]
pub(crate) struct Cutter {
    unit: Unit,
    next: u64,
    ready: Vec<Job>,
}

impl Cutter {
    /// A member and its header blocks.
    pub(crate) fn member(&mut self, member: &Member<'_>, head: &[u8]) {
        match member.node {
            Node::Directory | Node::Gitlink => self.folder(head),
            Node::Symlink { target } => self.symlink(head, member.id, target.len() as u64),
            Node::File { size, .. } => self.file(head, *member.id, size),
        }
    }

    /// A directory or a gitlink.
    fn folder(&mut self, head: &[u8]) {
        self.head(head);
    }

    /// A symlink, whose content of `size` bytes is in its header.
    fn symlink(&mut self, head: &[u8], id: &Sha1Git, size: u64) {
        self.head(head);
        if ends_segment(id, size) {
            self.end_unit();
        }
    }

    /// A file.
    fn file(&mut self, head: &[u8], id: Sha1Git, size: u64) {
        if size >= T {
            self.end_unit();
        }
        let len = head.len() as u64 + size + padding(size) as u64;
        if size >= T && len > UNIT as u64 {
            let large = Large { first: self.next, head: head.to_vec(), id, size, zip: None, known: Vec::new() };
            self.next += large.units();
            self.ready.push(Job::Large(large));
            return;
        }
        self.head(head);
        let whole = usize::try_from(size).expect("because it is below the size of a unit");
        let mut from = 0;
        while from < whole {
            let to = whole.min(from + self.room());
            self.unit.parts.push(Part::Content { id, size, from, to });
            self.grow(to - from);
            from = to;
        }
        self.zeros(padding(size));
        if ends_segment(&id, size) {
            self.end_unit();
        }
    }

    /// The two zero blocks, a unit of their own.
    pub(crate) fn end(&mut self) {
        self.end_unit();
        self.zeros(TRAILER);
        self.end_unit();
    }

    /// The jobs cut since the last call, in order.
    pub(crate) fn take_ready(&mut self) -> std::vec::Drain<'_, Job> {
        self.ready.drain(..)
    }

    /// Number of units cut so far.
    pub(crate) fn units(&self) -> u64 {
        self.next
    }

    fn head(&mut self, mut head: &[u8]) {
        while !head.is_empty() {
            let (now, later) = head.split_at(head.len().min(self.room()));
            self.unit.heads.extend_from_slice(now);
            self.unit.parts.push(Part::Head(now.len()));
            self.grow(now.len());
            head = later;
        }
    }

    fn zeros(&mut self, mut count: usize) {
        while count > 0 {
            let now = count.min(self.room());
            self.unit.parts.push(Part::Zeros(now));
            self.grow(now);
            count -= now;
        }
    }

    fn room(&self) -> usize {
        UNIT - self.unit.len
    }

    fn grow(&mut self, bytes: usize) {
        self.unit.len += bytes;
        if self.unit.len == UNIT {
            self.end_unit();
        }
    }

    /// Ends the unit under way, if it holds anything; at the end of a segment, and when it is full.
    fn end_unit(&mut self) {
        if self.unit.len > 0 {
            let mut unit = std::mem::take(&mut self.unit);
            unit.index = self.next;
            self.next += 1;
            self.ready.push(Job::Unit(unit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Never ends a segment unless its size says so.
    const LAST: Sha1Git = Sha1Git::from_bytes([0xff; 20]);
    /// Always ends one.
    const FIRST: Sha1Git = Sha1Git::NULL;

    fn lens(cutter: &mut Cutter) -> Vec<u64> {
        cutter.end();
        let mut lens = Vec::new();
        for job in cutter.take_ready() {
            assert_eq!(job.first(), lens.len() as u64);
            match job {
                Job::Unit(unit) => lens.push(unit.len as u64),
                Job::Batch(_) => panic!("a tar has no batches"),
                Job::Large(large) => {
                    let whole = large.head.len() as u64 + large.size + padding(large.size) as u64;
                    lens.extend((0..large.units()).map(|i| (whole - i * UNIT as u64).min(UNIT as u64)));
                }
            }
        }
        assert_eq!(cutter.units(), lens.len() as u64);
        lens
    }

    #[test]
    fn a_member_ends_a_segment_by_its_id_and_size() {
        let id = |x: u32| {
            let mut bytes = [7; 20];
            bytes[16..].copy_from_slice(&x.to_be_bytes());
            Sha1Git::from_bytes(bytes)
        };
        assert!(ends_segment(&id(0), 0));
        assert!(ends_segment(&id(512 * 16_384 - 1), 0));
        assert!(!ends_segment(&id(512 * 16_384), 0));
        assert!(ends_segment(&id(1512 * 16_384 - 1), 1000));
        assert!(!ends_segment(&id(1512 * 16_384), 1000));
        assert!(ends_segment(&LAST, T - 512));
        assert!(!ends_segment(&LAST, T - 513));
        assert!(ends_segment(&LAST, u64::MAX));
    }

    #[test]
    fn the_trailer_is_a_unit_of_its_own() {
        assert_eq!(lens(&mut Cutter::default()), [1024]);
        let mut cutter = Cutter::default();
        cutter.folder(&[1; 512]);
        cutter.symlink(&[1; 512], &FIRST, 3);
        cutter.folder(&[1; 512]);
        assert_eq!(lens(&mut cutter), [1024, 512, 1024]);
    }

    #[test]
    fn a_file_of_t_bytes_stands_alone_and_a_shorter_one_does_not() {
        let mut cutter = Cutter::default();
        cutter.folder(&[1; 512]);
        cutter.file(&[1; 512], LAST, T);
        cutter.folder(&[1; 512]);
        cutter.file(&[1; 512], LAST, T - 513);
        cutter.file(&[1; 512], LAST, 1);
        assert_eq!(lens(&mut cutter), [512, T + 512, 512 + T + 1024, 1024]);
    }

    #[test]
    fn units_count_from_the_start_of_their_segment() {
        let unit = UNIT as u64;
        let mut cutter = Cutter::default();
        cutter.folder(&[1; 512]);
        cutter.file(&[1; 512], LAST, unit - 512);
        cutter.file(&[1; 512], LAST, unit - 511);
        cutter.file(&[1; 512], LAST, 3 * unit);
        assert_eq!(lens(&mut cutter), [512, unit, unit, 512, unit, unit, unit, 512, 1024]);
        let mut cutter = Cutter::default();
        for _ in 0..2050 {
            cutter.folder(&[1; 512]);
        }
        assert_eq!(lens(&mut cutter), [unit, 1024, 1024]);
    }

    /// However many files straddle the end of a unit.
    #[test]
    fn units_of_a_segment_are_full_but_for_the_last_and_as_long_as_their_parts() {
        let mut cutter = Cutter::default();
        for _ in 0..40 {
            cutter.file(&[1; 512], LAST, 100_000);
        }
        cutter.end_unit();
        let jobs: Vec<Job> = cutter.take_ready().collect();
        let whole = 40 * (512 + 100_000 + padding(100_000));
        assert_eq!(jobs.len(), whole.div_ceil(UNIT));
        for (at, job) in jobs.iter().enumerate() {
            let Job::Unit(unit) = job else { panic!("no large file here") };
            let length = |part: &Part| match *part {
                Part::Head(length) | Part::Zeros(length) => length,
                Part::Content { from, to, .. } => to - from,
            };
            assert_eq!(unit.parts.iter().map(length).sum::<usize>(), unit.len, "unit {at}");
            assert_eq!(unit.len, (whole - at * UNIT).min(UNIT), "unit {at}");
        }
    }

    #[test]
    fn a_content_across_a_boundary_is_cut_and_nothing_is_lost() {
        let mut cutter = Cutter::default();
        for _ in 0..5 {
            cutter.file(&[1; 512], LAST, 250_001);
        }
        cutter.end();
        let jobs: Vec<Job> = cutter.take_ready().collect();
        let mut at = 0;
        for job in &jobs {
            let Job::Unit(unit) = job else { panic!("no large file here") };
            for part in &unit.parts {
                if let Part::Content { from, to, .. } = *part {
                    assert_eq!(from, at % 250_001);
                    at += to - from;
                }
            }
        }
        assert_eq!((jobs.len(), at), (3, 5 * 250_001));
    }
}
