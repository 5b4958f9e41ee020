//! A bundle says itself what it holds.

use super::memory::Memory;
use super::trees::{any_root, everything};
use super::{FLAT, bundle, tar_of, verified};
use larder::archive::object;
use larder::archive::{Archive, ObjectType};
use larder::cook::{Control, Root, raw};
use larder::key::{Format, Sha1Git};
use larder::verify::{self, VerifyError, flat_tar, flat_tar_gz, flat_tar_zst};
use proptest::prelude::*;

#[test]
fn everything_verifies_as_itself() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    for format in FLAT {
        let (bytes, _) = bundle(&archive, Root::Directory(root), format, 2).unwrap();
        assert_eq!(verified(format, &bytes).unwrap(), root, "{format}");
    }
}

#[test]
fn a_bundle_cut_anywhere_or_with_something_behind_it_is_refused() {
    let mut archive = Memory::default();
    let file = archive.blob(b"content");
    let root = archive.tree(vec![("100664", b"file".to_vec(), file)]);
    let tar = tar_of(&archive, Root::Directory(root));
    let (gz, _) = bundle(&archive, Root::Directory(root), Format::TarGz, 2).unwrap();
    for length in 0..tar.len() {
        assert!(flat_tar(&tar[..length]).is_err(), "{length}");
    }
    for length in 0..gz.len() {
        assert!(matches!(flat_tar_gz(&gz[..length]), Err(VerifyError::Gzip(_))), "{length}");
    }
    assert!(flat_tar(&[&tar[..], b"\0"].concat()[..]).is_err());
    assert!(matches!(flat_tar_gz(&[&gz[..], b"\0"].concat()[..]), Err(VerifyError::Gzip(_))));
    assert!(matches!(flat_tar_gz(&[&gz[..], &gz[..]].concat()[..]), Err(VerifyError::Gzip(_))));
    assert!(flat_tar_gz(&tar[..]).is_err());
    for format in [Format::TarZst, Format::Zip] {
        let (bytes, _) = bundle(&archive, Root::Directory(root), format, 2).unwrap();
        for length in 0..bytes.len() {
            assert!(verified(format, &bytes[..length]).is_err(), "{format} {length}");
        }
        for more in [&b"\0"[..], &bytes, b"\x50\x2a\x4d\x18\0\0\0\0"] {
            assert!(verified(format, &[&bytes[..], more].concat()).is_err(), "{format}");
            assert!(verified(format, &[more, &bytes[..]].concat()).is_err(), "{format}");
        }
    }
}

#[test]
fn every_bit_of_a_small_tar_and_of_its_gzip_frame_counts() {
    let mut archive = Memory::default();
    let file = archive.blob(b"content");
    let inner = archive.tree(vec![("100755", b"run".to_vec(), file), ("160000", b"sub".to_vec(), file)]);
    let root = archive.tree(vec![("40000", b"d".to_vec(), inner), ("100664", b"file".to_vec(), file)]);
    let mut tar = tar_of(&archive, Root::Directory(root));
    for at in 0..tar.len() {
        for bit in [1, 0x20, 0x80] {
            tar[at] ^= bit;
            assert_ne!(flat_tar(&tar[..]).ok(), Some(root), "byte {at}");
            tar[at] ^= bit;
        }
    }
    let (mut gz, _) = bundle(&archive, Root::Directory(root), Format::TarGz, 2).unwrap();
    let frame: Vec<usize> = (0..10).chain(gz.len() - 8..gz.len()).collect();
    for at in frame {
        gz[at] ^= 1;
        assert!(matches!(flat_tar_gz(&gz[..]), Err(VerifyError::Gzip(_))), "byte {at}");
        gz[at] ^= 1;
    }
}

#[test]
fn every_byte_of_a_small_bundle_counts_in_every_format() {
    let mut archive = Memory::default();
    let (text, zeros) = (archive.blob(&b"some text, some more text\n".repeat(9)), archive.blob(&[0; 3000]));
    let inner = archive.tree(vec![("100755", b"run".to_vec(), text), ("160000", b"sub".to_vec(), text)]);
    let link = archive.blob(b"target");
    let root = archive.tree(vec![
        ("40000", b"d".to_vec(), inner),
        ("100664", b"file".to_vec(), zeros),
        ("120000", b"link".to_vec(), link),
    ]);
    for format in FLAT {
        let (mut bytes, _) = bundle(&archive, Root::Directory(root), format, 1).unwrap();
        for at in 0..bytes.len() {
            for by in [1, 0x10, 0x80, 0xff] {
                bytes[at] ^= by;
                assert_ne!(verified(format, &bytes).ok(), Some(root), "{format}, byte {at} by {by:#x}");
                bytes[at] ^= by;
            }
        }
    }
}

#[test]
fn what_another_encoder_made_is_read_and_refused_as_such() {
    let mut archive = Memory::default();
    let file = archive.blob(&b"some text, some more text\n".repeat(99));
    let root = archive.tree(vec![("100644", b"file".to_vec(), file)]);
    let tar = tar_of(&archive, Root::Directory(root));
    let zst = zstd::encode_all(&tar[..], 1).unwrap();
    assert!(matches!(flat_tar_zst(&zst[..]), Err(VerifyError::Encoding)));
    let (gz, _) = bundle(&archive, Root::Directory(root), Format::TarGz, 1).unwrap();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &tar).unwrap();
    let other = [&gz[..10], &encoder.finish().unwrap(), &gz[gz.len() - 8..]].concat();
    assert!(matches!(flat_tar_gz(&other[..]), Err(VerifyError::Encoding)));
}

#[test]
fn bombs_end_where_larder_would_have_ended() {
    // Empty stored blocks without end, and skippable frames.
    let mut gz = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    gz.extend([0, 0, 0, 0xff, 0xff].repeat(2 << 20));
    assert!(flat_tar_gz(&gz[..]).is_err());
    assert!(matches!(flat_tar_zst(&b"\x50\x2a\x4d\x18\0\0\0\0".repeat(1 << 20)[..]), Err(VerifyError::Encoding)));
    // A frame that asks for a window of 2 GiB.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
    assert!(matches!(flat_tar_zst(&wide[..]), Err(VerifyError::Zstd(_))));
    let zeros = zstd::encode_all(std::io::Read::take(std::io::repeat(0), 64 << 20), 1).unwrap();
    assert!(flat_tar_zst(&zeros[..]).is_err());
}

#[test]
fn a_content_is_its_bytes() {
    let mut archive = Memory::default();
    for content in [&b""[..], b"hello\n", &vec![7; 3 << 20]] {
        let id = archive.blob(content);
        let mut out = Vec::new();
        let cooked = raw(&archive, &id, 4 << 20, &Control::default(), &mut out).unwrap();
        assert!(out == content && cooked.tar_size == content.len() as u64);
        assert_eq!(verify::raw(&out[..], out.len() as u64).unwrap(), id);
        assert!(verify::raw(&out[..], out.len() as u64 + 1).is_err());
        if !content.is_empty() {
            assert!(verify::raw(&out[..], out.len() as u64 - 1).is_err());
            out[0] ^= 1;
            assert_ne!(verify::raw(&out[..], out.len() as u64).unwrap(), id);
        }
    }
}

#[test]
fn a_content_that_is_not_itself_is_refused() {
    let mut archive = Memory::default();
    let small = archive.blob(b"hello\n");
    let tree = archive.tree(vec![]);
    let cook = |archive: &dyn Archive, id: &Sha1Git, max_size| {
        raw(archive, id, max_size, &Control::default(), &mut std::io::sink())
            .map_err(|error| error.failure().unwrap().code.to_string())
    };
    assert_eq!(cook(&archive, &small, 5).unwrap_err(), "too-large");
    assert_eq!(cook(&archive, &tree, 5).unwrap_err(), "corrupt-object");
    assert_eq!(cook(&archive, &object::hash(ObjectType::Blob, b"no").unwrap(), 5).unwrap_err(), "missing-object");
    for said in [3, 5, 1 << 40] {
        let lying = archive.lying(said, b"lies");
        assert_eq!(cook(&archive, &lying, u64::MAX).unwrap_err(), "corrupt-object", "{said}");
    }
    archive.corrupt(&small);
    assert_eq!(cook(&archive, &small, 6).unwrap_err(), "corrupt-object");
}

/// Members of a tar, moved about by hand, each whole blocks.
#[test]
fn members_out_of_order_or_place_are_refused() {
    let mut archive = Memory::default();
    let empty = archive.tree(vec![]);
    let link = archive.blob(b"t");
    let root = archive.tree(vec![
        ("120000", b"a".to_vec(), link),
        ("40000", b"b".to_vec(), empty),
        ("120000", b"c".to_vec(), link),
    ]);
    let tar = tar_of(&archive, Root::Directory(root));
    let blocks: Vec<&[u8]> = tar.chunks(512).collect();
    let order = |picked: &[usize]| flat_tar(&picked.iter().flat_map(|&n| blocks[n]).copied().collect::<Vec<u8>>()[..]);
    assert_eq!(order(&[0, 1, 2, 3, 4, 5]).unwrap(), root);
    for wrong in [&[0, 2, 1, 3, 4, 5][..], &[1, 2, 3, 4, 5], &[0, 0, 4, 5], &[0, 1, 1, 4, 5], &[0, 1, 4], &[4, 5], &[0]]
    {
        assert!(order(wrong).is_err(), "{wrong:?}");
    }
    let fewer = order(&[0, 1, 3, 4, 5]).unwrap();
    assert_ne!(fewer, root);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn every_tree_verifies_and_a_changed_byte_shows(plan in any_root(), at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut archive = Memory::default();
        let (_, root) = plan.put(&mut archive);
        for format in FLAT {
            let (mut bytes, _) = bundle(&archive, Root::Directory(root), format, 2).unwrap();
            prop_assert_eq!(verified(format, &bytes).unwrap(), root);
            let at = at.index(bytes.len());
            bytes[at] ^= by;
            prop_assert_ne!(verified(format, &bytes).ok(), Some(root), "{}, byte {}", format, at);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..3000), header in any::<bool>()) {
        for format in FLAT {
            let _ = verified(format, &bytes);
        }
        if header {
            bytes.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        }
        prop_assert!(flat_tar_gz(&bytes[..]).is_err());
        prop_assert_ne!(flat_tar(&bytes[..]).ok(), Some(Sha1Git::NULL));
    }
}
