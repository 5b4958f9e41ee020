//! The document against the program: a second implementation, written from `docs/format.md` in
//! another language, makes the same bytes and finds the same units.

use super::memory::Memory;
use super::trees::{any_root, everything};
use super::{bundle, sha256, tar_of};
use larder::cook::Root;
use larder::key::{Format, Sha1Git};
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;

/// Runs the references on these objects: the tar that the one writes. They check gzip and zip themselves.
fn reference(folder: &Path, archive: &Memory, root: Sha1Git, gz: &[u8], zip: &[u8]) -> Vec<u8> {
    let (repository, tar, bundle) = (folder.join("r.git"), folder.join("tar"), folder.join("gz"));
    let init = Command::new("git").args(["init", "-q", "--bare"]).arg(&repository).status().unwrap();
    assert!(init.success());
    archive.write_loose(&repository);
    std::fs::write(&bundle, gz).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference_tar.py");
    let run =
        Command::new("python3").arg(script).arg(&repository).arg(root.to_string()).arg(&tar).arg(&bundle).output();
    let run = run.expect("python3 is needed for this test");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let zipped = folder.join("zip");
    std::fs::write(&zipped, zip).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference_zip.py");
    let checked =
        Command::new("python3").arg("-B").arg(script).arg(&repository).arg(root.to_string()).arg(&zipped).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let lengths = String::from_utf8(run.stdout).unwrap();
    let tar = std::fs::read(&tar).unwrap();
    assert_eq!(lengths.lines().map(|line| line.parse::<usize>().unwrap()).sum::<usize>(), tar.len());
    assert!(lengths.ends_with("\n1024\n"));
    tar
}

fn assert_documented(archive: &Memory, root: Sha1Git) {
    let folder = tempfile::tempdir().unwrap();
    let (gz, _) = bundle(archive, Root::Directory(root), Format::TarGz, 2).unwrap();
    let (zip, _) = bundle(archive, Root::Directory(root), Format::Zip, 2).unwrap();
    assert!(reference(folder.path(), archive, root, &gz, &zip) == tar_of(archive, Root::Directory(root)));
}

#[test]
fn a_program_written_from_the_document_makes_the_same_bytes() {
    let mut archive = Memory::default();
    let (_, root) = everything().put(&mut archive);
    assert_documented(&archive, root);
}

/// Forty files of 100 kB, none of which ends a segment, so that units end within files again and again.
#[test]
fn files_that_straddle_the_ends_of_units_have_their_golden_digests_and_are_as_documented() {
    const SIZE: usize = 100_000;
    let ends_segment = |id: &Sha1Git| {
        let last: [u8; 4] = id.as_bytes()[16..].try_into().unwrap();
        u64::from(u32::from_be_bytes(last)) < (SIZE as u64 + 512) * 16_384
    };
    let mut archive = Memory::default();
    let mut entries = Vec::new();
    for at in 0..40 {
        let content = (0..).map(|salt| format!("{at} {salt}\n").repeat(SIZE)[..SIZE].to_owned());
        let content = content.map(String::into_bytes).find(|content| {
            let id = larder::archive::object::hash(larder::archive::ObjectType::Blob, content).unwrap();
            !ends_segment(&id)
        });
        let id = archive.blob(&content.unwrap());
        entries.push(("100644", format!("f{at:02}").into_bytes(), id));
    }
    let root = archive.tree(entries);
    assert_documented(&archive, root);
    for threads in [1, 3] {
        let digests = [Format::Tar, Format::TarGz, Format::TarZst]
            .map(|format| sha256(&bundle(&archive, Root::Directory(root), format, threads).unwrap().0));
        assert_eq!(digests, GOLDEN, "{threads} threads");
    }
}

/// As `tar`, `tar.gz` and `tar.zst`.
const GOLDEN: [&str; 3] = [
    "137286d37ead87147e81e9339ef3bf5e8a2c072ef9817fef3a0ba863c0ede39a",
    "28f9c213b81fa7d0f39a79783f9c8977ba9fb77bbe3b3161d11109b36dd550b7",
    "eb9dca899e011cba006d5e5afc50a4243b0470d95ecee1cf147bad25b79937c9",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn and_does_so_for_trees_by_chance(plan in any_root()) {
        let mut archive = Memory::default();
        let (_, root) = plan.put(&mut archive);
        assert_documented(&archive, root);
    }
}

#[test]
fn the_example_in_the_document_is_true() {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md")).unwrap();
    let mut archive = Memory::default();
    let hello = archive.blob(b"hello\n");
    let root = archive.tree(vec![("100664", b"hello".to_vec(), hello)]);
    let tar = tar_of(&archive, Root::Directory(root));
    for fact in [root.to_string(), hello.to_string(), sha256(&tar)] {
        assert!(document.contains(&fact), "{fact}");
    }
    for format in [Format::TarGz, Format::TarZst, Format::Zip] {
        let (bytes, _) = bundle(&archive, Root::Directory(root), format, 1).unwrap();
        let fact = format!("{format} has {} bytes and the SHA-256 `{}`", bytes.len(), sha256(&bytes));
        assert!(document.split_whitespace().collect::<Vec<_>>().join(" ").contains(&fact), "{fact}");
    }
    let hex = document.split("```").nth(1).unwrap();
    for line in hex.lines().filter(|line| !line.is_empty()) {
        let at = 512 + usize::from_str_radix(&line[..3], 16).unwrap();
        let bytes: Vec<String> = tar[at..at + 16].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(line[5..53].replace("  ", " ").trim_end(), bytes.join(" "), "{line}");
    }
}
