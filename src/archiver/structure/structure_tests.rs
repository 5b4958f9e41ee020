//! Archives whole, cut, damaged and hostile, made here byte by byte.

use super::packers::{gz, lz, pack, xz, zst};
use super::*;
use crate::archiver::tree::Top;
use proptest::prelude::*;
use std::io::Write;

const TARS: [Packing; 6] =
    [Packing::Tar, Packing::TarGz, Packing::TarBz2, Packing::TarXz, Packing::TarZst, Packing::TarLz];

/// A tar of these members: (name, kind, content), without the blocks that mark its end.
fn endless(members: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for &(name, kind, content) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar
}

fn tar(members: &[(&str, u8, &[u8])]) -> Vec<u8> {
    [endless(members), vec![0; 1024]].concat()
}

const PLAIN: [(&str, u8, &[u8]); 3] = [("t/", b'5', b""), ("t/a", b'0', b"hello\n"), ("t/d/b", b'0', &[9; 2000])];

fn plain() -> Vec<u8> {
    tar(&PLAIN)
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
    for (name, content) in members {
        let (mut entry, config) =
            archive.new_file(*name).compression_method(rawzip::CompressionMethod::DEFLATE).start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
        let mut writer = config.wrap(encoder);
        writer.write_all(content).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    out
}

fn id(packing: Packing, bytes: &[u8]) -> Result<String, StructureError> {
    let mut members = match packing {
        Packing::Zip => read_zip(bytes, bytes.len() as u64, 1 << 20, &mut ())?,
        packing => read_tar(packing, bytes, 1 << 20, &mut ())?,
    };
    Ok(members.tree(Top::Auto, |_, _| {}).map_or_else(|reason| reason, |directory| directory.id.to_string()))
}

/// The kind of what is wrong, and the words.
fn wrong(packing: Packing, bytes: &[u8]) -> (&'static str, String) {
    let error = id(packing, bytes).expect_err("it is taken for an archive");
    let kind = match &error {
        StructureError::Empty => "empty",
        StructureError::Malformed(_) => "malformed",
        StructureError::Damaged(_) => "damaged",
        StructureError::CutShort => "cut short",
        StructureError::TooLarge(_) => "too large",
        StructureError::NeedsMemory(_) => "needs memory",
        StructureError::Read(_) => "unread",
    };
    (kind, error.to_string())
}

#[test]
fn one_tree_is_one_id_however_it_is_packed() {
    let expected = id(Packing::Tar, &plain()).unwrap();
    assert_eq!(expected.len(), 40, "{expected}");
    for packing in TARS {
        assert_eq!(id(packing, &pack(packing, &plain())).unwrap(), expected, "{packing:?}");
    }
    let zipped = zip(&[("t/d/b", &[9; 2000]), ("t/a", b"hello\n")]);
    assert_eq!(id(Packing::Zip, &zipped).unwrap(), expected);
}

#[test]
fn what_lzip_itself_made_is_read() {
    // Of a tar of `p/a`, "hello\n", without blocks at its end, by lzip 1.23.
    const BY_LZIP: &str = include_str!("by_lzip.hex");
    let digits: Vec<u8> = BY_LZIP.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> =
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect();
    let expected = id(Packing::Tar, &tar(&[("p/a", b'0', b"hello\n")])).unwrap();
    assert_eq!(id(Packing::TarLz, &bytes).unwrap(), expected);
}

#[test]
fn no_part_of_an_archive_is_one_and_each_says_that_it_is_cut_short() {
    let mut wholes = TARS.map(|packing| (packing, pack(packing, &plain()))).to_vec();
    wholes.push((Packing::Zip, zip(&[("t/a", b"hello\n")])));
    for (packing, whole) in wholes {
        assert_eq!(wrong(packing, b"").0, "empty");
        for end in 1..whole.len() {
            let (kind, words) = wrong(packing, &whole[..end]);
            // The name alone could be anything.
            let expected = if packing == Packing::Tar && end < 108 { "malformed" } else { "cut short" };
            assert_eq!(kind, expected, "{packing:?} {end} of {}: {words}", whole.len());
        }
        let (kind, words) = wrong(packing, &[&whole[..], b"x"].concat());
        assert!(kind == "malformed" && words.contains("follows"), "{packing:?}: {words}");
    }
}

#[test]
fn what_is_no_archive_is_called_what_it_is() {
    let page: &[u8] = b"\n<!DOCTYPE html><title>Sign in</title>";
    for packing in TARS.into_iter().chain([Packing::Zip]) {
        for (bytes, word) in [
            (page, "HTML"),
            (&page.repeat(100), "HTML"),
            (b"{\"error\": 404}", "JSON"),
            (b"junk", ""),
            (b"No archive of this was made, and here are more words than a header of a tar has.", ""),
            (&[7; 4000], ""),
        ] {
            let (kind, words) = wrong(packing, bytes);
            assert!(kind == "malformed" && words.contains(word), "{packing:?}: {words}");
        }
        for other in TARS.into_iter().filter(|other| *other != packing) {
            let (kind, words) = wrong(packing, &pack(other, &plain()));
            assert!(kind == "malformed" && words.starts_with("it is a"), "{packing:?} {other:?}: {words}");
        }
    }
    for packing in &TARS[1..] {
        // Twice packed, by one or by two.
        for inner in &TARS[1..] {
            let (kind, words) = wrong(*packing, &pack(*packing, &pack(*inner, &plain())));
            assert!(kind == "malformed" && words.contains("packed in it is a"), "{packing:?} {inner:?}: {words}");
        }
        for (inner, word) in [(&b""[..], "empty"), (page, "HTML"), (b"junk", "not a tar"), (&[7; 4000], "not a tar")] {
            let (kind, words) = wrong(*packing, &pack(*packing, inner));
            assert!(kind == "malformed" && words.contains(word), "{packing:?}: {words}");
        }
    }
}

#[test]
fn a_tar_may_lack_its_end_where_what_packs_it_is_whole() {
    let bare = endless(&PLAIN);
    let expected = id(Packing::Tar, &plain()).unwrap();
    // The last content has 2000 bytes: 48 of padding.
    let unpadded = &bare[..bare.len() - 48];
    let zeros = |n: usize| [&bare[..], &vec![0; n]].concat();
    for packing in &TARS[1..] {
        for tar in [unpadded, &bare, &zeros(100), &zeros(512), &zeros(1024), &zeros(1500), &zeros(10_240)] {
            assert_eq!(id(*packing, &pack(*packing, tar)).unwrap(), expected, "{packing:?} {}", tar.len());
        }
        // What is not whole in it is not, however whole that is.
        for cut in [&unpadded[..unpadded.len() - 1], &bare[..700]] {
            assert_eq!(wrong(*packing, &pack(*packing, cut)).0, "cut short", "{packing:?} {}", cut.len());
        }
        let (kind, words) = wrong(*packing, &pack(*packing, &[&zeros(512)[..], &bare].concat()));
        assert!(kind == "malformed" && words.contains("follows"), "{packing:?}: {words}");
    }
    // A tar alone has nothing else to tell that it is whole.
    for tar in [unpadded, &bare, &zeros(512), &zeros(1023)] {
        assert_eq!(wrong(Packing::Tar, tar).0, "cut short", "{}", tar.len());
    }
    assert_eq!(id(Packing::Tar, &zeros(10_240)).unwrap(), expected);
}

#[test]
fn zeros_and_further_members_may_follow_what_is_packed() {
    let expected = id(Packing::Tar, &plain()).unwrap();
    let tar = plain();
    for packing in TARS[1..].iter().copied() {
        let whole = pack(packing, &tar);
        for n in [1, 15, 16, 17, 512, 20_000] {
            let padded = [&whole[..], &vec![0; n]].concat();
            assert_eq!(id(packing, &padded).unwrap(), expected, "{packing:?} and {n} zeros");
            let (kind, words) = wrong(packing, &[&padded[..], b"x"].concat());
            assert!(kind == "malformed" && words.contains("follows"), "{packing:?}, {n} zeros and more: {words}");
        }
        for cut in [0, 1, 700, tar.len() - 1, tar.len()] {
            let two = [pack(packing, &tar[..cut]), pack(packing, &tar[cut..])];
            assert_eq!(id(packing, &two.concat()).unwrap(), expected, "{packing:?} in two at {cut}");
            let half = &two[1][..two[1].len() - 1];
            assert_eq!(wrong(packing, &[&two[0][..], half].concat()).0, "cut short", "{packing:?}: of two one is cut");
            let apart = [&two[0][..], &[0; 8], &two[1]].concat();
            assert_eq!(id(packing, &apart).is_ok(), packing == Packing::TarXz, "{packing:?}: zeros between");
        }
    }
    // What zstd's manual calls skippable, before and behind.
    let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zst(&tar)].concat();
    assert_eq!(id(Packing::TarZst, &skipped).unwrap(), expected);
}

#[test]
fn no_damage_to_a_packed_archive_goes_unseen() {
    for packing in TARS[1..].iter().copied() {
        let whole = pack(packing, &plain());
        let expected = id(packing, &whole).unwrap();
        let mut seen = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            match id(packing, &damaged) {
                // A header says when and where it was packed, and bits of padding may be anything.
                Ok(id) => assert_eq!(id, expected, "{packing:?} {at}"),
                Err(StructureError::Read(error)) => panic!("{packing:?} {at}: {error} is no fault of this machine's"),
                Err(StructureError::Damaged(_)) => seen += 1,
                Err(_) => {}
            }
        }
        assert!(seen > whole.len() / 4, "{packing:?}: {seen} of {} are called damaged", whole.len());
    }
    let mut zipped = zip(&[("t/a", &[b'y'; 400])]);
    let content = zipped.windows(2).position(|two| two == b"/a").unwrap() + 3;
    zipped[content] ^= 1;
    assert_eq!(wrong(Packing::Zip, &zipped).0, "damaged");
}

#[test]
fn what_a_damaged_tar_says_is_said_only_when_what_packs_it_is_whole() {
    let mut tar = plain();
    let third = tar.len() - 1024 - 2048 - 512;
    tar[third + 5] ^= 1;
    assert_eq!(wrong(Packing::Tar, &tar).0, "damaged");
    for packing in TARS[1..].iter().copied() {
        let whole = pack(packing, &tar);
        assert_eq!(wrong(packing, &whole).0, "malformed", "{packing:?}: it was packed so");
        assert_eq!(wrong(packing, &whole[..whole.len() - 1]).0, "cut short", "{packing:?}");
    }
    let mut whole = gz(&tar);
    let sum = whole.len() - 8;
    whole[sum] ^= 1;
    assert_eq!(wrong(Packing::TarGz, &whole).0, "damaged");
    // A check of an xz that nobody could make is no check.
    let mut unknown = xz(&plain());
    unknown[7] = 2;
    let sum = crc32fast::hash(&unknown[6..8]).to_le_bytes();
    unknown[8..12].copy_from_slice(&sum);
    assert_eq!(wrong(Packing::TarXz, &unknown).0, "malformed");
}

#[test]
fn no_decoder_takes_more_memory_than_is_given() {
    // A dictionary of 1.5 GiB in the header of the first block, and its checksum.
    let mut large = xz(&plain());
    assert_eq!(large[14..16], [0x21, 1], "LZMA2 with one byte of properties");
    large[16] = 37;
    let end = 12 + (usize::from(large[12]) + 1) * 4 - 4;
    let sum = crc32fast::hash(&large[12..end]).to_le_bytes();
    large[end..end + 4].copy_from_slice(&sum);
    assert_eq!(wrong(Packing::TarXz, &large).0, "needs memory");
    let mut large = lz(&plain());
    large[5] = 29;
    assert_eq!(wrong(Packing::TarLz, &large).0, "needs memory");
    let mut large = zst(&plain());
    assert_eq!(large[4] & 0x20, 0, "it has a window of its own");
    for (log, fits) in [(27, true), (28, false), (31, false)] {
        large[5] = (log - 10) << 3;
        match id(Packing::TarZst, &large) {
            Ok(_) => assert!(fits, "{log}"),
            Err(error) => assert!(!fits && matches!(error, StructureError::NeedsMemory(_)), "{log}: {error}"),
        }
    }
}

#[test]
fn a_bomb_ends_where_it_may_not_grow() {
    for packing in &TARS[1..] {
        let bomb = pack(*packing, &tar(&[("t/zeros", b'0', &vec![0; 2 << 20])]));
        assert!(bomb.len() < 50_000);
        assert_eq!(wrong(*packing, &bomb).0, "too large");
    }
    let zeros = vec![0; 700 << 10];
    let bomb = zip(&[("t/a", &zeros), ("t/b", &zeros)]);
    assert!(matches!(id(Packing::Zip, &bomb), Err(StructureError::TooLarge(_))));
    let mut header = tar(&[("x", b'x', b"")]);
    header[124..136].copy_from_slice(b"77777777777\0");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert!(matches!(id(Packing::Tar, &header), Err(StructureError::Malformed(_))), "a pax header is held in memory");
}

#[test]
fn hostile_members_are_an_archive_without_a_tree() {
    let cases: [(&str, u8, &str); 6] = [
        ("t/../../etc/passwd", b'0', "elsewhere"),
        ("/etc/passwd", b'0', "absolute"),
        ("t/null", b'3', "device"),
        ("t/disk", b'4', "device"),
        ("t/pipe", b'6', "pipes"),
        ("t/link", b'1', "hard links"),
    ];
    for (name, kind, word) in cases {
        let reason = id(Packing::Tar, &tar(&[("t/a", b'0', b"x"), (name, kind, b"")])).unwrap();
        assert!(reason.contains(word), "{name}: {reason}");
    }
    let twice = id(Packing::Tar, &tar(&[("t/a", b'0', b"x"), ("t/a", b'0', b"y")])).unwrap();
    assert!(twice.contains("same name"), "{twice}");
}

#[test]
fn long_names_of_pax_and_of_gnu_are_read() {
    let long = format!("t/{}", "d/".repeat(80) + "f");
    let record = |text: String| {
        let length = text.len() + 4;
        format!("{length} {text}")
    };
    let pax = tar(&[("x", b'x', record(format!("path={long}\n")).as_bytes()), ("short", b'0', b"1")]);
    let gnu = tar(&[("././@LongLink", b'L', format!("{long}\0").as_bytes()), ("short", b'0', b"1")]);
    let id_of_pax = id(Packing::Tar, &pax).unwrap();
    assert_eq!((id_of_pax.len(), id(Packing::Tar, &gnu).unwrap()), (40, id_of_pax));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        for packing in TARS.into_iter().chain([Packing::Zip]) {
            let _ = id(packing, &bytes);
        }
    }

    #[test]
    fn nothing_behind_a_true_beginning_makes_a_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 4_usize..60,
    ) {
        for packing in TARS {
            let whole = pack(packing, &plain());
            let _ = id(packing, &[&whole[..cut.min(whole.len())], &bytes].concat());
        }
    }

    #[test]
    fn no_damaged_header_makes_a_reader_panic(at in 0_usize..512, byte in any::<u8>()) {
        let mut damaged = plain();
        damaged[at] = byte;
        damaged[148..156].copy_from_slice(b"        ");
        let sum: u32 = damaged[..512].iter().map(|&byte| u32::from(byte)).sum();
        damaged[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let _ = id(Packing::Tar, &damaged);
    }
}
