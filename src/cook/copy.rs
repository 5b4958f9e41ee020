//! Copying a unit that another cook has made. What was read is compared with its checksum before it goes
//! anywhere; where it is not to be had, or is not what it should be, the unit is made.

use super::batch::{Batch, Role};
use super::pipeline::{Made, Pipeline};
use super::segments::{Known, Segments};
use super::zip::{Entry, Figures};
use crate::segment::{MOST_PACKED, Provenance, Written};

/// One worker's.
pub(super) struct Copier<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) segments: Option<&'a dyn Segments>,
}

impl Copier<'_> {
    /// A unit of so many bytes, before it was coded.
    pub(super) fn unit(&self, known: &Known, length: u64) -> Option<Made> {
        let (segments, place) = (self.segments?, known.place.as_ref()?);
        let segment = place.segment;
        if Some(segment.key) != known.key || u64::from(segment.length) != length || segment.packed > MOST_PACKED {
            segments.distrust(place);
            return None;
        }
        let mut bytes = self.pipeline.buffer();
        if segments.read(place, &mut bytes) {
            if segment.is(&bytes) {
                let written = Some(Written { segment, provenance: Provenance::Copied(place.file) });
                return Some(Made { bytes, raw: length, len: length, crc: segment.crc, role: None, written });
            }
            segments.distrust(place);
        }
        self.pipeline.give_back(bytes);
        None
    }

    /// Members of a zip; given back when they are to be made.
    #[expect(clippy::result_large_err, reason = "what is given back was moved here just now")]
    pub(super) fn batch(&self, batch: Batch) -> Result<Made, Batch> {
        let Some(made) = self.unit(&batch.known, batch.tar) else { return Err(batch) };
        let entries = batch.items.iter().map(|item| &item.entry);
        let Some(figures) = figures(entries, &made.bytes) else {
            self.pipeline.give_back(made.bytes);
            return Err(batch);
        };
        let members = batch.items.into_iter().map(|item| item.entry).zip(figures).collect();
        Ok(Made { raw: 0, role: Some(Role::Batch(members)), ..made })
    }
}

/// What the local headers of small members say, which lie in `bytes` one after the other with their contents;
/// `None` where something else does.
fn figures<'e>(entries: impl Iterator<Item = &'e Entry>, mut bytes: &[u8]) -> Option<Vec<Figures>> {
    let mut all = Vec::new();
    let mut header = Vec::new();
    for entry in entries {
        let figures = Figures { crc: number(bytes, 14)?, packed: u64::from(number(bytes, 18)?) };
        header.clear();
        entry.write_local(&figures, &mut header);
        bytes = bytes.strip_prefix(&header[..])?.get(usize::try_from(figures.packed).ok()?..)?;
        all.push(figures);
    }
    bytes.is_empty().then_some(all)
}

/// The number of four bytes that stands there.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::tarball::{Member, Node};
    use super::*;
    use crate::key::Sha1Git;

    #[test]
    fn figures_are_read_back_from_what_was_written_and_from_nothing_else() {
        let file = |name, size| {
            let node = Node::File { executable: false, size };
            Entry::new(&Member { name, node, raw_mode: b"100644", id: &Sha1Git::NULL })
        };
        let entries = [file(&b"source/a"[..], 9), file(b"source/b", 0), file(b"source/c", 70)];
        let written = [Figures { crc: 5, packed: 7 }, Figures::default(), Figures { crc: 6, packed: 3 }];
        let mut bytes = Vec::new();
        for (entry, figures) in entries.iter().zip(&written) {
            entry.write_local(figures, &mut bytes);
            bytes.resize(bytes.len() + usize::try_from(figures.packed).unwrap(), 9);
        }
        assert_eq!(figures(entries.iter(), &bytes).unwrap(), written);
        assert!(figures(entries.iter().take(2), &bytes).is_none(), "something is left");
        assert!(figures(entries.iter().rev(), &bytes).is_none(), "other names");
        for length in 0..bytes.len() {
            assert!(figures(entries.iter(), &bytes[..length]).is_none(), "cut to {length}");
        }
    }
}
