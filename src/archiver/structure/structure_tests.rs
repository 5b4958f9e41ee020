//! Archives whole, cut, damaged and hostile, made here byte by byte.

use super::*;
use proptest::prelude::*;
use std::io::Write;

/// A tar of these members: (name, kind, content).
fn tar(members: &[(&str, u8, &[u8])]) -> Vec<u8> {
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
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn plain() -> Vec<u8> {
    tar(&[("t/", b'5', b""), ("t/a", b'0', b"hello\n"), ("t/d/b", b'0', &[9; 2000])])
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn bz2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
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
    let members = match packing {
        Packing::Zip => read_zip(bytes, bytes.len() as u64, 1 << 20, &mut ())?,
        packing => read_tar(packing, bytes, 1 << 20, &mut ())?,
    };
    Ok(members.tree(|_, _| {}).map_or_else(|reason| reason, |directory| directory.id.to_string()))
}

#[test]
fn one_tree_is_one_id_however_it_is_packed() {
    let expected = id(Packing::Tar, &plain()).unwrap();
    assert_eq!(expected.len(), 40, "{expected}");
    assert_eq!(id(Packing::TarGz, &gz(&plain())).unwrap(), expected);
    assert_eq!(id(Packing::TarBz2, &bz2(&plain())).unwrap(), expected);
    let zipped = zip(&[("t/d/b", &[9; 2000]), ("t/a", b"hello\n")]);
    assert_eq!(id(Packing::Zip, &zipped).unwrap(), expected);
}

#[test]
fn no_part_of_an_archive_is_one() {
    let zipped = zip(&[("t/a", b"hello\n")]);
    let cases = [
        (Packing::Tar, plain()),
        (Packing::TarGz, gz(&plain())),
        (Packing::TarBz2, bz2(&plain())),
        (Packing::Zip, zipped),
    ];
    for (packing, whole) in cases {
        for end in 0..whole.len() {
            // The last zeros of a tar may be fewer or more; two blocks there must be.
            assert!(id(packing, &whole[..end]).is_err(), "{packing:?} {end} of {}", whole.len());
        }
        assert!(id(packing, &[&whole[..], b"x"].concat()).is_err(), "{packing:?} with something behind it");
        assert!(id(packing, b"<!DOCTYPE html><title>Sign in</title>").is_err());
    }
}

#[test]
fn no_damage_to_a_packed_archive_goes_unseen() {
    for (packing, whole) in [(Packing::TarGz, gz(&plain())), (Packing::TarBz2, bz2(&plain()))] {
        let expected = id(packing, &whole).unwrap();
        for at in 10..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            // Bits of padding may be anything.
            assert!(id(packing, &damaged).is_ok_and(|id| id == expected) || id(packing, &damaged).is_err(), "{at}");
        }
    }
}

#[test]
fn a_bomb_ends_where_it_may_not_grow() {
    let bomb = gz(&tar(&[("t/zeros", b'0', &vec![0; 2 << 20])]));
    assert!(bomb.len() < 50_000);
    assert!(matches!(id(Packing::TarGz, &bomb), Err(StructureError::TooLarge(_))));
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
        for packing in [Packing::Tar, Packing::TarGz, Packing::TarBz2, Packing::Zip] {
            let _ = id(packing, &bytes);
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
