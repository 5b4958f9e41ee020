//! A bundle says itself what it holds.

use crate::memory::Memory;
use crate::trees::{any_root, everything};
use crate::{bundle, tar_of};
use larder::cook::Root;
use larder::key::{Format, Sha1Git};
use larder::verify::{VerifyError, flat_tar, flat_tar_gz};
use proptest::prelude::*;

#[test]
fn everything_verifies_as_itself() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    assert_eq!(flat_tar(&tar_of(&archive, Root::Directory(root))[..]).unwrap(), root);
    let (gz, _) = bundle(&archive, Root::Directory(root), Format::TarGz, 2).unwrap();
    assert_eq!(flat_tar_gz(&gz[..]).unwrap(), root);
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
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_tree_verifies_and_a_changed_byte_shows(plan in any_root(), at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut archive = Memory::default();
        let (_, root) = plan.put(&mut archive);
        let mut tar = tar_of(&archive, Root::Directory(root));
        prop_assert_eq!(flat_tar(&tar[..]).unwrap(), root);
        let at = at.index(tar.len());
        tar[at] ^= by;
        prop_assert_ne!(flat_tar(&tar[..]).ok(), Some(root));
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..3000), header in any::<bool>()) {
        let _ = flat_tar(&bytes[..]);
        if header {
            bytes.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        }
        prop_assert!(flat_tar_gz(&bytes[..]).is_err());
        prop_assert_ne!(flat_tar(&bytes[..]).ok(), Some(Sha1Git::NULL));
    }
}
