//! The gzip member around the units of a `tar.gz`. Pure.

/// The ten bytes a gzip member starts with (RFC 1952): no name, no time, unknown system.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The empty final block that ends the deflate stream.
pub(crate) const END: [u8; 2] = [3, 0];

/// CRC-32 and length of a stream, put together from those of its units in order.
#[derive(Clone, Default)]
pub(crate) struct Sum {
    crc: crc32fast::Hasher,
    length: u64,
}

impl Sum {
    /// Takes the next `length` bytes, whose own CRC-32 is `crc`.
    pub(crate) fn add(&mut self, crc: u32, length: u64) {
        self.crc.combine(&crc32fast::Hasher::new_with_initial_len(crc, length));
        self.length += length;
    }

    pub(crate) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// The end of the gzip member after these bytes: CRC-32 and ISIZE (RFC 1952).
    pub(crate) fn trailer(&self) -> [u8; 8] {
        let crc = self.crc().to_le_bytes();
        let size = self.length.to_le_bytes();
        [crc[0], crc[1], crc[2], crc[3], size[0], size[1], size[2], size[3]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_is_that_of_all_units_together() {
        let mut sum = Sum::default();
        for unit in [&b"one unit, one unit"[..], b"and another"] {
            sum.add(crc32fast::hash(unit), unit.len() as u64);
        }
        let trailer = sum.trailer();
        assert_eq!(trailer[..4], crc32fast::hash(b"one unit, one unitand another").to_le_bytes());
        assert_eq!(trailer[4..], 29_u32.to_le_bytes());
        sum.add(0, 1 << 32);
        assert_eq!(sum.trailer()[4..], 29_u32.to_le_bytes());
    }
}
