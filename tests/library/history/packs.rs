//! Packs made to do harm, or only made by hand: long chains, claims, circles, damaged copies.

use super::kit::{cook, objects, try_cook, unpacked};
use crate::common::{git, git_command, git_line};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use larder::archive::{ObjectType, object};
use larder::cook::CookError;
use larder::cook::history::Subject;
use larder::key::{Format, Sha1Git};
use larder::verify;
use sha1::{Digest as _, Sha1};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// A pack that is written entry by entry, and its index.
struct ByHand {
    pack: Vec<u8>,
    entries: Vec<(Sha1Git, u64, u32)>,
}

impl ByHand {
    fn new() -> Self {
        Self { pack: b"PACK\0\0\0\x02\0\0\0\0".to_vec(), entries: Vec::new() }
    }

    /// Adds an entry; `code` 7 takes the id of its base, 6 the offset.
    fn add(&mut self, id: Sha1Git, code: u8, base: &[u8], size: usize, data: &[u8]) -> u64 {
        let offset = self.pack.len();
        let (mut byte, mut rest) = (code << 4 | (size & 15) as u8, size >> 4);
        while rest != 0 {
            self.pack.push(byte | 0x80);
            (byte, rest) = ((rest & 0x7f) as u8, rest >> 7);
        }
        self.pack.push(byte);
        self.pack.extend_from_slice(base);
        let mut encoder = ZlibEncoder::new(&mut self.pack, Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap();
        let crc = crc32fast::hash(&self.pack[offset..]);
        self.entries.push((id, offset as u64, crc));
        offset as u64
    }

    fn object(&mut self, object_type: ObjectType, content: &[u8]) -> Sha1Git {
        let code = [ObjectType::Commit, ObjectType::Tree, ObjectType::Blob, ObjectType::Tag];
        let code = code.iter().position(|one| *one == object_type).unwrap() as u8 + 1;
        let id = object::hash(object_type, content).unwrap();
        self.add(id, code, b"", content.len(), content);
        id
    }

    fn distance(&self, base: u64) -> Vec<u8> {
        let mut distance = self.pack.len() as u64 - base;
        let mut bytes = vec![(distance & 0x7f) as u8];
        while distance >> 7 != 0 {
            distance = (distance >> 7) - 1;
            bytes.insert(0, (distance & 0x7f) as u8 | 0x80);
        }
        bytes
    }

    /// Adds a commit of a tree that holds these blobs.
    fn commit(&mut self, blobs: &[Sha1Git]) -> Sha1Git {
        let mut tree = Vec::new();
        for (at, id) in blobs.iter().enumerate() {
            tree.extend_from_slice(format!("100644 f{at:06}\0").as_bytes());
            tree.extend_from_slice(id.as_bytes());
        }
        let tree = self.object(ObjectType::Tree, &tree);
        let who = "A <a@example.org> 0 +0000";
        self.object(ObjectType::Commit, format!("tree {tree}\nauthor {who}\ncommitter {who}\n\nx\n").as_bytes())
    }

    /// Writes the pack into a new repository.
    fn finish(mut self, name: &str, repository: &Path) {
        let count = u32::try_from(self.entries.len()).unwrap();
        self.pack[8..12].copy_from_slice(&count.to_be_bytes());
        let checksum = Sha1::digest(&self.pack);
        self.pack.extend_from_slice(&checksum);
        self.entries.sort();
        let mut index = b"\xfftOc\0\0\0\x02".to_vec();
        for byte in 0..=255_u8 {
            let count = self.entries.iter().filter(|(id, ..)| id.as_bytes()[0] <= byte).count();
            index.extend_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
        }
        self.entries.iter().for_each(|(id, ..)| index.extend_from_slice(id.as_bytes()));
        self.entries.iter().for_each(|(_, _, crc)| index.extend_from_slice(&crc.to_be_bytes()));
        self.entries.iter().for_each(|(_, offset, _)| {
            index.extend_from_slice(&u32::try_from(*offset).unwrap().to_be_bytes());
        });
        index.extend_from_slice(&checksum);
        let own = Sha1::digest(&index);
        index.extend_from_slice(&own);
        let folder = repository.join("objects/pack");
        std::fs::write(folder.join(format!("pack-{name}.pack")), &self.pack).unwrap();
        std::fs::write(folder.join(format!("pack-{name}.idx")), &index).unwrap();
    }
}

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
    let mut pack = ByHand::new();
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
    pack.finish("0000", folder.path());
    let (file, cooked) = cook(folder.path(), &Subject::Revision(commit), Format::Bundle);
    assert_eq!(cooked.members, LENGTH as u64 + 2);
    assert!(file.metadata().unwrap().len() < 1_000_000, "the deltas are copied");
    assert_eq!(verify::git_bundle(&file).unwrap().objects, LENGTH as u64 + 2);
}

#[test]
fn a_delta_that_claims_to_make_100_gigabytes_is_refused() {
    let folder = repository();
    let mut pack = ByHand::new();
    let base = pack.object(ObjectType::Blob, b"0123456789");
    let id = Sha1Git::from_bytes([0x77; 20]);
    let delta = [&[10][..], &size(100 << 30), &[0x90, 10]].concat();
    let distance = pack.distance(12);
    pack.add(id, 6, &distance, delta.len(), &delta);
    let commit = pack.commit(&[base, id]);
    pack.finish("0000", folder.path());
    let error = try_cook(folder.path(), &Subject::Revision(commit), Format::Bundle, 2, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CookError::TooLarge { .. } | CookError::Corrupt { .. }), "{error}");
}

#[test]
fn deltas_made_from_each_other_in_a_circle_are_refused() {
    let folder = repository();
    let mut pack = ByHand::new();
    let ids = [0x66, 0x77].map(|byte| Sha1Git::from_bytes([byte; 20]));
    let delta = [10, 10, 0x90, 10];
    pack.add(ids[0], 7, ids[1].as_bytes(), delta.len(), &delta);
    pack.add(ids[1], 7, ids[0].as_bytes(), delta.len(), &delta);
    let commit = pack.commit(&ids);
    pack.finish("0000", folder.path());
    let error = try_cook(folder.path(), &Subject::Revision(commit), Format::Bundle, 2, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CookError::Corrupt { .. }), "{error}");
}

#[test]
fn deltas_that_name_their_base_by_id_become_such_by_distance() {
    let folder = repository();
    let mut pack = ByHand::new();
    let (base, made) = (vec![b'a'; 2000], [&[b'a'; 2000][..], b"b"].concat());
    let id = object::hash(ObjectType::Blob, &made).unwrap();
    let base_id = object::hash(ObjectType::Blob, &base).unwrap();
    let delta = [&size(2000)[..], &size(2001), &[0xb0, 0xd0, 0x07, 1, b'b']].concat();
    // The delta stands before its base, as git allows.
    pack.add(id, 7, base_id.as_bytes(), delta.len(), &delta);
    pack.object(ObjectType::Blob, &base);
    let commit = pack.commit(&[base_id, id]);
    pack.finish("0000", folder.path());
    let (file, _) = cook(folder.path(), &Subject::Revision(commit), Format::Bundle);
    assert_eq!(verify::git_bundle(&file).unwrap().objects, 4);
}

#[test]
fn a_damaged_copy_is_passed_over_where_there_is_a_good_one() {
    let folder = repository();
    let mut pack = ByHand::new();
    let id = object::hash(ObjectType::Blob, b"good").unwrap();
    pack.add(id, 3, b"", 4, b"evil");
    let commit = pack.commit(&[id]);
    pack.finish("0000", folder.path());
    let subject = Subject::Revision(commit);
    let error = try_cook(folder.path(), &subject, Format::Bundle, 2, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, CookError::Corrupt { id: named, .. } if named == id), "{error}");
    let mut git = git_command(folder.path());
    let mut git =
        git.args(["hash-object", "-w", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(b"good").unwrap();
    assert!(git.wait().unwrap().success());
    // Git itself sees that the object is there and writes none: a loose one is put beside it.
    let other = repository();
    let mut loose = git_command(other.path());
    let mut loose =
        loose.args(["hash-object", "-w", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    loose.stdin.take().unwrap().write_all(b"good").unwrap();
    assert!(loose.wait().unwrap().success());
    let hex = id.to_string();
    std::fs::create_dir_all(folder.path().join("objects").join(&hex[..2])).unwrap();
    let file = Path::new("objects").join(&hex[..2]).join(&hex[2..]);
    let _ = std::fs::copy(other.path().join(&file), folder.path().join(&file));
    let (file, _) = cook(folder.path(), &subject, Format::Bundle);
    assert_eq!(verify::git_bundle(&file).unwrap().objects, 3);
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
    assert!(file.metadata().unwrap().len() < text.len() as u64, "the deltas are copied");
    assert_eq!(verify::git_bundle(&file).unwrap().objects, 9);
}
