//! What is not cooked, and how it is said; and that a cook which ends early ends at once.

use super::memory::{Entry, Memory};
use super::{FLAT, bundle};
use larder::archive::{Archive, ObjectType};
use larder::bundle::FailureCode;
use larder::cook::{Control, CookError, Order, Reason, Root, cook, root};
use larder::key::{Flat, Format, ObjectKind, Sha1Git};
use std::io;

fn refusal(archive: &Memory, root: Sha1Git) -> String {
    let refusals = FLAT.map(|format| {
        let error = bundle(archive, Root::Directory(root), format, 2).unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!(failure.code, FailureCode::HostileTree, "{format}: {error}");
        failure.message
    });
    assert!(refusals.iter().all(|message| *message == refusals[0]), "{refusals:?}");
    refusals[0].clone()
}

fn cook_within(archive: &dyn Archive, root: Sha1Git, max_size: u64) -> Result<u64, CookError> {
    let control = Control::default();
    let (root, scratch) = (Root::Directory(root), &std::env::temp_dir());
    let order = Order {
        archive,
        root,
        format: Flat::TarGz,
        threads: 2,
        max_size,
        scratch,
        control: &control,
        segments: None,
        remembered: None,
    };
    cook(&order, &mut io::sink()).map(|cooked| cooked.tar_size)
}

#[test]
fn hostile_trees_are_refused_with_the_directory_and_the_reason() {
    let mut archive = Memory::default();
    let blob = archive.blob(b"x");
    let entry = |mode: &'static str, name: &[u8], id: Sha1Git| -> Entry { (mode, name.to_vec(), id) };
    let cases = [
        vec![entry("100644", b"..", blob)],
        vec![entry("100644", b"a/b", blob)],
        vec![entry("100644", b"", blob)],
        vec![entry("100644", b".GiT", blob)],
        vec![entry("100644", b"b", blob), entry("100644", b"a", blob)],
        vec![entry("100644", b"a", blob), entry("100644", b"a", blob)],
        vec![entry("100644", b"a", Sha1Git::NULL)],
        vec![entry("140000", b"a", blob)],
    ];
    for entries in cases {
        let bad = archive.raw_tree(&entries);
        let root = archive.tree(vec![entry("100644", b"first", blob), entry("40000", b"sub\n", bad)]);
        let message = refusal(&archive, root);
        assert!(message.starts_with(r#"directory "source/sub\n/": "#), "{message}");
    }
}

#[test]
fn symlinks_without_a_usable_target_are_refused() {
    let mut archive = Memory::default();
    for target in [vec![], b"a\0b".to_vec(), vec![b't'; 4096]] {
        let id = archive.blob(&target);
        let root = archive.tree(vec![("120000", b"link".to_vec(), id)]);
        let message = refusal(&archive, root);
        assert!(message.starts_with("directory \"source/\": a symlink's target"), "{message}");
    }
    let id = archive.blob(&[b't'; 4095]);
    let root = archive.tree(vec![("120000", b"link".to_vec(), id)]);
    assert!(bundle(&archive, Root::Directory(root), Format::Tar, 1).is_ok());
}

/// `depth` directories in each other under the root, named `name`.
fn nested(archive: &mut Memory, depth: usize, name: &[u8]) -> Sha1Git {
    let mut id = archive.tree(vec![]);
    for _ in 0..depth {
        id = archive.tree(vec![("40000", name.to_vec(), id)]);
    }
    id
}

#[test]
fn depth_and_path_are_bounded_exactly() {
    let mut archive = Memory::default();
    let deep = nested(&mut archive, 2048, b"a");
    assert!(bundle(&archive, Root::Directory(deep), Format::Tar, 2).is_ok());
    let deeper = nested(&mut archive, 2049, b"a");
    assert!(refusal(&archive, deeper).contains("4095 bytes"));

    let blob = archive.blob(b"x");
    for (last, legal) in [(4095 - 16 * 241, true), (4096 - 16 * 241, false)] {
        let mut id = archive.tree(vec![("100644", vec![b'f'; last], blob)]);
        for _ in 0..16 {
            id = archive.tree(vec![("40000", vec![b'd'; 240], id)]);
        }
        if legal {
            assert!(bundle(&archive, Root::Directory(id), Format::Tar, 2).is_ok());
        } else {
            assert!(refusal(&archive, id).contains("4095 bytes"));
        }
    }
}

#[test]
fn a_size_is_refused_from_the_headers_alone() {
    let mut archive = Memory::default();
    let huge = archive.lying(u64::MAX, b"small");
    let root = archive.tree(vec![("100644", b"huge".to_vec(), huge)]);
    let error = cook_within(&archive, root, u64::MAX).unwrap_err();
    assert_eq!(error.failure().unwrap().code, FailureCode::TooLarge);
    let small = archive.tree(vec![]);
    assert_eq!(cook_within(&archive, small, 1536).unwrap(), 1536);
    assert!(matches!(cook_within(&archive, small, 1535), Err(CookError::TooLarge { .. })));
}

#[test]
fn a_bomb_of_shared_trees_is_refused_without_being_walked() {
    let mut archive = Memory::default();
    let blob = archive.blob(b"boom");
    let mut id = archive.tree((0..100).map(|n| ("100644", format!("f{n:02}").into_bytes(), blob)).collect());
    for _ in 0..9 {
        id = archive.tree((0..10).map(|n| ("40000", format!("d{n}").into_bytes(), id)).collect());
    }
    let error = cook_within(&archive, id, 1 << 40).unwrap_err();
    assert_eq!(error.failure().unwrap().code, FailureCode::TooLarge);
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    let mut archive = Memory::default();
    let absent = Sha1Git::from_bytes([5; 20]);
    for mode in ["100644", "120000", "40000"] {
        let root = archive.tree(vec![(mode, b"x".to_vec(), absent)]);
        let error = bundle(&archive, Root::Directory(root), Format::Tar, 2).unwrap_err();
        assert!(matches!(error, CookError::Missing { id } if id == absent), "{mode}: {error}");
    }
    let (blob, tree) = (archive.blob(b"x"), archive.tree(vec![]));
    for (mode, other) in [("100644", tree), ("120000", tree), ("40000", blob)] {
        let root = archive.tree(vec![(mode, b"x".to_vec(), other)]);
        let error = bundle(&archive, Root::Directory(root), Format::Tar, 2).unwrap_err();
        assert!(matches!(error, CookError::Corrupt { id, .. } if id == other), "{mode}: {error}");
    }
}

#[test]
fn contents_that_are_not_their_ids_or_not_their_sizes_are_corrupt() {
    for size in [10_u32, 300_000, 3 << 20, 20 << 20] {
        let mut archive = Memory::default();
        let content: Vec<u8> = (0..size).map(|n| n.to_le_bytes()[0] ^ 0x55).collect();
        let bad = archive.blob(&content);
        archive.corrupt(&bad);
        let root = archive.tree(vec![("100644", b"bad".to_vec(), bad)]);
        for format in FLAT {
            let error = bundle(&archive, Root::Directory(root), format, 2).unwrap_err();
            assert!(matches!(error, CookError::Corrupt { id, .. } if id == bad), "{size} {format}: {error}");
        }
        for said in [size - 1, size + 1, size + (2 << 20)].map(u64::from) {
            let mut archive = Memory::default();
            let lying = archive.lying(said, &content);
            let root = archive.tree(vec![("100644", b"lying".to_vec(), lying)]);
            for format in [Format::TarGz, Format::Zip] {
                let error = bundle(&archive, Root::Directory(root), format, 2).unwrap_err();
                assert!(matches!(error, CookError::Corrupt { id, .. } if id == lying), "{size} {said}: {error}");
            }
        }
    }
}

#[test]
fn of_two_corrupt_contents_the_first_is_named_whatever_the_threads() {
    let mut archive = Memory::default();
    let good = archive.noise(400_000);
    let mut entries: Vec<Entry> = (0..60).map(|n| ("100644", format!("g{n:02}").into_bytes(), good)).collect();
    let (first, second) = (archive.blob(b"first"), archive.blob(b"second"));
    entries.push(("100644", b"g20a".to_vec(), first));
    entries.push(("100644", b"g22a".to_vec(), second));
    archive.corrupt(&first);
    archive.corrupt(&second);
    let root = archive.tree(entries);
    for (threads, format) in [(1, Format::TarGz), (2, Format::Zip), (2, Format::TarGz), (8, Format::Zip)] {
        let error = bundle(&archive, Root::Directory(root), format, threads).unwrap_err();
        assert!(matches!(error, CookError::Corrupt { id, .. } if id == first), "{error}");
    }
}

#[test]
fn a_panic_in_an_archive_ends_the_cook() {
    let mut archive = Memory::default();
    let bad = archive.panicking();
    let root = archive.tree(vec![("100644", b"bad".to_vec(), bad)]);
    let error = bundle(&archive, Root::Directory(root), Format::TarGz, 2).unwrap_err();
    assert!(matches!(error, CookError::Panicked));
}

/// Takes so many bytes, then does something.
struct After<F: FnMut() -> io::Result<()>>(u64, F);

impl<F: FnMut() -> io::Result<()>> io::Write for After<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_sub(bytes.len() as u64);
        if self.0 == 0 {
            (self.1)()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_cancelled_cook_and_a_full_disk_end_it_in_the_middle() {
    let mut archive = Memory::default();
    let large = archive.noise(64 << 20);
    let root = archive.tree((0..50).map(|n| ("100644", format!("f{n}").into_bytes(), large)).collect());
    let scratch = &std::env::temp_dir();
    for format in FLAT {
        let control = Control::default();
        let order = Order {
            archive: &archive,
            root: Root::Directory(root),
            format: super::flat(format),
            threads: 2,
            max_size: 1 << 40,
            scratch,
            control: &control,
            segments: None,
            remembered: None,
        };
        let mut full = After(1 << 20, || Err(io::Error::from(io::ErrorKind::StorageFull)));
        let error = cook(&order, &mut full).unwrap_err();
        assert_eq!(error.failure().unwrap().code, FailureCode::NoSpace);
        let mut stopping = After(1 << 20, || {
            control.cancel(Reason::Stop);
            Ok(())
        });
        let error = cook(&order, &mut stopping).unwrap_err();
        assert!(matches!(error, CookError::Cancelled(Reason::Stop)), "{error}");
        assert!(control.progress().done < 1 << 30);
    }
}

#[test]
fn a_root_is_found_through_commits_and_tags() {
    let mut archive = Memory::default();
    let tree = archive.tree(vec![]);
    let blob = archive.blob(b"file");
    let commit = archive.put(ObjectType::Commit, format!("tree {tree}\nauthor A <a@b> 0 +0000\n\n").as_bytes());
    let mut tag = |target: Sha1Git, word: &str| {
        archive.put(ObjectType::Tag, format!("object {target}\ntype {word}\ntag v1\n\nx\n").as_bytes())
    };
    let of_commit = tag(commit, "commit");
    let of_tag = tag(of_commit, "tag");
    let of_blob = tag(blob, "blob");
    let liar = tag(blob, "tree");
    let absent = Sha1Git::from_bytes([4; 20]);
    let of_nothing = tag(absent, "commit");
    let mut chain = of_tag;
    for _ in 0..64 {
        chain = tag(chain, "tag");
    }
    let mut reader = archive.reader();
    let mut find = |kind, id| root(&mut *reader, kind, &id);
    assert_eq!(find(ObjectKind::Directory, tree).unwrap(), Some(Root::Directory(tree)));
    assert_eq!(find(ObjectKind::Revision, commit).unwrap(), Some(Root::Directory(tree)));
    assert_eq!(find(ObjectKind::Release, of_tag).unwrap(), Some(Root::Directory(tree)));
    assert_eq!(find(ObjectKind::Release, of_blob).unwrap(), Some(Root::File(blob)));
    assert_eq!(find(ObjectKind::Revision, tree).unwrap(), None);
    assert_eq!(find(ObjectKind::Directory, absent).unwrap(), None);
    assert_eq!(find(ObjectKind::Snapshot, tree).unwrap(), None);
    assert!(matches!(find(ObjectKind::Release, liar), Err(CookError::Corrupt { .. })));
    assert!(matches!(find(ObjectKind::Release, of_nothing), Err(CookError::Missing { id }) if id == absent));
    assert!(matches!(find(ObjectKind::Release, chain), Err(CookError::TooLarge { .. })));
}
