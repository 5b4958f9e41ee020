//! A segment of a flat bundle as it lies in a file: what a cook says that it wrote, what the catalogue
//! remembers, and what another cook copies. Plain data; what a segment's members are only `cook` knows.
//!
//! "Segment" is here what `docs/format.md` calls one, but of one over a mebibyte each unit counts by
//! itself, so that whatever is copied is checked in memory before a byte of it is given out.

/// The fewest bytes, as they lie in a file, that are worth a row of the catalogue. The units of a segment of over
/// a mebibyte always are: it is copied as a whole, or made.
pub const LEAST_PACKED: u32 = 2048;
/// The most segments of one file that are remembered: those of a tree of some 16 GiB. It bounds how long
/// the transaction takes that publishes the file.
pub const MOST_IN_A_FILE: usize = 65_536;
/// The most bytes that a segment may have in a file: those of a unit, and then some.
pub const MOST_PACKED: u32 = 2 << 20;

/// Names a segment by all that its bytes depend on: its members, the format and that's version.
///
/// It is the beginning of a BLAKE3, as long as the id of a git object: whoever wants two that are equal
/// has to try 2^80 times, as he would for two objects, so that a segment's name is worth no less than
/// the name of the bundle that it goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey([u8; 20]);

impl SegmentKey {
    /// The key with these twenty bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The key of what `hasher` was given.
    #[must_use]
    pub fn of(hasher: &blake3::Hasher) -> Self {
        let mut bytes = [0; 20];
        hasher.finalize_xof().fill(&mut bytes);
        Self(bytes)
    }

    /// The twenty bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

/// A segment and where it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it is.
    pub key: SegmentKey,
    /// Where it begins in the file.
    pub start: u64,
    /// Its bytes there.
    pub packed: u32,
    /// Its bytes before they were compressed; in a zip, what its members have in a tar.
    pub length: u32,
    /// CRC-32 of these, where the format needs it; else 0.
    pub crc: u32,
    /// [`checksum`] of it.
    pub checksum: [u8; 16],
}

impl Segment {
    /// Whether `bytes` are those that were written.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.packed as usize && checksum(&self.key, self.length, self.crc, bytes) == self.checksum
    }
}

/// The first half of the BLAKE3 of all that is said of a segment and of its bytes in the file. So neither a
/// byte that has changed on the disk nor a number that has changed in the catalogue goes unnoticed.
#[must_use]
pub fn checksum(key: &SegmentKey, length: u32, crc: u32, packed: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes()).update(&length.to_le_bytes()).update(&crc.to_le_bytes()).update(packed);
    let mut sum = [0; 16];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// Where the bytes of a segment of a new bundle came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// They were made of the objects.
    Made,
    /// They were copied from the file of this number in the catalogue.
    Copied(i64),
}

/// A segment of a new bundle, and where its bytes came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// It, in the new bundle.
    pub segment: Segment,
    /// Where from.
    pub provenance: Provenance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_number_or_byte_is_noticed() {
        let bytes = vec![7; 4096];
        let key = SegmentKey::from_bytes([1; 20]);
        let good =
            Segment { key, start: 9, packed: 4096, length: 9000, crc: 5, checksum: checksum(&key, 9000, 5, &bytes) };
        assert!(good.is(&bytes));
        assert!(Segment { start: 0, ..good }.is(&bytes), "where it lies does not matter");
        assert!(!Segment { length: 9001, ..good }.is(&bytes));
        assert!(!Segment { crc: 4, ..good }.is(&bytes));
        assert!(!Segment { packed: 4095, ..good }.is(&bytes));
        assert!(!Segment { packed: 4095, ..good }.is(&bytes[..4095]));
        assert!(!Segment { key: SegmentKey::from_bytes([2; 20]), ..good }.is(&bytes));
        let mut other = bytes;
        other[4000] ^= 1;
        assert!(!good.is(&other));
    }
}
