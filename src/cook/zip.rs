//! A zip's records (APPNOTE.TXT 6.3): local header, data descriptor, central directory, end. Pure:
//! from a member and its figures to bytes.
//!
//! Every byte here is part of the format (`docs/format.md`); `verify` encodes what it has read
//! again with the same functions and compares.

use super::segment::UNIT;
use super::tarball::{Member, Node};

/// Bytes of a local header before the name.
pub(crate) const LOCAL: usize = 30;
/// Bytes of a central header before the name.
pub(crate) const CENTRAL: usize = 46;
/// Bytes of the end record.
pub(crate) const END: usize = 22;
/// Bytes of zip64's end record and its locator together.
pub(crate) const END64: usize = 76;
/// From this size on a member is zip64: what it deflates to, at worst, would not fit 32 bits.
pub(crate) const LARGE: u64 = 0xff00_0000;

/// Unix, and version 4.5 of the specification.
const MADE_BY: u16 = 0x032d;
const NEEDED: u16 = 20;
const NEEDED64: u16 = 45;
/// Sizes and CRC-32 follow the data.
const STREAMED: u16 = 1 << 3;
const UTF8: u16 = 1 << 11;
/// 1980-02-01 in MS-DOS form: years since 1980, month, day. The time is midnight, 0.
const DATE: u16 = 2 << 5 | 1;
/// MS-DOS's attribute of a directory.
const DOS_DIRECTORY: u32 = 0x10;

/// A member, as a zip says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    /// Type and permissions as Unix has them.
    pub(crate) mode: u16,
    /// Bytes of its content, inflated.
    pub(crate) size: u64,
    /// `git <raw mode> <id>` where the mode does not say all.
    pub(crate) comment: Vec<u8>,
}

/// What is known of a member once its content was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) crc: u32,
    /// Bytes of its content as it stands in the zip.
    pub(crate) packed: u64,
}

impl Entry {
    pub(crate) fn new(member: &Member<'_>) -> Self {
        let (mode, size) = match member.node {
            Node::Directory | Node::Gitlink => (0o040_755, 0),
            Node::File { executable: true, size } => (0o100_755, size),
            Node::File { executable: false, size } => (0o100_644, size),
            Node::Symlink { target } => (0o120_777, target.len() as u64),
        };
        Self { name: member.name.to_vec(), mode, size, comment: member.comment().unwrap_or_default() }
    }

    /// Whether its content is deflated: that of every file which has any.
    pub(crate) fn is_deflated(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000 && self.size > 0
    }

    /// Whether its figures stand behind its content, for it is made piece by piece.
    pub(crate) fn is_streamed(&self) -> bool {
        self.is_deflated() && self.size > UNIT as u64
    }

    /// Bytes of its local header.
    pub(crate) fn local_len(&self) -> usize {
        LOCAL + self.name.len() + if self.is_large() { 20 } else { 0 }
    }

    /// Appends the local header. The figures of a streamed member do not stand here.
    pub(crate) fn write_local(&self, figures: &Figures, out: &mut Vec<u8>) {
        let (figures, size) = if self.is_streamed() { (Figures::default(), 0) } else { (*figures, self.size) };
        let sizes = if self.is_large() { [u32::MAX; 2] } else { [low(figures.packed), low(size)] };
        u32s(&[0x0403_4b50], out);
        u16s(&[if self.is_large() { NEEDED64 } else { NEEDED }], out);
        self.write_common(figures.crc, sizes, out);
        u16s(&[if self.is_large() { 20 } else { 0 }], out);
        out.extend_from_slice(&self.name);
        if self.is_large() {
            u16s(&[1, 16], out);
            u64s(&[0, 0], out);
        }
    }

    /// Appends the data descriptor of a streamed member.
    pub(crate) fn write_descriptor(&self, figures: &Figures, out: &mut Vec<u8>) {
        u32s(&[0x0807_4b50, figures.crc], out);
        if self.is_large() {
            u64s(&[figures.packed, self.size], out);
        } else {
            u32s(&[low(figures.packed), low(self.size)], out);
        }
    }

    /// Appends the central header of the member whose local header stands at `offset`.
    pub(crate) fn write_central(&self, figures: &Figures, offset: u64, out: &mut Vec<u8>) {
        let long: Vec<u64> = [self.size, figures.packed, offset].into_iter().filter(|&n| low(n) == u32::MAX).collect();
        let is_zip64 = self.is_large() || !long.is_empty();
        u32s(&[0x0201_4b50], out);
        u16s(&[MADE_BY, if is_zip64 { NEEDED64 } else { NEEDED }], out);
        self.write_common(figures.crc, [low(figures.packed), low(self.size)], out);
        let extra = if long.is_empty() { 0 } else { 4 + 8 * length(long.len()) };
        u16s(&[extra, length(self.comment.len()), 0, 0], out);
        let dos = if self.mode & 0o170_000 == 0o040_000 { DOS_DIRECTORY } else { 0 };
        u32s(&[u32::from(self.mode) << 16 | dos, low(offset)], out);
        out.extend_from_slice(&self.name);
        if !long.is_empty() {
            u16s(&[1, extra - 4], out);
            u64s(&long, out);
        }
        out.extend_from_slice(&self.comment);
    }

    /// From the flags to the length of the name: the same in both headers.
    fn write_common(&self, crc: u32, [packed, size]: [u32; 2], out: &mut Vec<u8>) {
        let utf8 = if !self.name.is_ascii() && std::str::from_utf8(&self.name).is_ok() { UTF8 } else { 0 };
        let streamed = if self.is_streamed() { STREAMED } else { 0 };
        let method = if self.is_deflated() { 8 } else { 0 };
        u16s(&[utf8 | streamed, method, 0, DATE], out);
        u32s(&[crc, packed, size], out);
        u16s(&[length(self.name.len())], out);
    }

    fn is_large(&self) -> bool {
        self.size >= LARGE
    }
}

/// Appends what ends a zip whose central directory has so many entries and bytes, and starts at
/// `start`.
pub(crate) fn write_end(entries: u64, bytes: u64, start: u64, out: &mut Vec<u8>) {
    let count = u16::try_from(entries).unwrap_or(u16::MAX);
    if count == u16::MAX || low(bytes) == u32::MAX || low(start) == u32::MAX {
        u32s(&[0x0606_4b50], out);
        u64s(&[44], out);
        u16s(&[MADE_BY, NEEDED64], out);
        u32s(&[0, 0], out);
        u64s(&[entries, entries, bytes, start], out);
        u32s(&[0x0706_4b50, 0], out);
        u64s(&[start + bytes], out);
        u32s(&[1], out);
    }
    u32s(&[0x0605_4b50], out);
    u16s(&[0, 0, count, count], out);
    u32s(&[low(bytes), low(start)], out);
    u16s(&[0], out);
}

/// All ones where it does not fit: it stands in a zip64 field then.
fn low(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Names are bounded by the longest path, comments by a raw mode.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("because names and comments are bounded")
}

fn u16s(numbers: &[u16], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn u32s(numbers: &[u32], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn u64s(numbers: &[u64], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Sha1Git;

    fn entry(name: &[u8], node: Node<'_>, raw_mode: &[u8]) -> Entry {
        Entry::new(&Member { name, node, raw_mode, id: &Sha1Git::NULL })
    }

    fn file(size: u64) -> Entry {
        entry(b"source/a", Node::File { executable: false, size }, b"100644")
    }

    fn local(entry: &Entry, figures: Figures) -> Vec<u8> {
        let mut out = Vec::new();
        entry.write_local(&figures, &mut out);
        assert_eq!(out.len(), entry.local_len());
        out
    }

    fn central(entry: &Entry, figures: Figures, offset: u64) -> Vec<u8> {
        let mut out = Vec::new();
        entry.write_central(&figures, offset, &mut out);
        out
    }

    #[test]
    fn a_small_file_has_its_figures_in_front_and_a_large_one_behind() {
        let figures = Figures { crc: 0x0403_0201, packed: 5 };
        let small = local(&file(1 << 20), figures);
        assert_eq!(small[..14], *b"PK\x03\x04\x14\0\0\0\x08\0\0\0\x41\0");
        assert_eq!(small[14..26], [1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 16, 0]);
        assert_eq!(small[26..], *b"\x08\0\0\0source/a");
        let large = local(&file((1 << 20) + 1), figures);
        assert_eq!((large[6], &large[14..26]), (8, &[0; 12][..]));
        let mut descriptor = Vec::new();
        file((1 << 20) + 1).write_descriptor(&figures, &mut descriptor);
        assert_eq!(descriptor, *b"PK\x07\x08\x01\x02\x03\x04\x05\0\0\0\x01\0\x10\0");
    }

    #[test]
    fn from_a_fixed_size_on_a_member_is_zip64_whatever_it_deflates_to() {
        let figures = Figures { crc: 1, packed: 2 };
        for (size, extra) in [(LARGE - 1, 0), (LARGE, 20), (1 << 40, 20)] {
            let header = local(&file(size), figures);
            assert_eq!(header.len(), LOCAL + 8 + extra, "{size}");
            assert_eq!(header[4], if extra > 0 { 45 } else { 20 });
            let mut descriptor = Vec::new();
            file(size).write_descriptor(&figures, &mut descriptor);
            assert_eq!(descriptor.len(), if extra > 0 { 24 } else { 16 });
        }
        let worst = (LARGE - 1).div_ceil(UNIT as u64) * super::super::deflate::bound(UNIT) as u64;
        assert!(worst < u64::from(u32::MAX));
    }

    #[test]
    fn the_directory_has_in_64_bits_what_does_not_fit_in_32_and_nothing_else() {
        let most = u64::from(u32::MAX);
        for (size, packed, offset, fields) in [
            (most - 1, 7, most - 1, &[][..]),
            (most, 7, 0, &[most]),
            (3, 2, most, &[most]),
            (1 << 40, 1 << 39, 5, &[1 << 40, 1 << 39]),
            (1 << 40, 1 << 39, 1 << 50, &[1 << 40, 1 << 39, 1 << 50]),
        ] {
            let header = central(&file(size), Figures { crc: 1, packed }, offset);
            let expected: Vec<u8> = fields.iter().flat_map(|field: &u64| field.to_le_bytes()).collect();
            let extra = &header[CENTRAL + 8..];
            if fields.is_empty() {
                assert!(extra.is_empty(), "{size} {packed} {offset}");
            } else {
                assert_eq!(extra, [&[1, 0, u8::try_from(expected.len()).unwrap(), 0][..], &expected].concat());
            }
        }
    }

    #[test]
    fn names_and_modes_are_said_as_unix_says_them() {
        let flags = |name: &[u8]| local(&entry(name, Node::Directory, b"40000"), Figures::default())[7];
        assert_eq!([flags(b"source/a/"), flags("source/\u{e9}/".as_bytes()), flags(b"source/\xff/")], [0, 8, 0]);
        let mode = |entry: &Entry| central(entry, Figures::default(), 0)[38..42].to_vec();
        assert_eq!(mode(&entry(b"source/", Node::Directory, b"40000")), [0x10, 0, 0xed, 0x41]);
        assert_eq!(mode(&entry(b"source/l", Node::Symlink { target: b"t" }, b"120000")), [0, 0, 0xff, 0xa1]);
        assert_eq!(mode(&file(1)), [0, 0, 0xa4, 0x81]);
        let module = entry(b"source/m/", Node::Gitlink, b"160000");
        let expected = format!("git 160000 {}", Sha1Git::NULL);
        assert!(central(&module, Figures::default(), 0).ends_with(expected.as_bytes()));
    }

    #[test]
    fn the_end_is_zip64_only_where_it_must_be() {
        let most = u64::from(u32::MAX);
        for (entries, bytes, start, long) in [
            (65_534, 10, 10, false),
            (65_535, 10, 10, true),
            (1, most - 1, most - 1, false),
            (1, most, 10, true),
            (1, 10, most, true),
        ] {
            let mut out = Vec::new();
            write_end(entries, bytes, start, &mut out);
            assert_eq!(out.len(), END + if long { END64 } else { 0 }, "{entries} {bytes} {start}");
            if long {
                assert_eq!(out[24..32], entries.to_le_bytes());
                assert_eq!(out[48..56], start.to_le_bytes());
                assert_eq!(out[64..72], (start + bytes).to_le_bytes());
            }
        }
    }
}
