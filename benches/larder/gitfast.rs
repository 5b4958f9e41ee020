//! Cooking `gitfast.gz` of all refs from nothing beside `git fast-export --all | gzip -6`, from the same
//! packed repository: wall and size. `LARDER_BENCH_REPOSITORY` names another repository than the
//! fixture's.

use super::common::fixtures::{REAL, fixture};
use super::common::{git, git_command};
use super::{median, spread};
use crate::common::process::Start as _;
use larder::archive::git::GitArchive;
use larder::archive::snapshot::{Manifest, Target};
use larder::cook::Control;
use larder::cook::history::{Order, Subject, cook};
use larder::key::{ObjectKind, Sha1Git, Swhid};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

const ROUNDS: usize = 3;

pub(super) fn beside_git_fast_export() {
    let repositories = match std::env::var_os("LARDER_BENCH_REPOSITORY") {
        Some(path) => vec![PathBuf::from(path)],
        None => fixture(REAL).repositories(),
    };
    println!("\ngitfast.gz of all refs: times faster than git fast-export --all | gzip -6 (min / median / max)");
    for repository in repositories {
        let out = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (ours, theirs) = (out.path().join("ours"), out.path().join("theirs"));
        let (mut ratios, mut times, mut git_times, mut stream) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for round in 0..=ROUNDS {
            let git = timed(|| export(&repository, &theirs));
            let larder = timed(|| stream = cooked(&repository, &ours));
            // The first warms the page cache for both.
            if round > 0 {
                ratios.push(git / larder);
                times.push(larder);
                git_times.push(git);
            }
        }
        let size = |path: &Path| std::fs::metadata(path).unwrap().len() as f64;
        println!(
            "  {:12} {}   git {:.2} s, larder {:.2} s, stream {} MiB, size {:.3}",
            repository.file_name().unwrap().to_string_lossy(),
            spread(&ratios),
            median(&git_times),
            median(&times),
            stream >> 20,
            size(&ours) / size(&theirs)
        );
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Signatures and odd ends are left out on both sides, so that any repository can be measured.
fn export(repository: &Path, to: &Path) {
    let mut git = git_command(repository)
        .args(["fast-export", "--all", "--signed-tags=verbatim", "--tag-of-filtered-object=drop", "--reencode=no"])
        .stdout(Stdio::piped())
        .start()
        .unwrap();
    let mut gzip = Command::new("gzip")
        .arg("-6")
        .stdin(git.stdout.take().unwrap())
        .stdout(File::create(to).unwrap())
        .start()
        .unwrap();
    assert!(gzip.wait().unwrap().success() && git.wait().unwrap().success());
}

/// Length of the stream.
fn cooked(repository: &Path, to: &Path) -> u64 {
    let archive = GitArchive::new(vec![repository.to_owned()]).unwrap();
    assert!(archive.discover() > 0);
    let scratch = TempDir::new().unwrap();
    let order = Order {
        archive: &archive,
        swhid: Swhid { kind: ObjectKind::Snapshot, id: Sha1Git::NULL },
        subject: Subject::Snapshot(manifest(repository)),
        format: larder::key::History::Gitfast,
        threads: 2,
        max_size: 1 << 40,
        lossy: true,
        scratch: scratch.path(),
        room: &|_| Ok(()),
        control: &Control::default(),
    };
    let mut out = BufWriter::new(File::create(to).unwrap());
    let cooked = cook(&order, &mut out).unwrap();
    out.flush().unwrap();
    cooked.tar_size
}

fn manifest(repository: &Path) -> Manifest {
    let mut manifest = Manifest::default();
    let lines = git(&["for-each-ref", "--format=%(objectname) %(objecttype) %(refname)"], repository);
    for line in String::from_utf8(lines).unwrap().lines() {
        let mut parts = line.splitn(3, ' ');
        let id = parts.next().unwrap().parse().unwrap();
        let kind = if parts.next() == Some("tag") { ObjectKind::Release } else { ObjectKind::Revision };
        assert!(manifest.insert(parts.next().unwrap().as_bytes(), Target::Object(kind, id)));
    }
    manifest
}
