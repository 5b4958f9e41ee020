//! Segments that other cooks have made: what a cook wants of whoever has them. Knows neither files nor
//! the catalogue; what it is given it compares with what was said of it.

use crate::segment::{LEAST_PACKED, Segment, SegmentKey};

/// A source of segments. Its answers are hints: a cook without one makes the same bytes.
pub trait Segments: Sync {
    /// Where each of the segments lies, in the order of `keys`; `None` for one that is not to be had.
    fn look_up(&self, keys: &[SegmentKey]) -> Vec<Option<Place>>;

    /// Reads what lies at a place into `bytes`, whatever that held before. `false` when that cannot be had
    /// (any more): the segment is made then.
    fn read(&self, place: &Place, bytes: &mut Vec<u8>) -> bool;

    /// Told that what was read there is not what it should be.
    fn distrust(&self, place: &Place);
}

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as the source of segments counts them.
    pub file: i64,
    /// The segment in it.
    pub segment: Segment,
}

/// What a unit is to be remembered as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) key: SegmentKey,
    /// If it has so many bytes when it was made.
    pub(crate) least: u32,
}

/// What is known of a unit before it is made: nothing, for one that is not worth copying.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) key: Option<SegmentKey>,
    /// Where its bytes may be had.
    pub(crate) place: Option<Place>,
}

impl Known {
    /// The name of a unit that stands alone.
    pub(crate) fn name(&self) -> Option<Name> {
        self.key.map(|key| Name { key, least: LEAST_PACKED })
    }

    /// The name of one of several.
    pub(crate) fn name_among(&self) -> Option<Name> {
        self.key.map(|key| Name { key, least: 1 })
    }
}
