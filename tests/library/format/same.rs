//! One order, one stream of bytes.

use super::memory::Memory;
use super::trees::{any_root, everything};
use super::{FLAT, bundle, sha256, tar_of};
use flate2::read::{GzDecoder, MultiGzDecoder};
use larder::cook::Root;
use larder::key::{Format, Sha1Git};
use larder::verify::flat_tar_gz;
use proptest::prelude::*;
use std::io::Read;

#[test]
fn one_two_and_eight_threads_give_the_same_bytes() {
    let mut archive = Memory::default();
    let mut plan = everything();
    let super::trees::Plan::Folder(_, children) = &mut plan else { panic!("it is a folder") };
    children.retain(|(name, _)| name != b"many");
    let (_, small) = plan.put(&mut archive);
    let large = archive.noise(40 << 20);
    let odd = archive.noise((17 << 20) + 5);
    let root = archive.tree(vec![
        ("40000", b"small".to_vec(), small),
        ("100644", b"large".to_vec(), large),
        ("100644", b"odd".to_vec(), odd),
        ("40000", b"zzz".to_vec(), small),
    ]);
    for format in FLAT {
        let first = bundle(&archive, Root::Directory(root), format, 1).unwrap();
        for threads in [2, 8] {
            let other = bundle(&archive, Root::Directory(root), format, threads).unwrap();
            assert_eq!(first.1, other.1);
            assert!(first.0 == other.0, "{format} differs with {threads} threads");
        }
    }
}

#[test]
fn the_gzip_is_one_member_around_the_same_tar() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    let tar = tar_of(&archive, Root::Directory(root));
    let (gz, cooked) = bundle(&archive, Root::Directory(root), Format::TarGz, 2).unwrap();
    assert_eq!(cooked.tar_size, tar.len() as u64);
    assert_eq!(gz[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let (mut first, mut all) = (Vec::new(), Vec::new());
    GzDecoder::new(&gz[..]).read_to_end(&mut first).unwrap();
    MultiGzDecoder::new(&gz[..]).read_to_end(&mut all).unwrap();
    assert!(first == tar && all == tar);
}

#[test]
fn the_bytes_are_those_they_always_were() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    let digest = |format| sha256(&bundle(&archive, Root::Directory(root), format, 2).unwrap().0);
    assert_eq!(digest(Format::Tar), "817480c7b3e73a6bc1ac25e2ee1bed5f8f316f1c8e5d454214cf12a6b1ab5c62");
    assert_eq!(digest(Format::TarGz), "7aa8e4120b4e607223b5050cf4ef539e4132702ab865f4530798e2b1c5cd6db9");
}

#[test]
fn a_segment_without_an_end_is_cooked_in_pieces() {
    let mut archive = Memory::default();
    let commit = Sha1Git::from_bytes([9; 20]);
    let root = archive.tree((0..30_000).map(|n| ("160000", format!("{n:06}").into_bytes(), commit)).collect());
    let (gz, cooked) = bundle(&archive, Root::Directory(root), Format::TarGz, 2).unwrap();
    assert_eq!((cooked.members, cooked.tar_size), (30_001, 512 + 30_000 * 1536 + 1024));
    assert_eq!(flat_tar_gz(&gz[..]).unwrap(), root);
}

#[test]
fn the_empty_directory_and_the_release_of_a_file_are_bundles_too() {
    let mut archive = Memory::default();
    let empty = archive.tree(vec![]);
    let (tar, cooked) = bundle(&archive, Root::Directory(empty), Format::Tar, 1).unwrap();
    assert_eq!((tar.len(), cooked.members), (1536, 1));
    let file = archive.blob(b"alone");
    let around = archive.tree(vec![("100644", file.to_string().into_bytes(), file)]);
    assert_eq!(tar_of(&archive, Root::File(file)), tar_of(&archive, Root::Directory(around)));
}

#[test]
fn the_frames_are_the_same_tar() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    let (frames, cooked) = bundle(&archive, Root::Directory(root), Format::TarZst, 2).unwrap();
    let tar = zstd::decode_all(&frames[..]).unwrap();
    assert!(tar == tar_of(&archive, Root::Directory(root)));
    assert_eq!(cooked.tar_size, tar.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn threads_never_matter(plan in any_root()) {
        let mut archive = Memory::default();
        let (_, root) = plan.put(&mut archive);
        for format in [Format::TarGz, Format::TarZst, Format::Zip] {
            let one = bundle(&archive, Root::Directory(root), format, 1).unwrap();
            let three = bundle(&archive, Root::Directory(root), format, 3).unwrap();
            prop_assert!(one == three, "{format}");
        }
    }
}
