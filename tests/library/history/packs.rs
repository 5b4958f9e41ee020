//! Packs made to do harm, or only made by hand: long chains, claims, circles, damaged copies.

use super::by_hand::Pack;
use super::kit::{bundled, cook, cook_within, fsck, objects, try_cook, unpacked};
use crate::common::process::Start as _;
use crate::common::{git, git_command, git_line};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use larder::archive::{ObjectType, object};
use larder::cook::CookError;
use larder::cook::history::Subject;
use larder::cook::history::delta::Base;
use larder::key::{Format, Sha1Git};
use larder::verify;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

fn repository() -> TempDir {
    let folder = TempDir::new().unwrap();
    git(&["init", "-q", "--bare", "."], folder.path());
    folder
}

fn size(size: u64) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), size);
    while rest >> 7 != 0 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

#[test]
fn a_chain_of_ten_thousand_deltas_is_copied_and_checked() {
    const LENGTH: usize = 10_000;
    let folder = repository();
    let mut pack = Pack::new();
    let mut content = vec![b'x'; 100];
    let mut ids = vec![pack.object(ObjectType::Blob, &content)];
    let mut base = 12;
    for at in 1..LENGTH {
        let bytes = (at as u32).to_be_bytes();
        content[..4].copy_from_slice(&bytes);
        let delta = [&[100, 100, 4][..], &bytes, &[0x91, 4, 96]].concat();
        let distance = pack.distance(base);
        let id = object::hash(ObjectType::Blob, &content).unwrap();
        base = pack.add(id, 6, &distance, delta.len(), &delta);
        ids.push(id);
    }
    let commit = pack.commit(&ids);
    pack.put("0000", folder.path());
    let (file, cooked) = cook(folder.path(), &Subject::Revision(commit), Format::Bundle);
    assert_eq!(cooked.members, LENGTH as u64 + 2);
    assert!(file.metadata().unwrap().len() < 1_000_000, "the deltas are copied");
    assert_eq!(verify::git_bundle(&file).unwrap().objects, LENGTH as u64 + 2);
}

#[test]
fn a_delta_that_claims_to_make_100_gigabytes_is_refused() {
    let folder = repository();
    let mut pack = Pack::new();
    let base = pack.object(ObjectType::Blob, b"0123456789");
    let id = Sha1Git::from_bytes([0x77; 20]);
    let delta = [&[10][..], &size(100 << 30), &[0x90, 10]].concat();
    let distance = pack.distance(12);
    pack.add(id, 6, &distance, delta.len(), &delta);
    let commit = pack.commit(&[base, id]);
    pack.put("0000", folder.path());
    let error = try_cook(folder.path(), &Subject::Revision(commit), Format::Bundle, 2, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CookError::TooLarge { .. } | CookError::Corrupt { .. }), "{error}");
}

#[test]
fn deltas_made_from_each_other_in_a_circle_are_refused() {
    let folder = repository();
    let mut pack = Pack::new();
    let ids = [0x66, 0x77].map(|byte| Sha1Git::from_bytes([byte; 20]));
    let delta = [10, 10, 0x90, 10];
    pack.add(ids[0], 7, ids[1].as_bytes(), delta.len(), &delta);
    pack.add(ids[1], 7, ids[0].as_bytes(), delta.len(), &delta);
    let commit = pack.commit(&ids);
    pack.put("0000", folder.path());
    let error = try_cook(folder.path(), &Subject::Revision(commit), Format::Bundle, 2, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CookError::Corrupt { .. }), "{error}");
}

#[test]
fn deltas_that_name_their_base_by_id_become_such_by_distance() {
    let folder = repository();
    let mut pack = Pack::new();
    let (base, made) = (vec![b'a'; 2000], [&[b'a'; 2000][..], b"b"].concat());
    let id = object::hash(ObjectType::Blob, &made).unwrap();
    let base_id = object::hash(ObjectType::Blob, &base).unwrap();
    let delta = [&size(2000)[..], &size(2001), &[0xb0, 0xd0, 0x07, 1, b'b']].concat();
    // The delta stands before its base, as git allows.
    pack.add(id, 7, base_id.as_bytes(), delta.len(), &delta);
    pack.object(ObjectType::Blob, &base);
    let commit = pack.commit(&[base_id, id]);
    pack.put("0000", folder.path());
    let (file, _) = cook(folder.path(), &Subject::Revision(commit), Format::Bundle);
    assert_eq!(verify::git_bundle(&file).unwrap().objects, 4);
}

#[test]
fn a_damaged_copy_is_passed_over_where_there_is_a_good_one() {
    let folder = repository();
    let mut pack = Pack::new();
    let id = object::hash(ObjectType::Blob, b"good").unwrap();
    pack.add(id, 3, b"", 4, b"evil");
    let commit = pack.commit(&[id]);
    pack.put("0000", folder.path());
    let subject = Subject::Revision(commit);
    let error = try_cook(folder.path(), &subject, Format::Bundle, 2, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CookError::Corrupt { id: named, .. } if named == id), "{error}");
    let mut git = git_command(folder.path());
    let mut git =
        git.args(["hash-object", "-w", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).start().unwrap();
    git.stdin.take().unwrap().write_all(b"good").unwrap();
    assert!(git.wait().unwrap().success());
    // Git itself sees that the object is there and writes none: a loose one is put beside it.
    let other = repository();
    let mut loose = git_command(other.path());
    let mut loose =
        loose.args(["hash-object", "-w", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).start().unwrap();
    loose.stdin.take().unwrap().write_all(b"good").unwrap();
    assert!(loose.wait().unwrap().success());
    let hex = id.to_string();
    std::fs::create_dir_all(folder.path().join("objects").join(&hex[..2])).unwrap();
    let file = Path::new("objects").join(&hex[..2]).join(&hex[2..]);
    let _ = std::fs::copy(other.path().join(&file), folder.path().join(&file));
    let (file, _) = cook(folder.path(), &subject, Format::Bundle);
    assert_eq!(verify::git_bundle(&file).unwrap().objects, 3);
}

/// A loose blob too large to be held is read from the archive in pieces.
#[test]
fn a_large_loose_blob_is_carried_and_takes_no_more_room_than_it_asked_for() {
    let folder = repository();
    let mut state = 1_u64;
    let mut noise = Vec::with_capacity(17 << 20);
    while noise.len() < 17 << 20 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    let put = |arguments: &[&str], input: &[u8]| {
        let mut git = git_command(folder.path());
        let mut git = git.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).start().unwrap();
        git.stdin.take().unwrap().write_all(input).unwrap();
        String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let blob = put(&["hash-object", "-w", "--stdin"], &noise);
    assert!(folder.path().join("objects").join(&blob[..2]).join(&blob[2..]).exists(), "it is loose");
    let tree = put(&["mktree"], format!("100644 blob {blob}\tlarge\n").as_bytes());
    let revision = put(&["commit-tree", &tree, "-m", "x"], b"").parse().unwrap();
    let subject = Subject::Revision(revision);
    git(&["update-ref", "refs/heads/main", &revision.to_string()], folder.path());

    let into = TempDir::new().unwrap();
    let bare = unpacked(folder.path(), &subject, into.path());
    assert_eq!((objects(&bare), fsck(&bare)), (objects(folder.path()), Vec::new()));
    let bundle = bundled(folder.path(), &subject, into.path());
    let clone = into.path().join("clone");
    git(&[Path::new("clone"), Path::new("-q"), Path::new("--mirror"), &bundle, &clone], into.path());
    assert_eq!((objects(&clone), fsck(&clone)), (objects(folder.path()), Vec::new()));

    let bytes = std::fs::read(bundle).unwrap();
    let pack = (bytes.len() - bytes.windows(4).position(|word| word == b"PACK").unwrap()) as u64;
    assert!(pack > noise.len() as u64, "there is nothing to deflate in it");
    for (max_size, fits) in
        [(pack, true), (pack - 1, false), (noise.len() as u64, false), (1 << 20, false), (40, false)]
    {
        let (mut out, reserved) = (Vec::new(), std::cell::Cell::new(0));
        let room = |size| {
            reserved.set(size);
            Ok(())
        };
        let cooked = cook_within(folder.path(), (&subject, Format::Bundle, 1), max_size, &room, &mut out);
        assert!(reserved.get() <= max_size, "{} of {max_size}", reserved.get());
        match cooked {
            Ok(_) => assert_eq!((fits, reserved.get(), out.len()), (true, pack, bytes.len())),
            Err(error) => {
                assert!(!fits && matches!(error, CookError::TooLarge { .. }), "{max_size}: {error}");
                assert!(out.is_empty());
            }
        }
    }
    // Where there is no room the cook ends when it asks, and not when the disk is full.
    for least in [1, 1000, pack] {
        let full = |size| if size < least { Ok(()) } else { Err(std::io::ErrorKind::StorageFull.into()) };
        let mut out = Vec::new();
        let error = cook_within(folder.path(), (&subject, Format::Bundle, 1), 1 << 40, &full, &mut out).unwrap_err();
        assert!(
            matches!(&error, CookError::Output(cause) if cause.kind() == std::io::ErrorKind::StorageFull),
            "{error}"
        );
        assert!(out.is_empty());
    }
}

#[test]
fn large_files_that_are_deltas_of_each_other_are_carried() {
    let folder = repository();
    let mut text: Vec<u8> = (0..3_000_000_u32).flat_map(|n| format!("{n:x}\n").into_bytes()).collect();
    let work = TempDir::new().unwrap();
    git(&["clone", "-q", folder.path().to_str().unwrap(), "."], work.path());
    for round in 0..3 {
        text.extend_from_slice(format!("{round}").as_bytes());
        std::fs::write(work.path().join("large"), &text).unwrap();
        git(&["add", "large"], work.path());
        git(&["commit", "-q", "-m", "x"], work.path());
    }
    assert!(text.len() > 16 << 20);
    git(&["push", "-q", "origin", "HEAD:main"], work.path());
    git(&["repack", "-adq"], folder.path());
    let commit = git_line(&["rev-parse", "main"], folder.path()).parse().unwrap();
    let into = TempDir::new().unwrap();
    let bare = unpacked(folder.path(), &Subject::Revision(commit), into.path());
    assert_eq!(objects(&bare), objects(folder.path()));
    let (file, _) = cook(folder.path(), &Subject::Revision(commit), Format::Bundle);
    let mut whole = ZlibEncoder::new(Vec::new(), Compression::default());
    whole.write_all(&text).unwrap();
    let whole = whole.finish().unwrap().len() as u64;
    let size = file.metadata().unwrap().len();
    assert!(whole < size && size < 2 * whole, "one is whole and the others are deltas of it: {size} of {whole}");
    assert_eq!(verify::git_bundle(&file).unwrap().objects, 9);
}

/// Deltas that larder makes, in a pack that git reads: of texts that were edited, of noise, of runs that
/// are longer than one copy can be.
#[test]
fn git_makes_of_a_delta_what_it_was_made_of() {
    let folder = repository();
    let mut pack = Pack::new();
    let mut state = 1_u64;
    let mut number = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut expected = Vec::new();
    for round in 0..120 {
        let length = [0, 1, 15, 16, 17, 400, 5000, 200_000][round % 8];
        let mut base: Vec<u8> = match round % 3 {
            0 => (0..length).map(|_| number(256) as u8).collect(),
            1 => (0..length).map(|_| b"ab\n"[number(3)]).collect(),
            _ => vec![round as u8; length],
        };
        // No object stands twice in a pack.
        base.extend_from_slice(format!("[{round}]").as_bytes());
        let mut target = base.clone();
        for _ in 0..number(6) {
            let (start, end) = (number(target.len() + 1), number(target.len() + 1));
            let own: Vec<u8> = (0..number(300)).map(|_| number(256) as u8).collect();
            target.splice(start.min(end)..start.max(end), own);
        }
        target.extend_from_slice(&base[number(base.len() + 1)..]);
        target.extend_from_slice(format!("<{round}>").as_bytes());
        let at = pack.add(object::hash(ObjectType::Blob, &base).unwrap(), 3, b"", base.len(), &base);
        let mut delta = Vec::new();
        assert!(Base::new(base).delta(&target, usize::MAX / 2, &mut delta));
        let (id, distance) = (object::hash(ObjectType::Blob, &target).unwrap(), pack.distance(at));
        pack.add(id, 6, &distance, delta.len(), &delta);
        expected.push((id, target));
    }
    pack.put("0000", folder.path());
    git(&["index-pack", "--strict", "objects/pack/pack-0000.pack", "-o", "again.idx"], folder.path());
    for (id, target) in expected {
        assert!(git(&["cat-file", "blob", &id.to_string()], folder.path()) == target, "{id}");
    }
}
